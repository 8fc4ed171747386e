"""A small convolutional network on 200 MNIST digits, or images of CIFAR-10, to a loss of 0.05.

    pip install 'clients/python[torch,examples]'
    python examples/python/cnn.py
    python examples/python/cnn.py --cifar cifar-10-batches-bin

Two convolutions of stride 2 with GELU, then a linear map; full batches.
"""

from __future__ import annotations

from pathlib import Path

from contest import Entry, Problem, contest, parser
from images import cifar10, mnist, scaled_normal
from torch import Tensor
from torch.nn import functional as F


def convolutions(seed: int, cifar: Path | None = None, images: int = 200) -> Problem:
    x, y = mnist(images) if cifar is None else cifar10(cifar, images)
    channels, side = x.shape[1], x.shape[2]
    features = 16 * ((side + 3) // 4) ** 2  # two convolutions of stride 2 with padding

    def of(p: list[Tensor]) -> Tensor:
        h = F.gelu(F.conv2d(x, p[0], p[1], stride=2, padding=1))
        h = F.gelu(F.conv2d(h, p[2], p[3], stride=2, padding=1))
        return F.cross_entropy(F.linear(h.flatten(1), p[4], p[5]), y)

    shapes: list[tuple[int, ...]] = [(8, channels, 3, 3), (8,), (16, 8, 3, 3), (16,), (10, features), (10,)]
    name = "convolutions on " + ("MNIST" if cifar is None else "CIFAR-10")
    return Problem(name, scaled_normal(shapes, seed), of, 0.05)


if __name__ == "__main__":
    with_cifar = parser(__doc__, "cnn")
    with_cifar.add_argument("--cifar", type=Path, help="folder of CIFAR-10's binary version")
    options = with_cifar.parse_args()
    entry = Entry(lambda seed: convolutions(seed, options.cifar), budget=200, rates=(1e-3, 10.0, 9))
    contest({"cnn": entry}, options)
