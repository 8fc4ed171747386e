"""Trains a problem with multirate and with tuned peers, and compares what each gradient bought.

Every method has the same budget of gradients, of all data each; a Hessian-vector
product counts as two, each evaluation of L-BFGS's line search as one. Peers get
the setting of a grid that is best on seed 1, then all run on the seeds from 101;
multirate has nothing to tune. What Schedule-Free has learnt is an average, where
its loss is looked at without being counted.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import prodigyopt
import schedulefree
import torch
from torch import Tensor

from multirate import start
from multirate.torch import SGD, MultirateLR, curvature

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PROBES = 5
TUNING_SEED, FIRST_SEED = 1, 101


@dataclass
class Problem:
    """A loss of parameters, full batch, from a start."""

    name: str
    start: list[Tensor]
    of: Callable[[list[Tensor]], Tensor]
    target: float
    least: float = 0.0


@dataclass
class Entry:
    """A problem for each seed, and what a training may cost.

    ``rates`` are the ends of the peers' grid of rates, and how many it has. A problem that is not
    ``random`` has one start: there, seeds are multirate's sketch's alone.
    """

    make: Callable[[int], Problem]
    budget: int
    rates: tuple[float, float, int]
    random: bool = True


@dataclass
class Attempt:
    """One training: the best loss after each gradient."""

    problem: Problem
    budget: int
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


class Enough(Exception):  # noqa: N818 - it is no error
    """The budget is spent, the target reached, or the loss is no number."""


Train = Callable[[Attempt], None]


def multirate(client: Any, seed: int, diagonal: bool) -> Train:
    def train(attempt: Attempt) -> None:
        optimizer = SGD(attempt.params)
        if diagonal:
            optimizer.precondition(attempt.product, PROBES, seed=seed)
        scheduler = MultirateLR(optimizer, client, loss_lower_bound=0, sketch_seed=seed)
        while True:
            scheduler.step(attempt.gradient())
            optimizer.step()

    return train


def first_order(make: Callable[[list[Any]], Any], cosine: float = 0.0) -> Train:
    """Return a training at a constant rate, or at one that falls to 0 in that share of the budget."""

    def train(attempt: Attempt) -> None:
        optimizer = make(attempt.params)
        steps = int(cosine * attempt.budget)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if steps else None
        for step in range(attempt.budget):
            attempt.gradient()
            optimizer.step()
            if decay is not None and step < steps - 1:
                decay.step()

    return train


def schedule_free(rate: float) -> Train:
    def train(attempt: Attempt) -> None:
        optimizer = schedulefree.AdamWScheduleFree(attempt.params, lr=rate)
        optimizer.train()
        while True:
            attempt.gradient()
            optimizer.step()
            optimizer.eval()
            attempt.note(attempt.loss().item())
            optimizer.train()

    return train


def lbfgs(history: int) -> Train:
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
        while True:  # where its line search gave up, it tries again
            optimizer.step(attempt.gradient)

    return train


def peers(rates: tuple[float, float, int]) -> dict[str, dict[str, Train]]:
    """Return each peer's grid: settings and their trainings."""
    grid = [float(r) for r in np.geomspace(*rates)]
    sgd = {
        f"{r:.1e} over {share:g} of the budget": first_order(
            lambda p, r=r: torch.optim.SGD(p, lr=r, momentum=0.9), cosine=share
        )
        for r in grid
        for share in (1.0, 0.25)
    }
    adam = {
        f"{r:.1e}{', cosine' if share else ''}": first_order(
            lambda p, r=r: torch.optim.Adam(p, lr=r), cosine=share
        )
        for r in grid
        for share in (0.0, 1.0)
    }
    return {
        "SGD, momentum 0.9, cosine": sgd,
        "Adam": adam,
        "Schedule-Free Adam": {f"{r:.1e}": schedule_free(r) for r in grid},
        "Prodigy": {
            f"d_coef {c:g}": first_order(lambda p, c=c: prodigyopt.Prodigy(p, d_coef=c))
            for c in (0.1, 0.5, 1.0, 2.0, 10.0)[: rates[2]]
        },
        "L-BFGS, strong Wolfe": {f"memory {m}": lbfgs(m) for m in (5, 10, 20, 40)},
    }


def run(problem: Problem, budget: int, train: Train) -> Attempt:
    attempt = Attempt(problem, budget)
    with contextlib.suppress(Enough):
        train(attempt)
    return attempt


@dataclass
class Result:
    """A method's trainings on all seeds."""

    method: str
    setting: str
    attempts: list[Attempt]

    @property
    def gradients(self) -> float:
        """The median."""
        return statistics.median(a.score[0] for a in self.attempts)

    @property
    def excess(self) -> float:
        """The median of the loss left above the least."""
        return statistics.median(a.losses[-1] - a.problem.least for a in self.attempts)


def results(entry: Entry, client: Any, seeds: int, alone: bool) -> Iterator[Result]:
    """Run every method, or multirate alone, on the held-out seeds."""
    held_out = range(FIRST_SEED, FIRST_SEED + seeds)

    def all_seeds(train: Callable[[int], Train]) -> list[Attempt]:
        return [run(entry.make(seed), entry.budget, train(seed)) for seed in held_out]

    yield Result("multirate", "", all_seeds(lambda seed: multirate(client, seed, False)))
    yield Result("multirate, with the diagonal", "", all_seeds(lambda seed: multirate(client, seed, True)))
    if alone:
        return
    trial = entry.make(TUNING_SEED)
    for method, grid in peers(entry.rates).items():
        tuned = {setting: run(trial, entry.budget, train) for setting, train in grid.items()}
        best = min(tuned, key=lambda setting: tuned[setting].score)
        yield Result(
            method, best, all_seeds(lambda _, best=grid[best]: best) if entry.random else [tuned[best]]
        )


def report(problem: Problem, budget: int, found: list[Result]) -> None:
    size = sum(p.numel() for p in problem.start)
    print(f"\n{problem.name}: {size} parameters, to a loss of {problem.target:.6g}; medians\n")
    print(f"    {'':30}{'gradients':>10}{'loss above the least':>24}   setting")
    for r in found:
        count = f"{r.gradients:,.0f}" if r.gradients < math.inf else f"> {budget:,}"
        print(f"    {r.method:30}{count:>10}{r.excess:>24.1e}   {r.setting}")


def picture(contests: list[tuple[Problem, list[Result]]], path: Path) -> None:
    """Save the loss after each gradient, of the first seed."""
    figure, axes = plt.subplots(1, len(contests), figsize=(5 * len(contests), 4), squeeze=False)
    for axis, (problem, found) in zip(axes[0], contests, strict=True):
        for r in found:
            losses = r.attempts[0].losses
            above = np.maximum(np.array(losses) - problem.least, 1e-16)
            axis.loglog(
                range(1, len(losses) + 1), above, label=r.method, lw=2 if "multirate" in r.method else 1
            )
        axis.axhline(problem.target - problem.least, color="grey", linewidth=0.5)
        axis.set(title=problem.name, xlabel="gradients", ylabel="loss above the least")
    axes[0][-1].legend(fontsize="x-small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def parser(about: str | None, out: str) -> argparse.ArgumentParser:
    """Return the options that all examples have, for one with this docstring and name of its picture."""
    made = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    made.add_argument("--problems", help="separated by commas; all unless given")
    made.add_argument("--budget", type=int, help="gradients for each training")
    made.add_argument("--points", type=int, help="rates of each grid")
    made.add_argument("--seeds", type=int, default=3, help="held-out seeds, from 101")
    made.add_argument("--alone", action="store_true", help="multirate alone, without the peers")
    made.add_argument("--out", type=Path, default=Path(f"multirate-out/{out}.png"))
    return made


def contest(entries: dict[str, Entry], options: argparse.Namespace) -> None:
    """Run the problems chosen, print a table of each, and save the picture of all."""
    torch.set_num_threads(1)  # the problems are small
    contests = []
    with start() as sidecar, sidecar.connect() as client:
        for name in options.problems.split(",") if options.problems else entries:
            entry = entries[name]
            entry.budget = options.budget or entry.budget
            entry.rates = (*entry.rates[:2], options.points or entry.rates[2])
            found = list(results(entry, client, options.seeds, options.alone))
            problem = entry.make(FIRST_SEED)
            report(problem, entry.budget, found)
            contests.append((problem, found))
    picture(contests, options.out)
    print(f"\n{options.out}")
