"""Admittance along the screw axis only: the operator's push becomes a speed along the axis, and nothing else.

    v = (|f| - deadband) / damping, toward the push, at most `speed`;  f: measured push along the axis, or spring k of
    the hand's lead

Off-axis force and torque are ignored, and so is where the hand is across the axis. No push, no motion; a push that is
not measured for one step is no push.
"""

from dataclasses import dataclass

from teleop.geometry import Pose, Vec3, dot, unit
from teleop.master.vectors import add, scaled, sub


@dataclass(frozen=True)
class AxisAdmittance:
    """direction (drilling) in base; damping N s/m; deadband N; speed m/s; spring N/m for hands without a
    force sensor."""

    direction: Vec3
    damping: float = 1000.0
    deadband: float = 0.5
    speed: float = 0.002
    spring: float = 200.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "direction", unit(self.direction))
        if not (self.damping > 0.0 and self.deadband >= 0.0 and self.speed > 0.0 and self.spring > 0.0):
            raise ValueError("admittance: damping, speed and spring must be positive, the dead band not negative")

    def push(self, hand: Pose, at: Pose, wrench: tuple[float, ...] | None) -> float:
        """Push along the axis, N: measured (base frame) or the spring between where the hand wants to be and where it
        is."""
        if wrench is not None:
            return dot(wrench[:3], self.direction)
        return self.spring * dot(sub(hand, at), self.direction)

    def step(self, at: Pose, push: float, dt: float) -> Pose:
        """The next target: `at`, moved along the axis by the push. Nothing else of it changes."""
        f = abs(push) - self.deadband
        v = 0.0 if f <= 0.0 else min(self.speed, f / self.damping) * (1.0 if push > 0.0 else -1.0)
        return (*add(at, scaled(self.direction, v * dt)), *at[3:])
