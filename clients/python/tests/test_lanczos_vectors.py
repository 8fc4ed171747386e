"""One problem, one spectrum, whatever the client: proto/testdata/lanczos.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from multirate import Client, RunConfig
from multirate.torch import curvature
from vectors import TESTDATA

CASE: dict[str, Any] = json.loads((TESTDATA / "lanczos.json").read_text())
DIMENSION: int = CASE["dimension"]
TOLERANCE: float = CASE["tolerance"]
LARGEST: float = CASE["ritz"][0]["value"]


def hessian() -> NDArray[np.float64]:
    i = np.arange(DIMENSION)
    return (37 * np.add.outer(i, i) % 101 - 50) / 100 + np.diag(10 + 100.0 * (i % 3))


def parameter(dtype: torch.dtype = torch.float64) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(-1, 1, DIMENSION, dtype=dtype))


def loss(x: torch.Tensor) -> torch.Tensor:
    return x @ torch.as_tensor(hessian(), dtype=x.dtype) @ x / 2


def by_double_backward(dtype: torch.dtype) -> curvature.Product:
    x = parameter(dtype)
    return curvature.exact(lambda: loss(x), [x])


def by_forward_over_reverse(dtype: torch.dtype) -> curvature.Product:
    return curvature.forward_over_reverse(loss, [parameter(dtype)])


def by_finite_differences(dtype: torch.dtype) -> curvature.Product:
    x = parameter(dtype)
    return curvature.finite_difference(lambda: loss(x), [x])


def by_numpy(dtype: torch.dtype) -> curvature.Product:
    h = hessian().astype(np.float64 if dtype == torch.float64 else np.float32)
    return lambda v: torch.from_numpy(h @ v.numpy())


@pytest.mark.parametrize(
    ("product", "dtype"),
    [
        (by_double_backward, torch.float64),
        (by_double_backward, torch.float32),
        (by_forward_over_reverse, torch.float64),
        (by_finite_differences, torch.float64),
        (by_numpy, torch.float64),
        (by_numpy, torch.float32),
    ],
)
def test_coefficients_and_spectrum_are_those_of_every_client(
    client: Client, product: Callable[[torch.dtype], curvature.Product], dtype: torch.dtype
) -> None:
    like = torch.zeros(DIMENSION, dtype=dtype)
    alpha, beta = curvature.lanczos(
        product(dtype), like, DIMENSION, CASE["products"], seed=int(CASE["seed"], 16)
    )
    np.testing.assert_allclose(alpha, CASE["alpha"], rtol=0, atol=TOLERANCE * LARGEST)
    np.testing.assert_allclose(beta, CASE["beta"], rtol=0, atol=TOLERANCE * LARGEST)
    spectrum = client.new_run(RunConfig(DIMENSION)).report_lanczos(alpha, beta)
    values = [r.value for r in spectrum.ritz_values]
    weights = [r.weight for r in spectrum.ritz_values]
    np.testing.assert_allclose(values, [r["value"] for r in CASE["ritz"]], rtol=0, atol=TOLERANCE * LARGEST)
    np.testing.assert_allclose(weights, [r["weight"] for r in CASE["ritz"]], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_services_own_spectrum_is_within_its_bounds(client: Client, dtype: type) -> None:
    """It stops once the scales have converged; every Ritz value has an eigenvalue within its bound."""
    h = hessian()
    run = client.new_run(RunConfig(DIMENSION))
    spectrum = run.estimate_spectrum(lambda v: h @ v, max_products=DIMENSION, dtype=dtype)
    eigenvalues = np.linalg.eigvalsh(h)
    assert spectrum.ritz_values[0].value == pytest.approx(eigenvalues[-1], abs=TOLERANCE * LARGEST)
    for r in spectrum.ritz_values:
        assert np.abs(eigenvalues - r.value).min() <= r.bound + TOLERANCE * LARGEST
