"""Plain gradient descent, with an optional diagonal preconditioner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from multirate.errors import NotFiniteError
from multirate.sketch import signs
from multirate.torch.curvature import Product

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent ``x -= lr * s**2 * grad``, s a frozen diagonal, ones at first.

    In ``z = x / s`` this is plain gradient descent, which is what the service
    plans rates for: `MultirateLR` sketches ``s * grad``. What lies along the
    coordinates, such as columns of a table in different units, is then gone from
    the Hessian.

    Parameters
    ----------
    params
        Parameters or param groups.
    lr
        The rate until a scheduler sets it; 0 makes a forgotten scheduler harmless.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 0.0) -> None:
        if not lr >= 0:
            raise ValueError(f"lr {lr}, want at least 0")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; the closure, if any, computes loss and gradient anew before."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params]
            rate = float(group["lr"])
            if "scale" in self.state[params[0]]:
                scales = [self.state[p]["scale"] for p in params]
                grads = list(torch._foreach_mul(grads, scales))
                # s twice, one after the other: s**2 could overflow in float32.
                torch._foreach_mul_(grads, scales)
            torch._foreach_add_(params, grads, alpha=-rate)
        return loss

    @torch.no_grad()
    def precondition(self, product: Product, probes: int = 5, seed: int = 0, floor: float = 0.0) -> None:
        """Set s to ``1/sqrt(max(h, floor))``, h an estimate of the magnitude of the Hessian's diagonal.

        h is the root mean square of ``z * (H z)`` over random signs z, as in
        AdaHessian (Yao et al., arXiv 2006.00719): the mean itself can come near
        zero by chance, and the step along that coordinate would be far too long.
        A run is bound to its diagonal: precondition before making the scheduler.

        Parameters
        ----------
        product
            Hessian-vector product at the present parameters; each costs about two gradients.
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
        params = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        size = sum(p.numel() for p in params)
        squares = params[0].new_zeros(size)
        for probe in range(probes):
            z = torch.from_numpy(signs(0, size, _word(seed, probe))).to(squares)
            squares = torch.hypot(squares, product(z) / probes**0.5)
        largest = float(squares.max())
        if not 0 < largest < float("inf"):
            raise NotFiniteError(f"the largest entry of the Hessian's diagonal is {largest}, want it above 0")
        scale = squares.clamp(min=floor or largest * 2.0**-52).rsqrt()
        for p, s in zip(params, scale.split([p.numel() for p in params]), strict=True):
            self.state[p]["scale"] = s.view_as(p).clone()

    def scales(self) -> list[Tensor] | None:
        """Return s, a tensor for each parameter that is trained, or None for ones."""
        params = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        if not any("scale" in self.state[p] for p in params):
            return None
        return [self.state[p].get("scale", torch.ones_like(p)) for p in params]


def _word(seed: int, k: int) -> int:
    """Return output number k of SplitMix64."""
    negative = signs(64 * k, 64, seed) < 0
    return int(np.packbits(negative, bitorder="little").view("<u8")[0])
