"""The sketch is the contract's, bit by bit, on the host and on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import multirate.torch.fused as fused
import multirate.torch.sketch as device
from multirate import DimensionError, Sketcher, native, signs
from multirate.torch import GradientSketcher
from vectors import SKETCHES, shard_gradient


@pytest.fixture(params=["compiled", "NumPy"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "NumPy":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.compiler() is None:
        pytest.skip("no C compiler")
    else:
        assert native.library() is not None


@pytest.mark.parametrize("case", SKETCHES["words"], ids=lambda c: f"{c['seed']}-{c['k']}")
def test_words_are_the_contracts(case: dict[str, Any]) -> None:
    negative = signs(64 * case["k"], 64, int(case["seed"], 16)) < 0
    assert np.packbits(negative, bitorder="little").view("<u8")[0] == int(case["word"], 16)


@pytest.mark.parametrize("case", SKETCHES["signs"], ids=lambda c: f"{c['seed']}-{c['offset']}")
def test_signs_are_the_contracts(case: dict[str, Any]) -> None:
    got = signs(case["offset"], len(case["signs"]), int(case["seed"], 16))
    assert "".join("+-"[int(s < 0)] for s in got) == case["signs"]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("case", SKETCHES["buckets"], ids=lambda c: str(c["sketch_dimension"]))
def test_buckets_are_the_contracts(case: dict[str, Any]) -> None:
    sketcher = Sketcher(1 << 40, case["sketch_dimension"])
    for index, bucket in zip(case["indices"], case["buckets"], strict=True):
        assert np.flatnonzero(sketcher(np.ones(1), index)).tolist() == [bucket]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    "case", SKETCHES["sketches"], ids=lambda c: f"{c['dimension']}-{c['sketch_dimension']}"
)
def test_sketches_are_the_contracts(case: dict[str, Any], dtype: Any) -> None:
    sketcher = Sketcher(case["dimension"], case["sketch_dimension"], int(case["seed"], 16))
    total = sum(sketcher(shard_gradient(s).astype(dtype), s["offset"]) for s in case["shards"])
    np.testing.assert_array_equal(total, case["values"])


WAYS = ["compiled", "segments"]
WAYS += [f"{where}, {cache}" for where in ("host", "device", "blocks") for cache in ("int8", "wide")]


@pytest.fixture(params=WAYS)
def sign_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Adds up as on a CPU, and, on the CPU, as on any other device, and names the signs kept for it."""
    where, _, cache = request.param.partition(", ")
    if not cache:
        if native.compiler() is None:
            pytest.skip("no C compiler")
        if where == "segments":
            monkeypatch.setattr(fused, "_SEGMENT", 1000)
            monkeypatch.setattr(fused, "_SEGMENTS", 1000)
        return None
    if where == "host":
        monkeypatch.setattr(device, "_STRETCH", device._ROWS)
        return str(cache)
    if where == "blocks":
        monkeypatch.setattr(device, "_BLOCK", 300)
    own = GradientSketcher._adder
    monkeypatch.setattr(GradientSketcher, "_adder", lambda sketcher, on_host: own(sketcher, False))
    return str(cache)


@pytest.mark.parametrize(
    "case", SKETCHES["sketches"], ids=lambda c: f"{c['dimension']}-{c['sketch_dimension']}"
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sketches_of_parameters_are_the_contracts(
    case: dict[str, Any], dtype: torch.dtype, sign_cache: str | None
) -> None:
    sketcher = Sketcher(case["dimension"], case["sketch_dimension"], int(case["seed"], 16))
    total = np.zeros(case["sketch_dimension"])
    for shard in case["shards"]:
        g = torch.from_numpy(shard_gradient(shard)).to(dtype)
        parameter = torch.nn.Parameter(torch.zeros_like(g))
        parameter.grad = g
        own = GradientSketcher([parameter], sketcher, offset=shard["offset"], sign_cache=sign_cache)
        total += own.measure(0.0).sketch
    np.testing.assert_array_equal(total, case["values"])


SHAPES = [(7,), (30, 40), (5, 3, 2), (1,), (400, 300), (11,), (2000,), (13, 7)]


def parameters(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    out = []
    for shape in SHAPES:
        p = torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))
        p.grad = torch.randn(shape, generator=generator, dtype=dtype)
        out.append(p)
    return out


def concatenated(tensors: list[torch.Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return torch.cat([t.detach().reshape(-1).double() for t in tensors]).numpy()


@pytest.mark.parametrize("scaled", [False, True])
def test_pieces_of_a_model_add_up_to_the_whole_gradient(scaled: bool, sign_cache: str | None) -> None:
    params = parameters()
    params[2].grad = None
    params[5].grad = params[5].grad.t() if params[5].grad is not None else None
    scales = [torch.rand_like(p) + 0.5 for p in params] if scaled else None
    g = concatenated([torch.zeros_like(p) if p.grad is None else p.grad for p in params])
    x = concatenated(list(params))
    if scales is not None:
        g, x = g * concatenated(scales), x / concatenated(scales)
    sketcher = Sketcher(g.size, seed=3)
    measured = GradientSketcher(params, sketcher, scales=scales, sign_cache=sign_cache).measure(
        torch.tensor(2.5), parameter_norm=True
    )
    want = sketcher(g)
    # Each bucket is a sum of some 500 numbers in float32, in some order.
    np.testing.assert_allclose(measured.sketch, want, atol=500 * 2**-24 * np.abs(want).max())
    assert measured.loss == 2.5
    assert measured.norm_squared == pytest.approx(g @ g, rel=1e-5)
    assert measured.parameter_norm == pytest.approx(np.sqrt(x @ x), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_summed_in_float32(dtype: torch.dtype) -> None:
    params = parameters(dtype)
    g = concatenated([p.grad for p in params if p.grad is not None])
    measured = GradientSketcher(params, Sketcher(g.size)).measure(0.0)
    want = Sketcher(g.size)(g)
    np.testing.assert_allclose(measured.sketch, want, atol=500 * 2**-24 * np.abs(want).max())


@pytest.mark.skipif(native.compiler() is None, reason="no C compiler")
def test_the_number_of_threads_changes_no_bit() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3_000_000))
    parameter.grad = torch.randn(3_000_000, generator=torch.Generator().manual_seed(1))
    sketcher = GradientSketcher([parameter], Sketcher(3_000_000))
    want = sketcher.measure(0.0)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        try:
            got = sketcher.measure(0.0)
        finally:
            torch.set_num_threads(1)
        assert got.norm_squared == want.norm_squared
        np.testing.assert_array_equal(got.sketch, want.sketch)
    assert parameter.grad is not None
    # Each bucket is a sum of 12,000 numbers of size 1, at most 32 of them in float32.
    exact = Sketcher(3_000_000)(parameter.grad.double().numpy())
    np.testing.assert_allclose(want.sketch, exact, atol=12_000 * 32 * 2**-24)
    assert want.norm_squared == pytest.approx(float((parameter.grad.double() ** 2).sum()), rel=1e-6)


def test_nothing_is_kept_beside_the_compiled_sketch() -> None:
    if native.library() is None:
        pytest.skip("no C compiler")
    parameter = torch.nn.Parameter(torch.zeros(1000))
    assert GradientSketcher([parameter], Sketcher(1000)).cache_bytes == 0
    scales = [torch.ones(1000)]
    assert GradientSketcher([parameter], Sketcher(1000), scales=scales).cache_bytes == 4000


@pytest.mark.parametrize(("cache", "bytes_each"), [("int8", 1), ("wide", 4), (None, 4)])
def test_what_is_kept_beside_the_parameters(
    cache: str | None, bytes_each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    parameter = torch.nn.Parameter(torch.zeros(3_000_000))
    sketcher = GradientSketcher([parameter], Sketcher(3_000_000), sign_cache=cache)
    assert 0 < sketcher.cache_bytes - bytes_each * 3_000_000 <= 2 << 20
    with pytest.raises(ValueError, match="int8"):
        GradientSketcher([parameter], Sketcher(3_000_000), sign_cache="bits")


def test_lengths_that_do_not_fit_are_refused() -> None:
    sketcher = Sketcher(100)
    with pytest.raises(DimensionError, match="gradient of 99 elements, the run is of 100"):
        sketcher(np.ones(99))
    with pytest.raises(DimensionError, match="outside"):
        sketcher(np.ones(10), 95)
    with pytest.raises(DimensionError, match="101 parameters"):
        GradientSketcher([torch.nn.Parameter(torch.zeros(101))], sketcher)
    for d in (14, 16, 4097):
        with pytest.raises(DimensionError, match="odd number from 15 to 4095"):
            Sketcher(100, d)
    with pytest.raises(DimensionError, match="at least 1"):
        Sketcher(0)


def test_sparse_gradients_are_refused() -> None:
    table = torch.nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(DimensionError, match="sparse=False"):
        GradientSketcher([table.weight], Sketcher(30)).measure(0.0)
