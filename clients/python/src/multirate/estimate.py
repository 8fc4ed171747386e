"""Lanczos in the service on Hessian-vector products that the trainer computes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from numpy.typing import NDArray

from multirate.crc32c import crc32c
from multirate.errors import MOST_HOPS, MultirateError, NotFiniteError, from_rpc
from multirate.progress import told
from multirate.v1 import learning_rate_service_pb2 as rpc
from multirate.v1 import spectrum_pb2, statistics_pb2

if TYPE_CHECKING:
    from multirate.run import Run

__all__ = ["run"]

_CHUNK_ELEMENTS = 262_144  # the contract's chunk_elements for 0


def run(
    of: Run,
    product: Callable[[NDArray[Any]], NDArray[Any]],
    *,
    max_products: int = 0,
    dtype: Any = np.float64,
    seed: int = 0,
    probes: int = 0,
    progress: Callable[[int, int], object] | bool | None = None,
) -> spectrum_pb2.Spectrum:
    """Let the service run Lanczos and return the run's new spectrum.

    Parameters
    ----------
    of
        The run.
    product
        Returns H v at the current parameters for a vector v of D numbers.
    max_products
        At most, 1 to min(D, 1024). 0: min(D, 128). The service stops earlier
        once the scales have converged.
    dtype
        Numbers on the wire, float64 or float32. With float32 no scale flatter
        than about 1e-7 of the stiffest can be seen.
    seed
        Of the random start vector.
    probes
        Random start vectors, 1 to 64, each with a run of at most
        ``max_products`` products. 0: 1. Several sharpen the density, the trace
        and their standard errors.
    progress
        Called after each product with the number so far and the most there can be.
        True: a bar of tqdm, where that is installed.

    Raises
    ------
    NotFiniteError
        A product holds NaN or infinity.
    ServiceError
        Then, and when ``product`` raises, the run is as it was.
    """
    progress = told(progress)
    width = np.dtype(dtype).newbyteorder("<")
    if width not in (np.dtype("<f4"), np.dtype("<f8")):
        raise ValueError(f"dtype {dtype}: use float32 or float64")
    start = rpc.EstimateSpectrumStart(
        run_id=of.id,
        max_products=max_products,
        format="VECTOR_FORMAT_FLOAT32" if width.itemsize == 4 else "VECTOR_FORMAT_FLOAT64",
        seed=seed,
        probes=probes,
    )
    return _run(of, of.client.methods, MOST_HOPS, start, product, width, progress)


def _run(
    of: Run,
    methods: dict[str, Any],
    hops: int,
    start: rpc.EstimateSpectrumStart,
    product: Callable[[NDArray[Any]], NDArray[Any]],
    width: np.dtype[Any],
    progress: Callable[[int, int], object] | None,
) -> spectrum_pb2.Spectrum:
    outgoing: queue.SimpleQueue[rpc.EstimateSpectrumRequest | None] = queue.SimpleQueue()
    outgoing.put(rpc.EstimateSpectrumRequest(start=start))
    stream = methods["EstimateSpectrum"](iter(outgoing.get, None))
    probe, filled, vector = np.empty(of.dimension, width), 0, 0
    try:
        for message in stream:
            kind = message.WhichOneof("message")
            if kind == "spectrum":
                spectrum: spectrum_pb2.Spectrum = message.spectrum
                return spectrum
            if kind == "progress" and progress is not None:
                progress(message.progress.products, message.progress.max_products)
            if kind != "probe":
                continue
            filled += _take(message.probe, probe, filled, vector)
            if filled == probe.size:
                for chunk in _chunks(vector, _product(product, probe, vector)):
                    outgoing.put(rpc.EstimateSpectrumRequest(product=chunk))
                filled, vector = 0, vector + 1
        raise MultirateError("EstimateSpectrum: the service ended the stream without a spectrum")
    except grpc.RpcError as error:
        failure = from_rpc("EstimateSpectrum", error)
        if failure.owner and hops > 0:  # nothing was done there
            return _run(of, of.client.at(failure.owner), hops - 1, start, product, width, progress)
        raise failure from error
    finally:
        outgoing.put(None)
        stream.cancel()


def _product(
    product: Callable[[NDArray[Any]], NDArray[Any]], probe: NDArray[Any], vector: int
) -> NDArray[Any]:
    answer = np.ascontiguousarray(product(probe), probe.dtype).reshape(-1)
    if answer.size != probe.size:
        raise ValueError(f"Hessian-vector product {vector} of {answer.size} elements, want {probe.size}")
    if not np.isfinite(answer).all():
        raise NotFiniteError(f"Hessian-vector product {vector} is not finite")
    return answer


def _take(chunk: statistics_pb2.VectorChunk, probe: NDArray[Any], filled: int, vector: int) -> int:
    """Write the chunk's elements to ``probe[filled:]`` and return how many there are."""
    if (chunk.vector, chunk.offset, chunk.total) != (vector, filled, probe.size):
        raise MultirateError(
            f"EstimateSpectrum: chunk of vector {chunk.vector} at element {chunk.offset} of {chunk.total}, "
            f"want vector {vector} at {filled} of {probe.size}"
        )
    if crc32c(chunk.data) != chunk.crc32c:
        raise MultirateError(f"EstimateSpectrum: probe {vector} is damaged at element {filled}")
    part = np.frombuffer(chunk.data, probe.dtype)
    probe[filled : filled + part.size] = part
    return part.size


def _chunks(vector: int, elements: NDArray[Any]) -> Iterator[statistics_pb2.VectorChunk]:
    for index, offset in enumerate(range(0, elements.size, _CHUNK_ELEMENTS)):
        data = elements[offset : offset + _CHUNK_ELEMENTS].tobytes()
        yield statistics_pb2.VectorChunk(
            vector=vector,
            index=index,
            offset=offset,
            total=elements.size,
            data=data,
            crc32c=crc32c(data),
        )
