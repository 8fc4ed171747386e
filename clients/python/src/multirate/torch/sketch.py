"""Sketch and norm of a model's gradient, on its device, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multirate.errors import DimensionError
from multirate.sketch import Sketcher, signs

__all__ = ["GradientSketcher", "Measured"]

_BLOCK = 1 << 18  # elements of the accumulator, at most: it should stay in cache
_SMALL = 1 << 15  # parameters below this are joined before they are added


class Measured(NamedTuple):
    """What one pass over the gradient gives.

    Attributes
    ----------
    loss
        The loss handed in.
    norm_squared
        Squared Euclidean norm of the gradient.
    parameter_norm
        Euclidean norm of the parameters, None unless asked for.
    sketch
        d sums.
    """

    loss: float
    norm_squared: float
    parameter_norm: float | None
    sketch: NDArray[np.float64]


class _Piece(NamedTuple):
    """A stretch of the whole gradient that goes into the accumulator at once."""

    sources: list[tuple[int, int, int]]  # (parameter, first, last) in it
    begin: int  # in these parameters
    length: int


class GradientSketcher:
    """Sketches ``s * grad`` of parameters, s a frozen diagonal, on their device.

    The accumulator has a whole number of sketches side by side, element i of the
    gradient goes into its place i modulo the length, and only at the end are the
    sketches folded: a stretch of the gradient then needs one multiply-add, without
    any index. The signs are kept as int8, one byte for each parameter, beside two
    buffers of 1 MiB.

    Parameters
    ----------
    parameters
        In the order in which the gradient concatenates them.
    sketcher
        The run's map.
    offset
        Index of the first element in the whole gradient, for shards of one.
    scales
        s, a tensor for each parameter. None: all ones.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        sketcher: Sketcher,
        *,
        offset: int = 0,
        scales: Sequence[Tensor] | None = None,
    ) -> None:
        self.parameters, self.sketcher = list(parameters), sketcher
        self.size = sum(p.numel() for p in self.parameters)
        if not self.parameters or offset + self.size > sketcher.dimension:
            raise DimensionError(
                f"{self.size} parameters from {offset} on, the run is of {sketcher.dimension}"
            )
        device = self.parameters[0].device
        wide = any(p.dtype == torch.float64 for p in self.parameters)
        self._dtype = torch.float64 if wide else torch.float32
        d = sketcher.sketch_dimension
        rows = max(1, min(_BLOCK, self.size + d - 1) // d)
        self._sums = torch.zeros(rows * d, dtype=self._dtype, device=device)
        self._buffer = torch.empty_like(self._sums)
        self._signs = _signs_on(device, offset, self.size, sketcher.seed)
        self._scales = None
        if scales is not None:
            self._scales = torch.cat([s.reshape(-1) for s in scales]).to(device, self._dtype)
        # Everything that does not change from step to step is cut here, once.
        self._pieces = []
        for piece in _pieces([p.numel() for p in self.parameters], offset, rows * d):
            place = (offset + piece.begin) % (rows * d)
            within = slice(piece.begin, piece.begin + piece.length)
            self._pieces.append(
                (
                    piece.sources,
                    self._sums[place : place + piece.length],
                    self._buffer[: piece.length],
                    self._signs[within],
                    None if self._scales is None else self._scales[within],
                )
            )

    @property
    def cache_bytes(self) -> int:
        """Bytes on the device that the sketcher keeps."""
        kept = [self._sums, self._buffer, self._signs] + ([] if self._scales is None else [self._scales])
        return sum(t.numel() * t.element_size() for t in kept)

    @torch.no_grad()
    def measure(self, loss: Tensor | float, *, parameter_norm: bool = False, sketch: bool = True) -> Measured:
        """Return loss, norms and sketch, with one synchronisation of the device.

        A parameter without a gradient counts as one of zeros.
        """
        grads = [p.grad for p in self.parameters]
        squares = []
        self._sums.zero_()
        for sources, sums, buffer, sign, scale in self._pieces:
            x = self._gather(grads, sources)
            if x is None:
                continue
            if scale is not None:
                x = x * scale
            squares.append(torch.dot(x, x))
            if sketch:
                sums.addcmul_(x, buffer.copy_(sign))
        folded = self._sums.view(-1, self.sketcher.sketch_dimension).sum(0, dtype=torch.float64)
        device = self._sums.device
        loss = torch.as_tensor(loss, dtype=torch.float64, device=device).detach().reshape(1)
        norm = torch.stack(squares).sum(dtype=torch.float64) if squares else loss.new_zeros(())
        parts = [loss, norm.reshape(1), folded]
        if parameter_norm:
            parts.append(self._parameter_norm().reshape(1))
        numbers = torch.cat(parts).cpu().numpy()
        d = folded.numel()
        return Measured(
            float(numbers[0]),
            float(numbers[1]),
            float(numbers[-1]) if parameter_norm else None,
            numbers[2 : 2 + d],
        )

    def _gather(self, grads: list[Tensor | None], sources: list[tuple[int, int, int]]) -> Tensor | None:
        parts = []
        for i, first, last in sources:
            g = grads[i]
            if g is None:
                if len(sources) == 1:
                    return None
                g = self.parameters[i].new_zeros(()).expand(last - first)
            elif g.is_sparse:
                raise DimensionError("a sparse gradient: use sparse=False in the embedding")
            else:
                g = g.reshape(-1)
                if last - first != g.numel():
                    g = g[first:last]
            parts.append(g.to(self._sums.device, self._dtype))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _parameter_norm(self) -> Tensor:
        """Norm of x/s, the parameters in which the training is plain gradient descent."""
        total = self._sums.new_zeros((), dtype=torch.float64)
        begin = 0
        for p in self.parameters:
            x = p.reshape(-1).to(total.device, self._dtype)
            if self._scales is not None:
                x = x / self._scales[begin : begin + p.numel()]
            total += torch.dot(x, x)
            begin += p.numel()
        return total.sqrt()


def _signs_on(device: torch.device, offset: int, count: int, seed: int) -> Tensor:
    out = torch.empty(count, dtype=torch.int8, device=device)
    for begin in range(0, count, _BLOCK):
        n = min(_BLOCK, count - begin)
        out[begin : begin + n] = torch.from_numpy(signs(offset + begin, n, seed))
    return out


def _pieces(sizes: list[int], offset: int, block: int) -> list[_Piece]:
    """Cut the gradient at the accumulator's ends, and join small parameters between them."""
    pieces: list[_Piece] = []
    at = 0
    for i, size in enumerate(sizes):
        first = 0
        while first < size:
            room = block - (offset + at) % block
            last = min(size, first + room)
            count = last - first
            previous = pieces[-1] if pieces else None
            if previous and count < _SMALL and previous.length < _SMALL and room < block:
                previous.sources.append((i, first, last))
                pieces[-1] = previous._replace(length=previous.length + count)
            else:
                pieces.append(_Piece([(i, first, last)], at, count))
            at, first = at + count, last
    return pieces
