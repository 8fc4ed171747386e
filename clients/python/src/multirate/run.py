"""One training process's view of its run."""

from __future__ import annotations

import math
import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multirate import estimate
from multirate.advice import Advice, advice_of, checked
from multirate.errors import DimensionError, MultirateError, NotFiniteError, RunNotFoundError
from multirate.sketch import Sketcher
from multirate.v1 import learning_rate_service_pb2 as rpc
from multirate.v1 import run_pb2, spectrum_pb2, statistics_pb2

if TYPE_CHECKING:
    from multirate.client import Client

__all__ = ["Run", "RunConfig", "statistics"]

# What a run and the checkpoint loaded into it must have alike. The fallback rate
# is not among them: a resumed optimizer has the schedule's rate.
_FIXED = (
    "policy",
    "update_rule",
    "momentum",
    "batch_kind",
    "loss_lower_bound",
    "max_loss_growth",
    "horizon_steps",
    "max_learning_rate",
    "window",
)

_ASK_SECONDS = 10.0  # a service that takes longer than this counts as away


@dataclass(frozen=True)
class RunConfig:
    """The declaration of a run, fixed for its life.

    Only ``dimension`` is required; None leaves a choice to the service, as
    docs/options.md explains.

    Attributes
    ----------
    dimension
        Number of trained parameters D, 1 to 2**40.
    run_id
        Name on the service, 1 to 128 of ``[A-Za-z0-9._-]``. The same declaration
        under the same id is the same run. ``""``: a random one.
    policy
        ``"adaptive"``, ``"constant"``, ``"mrgd"`` or ``"chebyshev"``.
    batch
        ``"full"`` when loss and gradient are always of the same data, else ``"mini"``.
    loss_lower_bound
        A bound that the loss never goes below: 0 for cross-entropy and squared errors.
    max_loss_growth
        Factor, > 1, by which the loss may exceed what it was when the present
        cycle began before short steps take over.
    fallback_learning_rate
        The trainer's own rate, > 0. Required for mini-batches.
    max_learning_rate
        No rate above it is returned, > 0.
    horizon_steps
        Steps that the training will take, >= 1.
    window
        Pairs of successive sketches kept, 4 to 64.
    sketch_dimension
        d, odd, 15 to 4095. 0 means 251.
    sketch_seed
        Seed of the sketch's signs.
    update_rule, momentum, weight_decay
        What the trainer does with the gradient; the service says what it offers.
    labels
        The client's own.
    """

    dimension: int
    run_id: str = ""
    policy: str = "adaptive"
    batch: str = "full"
    loss_lower_bound: float | None = None
    max_loss_growth: float | None = None
    fallback_learning_rate: float | None = None
    max_learning_rate: float | None = None
    horizon_steps: int | None = None
    window: int | None = None
    sketch_dimension: int = 0
    sketch_seed: int = 0
    update_rule: str = "gradient_descent"
    momentum: float = 0.0
    weight_decay: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    def declaration(self) -> run_pb2.Run:
        """Return the message that declares the run, under a drawn id where none is given."""
        return run_pb2.Run(
            run_id=self.run_id or "run-" + secrets.token_hex(13),
            dimension=self.dimension,
            policy=_number(run_pb2.Policy, "POLICY_", self.policy),
            update_rule=_number(run_pb2.UpdateRule, "UPDATE_RULE_", self.update_rule),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_kind=_number(run_pb2.BatchKind, "BATCH_KIND_", self.batch),
            sketch=run_pb2.SketchSpec(dimension=self.sketch_dimension, seed=self.sketch_seed),
            loss_lower_bound=self.loss_lower_bound,
            max_loss_growth=self.max_loss_growth,
            horizon_steps=self.horizon_steps,
            fallback_learning_rate=self.fallback_learning_rate,
            max_learning_rate=self.max_learning_rate,
            window=self.window,
            labels=dict(self.labels),
        )


def _number(enum: Any, prefix: str, name: str) -> Any:
    names = {key.removeprefix(prefix).lower(): number for key, number in enum.items() if number}
    if name not in names:
        raise ValueError(f"{prefix.rstrip('_').lower()} {name!r}: use one of {', '.join(names)}")
    return names[name]


def statistics(
    loss: float | None,
    norm_squared: float,
    sketch: NDArray[Any] | None = None,
    *,
    parameter_norm: float | None = None,
    dot_previous: float | None = None,
    batch_id: int | None = None,
) -> statistics_pb2.Statistics:
    """Return what was measured at the current parameters, before a step.

    Parameters
    ----------
    loss
        Of the same data as the gradient. None: unknown; only safe rates follow.
    norm_squared
        Squared Euclidean norm of the gradient.
    sketch
        d numbers, the sketch of the gradient.
    parameter_norm
        Euclidean norm of the parameters, which sets the length of the first step.
    dot_previous
        Inner product with the previous step's gradient; not needed beside a sketch.
    batch_id
        Names the mini-batch; equal ids at successive steps say that it was held.

    Raises
    ------
    NotFiniteError
        The loss or the norm is NaN or infinite.
    """
    if not (math.isfinite(norm_squared) and (loss is None or math.isfinite(loss))):
        raise NotFiniteError(
            f"loss {loss}, squared gradient norm {norm_squared}: the training overflowed; "
            "skip this step (with a gradient scaler) or go back to a checkpoint"
        )
    # Written as it goes over the wire: appending d floats to a message takes
    # longer than all the rest of a step.
    parts = [_NUMBER.pack(_GRADIENT_NORM_SQUARED, norm_squared)]
    if loss is not None:
        parts.append(_NUMBER.pack(_LOSS, loss))
    if sketch is not None:
        data = np.asarray(sketch, "<f4").tobytes()
        values = b"\x08\x01\x12" + _varint(len(data))  # kind: gradient; values
        parts += (b"\x2a", _varint(len(values) + len(data)), values, data)
    if parameter_norm is not None:
        parts.append(_NUMBER.pack(_PARAMETER_NORM, parameter_norm))
    if dot_previous is not None:
        parts.append(_NUMBER.pack(_GRADIENT_DOT_PREVIOUS, dot_previous))
    if batch_id is not None:
        parts.append(b"\x30" + _varint(batch_id))
    return statistics_pb2.Statistics.FromString(b"".join(parts))


# Tags of the numbers of Statistics: field number and the wire type of a double.
_NUMBER = struct.Struct("<Bd")
_LOSS, _GRADIENT_NORM_SQUARED, _GRADIENT_DOT_PREVIOUS, _PARAMETER_NORM = 0x09, 0x11, 0x19, 0x21


def _varint(n: int) -> bytes:
    if not 0 <= n < 1 << 64:
        raise ValueError(f"{n} is no 64-bit number without sign")
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class Run:
    """One training process's view of its run. It belongs to one thread.

    Made by `Client.new_run` and `Client.restore_run`.

    Parameters
    ----------
    client
        The connection.
    declared
        The run as the service registered it.
    upcoming
        Take rates that the service gave in advance without a call or a sketch,
        while the loss stays within the limit that came with them.

    Attributes
    ----------
    step : int
        Number of the step that the next call asks for.
    safe_rate : float
        A rate that the last answer showed to be safe to repeat. Before any answer
        it is the declared fallback rate, or 0.
    last : Advice or None
        The latest advice.
    """

    def __init__(self, client: Client, declared: run_pb2.Run, *, upcoming: bool = False) -> None:
        self.client = client
        self.upcoming = upcoming
        self._adopt(declared)

    def _adopt(self, declared: run_pb2.Run) -> None:
        self.declared, self._id = declared, declared.run_id
        self.sketcher = Sketcher(declared.dimension, declared.sketch.dimension, declared.sketch.seed)
        self.step: int = declared.latest_step + 1 if declared.HasField("latest_step") else 0
        self.safe_rate: float = declared.fallback_learning_rate
        self.last: Advice | None = None
        self._applied: float | None = None
        self._unanswered = False
        self._ahead: list[float] = []
        self._limit = self._largest = -math.inf

    @property
    def id(self) -> str:
        """The run's id."""
        return self.declared.run_id

    @property
    def dimension(self) -> int:
        """Number of trained parameters."""
        return self.declared.dimension

    def rate(self, loss: float, gradient: NDArray[Any], **measured: Any) -> Advice:
        """Return the advice for the step from the current parameters.

        Parameters
        ----------
        loss
            At the current parameters, of the same data as the gradient.
        gradient
            The D numbers that the step is taken with.
        **measured
            More of what `statistics` takes.

        Raises
        ------
        NotFiniteError, DimensionError
            Before anything is sent.
        ServiceError
            The run stays at this step. The trainer stops, calls again with the
            same measurements, or takes the step at ``safe_rate`` or a rate of its
            own and says so with `applied`.
        """
        flat = np.ravel(gradient)
        sketch = self.sketcher(flat)
        return self.advise(
            statistics(loss, float(np.square(flat, dtype=np.float64).sum()), sketch, **measured)
        )

    def advise(
        self, measured: statistics_pb2.Statistics, *, attempts: int = 5, timeout: float | None = None
    ) -> Advice:
        """Return the advice for statistics that the trainer took itself; see `rate`."""
        request = rpc.GetLearningRateRequest(run_id=self._id, step=self.step, statistics=measured)
        if self._applied is not None:
            request.applied_learning_rates.append(self._applied)
        self._unanswered = True
        response = self.client.call(
            "GetLearningRate", request, attempts=attempts, timeout=timeout or _ASK_SECONDS
        )
        advice = advice_of(response)
        self._offer(response, measured)
        self._answered(advice, applied=None)
        self.safe_rate = advice.safe_rate
        return advice

    def _answered(self, advice: Advice, applied: float | None) -> None:
        self.last, self.step, self._applied, self._unanswered = advice, self.step + 1, applied, False

    def _offer(self, response: rpc.GetLearningRateResponse, measured: statistics_pb2.Statistics) -> None:
        if not self.upcoming:
            return
        if measured.HasField("loss"):
            self._largest = max(self._largest, measured.loss)
        has_limit = response.HasField("upcoming_loss_limit")
        self._limit = response.upcoming_loss_limit if has_limit else self._largest
        self._ahead = [checked(u.learning_rates[0]) for u in reversed(response.upcoming)]

    def take_upcoming(self, loss: float) -> float | None:
        """Return the rate given in advance for this step, if there is a good one.

        Taking it needs no call and no sketch: the service learns of such steps
        from the number of the next one that it is asked for.
        """
        if not self._ahead or not loss <= self._limit:
            return None
        rate = self._ahead.pop()
        self._largest = max(self._largest, loss)
        self.step += 1
        # The service can't know that this trainer held to the rate.
        self._applied, self._unanswered = rate, False
        return rate

    def applied(self, rate: float) -> None:
        """Declare the rate really applied at the step last asked for.

        To be called whenever it differs from the advised one: 0 for a skipped
        step, the effective rate after clipping. After an `advise` that failed it
        declares that the step was taken nevertheless.

        Raises
        ------
        MultirateError
            It is no rate, or there was no step yet.
        """
        checked(rate)
        if self._unanswered:
            self.step, self._unanswered = self.step + 1, False
        elif self.step == 0:
            raise MultirateError("applied() before any step: ask for a rate first")
        self._ahead, self._applied = [], rate

    def go_to(self, step: int, applied: float) -> None:
        """Go on with a later step, ``applied`` being the rate of the one before it.

        For steps that the service is not told of: they teach it nothing.
        """
        self._ahead, self._applied, self._unanswered = [], checked(applied), False
        self.step = step

    def snapshot(self) -> bytes:
        """Return the run's whole state in the service as opaque bytes."""
        response = self.client.call("SnapshotRun", rpc.SnapshotRunRequest(run_id=self.id))
        snapshot: bytes = response.snapshot
        return snapshot

    def restore(self, snapshot: bytes) -> None:
        """Put the run back to a snapshot: its rates from there on are those that it gave before."""
        request = rpc.RestoreRunRequest(snapshot=snapshot, run_id=self.id, overwrite=True)
        self._adopt(self.client.call("RestoreRun", request).run)

    def recreate(self, snapshot: bytes | None) -> None:
        """Bring a run that the service has forgotten back, at the present step.

        Parameters
        ----------
        snapshot
            Its latest, perhaps of an earlier step. None: the run begins anew.
        """
        step, applied, safe = self.step, self._applied, self.safe_rate
        if snapshot is not None:
            self.restore(snapshot)
        else:
            declared = run_pb2.Run()
            declared.CopyFrom(self.declared)
            for output_only in ("create_time", "latest_step", "spectrum_revision"):
                declared.ClearField(output_only)
            self._adopt(self.client.call("CreateRun", rpc.CreateRunRequest(run=declared)).run)
        self.step, self._applied, self.safe_rate = step, applied, safe

    def state(self, snapshot: bytes | None = None) -> dict[str, Any]:
        """Return all that a checkpoint needs: the snapshot, and what the service has yet to hear of."""
        return {
            "snapshot": self.snapshot() if snapshot is None else snapshot,
            "dimension": self.dimension,
            "step": self.step,
            "applied": self._applied,
            "ahead": list(self._ahead),
            "limit": self._limit,
            "largest": self._largest,
            "safe_rate": self.safe_rate,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, on this service or another, with the same bits.

        Raises
        ------
        DimensionError
            The checkpoint is of another number of parameters.
        MultirateError
            It is of a run declared otherwise, with another horizon say: a run's
            declaration is fixed for its life.
        SnapshotError, VersionError
            The service can't read its snapshot.
        """
        if state["dimension"] != self.dimension:
            raise DimensionError(
                f"the checkpoint is of {state['dimension']} parameters, the model has {self.dimension}: "
                "load it into the model that it was saved from"
            )
        before = self.declared
        self.restore(state["snapshot"])
        changed = [
            f"{name} {getattr(before, name)} instead of {getattr(self.declared, name)}"
            for name in _FIXED
            if getattr(before, name) != getattr(self.declared, name)
        ]
        if changed:
            raise MultirateError(
                f"the checkpoint is of a run declared otherwise, here with {', '.join(changed)}: make the "
                "scheduler with the options that it was saved with, or begin a new run without its state"
            )
        self.step, self._applied, self.safe_rate = state["step"], state["applied"], state["safe_rate"]
        self._ahead, self._limit, self._largest = list(state["ahead"]), state["limit"], state["largest"]

    def report_lanczos(self, alpha: Any, beta: Any) -> spectrum_pb2.Spectrum:
        """Hand in the coefficients of a Lanczos run on the trainer's own device.

        Parameters
        ----------
        alpha, beta
            k diagonal entries; k - 1 off-diagonal ones, or k with the last
            residual norm.
        """
        coefficients = spectrum_pb2.LanczosCoefficients(alpha=alpha, beta=beta)
        request = rpc.ReportLanczosRequest(run_id=self.id, coefficients=coefficients)
        response = self.client.call("ReportLanczos", request, attempts=1)
        return _spectrum(response)

    def estimate_spectrum(
        self, product: Callable[[NDArray[Any]], NDArray[Any]], **options: Any
    ) -> spectrum_pb2.Spectrum:
        """Let the service run Lanczos on Hessian-vector products; see `multirate.estimate.run`."""
        return estimate.run(self, product, **options)

    def spectrum(self, density_points: int = 0) -> spectrum_pb2.Spectrum | None:
        """Return the latest spectrum, with its density on so many points, or None while there is none."""
        request = rpc.GetSpectrumRequest(run_id=self.id, density_points=density_points)
        try:
            return _spectrum(self.client.call("GetSpectrum", request))
        except MultirateError as error:
            if getattr(error, "reason", "") == "NO_SPECTRUM":
                return None
            raise

    def delete(self) -> None:
        """Let the service forget the run, if it has not."""
        try:
            self.client.call("DeleteRun", rpc.DeleteRunRequest(run_id=self.id), attempts=1)
        except RunNotFoundError:
            return


def _spectrum(response: Any) -> spectrum_pb2.Spectrum:
    spectrum: spectrum_pb2.Spectrum = response.spectrum
    return spectrum
