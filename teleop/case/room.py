"""`Room`: what the case desk of a hospital can see and ask for at its own site, as a protocol.

The ROS node implements it with topics and sockets, a test with plain objects. Nothing here is the simulator's truth:
a room shows encoders, the tracker and touches, as a real site would.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrackerFrame:
    """One frame of the optical tracker: both poses (4,4) in the tracker frame, metres; None where not visible."""

    stamp: int
    tracker_T_guide: NDArray[np.float64] | None
    tracker_T_reference: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class ArmView:
    """Newest encoder state of the arm: q (rad), base_T_tip (4,4) by nominal kinematics, drive word, robot stamp ns."""

    stamp: int
    q: tuple[float, ...]
    base_T_tip: NDArray[np.float64]
    drive: str


class RoomError(RuntimeError):
    """The room could not do what was asked (tracker blind, arm silent, touch refused); the text says which."""


class Room(Protocol):
    """The desk's senses and hands at the site. All calls may block up to their time-out and raise RoomError."""

    def arm(self) -> ArmView:
        """The newest state; RoomError when it is older than 0.5 s."""
        ...

    def wait_standstill(self, timeout_s: float) -> ArmView:
        """Wait until the drive reports standstill (or parked) twice, 0.1 s apart."""
        ...

    def tracker_frames(self, count: int, timeout_s: float) -> list[TrackerFrame]:
        """`count` fresh frames in which both bodies are visible."""
        ...

    def touch(self, landmark: str) -> NDArray[np.float64]:
        """The bedside doctor touches a landmark with the tracked probe: its point (3,) in `ref`, metres."""
        ...

    def breath_hold(self, on: bool) -> None:
        """Ask the anaesthetist to hold (or resume) the patient's breath."""
        ...

    def line(self, seconds: float) -> list[dict[str, Any]]:
        """The site's own link statistics of the next `seconds`: maps with path, alive, rtt_ms_p50, loss, jitter_ms ..."""
        ...

    def governor(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give the governor an order of this site and wait for its reply."""
        ...

    def ask_bedside(self, kind: str, sentence: str, detail: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Put a question to the bedside doctor and wait for the answer: {"ok": bool, "who": str, ...}."""
        ...

    def log(self, who: str, step: str, detail: dict[str, Any]) -> None:
        """Write one step of the workflow into the session log."""
        ...
