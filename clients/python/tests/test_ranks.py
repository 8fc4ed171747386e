"""Two processes of data-parallel training get one rate, and the one that a single process gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from multirate import Client, RunConfig, Sidecar, UnsupportedOptimizerError
from multirate.torch import MultirateLR

WORKER = Path(__file__).parent / "rank.py"
SOURCE = Path(__file__).parents[1] / "src"


def launch(mode: str, target: str, folder: Path) -> list[dict[str, Any]]:
    """Run two ranks to their end and return what each printed."""
    ranks = [
        subprocess.Popen(
            [sys.executable, str(WORKER), mode, str(rank), str(folder / "store"), target],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [json.loads(rank.communicate(timeout=120)[0].splitlines()[-1]) for rank in ranks]


@pytest.mark.parametrize("mode", ["replicated", "sharded"])
def test_all_ranks_get_the_rate_of_the_whole(
    mode: str, sidecar: Sidecar, client: Client, tmp_path: Path
) -> None:
    first, second = launch(mode, sidecar.target, tmp_path)
    assert first["rates"] == second["rates"]
    assert first["runs"] == 1
    assert second["runs"] == 0
    # One process on all the data, or the whole vector.
    h = np.concatenate([np.linspace(1, 4, 10), np.linspace(1000, 4000, 10)])
    run, x = client.new_run(RunConfig(20, loss_lower_bound=0)), np.ones(20)
    rates = []
    for step in range(30):
        g = h * x
        norm = float(np.linalg.norm(x)) if step == 0 else None
        rates.append(run.rate(float(g @ x) / 2, g, parameter_norm=norm).learning_rate)
        x -= rates[-1] * g
    # Sums in another order: rounding alone sets the two apart, and grows with the steps.
    assert first["rates"][:10] == pytest.approx(rates[:10], rel=1e-6)
    assert first["loss"] < 1e-2 * h.sum() / 2


def test_a_refusal_ends_all_ranks(sidecar: Sidecar, tmp_path: Path) -> None:
    first, second = launch("refused", sidecar.target, tmp_path)
    assert first["error"] == "InvalidRequestError"
    assert second["error"] == "MultirateError"


def test_sharded_tensors_are_refused(client: Client, tmp_path: Path) -> None:
    """A DTensor's length is the whole one, its numbers are this rank's: the sketch would be wrong."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = torch.nn.Linear(4, 2)
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(UnsupportedOptimizerError, match="shard="):
            MultirateLR(torch.optim.SGD(model.parameters()), client, process_group=True)
    finally:
        dist.destroy_process_group()
