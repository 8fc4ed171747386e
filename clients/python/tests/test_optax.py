"""The optax transformation takes the rates that the core client would."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multirate import Client, DimensionError, RunConfig, Sidecar, SteadyRun
from multirate.jax import diagonal_scales, hessian
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


def test_a_scan_takes_the_steps_in_their_order(client: Client) -> None:
    """Chained, and under jit and scan: the rates are those of single steps."""

    def train(scanned: bool) -> list[float]:
        run = client.new_run(RunConfig(40, loss_lower_bound=0))
        optimizer = optax.chain(optax.identity(), gradient_descent(run))

        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params)
            updates, state = optimizer.update(grads, state, params, value=loss)
            return (optax.apply_updates(params, updates), state), state[1].hyperparams["learning_rate"]

        params: Any = {"a": jnp.ones(7), "b": jnp.ones((11, 3))}
        carry = (params, optimizer.init(params))
        if scanned:
            return [float(r) for r in jax.lax.scan(step, carry, length=30)[1]]
        jitted, rates = jax.jit(lambda carry: step(carry, None)), []
        for _ in range(30):
            carry, rate = jitted(carry)
            rates.append(float(rate))
        return rates

    assert train(scanned=True) == pytest.approx(train(scanned=False), rel=1e-3)


def test_training_resumes_with_the_same_bits(client: Client, binary: str) -> None:
    """The checkpoint: parameters, the transformation's state, and the run's."""

    def train(optimizer: Any, params: Any, state: Any, steps: int) -> tuple[Any, Any, list[float]]:
        @jax.jit
        def step(params: Any, state: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(params)
            updates, state = optimizer.update(grads, state, params, value=loss)
            return optax.apply_updates(params, updates), state

        rates = []
        for _ in range(steps):
            params, state = step(params, state)
            rates.append(float(state.learning_rate))
        return params, state, rates

    config = RunConfig(40, loss_lower_bound=0)
    run = client.new_run(config)
    optimizer = gradient_descent(run)
    params: Any = {"a": jnp.ones(7), "b": jnp.ones((11, 3))}
    params, state, _ = train(optimizer, params, optimizer.init(params), 37)
    kept = [np.asarray(leaf) for leaf in jax.tree.leaves((params, state))]
    schedule = run.state()
    whole = train(optimizer, params, state, 20)[2]
    with Sidecar(binary) as fresh, fresh.connect() as other:
        resumed = other.new_run(config)
        resumed.load_state(schedule)
        params, state = jax.tree.unflatten(jax.tree.structure((params, state)), kept)
        assert train(gradient_descent(resumed), params, state, 20)[2] == whole


def test_the_diagonal_makes_scales_along_the_coordinates_one(client: Client) -> None:
    params: Any = {"a": jnp.ones(7), "b": jnp.ones((11, 3))}
    scales = diagonal_scales(hessian(loss_of, params), params)
    assert np.asarray(scales) == pytest.approx(EIGENVALUES**-0.5, rel=1e-6)
    optimizer = gradient_descent(client.new_run(RunConfig(40, loss_lower_bound=0)), scales)
    state = optimizer.init(params)
    for _ in range(10):
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(grads, state, params, value=loss)
        params = optax.apply_updates(params, updates)
    assert float(loss_of(params)) < 1e-6


def test_a_mini_batch_is_held(client: Client) -> None:
    run = client.new_run(RunConfig(40, batch="mini", loss_lower_bound=0, fallback_learning_rate=1e-5))
    optimizer = gradient_descent(run)
    params: Any = {"a": jnp.ones(7), "b": jnp.ones((11, 3))}
    state, batch_id, held = optimizer.init(params), 0, 0

    @jax.jit
    def step(params: Any, state: Any, batch_id: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(grads, state, params, value=loss, batch_id=batch_id)
        return optax.apply_updates(params, updates), state

    for _ in range(12):
        if not int(state.hold_batch_steps):
            batch_id += 1
        params, state = step(params, state, batch_id)
        held += int(state.hold_batch_steps) > 0
    assert held > 1
    assert batch_id < 12
    assert run.spectrum() is not None


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
    with pytest.raises(DimensionError, match="of 39 elements, the run is of 40"):
        optimizer.update(jnp.ones(39), state, jnp.ones(39), value=1.0)
