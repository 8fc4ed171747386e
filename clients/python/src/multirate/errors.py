"""What can go wrong, each with the sentence that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = [
    "DimensionError",
    "InvalidRequestError",
    "MultirateError",
    "NotFiniteError",
    "NotOfferedError",
    "RunExistsError",
    "RunNotFoundError",
    "ServiceError",
    "ServiceUnavailableError",
    "SidecarError",
    "SnapshotError",
    "StepAnsweredError",
    "UnsupportedOptimizerError",
    "VersionError",
    "Violation",
]


# How often a call follows a run that moves between the replicas of a service.
MOST_HOPS = 4


class MultirateError(Exception):
    """Base of all exceptions of this package."""


class NotFiniteError(MultirateError, ValueError):
    """The loss or the gradient is NaN or infinite, found before anything was sent."""


class DimensionError(MultirateError, ValueError):
    """The gradient, a sketch or a checkpoint is of another number of parameters than the run."""


class UnsupportedOptimizerError(MultirateError, TypeError):
    """The optimizer does something else with the gradient than ``x -= rate * gradient``."""


class SidecarError(MultirateError, RuntimeError):
    """The sidecar was not found, could not be built or ended at once."""


@dataclass(frozen=True)
class Violation:
    """One offending field of a refused request.

    Attributes
    ----------
    field
        Its path, ``"statistics.sketches[0].values"`` say.
    description
        What is wrong, what the limit is and what to do.
    reason
        Stable reason in UPPER_SNAKE, ``""`` when the service gave none.
    """

    field: str
    description: str
    reason: str = ""


class ServiceError(MultirateError):
    """A call that the service refused or that never reached it.

    Attributes
    ----------
    method : str
        The call, ``"GetLearningRate"`` say.
    code : grpc.StatusCode
        The canonical code.
    reason : str
        The service's stable reason in UPPER_SNAKE (docs/errors.md), ``""`` when
        it gave none, as when it was never reached.
    violations : tuple of Violation
        The offending fields.
    retry_after : float or None
        Seconds that the service asks to wait.
    owner : str
        Address of the replica that must take the call, ``""`` for any other error.
    """

    def __init__(
        self,
        method: str,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after: float | None = None,
        owner: str = "",
    ) -> None:
        self.method, self.code, self.message, self.owner = method, code, message, owner
        self.reason, self.violations, self.retry_after = reason, violations, retry_after
        text = f"{method}: {code.name}" + (f" ({reason})" if reason else "") + f": {message}"
        text += "".join(f"; {v.field}: {v.description}" for v in violations if v.description not in message)
        super().__init__(text)


class InvalidRequestError(ServiceError, ValueError):
    """A field of the request is wrong; ``violations`` name it."""


class RunNotFoundError(ServiceError, LookupError):
    """The service knows no run of that id: it was deleted, or the service restarted."""


class RunExistsError(ServiceError):
    """Another declaration has that run id: choose another, or restore with overwrite."""


class StepAnsweredError(ServiceError):
    """The step was answered for other statistics: restore a snapshot before going back."""


class SnapshotError(ServiceError, ValueError):
    """The snapshot is damaged: take another copy, an older checkpoint or a fresh run."""


class VersionError(ServiceError):
    """Client, service and snapshot are not of versions that understand each other."""


class NotOfferedError(ServiceError, NotImplementedError):
    """The service does not offer this yet; the message names the way round."""


class ServiceUnavailableError(ServiceError, ConnectionError):
    """Nothing answers at the address, or not in time."""


_BY_REASON: dict[str, type[ServiceError]] = {
    "RUN_NOT_FOUND": RunNotFoundError,
    "RUN_EXISTS": RunExistsError,
    "STEP_ALREADY_ANSWERED": StepAnsweredError,
    "SNAPSHOT_DAMAGED": SnapshotError,
    "SNAPSHOT_VERSION": VersionError,
    "NOT_OFFERED": NotOfferedError,
}
_BY_CODE: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceUnavailableError,
    # Without an ErrorInfo it is gRPC itself that does not know the method.
    grpc.StatusCode.UNIMPLEMENTED: VersionError,
}


def from_rpc(method: str, error: grpc.RpcError) -> ServiceError:
    """Translate a gRPC error, with its details, into the class to catch."""
    call: Any = error
    code, message = call.code(), call.details() or "the service gave no message"
    reason, violations, retry_after, owner = "", [], None, ""
    for name, detail in _details(call.trailing_metadata() or ()):
        if name == "ErrorInfo":
            reason = detail.reason
            if reason == "OWNED_ELSEWHERE":
                owner = next((e.value for e in detail.metadata if e.key == "owner"), "")
        elif name == "BadRequest":
            violations += [Violation(v.field, v.description, v.reason) for v in detail.field_violations]
        elif name == "QuotaFailure":
            violations += [Violation(v.subject, v.description) for v in detail.violations]
        elif name == "RetryInfo":
            retry_after = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code, ServiceError)
    if cls is VersionError and code is grpc.StatusCode.UNIMPLEMENTED:
        message += (
            ": the service is older than this client; update it, `multirate version` prints its version"
        )
    return cls(method, code, message, reason, tuple(violations), retry_after, owner)


def _details(metadata: Any) -> list[tuple[str, Any]]:
    """Return the google.rpc details, by name, that came with a status."""
    for key, value in metadata:
        if key == "grpc-status-details-bin":
            status = _GOOGLE_RPC["Status"].FromString(value)
            named = ((d.type_url.rpartition("google.rpc.")[2], d.value) for d in status.details)
            return [(name, _GOOGLE_RPC[name].FromString(data)) for name, data in named if name in _GOOGLE_RPC]
    return []


def _google_rpc() -> dict[str, Any]:
    """Build the few google.rpc messages that are needed.

    They live in a pool of their own: googleapis-common-protos would be a
    dependency for five messages, and beside it they must not be registered twice.
    """
    field = descriptor_pb2.FieldDescriptorProto
    string, many, one = field.TYPE_STRING, field.LABEL_REPEATED, field.LABEL_OPTIONAL
    fields: dict[str, list[tuple[str, int, int, int, str]]] = {
        "Any": [("type_url", 1, string, one, ""), ("value", 2, field.TYPE_BYTES, one, "")],
        "Status": [("details", 3, field.TYPE_MESSAGE, many, "Any")],
        # A map is a list of entries on the wire.
        "Entry": [("key", 1, string, one, ""), ("value", 2, string, one, "")],
        "ErrorInfo": [("reason", 1, string, one, ""), ("metadata", 3, field.TYPE_MESSAGE, many, "Entry")],
        "FieldViolation": [
            (n, i, string, one, "") for i, n in enumerate(("field", "description", "reason"), 1)
        ],
        "BadRequest": [("field_violations", 1, field.TYPE_MESSAGE, many, "FieldViolation")],
        "QuotaViolation": [("subject", 1, string, one, ""), ("description", 2, string, one, "")],
        "QuotaFailure": [("violations", 1, field.TYPE_MESSAGE, many, "QuotaViolation")],
        "Duration": [("seconds", 1, field.TYPE_INT64, one, ""), ("nanos", 2, field.TYPE_INT32, one, "")],
        "RetryInfo": [("retry_delay", 1, field.TYPE_MESSAGE, one, "Duration")],
    }
    file = descriptor_pb2.FileDescriptorProto(name="multirate/details.proto", package="rpc", syntax="proto3")
    for name, columns in fields.items():
        message = file.message_type.add(name=name)
        for column, number, kind, label, of in columns:
            added = message.field.add(name=column, number=number)
            added.type, added.label = kind, label  # type: ignore[assignment]
            if of:
                added.type_name = f".rpc.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"rpc.{name}")) for name in fields
    }


_GOOGLE_RPC = _google_rpc()
