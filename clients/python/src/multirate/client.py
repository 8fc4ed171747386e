"""The connection to a learning rate service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from multirate.errors import MOST_HOPS, ServiceUnavailableError, from_rpc
from multirate.run import Run, RunConfig
from multirate.v1 import learning_rate_service_pb2 as rpc

__all__ = ["Client"]

_CHANNEL_OPTIONS = [
    # The largest answers of the contract: snapshots of 16 MiB, with their envelopes.
    ("grpc.max_receive_message_length", 17 << 20),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A sidecar's address is no key to share connections by: one that was lost
    # must not hold up the client of another on the same path.
    ("grpc.use_local_subchannel_pool", 1),
]


class Client:
    """A connection to a service; threads may share it, but not its runs.

    Parameters
    ----------
    target
        gRPC target, ``"unix:///tmp/multirate.sock"`` or ``"localhost:7400"``.
    credentials
        Channel credentials. None means plain text to unix sockets and loopback
        addresses, and TLS with the system's roots to all others.
    timeout
        Seconds to wait for the service, which may still be starting.
    revive
        Called when the service is lost, to start it anew if need be; see
        ``Sidecar.revive``.

    Raises
    ------
    ServiceUnavailableError
        Nothing answers within the timeout.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 10.0,
        revive: Callable[[], object] | None = None,
    ) -> None:
        self.target = target
        self.revive = revive
        if credentials is None and not _is_local(target):
            credentials = grpc.ssl_channel_credentials()
        self._credentials = credentials
        self._replicas: dict[str, Client] = {}
        self.channel = (
            grpc.insecure_channel(target, _CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, _CHANNEL_OPTIONS)
        )
        self.methods = {m.name: _callable(self.channel, m) for m in _SERVICE.methods}
        self._await_service(timeout)

    def at(self, owner: str) -> dict[str, Any]:
        """Return the methods at the replica of that address, which a refusal has named."""
        if owner not in self._replicas:
            self._replicas[owner] = Client(owner, credentials=self._credentials)
        return self._replicas[owner].methods

    def _await_service(self, timeout: float) -> None:
        # Any answer will do: a service without health checks is as reachable.
        check: Any = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            check(b"", timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            failure = from_rpc("Check", error)
            if isinstance(failure, ServiceUnavailableError):
                self.close()
                raise ServiceUnavailableError(
                    "connect",
                    failure.code,
                    f"no service at {self.target} within {timeout:g} s: start one with "
                    "`multirate serve`, or let multirate.start() do so",
                ) from error

    def call(
        self,
        method: str,
        request: Any,
        *,
        attempts: int = 5,
        timeout: float | None = None,
        wait: float = 0.05,
    ) -> Any:
        """Call a unary method, again after UNAVAILABLE, up to so many attempts.

        Where a replica of the service names another one, the call goes on there.

        Parameters
        ----------
        method
            Name in the contract.
        request
            Its message.
        attempts
            1 for calls that are not idempotent.
        timeout
            Seconds for each attempt. None: without end.
        wait
            Seconds before the second attempt, doubled before each further one.

        Raises
        ------
        ServiceError
            Of the class that fits the status.
        """
        methods, hops = self.methods, MOST_HOPS
        while True:
            try:
                return methods[method](request, timeout=timeout)
            except grpc.RpcError as error:
                failure = from_rpc(method, error)
                if failure.owner and hops > 0:  # nothing was done there
                    methods, hops = self.at(failure.owner), hops - 1
                    continue
                methods, attempts = self.methods, attempts - 1
                if failure.code is not grpc.StatusCode.UNAVAILABLE or attempts < 1:
                    raise failure from error
            time.sleep(wait)
            wait *= 2

    def new_run(self, config: RunConfig, **options: Any) -> Run:
        """Declare a run; ``options`` are those of `Run`.

        The same declaration under the same id returns the same run, which goes
        on after its latest step.
        """
        # The id is drawn here, so that a repeated CreateRun finds its own run.
        response = self.call("CreateRun", rpc.CreateRunRequest(run=config.declaration()))
        return Run(self, response.run, **options)

    def restore_run(
        self, snapshot: bytes, run_id: str = "", *, overwrite: bool = False, **options: Any
    ) -> Run:
        """Make a run of a snapshot, on this service or another, under ``run_id`` or its own id.

        Raises
        ------
        RunExistsError
            There is one of that id, and ``overwrite`` is false.
        SnapshotError, VersionError
            The bytes are damaged, or of a version that the service can't read.
        """
        request = rpc.RestoreRunRequest(snapshot=snapshot, run_id=run_id, overwrite=overwrite)
        response = self.call("RestoreRun", request, attempts=5 if overwrite else 1)
        return Run(self, response.run, **options)

    def close(self) -> None:
        """End the connection and with it every stream of its runs."""
        for replica in self._replicas.values():
            replica.close()
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_SERVICE = rpc.DESCRIPTOR.services_by_name["LearningRateService"]


def _callable(channel: grpc.Channel, method: Any) -> Any:
    kind = "_".join("stream" if s else "unary" for s in (method.client_streaming, method.server_streaming))
    return getattr(channel, kind)(
        f"/{_SERVICE.full_name}/{method.name}",
        request_serializer=getattr(rpc, method.input_type.name).SerializeToString,
        response_deserializer=getattr(rpc, method.output_type.name).FromString,
    )


def _is_local(target: str) -> bool:
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.rpartition("///")[2]
    host = (address.rpartition(":")[0] or address).strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")
