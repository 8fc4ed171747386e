"""The service as a child process on a unix socket."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from multirate.client import Client
from multirate.errors import ServiceUnavailableError, SidecarError

__all__ = ["Sidecar", "default_client", "find_binary", "start"]

# The shell becomes the service, so that its process id and exit status are the
# service's. Beside it waits a reader of a pipe that only this process holds: its
# end, however it came, ends the pipe and then the service. A line in the pipe
# says that the service is gone already. (The kernel's parent-death signal would
# go by the thread that forked, and is Linux's alone.)
_LAUNCH = """
exec 3<&0
( read -r _ <&3 || { kill -TERM $$; rm -rf "$1"; } ) 2>/dev/null >/dev/null &
exec 3<&- "$0" serve --in-memory --listen "unix://$1/socket" --log-level warn </dev/null
"""

_REVIVE_SECONDS = 1.0  # a service that ends sooner is not started again


class Sidecar:
    """A service that lives as long as this process, or until `stop`.

    Parameters
    ----------
    binary
        The multirate command. None: `find_binary` looks for it.

    Attributes
    ----------
    target : str
        The gRPC target to connect to.

    Raises
    ------
    SidecarError
        There is no binary, or it ended at once; the message has what it wrote.
    """

    def __init__(self, binary: str | os.PathLike[str] | None = None) -> None:
        self.binary = str(binary or find_binary())
        self._owner = os.getpid()
        self._dir = tempfile.mkdtemp(prefix="multirate-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.target = f"unix://{self._dir}/socket"
        self._lock = threading.Lock()
        atexit.register(self.stop)
        try:
            self._launch()
            self.connect().close()
        except BaseException:
            self.stop()
            raise

    def _launch(self) -> None:
        self._started = time.monotonic()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._dir}/socket")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCH, self.binary, self._dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # an interrupt typed at the terminal is for this process alone
        )

    @property
    def pid(self) -> int:
        """Process id of the service."""
        return self._process.pid

    def connect(self, timeout: float = 10.0) -> Client:
        """Return a client that starts the service anew should it be lost.

        Raises
        ------
        SidecarError
            The service ended, or does not answer in time.
        """
        until = time.monotonic() + timeout
        client: Client | None = None
        while client is None:
            client = self._try_to_connect(last=time.monotonic() > until)
        return client

    def _try_to_connect(self, last: bool) -> Client | None:
        try:
            return Client(self.target, timeout=0.5, revive=self.revive)
        except ServiceUnavailableError as error:
            status = self._process.poll()
            if status is None and not last:
                return None
            what = "does not answer" if status is None else f"ended with {status}"
            raise SidecarError(f"{self.binary} serve {what}: {self._tail() or 'it wrote nothing'}") from error

    def revive(self) -> bool:
        """Start the service again if it has ended, and say whether it runs.

        One that ended within a second of its start is left alone.
        """
        with self._lock:
            if self._process.poll() is None:
                return True
            lived = time.monotonic() - self._started
            if lived < _REVIVE_SECONDS or os.getpid() != self._owner or not os.path.isdir(self._dir):
                return False
            self._dismiss_reader()
            self._launch()
            return True

    def stop(self, grace: float = 5.0) -> None:
        """End the service, gracefully within so many seconds, and remove its socket. Idempotent."""
        if os.getpid() != self._owner:  # a forked worker is not to stop its parent's
            return
        with self._lock:
            process = getattr(self, "_process", None)
            if process is not None:
                process.terminate()
                try:
                    process.wait(grace)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                self._dismiss_reader()
            shutil.rmtree(self._dir, ignore_errors=True)
            self._log.close()
        atexit.unregister(self.stop)

    def _dismiss_reader(self) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(b"\n")
                pipe.flush()
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-4096:].decode(errors="replace").strip()

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(binary: str | os.PathLike[str] | None = None) -> Sidecar:
    """Run the service on a unix socket until this process ends.

    Examples
    --------
    >>> sidecar = start()  # doctest: +SKIP
    >>> client = sidecar.connect()  # doctest: +SKIP
    """
    return Sidecar(binary)


def find_binary() -> str:
    """Return the multirate command.

    In this order: the environment variable ``MULTIRATE_BINARY``, the binary that
    came with the wheel, ``multirate`` on the path, ``go build`` in a checkout
    around this file or the working directory.

    Raises
    ------
    SidecarError
        None of them is there.
    """
    named = os.environ.get("MULTIRATE_BINARY")
    if named:
        if not os.access(named, os.X_OK):
            raise SidecarError(f"MULTIRATE_BINARY={named} is no executable file")
        return named
    bundled = Path(__file__).parent / "bin" / ("multirate.exe" if os.name == "nt" else "multirate")
    if os.access(bundled, os.X_OK):
        return str(bundled)
    on_path = shutil.which("multirate")
    if on_path:
        return on_path
    for checkout in _checkouts():
        return _build(checkout)
    raise SidecarError(
        "no multirate binary: install a wheel that has one, put `multirate` on the path, "
        "or name it in MULTIRATE_BINARY"
    )


def _checkouts() -> Iterator[Path]:
    for begin in (Path(__file__).resolve(), Path.cwd() / "_"):
        for folder in begin.parents:
            if (folder / "go.mod").is_file() and (folder / "cmd" / "multirate").is_dir():
                yield folder


def _build(checkout: Path) -> str:
    """Build the command; where nothing changed Go's cache answers in a second."""
    go = shutil.which("go")
    if go is None:
        raise SidecarError(
            f"Go is needed to build the service in {checkout}: install it, or set MULTIRATE_BINARY"
        )
    binary = checkout / "bin" / "multirate"
    built = subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(binary), "./cmd/multirate"],
        cwd=checkout,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    if built.returncode != 0:
        raise SidecarError(f"go build in {checkout} failed: {built.stderr.strip()}")
    return str(binary)


_default: tuple[int, Client] | None = None


def default_client() -> Client:
    """Return this process's client of a sidecar of its own, started at the first call."""
    global _default
    if _default is None or _default[0] != os.getpid():
        _default = os.getpid(), start().connect()
    return _default[1]
