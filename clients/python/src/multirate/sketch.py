"""The linear map from gradients to sketches that the contract fixes bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multirate import native
from multirate.errors import DimensionError

__all__ = ["DEFAULT_SKETCH_DIMENSION", "Sketcher", "signs"]

DEFAULT_SKETCH_DIMENSION = 251

_WORD_BITS = 64
_CHUNK = 1 << 20  # elements worked on at once, so that temporaries stay in cache


def signs(offset: int, count: int, seed: int = 0) -> NDArray[np.int8]:
    """Return the signs, -1 or +1, of the coordinates ``offset`` to ``offset + count - 1``.

    They are the bits of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), as
    ``SketchSpec`` in proto/multirate/v1/run.proto has it.

    Examples
    --------
    >>> signs(0, 8).tolist()
    [-1, -1, -1, -1, 1, 1, -1, 1]
    """
    first, last = offset // _WORD_BITS, (offset + count + _WORD_BITS - 1) // _WORD_BITS
    k = np.arange(first, last, dtype=np.uint64)
    z = np.uint64(seed) + (k + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    bits = np.unpackbits(z.astype("<u8").view(np.uint8), bitorder="little")
    start = offset - first * _WORD_BITS
    negative: NDArray[np.int8] = bits[start : start + count].view(np.int8)
    return 1 - 2 * negative


class Sketcher:
    """The map S from gradients of D numbers to sketches of d.

    Sketches are linear: those of shards, ranks and accumulated micro-batches add.

    Parameters
    ----------
    dimension
        D >= 1.
    sketch_dimension
        d, odd, 15 to 4095. 0 means 251.
    seed
        Seed of the signs, 0 to 2**64 - 1.
    """

    def __init__(self, dimension: int, sketch_dimension: int = 0, seed: int = 0) -> None:
        self.dimension, self.seed = dimension, seed
        self.sketch_dimension = sketch_dimension or DEFAULT_SKETCH_DIMENSION
        if dimension < 1:
            raise DimensionError(f"gradient dimension {dimension}, want at least 1")
        if not 15 <= self.sketch_dimension <= 4095 or self.sketch_dimension % 2 == 0:
            raise DimensionError(
                f"sketch dimension {self.sketch_dimension}, want an odd number from 15 to 4095"
            )

    def __call__(self, gradient: NDArray[Any], offset: int | None = None) -> NDArray[np.float64]:
        """Return the sketch, d sums in float64, of a gradient or of a shard of one.

        Parameters
        ----------
        gradient
            D real numbers, or those of the shard.
        offset
            Index of the shard's first element in the whole gradient. None: it is
            the whole.

        Raises
        ------
        DimensionError
            The lengths don't fit.
        """
        flat = np.ravel(gradient)
        if offset is None and flat.size != self.dimension:
            raise DimensionError(f"gradient of {flat.size} elements, the run is of {self.dimension}")
        offset = offset or 0
        if offset < 0 or offset + flat.size > self.dimension:
            raise DimensionError(
                f"shard [{offset}, {offset + flat.size}) outside the gradient of {self.dimension} elements"
            )
        compiled = native.library() if flat.dtype in (np.float32, np.float64) else None
        if compiled is None:
            return self._by_bucket(flat, offset)
        add = compiled.sketch_float if flat.dtype == np.float32 else compiled.sketch_double
        flat = np.ascontiguousarray(flat)
        part = np.array([flat.ctypes.data, offset, flat.size], np.uint64)
        at, sums = part.ctypes.data, np.zeros(1 + self.sketch_dimension)
        add(at, None, at + 8, at + 16, 1, self.seed, self.sketch_dimension, sums.ctypes.data)
        return sums[1:]

    def _by_bucket(self, flat: NDArray[Any], offset: int) -> NDArray[np.float64]:
        d = self.sketch_dimension
        sums = np.zeros(d)
        for begin in range(0, flat.size, _CHUNK):
            part = flat[begin : begin + _CHUNK]
            signed = part * signs(offset + begin, part.size, self.seed).astype(np.float64)
            buckets = np.arange(offset + begin, offset + begin + part.size) % d
            sums += np.bincount(buckets, signed, d)
        return sums
