"""Data-parallel training: every rank gets the rate that the first one asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from multirate.errors import MultirateError
from multirate.torch.sketch import Measured

__all__ = ["Ranks"]


class Ranks:
    """The ranks of a process group.

    Parameters
    ----------
    group
        The process group.
    sharded
        Each rank has a shard of the gradient (FSDP), and sketches add; else each
        has all of it, averaged (DDP).
    device
        Where the group's collectives work.
    """

    def __init__(self, group: Any, *, sharded: bool, device: torch.device) -> None:
        self.group, self.sharded, self.device = group, sharded, device
        self.first = dist.get_rank(group) == 0

    def reduce(self, m: Measured) -> Measured:
        """Return what all ranks measured together: sketches are linear, a few hundred floats are added."""
        share = 1 / dist.get_world_size(self.group)
        own = share if not self.sharded else 1.0
        norm = -1.0 if m.parameter_norm is None else m.parameter_norm**2
        numbers = torch.tensor(
            [m.loss * share, m.norm_squared * own, norm * own, *(m.sketch * own).tolist()],
            dtype=torch.float64,
            device=self.device,
        )
        dist.all_reduce(numbers, group=self.group)
        loss, norm_squared, parameters = numbers[:3].tolist()
        return Measured(
            loss,
            norm_squared,
            None if m.parameter_norm is None else math.sqrt(parameters),
            numbers[3:].cpu().numpy(),
        )

    def share(self, ask: Callable[[], float]) -> float:
        """Return on all ranks what ``ask`` returns on the first, or raise on all where it raises."""
        answer = torch.full((1,), math.nan, dtype=torch.float64, device=self.device)
        failure: BaseException | None = None
        if self.first:
            try:
                answer[0] = ask()
            except BaseException as error:
                failure = error
        source = dist.get_global_rank(self.group, 0) if self.group is not None else 0
        dist.broadcast(answer, source, group=self.group)
        if failure is not None:
            raise failure
        rate = _number(answer)
        if math.isnan(rate):
            raise MultirateError("the first rank could not get a rate; its error says why")
        return rate


def _number(t: Tensor) -> float:
    return float(t.item())
