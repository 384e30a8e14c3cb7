"""Operator present, for masters without a sensor: a small pinch or twist that nobody makes by accident.

As the dVRK does it (mtsTeleOperationPSM): the gripper's range reaches 40 deg, or the roll's range 4 deg, or both
together 80 % of the sum of the two.
"""

from math import radians

from teleop.geometry import quat_conjugate, quat_multiply, quat_to_rotvec
from teleop.master.sample import MasterSample

GRIPPER_RANGE = radians(40.0)
ROLL_RANGE = radians(4.0)
TOGETHER = 0.8 * (GRIPPER_RANGE + ROLL_RANGE)


class PresenceGesture:
    """`seen` turns true once the gesture was made since `reset`. Roll is about the grip's own z axis."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seen = False
        self._gripper: tuple[float, float] | None = None
        self._roll: tuple[float, float] | None = None
        self._q0: tuple[float, ...] | None = None

    def step(self, sample: MasterSample | None) -> bool:
        """Look at one reading; returns `seen`."""
        if sample is None or self.seen:
            return self.seen
        if sample.gripper is not None:
            self._gripper = _widen(self._gripper, sample.gripper)
        if sample.pose is not None:
            if self._q0 is None:
                self._q0 = sample.pose[3:]
            roll = quat_to_rotvec(quat_multiply(quat_conjugate(self._q0), sample.pose[3:]))[2]
            self._roll = _widen(self._roll, roll)
        g, r = _span(self._gripper), _span(self._roll)
        self.seen = g >= GRIPPER_RANGE or r >= ROLL_RANGE or g + r >= TOGETHER
        return self.seen


def _widen(span: tuple[float, float] | None, value: float) -> tuple[float, float]:
    return (value, value) if span is None else (min(span[0], value), max(span[1], value))


def _span(span: tuple[float, float] | None) -> float:
    return 0.0 if span is None else span[1] - span[0]
