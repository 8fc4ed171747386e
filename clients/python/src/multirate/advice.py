"""The learning rate for one step and where it comes from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from multirate.errors import MultirateError
from multirate.v1 import learning_rate_service_pb2 as rpc

__all__ = ["Advice"]


class Advice(NamedTuple):
    """The learning rate for one step and where it comes from.

    Attributes
    ----------
    step
        The step that this answers.
    learning_rate
        The rate, finite and >= 0.
    reason
        Kind of the step: ``"planned"``, ``"damping"``, ``"warmup"``, ``"fallback"``
        or ``"recovery"``.
    guard
        What kept the rate below the planned one, ``"none"`` or ``"trust_region"`` say.
    text
        All this in one sentence for people.
    scale, scales
        The scale that the step serves, 0 for the stiffest, -1 for none, out of
        so many known ones.
    cycle_position, cycle_length
        Where the step is in its cycle, from 0; length 0 for no cycle.
    predicted_change
        Loss change that the service's model predicts. None: no model.
    stiffest_curvature
        The largest curvature supported by evidence. 0: unknown.
    spectrum_revision
        Grows with each new spectrum. 0: none yet.
    estimate_wanted
        An estimate from products would pay now. The trainer is free to decline.
    hold_batch_steps
        Further steps for which this mini-batch should be held.
    source
        ``"service"``, or ``"safe"`` while the service is away.
    """

    step: int
    learning_rate: float
    reason: str
    guard: str = "none"
    text: str = ""
    scale: int = -1
    scales: int = 0
    cycle_position: int = 0
    cycle_length: int = 0
    predicted_change: float | None = None
    stiffest_curvature: float = 0.0
    spectrum_revision: int = 0
    estimate_wanted: bool = False
    hold_batch_steps: int = 0
    source: str = "service"

    @property
    def safe_rate(self) -> float:
        """The rate, or 1/L for the stiffest curvature L if that is less: what can be repeated.

        A rate of a cycle by itself is not safe, since the cycle's others pay for it.
        """
        if self.stiffest_curvature > 0:
            return min(self.learning_rate, 1 / self.stiffest_curvature)
        return self.learning_rate


def advice_of(response: rpc.GetLearningRateResponse) -> Advice:
    """Translate an answer of the service."""
    e, rates = response.explanation, response.rates
    return Advice(
        response.step,
        checked(rates[0].learning_rate if rates else math.nan),
        _REASONS.get(e.reason, "unknown"),
        _GUARDS.get(e.guard, "unknown"),
        e.text,
        e.scale_index,
        e.scale_count,
        e.cycle_position,
        e.cycle_length,
        e.predicted_loss_change if e.HasField("predicted_loss_change") else None,
        e.stiffest_curvature,
        response.spectrum_revision,
        response.estimate_wanted,
        response.hold_batch_steps,
    )


def checked(rate: float) -> float:
    """Return the rate, so that whatever the peer no NaN and no negative one reaches the parameters."""
    if not 0 <= rate < math.inf:
        raise MultirateError(f"learning rate {rate} is not a rate: is the peer a multirate service?")
    return rate


def _names(enum: Any, prefix: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix).lower() for name, number in enum.items()}


_REASONS = _names(rpc.Reason, "REASON_")
_GUARDS = _names(rpc.Guard, "GUARD_")
