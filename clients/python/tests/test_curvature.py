"""Products are the Hessian's, and Lanczos on them finds its spectrum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from multirate import NotFiniteError
from multirate.torch import curvature
from problems import EIGENVALUES

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(30, 5, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(0, 3, (30,), generator=GENERATOR)
W1, W2 = (
    torch.nn.Parameter(torch.randn(shape, generator=GENERATOR, dtype=torch.float64) / 2)
    for shape in ((5, 6), (6, 3))
)
PARAMS = [W1, W2]
SIZE = 48


def output(w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    return torch.tanh(X @ w1) @ w2


def criterion(z: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(z, Y)


def loss_of(w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    return criterion(output(w1, w2))


def loss() -> torch.Tensor:
    return loss_of(W1, W2)


def dense(of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the Hessian of a function of all parameters, entry by entry."""
    at = torch.cat([p.detach().reshape(-1) for p in PARAMS])
    hessian: torch.Tensor = torch.autograd.functional.hessian(of, at)
    return hessian


def whole(flat: torch.Tensor) -> torch.Tensor:
    w1, w2 = flat.split([30, 18])
    return loss_of(w1.view(5, 6), w2.view(6, 3))


def columns(product: curvature.Product) -> torch.Tensor:
    return torch.stack([product(e) for e in torch.eye(SIZE, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("product", "tolerance"),
    [
        (curvature.exact(loss, PARAMS), 1e-13),
        (curvature.forward_over_reverse(loss_of, PARAMS), 1e-13),
        # eps^(2/3) of the gradient over a length of |x|, times its third derivatives.
        (curvature.finite_difference(loss, PARAMS), 1e-8),
    ],
    ids=["exact", "forward_over_reverse", "finite_difference"],
)
def test_products_are_those_of_the_hessian(product: curvature.Product, tolerance: float) -> None:
    before = [p.detach().clone() for p in PARAMS]
    torch.testing.assert_close(columns(product), dense(whole), rtol=0, atol=tolerance)
    assert all(torch.equal(p, q) for p, q in zip(PARAMS, before, strict=True))
    assert all(p.grad is None for p in PARAMS)
    assert not product(torch.zeros(SIZE, dtype=torch.float64)).any()


def test_gauss_newton_is_the_hessian_without_the_networks_own_curvature() -> None:
    got = columns(curvature.gauss_newton(output, criterion, PARAMS))
    jacobians = torch.autograd.functional.jacobian(output, (W1.detach(), W2.detach()))
    j = torch.cat([torch.as_tensor(x).reshape(90, -1) for x in jacobians], 1)
    c = torch.autograd.functional.hessian(criterion, output(W1, W2).detach())
    torch.testing.assert_close(got, j.T @ torch.as_tensor(c).reshape(90, 90) @ j, rtol=0, atol=1e-13)
    assert torch.linalg.eigvalsh(got).min() > -1e-13


def test_a_gradient_that_does_not_depend_on_a_parameter() -> None:
    a, b = (torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    product = curvature.exact(lambda: a.sum() + (b**3).sum(), [a, b])
    assert product(torch.ones(4, dtype=torch.float64)).tolist() == [0, 0, 6, 6]
    linear = curvature.exact(lambda: a.sum(), [a, b])
    assert linear(torch.ones(4, dtype=torch.float64)).tolist() == [0, 0, 0, 0]


def test_products_in_scaled_variables() -> None:
    scales = [torch.full_like(W1, 2.0), torch.full_like(W2, 3.0)]
    s = torch.cat([x.reshape(-1) for x in scales])
    product = curvature.scaled(curvature.exact(loss, PARAMS), scales)
    torch.testing.assert_close(columns(product), s[:, None] * dense(whole) * s, rtol=0, atol=1e-12)
    plain = curvature.exact(loss, PARAMS)
    assert curvature.scaled(plain, None) is plain


def test_lanczos_finds_the_ends_of_the_spectrum() -> None:
    h = torch.from_numpy(EIGENVALUES)
    seen: list[tuple[int, int]] = []
    alpha, beta = curvature.lanczos(
        lambda v: h * v, h, 40, 25, seed=3, progress=lambda k, most: seen.append((k, most))
    )
    assert seen == [(k, 25) for k in range(1, 26)]
    ritz = np.linalg.eigvalsh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))
    assert ritz[-1] == pytest.approx(4000, rel=1e-6)
    assert 1 <= ritz[0] < 1.1


def test_lanczos_stops_where_the_krylov_space_ends() -> None:
    h = torch.tensor([1.0, 2.0, 2.0, 1.0], dtype=torch.float64)
    alpha, beta = curvature.lanczos(lambda v: h * v, h, 4, 10)
    assert len(alpha) == 2
    assert beta[-1] == 0


def test_lanczos_keeps_two_vectors_beside_the_product() -> None:
    size, alive, peak = 1000, 0, 0

    class Counted(torch.Tensor):
        pass

    h = torch.ones(size).double()
    import gc

    def product(v: torch.Tensor) -> torch.Tensor:
        nonlocal peak, alive
        alive = sum(
            1 for t in gc.get_objects() if type(t) is torch.Tensor and t.numel() == size and t is not h
        )
        peak = max(peak, alive)
        return h * v + torch.linspace(0, 1, size).double() * v

    gc.collect()
    before = sum(1 for t in gc.get_objects() if type(t) is torch.Tensor and t.numel() == size)
    curvature.lanczos(product, h, size, 6)
    # At a product's begin: the present and the previous vector.
    assert peak - (before - 1) <= 2


def test_products_that_are_no_numbers_are_told() -> None:
    with pytest.raises(NotFiniteError, match="product 0"):
        curvature.lanczos(lambda v: v * float("nan"), torch.zeros(()), 4, 3)
