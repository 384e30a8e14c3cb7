"""`Command`: one intention of the surgeon's hand, as it crosses the WAN 100 times a second.

Absolute and idempotent: losing, repeating or reordering frames never adds up to a motion. One msgpack map of exactly
these keys, at most 512 B sealed. The strict decoder lives beside the gate (`safety.decode`), the encoder is `to_wire`.

`echo_state` is the robot's own monotonic stamp (ns) of the newest robot frame that the console had (drawn, where a page
is open); the loop age is t_k - min(echo_state, echo_view where the mode needs video): one clock, no synchronisation.
"""

from dataclasses import dataclass, fields
from typing import Any

COMMAND_VERSION = 1
#: Largest command frame the gate looks at, bytes before sealing (design: <= 512 B sealed).
COMMAND_MAX_BYTES = 480


@dataclass(frozen=True, slots=True)
class Command:
    """All fields of a command. Exactly one of `target`, `q_target`, `s_limit` is set, none when press is 0 and
    nothing is asked.

    target: base_T_target as (x, y, z, qx, qy, qz, qw), metres and unit quaternion, arm base frame (servo, jog).
    q_target: joint positions, rad (local CRTK clients only: servo_jp).
    s_limit: permitted arc length (m) of the worst tool point along the stored path `path_hash` (goal, advance,
    rehearsal).
    press: 0 released, else the ordinal of the deadman press (each new press is a larger number).
    """

    v: int
    session: bytes  # 16 B nonce issued by the site for this link session
    site: str
    arm: str
    epoch: int  # fencing token of the grant
    seq: int  # restarts per epoch
    rebase: int  # value of the robot's counter this command was made against
    t_console: int  # console monotonic clock, ns (display and log only)
    echo_state: int  # robot monotonic clock, ns
    echo_view: int | None  # robot monotonic clock of the displayed video frame, ns
    mode: str
    press: int
    stop: bool
    plan_hash: bytes  # first 8 B of the plan's SHA-256, or b""
    path_hash: bytes  # first 8 B of the stored path's SHA-256, or b""
    registration_epoch: int
    peer_checkpoint: bytes  # first 8 B of the newest log checkpoint of the other site, or b""
    target: tuple[float, ...] | None
    q_target: tuple[float, ...] | None
    s_limit: float | None

    def to_wire(self) -> dict[str, Any]:
        """The map that msgpack packs (tuples become arrays)."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(f.name for f in fields(Command))
COMMAND_KEYS: frozenset[str] = frozenset(_NAMES)
