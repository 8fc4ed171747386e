"""What the documentation and the examples say, runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[-1]], ids=["torch", "numpy"])
def test_programs_of_the_documentation(block: str, binary: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["MULTIRATE_BINARY"] = binary
    exec(compile(block, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out


SMALL = {
    "tables": ["--problems", "wine", "--budget", "400"],
    "mlp": ["--budget", "40"],
    "cnn": ["--budget", "25"],
    "denoiser": ["--budget", "40"],
    "pinn": ["--budget", "40"],
}


@pytest.mark.parametrize("example", SMALL)
def test_examples_compare_and_draw(example: str, binary: str, tmp_path: Path) -> None:
    out = tmp_path / "picture.png"
    options = [*SMALL[example], "--points", "1", "--seeds", "1", "--out", str(out)]
    lines = run_example(example, options, binary, tmp_path).splitlines()
    for method in ("multirate, with the diagonal", "SGD", "Adam", "Schedule-Free", "Prodigy", "L-BFGS"):
        assert any(re.search(rf"^ +{method}.* +(> )?[0-9]+ +[0-9.]+e[-+][0-9]+", line) for line in lines)
    if example == "tables":
        assert any(re.search(r"multirate, with the diagonal +[0-9]{2,3} ", line) for line in lines)
    assert out.stat().st_size > 10_000


def test_cifar_is_read_from_its_folder(binary: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 3073), np.uint8)
    images[:, 0] %= 10
    (tmp_path / "data_batch_1.bin").write_bytes(images.tobytes())
    options = ["--cifar", str(tmp_path), "--budget", "3", "--points", "1", "--seeds", "1"]
    printed = run_example("cnn", [*options, "--out", str(tmp_path / "picture.png")], binary, tmp_path)
    assert "CIFAR-10" in printed


def run_example(name: str, options: list[str], binary: str, tmp_path: Path) -> str:
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "python" / f"{name}.py"), *options],
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
    return result.stdout
