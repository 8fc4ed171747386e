"""A run that is asked from a thread of its own, so that the trainer never waits."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from multirate.advice import Advice
from multirate.errors import MultirateError
from multirate.steady import SteadyRun
from multirate.v1 import statistics_pb2

__all__ = ["BackgroundRun"]

_CAPACITY = 8  # steps that may wait for the service


class _Step(NamedTuple):
    number: int
    measured: Callable[[], statistics_pb2.Statistics]
    applied: float | None  # at the step before


class BackgroundRun:
    """Rates from earlier steps' evidence that are safe to take now.

    The service admits a rate for the very gradient that it was shown. A later
    gradient is another, and a long step taken twice multiplies what it amplifies
    twice. But steps at rates up to 1/L, L the stiffest curvature known, amplify
    nothing along any eigenvalue from 0 to 2L. So the rate advised for step j is
    taken at step t only if all steps from j to t - 1 were at such rates; else the
    lesser of it and 1/L. While L is unknown the rate is taken once, and 0 until
    there is another.

    When the service is slower than the trainer, steps wait for it, up to a few;
    beyond that the trainer's steps are not reported until it has caught up, in
    whole stretches, since curvature shows between successive steps.

    Parameters
    ----------
    steady
        The run; from here on it belongs to the thread.
    """

    def __init__(self, steady: SteadyRun) -> None:
        self.steady = steady
        self._queue: queue.Queue[_Step | None] = queue.Queue(_CAPACITY)
        self._advice: Advice | None = None
        self._step = steady.run.step
        self._long = self._step - 1  # the latest step beyond 1/L
        self._catching_up = False
        self._unreported = 0
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def advice(self) -> Advice | None:
        """The latest answer, of this step or an earlier one."""
        return self._advice

    @property
    def unreported(self) -> int:
        """Number of steps that the service was not told of, since it was too slow."""
        return self._unreported

    def rate(self, measured: Callable[[], statistics_pb2.Statistics], applied: float | None) -> float:
        """Hand the step about to be taken over, and return a rate for it at once.

        Parameters
        ----------
        measured
            Returns what was measured before the step; called in the thread, where
            it may wait for a device.
        applied
            The rate really applied at the step before; None at the first.

        Raises
        ------
        MultirateError
            What went wrong with an earlier step: its measurements are not finite,
            or the service refused it.
        """
        if self._failure is not None:
            raise self._failure
        step = self._step
        self._step += 1
        rate = self._admitted(step, self._advice)
        self._hand(_Step(step, measured, applied))
        return rate

    def _admitted(self, step: int, advice: Advice | None) -> float:
        if advice is None:
            return 0.0
        safe = 1 / advice.stiffest_curvature if advice.stiffest_curvature > 0 else 0.0
        # At the step advised for nothing lies between, at a later one only short steps.
        rate = advice.learning_rate if self._long < advice.step else min(advice.learning_rate, safe)
        if rate > safe:
            self._long = step
        return rate

    def _hand(self, step: _Step) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_work, args=(weakref.ref(self), self._queue), name="multirate", daemon=True
            )
            self._thread.start()
        if self._catching_up and not self._queue.empty():
            self._unreported += 1
            return
        self._catching_up = False
        try:
            self._queue.put_nowait(step)
        except queue.Full:
            self._catching_up = True
            self._unreported += 1

    def ask(self, step: _Step) -> None:
        """Ask for one step's rate; in the thread."""
        if self._failure is not None:
            return
        try:
            if step.applied is not None:
                self.steady.run.go_to(step.number, step.applied)
            self._advice = self.steady.advise(step.measured())
        except BaseException as error:
            self._failure = error

    def wait(self) -> None:
        """Wait until all steps handed over are answered."""
        self._queue.join()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs, once all steps handed over are answered."""
        self.wait()
        if self._failure is not None:
            raise self._failure
        state = self.steady.state()
        advice = None if self._advice is None else list(self._advice)
        return {**state, "background": {"advice": advice, "step": self._step, "long": self._long}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; see `SteadyRun.load_state`.

        Raises
        ------
        MultirateError
            The checkpoint is of a scheduler that waited for its rates.
        """
        own = state.get("background")
        if own is None:
            raise MultirateError(
                "the checkpoint is of a synchronous run: load it into a MultirateLR without asynchronous=True"
            )
        self.wait()
        self.steady.load_state(state)
        self._advice = None if own["advice"] is None else Advice(*own["advice"])
        self._step, self._long, self._failure = own["step"], own["long"], None
        self._catching_up = False

    def __del__(self) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)


def _work(of: weakref.ref[BackgroundRun], waiting: queue.Queue[_Step | None]) -> None:
    """Ask for each step in turn, until the run is gone."""
    while True:
        step = waiting.get()
        try:
            own = of()
            if step is None or own is None:
                return
            own.ask(step)
        finally:
            own = None
            waiting.task_done()
