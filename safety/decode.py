"""The strict decoder: bytes of a command frame to `Command`, or a `Refusal` with the reason. Never raises anything
else.

Order: SIZE, DECODE (msgpack with limits; duplicate keys, extension types and trailing bytes refused), FIELDS (exact key
set, exact types: an int or bool is not a float, a bool is not an int; ranges; which targets go with which mode),
NOT_FINITE.
"""

from math import sqrt
from typing import Any, NoReturn

import msgpack

from safety.command import COMMAND_KEYS, COMMAND_MAX_BYTES, Command
from safety.states import Mode, Reason

_MODES = frozenset(str(m) for m in Mode)
_MAX_INT = 2**63
_INTS = ("v", "epoch", "seq", "rebase", "t_console", "echo_state", "press", "registration_epoch")
_HASHES = ("plan_hash", "path_hash", "peer_checkpoint")
_INF = float("inf")


class Refusal(Exception):
    """A frame is refused: `reason` for counting, the text for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class _Duplicate(ValueError):
    pass


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _Duplicate("a key occurs twice")
    return out


def unpack_limited(data: bytes, *, text: int = 128, binary: int = 64, array: int = 64, keys: int = 32) -> Any:
    """msgpack with small limits and without duplicate keys. Raises `Refusal(DECODE)` only."""
    try:
        return msgpack.unpackb(
            data, raw=False, strict_map_key=True, object_pairs_hook=_pairs, max_str_len=text, max_bin_len=binary,
            max_array_len=array, max_map_len=keys, max_ext_len=0,
        )  # fmt: skip
    except Exception as error:  # msgpack raises a dozen kinds, among them StackError and UnicodeDecodeError
        raise Refusal(Reason.DECODE, f"not a msgpack map within the limits: {type(error).__name__}") from None


def _no(text: str) -> NoReturn:
    raise Refusal(Reason.FIELDS, text)


def _floats(m: dict[str, Any], name: str, low: int, high: int) -> tuple[float, ...] | None:
    value = m[name]
    if value is None:
        return None
    if type(value) is not list or not low <= len(value) <= high:
        _no(f"{name}: needs a list of {low}..{high} floats")
    for x in value:
        if type(x) is not float:
            _no(f"{name}: {type(x).__name__} where a float belongs")
    for x in value:
        if not -_INF < x < _INF:
            raise Refusal(Reason.NOT_FINITE, f"{name}: not finite")
    return tuple(value)


def decode_command(data: bytes) -> Command:
    """Raises `Refusal` with SIZE, DECODE, FIELDS or NOT_FINITE. A target's quaternion comes back normalised."""
    if type(data) is not bytes or not 0 < len(data) <= COMMAND_MAX_BYTES:
        raise Refusal(Reason.SIZE, f"frame of {len(data)} B, allowed 1..{COMMAND_MAX_BYTES}")
    m = unpack_limited(data)
    if type(m) is not dict:
        raise Refusal(Reason.DECODE, "not a map")
    if m.keys() != COMMAND_KEYS:
        _no(f"keys differ: {sorted(set(m.keys()) ^ COMMAND_KEYS)}")
    for name in _INTS:
        if type(m[name]) is not int or not 0 <= m[name] < _MAX_INT:
            _no(f"{name}: needs an integer 0 .. 2^63-1")
    view = m["echo_view"]
    if view is not None and (type(view) is not int or not 0 <= view < _MAX_INT):
        _no("echo_view: needs an integer 0 .. 2^63-1 or nil")
    if type(m["stop"]) is not bool:
        _no("stop: needs a boolean")
    for name in ("site", "arm"):
        if type(m[name]) is not str or not 0 < len(m[name]) <= 64:
            _no(f"{name}: needs 1..64 characters")
    if type(m["mode"]) is not str or m["mode"] not in _MODES:
        _no("mode: unknown")
    if type(m["session"]) is not bytes or len(m["session"]) != 16:
        _no("session: needs 16 bytes")
    for name in _HASHES:
        if type(m[name]) is not bytes or len(m[name]) not in (0, 8):
            _no(f"{name}: needs 0 or 8 bytes")
    target = _floats(m, "target", 7, 7)
    q_target = _floats(m, "q_target", 1, 16)
    s_limit = m["s_limit"]
    if s_limit is not None:
        if type(s_limit) is not float:
            _no("s_limit: needs a float")
        if not -_INF < s_limit < _INF:
            raise Refusal(Reason.NOT_FINITE, "s_limit: not finite")
        if not 0.0 <= s_limit <= 100.0:
            _no("s_limit: needs 0 .. 100 m")
    asked = (target is not None) + (q_target is not None) + (s_limit is not None)
    if asked > 1 or (m["press"] > 0 and asked != 1):
        _no("exactly one of target, q_target, s_limit goes with a press, at most one without")
    if asked and (s_limit is not None) != (m["mode"] in ("goal", "advance", "rehearsal")):
        _no(f"mode {m['mode']} does not go with this kind of target")
    if target is not None:
        x, y, z, qx, qy, qz, qw = target
        if not (abs(x) < 10.0 and abs(y) < 10.0 and abs(z) < 10.0):
            _no("target: further than 10 m")
        n = qx * qx + qy * qy + qz * qz + qw * qw
        if not 0.998 < n < 1.002:
            _no("target: not a unit quaternion")
        n = sqrt(n)
        target = (x, y, z, qx / n, qy / n, qz / n, qw / n)
    if q_target is not None and not all(abs(q) < 10.0 for q in q_target):
        _no("q_target: further than 10 rad")
    m["target"], m["q_target"] = target, q_target
    return Command(**m)
