"""Images that need no download: MNIST digits, CIFAR-10 by its folder, patches of photographs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor

MNIST = Path(__file__).parents[1] / "data" / "mnist2000.gz"


def mnist(count: int) -> tuple[Tensor, Tensor]:
    """Return the first digits, (count, 1, 14, 14) from 0 to 1, averaged 2x2, and their labels."""
    raw = np.frombuffer(gzip.decompress(MNIST.read_bytes()), np.uint8)
    total = raw.size // 785
    pictures = raw[total:].reshape(total, 1, 14, 2, 14, 2)[:count].mean((3, 5)) / 255
    return torch.from_numpy(pictures).float(), torch.from_numpy(raw[:count].astype(np.int64))


def cifar10(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of CIFAR-10's binary version, (count, 3, 32, 32) from 0 to 1, and labels."""
    raw = np.fromfile(folder / "data_batch_1.bin", np.uint8).reshape(-1, 3073)[:count]
    pictures = raw[:, 1:].reshape(-1, 3, 32, 32) / 255
    return torch.from_numpy(pictures).float(), torch.from_numpy(raw[:, 0].astype(np.int64))


def patches(count: int, side: int, seed: int) -> Tensor:
    """Return grey patches of scikit-learn's two photographs, (count, side * side), from 0 to 1."""
    photographs = [np.mean(image, axis=2) / 255 for image in sklearn.datasets.load_sample_images().images]
    draw = np.random.default_rng(seed)
    cut = []
    for k in range(count):
        image = photographs[k % len(photographs)]
        i, j = (int(draw.integers(0, n - side)) for n in image.shape)
        cut.append(image[i : i + side, j : j + side].ravel())
    return torch.from_numpy(np.array(cut)).float()


def scaled_normal(
    shapes: list[tuple[int, ...]], seed: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Return weights of variance 1 over the inputs of a unit, and biases of 0."""
    generator = torch.Generator().manual_seed(seed)
    start = []
    for shape in shapes:
        inputs = int(np.prod(shape[1:]))  # PyTorch's order: outputs first
        scale = inputs**-0.5 if len(shape) > 1 else 0.0
        start.append(torch.randn(shape, generator=generator, dtype=dtype) * scale)
    return start
