"""Scripted hands: minimum-jerk reaches with physiological tremor, as a function of time and nothing else.

Minimum jerk: x(u) = x0 + (x1 - x0) (10 u^3 - 15 u^4 + 6 u^5) (Flash and Hogan, J Neurosci 1985). Physiological
tremor: a band of 8-12 Hz of about 50 um rms at a surgeon's instrument tip (Riviere, Rader and Khosla, EMBS 1997;
peak-to-peak around 100-200 um); here a sum of sines with seeded phases, so that any sampling rate sees the same hand.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sin, sqrt

from teleop.geometry import Pose, interpolate
from teleop.master.device import Capabilities
from teleop.master.sample import MasterSample
from teleop.master.vectors import add


def minimum_jerk(u: float) -> float:
    """Progress 0..1 at time fraction u (clamped): velocity and acceleration are zero at both ends."""
    u = 0.0 if u < 0.0 else 1.0 if u > 1.0 else u
    return u * u * u * (10.0 + u * (-15.0 + 6.0 * u))


@dataclass(frozen=True, slots=True)
class Reach:
    """Be at `goal` (master frame) at `until` (s), starting at `start` (s), with these buttons held meanwhile."""

    start: float
    until: float
    goal: Pose
    buttons: frozenset[str] = frozenset({"deadman"})


class Tremor:
    """A displacement (m) by time (s): `lines` sines between 8 and 12 Hz on each axis, `rms` metres per axis."""

    def __init__(
        self, rms: float = 50e-6, seed: int = 0, lines: int = 7, band: tuple[float, float] = (8.0, 12.0)
    ) -> None:
        rng = random.Random(seed)
        amplitude = rms * sqrt(2.0 / lines)
        step = (band[1] - band[0]) / lines
        self._axes = [
            [(amplitude, band[0] + (i + rng.random()) * step, 2.0 * pi * rng.random()) for i in range(lines)]
            for _ in range(3)
        ]

    def at(self, t: float) -> tuple[float, float, float]:
        x, y, z = (sum(a * sin(2.0 * pi * f * t + p) for a, f, p in axis) for axis in self._axes)
        return x, y, z


class ScriptedDevice:
    """A hand that follows `reaches`, resting between them. Deterministic: `read(now)` depends on now, not on earlier
    reads.

    t_zero_ns is the moment (console clock) of script time 0; the first read sets it when not given.
    """

    def __init__(
        self,
        reaches: Sequence[Reach],
        start: Pose,
        tremor: Tremor | None = None,
        rate_hz: float = 100.0,
        t_zero_ns: int | None = None,
        name: str = "scripted",
    ) -> None:
        for before, after in itertools.pairwise(reaches):
            if after.start < before.until:
                raise ValueError(
                    f"scripted hand: a reach starts at {after.start} s before the last ends at {before.until} s"
                )
        for r in reaches:
            if r.until <= r.start:
                raise ValueError(f"scripted hand: a reach from {r.start} s must end later than {r.until} s")
        self.capabilities = Capabilities(name, "pose", (True,) * 6, rate_hz, orientation=True, grade="scripted")
        self._reaches, self._start, self._tremor = list(reaches), start, tremor
        self._zero, self._seq = t_zero_ns, -1

    def connect(self) -> None:
        """Nothing to open."""

    def pose_at(self, t: float) -> tuple[Pose, frozenset[str]]:
        """master_T_grip without tremor, and the buttons held, at script time t (s)."""
        at, buttons = self._start, frozenset[str]()
        for r in self._reaches:
            if t < r.start:
                break
            u = minimum_jerk((t - r.start) / (r.until - r.start))
            here = interpolate(at, r.goal, u)
            if t < r.until:
                return here, r.buttons
            at = r.goal
        return at, buttons

    def read(self, now_ns: int) -> MasterSample | None:
        if self._zero is None:
            self._zero = now_ns
        t = (now_ns - self._zero) * 1e-9
        seq = int(t * self.capabilities.rate_hz + 1e-6)
        if seq == self._seq or t < 0.0:
            return None
        self._seq = seq
        here, buttons = self.pose_at(t)
        if self._tremor is not None:
            here = (*add(here, self._tremor.at(t)), *here[3:])
        return MasterSample(self.capabilities.name, seq, now_ns - self._zero, now_ns, pose=here, buttons=buttons)

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return False

    def disconnect(self) -> None:
        """Nothing to close."""
