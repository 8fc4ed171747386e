"""A tanh network of 196-24-10 on 1,000 MNIST digits, to a loss of 1e-3.

    pip install 'clients/python[torch,examples]'
    python examples/python/mlp.py

Pixels from 0 to 1, averaged 2x2 to 14x14; full batches.
"""

from __future__ import annotations

import torch
from contest import Entry, Problem, contest, parser
from images import mnist, scaled_normal
from torch import Tensor


def network(seed: int) -> Problem:
    x, y = mnist(1000)
    x = x.flatten(1)

    def of(p: list[Tensor]) -> Tensor:
        hidden = torch.tanh(torch.nn.functional.linear(x, p[0], p[1]))
        return torch.nn.functional.cross_entropy(torch.nn.functional.linear(hidden, p[2], p[3]), y)

    start = scaled_normal([(24, 196), (24,), (10, 24), (10,)], seed)
    return Problem("network on MNIST", start, of, 1e-3)


if __name__ == "__main__":
    entry = Entry(network, budget=500, rates=(1e-3, 10.0, 9))
    contest({"mlp": entry}, parser(__doc__, "mlp").parse_args())
