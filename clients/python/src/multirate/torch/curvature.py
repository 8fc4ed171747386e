"""Hessian-vector products of a PyTorch loss, and Lanczos on them.

A product is a function of a flat vector v of D numbers, the parameters' in
their order, that returns H v at the parameters' present values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from multirate.errors import NotFiniteError
from multirate.progress import told
from multirate.sketch import signs

__all__ = [
    "Product",
    "exact",
    "finite_difference",
    "forward_over_reverse",
    "gauss_newton",
    "lanczos",
    "scaled",
]

Product: TypeAlias = Callable[[Tensor], Tensor]


def exact(loss: Callable[[], Tensor], params: Sequence[Tensor]) -> Product:
    """Return the exact product by double backward.

    The graph of one gradient is made at each product and freed with it: about the
    memory of a training step, whatever the number of products.

    Parameters
    ----------
    loss
        Computes the loss from the parameters; always of the same data.
    params
        The parameters.
    """

    def product(v: Tensor) -> Tensor:
        with torch.enable_grad():
            grads = torch.autograd.grad(loss(), params, create_graph=True, materialize_grads=True)
            # A gradient that does not depend on the parameters has no graph.
            linked = [(g, u) for g, u in zip(grads, _split(v, params), strict=True) if g.requires_grad]
            if not linked:
                return torch.zeros_like(v)
            outputs, vectors = zip(*linked, strict=True)
            return _flat(torch.autograd.grad(outputs, params, vectors, materialize_grads=True))

    return product


def forward_over_reverse(loss: Callable[..., Tensor], params: Sequence[Tensor]) -> Product:
    """Return the exact product as the derivative of the gradient along v.

    Parameters
    ----------
    loss
        Computes the loss from the parameters, given as arguments, of the same
        data always (``torch.func.functional_call`` makes one of a module).
    params
        The parameters.
    """
    gradient = torch.func.grad(loss, argnums=tuple(range(len(params))))

    def product(v: Tensor) -> Tensor:
        at = tuple(p.detach() for p in params)
        along: Sequence[Tensor] = torch.func.jvp(gradient, at, tuple(_split(v, params)))[1]
        return _flat(along)

    return product


def gauss_newton(
    model: Callable[..., Tensor], criterion: Callable[[Tensor], Tensor], params: Sequence[Tensor]
) -> Product:
    """Return the product with the generalised Gauss-Newton matrix J' C J.

    J is the Jacobian of the model's output, C the Hessian of the criterion in it
    (Schraudolph, Neural Computation 14, 2002). Where C is positive, so is the
    product; at a perfect fit it is the Hessian.

    Parameters
    ----------
    model
        Computes the output from the parameters, given as arguments.
    criterion
        Computes the loss from the output.
    params
        The parameters.
    """

    def product(v: Tensor) -> Tensor:
        at = tuple(p.detach() for p in params)
        pushed = torch.func.jvp(model, at, tuple(_split(v, params)))
        output, jv = pushed[0], pushed[1]
        cjv = torch.func.jvp(torch.func.grad(criterion), (output,), (jv,))[1]
        pull = torch.func.vjp(model, *at)[1]
        return _flat(pull(cjv))

    return product


def finite_difference(
    loss: Callable[[], Tensor], params: Sequence[Tensor], length: float | None = None
) -> Product:
    """Return the product by central differences of gradients, two for each.

    With a step of cbrt(3 eps) l truncation and rounding balance, at a relative
    error of about eps**(2/3): 4e-11 in float64, 2e-5 in float32 (Nocedal and
    Wright, Numerical Optimization, 2nd ed., section 8.1).

    Parameters
    ----------
    loss
        Computes the loss from the parameters; always of the same data.
    params
        The parameters, shifted in place and put back.
    length
        The length l over which the gradient changes. None: max(norm of x, 1).
    """

    def gradient() -> Tensor:
        with torch.enable_grad():
            return _flat(torch.autograd.grad(loss(), params, materialize_grads=True))

    @torch.no_grad()
    def product(v: Tensor) -> Tensor:
        norm = float(v.norm())
        if norm == 0:
            return torch.zeros_like(v)
        at = [p.detach().clone() for p in params]
        reach = length or max(float(_flat(at).norm()), 1.0)
        t: float = (1.5 * torch.finfo(v.dtype).eps) ** (1 / 3) * reach / norm
        try:
            _shift(params, at, v, t)
            forward = gradient()
            _shift(params, at, v, -t)
            return (forward - gradient()) / (2 * t)
        finally:
            for p, x in zip(params, at, strict=True):
                p.copy_(x)

    return product


def scaled(product: Product, scales: Sequence[Tensor] | None) -> Product:
    """Return the product in ``z = x / s``: ``s * (H (s * v))``."""
    if scales is None:
        return product
    s = _flat(scales)
    return lambda v: s * product(s * v)


@torch.no_grad()
def lanczos(
    product: Product,
    like: Tensor,
    size: int,
    products: int,
    *,
    seed: int = 0,
    progress: Callable[[int, int], Any] | bool | None = None,
) -> tuple[list[float], list[float]]:
    """Run the Lanczos process on the device and return alpha and beta.

    It starts from a random vector of signs and keeps two vectors, the product
    being the third. Nothing is reorthogonalised: the extreme Ritz values converge all the
    same, but converged ones reappear as copies that share one weight (Paige, J.
    Inst. Math. Appl. 18, 1976), so that the density stays right.

    Parameters
    ----------
    product
        Hessian-vector product.
    like
        A tensor of the device and number format to work with.
    size
        D.
    products
        At most; it stops early where the Krylov space is exhausted.
    seed
        Of the start vector.
    progress
        Called after each product with the number so far and ``products``. True: a
        bar of tqdm, where that is installed.

    Returns
    -------
    alpha, beta
        k <= products numbers each, the last beta being the residual norm.

    Raises
    ------
    NotFiniteError
        A product is not finite.
    """
    products, progress = min(products, size), told(progress)
    current = torch.from_numpy(signs(0, size, seed)).to(like).mul_(size**-0.5)
    previous: Tensor | None = None
    alphas: list[float] = []
    betas: list[float] = []
    largest = 0.0
    for k in range(products):
        # Written where the vector before the last was: three vectors, the product
        # included, and what the product needs.
        w = product(current)
        if previous is not None:
            w = torch.sub(w, previous, alpha=betas[-1], out=previous)
        alpha = float(torch.dot(w, current))
        w = w.sub(current, alpha=alpha) if previous is None else w.sub_(current, alpha=alpha)
        beta = float(w.norm())
        if not (abs(alpha) < float("inf") and beta < float("inf")):
            raise NotFiniteError(f"Hessian-vector product {k} is not finite")
        largest = max(largest, abs(alpha), beta)
        # At rounding level of the norm the residual has no direction left.
        exhausted = beta <= size * torch.finfo(like.dtype).eps / 2 * largest
        alphas.append(alpha)
        betas.append(0.0 if exhausted else beta)
        if progress is not None:
            progress(k + 1, products)
        if exhausted:
            break
        previous, current = current, w.div_(beta)
    return alphas, betas


def _split(v: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(v, [p.numel() for p in params])
    return [part.view_as(p).to(p) for part, p in zip(parts, params, strict=True)]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def _shift(params: Sequence[Tensor], at: Sequence[Tensor], v: Tensor, t: float) -> None:
    for p, x, u in zip(params, at, _split(v, params), strict=True):
        torch.add(x, u, alpha=t, out=p.data)
