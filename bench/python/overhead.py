"""Measures what the Python client costs beside the training, and prints `ok` or `short` for each bar.

Every bar is a ratio of two medians, taken in turns in one run, so that a noisy
machine disturbs both alike:

    tools/python.sh python ../../bench/python/overhead.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

from multirate import Client, Sketcher  # noqa: E402
from multirate import statistics as measured  # noqa: E402
from multirate.torch import GradientSketcher, MultirateLR  # noqa: E402
from multirate.v1 import learning_rate_service_pb2 as rpc  # noqa: E402

SHORT: list[str] = []


def medians(rounds: int, *actions: Callable[[], Any]) -> list[float]:
    """Return the median seconds of each action, taken in turns."""
    took: list[list[float]] = [[] for _ in actions]
    for action in actions:
        action()
    for _ in range(rounds):
        for action, durations in zip(actions, took, strict=True):
            begin = time.perf_counter()
            action()
            durations.append(time.perf_counter() - begin)
    return [statistics.median(durations) for durations in took]


def bar(name: str, value: float, limit: float, note: str) -> None:
    verdict = "ok" if value <= limit else "short"
    if verdict == "short":
        SHORT.append(name)
    print(f"{name:<62} measured {value:8.3f}  limit {limit:5.2f}  {verdict:<5}  {note}", flush=True)


def sketch(rounds: int, size: int = 10_000_000) -> None:
    parameter = torch.nn.Parameter(torch.randn(size))
    parameter.grad = torch.randn(size)
    optimizer = torch.optim.SGD([parameter], lr=1e-9)
    sketcher = GradientSketcher([parameter], Sketcher(size))
    step, own = medians(rounds, optimizer.step, lambda: sketcher.measure(1.0))
    kept = sketcher.cache_bytes / size
    bar(
        "sketch and norm of 1e7 parameters over SGD.step",
        own / step,
        1.0,
        f"{own * 1e3:.1f} ms over {step * 1e3:.1f} ms, {kept:.2f} bytes a parameter kept",
    )


class Descent:
    """Gradient descent on a quadratic of two scales through the scheduler."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.h = torch.from_numpy(np.concatenate([np.linspace(1, 1.2, 125), np.linspace(1e3, 1.2e3, 126)]))
        self.client, self.options = client, options
        self.restart()

    def restart(self) -> None:
        self.x = torch.nn.Parameter(torch.ones_like(self.h))
        self.optimizer = torch.optim.SGD([self.x], lr=0.0)
        self.scheduler = MultirateLR(self.optimizer, self.client, loss_lower_bound=0, **self.options)
        if self.options.get("upcoming"):
            self.scheduler.estimate_spectrum(lambda v: self.h * v, 40, vectors=True)
        self.measure()

    def measure(self) -> None:
        self.x.grad = self.h * self.x.detach()
        self.loss = (self.x.grad * self.x.detach()).sum() / 2

    def finish(self) -> None:
        self.optimizer.step()
        self.measure()
        if float(self.loss) < 1e-12:
            self.restart()


def asking(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = f"{folder}/latency"
        subprocess.run(["go", "build", "-o", server, "./bench/latency"], cwd=ROOT, check=True)
        with subprocess.Popen(
            [server, "-serve", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            with Client(f"unix://{folder}/echo") as echo, Client(f"unix://{folder}/service") as service:
                compare_asking(rounds, echo, service)
            process.stdin.close()


def compare_asking(rounds: int, echo: Client, service: Client) -> None:
    descent = Descent(service)
    sent = measured(1.0, 1.0, np.ones(251), parameter_norm=1.0)
    request = rpc.GetLearningRateRequest(run_id=descent.scheduler.run.id, step=1000, statistics=sent)
    empty = echo.methods["GetLearningRate"]
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, durations in zip(
            (lambda: empty(request), lambda: descent.scheduler.step(descent.loss)), took, strict=True
        ):
            begin = time.perf_counter()
            action()
            durations.append(time.perf_counter() - begin)
            time.sleep(2e-4)  # in which a trainer computes its gradient
        descent.finish()
    call, step = (statistics.median(t) for t in took)
    bar(
        "scheduler.step() that asks over an empty call, same payload",
        step / call,
        1.5,
        f"{step * 1e6:.0f} us over {call * 1e6:.0f} us",
    )
    upcoming(rounds, service)


def upcoming(rounds: int, client: Client) -> None:
    descent = Descent(client, upcoming=True, sketch=False, policy="chebyshev")
    cosine_optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(cosine_optimizer, 10**9)
    cosine_optimizer.step()
    own: list[float] = []
    other: list[float] = []
    for _ in range(40 * rounds):
        ahead = bool(descent.scheduler.run._ahead)
        begin = time.perf_counter()
        descent.scheduler.step(descent.loss)
        middle = time.perf_counter()
        cosine.step()
        end = time.perf_counter()
        if ahead:
            own.append(middle - begin)
        other.append(end - middle)
        descent.finish()
        if len(own) >= rounds:
            break
    step, reference = statistics.median(own), statistics.median(other)
    bar(
        "scheduler.step() at an upcoming rate over CosineAnnealingLR.step()",
        step / reference,
        3.0,
        f"{step * 1e6:.1f} us over {reference * 1e6:.1f} us, {len(own)} steps",
    )


def network(rounds: int) -> None:
    """A small CNN on images of CIFAR's size, batches of 128."""
    layers = [torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4096, 10))
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = MultirateLR(optimizer, loss_lower_bound=0)
    loss = torch.zeros(())

    def rest() -> None:
        nonlocal loss
        optimizer.step()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()

    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    scheduler.step(loss)
    rest()
    own, training = medians(rounds, lambda: scheduler.step(loss), rest)
    size = sum(p.numel() for p in model.parameters())
    bar(
        "scheduler.step() over the step of a small CNN, batch of 128",
        own / training,
        0.03,
        f"{own * 1e3:.2f} ms over {training * 1e3:.1f} ms, {size} parameters",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--rounds", type=int, default=25, help="of the long measurements; short ones take 40 times as many"
    )
    rounds = parser.parse_args().rounds
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    sketch(rounds)
    asking(40 * rounds)
    network(rounds)
    sys.exit(1 if SHORT else 0)


if __name__ == "__main__":
    main()
