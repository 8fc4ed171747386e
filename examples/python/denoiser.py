"""A denoiser of natural-image patches, 64-32-64 with tanh, trained until it is as good as linear ones.

    pip install 'clients/python[torch,examples]'
    python examples/python/denoiser.py

Patches of 8x8 pixels from scikit-learn's two photographs, with Gaussian noise of
0.1. The target is 1.25 times the loss of the best affine map, by least squares.
"""

from __future__ import annotations

import torch
from contest import Entry, Problem, contest, parser
from images import patches, scaled_normal
from torch import Tensor
from torch.nn import functional as F


def denoiser(seed: int) -> Problem:
    clean = patches(1000, 8, seed)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))

    def of(p: list[Tensor]) -> Tensor:
        return F.mse_loss(F.linear(torch.tanh(F.linear(noisy, p[0], p[1])), p[2], p[3]), clean)

    design = torch.cat([noisy, torch.ones(len(noisy), 1)], 1).double()
    best = design @ torch.linalg.lstsq(design, clean.double()).solution
    linear = float(((best - clean) ** 2).mean())
    return Problem(
        "denoiser of photographs", scaled_normal([(32, 64), (32,), (64, 32), (64,)], seed), of, 1.25 * linear
    )


if __name__ == "__main__":
    entry = Entry(denoiser, budget=500, rates=(1e-3, 10.0, 9))
    contest({"denoiser": entry}, parser(__doc__, "denoiser").parse_args())
