"""Curvature of a JAX loss: Hessian-vector products, the diagonal, Lanczos, and the sketch.

A product is a function of a flat vector v of D numbers, in the order of
``jax.flatten_util.ravel_pytree``, that returns H v at the parameters it was made
with. It is compiled once, whatever the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from multirate.errors import DimensionError, NotFiniteError
from multirate.run import Run
from multirate.sketch import Sketcher, signs
from multirate.v1 import spectrum_pb2

__all__ = [
    "Product",
    "diagonal_scales",
    "estimate_spectrum",
    "gauss_newton",
    "hessian",
    "lanczos",
    "scaled",
    "sketch_of",
]

Product: TypeAlias = Callable[[jax.Array], jax.Array]


def hessian(loss: Callable[[Any], Any], params: Any) -> Product:
    """Return the exact product, the derivative of the gradient along v.

    Parameters
    ----------
    loss
        Of the parameters, of the same data always.
    params
        A pytree of arrays of one number format.
    """
    x, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda x: loss(unravel(x)))

    @jax.jit
    def product(x: jax.Array, v: jax.Array) -> jax.Array:
        along: jax.Array = jax.jvp(gradient, (x,), (v,))[1]
        return along

    return lambda v: product(x, v.astype(x.dtype))


def gauss_newton(
    model: Callable[[Any], jax.Array], criterion: Callable[[jax.Array], Any], params: Any
) -> Product:
    """Return the product with the generalised Gauss-Newton matrix J' C J.

    J is the Jacobian of the model's output, C the Hessian of the criterion in it
    (Schraudolph, Neural Computation 14, 2002).

    Parameters
    ----------
    model
        Returns the output for parameters.
    criterion
        Returns the loss for an output.
    params
        A pytree of arrays of one number format.
    """
    x, unravel = ravel_pytree(params)

    def output_of(x: jax.Array) -> jax.Array:
        return model(unravel(x))

    @jax.jit
    def product(x: jax.Array, v: jax.Array) -> jax.Array:
        output, jv = jax.jvp(output_of, (x,), (v,))
        cjv = jax.jvp(jax.grad(criterion), (output,), (jv,))[1]
        pulled: jax.Array = jax.vjp(output_of, x)[1](cjv)[0]
        return pulled

    return lambda v: product(x, v.astype(x.dtype))


def scaled(product: Product, scales: jax.Array | None) -> Product:
    """Return the product in ``z = x / s``: ``s * (H (s * v))``."""
    return product if scales is None else lambda v: scales * product(scales * v)


def diagonal_scales(
    product: Product, like: Any, probes: int = 5, *, seed: int = 0, floor: float = 0.0
) -> jax.Array:
    """Return ``1/sqrt(max(h, floor))``, h an estimate of the magnitude of the Hessian's diagonal.

    h is the root mean square of ``z * (H z)`` over random signs z, as in AdaHessian
    (Yao et al., arXiv 2006.00719). `multirate.optax.gradient_descent` takes it.

    Parameters
    ----------
    product
        Hessian-vector product; each costs about two gradients.
    like
        Parameters, for their number and format.
    probes
        Number of products; five are enough.
    seed
        Of the signs.
    floor
        Entries below it count as it. 0: 2**-52 of the largest.

    Raises
    ------
    NotFiniteError
        A product is not finite.
    """
    x = ravel_pytree(like)[0]
    squares = jnp.zeros_like(x)
    for probe in range(probes):
        z = jnp.asarray(signs(0, x.size, _word(seed, probe)), x.dtype)
        squares = jnp.hypot(squares, product(z) / probes**0.5)
    largest = float(squares.max())
    if not 0 < largest < float("inf"):
        raise NotFiniteError(f"the largest entry of the Hessian's diagonal is {largest}, want it above 0")
    return jax.lax.rsqrt(jnp.maximum(squares, floor or largest * 2.0**-52))


def lanczos(
    product: Product,
    like: Any,
    products: int,
    *,
    seed: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> tuple[list[float], list[float]]:
    """Run the Lanczos process on the device and return alpha and beta.

    It starts from a random vector of signs and keeps two vectors beside the
    product. Nothing is reorthogonalised: the extreme Ritz values converge all the
    same, but converged ones reappear as copies that share one weight (Paige, J.
    Inst. Math. Appl. 18, 1976), so that the density stays right.

    Parameters
    ----------
    product
        Hessian-vector product.
    like
        Parameters, for their number and format.
    products
        At most; it stops early where the Krylov space is exhausted.
    seed
        Of the start vector.
    progress
        Called after each product with the number so far and the most there can be.

    Returns
    -------
    alpha, beta
        k <= products numbers each, the last beta being the residual norm.

    Raises
    ------
    NotFiniteError
        A product is not finite.
    """
    x = ravel_pytree(like)[0]
    eps = float(jnp.finfo(x.dtype).eps)  # type: ignore[no-untyped-call]
    products = min(products, x.size)
    current = jnp.asarray(signs(0, x.size, seed), x.dtype) * jnp.asarray(x.size**-0.5, x.dtype)
    previous, last = jnp.zeros_like(current), jnp.zeros((), x.dtype)
    alphas: list[float] = []
    betas: list[float] = []
    largest = 0.0
    for k in range(products):
        w, alpha_, last = _orthogonalised(product(current), current, previous, last)
        alpha, beta = float(alpha_), float(last)
        if not (abs(alpha) < float("inf") and beta < float("inf")):
            raise NotFiniteError(f"Hessian-vector product {k} is not finite")
        largest = max(largest, abs(alpha), beta)
        # At rounding level of the norm the residual has no direction left.
        exhausted = beta <= x.size * eps / 2 * largest
        alphas.append(alpha)
        betas.append(0.0 if exhausted else beta)
        if progress is not None:
            progress(k + 1, products)
        if exhausted:
            break
        previous, current = current, w / last
    return alphas, betas


@jax.jit
def _orthogonalised(
    w: jax.Array, current: jax.Array, previous: jax.Array, beta: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    w = w - beta * previous
    alpha = jnp.vdot(w, current)
    w = w - alpha * current
    return w, alpha, jnp.linalg.norm(w)


def estimate_spectrum(
    run: Run,
    product: Product,
    like: Any,
    products: int = 20,
    *,
    vectors: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> spectrum_pb2.Spectrum:
    """Give the run a spectrum from Hessian-vector products, and return it.

    Parameters
    ----------
    run
        The run.
    product
        At the present parameters, `scaled` if the training is.
    like
        Parameters, for their number and format.
    products
        At most; each costs about two gradients.
    vectors
        Let the service run Lanczos, with residual bounds and full
        reorthogonalisation, at 8 bytes a parameter and product on the wire. False:
        Lanczos here, on the device.
    seed
        Of the start vector.
    progress
        Called with the products so far and at most.
    """
    if not vectors:
        return run.report_lanczos(*lanczos(product, like, products, seed=seed, progress=progress))
    dtype = ravel_pytree(like)[0].dtype
    return run.estimate_spectrum(
        lambda v: np.asarray(product(jnp.asarray(v, dtype))),
        max_products=min(products, run.dimension),
        dtype=np.float64 if dtype == jnp.float64 else np.float32,
        seed=seed,
        progress=progress,
    )


def sketch_of(sketcher: Sketcher) -> Callable[[jax.Array], jax.Array]:
    """Return the map from a flat gradient to its sketch, on the device; its signs take a byte a parameter."""
    d, size = sketcher.sketch_dimension, sketcher.dimension
    sign = jnp.asarray(signs(0, size, sketcher.seed))

    def sketch(g: jax.Array) -> jax.Array:
        if g.size != size:
            raise DimensionError(f"gradient of {g.size} elements, the run is of {size}")
        return jnp.pad(g * sign, (0, -size % d)).reshape(-1, d).sum(0)

    return sketch


def _word(seed: int, k: int) -> int:
    """Return output number k of SplitMix64."""
    negative = signs(64 * k, 64, seed) < 0
    return int(np.packbits(negative, bitorder="little").view("<u8")[0])
