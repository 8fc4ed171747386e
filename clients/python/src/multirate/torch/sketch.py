"""Sketch and norm of a model's gradient, where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multirate import native
from multirate.errors import DimensionError
from multirate.sketch import Sketcher, signs
from multirate.torch.fused import Fused

__all__ = ["GradientSketcher", "Measured"]

_BLOCK = 1 << 18  # elements of a device's accumulator, at most: it should stay in cache
_ROWS = 8  # sketches side by side in the host's accumulator: 8 KiB, the first level of cache
_STRETCH = 64 * _ROWS  # sketches' lengths that the host works on at once: half a MiB
_SMALL = 1 << 15  # parameters below this are joined before they are added


class Measured(NamedTuple):
    """What one pass over the gradient gives.

    Attributes
    ----------
    loss
        The loss handed in, plus what the decay of the parameters adds to it.
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
    """A stretch of the whole gradient that is added at once."""

    sources: list[tuple[int, int, int]]  # (parameter, first, last) in it
    begin: int  # in these parameters
    length: int


class _Device:
    """Adds pieces up on a device, without waiting for it."""

    def __init__(self, sketcher: Sketcher, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.block = max(1, min(_BLOCK, size + sketcher.sketch_dimension - 1) // sketcher.sketch_dimension)
        self.block *= sketcher.sketch_dimension
        self.sums = torch.zeros(self.block, dtype=dtype, device=device)
        self.buffer = torch.empty_like(self.sums)
        self.kept = [self.sums, self.buffer]
        self.squares: list[Tensor] = []

    def clear(self) -> None:
        self.squares = []
        self.sums.zero_()

    def add(self, x: Tensor, sign: Tensor | None, place: int) -> None:
        self.squares.append(torch.dot(x, x))
        if sign is not None:
            if sign.dtype != x.dtype:
                sign = self.buffer[: x.numel()].copy_(sign)
            self.sums[place : place + x.numel()].addcmul_(x, sign)

    def numbers(self, d: int, *more: Tensor) -> Callable[[], NDArray[np.float64]]:
        """Return what waits for the squared norm, the sketch and more numbers."""
        total = (
            torch.stack(self.squares).sum(dtype=torch.float64) if self.squares else self.sums.new_zeros(())
        )
        folded = self.sums.view(-1, d).sum(0, dtype=torch.float64)
        parts = [total.reshape(1), folded, *(m.reshape(1).to(folded) for m in more)]
        return _fetch(torch.cat([part.double() for part in parts]))


class _Host:
    """Adds pieces up in NumPy, in one thread, where nothing is compiled.

    PyTorch would take several passes, each of which waits for all its threads.
    """

    def __init__(self, sketcher: Sketcher, dtype: torch.dtype) -> None:
        self.width = _ROWS * sketcher.sketch_dimension
        self.block = _STRETCH * sketcher.sketch_dimension
        self.sums = np.zeros(self.width)
        self.buffer = torch.empty(self.block, dtype=dtype)
        self.kept = [self.buffer]
        self.square = 0.0

    def clear(self) -> None:
        self.square = 0.0
        self.sums[:] = 0

    def add(self, x: Tensor, sign: Tensor | None, place: int) -> None:
        values = x.numpy()
        self.square += float(np.dot(values, values))
        if sign is None:
            return
        if sign.dtype != x.dtype:
            sign = self.buffer[: x.numel()].copy_(sign)
        signs, width = sign.numpy(), self.width
        # To the accumulator's end, whole rows of it, and the rest.
        place %= width
        head = min(width - place if place else 0, values.size)
        tail = head + (values.size - head) // width * width
        if head:
            self.sums[place : place + head] += values[:head] * signs[:head]
        if tail > head:
            rows = values[head:tail].reshape(-1, width), signs[head:tail].reshape(-1, width)
            self.sums += np.einsum("rb,rb->b", *rows)
        if tail < values.size:
            self.sums[: values.size - tail] += values[tail:] * signs[tail:]

    def numbers(self, d: int, *more: Tensor) -> Callable[[], NDArray[np.float64]]:
        """Return what returns the squared norm, the sketch and more numbers."""
        folded = self.sums.reshape(-1, d).sum(0)
        numbers = np.concatenate([[self.square], folded, [m.item() for m in more]])
        return lambda: numbers


def _fetch(numbers: Tensor) -> Callable[[], NDArray[np.float64]]:
    """Begin to copy numbers to the host, and return what waits for them."""
    if not numbers.is_cuda:
        return lambda: numbers.cpu().numpy()
    host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    host.copy_(numbers, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(numbers.device))

    def wait() -> NDArray[np.float64]:
        copied.synchronize()
        return host.numpy()

    return wait


class GradientSketcher:
    """Sketches ``s * grad`` of parameters, s a frozen diagonal, where they are.

    On a CPU the compiled sketch takes one pass and keeps nothing. Elsewhere, and
    where there is no compiler, the accumulator has a whole number of sketches side
    by side, element i of the gradient goes into its place i modulo the length, and
    only at the end are the sketches folded: a stretch of the gradient then needs
    one multiply-add with signs that are kept, without any index.

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
    sign_cache
        How signs are kept where they are: ``"int8"``, a byte for each parameter,
        or ``"wide"``, as many bytes as the gradient has, which is quicker on a
        CPU. Given, it turns the compiled sketch off. None: not at all with that,
        else wide on a CPU, int8 elsewhere. Beside them there are about 2 MiB, and s
        where there is one.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        sketcher: Sketcher,
        *,
        offset: int = 0,
        scales: Sequence[Tensor] | None = None,
        sign_cache: str | None = None,
    ) -> None:
        self.parameters, self.sketcher = list(parameters), sketcher
        self.size = sum(p.numel() for p in self.parameters)
        if not self.parameters or offset + self.size > sketcher.dimension:
            raise DimensionError(
                f"{self.size} parameters from {offset} on, the run is of {sketcher.dimension}"
            )
        if sign_cache not in (None, "int8", "wide"):
            raise ValueError(f"sign_cache {sign_cache!r}: use 'int8' or 'wide'")
        self._device = self.parameters[0].device
        wide = any(p.dtype == torch.float64 for p in self.parameters)
        self._dtype = torch.float64 if wide else torch.float32
        self._scales = None
        if scales is not None:
            self._scales = torch.cat([s.reshape(-1) for s in scales]).to(self._device, self._dtype)
        sizes = [p.numel() for p in self.parameters]
        library = native.library() if self._device.type == "cpu" and sign_cache is None else None
        self._fused: Fused | None = None
        if library is not None:
            parts = None if self._scales is None else self._scales.split(sizes)
            self._fused = Fused(library, sketcher, sizes, offset, parts, self._dtype)
        else:
            self._cut(sizes, offset, sign_cache)

    def _cut(self, sizes: list[int], offset: int, sign_cache: str | None) -> None:
        """Do all that does not change from step to step, once."""
        on_host = self._device.type == "cpu"
        self._work = self._adder(on_host)
        cache = sign_cache or ("wide" if on_host else "int8")
        kept = self._dtype if cache == "wide" else torch.int8
        self._signs = _signs_on(self._device, kept, offset, self.size, self.sketcher.seed)
        self._pieces = []
        for piece in _pieces(sizes, offset, self._work.block):
            within = slice(piece.begin, piece.begin + piece.length)
            self._pieces.append(
                (
                    piece.sources,
                    (offset + piece.begin) % self._work.block,
                    self._signs[within],
                    None if self._scales is None else self._scales[within],
                )
            )

    def _adder(self, on_host: bool) -> _Host | _Device:
        if on_host:
            return _Host(self.sketcher, self._dtype)
        return _Device(self.sketcher, self.size, self._dtype, self._device)

    @property
    def cache_bytes(self) -> int:
        """Bytes beside the parameters that the sketcher keeps."""
        kept = [] if self._scales is None else [self._scales]
        if self._fused is None:
            kept += [*self._work.kept, self._signs]
        return sum(t.numel() * t.element_size() for t in kept)

    def measure(
        self,
        loss: Tensor | float,
        *,
        parameter_norm: bool = False,
        sketch: bool = True,
        decay: Sequence[float] | None = None,
    ) -> Measured:
        """Return loss, norms and sketch, with one synchronisation of the device.

        A parameter without a gradient counts as one of zeros. With ``decay``, a
        coefficient for each parameter, the gradient is grad + decay * parameter and
        the loss grows by decay/2 |parameter|^2: what ``torch.optim.SGD`` makes of
        its ``weight_decay``.
        """
        return self.measure_later(loss, parameter_norm=parameter_norm, sketch=sketch, decay=decay)()

    def measure_later(
        self,
        loss: Tensor | float,
        *,
        parameter_norm: bool = False,
        sketch: bool = True,
        decay: Sequence[float] | None = None,
    ) -> Callable[[], Measured]:
        """Set the measuring going, and return what waits for its result, perhaps in another thread.

        On a CPU all is done at once. On another device nothing waits for it; what
        is read is what the gradient is now.
        """
        grads = [p.grad for p in self.parameters]
        if any(g is not None and g.is_sparse for g in grads):
            raise DimensionError("a sparse gradient: use sparse=False in the embedding")
        total = self._decayed(grads, decay) if decay is not None else None
        if self._fused is None:
            return self._measure_pieces(loss, grads, total, parameter_norm, sketch)
        numbers = self._fused.add(grads)
        number = loss.item() if isinstance(loss, Tensor) else loss
        measured = Measured(
            float(number) if total is None else float(number) + total.item(),
            float(numbers[0]),
            self._parameter_norm().item() if parameter_norm else None,
            numbers[1:],
        )
        return lambda: measured

    @torch.no_grad()
    def _decayed(self, grads: list[Tensor | None], decay: Sequence[float]) -> Tensor:
        """Add the decay to the gradients, and return what it adds to the loss."""
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for i, (p, c) in enumerate(zip(self.parameters, decay, strict=True)):
            grad = grads[i]
            if c and grad is not None:  # the optimizer leaves parameters without a gradient alone
                grads[i] = torch.add(grad, p, alpha=c)
                total += c / 2 * p.square().sum(dtype=torch.float64)
        return total

    @torch.no_grad()
    def _measure_pieces(
        self,
        loss: Tensor | float,
        grads: list[Tensor | None],
        total: Tensor | None,
        parameter_norm: bool,
        sketch: bool,
    ) -> Callable[[], Measured]:
        self._work.clear()
        for sources, place, sign, scale in self._pieces:
            x = self._gather(grads, sources)
            if x is not None:
                self._work.add(x if scale is None else x * scale, sign if sketch else None, place)
        more = [self._parameter_norm()] if parameter_norm else []
        extra = [] if total is None else [total]
        if isinstance(loss, Tensor) and loss.device == self._device:
            extra.append(loss.detach())
        d = self.sketcher.sketch_dimension
        elsewhere = 0.0 if isinstance(loss, Tensor) and loss.device == self._device else float(loss)
        finish = self._work.numbers(d, *more, *extra)

        def wait() -> Measured:
            numbers = finish()
            return Measured(
                float(numbers[1 + d + len(more) :].sum()) + elsewhere,
                float(numbers[0]),
                float(numbers[1 + d]) if parameter_norm else None,
                numbers[1 : 1 + d],
            )

        return wait

    def _gather(self, grads: list[Tensor | None], sources: list[tuple[int, int, int]]) -> Tensor | None:
        parts = []
        for i, first, last in sources:
            g = grads[i]
            if g is None:
                if len(sources) == 1:
                    return None
                g = self.parameters[i].new_zeros(()).expand(last - first)
            else:
                g = g.reshape(-1)
                if last - first != g.numel():
                    g = g[first:last]
            if g.dtype != self._dtype or g.device != self._device:
                g = g.to(self._device, self._dtype)
            parts.append(g)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @torch.no_grad()
    def _parameter_norm(self) -> Tensor:
        """Norm of x/s, the parameters in which the training is plain gradient descent."""
        total = torch.zeros((), dtype=self._dtype, device=self._device)
        begin = 0
        for p in self.parameters:
            x = p.reshape(-1).to(self._device, self._dtype)
            if self._scales is not None:
                x = x / self._scales[begin : begin + p.numel()]
            total += torch.dot(x, x)
            begin += p.numel()
        return total.sqrt()


def _signs_on(device: torch.device, dtype: torch.dtype, offset: int, count: int, seed: int) -> Tensor:
    out = torch.empty(count, dtype=dtype, device=device)
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
