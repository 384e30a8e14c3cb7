"""zstd for chunks, through the package that `mcap` itself brings (`zstandard`)."""

import threading

import zstandard

#: Level 1: about 400 MB/s, and a third of the size on full-rate state (docs/results/log.md).
LEVEL = 1
_own = threading.local()  # zstandard's objects must not be used by two threads at once


class CompressError(ValueError):
    """Bytes that do not decompress to what they claim."""


def compress(data: bytes | bytearray) -> bytes:
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=LEVEL)
    out: bytes = _own.compressor.compress(data)
    return out


def decompress(stored: memoryview | bytes, compression: str, plain_size: int) -> bytes | memoryview:
    """Plain bytes of a chunk. Raises CompressError on an unknown method, damage, or another size than claimed."""
    if compression == "":
        plain: bytes | memoryview = stored
    elif compression == "zstd":
        if not hasattr(_own, "decompressor"):
            _own.decompressor = zstandard.ZstdDecompressor()
        try:
            plain = _own.decompressor.decompress(stored, max_output_size=plain_size)
        except zstandard.ZstdError as error:
            raise CompressError(f"zstd: {error}") from error
    else:
        raise CompressError(f"compression {compression!r} is not one this log uses")
    if len(plain) != plain_size:
        raise CompressError(f"chunk holds {len(plain)} plain bytes, says {plain_size}")
    return plain
