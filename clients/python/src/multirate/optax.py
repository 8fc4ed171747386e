"""JAX: gradient descent at the service's rates, as an optax transformation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import io_callback
from jax.flatten_util import ravel_pytree

from multirate.jax import sketch_of
from multirate.run import Run, statistics
from multirate.steady import SteadyRun

__all__ = ["MultirateState", "gradient_descent"]


class MultirateState(NamedTuple):
    """State of the transformation; the schedule's own is in the run.

    Attributes
    ----------
    learning_rate
        The latest rate.
    hold_batch_steps
        Further steps to take on this very mini-batch, if that can be, under the same ``batch_id``.
    """

    learning_rate: jax.Array
    hold_batch_steps: jax.Array

    @property
    def hyperparams(self) -> dict[str, jax.Array]:
        """The rate, where ``optax.inject_hyperparams`` has it and logging looks for it."""
        return {"learning_rate": self.learning_rate}


def gradient_descent(run: Run | SteadyRun, scales: Any = None) -> optax.GradientTransformationExtraArgs:
    """Return the transformation ``updates = -rate * s**2 * gradients``.

    ``update`` takes the loss as ``value``, at the present parameters, as optax's
    line searches do, and for mini-batches a ``batch_id``: equal ids at successive
    steps say that the batch was held. It may be jitted, scanned over and chained:
    sketch and norms are computed on the device, and a few hundred numbers go to the
    host, in the order of the steps.

    Parameters
    ----------
    run
        A run of as many parameters as the gradients have. A `SteadyRun` goes on
        while the service is away.
    scales
        s, of the parameters' structure or flat, as `multirate.jax.diagonal_scales`
        returns it; a run is bound to it. None: ones.

    Raises
    ------
    ValueError
        In ``update``: the parameters or the loss are missing.
    DimensionError
        There: the gradient is of another length than the run's.
    NotFiniteError
        There: the loss or the gradient is NaN or infinite; nothing was sent. JAX
        raises its own error with this one's text from a jitted step.

    Examples
    --------
    >>> optimizer = gradient_descent(run)  # doctest: +SKIP
    >>> state = optimizer.init(params)  # doctest: +SKIP
    >>> updates, state = optimizer.update(grads, state, params, value=loss)  # doctest: +SKIP
    """
    sketch = sketch_of((run.run if isinstance(run, SteadyRun) else run).sketcher)
    s = None if scales is None else ravel_pytree(scales)[0]

    def ask(
        loss: Any, norm_squared: Any, parameter_norm: Any, sketched: Any, batch_id: Any = None
    ) -> tuple[Any, Any]:
        measured = statistics(
            float(loss),
            float(norm_squared),
            np.asarray(sketched),
            parameter_norm=float(parameter_norm),
            batch_id=None if batch_id is None else int(batch_id),
        )
        advice = run.advise(measured)
        return np.asarray(advice.learning_rate, norm_squared.dtype), np.int32(advice.hold_batch_steps)

    def init(params: optax.Params) -> MultirateState:
        leaves = jax.tree.leaves(params)
        dtype = jnp.result_type(*leaves) if leaves else jnp.result_type(float)
        return MultirateState(jnp.zeros((), dtype), jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates, state: MultirateState, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, MultirateState]:
        del state
        if params is None or extra.get("value") is None:
            raise ValueError(
                "gradient_descent needs the parameters and the loss: update(..., params, value=loss)"
            )
        (g, unravel), x = ravel_pytree(updates), ravel_pytree(params)[0]
        if s is not None:
            g, x = s * g, x / s
        numbers = [jnp.asarray(extra["value"]), jnp.vdot(g, g), jnp.linalg.norm(x), sketch(g)]
        if extra.get("batch_id") is not None:
            numbers.append(jnp.asarray(extra["batch_id"]))
        shapes = jax.ShapeDtypeStruct((), g.dtype), jax.ShapeDtypeStruct((), jnp.int32)
        rate, hold = io_callback(ask, shapes, *numbers, ordered=True)
        # s twice, one after the other: s**2 could overflow in float32.
        step = -rate * (g if s is None else s * g)
        return unravel(step), MultirateState(rate, hold)

    return optax.GradientTransformationExtraArgs(init, update)
