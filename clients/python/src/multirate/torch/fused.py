"""One pass over a gradient in the host's memory, by the compiled sketch, on all of PyTorch's threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multirate.sketch import Sketcher

__all__ = ["Fused"]

_SEGMENT = 1 << 18  # elements that one thread takes at a time, at least
_SEGMENTS = 128  # at most, each with sums of its own


class Fused:
    """Adds gradients up, in segments that do not depend on the number of threads.

    Parameters
    ----------
    library
        The compiled sketch.
    sketcher
        The run's map.
    sizes
        Elements of each parameter.
    offset
        Index of the first element in the whole gradient.
    scales
        s, a contiguous tensor for each parameter, or None.
    dtype
        Of all that is added: float32 or float64.
    """

    def __init__(
        self,
        library: Any,
        sketcher: Sketcher,
        sizes: Sequence[int],
        offset: int,
        scales: Sequence[Tensor] | None,
        dtype: torch.dtype,
    ) -> None:
        self._dtype, self._d = dtype, sketcher.sketch_dimension
        self._add = library.sketch_float if dtype == torch.float32 else library.sketch_double
        itemsize = 4 if dtype == torch.float32 else 8
        segment = max(_SEGMENT, -(-sum(sizes) // _SEGMENTS))
        spans = list(_spans(sizes, segment))
        self._owner = np.array([owner for owner, _, _, _ in spans])
        self._skip = np.array([itemsize * begin for _, begin, _, _ in spans], np.uint64)
        self._whole = len(spans) == len(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._first = np.array([offset + starts[owner] + begin for owner, begin, _, _ in spans], np.uint64)
        self._count = np.array([count for _, _, count, _ in spans], np.uint64)
        self._at = np.zeros(len(spans), np.uint64)
        self._scales = scales
        if scales is not None:
            held = np.array([s.data_ptr() for s in scales], np.uint64)
            self._scale = held[self._owner] + self._skip
        belongs = np.array([segment for _, _, _, segment in spans])
        self._sums = np.zeros((int(belongs[-1]) + 1, 1 + self._d))
        self._calls = []
        for k in range(len(self._sums)):
            begin, end = np.searchsorted(belongs, [k, k + 1])
            at, first, count = (a[begin:].ctypes.data for a in (self._at, self._first, self._count))
            scale = self._scale[begin:].ctypes.data if scales is not None else None
            out = self._sums[k].ctypes.data
            self._calls.append((at, scale, first, count, int(end - begin), sketcher.seed, self._d, out))
        self._pool: ThreadPoolExecutor | None = None

    def add(self, grads: Sequence[Tensor | None]) -> NDArray[np.float64]:
        """Return the squared norm and the d sums of the gradients; None counts as zeros."""
        held = []  # copies must live until they are read
        addresses = []
        for g in grads:
            if g is None:
                addresses.append(0)
                continue
            if g.dtype is not self._dtype or not g.is_contiguous() or not g.is_cpu:
                g = g.to("cpu", self._dtype).contiguous()
                held.append(g)
            addresses.append(g.data_ptr())
        if self._whole:
            self._at[:] = addresses
        else:
            np.add(np.array(addresses, np.uint64)[self._owner], self._skip, out=self._at)
            if 0 in addresses:
                self._at[np.array(addresses)[self._owner] == 0] = 0
        self._sums.fill(0)
        self._run()
        total: NDArray[np.float64] = self._sums[0].copy() if len(self._sums) == 1 else self._sums.sum(0)
        return total

    def _run(self) -> None:
        threads = min(torch.get_num_threads(), len(self._calls))
        if threads == 1:
            for call in self._calls:
                self._add(*call)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(threads - 1, "multirate-sketch")
        waiting = deque(self._calls)
        helpers = [self._pool.submit(self._work, waiting) for _ in range(threads - 1)]
        self._work(waiting)
        for helper in helpers:
            # One that is still to wake, on a busy machine, has nothing to do any more.
            if not helper.cancel():
                helper.result()

    def _work(self, waiting: deque[Any]) -> None:
        while True:
            try:
                call = waiting.popleft()
            except IndexError:
                return
            self._add(*call)


def _spans(sizes: Sequence[int], segment: int) -> list[tuple[int, int, int, int]]:
    """Cut the parameters at the segments' ends: (parameter, first in it, elements, segment)."""
    spans, at = [], 0
    for owner, size in enumerate(sizes):
        begin = 0
        while begin < size or (size == 0 and begin == 0):
            count = min(size - begin, segment - at % segment)
            spans.append((owner, begin, count, at // segment))
            begin, at = begin + max(count, 1), at + count
    return spans
