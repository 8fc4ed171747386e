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
