"""Rates that are never waited for: late, and safe all the same."""

from __future__ import annotations

import io
import itertools
import math
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from multirate import Client, InvalidRequestError, NotFiniteError, Sidecar
from multirate.torch import MultirateLR
from problems import EIGENVALUES, quadratic_loss

Loss = Callable[[torch.Tensor], torch.Tensor]


def quadratic(seed: int) -> tuple[torch.Tensor, Loss, float]:
    start = torch.randn(40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return start / torch.as_tensor(EIGENVALUES).sqrt(), quadratic_loss, 0.0


def logistic(seed: int) -> tuple[torch.Tensor, Loss, float]:
    """Features at 1 and 0.01; the least loss is Newton's."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0] * 8 + [0.01] * 8, dtype=torch.float64)
    x = torch.randn(500, 16, generator=generator, dtype=torch.float64) * scale
    w = 2 * torch.randn(16, generator=generator, dtype=torch.float64) / (scale * 4)
    y = (torch.rand(500, generator=generator, dtype=torch.float64) < torch.sigmoid(x @ w)).double() * 2 - 1

    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-y * (x @ w)).mean()

    w = torch.zeros(16, dtype=torch.float64)
    for _ in range(50):
        gradient = torch.func.grad(loss)(w)
        w = w - torch.linalg.solve(torch.func.hessian(loss)(w), gradient)
    return torch.zeros(16, dtype=torch.float64), loss, float(loss(w))


class Descent:
    def __init__(self, client: Client, problem: tuple[torch.Tensor, Loss, float], **options: Any) -> None:
        start, self.loss, self.least = problem
        self.x = torch.nn.Parameter(start.clone())
        self.optimizer = torch.optim.SGD([self.x], lr=0.0)
        self.scheduler = MultirateLR(self.optimizer, client, loss_lower_bound=0, **options)
        self.first = self.excess()
        self.peak = 1.0

    def excess(self) -> float:
        return float(self.loss(self.x).detach()) - self.least

    def step(self, wait: bool = True) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.x)
        loss.backward()
        self.peak = max(self.peak, (float(loss.detach()) - self.least) / self.first)
        self.scheduler.step(loss)
        if wait and self.scheduler._background is not None:
            self.scheduler._background.wait()  # so that every rate is exactly one step late
        self.optimizer.step()
        return float(self.scheduler.get_last_lr()[0])

    def steps_to(self, target: float, most: int, wait: bool = True) -> int:
        for step in range(most):
            if self.excess() <= target * self.first:
                return step
            self.step(wait)
        raise AssertionError(f"excess {self.excess() / self.first} after {most} steps")


@pytest.mark.parametrize("problem", [quadratic, logistic])
@pytest.mark.parametrize("seed", [1, 2])
def test_rates_one_step_late_converge_and_raise_nothing(
    client: Client, problem: Callable[[int], tuple[torch.Tensor, Loss, float]], seed: int
) -> None:
    target = 1e-6
    in_time = Descent(client, problem(seed)).steps_to(target, 1000)
    late = Descent(client, problem(seed), asynchronous=True)
    # Every second step at 1/L at worst, and as many of them again for each plan left half-way.
    assert late.steps_to(target, 4 * in_time) <= 4 * in_time
    assert late.peak < 1.05


def test_a_long_step_is_never_followed_by_another_unseen(client: Client) -> None:
    descent = Descent(client, quadratic(3), asynchronous=True)
    long = 0
    taken: list[tuple[float, float]] = []
    for _ in range(150):
        advice = descent.scheduler.advice
        safe = math.inf if advice is None or not advice.stiffest_curvature else 1 / advice.stiffest_curvature
        taken.append((descent.step(), safe))
    for (rate, safe), (following, still_safe) in itertools.pairwise(taken):
        if rate > safe:
            long += 1
            assert following <= still_safe
    assert long > 10


def test_racing_with_the_service(client: Client) -> None:
    descent = Descent(client, quadratic(4), asynchronous=True)
    descent.steps_to(1e-6, 100_000, wait=False)
    assert descent.peak < 1.05


def test_a_service_that_hangs_holds_nothing_up(binary: str) -> None:
    with Sidecar(binary) as own, own.connect() as client:
        descent = Descent(client, quadratic(5), asynchronous=True)
        for _ in range(30):
            descent.step()
        background = descent.scheduler._background
        assert background is not None
        before = descent.excess()
        os.kill(own.pid, signal.SIGSTOP)
        try:
            # As many as would take half an hour if each were waited for.
            rates = [descent.step(wait=False) for _ in range(200)]
        finally:
            os.kill(own.pid, signal.SIGCONT)
        assert background.unreported > 100
        assert max(rates[1:]) <= 1 / EIGENVALUES.max() * 2
        assert descent.excess() <= before
        background.wait()
        descent.steps_to(1e-6, 1000)
        assert descent.scheduler.run.step == descent.scheduler.last_epoch


def save(descent: Descent) -> bytes:
    file = io.BytesIO()
    torch.save([descent.x.detach(), descent.scheduler.state_dict()], file)
    return file.getvalue()


def test_checkpoints_have_the_late_answer(client: Client, binary: str) -> None:
    descent = Descent(client, quadratic(6), asynchronous=True)
    checkpoints, rates = [], []
    for _ in range(60):
        checkpoints.append(save(descent))
        rates.append(descent.step())
    with Sidecar(binary) as fresh, fresh.connect() as other:
        for at in range(0, 50, 7):
            x, state = torch.load(io.BytesIO(checkpoints[at]), weights_only=True)
            resumed = Descent(other, (x, quadratic_loss, 0.0), asynchronous=True)
            resumed.scheduler.load_state_dict(state)
            assert [resumed.step() for _ in range(10)] == rates[at : at + 10], f"resumed at {at}"


def test_what_goes_wrong_is_raised_at_a_later_step(client: Client) -> None:
    descent = Descent(client, quadratic(7), asynchronous=True)
    descent.step()
    good = descent.loss
    descent.loss = lambda x: good(x) * math.nan
    descent.step()
    with pytest.raises(NotFiniteError, match="go back to a checkpoint"):
        descent.step()
    refused = Descent(client, quadratic(8), asynchronous=True)
    refused.loss = lambda x: good(x) * 0 - 1  # below the bound declared
    refused.step()
    with pytest.raises(InvalidRequestError, match="loss"):
        refused.step()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch": "mini"}, "in time"),
        ({"scaler": torch.amp.GradScaler("cpu")}, "scaler waits"),
        ({"upcoming": True}, "choose one"),
        ({"process_group": True}, "ranks wait"),
    ],
)
def test_what_would_wait_all_the_same_is_refused(client: Client, options: Any, match: str) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.from_numpy(np.ones(3)))], lr=0.1)
    with pytest.raises(ValueError, match=match):
        MultirateLR(optimizer, client, asynchronous=True, **options)
