"""The batches of a trainer that owns its loop, held where the schedule asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from multirate.errors import MultirateError

__all__ = ["HeldBatches"]


class HeldBatches:
    """Micro-batches of one optimizer step, and the sum of their losses.

    Curvature shows between gradients of one batch, but a trainer's loop can't be
    told to repeat one: what it hands over is replaced by what the step before had,
    and passed over.

    Parameters
    ----------
    keep
        Keep the micro-batches of the latest step. False: full-batch training, where
        every step is of the same data anyway.
    """

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self._batch = 0
        self._held: list[Any] = []
        self._used = 0
        self._holding = False
        self._loss: Tensor | None = None

    @property
    def batch_id(self) -> int | None:
        """Of the step under way: that of the step before where its batch is held. None for full batches."""
        return self._batch if self.keep else None

    def take(self, batch: Any, *, hold: int, length: int) -> Any:
        """Return the micro-batch to use for the one that the trainer has at hand.

        Parameters
        ----------
        batch
            What the trainer has.
        hold
            Further steps that the schedule asks for on the batch of the step before.
        length
            Micro-batches of the step under way. A step of another length than that
            before is of another loss, and can't hold its batch.
        """
        if self._used == 0:
            self._holding = hold > 0 and len(self._held) == length
            if not self._holding:
                self._held, self._batch = [], self._batch + 1
        self._used += 1
        if self._holding and self._used <= length:
            return _copy(self._held[self._used - 1])
        if self.keep:
            self._held.append(_copy(batch))
        return batch

    def add(self, loss: Tensor) -> None:
        """Add the loss of a micro-batch, as it went into the gradient."""
        loss = loss.detach()
        self._loss = loss if self._loss is None else self._loss + loss

    def finish(self) -> Tensor:
        """End the step, and return its loss."""
        if self._loss is None:
            raise MultirateError("a step of the optimizer without a loss: training_step has to return one")
        if self._holding and self._used != len(self._held):
            self._held, self._batch = [], self._batch + 1  # it ended early: of another loss
        loss, self._loss, self._used = self._loss, None, 0
        return loss

    def state_dict(self, hold: int) -> dict[str, Any]:
        """Return what a checkpoint needs, the batch included where it is to be held on."""
        held = self._held if hold > 0 and _plain(self._held) else []
        return {"batch": self._batch, "hold": hold if held else 0, "held": held}

    def load_state_dict(self, state: Mapping[str, Any]) -> int:
        """Go on from a checkpoint, and return the further steps on its batch."""
        self._batch, self._held = state["batch"], list(state["held"])
        self._used, self._loss = 0, None
        return int(state["hold"])


def _copy(batch: Any) -> Any:
    # Trainers take the labels out of a mapping that they were given.
    return dict(batch) if isinstance(batch, Mapping) else batch


def _plain(value: Any) -> bool:
    """Tell whether ``torch.load`` reads the value with weights_only: other things stay out of checkpoints."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(_plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(_plain(v) for v in value)
    return value is None or type(value) in (Tensor, bool, int, float, str)
