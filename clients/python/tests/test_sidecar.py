"""The sidecar starts, dies with its process, and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import multirate.sidecar
from multirate import RunConfig, Sidecar, SidecarError, find_binary, start
from multirate.v1.learning_rate_service_pb2 import CreateRunRequest

SOURCE = Path(multirate.sidecar.__file__).parents[1]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ends(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(pid)


def test_stop_ends_it_and_removes_its_socket(binary: str) -> None:
    with start(binary) as sidecar:
        assert runs(sidecar.pid)
        folder = sidecar.target.removeprefix("unix://").removesuffix("/socket")
    assert not runs(sidecar.pid)
    assert not os.path.exists(folder)
    sidecar.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_dies_with_its_process(binary: str, how: signal.Signals) -> None:
    code = "import multirate, time; s = multirate.start(); print(s.pid, s._dir, flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "MULTIRATE_BINARY": binary, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert runs(int(pid))
        parent.send_signal(how)
        assert ends(int(pid))
        parent.wait(10)
    until = time.monotonic() + 10
    while os.path.exists(folder) and time.monotonic() < until:
        time.sleep(0.02)
    assert not os.path.exists(folder)


def test_it_comes_back_once_it_is_called_for(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multirate.sidecar, "_REVIVE_SECONDS", 0.0)
    with start(binary) as sidecar, sidecar.connect() as client:
        assert sidecar.revive()
        os.kill(sidecar.pid, signal.SIGKILL)
        sidecar._process.wait(10)
        assert sidecar.revive()
        client.call("CreateRun", CreateRunRequest(run=RunConfig(10).declaration()), attempts=9)


def test_one_that_ends_at_once_is_left_alone(binary: str) -> None:
    with start(binary) as sidecar:
        os.kill(sidecar.pid, signal.SIGKILL)
        sidecar._process.wait(10)
        sidecar._started = time.monotonic()
        assert not sidecar.revive()


def test_a_binary_that_fails_is_told_with_what_it_wrote(tmp_path: Path) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho no space left >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(SidecarError, match="ended with 3: no space left"):
        Sidecar(script)


def test_where_the_binary_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "multirate"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("MULTIRATE_BINARY", str(tmp_path / "none"))
    with pytest.raises(SidecarError, match="no executable"):
        find_binary()
    monkeypatch.setenv("MULTIRATE_BINARY", str(tool))
    assert find_binary() == str(tool)
    monkeypatch.delenv("MULTIRATE_BINARY")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == str(tool)
    tool.unlink()
    with pytest.raises(SidecarError, match="Go is needed"):
        find_binary()
    monkeypatch.setattr(multirate.sidecar, "_checkouts", lambda: iter(()))
    with pytest.raises(SidecarError, match="no multirate binary"):
        find_binary()
