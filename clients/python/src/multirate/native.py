"""The sketch in C, where there is a compiler: in the wheel, or in a checkout at first use."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["COMMAND", "SOURCES", "library"]

_HERE = Path(__file__).parent
SOURCES = (_HERE / "sketch.c", _HERE / "sketch.inc")

# Without contraction the bits are the same with and without fused multiply-adds.
COMMAND = ("-std=gnu11", "-O3", "-ffp-contract=off", "-fPIC", "-shared")


@functools.cache
def library() -> Any:
    """Return the compiled sketch, or None where there is none: NumPy or PyTorch then do its work.

    ``MULTIRATE_NATIVE=0`` says to do without.
    """
    if os.environ.get("MULTIRATE_NATIVE") == "0":
        return None
    path = _bundled() or _built()
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for function in (loaded.sketch_float, loaded.sketch_double):
        function.argtypes = [pointer, pointer, pointer, pointer, size, ctypes.c_uint64, size, pointer]
        function.restype = None
    return loaded


def compiler() -> str | None:
    """Return the C compiler: the environment's ``CC``, or cc."""
    return shutil.which(os.environ.get("CC") or "cc")


def build(target: str | os.PathLike[str], sources: Sequence[Path] = SOURCES) -> bool:
    """Compile the sketch to a shared library, and say whether that worked."""
    cc = compiler()
    if cc is None:
        return False
    command = [cc, *COMMAND, "-o", str(target), str(sources[0])]
    return subprocess.run(command, capture_output=True).returncode == 0


def _bundled() -> Path | None:
    path = _HERE / "bin" / "sketch.so"
    return path if path.is_file() else None


def _built() -> Path | None:
    """Build it beside the checkout's other binaries, once for each state of the source."""
    root = next((p for p in _HERE.parents[3:4] if (p / "go.mod").is_file()), None)
    if root is None or compiler() is None:
        return None
    digest = hashlib.sha256(b"".join(s.read_bytes() for s in SOURCES) + " ".join(COMMAND).encode())
    path = root / "bin" / f"sketch-{digest.hexdigest()[:16]}.so"
    if not path.is_file():
        try:
            path.parent.mkdir(exist_ok=True)
            # Others may do the same at the same time: whole or not at all.
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                fresh = Path(folder) / path.name
                if not build(fresh):
                    return None
                fresh.replace(path)
        except OSError:
            return None
    return path
