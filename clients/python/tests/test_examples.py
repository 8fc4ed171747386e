"""What the documentation and the examples say, runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[-1]], ids=["torch", "numpy"])
def test_programs_of_the_documentation(block: str, binary: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["MULTIRATE_BINARY"] = binary
    exec(compile(block, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_comparison(binary: str, tmp_path: Path) -> None:
    out = tmp_path / "picture.png"
    small = ["--problems", "wine", "--budget", "400", "--points", "1", "--out", str(out)]
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "python" / "compare.py"), *small],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "clients" / "python" / "src"),
            "MULTIRATE_BINARY": binary,
            "MPLCONFIGDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"multirate, diagonal +[0-9]{2,3} ", result.stdout), result.stdout
    assert out.stat().st_size > 10_000
