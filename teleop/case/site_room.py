"""`SiteRoom`: the desk's `Room` at a real or simulated site, fed by the case node's loop, used by the desk's thread.

The loop calls `feed_*`; the desk's thread waits on one condition. Governor orders go out through the loop (the socket
has one owner) and come back through `feed_governor`.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teleop.case.bedside_questions import Questions
from teleop.case.room import ArmView, RoomError, TrackerFrame

#: Encoder state older than this is no state (s): five periods of the slowest telemetry (10 Hz, parked).
ARM_FRESH_S = 0.5


class Senses(Protocol):
    """What only the bedside can do: touch with the probe, ask for a breath-hold. In simulation: the room's own door."""

    def touch(self, landmark: str) -> NDArray[np.float64]: ...
    def breath_hold(self, on: bool) -> None: ...


class SiteRoom:
    """See the module. `log_step(who, step, detail)` writes a case event; it is called from the desk's thread."""

    def __init__(self, senses: Senses, questions: Questions, log_step: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._senses = senses
        self._questions = questions
        self._log_step = log_step
        self._changed = threading.Condition()
        self._arm: ArmView | None = None
        self._frames: deque[TrackerFrame] = deque(maxlen=500)
        self._line: deque[dict[str, Any]] = deque(maxlen=2000)
        self._outbox: deque[dict[str, Any]] = deque()
        self._replies: dict[int, dict[str, Any]] = {}
        self._ids = itertools.count(1)

    # --- called by the loop ----------------------------------------------------------------------------------------

    def feed_arm(self, view: ArmView) -> None:
        with self._changed:
            self._arm = view
            self._changed.notify_all()

    def feed_tracker(self, frame: TrackerFrame) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()

    def feed_link(self, stats: dict[str, Any]) -> None:
        with self._changed:
            self._line.append(stats)

    def feed_governor(self, reply: dict[str, Any]) -> None:
        with self._changed:
            self._replies[int(reply["id"])] = reply
            self._changed.notify_all()

    def take_orders(self) -> list[dict[str, Any]]:
        """Orders to send to the governor now: {"id", "order"}."""
        with self._changed:
            orders = list(self._outbox)
            self._outbox.clear()
        return orders

    # --- the desk's side (Room) ------------------------------------------------------------------------------------

    def arm(self) -> ArmView:
        with self._changed:
            if self._arm is None or time.monotonic_ns() - self._arm.stamp > ARM_FRESH_S * 1e9:
                raise RoomError("no fresh state of the arm; is the arm process running?")
            return self._arm

    def wait_standstill(self, timeout_s: float) -> ArmView:
        deadline = time.monotonic() + timeout_s
        still_since: int | None = None
        while True:
            view = self.arm()
            if view.drive in ("standstill", "parked"):
                still_since = still_since or view.stamp
                if view.drive == "parked" or view.stamp - still_since >= 100_000_000:
                    return view
            else:
                still_since = None
            if time.monotonic() > deadline:
                raise RoomError(f"the arm did not come to a standstill in {timeout_s:g} s (drive: {view.drive})")
            with self._changed:
                self._changed.wait(0.05)

    def tracker_frames(self, count: int, timeout_s: float) -> list[TrackerFrame]:
        start = time.monotonic_ns()
        deadline = time.monotonic() + timeout_s

        def seen() -> list[TrackerFrame]:
            return [
                f for f in self._frames
                if f.stamp >= start and f.tracker_T_guide is not None and f.tracker_T_reference is not None
            ]

        with self._changed:
            while len(frames := seen()) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RoomError(
                        f"the tracker showed guide and reference together in {len(frames)} of {count} frames within "
                        f"{timeout_s:g} s; is the line of sight free?"
                    )
                self._changed.wait(left)
            return frames[:count]

    def touch(self, landmark: str) -> NDArray[np.float64]:
        return self._senses.touch(landmark)

    def breath_hold(self, on: bool) -> None:
        self._senses.breath_hold(on)

    def line(self, seconds: float) -> list[dict[str, Any]]:
        with self._changed:
            self._line.clear()
            self._changed.wait_for(lambda: False, seconds)
            return list(self._line)

    def governor(self, order: dict[str, Any]) -> dict[str, Any]:
        id_ = next(self._ids)
        with self._changed:
            self._outbox.append({"id": id_, "order": order})
            if not self._changed.wait_for(lambda: id_ in self._replies, 5.0):
                raise RoomError(f"the governor did not answer {order.get('op')!r} in 5 s")
            return self._replies.pop(id_)

    def ask_bedside(self, kind: str, sentence: str, detail: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        return self._questions.ask(kind, sentence, detail, timeout_s)

    def log(self, who: str, step: str, detail: dict[str, Any]) -> None:
        self._log_step(who, step, detail)
