"""The optax transformation takes the rates that the core client would."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirate import Client, RunConfig, SteadyRun
from multirate.optax import gradient_descent
from problems import EIGENVALUES

H = jnp.asarray(EIGENVALUES, jnp.float32)


def loss_of(params: dict[str, Any]) -> Any:
    x = jnp.concatenate([params["a"], params["b"].ravel()])
    return (H * x * x).sum() / 2


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("steady", [False, True])
def test_a_quadratic_of_two_scales_is_solved(client: Client, jitted: bool, steady: bool) -> None:
    run = client.new_run(RunConfig(40, loss_lower_bound=0))
    optimizer = gradient_descent(SteadyRun(run) if steady else run)

    def step(params: Any, state: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    params: Any = {"a": jnp.ones(7), "b": jnp.ones((11, 3))}
    state = optimizer.init(params)
    step = jax.jit(step) if jitted else step
    for _ in range(200):
        params, state = step(params, state)
    assert float(loss_of(params)) < 1e-6
    assert run.last is not None
    assert float(state.learning_rate) == np.float32(run.last.learning_rate)
    assert run.step == 200


def test_the_first_rate_is_the_core_clients(client: Client) -> None:
    optimizer = gradient_descent(client.new_run(RunConfig(40, loss_lower_bound=0)))
    params: Any = {"a": jnp.full(7, 0.01), "b": jnp.full((11, 3), 0.01)}
    loss, grads = jax.value_and_grad(loss_of)(params)
    _, state = optimizer.update(grads, optimizer.init(params), params, value=loss)
    g = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)])
    run = client.new_run(RunConfig(40, loss_lower_bound=0))
    advice = run.rate(float(loss), g, parameter_norm=float(0.01 * 40**0.5))
    assert float(state.learning_rate) == pytest.approx(advice.learning_rate, rel=1e-5)


def test_what_is_missing_or_of_another_length_is_told(client: Client) -> None:
    optimizer = gradient_descent(client.new_run(RunConfig(40)))
    state = optimizer.init(None)
    with pytest.raises(ValueError, match="value=loss"):
        optimizer.update(jnp.ones(40), state, jnp.ones(40))
    with pytest.raises(ValueError, match="of 39 elements, the run is of 40"):
        optimizer.update(jnp.ones(39), state, jnp.ones(39), value=1.0)
