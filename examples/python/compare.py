"""Trains on real data with multirate and with tuned peers, and compares what each gradient bought.

    pip install 'clients/python[torch,examples]'
    python examples/python/compare.py

Every method has the same budget of gradients; a Hessian-vector product counts as
two, each evaluation of L-BFGS's line search as one. Peers get the best rate of a
grid, multirate has nothing to tune. Data ship with scikit-learn: raw features,
no scaling of anything.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import prodigyopt
import schedulefree
import sklearn.datasets
import torch
from torch import Tensor

from multirate import start
from multirate.torch import SGD, MultirateLR, curvature

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PROBES = 5


class Enough(Exception):  # noqa: N818 - it is no error
    """The budget is spent, the target reached, or the loss is no number."""


@dataclass
class Problem:
    """A loss of parameters, full batch, from a fixed start."""

    name: str
    start: list[Tensor]
    of: Callable[[list[Tensor]], Tensor]
    target: float
    least: float = 0.0


@dataclass
class Attempt:
    """One training: the best loss after each gradient."""

    problem: Problem
    budget: int
    setting: str = ""
    losses: list[float] = field(default_factory=list)
    params: list[torch.nn.Parameter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.params = [torch.nn.Parameter(p.clone()) for p in self.problem.start]

    def loss(self) -> Tensor:
        return self.problem.of(list(self.params))

    def gradient(self) -> Tensor:
        """Compute loss and gradient, and count them."""
        for p in self.params:
            p.grad = None
        loss = self.loss()
        loss.backward()
        value = loss.item()
        best = min(value, self.losses[-1]) if self.losses else value
        self.losses.append(best)
        if not math.isfinite(value) or best <= self.problem.target or len(self.losses) >= self.budget:
            raise Enough
        return loss

    def note(self, value: float) -> None:
        """Take a loss found without a gradient over."""
        if value < self.losses[-1]:
            self.losses[-1] = value
        if self.losses[-1] <= self.problem.target:
            raise Enough

    def product(self, v: Tensor) -> Tensor:
        """Return H v, and count two gradients."""
        hv = curvature.exact(self.loss, self.params)(v)
        self.losses += [self.losses[-1] if self.losses else float(self.loss().detach())] * 2
        return hv

    @property
    def score(self) -> tuple[float, float]:
        """Gradients to the target, then the loss left: less is better."""
        reached = self.losses[-1] <= self.problem.target
        return (len(self.losses) if reached else math.inf, self.losses[-1])


def run(problem: Problem, budget: int, setting: str, train: Callable[[Attempt], None]) -> Attempt:
    attempt = Attempt(problem, budget, setting)
    with contextlib.suppress(Enough):
        train(attempt)
    return attempt


def multirate(client: Any, diagonal: bool) -> Callable[[Attempt], None]:
    def train(attempt: Attempt) -> None:
        optimizer = SGD(attempt.params)
        if diagonal:
            optimizer.precondition(attempt.product, PROBES)
        scheduler = MultirateLR(optimizer, client, loss_lower_bound=0)
        while True:
            scheduler.step(attempt.gradient())
            optimizer.step()

    return train


def first_order(make: Callable[[list[Any]], Any], cosine: bool = False) -> Callable[[Attempt], None]:
    def train(attempt: Attempt) -> None:
        optimizer = make(attempt.params)
        if isinstance(optimizer, schedulefree.AdamWScheduleFree):
            optimizer.train()
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, attempt.budget) if cosine else None
        while True:
            attempt.gradient()
            optimizer.step()
            if decay is not None:
                decay.step()
            if isinstance(optimizer, schedulefree.AdamWScheduleFree):
                # What it has learnt is an average, not where gradients are taken.
                optimizer.eval()
                attempt.note(attempt.loss().item())
                optimizer.train()

    return train


def lbfgs(history: int) -> Callable[[Attempt], None]:
    def train(attempt: Attempt) -> None:
        optimizer = torch.optim.LBFGS(
            attempt.params,
            max_iter=attempt.budget,
            max_eval=attempt.budget,
            history_size=history,
            tolerance_change=0,
            tolerance_grad=0,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(attempt.gradient)

    return train


def peers(problem: Problem, budget: int, points: int) -> dict[str, Attempt]:
    """Return the best of each peer's grid."""
    rates = [10.0**e for e in np.linspace(-7, 1, points)]
    grids: dict[str, list[tuple[str, Callable[[Attempt], None]]]] = {
        "SGD, momentum 0.9, cosine": [
            (f"{r:.0e}", first_order(lambda p, r=r: torch.optim.SGD(p, lr=r, momentum=0.9), cosine=True))
            for r in rates
        ],
        "Adam": [(f"{r:.0e}", first_order(lambda p, r=r: torch.optim.Adam(p, lr=r))) for r in rates],
        "Schedule-Free Adam": [
            (f"{r:.0e}", first_order(lambda p, r=r: schedulefree.AdamWScheduleFree(p, lr=r))) for r in rates
        ],
        "Prodigy": [
            (f"d_coef {c:g}", first_order(lambda p, c=c: prodigyopt.Prodigy(p, d_coef=c)))
            for c in (0.1, 0.5, 1.0, 2.0, 10.0)[: max(1, points)]
        ],
        "L-BFGS": [(f"memory {m}", lbfgs(m)) for m in (5, 10, 20, 40)],
    }
    return {
        name: min((run(problem, budget, setting, train) for setting, train in grid), key=lambda a: a.score)
        for name, grid in grids.items()
    }


def logistic(name: str, data: Any, positive: int, dtype: torch.dtype) -> Problem:
    """Regularised logistic regression on raw features with an intercept; 1e-4 of excess is the target."""
    x = torch.from_numpy(np.column_stack([data.data, np.ones(len(data.data))])).to(dtype)
    y = torch.from_numpy(data.target == positive).to(dtype)

    def of(params: list[Tensor]) -> Tensor:
        z = x.to(params[0].dtype) @ params[0]
        fit = torch.nn.functional.binary_cross_entropy_with_logits(z, y.to(z.dtype))
        return fit + 1e-4 * (params[0] ** 2).sum() / 2

    least = newton(of, x.shape[1])
    first = math.log(2)
    start = [torch.zeros(x.shape[1], dtype=dtype)]
    return Problem(name, start, of, least + 1e-4 * (first - least), least)


def newton(of: Callable[[list[Tensor]], Tensor], size: int) -> float:
    """Return the least loss, by damped Newton steps in float64."""
    w = torch.zeros(size, dtype=torch.float64)

    def flat(v: Tensor) -> Tensor:
        return of([v])

    for _ in range(200):
        g = torch.autograd.functional.jacobian(flat, w)
        step = torch.linalg.solve(torch.autograd.functional.hessian(flat, w), g)
        length = 1.0
        while flat(w - length * step) > flat(w) and length > 1e-10:
            length /= 2
        w = w - length * step
        if float(g @ step) < 1e-22:
            break
    return float(flat(w))


def digits(dtype: torch.dtype) -> Problem:
    """A tanh network of 64-24-10 on the raw 8x8 counts; a loss of 1e-2 is the target."""
    data = sklearn.datasets.load_digits()
    x, y = torch.from_numpy(data.data).to(dtype), torch.from_numpy(data.target)
    generator = torch.Generator().manual_seed(1)
    shapes = [((64, 24), 1 / 64), ((24,), 0.0), ((24, 10), 24**-0.5), ((10,), 0.0)]
    start = [torch.randn(s, generator=generator, dtype=dtype) * c for s, c in shapes]

    def of(p: list[Tensor]) -> Tensor:
        return torch.nn.functional.cross_entropy(torch.tanh(x @ p[0] + p[1]) @ p[2] + p[3], y)

    return Problem("network on digits", start, of, 1e-2)


def report(problem: Problem, attempts: dict[str, Attempt]) -> None:
    size = sum(p.numel() for p in problem.start)
    print(f"\n{problem.name}: {size} parameters, to a loss of {problem.target:.6g}\n")
    print(f"    {'':28}{'gradients':>10}{'loss above the least':>24}   setting")
    for name, a in attempts.items():
        count = f"{a.score[0]:,}" if a.score[0] < math.inf else f"> {a.budget:,}"
        print(f"    {name:28}{count:>10}{a.losses[-1] - problem.least:>24.1e}   {a.setting}")


def picture(results: list[tuple[Problem, dict[str, Attempt]]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 4), squeeze=False)
    for axis, (problem, attempts) in zip(axes[0], results, strict=True):
        for name, a in attempts.items():
            axis.loglog(
                range(1, len(a.losses) + 1), np.maximum(np.array(a.losses) - problem.least, 1e-16), label=name
            )
        axis.axhline(problem.target - problem.least, color="grey", linewidth=0.5)
        axis.set(title=problem.name, xlabel="gradients", ylabel="loss above the least")
    axes[0][0].legend(fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", default="breast-cancer,wine,digits")
    parser.add_argument("--budget", type=int, default=3000, help="gradients for each training")
    parser.add_argument("--points", type=int, default=9, help="rates of each grid, from 1e-7 to 10")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--out", type=Path, default=Path("multirate-out/compare.png"))
    options = parser.parse_args()
    dtype: torch.dtype = getattr(torch, options.dtype)
    torch.set_num_threads(1)  # the problems are small
    torch.manual_seed(1)
    load = sklearn.datasets
    problems: dict[str, Callable[[], Problem]] = {
        "breast-cancer": lambda: logistic("breast cancer", load.load_breast_cancer(), 1, dtype),
        "wine": lambda: logistic("wine", load.load_wine(), 0, dtype),
        "digits": lambda: digits(dtype),
    }
    results = []
    with start() as sidecar, sidecar.connect() as client:
        for name in options.problems.split(","):
            problem = problems[name]()
            attempts = {
                "multirate": run(problem, options.budget, "", multirate(client, False)),
                "multirate, diagonal": run(problem, options.budget, "", multirate(client, True)),
                **peers(problem, options.budget, options.points),
            }
            report(problem, attempts)
            results.append((problem, attempts))
    picture(results, options.out)
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
