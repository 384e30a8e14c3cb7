"""What the governor tells the drive (`MotionLease`, `StoredPath`) and what the arm tells the governor (`ArmReport`).

They cross one Unix SOCK_SEQPACKET socket as msgpack maps `{"t": "lease"|"path"|"report"|..., ...fields}`.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MotionLease:
    """The only permission to move. The drive may follow it until `expiry`, then decelerates along the path.

    kind "pose": toward `target` (x, y, z, qx, qy, qz, qw; base_T_tip); "joints": toward `q_target` (rad);
    "path": along the stored path `path_hash` up to arc length `s_limit` (m).
    v_cap: m/s of the worst tool point; w_cap: rad/s. expiry = t_k + L on the robot's monotonic clock, ns.
    """

    lease_id: int
    epoch: int
    seq: int
    t_k: int
    expiry: int
    mode: str
    kind: str
    target: tuple[float, ...] | None
    q_target: tuple[float, ...] | None
    path_hash: bytes
    s_limit: float | None
    v_cap: float
    w_cap: float


@dataclass(frozen=True, slots=True)
class StoredPath:
    """A checked joint path, sampled densely. q: N rows of n joints (rad). s: N arc lengths of the worst tool point (m),
    s[0] = 0, strictly increasing. margin: N distances (m) to the nearest keep-out or corridor wall, for the speed law.
    kind: "goal" (free air), "advance" (along the guide axis), "rehearsal"."""

    path_hash: bytes
    kind: str
    q: tuple[tuple[float, ...], ...]
    s: tuple[float, ...]
    margin: tuple[float, ...]


def path_digest(kind: str, q: Sequence[Sequence[float]], s: Sequence[float], margin: Sequence[float]) -> bytes:
    """SHA-256 of kind and all numbers as little-endian float64; the first 8 bytes travel in commands as `path_hash`."""
    h = hashlib.sha256(kind.encode())
    for row in q:
        h.update(struct.pack(f"<{len(row)}d", *row))
    h.update(struct.pack(f"<{len(s)}d", *s))
    h.update(struct.pack(f"<{len(margin)}d", *margin))
    return h.digest()[:8]


@dataclass(frozen=True, slots=True)
class ArmReport:
    """State of the arm as its own encoders and drive see it (never the simulator's truth).

    stamp: robot monotonic ns. pose / setpoint: base_T_tip by nominal kinematics of measured / reference joints.
    speed: m/s of the worst tool point, measured. s: progress on the path in force, m (0 without one).
    drive: "parked" (brakes on), "standstill", "moving", "stopping" (lease ended, decelerating) or "fault".
    """

    stamp: int
    q: tuple[float, ...]
    dq: tuple[float, ...]
    tau: tuple[float, ...]
    pose: tuple[float, ...]
    setpoint: tuple[float, ...]
    speed: float
    force: float
    s: float
    path_hash: bytes
    lease_id: int
    drive: str
    fault: str
    tracking_error: float
    late_ns: int
    #: joint reference, rad (empty where a report crosses the WAN)
    q_ref: tuple[float, ...] = ()
    #: m of measured travel of the worst tool point since the arm process started (arc length, from encoders)
    travel: float = 0.0
