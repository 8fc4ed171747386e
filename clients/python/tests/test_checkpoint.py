"""Stop and resume, on a fresh sidecar, with the bits of the run that never stopped."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from multirate import Client, DimensionError, MultirateError, Sidecar, SnapshotError
from multirate.torch import SGD, MultirateLR, curvature
from problems import Training

STEPS = 90


def begin(client: Client, precondition: bool, **options: Any) -> Training:
    training = Training(groups=2, optimizer=SGD)
    if precondition:
        assert isinstance(training.optimizer, SGD)
        training.optimizer.precondition(curvature.exact(training.loss, list(training.model.parameters())))
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0, **options)
    return training


def save(training: Training) -> bytes:
    file = io.BytesIO()
    parts = (training.model, training.optimizer, training.scheduler)
    torch.save([part.state_dict() for part in parts], file)
    return file.getvalue()


def resume(checkpoint: bytes, client: Client, **options: Any) -> Training:
    training = Training(groups=2, optimizer=SGD)
    model, optimizer, scheduler = torch.load(io.BytesIO(checkpoint), weights_only=True)
    training.model.load_state_dict(model)
    training.optimizer.load_state_dict(optimizer)
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0, **options)
    training.scheduler.load_state_dict(scheduler)
    return training


@pytest.mark.parametrize("precondition", [False, True])
def test_every_step_can_be_resumed_from(client: Client, binary: str, precondition: bool) -> None:
    """Warmup, mid-cycle, damping: a checkpoint at each step goes on with the same bits."""
    training = begin(client, precondition)
    checkpoints, rates, reasons = [], [], []
    for _ in range(STEPS):
        checkpoints.append(save(training))
        rates.append(training.step())
        assert training.scheduler.advice is not None
        reasons.append(training.scheduler.advice.reason)
    assert {"warmup", "planned", "damping"} <= set(reasons)
    with Sidecar(binary) as fresh, fresh.connect() as other:
        for at in [*range(8), *range(8, STEPS, 5)]:
            resumed = resume(checkpoints[at], other)
            ahead = min(12, STEPS - at)
            assert [resumed.step() for _ in range(ahead)] == rates[at : at + ahead], f"resumed at {at}"
            resumed.scheduler.run.delete()


def raise_the_loss(training: Training) -> None:
    """Throw the parameters far off, as a trainer's bug or a change of the data would."""
    with torch.no_grad():
        for p in training.model.parameters():
            p.mul_(-100)


def go_on_alone(training: Training) -> None:
    training.optimizer.param_groups[0]["lr"] = training.optimizer.param_groups[1]["lr"] = 1e-3
    training.optimizer.step()


@pytest.mark.parametrize("change", [raise_the_loss, None], ids=["recovery", "none"])
def test_resumed_after_recovery(
    client: Client, binary: str, change: Callable[[Training], None] | None
) -> None:
    training = begin(client, precondition=False)
    for _ in range(40):
        training.step()
    if change is not None:
        change(training)
    reasons = []
    checkpoints, rates = [], []
    for _ in range(12):
        rates.append(training.step())
        assert training.scheduler.advice is not None
        reasons.append(training.scheduler.advice.reason)
        checkpoints.append(save(training))
    assert ("recovery" in reasons) == (change is not None)
    rates += [training.step() for _ in range(12)]
    with Sidecar(binary) as fresh, fresh.connect() as other:
        for at, checkpoint in enumerate(checkpoints):
            resumed = resume(checkpoint, other)
            assert [resumed.step() for _ in range(12)] == rates[at + 1 : at + 13], f"resumed after {at}"


def test_resumed_while_upcoming_rates_are_taken(client: Client, binary: str) -> None:
    options: dict[str, Any] = {"sketch": False, "upcoming": True, "policy": "chebyshev"}
    training = begin(client, precondition=False, **options)
    # Two eigenvalues stand for the curvature: the cycle is short, and soon proven.
    training.scheduler.run.report_lanczos([20.0, 20.0], [10.0, 0.0])
    checkpoints, rates, ahead = [], [], []
    for _ in range(30):
        checkpoints.append(save(training))
        ahead.append(len(training.scheduler.run._ahead))
        rates.append(training.step())
    assert max(ahead) > 0
    with Sidecar(binary) as fresh, fresh.connect() as other:
        for at in range(0, 30, 3):
            resumed = resume(checkpoints[at], other, **options)
            assert [resumed.step() for _ in range(30 - at)] == rates[at:], f"resumed at {at}"


def test_a_step_at_a_rate_of_ones_own_is_in_the_checkpoint(client: Client, binary: str) -> None:
    training = begin(client, precondition=False)
    for _ in range(20):
        training.step()
    loss = training.loss()
    training.optimizer.zero_grad()
    loss.backward()
    training.scheduler.step(loss)
    go_on_alone(training)
    checkpoint = save(training)
    rates = [training.step() for _ in range(10)]
    with Sidecar(binary) as fresh, fresh.connect() as other:
        resumed = resume(checkpoint, other)
        assert [resumed.step() for _ in range(10)] == rates


def test_the_present_run_goes_back(client: Client) -> None:
    training = begin(client, precondition=False)
    for _ in range(30):
        training.step()
    checkpoint = save(training)
    rates = [training.step() for _ in range(10)]
    model, optimizer, scheduler = torch.load(io.BytesIO(checkpoint), weights_only=True)
    training.model.load_state_dict(model)
    training.optimizer.load_state_dict(optimizer)
    training.scheduler.load_state_dict(scheduler)
    assert [training.step() for _ in range(10)] == rates


def test_checkpoints_that_do_not_fit(client: Client) -> None:
    training = begin(client, precondition=False)
    training.step()
    state = training.scheduler.state_dict()
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(5))])
    scheduler = MultirateLR(other, client)
    with pytest.raises(DimensionError, match="of 123 parameters, the model has 5"):
        scheduler.load_state_dict(state)
    state["run"]["snapshot"][-1] ^= 1
    with pytest.raises(SnapshotError):
        training.scheduler.load_state_dict(state)


def test_a_horizon_changed_on_the_way_is_refused(client: Client, binary: str) -> None:
    training = begin(client, precondition=False, horizon_steps=100)
    training.step()
    checkpoint = save(training)
    with Sidecar(binary) as fresh, fresh.connect() as other:
        with pytest.raises(MultirateError, match="horizon_steps 200 instead of 100: make the scheduler with"):
            resume(checkpoint, other, horizon_steps=200)
        assert resume(checkpoint, other, horizon_steps=100).step() == training.step()


def test_param_groups_added_later_need_a_new_scheduler(client: Client) -> None:
    training = begin(client, precondition=False)
    for _ in range(10):
        training.step()
    checkpoint = training.scheduler.state_dict()
    extra = torch.nn.Parameter(torch.ones(5, dtype=torch.float64))
    training.optimizer.add_param_group({"params": [extra]})
    plain = training.loss
    training.loss = lambda: plain() + extra.square().sum()  # type: ignore[method-assign]
    with pytest.raises(DimensionError, match="make a new MultirateLR after add_param_group"):
        training.step()
    training.optimizer.zero_grad()
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0)
    with pytest.raises(DimensionError, match="of 123 parameters, the model has 128"):
        training.scheduler.load_state_dict(checkpoint)
    before = float(training.loss().detach())
    for _ in range(60):
        training.step()
    assert float(training.loss().detach()) < before
    assert len(training.scheduler.get_last_lr()) == 3


@pytest.mark.parametrize("vectors", [False, True])
def test_a_checkpoint_taken_in_mid_estimate(client: Client, binary: str, vectors: bool) -> None:
    """An estimate under way is not in it: resumed, the run goes on as if there had been none."""
    training = begin(client, precondition=False)
    for _ in range(20):
        training.step()
    checkpoints: list[bytes] = []
    params = list(training.model.parameters())
    training.scheduler.estimate_spectrum(
        curvature.exact(training.loss, params),
        8,
        vectors=vectors,
        progress=lambda done, most: checkpoints.append(save(training)),
    )
    assert len(checkpoints) == 8
    with Sidecar(binary) as fresh, fresh.connect() as other:
        first = resume(checkpoints[0], other)
        rates = [first.step() for _ in range(15)]
        last = resume(checkpoints[6], other)
        assert [last.step() for _ in range(15)] == rates
