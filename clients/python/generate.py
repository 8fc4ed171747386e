"""Writes the messages of proto/multirate/v1, or checks with --check that they are up to date."""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).parent
PROTO = ROOT.parent.parent / "proto"
SOURCE = ROOT / "src"


def generate(into: Path) -> list[Path]:
    """Write the code, messages alone, and return the files relative to the folder."""
    files = sorted(str(f) for f in (PROTO / "multirate" / "v1").glob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    options = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main(["protoc", *options, *files]) != 0:
        sys.exit("protoc failed")
    return [f.relative_to(into) for f in (into / "multirate" / "v1").glob("*_pb2.py*")]


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the code is out of date")
    if not parser.parse_args().check:
        generate(SOURCE)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        _, other, missing = filecmp.cmpfiles(folder, SOURCE, [str(f) for f in fresh], shallow=False)
        if other or missing:
            sys.exit(f"    generated Python is out of date, run make generate: {', '.join(other + missing)}")


if __name__ == "__main__":
    main()
