"""A sidecar killed in mid-training: the trainer goes on, warns once, and finds it again."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator

import pytest
import torch

import multirate.sidecar
from multirate import Client, ServiceLostWarning, ServiceUnavailableError, Sidecar, start
from multirate.torch import MultirateLR
from problems import Training


@pytest.fixture
def own(binary: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    monkeypatch.setattr(multirate.sidecar, "_REVIVE_SECONDS", 0.0)
    with start(binary) as sidecar:
        yield sidecar


def kill(sidecar: Sidecar) -> None:
    os.kill(sidecar.pid, signal.SIGKILL)
    sidecar._process.wait(10)


def train(training: Training, steps: int, pause: float = 0.0) -> list[str]:
    sources = []
    for _ in range(steps):
        training.step()
        assert training.scheduler.advice is not None
        sources.append(training.scheduler.advice.source)
        time.sleep(pause)
    return sources


def begin(client: Client, snapshot_every: int = 10) -> Training:
    training = Training()
    training.scheduler = MultirateLR(
        training.optimizer, client, loss_lower_bound=0, snapshot_every=snapshot_every
    )
    return training


@pytest.mark.parametrize("snapshot_every", [10, 0])
def test_killed_in_mid_training(own: Sidecar, snapshot_every: int) -> None:
    with own.connect() as client:
        training = begin(client, snapshot_every)
        train(training, 45)
        before = float(training.loss().detach())
        kill(own)
        with pytest.warns(ServiceLostWarning, match="until it is back") as warned:
            sources = train(training, 1)
            assert sources == ["safe"]
            advice = training.scheduler.advice
            assert advice is not None
            safe = advice.learning_rate
            sources = train(training, 80, pause=0.02)
        assert len(warned) == 1
        assert 0 < safe < 1e3
        assert sources[-1] == "service"
        assert sources.index("service") < 60, "it took more than a second to reconnect"
        assert training.scheduler.run.step == 126
        assert float(training.loss().detach()) <= before
        # What it was told meanwhile, the run knows: it goes on with its number.
        assert training.scheduler.run.snapshot()


def test_killed_and_not_coming_back(own: Sidecar) -> None:
    with Client(own.target) as client:  # one that does not revive it
        training = begin(client)
        train(training, 45)
        before = float(training.loss().detach())
        kill(own)
        with pytest.warns(ServiceLostWarning) as warned:
            assert set(train(training, 40)) == {"safe"}
        assert len(warned) == 1
        assert float(training.loss().detach()) <= before
        # A checkpoint holds the latest snapshot kept.
        assert training.scheduler.state_dict()["run"]["step"] == 85


def test_killed_before_the_first_answer_nothing_moves(own: Sidecar) -> None:
    with Client(own.target) as client:
        training = begin(client)
        kill(own)
        before = [p.clone() for p in training.model.parameters()]
        with pytest.warns(ServiceLostWarning, match="safe rate 0 "):
            train(training, 2)
        assert all(torch.equal(p, q) for p, q in zip(training.model.parameters(), before, strict=True))
        with pytest.raises(ServiceUnavailableError):
            training.scheduler.state_dict()


def test_warned_once_for_each_loss(own: Sidecar) -> None:
    with own.connect() as client:
        training = begin(client)
        train(training, 30)
        for _ in range(2):
            kill(own)
            with pytest.warns(ServiceLostWarning) as warned:
                sources = train(training, 60, pause=0.02)
            assert len(warned) == 1
            assert sources[-1] == "service"


def test_a_service_that_hangs_counts_as_away(own: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multirate.run._ASK_SECONDS", 1.0)
    with own.connect() as client:
        training = begin(client)
        train(training, 20)
        os.kill(own.pid, signal.SIGSTOP)
        with pytest.warns(ServiceLostWarning, match="DEADLINE_EXCEEDED"):
            # The signal takes a moment to reach all of the service's threads.
            sources = train(training, 6)
            assert sources[-1] == "safe"
            assert sources == sorted(sources, reverse=True), "it came back while it was stopped"
        os.kill(own.pid, signal.SIGCONT)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert train(training, 60, pause=0.02)[-1] == "service"


def test_the_run_goes_on_from_its_latest_snapshot(own: Sidecar) -> None:
    """A restarted service knows the curvature that the old one had found."""
    with own.connect() as client:
        training = begin(client)
        train(training, 60)
        kill(own)
        with pytest.warns(ServiceLostWarning):
            while train(training, 1, pause=0.02) != ["service"]:
                pass
        advice = training.scheduler.advice
        assert advice is not None
        assert advice.reason != "warmup"
        assert advice.stiffest_curvature > 0
