"""PyTorch and JAX see the spectrum that the contract's test data has, which Go's client sees too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import multirate.jax
from multirate import Client, RunConfig
from multirate.torch import SGD, MultirateLR, curvature
from vectors import SPECTRUM, spectrum_problem

SIZE: int = SPECTRUM["dimension"]
X, W = spectrum_problem()
TOLERANCE = 1e-5


@pytest.fixture
def x64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def torch_loss(w: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.softplus(torch.from_numpy(X) @ w).mean() + 0.01 / 2 * (w * w).sum()


def jax_loss(w: Any) -> Any:
    return jax.nn.softplus(X @ w).mean() + 0.01 / 2 * (w * w).sum()


STIFF = 4  # eigenvalues of the stiffest scale; the service stops once they have converged


def near(key: str, count: int | None = None) -> Any:
    largest = float(np.abs(SPECTRUM[key]).max())
    return pytest.approx(SPECTRUM[key][:count], rel=0, abs=TOLERANCE * largest)


def values(spectrum: Any) -> list[float]:
    return [ritz.value for ritz in spectrum.ritz_values[:STIFF]]


def test_pytorch(client: Client) -> None:
    w = torch.nn.Parameter(torch.from_numpy(W))
    product = curvature.exact(lambda: torch_loss(w), [w])
    assert product(torch.arange(SIZE).double() % 3 - 1).numpy() == near("product")
    alpha, beta = curvature.lanczos(product, w.detach(), SIZE, 5, seed=SPECTRUM["seed"])
    assert alpha == near("alpha")
    assert beta == near("beta")
    scheduler = MultirateLR(SGD([w]), client, loss_lower_bound=0)
    assert values(scheduler.estimate_spectrum(product, SIZE, vectors=True)) == near("eigenvalues", STIFF)


@pytest.mark.usefixtures("x64")
def test_jax(client: Client) -> None:
    w = jnp.asarray(W)
    product = multirate.jax.hessian(jax_loss, w)
    assert np.asarray(product(jnp.arange(SIZE) % 3 - 1.0)) == near("product")
    alpha, beta = multirate.jax.lanczos(product, w, 5, seed=SPECTRUM["seed"])
    assert alpha == near("alpha")
    assert beta == near("beta")
    run = client.new_run(RunConfig(SIZE, loss_lower_bound=0))
    spectrum = multirate.jax.estimate_spectrum(run, product, w, SIZE, vectors=True)
    assert values(spectrum) == near("eigenvalues", STIFF)
