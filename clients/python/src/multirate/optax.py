"""JAX: gradient descent at the service's rates, as an optax transformation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import io_callback

from multirate.run import Run, statistics
from multirate.sketch import signs
from multirate.steady import SteadyRun

__all__ = ["MultirateState", "gradient_descent"]


class MultirateState(NamedTuple):
    """State of the transformation; the schedule's own is in the run.

    Attributes
    ----------
    learning_rate
        The latest rate.
    """

    learning_rate: jax.Array


def gradient_descent(run: Run | SteadyRun) -> optax.GradientTransformationExtraArgs:
    """Return the transformation ``updates = -rate * gradients``.

    ``update`` takes the loss as ``value``, at the present parameters, as optax's
    line searches do. It may be jitted: sketch and norms are computed on the
    device, and a few hundred numbers go to the host.

    Parameters
    ----------
    run
        A run of as many parameters as the gradients have. A `SteadyRun` goes on
        while the service is away.

    Examples
    --------
    >>> optimizer = gradient_descent(run)  # doctest: +SKIP
    >>> state = optimizer.init(params)  # doctest: +SKIP
    >>> updates, state = optimizer.update(grads, state, params, value=loss)  # doctest: +SKIP
    """
    sketcher = (run.run if isinstance(run, SteadyRun) else run).sketcher
    d, size = sketcher.sketch_dimension, sketcher.dimension
    sign = jnp.asarray(signs(0, size, sketcher.seed))

    def ask(loss: Any, norm_squared: Any, parameter_norm: Any, sketch: Any) -> Any:
        measured = statistics(
            float(loss), float(norm_squared), np.asarray(sketch), parameter_norm=float(parameter_norm)
        )
        return np.asarray(run.advise(measured).learning_rate, loss.dtype)

    def init(params: optax.Params) -> MultirateState:
        del params
        return MultirateState(jnp.zeros(()))

    def update(
        updates: optax.Updates, state: MultirateState, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, MultirateState]:
        del state
        if params is None or "value" not in extra:
            raise ValueError(
                "gradient_descent needs the parameters and the loss: update(..., params, value=loss)"
            )
        g = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(updates)])
        x = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
        if g.size != size:
            raise ValueError(f"gradient of {g.size} elements, the run is of {size}")
        sketch = jnp.pad(g * sign, (0, -size % d)).reshape(-1, d).sum(0)
        numbers = jnp.asarray(extra["value"], g.dtype), jnp.vdot(g, g), jnp.linalg.norm(x), sketch
        rate = io_callback(ask, jax.ShapeDtypeStruct((), g.dtype), *numbers, ordered=True)
        return jax.tree.map(lambda leaf: -rate * leaf, updates), MultirateState(rate)

    return optax.GradientTransformationExtraArgs(init, update)
