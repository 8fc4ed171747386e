"""A physics-informed network: -u'' = f on (0, 1), u = 0 at both ends, with two frequencies in u.

    pip install 'clients/python[torch,examples]'
    python examples/python/pinn.py

A tanh network of 1-20-20-1, the residual at 100 points (Raissi, Perdikaris and
Karniadakis, J. Comput. Phys. 378, 2019). u = sin(pi x) + sin(3 pi x)/3. The target
is 1e-4 of the loss of u = 0.
"""

from __future__ import annotations

import math

import torch
from contest import Entry, Problem, contest, parser
from images import scaled_normal
from torch import Tensor


def poisson(seed: int) -> Problem:
    x = torch.linspace(0, 1, 100, dtype=torch.float64).unsqueeze(1)
    force = math.pi**2 * (torch.sin(math.pi * x) + 3 * torch.sin(3 * math.pi * x))

    def with_curvature(p: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and u'', by the chain rule through each layer."""
        h, dh, ddh = x, torch.ones_like(x), torch.zeros_like(x)
        for layer in range(0, 4, 2):
            z, dz, ddz = h @ p[layer].T + p[layer + 1], dh @ p[layer].T, ddh @ p[layer].T
            h = torch.tanh(z)
            slope = 1 - h**2
            dh, ddh = slope * dz, slope * ddz - 2 * h * slope * dz**2
        return h @ p[4].T + p[5], ddh @ p[4].T

    def of(p: list[Tensor]) -> Tensor:
        u, curvature = with_curvature(p, x)
        ends = u[0] ** 2 + u[-1] ** 2
        return ((curvature + force) ** 2).mean() + 100 * ends.sum()

    shapes: list[tuple[int, ...]] = [(20, 1), (20,), (20, 20), (20,), (1, 20), (1,)]
    start = scaled_normal(shapes, seed, torch.float64)
    # Slopes as long as the waves to be represented; a bias apiece spreads them.
    generator = torch.Generator().manual_seed(seed)
    start[0] = start[0] * 3
    start[1] = torch.randn(20, generator=generator, dtype=torch.float64) * 2
    return Problem("Poisson by a network", start, of, 1e-4 * float((force**2).mean()))


if __name__ == "__main__":
    entry = Entry(poisson, budget=1500, rates=(1e-5, 1.0, 6))
    contest({"pinn": entry}, parser(__doc__, "pinn").parse_args())
