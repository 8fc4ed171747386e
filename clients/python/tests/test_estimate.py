"""Spectra from products: chunks, checksums and both tiers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from multirate import Client, InvalidRequestError, NotFiniteError, RunConfig
from multirate.crc32c import crc32c
from problems import EIGENVALUES


def naive(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 * (register & 1)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 9, 4095, 4096, 4097, 3 * 4096 + 5])
def test_checksums_are_castagnolis(size: int) -> None:
    data = os.urandom(size)
    assert crc32c(data) == naive(data)


def test_the_checksum_of_the_rfc() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


@pytest.mark.parametrize(("dtype", "relative"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_the_service_finds_the_spectrum(client: Client, dtype: type, relative: float) -> None:
    seen: list[tuple[int, int]] = []
    run = client.new_run(RunConfig(40))
    spectrum = run.estimate_spectrum(
        lambda v: EIGENVALUES * v, dtype=dtype, progress=lambda n, most: seen.append((n, most))
    )
    assert spectrum.ritz_values[0].value == pytest.approx(4000, rel=relative)
    assert [n for n, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[0][1] == 40


def test_vectors_longer_than_a_chunk(client: Client) -> None:
    size = 600_000  # three chunks
    values = np.where(np.arange(size) % 2, 1.0, 100.0)
    run = client.new_run(RunConfig(size))
    spectrum = run.estimate_spectrum(lambda v: values * v, max_products=2, dtype=np.float32)
    assert [r.value for r in spectrum.ritz_values] == pytest.approx([100, 1], rel=1e-4)


def test_an_error_of_the_product_is_the_callers_and_leaves_the_run_as_it_was(client: Client) -> None:
    def fails(v: Any) -> Any:
        raise KeyError("no data")

    def refused(error: type[Exception], match: str, *product: Any, **options: Any) -> None:
        run = client.new_run(RunConfig(40))
        with pytest.raises(error, match=match):
            run.estimate_spectrum(*product, **options)
        assert run.spectrum() is None

    refused(KeyError, "no data", fails)
    refused(NotFiniteError, "product 0", lambda v: v * np.nan)
    refused(ValueError, "of 39 elements, want 40", lambda v: v[1:])
    refused(InvalidRequestError, "max_products", lambda v: v, max_products=10_000)
    refused(ValueError, "float32 or float64", lambda v: v, dtype=np.float16)


def test_coefficients(client: Client) -> None:
    run = client.new_run(RunConfig(2))
    # The matrix of (1 1; 1 3)/2 begun at the first unit vector.
    spectrum = run.report_lanczos([2.0, 2.0], [1.0, 0.0])
    assert [r.value for r in spectrum.ritz_values] == pytest.approx([3, 1])
    with pytest.raises(InvalidRequestError, match="beta"):
        run.report_lanczos([2.0, 2.0], [1.0, 1.0, 1.0])
