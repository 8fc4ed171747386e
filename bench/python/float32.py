"""Trains problems of the bars in PyTorch in float32, and prints `ok` or `short` for each bar.

    tools/python.sh python ../../bench/python/float32.py

bench/export trains the same problem, number for number, in Go in float64 and
writes it. A bar is the ratio of the median gradients, over seeds from 101 on, an
unreached target counting as infinitely many. Whether the target is met is found
in float64, beside the training.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

import multirate  # noqa: E402
from multirate.sidecar import _build  # noqa: E402
from multirate.torch import MultirateLR  # noqa: E402

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LIMIT = 1.15
BUDGET = 5000


def logistic(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x @ w, y)


def network(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    w1, b1, w2, b2 = w.split([196 * 24, 24, 24 * 10, 10])
    hidden = torch.tanh(x @ w1.view(196, 24) + b1)
    return F.cross_entropy(hidden @ w2.view(24, 10) + b2, y.long())


def exported(binary: str, name: str, seed: int) -> tuple[dict[str, Any], list[Tensor]]:
    out = subprocess.run(
        [binary, "-problem", name, "-seed", str(seed)], check=True, stdout=subprocess.PIPE
    ).stdout
    line, _, rest = out.partition(b"\n")
    header = json.loads(line)
    numbers = torch.from_numpy(np.frombuffer(rest, "<f8").copy())
    return header, list(numbers.split([header["features"], header["labels"], header["start"]]))


def train(
    client: multirate.Client, name: str, seed: int, header: dict[str, Any], parts: list[Tensor]
) -> float:
    loss_of: Loss = network if name == "mnist" else logistic
    features, labels, start = parts
    features = features.view(labels.numel(), -1)
    least = header["least"]
    target = 1e-3 if name == "mnist" else 1e-6 * (float(loss_of(start, features, labels)) - least)
    x, y = features.float(), labels.float()
    w = torch.nn.Parameter(start.float())
    optimizer = torch.optim.SGD([w], lr=0.0)
    scheduler = MultirateLR(optimizer, client, loss_lower_bound=0, sketch_seed=seed)
    for gradients in range(1, BUDGET):
        optimizer.zero_grad()
        loss = loss_of(w, x, y)
        loss.backward()
        if float(loss_of(w.detach().double(), features, labels)) - least <= target:
            return gradients
        scheduler.step(loss)
        optimizer.step()
    return math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--first", type=int, default=101, help="first seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--problems", nargs="+", default=["grouped2", "grouped3", "mnist"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    short = False
    with (
        tempfile.TemporaryDirectory() as folder,
        multirate.start(_build(ROOT)) as sidecar,
        sidecar.connect() as client,
    ):
        binary = f"{folder}/export"
        subprocess.run(["go", "build", "-o", binary, "./bench/export"], cwd=ROOT, check=True)
        for name in options.problems:
            go, here = [], []
            for seed in range(options.first, options.first + options.seeds):
                header, parts = exported(binary, name, seed)
                go.append(header["gradients"] if header["reached"] else math.inf)
                here.append(train(client, name, seed, header, parts))
            ratio = statistics.median(here) / statistics.median(go)
            verdict = "ok" if ratio <= LIMIT else "short"
            short |= verdict == "short"
            print(
                f"{name + ': float32 in PyTorch over float64 in Go':<62} measured {ratio:8.3f}  "
                f"limit {LIMIT:5.2f}  {verdict:<5}  {sorted(here)} over {sorted(go)}",
                flush=True,
            )
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
