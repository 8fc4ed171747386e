"""Logistic regression and least squares on raw tables, columns in the units they were measured in.

    pip install 'clients/python[torch,examples]'
    python examples/python/tables.py

The target is 1e-4 of the first excess over the least loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from contest import Entry, Problem, contest, parser
from torch import Tensor


def table(data: Any) -> Tensor:
    """Return the columns as they are, and an intercept."""
    return torch.from_numpy(np.column_stack([data.data, np.ones(len(data.data))]))


def logistic(name: str, data: Any, positive: Callable[[Any], Any]) -> Problem:
    """Return logistic regression with 1e-4 |w|^2 / 2."""
    x, y = table(data), torch.from_numpy(positive(data.target)).double()

    def of(params: list[Tensor]) -> Tensor:
        w = params[0]
        return torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y) + 1e-4 * (w**2).sum() / 2

    return from_zero(name, of, x.shape[1])


def least_squares(name: str, data: Any) -> Problem:
    x, y = table(data), torch.from_numpy(data.target)
    return from_zero(name, lambda params: ((x @ params[0] - y) ** 2).mean() / 2, x.shape[1])


def from_zero(name: str, of: Callable[[list[Tensor]], Tensor], size: int) -> Problem:
    start = torch.zeros(size, dtype=torch.float64)
    least = newton(of, start)
    return Problem(name, [start], of, least + 1e-4 * (float(of([start])) - least), least)


def newton(of: Callable[[list[Tensor]], Tensor], w: Tensor) -> float:
    """Return the least loss, by damped Newton steps."""

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


def entry(problem: Callable[[], Problem]) -> Entry:
    return Entry(lambda _: problem(), budget=2000, rates=(1e-7, 10.0, 9), random=False)


load = sklearn.datasets
ENTRIES = {
    "breast-cancer": entry(lambda: logistic("breast cancer", load.load_breast_cancer(), lambda t: t == 1)),
    "wine": entry(lambda: logistic("wine", load.load_wine(), lambda t: t == 0)),
    "digits": entry(lambda: logistic("digits, odd or even", load.load_digits(), lambda t: t % 2 == 1)),
    "diabetes": entry(lambda: least_squares("diabetes", load.load_diabetes(scaled=False))),
}

if __name__ == "__main__":
    contest(ENTRIES, parser(__doc__, "tables").parse_args())
