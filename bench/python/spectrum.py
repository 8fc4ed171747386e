"""Measures what a spectrum costs beside its products, and prints `ok` or `short` for each bar.

    tools/python.sh python ../../bench/python/spectrum.py

A perceptron of 1e6 parameters in float32, 20 exact products: alone, with Lanczos
on them here (coefficients tier), and in the service (vectors tier, over a unix
socket). Each is timed in turns; ratios are of medians. Memory is what the
process's resident set grows by at its highest, in vectors, beside a product that
makes nothing but its result, which counts; a twentieth of a vector is allowed
for what libraries keep.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

import multirate  # noqa: E402
from multirate.sidecar import _build  # noqa: E402
from multirate.torch import MultirateLR, curvature  # noqa: E402

PRODUCTS = 20
SHORT: list[str] = []


def bar(name: str, value: float, limit: float, note: str) -> None:
    verdict = "ok" if value <= limit else "short"
    if verdict == "short":
        SHORT.append(name)
    print(f"{name:<62} measured {value:8.3f}  limit {limit:5.2f}  {verdict:<5}  {note}", flush=True)


def times(rounds: int, client: multirate.Client, images: int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(784, 1000), torch.nn.Tanh(), torch.nn.Linear(1000, 215))
    params = list(model.parameters())
    size = sum(p.numel() for p in params)
    x, y = torch.randn(images, 784), torch.randint(0, 215, (images,))
    product = curvature.exact(lambda: torch.nn.functional.cross_entropy(model(x), y), params)
    scheduler = MultirateLR(torch.optim.SGD(params), client, loss_lower_bound=0)
    start = torch.randn(size)

    def alone() -> None:
        v = start / start.norm()
        for _ in range(PRODUCTS):
            product(v)

    def coefficients() -> None:
        scheduler.estimate_spectrum(product, PRODUCTS)

    def vectors() -> None:
        spectrum = scheduler.estimate_spectrum(product, PRODUCTS, vectors=True)
        assert spectrum.products == PRODUCTS, spectrum.products

    actions: tuple[Callable[[], None], ...] = (alone, coefficients, vectors)
    took: list[list[float]] = [[] for _ in actions]
    for action in actions:
        action()
    for _ in range(rounds):
        for action, durations in zip(actions, took, strict=True):
            begin = time.perf_counter()
            action()
            durations.append(time.perf_counter() - begin)
    products, own, service = (statistics.median(t) for t in took)
    what = f"20 products of {size} parameters, {images} rows"
    bar(f"coefficients over {what}", own / products, 1.15, f"{own:.2f} s over {products:.2f} s")
    bar(f"vectors over {what}", service / products, 1.5, f"{service:.2f} s over {products:.2f} s")


def resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def memory(size: int = 40_000_000) -> None:
    h = torch.rand(size)
    like = torch.zeros(1)

    def product(v: torch.Tensor) -> torch.Tensor:
        return h * v

    # Libraries load what they need at the first use.
    curvature.lanczos(lambda v: h[:100_000] * v, like, 100_000, 5)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is what there is now
    before: Any = resident("VmRSS")
    curvature.lanczos(product, like, size, 5)
    grown = (resident("VmHWM") - before) / (4 * size)
    bar("memory of the coefficients tier, in vectors", grown, 3.0 + 0.05, f"{size} parameters, 5 products")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=128, help="rows of data, a batch")
    options = parser.parse_args()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    memory()
    with multirate.start(_build(ROOT)) as sidecar, sidecar.connect() as client:
        times(options.rounds, client, options.images)
    sys.exit(1 if SHORT else 0)


if __name__ == "__main__":
    main()
