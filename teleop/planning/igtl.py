"""OpenIGTLink TRAJ: a plan's lines to a navigation system over TCP.

pyigtl has no TRAJECTORY class; this one subclasses its MessageBase (optional dependency, imported here only). One element is 150 bytes,
big-endian, as in the specification
(igtl_trajectory.h): name[64], group[32], type (1 entry, 2 target, 3 both), reserved, RGBA, entry float32[3], target float32[3], radius float32, owner[20].
OpenIGTLink does not say which frame positions are in; we send millimetres in LPS or RAS as asked and name it in the owner field (3D Slicer expects RAS).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from pyigtl.messages import MessageBase

from teleop.planning.plan import LinearTrajectory, PlanError

ELEMENT = struct.Struct(">64s32sbb4B3f3ff20s")
ENTRY_ONLY, TARGET_ONLY, ENTRY_TARGET = 1, 2, 3
Element = tuple[
    str, str, int, tuple[int, int, int, int], tuple[float, float, float], tuple[float, float, float], float, str
]


def _text(value: str, size: int) -> bytes:
    """ASCII, cut to the field; what does not fit the alphabet becomes '?'."""
    return value.encode("ascii", "replace")[:size]


class TrajectoryMessage(MessageBase):  # type: ignore[misc]
    """elements: [(name, group, type, rgba, entry_mm, target_mm, radius_mm, owner)]."""

    def __init__(
        self, elements: Iterable[Element] = (), timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp=timestamp, device_name=device_name)
        self._message_type = "TRAJ"
        self.elements = list(elements)
        self._valid_message = True

    def content_asstring(self) -> str:
        return "\n".join(f"{e[0]}: {e[4]} -> {e[5]}, radius {e[6]}" for e in self.elements)

    def _pack_content(self) -> bytes:
        return b"".join(
            ELEMENT.pack(_text(name, 64), _text(group, 32), kind, 0, *rgba, *entry, *target, radius, _text(owner, 20))
            for name, group, kind, rgba, entry, target, radius, owner in self.elements
        )

    def _unpack_content(self, content: bytes) -> None:
        if len(content) % ELEMENT.size:
            raise ValueError(f"TRAJ body of {len(content)} bytes is no multiple of {ELEMENT.size}")
        self.elements = []
        for at in range(0, len(content), ELEMENT.size):
            v = ELEMENT.unpack_from(content, at)
            name, group, owner = (v[i].split(b"\0")[0].decode("ascii", "replace") for i in (0, 1, 15))
            self.elements.append((name, group, v[2], v[4:8], v[8:11], v[11:14], v[14], owner))


def message(
    items: Iterable[LinearTrajectory],
    coordinates: str = "RAS",
    device: str = "Longhand",
    timestamp: float | None = None,
) -> TrajectoryMessage:
    """All lines of a plan as one TRAJ message. coordinates: 'RAS' or 'LPS', millimetres. Raises PlanError for another system."""
    if coordinates not in ("RAS", "LPS"):
        raise PlanError(f"coordinates must be RAS or LPS, got {coordinates!r}")
    sign = -1.0 if coordinates == "RAS" else 1.0
    elements: list[Element] = []
    for item in items:
        if item.entry_lps_mm is None or item.tip_lps_mm is None:
            continue
        e, t = item.entry_lps_mm, item.tip_lps_mm
        colour = (0, 200, 0, 255) if item.status == "OK" else (230, 160, 0, 255)
        elements.append(
            (
                item.id,
                item.kind,
                ENTRY_TARGET,
                colour,
                (sign * e[0], sign * e[1], e[2]),
                (sign * t[0], sign * t[1], t[2]),
                item.diameter_mm / 2.0,
                coordinates,
            )
        )
    return TrajectoryMessage(elements, timestamp, device)


def send(
    items: Iterable[LinearTrajectory], host: str, port: int, coordinates: str = "RAS", timeout_s: float = 5.0
) -> int:
    """Connect to an OpenIGTLink server (3D Slicer: 18944) and send the lines; returns the bytes sent. Raises OSError when nobody listens."""
    data = message(items, coordinates).pack()
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        connection.sendall(data)
    return len(data)
