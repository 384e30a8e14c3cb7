"""What a site has done since the console started: time in each state, holds, use, trend of its line, accuracy. A pure step."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

#: States in which somebody is working with the arm.
BUSY = frozenset({"ACTIVE", "DEGRADED", "PAUSE"})
TREND_NS = 1_000_000_000
TREND_KEPT = 600
#: A gap between two looks longer than this is time that nobody saw: it counts for no state.
UNSEEN_NS = 2_000_000_000


@dataclass(slots=True)
class Point:
    """One second of a line: the worst age (s), the quickest path's round trip (ms), loss (0..1), warning score."""

    t: float
    age_s: float | None
    rtt_ms: float | None
    loss: float | None
    score: float


@dataclass(slots=True)
class Tally:
    """Fed by `look`. Times ns of the console's monotonic clock, durations s. `accuracy`: newest result per screw."""

    began: int = -1
    at: int = -1
    state: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    unseen_s: float = 0.0
    holds: int = 0
    warnings: int = 0
    warned_holds: int = 0
    trend: deque[Point] = field(default_factory=lambda: deque(maxlen=TREND_KEPT))
    accuracy: dict[str, dict[str, Any]] = field(default_factory=dict)
    _worst_age: float = -1.0
    _next_point: int = 0

    def look(self, now: int, fresh: bool, state: str, age_s: float | None, score: float, warning: bool, line: dict[str, Any], case: dict[str, Any]) -> None:
        """One look. `fresh`: is there a state frame that is not old? `line`: {rtt_ms, loss}; `case`: as the snapshot has it."""
        if self.began < 0:
            self.began = now
        dt = max(0, now - self.at) if self.at >= 0 else 0
        self.at = now
        if not fresh or dt > UNSEEN_NS:
            self.unseen_s += dt / 1e9
        elif self.state:
            self.seconds[self.state] = self.seconds.get(self.state, 0.0) + dt / 1e9
        if fresh:
            if state == "HOLD" and self.state not in ("HOLD", ""):
                self.holds += 1
                self.warned_holds += warning
            self.state = state
        if age_s is not None and age_s > self._worst_age:
            self._worst_age = age_s
        if now >= self._next_point:
            self._next_point = now + TREND_NS
            worst = self._worst_age if self._worst_age >= 0 else None
            self.trend.append(Point(now / 1e9, worst, line.get("rtt_ms"), line.get("loss"), score))
            self._worst_age = -1.0
        last = case.get("last")
        if isinstance(last, dict) and last.get("screw") and last.get("lateral_mm") is not None:
            self.accuracy[str(last["screw"])] = {k: last.get(k) for k in ("lateral_mm", "angle_deg", "grade", "on_line")}

    @property
    def seen_s(self) -> float:
        return sum(self.seconds.values())

    @property
    def use(self) -> float | None:
        """Share of the time seen in which somebody worked with the arm."""
        return sum(s for name, s in self.seconds.items() if name in BUSY) / self.seen_s if self.seen_s else None

    @property
    def holds_per_hour(self) -> float | None:
        """Holds per hour of work, None before a minute of it."""
        busy = sum(s for name, s in self.seconds.items() if name in BUSY or name == "HOLD")
        return self.holds / busy * 3600.0 if busy >= 60.0 else None
