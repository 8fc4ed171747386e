"""Curvature in JAX is that of PyTorch and of NumPy's dense matrices, and the sketch is the contract's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.flatten_util import ravel_pytree

from multirate import Client, DimensionError, NotFiniteError, RunConfig, Sketcher
from multirate.jax import estimate_spectrum, gauss_newton, hessian, lanczos, scaled, sketch_of
from multirate.torch import curvature
from vectors import SKETCHES, shard_gradient

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
PARAMS: dict[str, Any] = {
    "a": np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32),
    "b": np.random.default_rng(3).normal(size=(3, 2)).astype(np.float32),
}
SIZE = 18


def model(params: dict[str, Any]) -> Any:
    return jnp.tanh(X @ params["a"]) @ params["b"]


def criterion(output: Any) -> Any:
    return jnp.mean((output - Y) ** 2)


def loss_of(params: dict[str, Any]) -> Any:
    return criterion(model(params))


def torch_model(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.tanh(torch.from_numpy(X) @ a) @ b


def torch_criterion(output: torch.Tensor) -> torch.Tensor:
    return ((output - torch.from_numpy(Y)) ** 2).mean()


def torch_params() -> list[torch.Tensor]:
    return [torch.from_numpy(p.copy()).requires_grad_() for p in PARAMS.values()]


def test_products_are_those_of_pytorch() -> None:
    """float32 in sums of 30 x 3 terms of order 1: 1e-5 of the largest."""
    params = torch_params()
    v = np.random.default_rng(4).normal(size=SIZE).astype(np.float32)
    theirs = curvature.exact(lambda: torch_criterion(torch_model(*params)), params)(torch.from_numpy(v))
    ours = hessian(loss_of, PARAMS)(jnp.asarray(v))
    assert np.asarray(ours) == pytest.approx(theirs.numpy(), abs=1e-5 * float(theirs.abs().max()))
    theirs = curvature.gauss_newton(torch_model, torch_criterion, params)(torch.from_numpy(v))
    ours = gauss_newton(model, criterion, PARAMS)(jnp.asarray(v))
    assert np.asarray(ours) == pytest.approx(theirs.numpy(), abs=1e-5 * float(theirs.abs().max()))


def test_the_product_is_the_dense_hessians() -> None:
    flat, unravel = ravel_pytree(PARAMS)
    dense = np.asarray(jax.hessian(lambda x: loss_of(unravel(x)))(flat))
    scales = np.linspace(0.5, 2, SIZE).astype(np.float32)
    product = scaled(hessian(loss_of, PARAMS), jnp.asarray(scales))
    got = np.stack([np.asarray(product(e)) for e in jnp.eye(SIZE)])
    assert got == pytest.approx(scales[:, None] * dense * scales, abs=1e-5 * float(np.abs(dense).max()))


def test_lanczos_is_that_of_pytorch() -> None:
    """The first coefficients, before rounding is amplified."""
    params = torch_params()
    product = curvature.exact(lambda: torch_criterion(torch_model(*params)), params)
    theirs = curvature.lanczos(product, params[0], SIZE, 5, seed=7)
    counted: list[tuple[int, int]] = []
    ours = lanczos(hessian(loss_of, PARAMS), PARAMS, 5, seed=7, progress=lambda *n: counted.append(n))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4, abs=1e-4)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4, abs=1e-4)
    assert counted == [(k, 5) for k in range(1, 6)]


def test_lanczos_stops_where_there_is_nothing_left() -> None:
    alpha, beta = lanczos(lambda v: 3 * v, jnp.ones(10), 8)
    assert alpha == pytest.approx([3.0])
    assert beta == [0.0]


def test_a_product_that_is_not_finite_is_told() -> None:
    with pytest.raises(NotFiniteError, match="product 0"):
        lanczos(lambda v: v * jnp.nan, jnp.ones(10), 8)


@pytest.mark.parametrize("vectors", [False, True])
def test_the_service_sees_the_largest_eigenvalue(client: Client, vectors: bool) -> None:
    flat, unravel = ravel_pytree(PARAMS)
    dense = np.asarray(jax.hessian(lambda x: loss_of(unravel(x)))(flat))
    run = client.new_run(RunConfig(SIZE, loss_lower_bound=0))
    spectrum = estimate_spectrum(run, hessian(loss_of, PARAMS), PARAMS, SIZE, vectors=vectors)
    largest = max(ritz.value for ritz in spectrum.ritz_values)
    assert largest == pytest.approx(np.linalg.eigvalsh(dense).max(), rel=1e-4)


@pytest.mark.parametrize("case", [c for c in SKETCHES["sketches"] if c["dimension"] <= 1 << 20])
def test_sketches_of_the_contract(case: dict[str, Any]) -> None:
    """All sums are exact in float32. The map on the device is of whole gradients."""
    dimension = int(case["dimension"])
    g = np.zeros(dimension, np.float32)
    for shard in case["shards"]:
        g[shard["offset"] : shard["offset"] + shard["count"]] = shard_gradient(shard)
    sketcher = Sketcher(dimension, case["sketch_dimension"], int(case["seed"], 16))
    assert np.array_equal(np.asarray(sketch_of(sketcher)(jnp.asarray(g))), case["values"])


def test_a_gradient_of_another_length_is_refused() -> None:
    with pytest.raises(DimensionError, match="of 9 elements, the run is of 10"):
        sketch_of(Sketcher(10))(jnp.ones(9))
