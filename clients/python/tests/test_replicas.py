"""The client against several replicas of the real service, on a real NATS node."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multirate import Client, RunConfig, ServiceError
from problems import EIGENVALUES


def free_address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


@pytest.fixture
def replicas(binary: str, tmp_path: Path) -> Iterator[list[str]]:
    nats, addresses = free_address(), [free_address(), free_address()]
    shared = ["--nats-url", f"nats://{nats}", "--nats-replicas", "1"]
    config = tmp_path / "nats.conf"
    config.write_text("max_payload: 1MB\n")  # NATS's own default
    commands = [["nats", "--listen", nats, "--store-dir", str(tmp_path), "--nats-config", str(config)]]
    commands += [["serve", "--listen", a, *shared] for a in addresses]
    processes = [subprocess.Popen([binary, *c], stderr=subprocess.DEVNULL) for c in commands]
    yield addresses
    for process in reversed(processes):
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_any_replica_will_do(replicas: list[str]) -> None:
    with Client(replicas[0], timeout=30) as owner, Client(replicas[1], timeout=30) as other:
        owner.new_run(RunConfig(EIGENVALUES.size, run_id="r", loss_lower_bound=0))
        run = other.new_run(RunConfig(EIGENVALUES.size, run_id="r", loss_lower_bound=0))
        x = np.ones(EIGENVALUES.size)
        for _ in range(5):
            g = EIGENVALUES * x
            x -= run.rate(float(g @ x) / 2, g).learning_rate * g
        assert owner.new_run(RunConfig(EIGENVALUES.size, run_id="r", loss_lower_bound=0)).step == 5
        # A stream can't be forwarded: the client goes to the owner itself.
        spectrum = run.estimate_spectrum(lambda v: EIGENVALUES * v)
        assert spectrum.ritz_values[0].value == pytest.approx(4000, rel=1e-3)


def test_large_snapshots_go_to_the_owner(replicas: list[str]) -> None:
    with Client(replicas[0], timeout=30) as owner, Client(replicas[1], timeout=30) as other:
        owner.new_run(RunConfig(10, run_id="r"))
        with pytest.raises(ServiceError, match="SNAPSHOT_DAMAGED"):  # the owner's answer
            other.restore_run(bytes(2 << 20), "r", overwrite=True)
