"""A fake external arm with a CRTK face, pure: for the tests of `CrtkArmDriver` and to try a client against. Simulated.

It has its own mind, as real controllers do: it answers late (`delay_ns`), enables and homes slowly, refuses
set-points that jump (`max_step`), stops
taking them when it is told to hold, pauses or faults, and says so only in its operating state. `step` moves it along;
everything it
publishes comes out of `published`, already delayed.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TRANSITIONS = {
    ("DISABLED", "enable"): "ENABLED",
    ("ENABLED", "disable"): "DISABLED",
    ("ENABLED", "pause"): "PAUSED",
    ("PAUSED", "resume"): "ENABLED",
    ("PAUSED", "disable"): "DISABLED",
    ("FAULT", "enable"): "ENABLED",
    ("FAULT", "disable"): "DISABLED",
}


@dataclass
class FakeCrtkArm:
    """names of the joints; q rad; delay of everything it says and hears, ns; enable and home take `slow_ns`; v_max
    rad/s of its own loop;
    max_step rad: a set-point further than this from the last is refused."""

    names: tuple[str, ...]
    q: np.ndarray
    delay_ns: int = 2_000_000
    slow_ns: int = 50_000_000
    v_max: float = 3.0
    max_step: float = 0.05
    publish_ns: int = 2_000_000
    state: str = "DISABLED"
    homed: bool = False
    refused: int = 0
    silent: bool = False
    invalid: bool = False
    spoil: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.q = np.array(self.q, dtype=np.float64)
        self.target = self.q.copy()
        self._in: deque[tuple[int, str, Any]] = deque()
        self._out: deque[tuple[int, str, Any]] = deque()
        self._later: list[tuple[int, str, Any]] = []
        self._last = 0
        self._next = 0

    def hear(self, now: int, topic: str, value: Any) -> None:
        """A message to the arm: state_command, servo_jp, hold."""
        self._in.append((now + self.delay_ns, topic, value))

    def fault(self) -> None:
        """Something broke: it stops and says FAULT."""
        self.state, self.target = "FAULT", self.q.copy()

    def step(self, now: int) -> None:
        """Its own controller, up to `now`."""
        while self._in and self._in[0][0] <= now:
            _, topic, value = self._in.popleft()
            self._take(now, topic, value)
        for due in [x for x in self._later if x[0] <= now]:
            self._later.remove(due)
            setattr(self, due[1], due[2])
        dt = min(0.05, (now - self._last) * 1e-9) if self._last else 0.0
        self._last = now
        if self.state == "ENABLED":
            self.q = self.q + np.clip(self.target - self.q, -self.v_max * dt, self.v_max * dt)
        if now >= self._next and not self.silent:
            self._next = now + self.publish_ns
            js = {
                "names": self.names,
                "position": self.q.tolist(),
                "velocity": (),
                "effort": (),
                "stamp": 0 if self.invalid else now,
            }
            self._out.append((now + self.delay_ns, "measured_js", js | self.spoil))
            self._out.append((now + self.delay_ns, "operating_state", (self.state, self.homed)))

    def published(self, now: int) -> list[tuple[str, Any]]:
        """What has arrived at a subscriber by now."""
        got = []
        while self._out and self._out[0][0] <= now:
            got.append(self._out.popleft()[1:])
        return got

    def _take(self, now: int, topic: str, value: Any) -> None:
        if topic == "state_command":
            after = TRANSITIONS.get((self.state, value))
            if after is not None:
                self._later.append((now + self.slow_ns, "state", after))
            elif value == "home" and self.state == "ENABLED":
                self._later.append((now + self.slow_ns, "homed", True))
        elif topic == "hold":
            self.target = self.q.copy()
        elif topic == "servo_jp":
            wish = np.array(value)
            if self.state != "ENABLED" or not self.homed or np.abs(wish - self.target).max() > self.max_step:
                self.refused += 1
            else:
                self.target = wish
