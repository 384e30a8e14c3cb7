"""A situation as bytes and back, exactly: what a replay starts from when the recorder came (or came back) later than the boot.

Canonical msgpack in the same spirit as `safety.inputs`; classes are named, and only the kernel's own are known.
"""

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

import msgpack

from safety import alarms, authority, estimators, fixtures, lease, roles, situation, states

_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for module in (alarms, authority, estimators, fixtures, lease, roles, situation, states)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and (is_dataclass(cls) or issubclass(cls, StrEnum))
}


class SnapshotError(ValueError):
    """Bytes that are no snapshot, or one of another version of the kernel."""


def _pack(value: Any) -> Any:
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        return ["i", str(value)]
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, StrEnum):
        return ["e", type(value).__name__, str(value)]
    if type(value) is tuple:
        return ["t", *(_pack(v) for v in value)]
    if type(value) is list:
        return ["l", *(_pack(v) for v in value)]
    if type(value) is dict:
        return ["d", *([_pack(k), _pack(v)] for k, v in value.items())]
    if is_dataclass(value):
        return ["c", type(value).__name__, {f.name: _pack(getattr(value, f.name)) for f in fields(value)}]
    raise SnapshotError(f"a situation holds a {type(value).__name__}, which has no snapshot form")


def _unpack(value: Any) -> Any:
    if type(value) is not list:
        return value
    tag, *rest = value
    if tag == "i":
        return int(rest[0])
    if tag == "t":
        return tuple(_unpack(v) for v in rest)
    if tag == "l":
        return [_unpack(v) for v in rest]
    if tag == "d":
        return {_unpack(k): _unpack(v) for k, v in rest}
    name, content = rest
    if name not in _CLASSES:
        raise SnapshotError(f"this kernel knows no {name}")
    if tag == "e":
        return _CLASSES[name](content)
    try:
        return _CLASSES[name](**{k: _unpack(v) for k, v in content.items()})
    except TypeError as error:
        raise SnapshotError(f"{name} of another version of the kernel: {error}") from error


def encode_situation(s: situation.Situation) -> bytes:
    """Raises SnapshotError where a field has no snapshot form."""
    return bytes(msgpack.packb(_pack(s), use_bin_type=True))


def decode_situation(data: bytes) -> situation.Situation:
    """Raises SnapshotError."""
    try:
        s = _unpack(msgpack.unpackb(data, raw=False, strict_map_key=False))
    except (ValueError, TypeError, IndexError) as error:
        raise SnapshotError(f"no snapshot of a situation: {error}") from error
    if not isinstance(s, situation.Situation):
        raise SnapshotError("no snapshot of a situation")
    return s
