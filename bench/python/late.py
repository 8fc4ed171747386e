"""Measures what rates that are one step late cost, in gradients and peak loss.

    tools/python.sh python ../../bench/python/late.py

Problems are of the design's spectra and feature scales. "As they come" is what
docs/decisions/0038-late-rates.md turns down; it may not converge at all.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

import multirate  # noqa: E402
from multirate import statistics as measured  # noqa: E402
from multirate.background import BackgroundRun  # noqa: E402
from multirate.sidecar import _build  # noqa: E402
from multirate.steady import SteadyRun  # noqa: E402

Vector = NDArray[np.float64]
LIMIT_PEAK = 2.0  # the growth that runs allow by default


class Quadratic:
    """Scales of log-uniform eigenvalues, equal energy in each mode."""

    least, target = 0.0, 1e-10

    def __init__(self, seed: int, scales: Sequence[tuple[float, float, int]]) -> None:
        draw = np.random.default_rng(seed)
        self.h = np.concatenate([np.exp(draw.uniform(np.log(lo), np.log(hi), n)) for lo, hi, n in scales])
        self.start = draw.standard_normal(self.h.size) / np.sqrt(self.h)

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        return float(self.h @ (x * x)) / 2, self.h * x


class Logistic:
    """Logistic regression on 2,000 rows of features of several scales."""

    target = 1e-6

    def __init__(self, seed: int, scales: Vector) -> None:
        draw = np.random.default_rng(seed)
        self.x = draw.standard_normal((2000, scales.size)) * scales
        w = 2 * draw.standard_normal(scales.size) / (scales * math.sqrt(scales.size))
        self.y = np.where(draw.random(2000) < 1 / (1 + np.exp(-self.x @ w)), 1.0, -1.0)
        self.start = np.zeros(scales.size)
        w = self.start.copy()
        for _ in range(60):  # Newton's method
            p = 1 / (1 + np.exp(self.y * (self.x @ w)))
            hessian = (self.x.T * (p * (1 - p))) @ self.x / 2000
            w -= np.linalg.solve(hessian, self(w)[1])
        self.least = self(w)[0]

    def __call__(self, w: Vector) -> tuple[float, Vector]:
        margin = self.y * (self.x @ w)
        p = 1 / (1 + np.exp(np.clip(margin, -700, 700)))
        return float(np.logaddexp(0, -margin).mean()), -(self.x.T @ (self.y * p)) / 2000


PROBLEMS: dict[str, Callable[[int], Any]] = {
    "quadratic, 2 scales": lambda s: Quadratic(s, [(1e-5, 1e-4, 100), (1, 10, 100)]),
    "quadratic, 3 scales": lambda s: Quadratic(s, [(1e-6, 4e-6, 60), (1e-3, 4e-3, 20), (1, 4, 20)]),
    "quadratic, no gap": lambda s: Quadratic(s, [(1e-4, 1, 300)]),
    "logistic 1/0.01": lambda s: Logistic(s, np.repeat([1.0, 0.01], 20)),
    "logistic 1/0.03/0.001": lambda s: Logistic(s, np.repeat([1.0, 0.03, 0.001], [15, 15, 10])),
}


def train(client: multirate.Client, p: Any, mode: str, budget: int) -> tuple[float, float]:
    """Return the gradients to the target and the peak of the excess over its start."""
    run = client.new_run(multirate.RunConfig(p.start.size, loss_lower_bound=0))
    background = BackgroundRun(SteadyRun(run)) if mode == "late" else None
    x, first, peak = p.start.copy(), p(p.start)[0] - p.least, 1.0
    previous: float | None = None
    advised = 0.0
    for step in range(budget):
        loss, g = p(x)
        peak = max(peak, (loss - p.least) / first)
        if loss - p.least <= p.target * first:
            return step, peak
        if not (math.isfinite(loss) and peak < 1e12):
            return math.inf, math.inf
        sent = measured(
            loss, float(g @ g), run.sketcher(g), parameter_norm=None if step else float(np.linalg.norm(x))
        )
        if background is not None:
            rate = background.rate(lambda sent=sent: sent, previous)
            background.wait()
        elif mode == "in time":
            rate = run.advise(sent).learning_rate
        else:
            if previous is not None:
                run.applied(previous)
            rate, advised = advised, run.advise(sent).learning_rate
        x, previous = x - rate * g, rate
    return math.inf, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--first", type=int, default=101, help="first seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=4000)
    parser.add_argument("--as-they-come", action="store_true", help="the way that was turned down, too")
    options = parser.parse_args()
    modes = ["in time", "late", *(["as they come"] if options.as_they_come else [])]
    worst = 0.0
    with multirate.start(_build(ROOT)) as sidecar, sidecar.connect() as client:
        for name, make in PROBLEMS.items():
            cells = []
            for mode in modes:
                seeds = range(options.first, options.first + options.seeds)
                runs = [train(client, make(seed), mode, options.budget) for seed in seeds]
                steps, peak = statistics.median(n for n, _ in runs), max(p for _, p in runs)
                cells.append(f"{mode}: {steps:6g} gradients, peak {peak:.3g}")
                worst = max(worst, peak) if mode == "late" else worst
            print(f"{name:<24}" + "; ".join(cells), flush=True)
    verdict = "ok" if worst <= LIMIT_PEAK else "short"
    print(f"peak loss of late rates over its start   measured {worst:.3f}  limit {LIMIT_PEAK:.2f}  {verdict}")
    sys.exit(verdict == "short")


if __name__ == "__main__":
    main()
