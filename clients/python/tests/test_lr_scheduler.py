"""MultirateLR is a learning rate scheduler, and refuses what it can't plan for."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from typing import Any

import pytest
import torch

from multirate import (
    Client,
    DimensionError,
    InvalidRequestError,
    MultirateError,
    NotFiniteError,
    RunConfig,
    UnsupportedOptimizerError,
    statistics,
)
from multirate.torch import SGD, MultirateLR
from problems import NARROW, Training, quadratic_loss


def trained(client: Client, steps: int, **options: Any) -> tuple[Training, list[float]]:
    training = Training(groups=options.pop("groups", 1), optimizer=options.pop("optimizer", None))
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0, **options)
    return training, [training.step() for _ in range(steps)]


def test_three_lines_train_and_start_a_sidecar(client: Client) -> None:
    x = torch.nn.Parameter(torch.ones(40, dtype=torch.float64))
    optimizer = SGD([x])
    scheduler = MultirateLR(optimizer, loss_lower_bound=0)
    for _ in range(300):
        optimizer.zero_grad()
        loss = quadratic_loss(x)
        loss.backward()
        scheduler.step(loss)
        optimizer.step()
    assert quadratic_loss(x) < 1e-9


def test_it_is_a_scheduler(client: Client) -> None:
    training, rates = trained(client, 20)
    scheduler = training.scheduler
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    assert scheduler.get_last_lr() == [rates[-1]]
    assert scheduler.get_lr() == [rates[-1]]
    assert training.optimizer.param_groups[0]["lr"] == rates[-1]
    assert scheduler.last_epoch == 20
    assert scheduler.advice is not None
    assert scheduler.advice.learning_rate == rates[-1]
    assert scheduler.advice.text


class Decayed(Training):
    """With weight decay, of the optimizer or inside the loss."""

    decays = (0.1, 0.03)

    def __init__(self, inside: bool) -> None:
        super().__init__(groups=2)
        self.inside = inside
        for group, decay in zip(self.optimizer.param_groups, self.decays, strict=True):
            group["weight_decay"] = 0.0 if inside else decay

    def loss(self) -> torch.Tensor:
        total = super().loss()
        if self.inside:
            for group, decay in zip(self.optimizer.param_groups, self.decays, strict=True):
                for p in group["params"]:
                    total = total + decay / 2 * p.square().sum()
        return total


@pytest.mark.parametrize("mini", [False, True])
def test_weight_decay_is_part_of_the_loss(client: Client, mini: bool) -> None:
    """The same rates, but for rounding, as with decay/2 |x|^2 in the loss."""
    options: dict[str, Any] = {"batch": "mini", "horizon_steps": 200} if mini else {}
    rates = []
    for inside in (False, True):
        training = Decayed(inside)
        training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0, **options)
        rates.append([training.step() for _ in range(25)])
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)


def test_the_rate_is_of_the_gradient_at_hand(client: Client) -> None:
    """The same losses and gradients, handed to the core client, give the same rates."""
    training, run = Training(), client.new_run(RunConfig(123, loss_lower_bound=0))
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0)
    for step in range(50):
        x = torch.cat([p.detach().reshape(-1) for p in training.model.parameters()])
        loss = float(training.loss().detach())
        rate = training.step()
        g = torch.cat([p.grad.reshape(-1) for p in training.model.parameters() if p.grad is not None])
        norm = float(x.norm()) if step == 0 else None
        # Sums in another order: rounding of the sketch to float32 sets the two apart.
        assert rate == pytest.approx(run.rate(loss, g.numpy(), parameter_norm=norm).learning_rate, rel=1e-3)


def test_param_groups_share_one_rate(client: Client) -> None:
    _, rates = trained(client, 30)
    two, shared = trained(client, 30, groups=2)
    assert shared == rates
    assert two.scheduler.get_last_lr() == [rates[-1]] * 2


def test_a_tensor_as_rate_is_filled(client: Client) -> None:
    x = torch.nn.Parameter(torch.ones(40, dtype=torch.float64))
    rate = torch.tensor(0.0)
    optimizer = torch.optim.SGD([x], lr=rate)
    scheduler = MultirateLR(optimizer, client, loss_lower_bound=0)
    loss = quadratic_loss(x)
    loss.backward()
    scheduler.step(loss)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(float(scheduler.get_last_lr()[0]))
    assert float(rate) > 0


def test_accumulated_gradients_are_one_gradient(client: Client) -> None:
    whole, halves = Training(), Training()
    for t in (whole, halves):
        t.scheduler = MultirateLR(t.optimizer, client, loss_lower_bound=0)
    for _ in range(25):
        halves.optimizer.zero_grad()
        losses = []
        for part in (slice(0, 30), slice(30, 60)):
            loss = torch.nn.functional.cross_entropy(halves.model(halves.x[part]), halves.y[part]) / 2
            loss.backward()
            losses.append(loss.detach())
        halves.scheduler.step(sum(losses, torch.zeros(())))
        halves.optimizer.step()
        # Sums in another order: rounding alone sets the two apart.
        assert float(halves.scheduler.get_last_lr()[0]) == pytest.approx(whole.step(), rel=1e-5)


def test_a_grad_scaler_changes_nothing_but_the_steps_it_skips(client: Client) -> None:
    plain, rates = trained(client, 12)
    scaled = Training()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled.scheduler = MultirateLR(scaled.optimizer, client, loss_lower_bound=0, scaler=scaler)
    got = []
    for step in range(14):
        scaled.optimizer.zero_grad()
        loss = scaled.loss()
        scaler.scale(loss).backward()
        if step in (4, 9):  # an overflow
            next(scaled.model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
        if step % 2:
            scaler.unscale_(scaled.optimizer)
        before = scaled.scheduler.last_epoch
        scaled.scheduler.step(loss)
        if scaled.scheduler.last_epoch > before:
            got.append(float(scaled.scheduler.get_last_lr()[0]))
        scaler.step(scaled.optimizer)
        scaler.update()
    assert got == rates
    for a, b in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_left_out_and_a_rate_of_ones_own_are_declared(client: Client) -> None:
    training, _ = trained(client, 10)
    run = training.scheduler.run
    training.optimizer.zero_grad()
    loss = training.loss()
    loss.backward()
    training.scheduler.step(loss)  # and no optimizer.step()
    training.scheduler._declare_taken()
    assert run._applied == 0
    training.scheduler.step(loss)
    training.optimizer.param_groups[0]["lr"] = 1e-3
    training.optimizer.step()
    training.scheduler._declare_taken()
    assert run._applied == 1e-3


def test_the_order_of_the_calls_is_checked(client: Client) -> None:
    training, _ = trained(client, 0)
    loss = training.loss()
    loss.backward()
    training.optimizer.step()
    with pytest.raises(
        MultirateError, match=r"loss.backward\(\); scheduler.step\(loss\); optimizer.step\(\)"
    ):
        training.scheduler.step(loss)
    training, _ = trained(client, 2)
    training.optimizer.step()
    with pytest.raises(MultirateError, match="1 steps of the optimizer without a rate"):
        training.scheduler.step(loss)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"momentum": 0.9}, "makes up for the momentum"),
        ({"momentum": 0.9, "nesterov": True}, "makes up for the momentum"),
        ({"momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
        ({"maximize": True}, "minimise the negative"),
    ],
)
def test_what_sgd_may_not_do(client: Client, options: dict[str, Any], advice: str) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1, **options)
    with pytest.raises(UnsupportedOptimizerError, match=advice):
        MultirateLR(optimizer, client)


@pytest.mark.parametrize(
    "kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad]
)
def test_other_optimizers_are_refused(client: Client, kind: Any) -> None:
    with pytest.raises(
        UnsupportedOptimizerError, match=f"{kind.__name__} does not apply the gradient as it is"
    ):
        MultirateLR(kind([torch.nn.Parameter(torch.ones(3))]), client)
    with pytest.raises(TypeError, match=r"not a torch\.optim\.Optimizer"):
        MultirateLR(torch.nn.Linear(2, 2), client)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_told(client: Client, value: float) -> None:
    training, _ = trained(client, 3)
    training.loss().backward()
    with pytest.raises(NotFiniteError, match="go back to a checkpoint"):
        training.scheduler.step(value)
    training.optimizer.zero_grad()
    loss = training.loss() * value
    loss.backward()
    with pytest.raises(NotFiniteError):
        training.scheduler.step(0.5)


def test_a_loss_below_its_bound_is_told(client: Client) -> None:
    training, _ = trained(client, 3)
    training.loss().backward()
    with pytest.raises(InvalidRequestError, match="true loss_lower_bound"):
        training.scheduler.step(-1.0)


def test_a_param_group_added_later_needs_a_new_scheduler(client: Client) -> None:
    training, _ = trained(client, 3)
    training.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    training.loss().backward()
    with pytest.raises(DimensionError, match="make a new MultirateLR"):
        training.scheduler.step(1.0)


def test_frozen_parameters_and_such_without_gradient(client: Client) -> None:
    training = Training()
    frozen = next(training.model.parameters()).requires_grad_(False)
    before = frozen.clone()
    training.scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0)
    first = float(training.loss().detach())
    for _ in range(30):
        training.step()
    assert training.scheduler.run.dimension == 123 - frozen.numel()
    assert torch.equal(frozen, before)
    assert training.loss() < first


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    ids=["plain", "heavy ball", "nesterov"],
)
def test_mini_batches_are_held_when_asked_and_show_the_sharpness(
    client: Client, options: dict[str, Any]
) -> None:
    training = Training(optimizer=lambda params, lr: torch.optim.SGD(params, lr=1e-3, **options))
    scheduler = MultirateLR(training.optimizer, client, loss_lower_bound=0, batch="mini", horizon_steps=120)
    training.scheduler = scheduler
    declared = scheduler.run.declared
    assert declared.fallback_learning_rate == 1e-3
    assert declared.momentum == options.get("momentum", 0)
    first = float(training.loss().detach())
    generator, batch, held, holds = torch.Generator().manual_seed(3), 0, 0, 0
    rows = torch.arange(60)
    for _ in range(120):
        if not held:
            batch, rows = batch + 1, torch.randperm(60, generator=generator)[:40]
        training.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(training.model(training.x[rows]), training.y[rows])
        loss.backward()
        scheduler.step(loss, batch_id=batch)
        training.optimizer.step()
        held = scheduler.hold_batch_steps
        holds += held > 0
    assert holds > 4
    assert scheduler.advice is not None
    assert scheduler.advice.stiffest_curvature > 0
    assert float(training.loss().detach()) < first


def test_mini_batches_that_are_not_held_get_the_optimizers_own_rate(client: Client) -> None:
    training = Training()
    training.scheduler = MultirateLR(training.optimizer, client, batch="mini")
    for step in range(5):
        training.optimizer.zero_grad()
        loss = training.loss()
        loss.backward()
        training.scheduler.step(loss, batch_id=step)
        training.optimizer.step()
    assert training.scheduler.get_last_lr() == [0.1]
    assert training.scheduler.advice is not None
    assert training.scheduler.advice.reason == "fallback"


def test_groups_of_different_momentum_are_refused(client: Client) -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "momentum": m} for m in (0.5, 0.9)]
    with pytest.raises(UnsupportedOptimizerError, match="give all the same"):
        MultirateLR(torch.optim.SGD(groups, lr=0.1), client, batch="mini")


@pytest.mark.parametrize("vectors", [False, True])
def test_spectra_from_products_and_upcoming_rates(client: Client, vectors: bool) -> None:
    x = torch.nn.Parameter(torch.ones(40, dtype=torch.float64))
    optimizer = torch.optim.SGD([x], lr=0.0)
    scheduler = MultirateLR(
        optimizer, client, loss_lower_bound=0, policy="chebyshev", sketch=False, upcoming=True
    )

    def product(v: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(NARROW) * v

    spectrum = scheduler.estimate_spectrum(product, 40, vectors=vectors)
    assert spectrum.ritz_values[0].value == pytest.approx(1200, rel=1e-6)
    asked = 0
    for _ in range(60):
        optimizer.zero_grad()
        loss = quadratic_loss(x, NARROW)
        loss.backward()
        before = scheduler.advice
        scheduler.step(loss)
        asked += scheduler.advice is not before
        optimizer.step()
    assert asked < 30
    assert quadratic_loss(x, NARROW) < 1e-20


def test_warnings_and_references(client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training, _ = trained(client, 5)
    optimizer, scheduler = training.optimizer, weakref.ref(training.scheduler)
    del training
    gc.collect()
    assert scheduler() is None, "the optimizer's hook keeps the scheduler alive"
    optimizer.step()


def test_the_first_rate_hangs_on_the_size_of_the_parameters(client: Client) -> None:
    def first(norm: float | None) -> float:
        run = client.new_run(RunConfig(3, loss_lower_bound=0))
        return run.advise(statistics(1.0, 1.0, parameter_norm=norm)).learning_rate

    x = torch.nn.Parameter(torch.full((3,), 0.01))
    x.grad = torch.tensor([1.0, 0.0, 0.0])
    scheduler = MultirateLR(torch.optim.SGD([x]), client, loss_lower_bound=0, sketch=False)
    scheduler.step(1.0)
    assert float(scheduler.get_last_lr()[0]) == pytest.approx(first(3**0.5 * 0.01))
    assert first(None) != first(3**0.5 * 0.01)


def test_it_can_be_copied_with_its_optimizer(client: Client) -> None:
    training, _ = trained(client, 3)
    state = copy.deepcopy(training.scheduler.state_dict())
    assert state["run"]["step"] == 3
