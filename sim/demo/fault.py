"""`--fault NAME@S`: one fault in the middle of a motion, and what came of it.

S counts seconds from the first lease; the fault strikes at the first look after S at which the arm's measured tip speed
is above 1 mm/s, so that it always meets a moving arm.
"""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

#: The arm counts as moving above this speed of the worst tool point (m/s).
MOVING_M_S = 1e-3
#: `link-cut` drops both paths for this long (s).
CUT_S = 2.0

NAMES = (
    "link-cut", "path-cut", "kill-governor", "kill-gateway", "kill-recorder", "kill-case", "kill-relay", "kill-arm",
    "kill-console",
)


class FaultError(ValueError):
    """Not a fault we know, or not a time."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What to do and when."""

    name: str
    at_s: float


def parse_fault(text: str) -> FaultPlan:
    """`link-cut@12` -> FaultPlan. Raises FaultError with the list of names."""
    match = re.fullmatch(r"([a-z-]+)@(\d+(?:\.\d+)?)", text)
    if not match or match.group(1) not in NAMES:
        raise FaultError(f"--fault {text!r}: write NAME@SECONDS with a name of {', '.join(NAMES)}")
    return FaultPlan(match.group(1), float(match.group(2)))


@dataclass
class Striker:
    """Watches one site and strikes once. `relay(command)` talks to the site's network emulator, `pid(name)` finds a
    process of the site."""

    plan: FaultPlan
    relay: Callable[[dict[str, object]], None]
    pid: Callable[[str], int]
    first_lease_ns: int = 0
    struck_ns: int = 0

    @property
    def killed(self) -> bool:
        """True once a process was killed by us."""
        return self.struck_ns > 0 and self.plan.name.startswith("kill-")

    def look(self, now_ns: int, lease_id: int, speed: float) -> bool:
        """One look at the arm; strikes when its time has come. True at the look at which it struck."""
        if self.struck_ns:
            return False
        if lease_id and not self.first_lease_ns:
            self.first_lease_ns = now_ns
        due = self.first_lease_ns and now_ns - self.first_lease_ns >= self.plan.at_s * 1e9
        if not due or speed <= MOVING_M_S:
            return False
        self.struck_ns = now_ns
        if self.plan.name == "link-cut":
            self.relay({"t": "cut", "seconds": CUT_S, "paths": [0, 1]})
        elif self.plan.name == "path-cut":
            self.relay({"t": "cut", "seconds": 10.0, "paths": [0]})
        else:
            os.kill(self.pid(self.plan.name.removeprefix("kill-")), signal.SIGKILL)
        return True
