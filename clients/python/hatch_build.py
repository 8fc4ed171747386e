"""Puts the Go binary and the compiled sketch, built for this platform, into the wheel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleBinary(BuildHookInterface[Any]):
    """Builds cmd/multirate beside the package and marks the wheel as the platform's.

    ``MULTIRATE_BINARY`` names one that is built already. Outside a checkout, and
    for editable installs, there is nothing to build: the package looks for a
    binary when it is used.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling calls this before it collects the wheel's files."""
        checkout = Path(self.root).parent.parent
        binary = os.environ.get("MULTIRATE_BINARY")
        if version == "editable" or not (binary or (checkout / "cmd" / "multirate").is_dir()):
            return
        if not binary:
            binary = str(Path(self.directory) / "multirate")
            subprocess.run(
                ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/multirate"],
                cwd=checkout,
                env={**os.environ, "CGO_ENABLED": "0"},
                check=True,
            )
        name = "multirate.exe" if os.name == "nt" else "multirate"
        build_data["force_include"][binary] = f"multirate/bin/{name}"
        build_data["pure_python"] = False
        # Without a C compiler the wheel goes without: NumPy does the same, more slowly.
        sketch = Path(self.directory) / "sketch.so"
        sketch.parent.mkdir(parents=True, exist_ok=True)
        if _native(Path(self.root)).build(sketch):
            build_data["force_include"][str(sketch)] = "multirate/bin/sketch.so"
        # Any Python 3 will do: the binary depends on the platform alone, and is static.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def _native(root: Path) -> Any:
    """Return the package's module that compiles, which is not installed yet."""
    spec = importlib.util.spec_from_file_location("native", root / "src" / "multirate" / "native.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
