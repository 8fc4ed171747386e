"""SGD is plain gradient descent, in z = x/s where it has a diagonal."""

from __future__ import annotations

import pytest
import torch

from multirate import Client, NotFiniteError
from multirate.torch import SGD, MultirateLR
from problems import Training


def test_without_a_diagonal_it_is_torchs() -> None:
    own, reference = Training(groups=2, optimizer=SGD), Training(groups=2)
    for _ in range(3):
        for t in (own, reference):
            t.optimizer.zero_grad()
            t.loss().backward()
            t.optimizer.step()
    for a, b in zip(own.model.parameters(), reference.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_forgotten_scheduler_moves_nothing() -> None:
    x = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([x])
    x.grad = torch.ones(3)
    optimizer.step()
    assert x.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="at least 0"):
        SGD([x], lr=-1)


def test_a_closure_computes_the_gradient() -> None:
    x = torch.nn.Parameter(torch.ones(3))

    def closure() -> torch.Tensor:
        loss = (x * x).sum()
        loss.backward()
        return loss

    assert float(SGD([x], lr=0.5).step(closure).detach()) == 3
    assert x.tolist() == [0, 0, 0]


H = torch.tensor([4.0, 100.0, 1e6, 0.25], dtype=torch.float64)


def test_on_a_diagonal_hessian_one_step_is_newtons() -> None:
    x = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    unused = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = SGD([x, unused], lr=1.0)
    optimizer.precondition(lambda v: torch.cat([H * v[:4], 3 * v[4:]]), probes=1)
    loss = (H * x * x).sum() / 2
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(x.detach(), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-14)
    scales = optimizer.scales()
    assert scales is not None
    torch.testing.assert_close(scales[0], H.rsqrt())


def test_the_diagonal_is_in_the_state_dict() -> None:
    x = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer, other = SGD([x], lr=1.0), SGD([x], lr=1.0)
    assert optimizer.scales() is None
    optimizer.precondition(lambda v: H * v)
    other.load_state_dict(optimizer.state_dict())
    scales = other.scales()
    assert scales is not None
    assert torch.equal(scales[0], H.rsqrt())


def test_rows_without_curvature_get_the_floor() -> None:
    x = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = SGD([x])
    optimizer.precondition(lambda v: torch.tensor([4.0, 0.0]) * v)
    assert [float(s) for s in (optimizer.scales() or [])[0]] == [0.5, 2.0**25]
    optimizer.precondition(lambda v: torch.tensor([4.0, 0.0]) * v, floor=1.0)
    assert [float(s) for s in (optimizer.scales() or [])[0]] == [0.5, 1.0]
    for value in (0.0, float("nan")):
        with pytest.raises(NotFiniteError):
            optimizer.precondition(lambda v, value=value: value * v)  # type: ignore[misc]


def test_columns_in_other_units_cost_little_with_the_diagonal(client: Client) -> None:
    units = torch.logspace(-3, 3, 12, dtype=torch.float64)
    mixed = torch.eye(12, dtype=torch.float64) + 0.3 * torch.cos(torch.arange(144.0).view(12, 12)).double()
    hessian = units[:, None] * (mixed @ mixed.T) * units

    def steps(precondition: bool) -> int:
        x = torch.nn.Parameter(1 / units)
        optimizer = SGD([x])
        if precondition:
            optimizer.precondition(lambda v: hessian @ v)
        scheduler = MultirateLR(optimizer, client, loss_lower_bound=0)
        first = float(x.detach() @ hessian @ x.detach()) / 2
        for count in range(500):
            optimizer.zero_grad()
            loss = x @ hessian @ x / 2
            if float(loss.detach()) < 1e-8 * first:
                return count
            loss.backward()
            scheduler.step(loss)
            optimizer.step()
        return 500

    assert steps(True) < steps(False) / 2
