"""The msgpack maps of arm.sock, to and from the types of `safety.lease`. A malformed map raises MessageError and
nothing else.

governor to arm: hello, lease, path, halt, clear_paths, fault, clear (forget a latched drive fault, at rest).
arm to governor: report, path_ok, refused (one governor at a time).
"""

from dataclasses import fields
from typing import Any

import msgpack

from safety.lease import ArmReport, MotionLease, StoredPath

#: Largest packet: a stored path of some thousand postures.
MAX_PACKET = 1 << 20


class MessageError(ValueError):
    """A packet is not what it should be; the text says what is wrong."""


_LEASE = tuple(f.name for f in fields(MotionLease))
_REPORT = tuple(f.name for f in fields(ArmReport))


def unpack(data: bytes) -> dict[str, Any]:
    """One packet as a map with a string "t"."""
    try:
        message = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
    except Exception as error:
        raise MessageError(f"not msgpack: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise MessageError('not a map with "t"')
    return message


def _row(value: Any, name: str) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise MessageError(f"{name} is not a list")
    return tuple(_number(v, name) for v in value)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MessageError(f"{name}: {value!r} is not a number")
    return float(value)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise MessageError(f"{name}: {value!r} is not an integer")
    return value


def lease_from(m: dict[str, Any]) -> MotionLease:
    """A lease. Its meaning is the drive's business; here only its types are checked."""
    missing = [k for k in _LEASE if k not in m]
    if missing:
        raise MessageError(f"lease without {', '.join(missing)}")
    if not isinstance(m["mode"], str) or not isinstance(m["kind"], str) or not isinstance(m["path_hash"], bytes):
        raise MessageError("lease: mode and kind are words, path_hash is bytes")
    return MotionLease(
        lease_id=_integer(m["lease_id"], "lease_id"),
        epoch=_integer(m["epoch"], "epoch"),
        seq=_integer(m["seq"], "seq"),
        t_k=_integer(m["t_k"], "t_k"),
        expiry=_integer(m["expiry"], "expiry"),
        mode=m["mode"],
        kind=m["kind"],
        target=None if m["target"] is None else _row(m["target"], "target"),
        q_target=None if m["q_target"] is None else _row(m["q_target"], "q_target"),
        path_hash=m["path_hash"],
        s_limit=None if m["s_limit"] is None else _number(m["s_limit"], "s_limit"),
        v_cap=_number(m["v_cap"], "v_cap"),
        w_cap=_number(m["w_cap"], "w_cap"),
    )


def path_from(m: dict[str, Any]) -> StoredPath:
    """A stored path, types only."""
    if not isinstance(m.get("kind"), str) or not isinstance(m.get("path_hash"), bytes):
        raise MessageError("path: kind is a word, path_hash is bytes")
    rows = m.get("q")
    if not isinstance(rows, list | tuple):
        raise MessageError("path: q is not a list of rows")
    return StoredPath(
        path_hash=m["path_hash"],
        kind=m["kind"],
        q=tuple(_row(row, "q") for row in rows),
        s=_row(m.get("s"), "s"),
        margin=_row(m.get("margin"), "margin"),
    )


def report_packet(report: ArmReport) -> bytes:
    """{"t": "report", ...} packed."""
    message: dict[str, Any] = {"t": "report"}
    for name in _REPORT:
        message[name] = getattr(report, name)
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed
