"""Losses whose answers are known, and trainers that record their rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multirate.torch import MultirateLR

NARROW: NDArray[np.float64] = np.concatenate(
    [np.linspace(1, 1.2, 20), np.linspace(1000, 1200, 20)]
)  # for short cycles
EIGENVALUES: NDArray[np.float64] = np.concatenate(
    [np.linspace(1, 4, 20), np.linspace(1000, 4000, 20)]
)  # two scales


def quadratic_loss(x: torch.Tensor, eigenvalues: NDArray[np.float64] = EIGENVALUES) -> torch.Tensor:
    return (torch.as_tensor(eigenvalues, dtype=x.dtype) * x * x).sum() / 2


class Training:
    """Full-batch training of a small network in float64, one step at a time."""

    def __init__(self, seed: int = 0, groups: int = 1, optimizer: Any = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(60, 8, generator=generator, dtype=torch.float64)
        self.x[:, :4] *= 30
        self.y = torch.randint(0, 3, (60,), generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = torch.nn.Sequential(
                torch.nn.Linear(8, 10), torch.nn.Tanh(), torch.nn.Linear(10, 3)
            ).double()
        params = list(self.model.parameters())
        split = params if groups == 1 else [{"params": params[:1]}, {"params": params[1:]}]
        self.optimizer = (optimizer or torch.optim.SGD)(split, lr=0.1)
        self.scheduler: MultirateLR

    def loss(self) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.model(self.x), self.y)

    def step(self) -> float:
        """Take one step and return its rate."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.scheduler.step(loss)
        self.optimizer.step()
        return float(self.scheduler.get_last_lr()[0])
