"""A wheel has the binary, is the platform's, and serves once it is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from multirate import native

ROOT = Path(__file__).parents[1]


def test_the_wheel_has_the_binary(binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_BINARY", binary)
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(wheel).name.startswith("multirate-0.1.0-py3-none-")
    assert "any" not in Path(wheel).name
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        assert {"multirate/py.typed", "multirate/v1/run_pb2.py"} <= set(archive.namelist())
        assert ("multirate/bin/sketch.so" in archive.namelist()) == (native.compiler() is not None)
        archive.extractall(site)
        mode = archive.getinfo("multirate/bin/multirate").external_attr >> 16
    assert mode & 0o111
    installed = site / "multirate" / "bin" / "multirate"
    installed.chmod(0o755)  # as pip does
    code = f"""
import multirate, multirate.native
assert multirate.find_binary().startswith({str(site)!r})
assert multirate.native.library() is not None or multirate.native.compiler() is None
multirate.start().stop()
"""
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, check=True)
