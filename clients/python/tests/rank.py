"""One rank of test_ranks.py: half the loss, or half the parameters, of a quadratic."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from multirate import Client, MultirateError
from multirate.torch import MultirateLR

STEPS = 30


def main(mode: str, rank: int, store: str, target: str) -> dict[str, Any]:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    h = torch.from_numpy(np.concatenate([np.linspace(1, 4, 10), np.linspace(1000, 4000, 10)]))
    half = slice(10 * rank, 10 * rank + 10)
    sharded = mode == "sharded"
    x = torch.nn.Parameter(torch.ones(10 if sharded else 20, dtype=torch.float64))
    optimizer = torch.optim.SGD([x], lr=0.0)
    with Client(target) as client:
        scheduler = MultirateLR(
            optimizer,
            client,
            loss_lower_bound=0,
            process_group=True,
            shard=(10 * rank, 20) if sharded else None,
        )
        rates = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            # Each rank's share of the data: twice its half, of which the mean is taken.
            loss = (h[half] * x * x).sum() / 2 if sharded else (h[half] * x[half] ** 2).sum()
            loss.backward()
            total = loss.detach() * (2 if sharded else 1)
            if not sharded:
                assert x.grad is not None
                dist.all_reduce(x.grad)
                x.grad /= 2
            if mode == "refused":
                total = total * 0 - 1
            try:
                scheduler.step(total)
            except MultirateError as error:
                return {"error": type(error).__name__}
            optimizer.step()
            rates.append(float(scheduler.get_last_lr()[0]))
        return {"rates": rates, "runs": int("run" in scheduler.state_dict()), "loss": float(total)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])), flush=True)
