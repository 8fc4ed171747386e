from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import multirate.sidecar
from multirate import Client, Sidecar

# The problems are tiny: threads would wait for each other, and for other processes.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def binary() -> str:
    # Never one that happens to be installed.
    return multirate.sidecar._build(Path(__file__).parents[3])


@pytest.fixture(scope="session")
def sidecar(binary: str) -> Iterator[Sidecar]:
    # Everything that looks for the binary by itself finds the one under test.
    os.environ["MULTIRATE_BINARY"] = binary
    with Sidecar(binary) as running:
        yield running


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[Client]:
    with sidecar.connect() as connected:
        yield connected
