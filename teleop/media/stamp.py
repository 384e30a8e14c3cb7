"""Number and capture time of a picture, written into the picture itself, so that a page knows what it *displays*.

Sixty-four bits in a strip below the picture, two rows of 32 blocks, black or white: 24 bits of the frame's number, 32 bits
of the capture time (robot monotonic, ms), 8 bits CRC. Coarse blocks survive H.264 at any rate we use; a damaged strip
fails its CRC and counts as "not seen". `web/src/media/stamp.js` reads the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Height of the strip, pixels; two rows of blocks.
STRIP = 16
COLUMNS, ROWS = 32, 2


@dataclass(frozen=True, slots=True)
class Stamp:
    """id: the frame's number modulo 2^24. ms: capture time modulo 2^32 ms."""

    id: int
    ms: int


def crc8(value: int) -> int:
    """CRC-8 (polynomial 0x07, start 0x5A) over 56 bits, most significant byte first."""
    crc = 0x5A
    for shift in range(48, -8, -8):
        crc ^= (value >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else (crc << 1) & 0xFF
    return crc


def bits_of(frame: int, captured_ns: int) -> int:
    """The 64 bits."""
    body = ((frame & 0xFFFFFF) << 32) | ((captured_ns // 1_000_000) & 0xFFFFFFFF)
    return (body << 8) | crc8(body)


def write(picture: NDArray[np.uint8], frame: int, captured_ns: int) -> None:
    """Write the strip into the last STRIP rows of (h, w, 3) or (h, w); w at least 64."""
    h, w = picture.shape[:2]
    bits = bits_of(frame, captured_ns)
    row = np.array([235 if bits >> (63 - n) & 1 else 20 for n in range(64)], dtype=np.uint8).reshape(ROWS, COLUMNS)
    columns = np.arange(w) * COLUMNS // w
    for r in range(ROWS):
        y = h - STRIP + r * (STRIP // ROWS)
        line = row[r][columns]
        picture[y : y + STRIP // ROWS] = line[None, :, None] if picture.ndim == 3 else line[None, :]


def read(picture: NDArray[np.uint8]) -> Stamp | None:
    """The stamp of a picture, None when the strip is damaged or there is none. (h, w, 3) or (h, w)."""
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture
    h, w = grey.shape
    bits = 0
    for r in range(ROWS):
        y = h - STRIP + int((r + 0.5) * STRIP / ROWS)
        for c in range(COLUMNS):
            x = int((c + 0.5) * w / COLUMNS)
            bits = bits << 1 | int(grey[y - 1 : y + 1, x - 1 : x + 2].mean() > 127)
    body, crc = bits >> 8, bits & 0xFF
    if crc8(body) != crc:
        return None
    return Stamp(body >> 32, body & 0xFFFFFFFF)


def unwrap_ms(ms: int, near_ns: int) -> int:
    """Capture time in ns from its low 32 bits of milliseconds, nearest to `near_ns` (any newer robot stamp will do)."""
    near = near_ns // 1_000_000
    base = near & ~0xFFFFFFFF
    best = min((base - (1 << 32) + ms, base + ms, base + (1 << 32) + ms), key=lambda v: abs(v - near))
    return best * 1_000_000
