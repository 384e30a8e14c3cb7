"""Messages of the orders channel: msgpack maps with a key "t", strictly limited when decoded (docs/wire.md lists them)."""

import math
from typing import Any

import msgpack

from teleop.link.errors import BadMessage

#: Version of the whole protocol. Ends of different versions refuse each other by name.
PROTOCOL_VERSION = 1
ORDER_MAX_BYTES = 256 * 1024
STOP_MAX_BYTES = 512
INSTANCE_BYTES = 16


def pack(message: dict[str, Any]) -> bytes:
    """One message as bytes. Raises BadMessage if it is larger than a peer would take."""
    raw: bytes = msgpack.packb(message)
    if len(raw) > ORDER_MAX_BYTES:
        raise BadMessage(f"message {message.get('t')!r} of {len(raw)} B: at most {ORDER_MAX_BYTES} B; send it in parts")
    return raw


def unpack(raw: bytes, max_bytes: int = ORDER_MAX_BYTES) -> dict[str, Any]:
    """The map in `raw`. Raises BadMessage: too long, not msgpack, no map, no "t", duplicate keys, NaN or infinite."""
    if len(raw) > max_bytes:
        raise BadMessage(f"{len(raw)} B, at most {max_bytes}")
    try:
        message = msgpack.unpackb(
            raw,
            strict_map_key=True,
            raw=False,
            max_str_len=65536,
            max_bin_len=max_bytes,
            max_array_len=8192,
            max_map_len=1024,
            max_ext_len=0,
            object_pairs_hook=_no_duplicates,
        )
    except BadMessage:
        raise
    except Exception as e:  # msgpack raises half a dozen unrelated types for bad input
        raise BadMessage(f"not acceptable msgpack: {type(e).__name__}") from None
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise BadMessage('not a map with a text "t"')
    _finite(message, 0)
    return message


def field(message: dict[str, Any], name: str, kind: type, length: int | None = None) -> Any:
    """message[name] if it is exactly a `kind` (ints: 0 to 2^63 - 1), of `length` bytes. Raises BadMessage."""
    value: Any = message.get(name)
    if type(value) is not kind or (type(value) is int and not 0 <= value < 2**63):
        raise BadMessage(f"{message['t'][:32]}: {name} must be a {kind.__name__}")
    if length is not None and len(message[name]) != length:
        raise BadMessage(f"{message['t'][:32]}: {name} must have {length} bytes")
    return value


def _no_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise BadMessage("a key appears twice")
    return out


def _finite(value: Any, depth: int) -> None:
    if depth > 16:
        raise BadMessage("nested more than 16 deep")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadMessage("NaN or infinite number")
    elif isinstance(value, dict):
        for v in value.values():
            _finite(v, depth + 1)
    elif isinstance(value, list):
        for v in value:
            _finite(v, depth + 1)
