"""The few vector operations that `teleop.geometry` leaves out and the hand needs at 1 kHz; plain tuples, metres,
radians."""

from collections.abc import Sequence
from math import cos, sin

from teleop.geometry import Quat, Vec3, angle_between, cross, norm, quat_multiply, quat_normalize, quat_rotate, unit


def add(a: Sequence[float], b: Sequence[float]) -> Vec3:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def sub(a: Sequence[float], b: Sequence[float]) -> Vec3:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def scaled(a: Sequence[float], s: float) -> Vec3:
    return a[0] * s, a[1] * s, a[2] * s


def swing_to(q: Sequence[float], tool_axis: Sequence[float], direction: Sequence[float]) -> Quat:
    """The smallest turn of orientation q after which its `tool_axis` (tool frame, unit) points along `direction`
    (base, unit)."""
    now = quat_rotate(q, tool_axis)
    angle = angle_between(now, direction)
    axis = cross(now, direction)
    if norm(axis) < 1e-12:
        if angle < 1.0:
            return quat_normalize(q)
        # exactly opposite: every perpendicular axis is as short as any other
        axis = cross(now, (1.0, 0.0, 0.0) if abs(now[0]) < 0.9 else (0.0, 1.0, 0.0))
    axis = unit(axis)
    s, c = sin(0.5 * angle), cos(0.5 * angle)
    return quat_normalize(quat_multiply((axis[0] * s, axis[1] * s, axis[2] * s, c), q))
