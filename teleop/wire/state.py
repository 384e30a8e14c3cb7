"""State frames, robot to console: arm report, status of the governor without its long texts, tracker, video ids.

One msgpack map {"v", "t", "arm", "gov", "tracker", "video"}; `t` is the robot's monotonic stamp (ns), which the console
returns in its next command as `echo_state`. It must fit one datagram: the texts of the status (`LONG_TEXTS`) travel on
the orders channel as notes {"t": "status", ...}, on change and twice a second.
"""

import math
from typing import Any

import msgpack

STATE_VERSION = 1
#: Payload of a sealed datagram.
STATE_MAX_BYTES = 1200
#: Keys of GovernorStatus that are long, for people, or slow, and therefore not in the 100 Hz frame.
LONG_TEXTS = frozenset({"what_to_do", "alarms", "counts", "blockers", "v_cap_why", "paths", "session"})
#: Keys of an arm report that a console needs; the full report stays in the log.
ARM_KEYS = ("stamp", "q", "dq", "pose", "setpoint", "speed", "force", "s", "path_hash", "lease_id", "drive", "fault", "tracking_error")
_TEXT_MAX = 48


class StateError(ValueError):
    """A state frame that cannot be sent (too large) or is not one (on receipt)."""


def encode_state(
    stamp_ns: int, arm: dict[str, Any] | None, status: dict[str, Any] | None, tracker: dict[str, Any] | None, video: list[int] | None
) -> bytes:
    """One frame from the newest of each. Long texts are left out or cut. Raises StateError above STATE_MAX_BYTES."""
    frame = {
        "v": STATE_VERSION,
        "t": stamp_ns,
        "arm": None if arm is None else {k: _short(arm[k]) for k in ARM_KEYS if k in arm},
        "gov": None if status is None else {k: _short(v) for k, v in status.items() if k not in LONG_TEXTS and k != "t"},
        "tracker": tracker,
        "video": video or [],
    }
    raw: bytes = msgpack.packb(frame)
    if len(raw) > STATE_MAX_BYTES:
        raise StateError(f"state frame of {len(raw)} B, at most {STATE_MAX_BYTES} B fit a datagram")
    return raw


def decode_state(raw: bytes) -> dict[str, Any]:
    """The frame, checked for shape and for finite numbers. Raises StateError."""
    if len(raw) > STATE_MAX_BYTES:
        raise StateError(f"{len(raw)} B, at most {STATE_MAX_BYTES}")
    try:
        frame = msgpack.unpackb(
            raw, raw=False, strict_map_key=True, max_array_len=64, max_map_len=96, max_str_len=256, max_bin_len=256, max_ext_len=0
        )
    except Exception as e:  # msgpack raises half a dozen unrelated types for bad input
        raise StateError(f"not acceptable msgpack: {type(e).__name__}") from None
    if not isinstance(frame, dict) or frame.get("v") != STATE_VERSION:
        raise StateError(f"not a state frame of version {STATE_VERSION}")
    stamp = frame.get("t")
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not 0 <= stamp < 2**63:
        raise StateError("t must be nanoseconds")
    for key in ("arm", "gov", "tracker"):
        if not isinstance(frame.get(key), dict | None):
            raise StateError(f"{key} must be a map or nil")
    if not isinstance(frame.get("video"), list):
        raise StateError("video must be a list")
    if not _finite(frame):
        raise StateError("a number is NaN or infinite")
    return frame


def long_texts(status: dict[str, Any]) -> dict[str, Any]:
    """The part of a status that goes on the orders channel: the texts in full, with the state they belong to."""
    return {k: v for k, v in status.items() if k in LONG_TEXTS or k in ("reason", "state", "epoch", "v")}


def _short(value: Any) -> Any:
    return value[:_TEXT_MAX] if isinstance(value, str) else value


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(v) for v in value.values())
    if isinstance(value, list):
        return all(_finite(v) for v in value)
    return True
