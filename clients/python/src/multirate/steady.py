"""Training that goes on while the service is away."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from multirate.advice import Advice
from multirate.errors import RunNotFoundError, ServiceError, ServiceUnavailableError
from multirate.run import Run
from multirate.v1 import learning_rate_service_pb2 as rpc
from multirate.v1 import statistics_pb2

__all__ = ["ServiceLostWarning", "SteadyRun"]

_LOST_SECONDS = 0.5  # a service that is away is not waited for at every step


class ServiceLostWarning(UserWarning):
    """The service is away; training goes on at the last safe rate."""


class SteadyRun:
    """A run that always answers: where the service can't, with the last safe rate.

    It warns once for each loss, tries again at every step, tells the service when
    it is back what was applied meanwhile, and brings a run that a restarted
    service has forgotten back from its latest snapshot.

    Parameters
    ----------
    run
        The run.
    snapshot_every
        Steps between the snapshots kept for that, taken beside the training. 0: none.
    """

    def __init__(self, run: Run, snapshot_every: int = 50) -> None:
        self.run = run
        self.snapshot_every = snapshot_every
        self._snapshot: bytes | None = None
        self._pending: Any = None
        self._due = snapshot_every
        self._lost = False

    def advise(self, measured: statistics_pb2.Statistics) -> Advice:
        """Return the advice for the statistics.

        Raises
        ------
        ServiceError
            The service refused them. Where it is only away, none.
        """
        run = self.run
        try:
            if self._lost:
                advice = run.advise(measured, attempts=1, timeout=_LOST_SECONDS)
            else:
                advice = run.advise(measured)
        except RunNotFoundError:
            try:
                run.recreate(self._snapshot)
                advice = run.advise(measured, attempts=1)
            except ServiceUnavailableError as error:
                return self._without(error)
        except ServiceUnavailableError as error:
            return self._without(error)
        self._lost = False
        self._keep(run.step)
        return advice

    def _without(self, error: ServiceError) -> Advice:
        run, client = self.run, self.run.client
        if client.revive is not None:
            client.revive()
        if not self._lost:
            self._lost, self._pending = True, None
            warnings.warn(
                f"the learning rate service is away, training goes on at the safe rate {run.safe_rate:g} "
                f"until it is back: {error}",
                ServiceLostWarning,
                stacklevel=4,
            )
        run.applied(run.safe_rate)
        text = "No answer from the service; the last rate known to be safe."
        return Advice(run.step - 1, run.safe_rate, "fallback", text=text, source="safe")

    def _keep(self, step: int) -> None:
        """Ask for a snapshot now and then, and take it over once it is there."""
        if self._pending is not None and self._pending.done():
            if self._pending.exception() is None:
                self._snapshot = self._pending.result().snapshot
            self._pending = None
        if self.snapshot_every and step >= self._due and self._pending is None:
            self._due = step + self.snapshot_every
            request = rpc.SnapshotRunRequest(run_id=self.run.id)
            self._pending = self.run.client.methods["SnapshotRun"].future(request, timeout=10)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs; while the service is away, with the latest snapshot kept.

        Raises
        ------
        ServiceUnavailableError
            The service is away and there is no snapshot.
        """
        try:
            return self.run.state()
        except (ServiceUnavailableError, RunNotFoundError):
            if self._snapshot is None:
                raise
            return self.run.state(self._snapshot)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; see `Run.load_state`."""
        self.run.load_state(state)
        self._snapshot, self._pending, self._lost = state["snapshot"], None, False
        self._due = self.run.step + self.snapshot_every
