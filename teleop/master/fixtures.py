"""Virtual fixtures on the console's side: where the target may be. All in the arm's base frame, metres.

They help the hand; they protect nobody (the governor's corridor and keep-outs do, on the robot's side). `project`
gives the allowed pose for a wished one and is the identity on allowed poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians, tan
from typing import Protocol

from teleop.geometry import Pose, Vec3, dot, norm, quat_conjugate, quat_normalize, quat_rotate, unit
from teleop.master.vectors import add, scaled, sub, swing_to

TOOL_AXIS: Vec3 = (0.0, 0.0, 1.0)


class Fixture(Protocol):
    """name: for reports. zone: True for a forbidden region (not convex: the target slides round it, see
    `shaping`)."""

    @property
    def name(self) -> str: ...

    @property
    def zone(self) -> bool: ...

    def project(self, wish: Pose) -> Pose:
        """The allowed pose."""


def _split(p: Sequence[float], point: Sequence[float], axis: Vec3) -> tuple[float, Vec3]:
    """(distance along the axis from `point`, vector from the axis to p)."""
    d = sub(p, point)
    h = dot(d, axis)
    return h, sub(d, scaled(axis, h))


@dataclass(frozen=True)
class AxisGuide:
    """Stay within `width` of the line through `point` along `direction` (the drilling direction); `align` turns the
    tool's axis onto it as well."""

    point: Vec3
    direction: Vec3
    width: float = 0.0
    align: bool = True
    name: str = "axis guide"
    zone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "direction", unit(self.direction))
        if self.width < 0.0:
            raise ValueError(f"axis guide: width {self.width} m is negative")

    def project(self, wish: Pose) -> Pose:
        h, off = _split(wish, self.point, self.direction)
        n = norm(off)
        k = 1.0 if n <= self.width or n == 0.0 else self.width / n
        p = add(self.point, add(scaled(self.direction, h), scaled(off, k)))
        return (*p, *(swing_to(wish[3:], TOOL_AXIS, self.direction) if self.align else wish[3:]))


@dataclass(frozen=True)
class Cone:
    """A funnel toward the entry point: at height h above it (against `direction`) no further from the axis than
    mouth + h tan(half_angle); below the entry no further than `mouth`."""

    entry: Vec3
    direction: Vec3
    half_angle: float = radians(20.0)
    mouth: float = 0.001
    name: str = "cone"
    zone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "direction", unit(self.direction))
        if not 0.0 < self.half_angle < radians(80.0):
            raise ValueError(f"cone: half angle {self.half_angle} rad is outside 0 .. 80 deg")
        if self.mouth < 0.0:
            raise ValueError(f"cone: mouth {self.mouth} m is negative")

    def project(self, wish: Pose) -> Pose:
        h, off = _split(wish, self.entry, self.direction)
        n = norm(off)
        allowed = self.mouth + max(0.0, -h) * tan(self.half_angle)
        if n <= allowed:
            return wish
        return (*add(self.entry, add(scaled(self.direction, h), scaled(off, allowed / n))), *wish[3:])


@dataclass(frozen=True)
class ForbiddenCapsule:
    """Stay out of everything within `radius` of the segment a-b (a sphere where a equals b)."""

    a: Vec3
    b: Vec3
    radius: float
    name: str = "forbidden zone"
    zone: bool = True

    def __post_init__(self) -> None:
        if not self.radius > 0.0:
            raise ValueError(f"forbidden zone: radius {self.radius} m must be positive")

    def project(self, wish: Pose) -> Pose:
        ab = sub(self.b, self.a)
        length2 = dot(ab, ab)
        u = 0.0 if length2 == 0.0 else max(0.0, min(1.0, dot(sub(wish, self.a), ab) / length2))
        foot = add(self.a, scaled(ab, u))
        out = sub(wish, foot)
        n = norm(out)
        if n >= self.radius:
            return wish
        if n < 1e-12:
            out, n = ((0.0, 0.0, 1.0) if abs(ab[2]) < 0.9 * norm(ab) or length2 == 0.0 else (1.0, 0.0, 0.0)), 1.0
        return (*add(foot, scaled(out, self.radius / n)), *wish[3:])


@dataclass(frozen=True)
class ForbiddenHalfSpace:
    """Stay on the side of the plane through `point` that `normal` points to."""

    point: Vec3
    normal: Vec3
    name: str = "forbidden side"
    zone: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "normal", unit(self.normal))

    def project(self, wish: Pose) -> Pose:
        h = dot(sub(wish, self.point), self.normal)
        return wish if h >= 0.0 else (*add(wish, scaled(self.normal, -h)), *wish[3:])


@dataclass(frozen=True)
class AxisLocks:
    """Keep chosen translations of the axes of `frame` (a quaternion in base) at those of `origin`, a pose."""

    origin: Pose
    locked: tuple[bool, bool, bool]
    frame: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    name: str = "axis lock"
    zone: bool = False

    def project(self, wish: Pose) -> Pose:
        q = quat_normalize(self.frame)
        d = quat_rotate(quat_conjugate(q), sub(wish, self.origin))
        kept = tuple(0.0 if lock else v for v, lock in zip(d, self.locked, strict=True))
        return (*add(self.origin, quat_rotate(q, kept)), *wish[3:])
