"""`MasterSample`: what one reading of a master device really said. The browser page sends the same type over its
websocket."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from teleop.geometry import Pose, check_pose

#: Buttons with a meaning to the hand; a device may report others, which only the console looks at.
DEADMAN, CLUTCH, STOP = "deadman", "clutch", "stop"


@dataclass(frozen=True, slots=True)
class MasterSample:
    """One reading. Fields that the device does not have are None: nothing is made up.

    device:   name of the device, unique at a console.
    seq:      counter of readings; a reading that repeats a seq is not a new reading.
    t_device: the device's own clock, ns, None where it has none (display and checks; never drives a filter).
    t_host:   console monotonic clock when read, ns. The only time that processing uses.
    pose:     master_T_grip (metres, unit quaternion) of a device that measures a pose; absolute, never an increment.
    twist:    six deflections -1..1 (x, y, z, about x, about y, about z) of a device that measures a rate.
    wrench:   force and torque of the operator on the device, N and Nm, where measured.
    gripper:  opening angle, rad, where there is a gripper.
    buttons:  names of the buttons held now; `deadman`, `clutch`, `stop` mean something to the hand.
    connected: False in the last sample of a device that has gone: this is a deadman release.
    saturated: names of the axes at the end of their range.
    note:     what was wrong with the reading, "" when nothing.
    """

    device: str
    seq: int
    t_device: int | None
    t_host: int
    pose: Pose | None = None
    twist: tuple[float, ...] | None = None
    wrench: tuple[float, ...] | None = None
    gripper: float | None = None
    buttons: frozenset[str] = field(default_factory=frozenset)
    connected: bool = True
    saturated: tuple[str, ...] = ()
    note: str = ""

    @property
    def deadman(self) -> bool:
        """True while the operator holds the deadman of a device that is there."""
        return self.connected and DEADMAN in self.buttons

    def to_wire(self) -> dict[str, Any]:
        """A map of msgpack/JSON types, the inverse of `sample_from_wire`."""
        return {
            "device": self.device,
            "seq": self.seq,
            "t_device": self.t_device,
            "pose": list(self.pose) if self.pose else None,
            "twist": list(self.twist) if self.twist else None,
            "wrench": list(self.wrench) if self.wrench else None,
            "gripper": self.gripper,
            "buttons": sorted(self.buttons),
            "connected": self.connected,
        }


_KEYS = frozenset({"device", "seq", "t_device", "pose", "twist", "wrench", "gripper", "buttons", "connected"})
_REQUIRED = frozenset({"device", "seq", "buttons"})


def sample_from_wire(message: Any, t_host: int) -> MasterSample:
    """A sample as a page or another process sent it, checked field by field. Raises ValueError saying which field and
    why.

    `t_host` is stamped here, by the receiver: a sender's clock drives nothing.
    """
    if not isinstance(message, dict):
        raise ValueError(f"a master sample is a map, got {type(message).__name__}")
    unknown, missing = set(message) - _KEYS, _REQUIRED - set(message)
    if unknown or missing:
        raise ValueError(f"master sample: unknown fields {sorted(map(str, unknown))}, missing {sorted(missing)}")
    device, seq, t_device = message["device"], message["seq"], message.get("t_device")
    if not isinstance(device, str) or not 0 < len(device) <= 64:
        raise ValueError("master sample: `device` must be a name of 1..64 characters")
    if type(seq) is not int or not 0 <= seq < 2**63:
        raise ValueError(f"master sample of {device}: `seq` must be an integer >= 0, got {seq!r}")
    if t_device is not None and (
        type(t_device) not in (int, float) or not isfinite(t_device) or abs(t_device) >= 2**63
    ):
        raise ValueError(f"master sample of {device}: `t_device` must be ns or null, got {t_device!r}")
    pose = message.get("pose")
    twist, saturated = _vector(message.get("twist"), device, "twist", limit=1.0)
    wrench, _ = _vector(message.get("wrench"), device, "wrench", limit=None)
    gripper = message.get("gripper")
    if gripper is not None and (type(gripper) not in (int, float) or not isfinite(gripper)):
        raise ValueError(f"master sample of {device}: `gripper` must be a finite angle in rad or null, got {gripper!r}")
    buttons = message["buttons"]
    if (
        not isinstance(buttons, list | tuple)
        or len(buttons) > 64
        or not all(isinstance(b, str) and len(b) <= 32 for b in buttons)
    ):
        raise ValueError(f"master sample of {device}: `buttons` must be a list of at most 64 names")
    if pose is not None:
        try:
            pose = check_pose(pose)
        except ValueError as e:
            raise ValueError(f"master sample of {device}: {e}") from e
    connected = message.get("connected", True)
    if type(connected) is not bool:
        raise ValueError(f"master sample of {device}: `connected` must be true or false, got {connected!r}")
    return MasterSample(
        device=device,
        seq=seq,
        t_device=None if t_device is None else int(t_device),
        t_host=t_host,
        pose=pose,
        twist=twist,
        wrench=wrench,
        gripper=None if gripper is None else float(gripper),
        buttons=frozenset(buttons),
        connected=connected,
        saturated=saturated,
    )


AXES = ("x", "y", "z", "rx", "ry", "rz")


def _vector(
    values: Any, device: str, name: str, limit: float | None
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Six finite numbers or None; values beyond `limit` are clamped and their axes named as saturated."""
    if values is None:
        return None, ()
    if not isinstance(values, list | tuple) or len(values) != 6:
        raise ValueError(f"master sample of {device}: `{name}` must be 6 numbers (x, y, z, rx, ry, rz) or null")
    if not all(type(v) in (int, float) and isfinite(v) for v in values):
        raise ValueError(f"master sample of {device}: `{name}` must be finite numbers, got {values!r}")
    if limit is None:
        return tuple(float(v) for v in values), ()
    saturated = tuple(a for a, v in zip(AXES, values, strict=True) if abs(v) >= limit)
    return tuple(max(-limit, min(limit, float(v))) for v in values), saturated
