"""CRC-32C (Castagnoli) in NumPy: the standard library has only the other polynomial."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected, RFC 3720 appendix B.4
_LANES = 4096


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return table


_TABLE = _table()


def _advance(crc: NDArray[np.uint32], zeros: int) -> NDArray[np.uint32]:
    """Return each checksum register after so many bytes of zeros.

    The register is linear over GF(2), so that the step is a matrix of 32 columns,
    raised to the power by squaring.
    """
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    power = _TABLE[columns & np.uint32(0xFF)] ^ columns >> np.uint32(8)
    while zeros:
        if zeros & 1:
            crc = _apply(power, crc)
        power, zeros = _apply(power, power), zeros >> 1
    return crc


def _apply(matrix: NDArray[np.uint32], crc: NDArray[np.uint32]) -> NDArray[np.uint32]:
    out = np.zeros_like(crc)
    for bit in range(32):
        out ^= (crc >> np.uint32(bit) & np.uint32(1)) * matrix[bit]
    return out


def _update(register: int, data: NDArray[np.uint8]) -> int:
    for byte in data.tolist():
        register = int(_TABLE[(register ^ byte) & 0xFF]) ^ register >> 8
    return register


def crc32c(data: bytes) -> int:
    """Return the checksum of the bytes.

    Long data is cut into lanes whose registers advance together, and are then
    joined in pairs.

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    octets = np.frombuffer(data, np.uint8)
    length = octets.size // _LANES
    body = octets[: _LANES * length].reshape(_LANES, length)
    register = 0xFFFFFFFF
    if length:
        lanes = np.zeros(_LANES, np.uint32)
        lanes[0] = register
        for column in np.ascontiguousarray(body.T):
            lanes = _TABLE[(lanes ^ column) & np.uint32(0xFF)] ^ lanes >> np.uint32(8)
        while lanes.size > 1:
            lanes = _advance(lanes[0::2], length) ^ lanes[1::2]
            length *= 2
        register = int(lanes[0])
    return _update(register, octets[body.size :]) ^ 0xFFFFFFFF
