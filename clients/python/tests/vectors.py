"""Test data of the contract, which every client runs: proto/testdata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TESTDATA = Path(__file__).parents[3] / "proto" / "testdata"
SKETCHES: dict[str, list[dict[str, Any]]] = json.loads((TESTDATA / "sketch.json").read_text())


def shard_gradient(shard: dict[str, int]) -> NDArray[np.float64]:
    i = np.arange(shard["offset"], shard["offset"] + shard["count"])
    return (i * 37 % 101 - 50).astype(np.float64)


SPECTRUM: dict[str, Any] = json.loads((TESTDATA / "spectrum.json").read_text())


def spectrum_problem() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the data X and the point w of spectrum.json."""
    i, j = np.arange(SPECTRUM["samples"])[:, None], np.arange(SPECTRUM["dimension"])
    x = ((37 * i + 17 * j + i * j) % 101 - 50) / 50 / 10.0 ** (j % 3)
    return x, (13 * j % 7 - 3) / 4
