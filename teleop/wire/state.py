"""State frames, robot to console: arm report, status of the governor without its long texts, tracker, video ids.

One msgpack map {"v", "t", "arm", "gov", "tracker", "video"}; `t` is the robot's monotonic stamp (ns), which the console
returns in its next command as `echo_state`. It must fit one datagram: `gov` has the status' short fields only; the whole
status, texts included, travels on the orders channel as a note {"t": "status", ...}, on change and twice a second.
No frame is sent before arm and governor have both spoken, nor after the governor has died.
"""

import math
from typing import Any

import msgpack

STATE_VERSION = 1
#: Payload of a sealed datagram.
STATE_MAX_BYTES = 1200
#: Keys of the governor's status that travel in every frame; all others are for people, or slow (see `long_texts`).
SHORT_STATUS = (
    "v", "site", "arm", "state", "since", "reason", "holder", "holder_role", "suspended", "epoch", "rebase", "session", "mode",
    "last_seq", "last_reject", "press_floor", "v_cap", "w_cap", "loop_age_ns", "loop_age_p95_ns", "loss", "margin",
    "travel_bound", "lease_id", "s", "path_hash", "plan_hash", "registration_epoch", "rehearsal_on", "stop_echo",
)  # fmt: skip
#: Keys of an arm report that a console needs; the full report stays in the log.
ARM_KEYS = ("stamp", "q", "pose", "setpoint", "speed", "force", "s", "path_hash", "lease_id", "drive", "fault", "tracking_error")
#: What `teleop.site.contact` adds to the report: [force N, work given, work returned (whole microjoules)].
CONTACT_KEY = "contact"
#: Counters in the long part that change with every frame: they ride along, but do not count as a change.
_RESTLESS = frozenset({"t", "stamp", "n", "counts", *SHORT_STATUS}) - {"state", "reason", "epoch", "holder"}
_TEXT_MAX = 48


class StateError(ValueError):
    """A state frame that cannot be sent (too large) or is not one (on receipt)."""


def encode_state(
    stamp_ns: int, arm: dict[str, Any], status: dict[str, Any], tracker: dict[str, Any] | None, video: list[int] | None
) -> bytes:
    """One frame from the newest of each. Long texts are left out or cut; the contact is left out of a frame that is too
    long with it (reason and fault both at their longest: nothing moves then). Raises StateError above STATE_MAX_BYTES."""
    frame: dict[str, Any] = {
        "v": STATE_VERSION,
        "t": stamp_ns,
        "arm": {k: _short(arm[k]) for k in (*ARM_KEYS, CONTACT_KEY) if k in arm},
        "gov": {k: _short(status[k]) for k in SHORT_STATUS if k in status},
        "tracker": tracker,
        "video": video or [],
    }
    raw: bytes = msgpack.packb(frame)
    if len(raw) > STATE_MAX_BYTES and frame["arm"].pop(CONTACT_KEY, None) is not None:
        raw = msgpack.packb(frame)
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
    for key in ("arm", "gov"):
        if not isinstance(frame.get(key), dict):
            raise StateError(f"{key} must be a map")
    if not isinstance(frame.get("tracker"), dict | None):
        raise StateError("tracker must be a map or nil")
    if not isinstance(frame.get("video"), list):
        raise StateError("video must be a list")
    if not _finite(frame):
        raise StateError("a number is NaN or infinite")
    return frame


def long_texts(status: dict[str, Any]) -> dict[str, Any]:
    """The status for the orders channel, complete: whoever reads a text there sees the state it belongs to."""
    return {k: v for k, v in status.items() if k != "t"}


def change_key(status: dict[str, Any]) -> tuple[str, ...]:
    """When this differs, the long texts are worth sending at once."""
    return tuple(repr(v) for k, v in status.items() if k not in _RESTLESS)


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
