"""The generated messages read and write the contract's golden bytes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from vectors import TESTDATA

GOLDEN = sorted((TESTDATA / "golden").glob("*.binpb"))
rpc: Any = importlib.import_module("multirate.v1.learning_rate_service_pb2")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_bytes(path: Path) -> None:
    message = getattr(rpc, path.stem.partition(".")[0])
    data = path.read_bytes()
    parsed = message.FromString(data)
    assert parsed == text_format.Parse(path.with_suffix(".txtpb").read_text(), message())
    assert parsed.SerializeToString(deterministic=True) == data


def test_there_are_golden_bytes() -> None:
    assert len(GOLDEN) > 20
