"""The `MasterDevice` protocol: everything that a hand can hold, behind four calls.

A device is opened, read, closed; force goes back where it can. Capabilities are known before connecting, so that a
console can offer a device, or say why not, without touching it (the idea of lerobot's feature dictionaries). `read`
never blocks and never raises for what a device does: a device that goes away says so in its last sample
(`connected=False`), and that is a deadman release.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from teleop.master.sample import MasterSample


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a device can do.

    kind:      "pose" (absolute pose of a grip) or "rate" (deflection that asks for a velocity).
    dof:       six flags (x, y, z, rx, ry, rz): the axes it really measures.
    deadman:   it has a button that serves as deadman. Without one it cannot move an arm.
    orientation: it measures an absolute orientation, so the aligning state has something to compare.
    gripper, force: has a gripper; can render forces (then `stiffness_max`/`damping` say how much, see
        `teleop.master.haptics`).
    rate_hz:   readings a second it should deliver; the guard reports a device that departs from it.
    grade:     "native" (own process next to the console), "browser" (a page can stall: lower speed caps), "recorded",
        "scripted".
    damping:   physical damping of the device, N s/m (0 unknown: no forces are rendered).
    """

    name: str
    kind: Literal["pose", "rate"]
    dof: tuple[bool, bool, bool, bool, bool, bool]
    rate_hz: float
    deadman: bool = True
    orientation: bool = False
    gripper: bool = False
    force: bool = False
    grade: Literal["native", "browser", "recorded", "scripted"] = "native"
    damping: float = 0.0


class MasterDevice(Protocol):
    """A master device. One owner, one thread; `now_ns` is the console's monotonic clock."""

    @property
    def capabilities(self) -> Capabilities:
        """Known before `connect`."""

    def connect(self) -> None:
        """Open it. Raises OSError (not there, no permission) with a sentence that says what to do."""

    def read(self, now_ns: int) -> MasterSample | None:
        """The newest reading since the last call, or None when there is no new one. Never blocks, never raises."""

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        """Render a wrench (N, Nm, master frame) at the grip. False where the device cannot."""

    def disconnect(self) -> None:
        """Close it; allowed at any time, also twice."""
