"""The target moves with bounded speed, acceleration and jerk, and never overshoots the hand.

Each step asks ruckig (time-optimal, jerk-limited, state to state, no waypoints) for the way from the limiter's state
to rest at the wished pose and goes along it for the time since the last step. Positions are limited in the base frame
with the speed limit shared among the axes along the way to go, so that the speed of the point stays within it;
orientation as a rotation vector about the orientation at the last reset. Below the limits the limiter trails the hand
by about sqrt(v / jerk): 10 ms at 10 mm/s.
"""

from dataclasses import dataclass

from ruckig import InputParameter, Result, Ruckig, Synchronization, Trajectory

from teleop.geometry import Pose, norm, quat_conjugate, quat_multiply, quat_normalize, quat_to_rotvec, rotvec_to_quat
from teleop.master.vectors import sub

#: Rotation vectors about the reset orientation are unique below pi; beyond this the operator must clutch.
LARGEST_TURN = 2.8
#: Every axis keeps this share of the limit, so that a correction across the way to go is not frozen.
LEAST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """speed m/s, acceleration m/s^2, jerk m/s^3 of the tip; turn, turn_acceleration, turn_jerk rad/s, rad/s^2,
    rad/s^3. Far above what the arm does (its own limits rule there): these make the *target* smooth."""

    speed: float = 0.05
    acceleration: float = 2.0
    jerk: float = 100.0
    turn: float = 0.5
    turn_acceleration: float = 20.0
    turn_jerk: float = 1000.0


class PoseLimiter:
    """`reset` puts it at rest at a pose; `step` moves it toward a wish."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._otg, self._in, self._way = Ruckig(6), InputParameter(6), Trajectory(6)
        a = self._limits
        self._in.max_acceleration = [a.acceleration] * 3 + [a.turn_acceleration] * 3
        self._in.max_jerk = [a.jerk] * 3 + [a.turn_jerk] * 3
        # each axis by itself: made to arrive together, an axis that is there already swings out and back (0.1 mm seen)
        self._in.synchronization = Synchronization.No
        self._in.target_velocity = [0.0] * 6
        self._in.target_acceleration = [0.0] * 6

    def reset(self, at: Pose) -> None:
        self._q0 = quat_normalize(at[3:])
        self._p, self._v, self._a = [*at[:3], 0.0, 0.0, 0.0], [0.0] * 6, [0.0] * 6
        self.pose: Pose = at
        self.too_far_turned = False

    def step(self, dt: float, wish: Pose, speed: float, turn: float) -> Pose:
        """The next target. dt s; speed m/s and turn rad/s: limits of this step (the smaller of these and the
        configured)."""
        if dt <= 0.0:
            return self.pose
        rv = quat_to_rotvec(quat_multiply(wish[3:], quat_conjugate(self._q0)))
        self.too_far_turned = norm(rv) > LARGEST_TURN
        goal = [*wish[:3], *(self._p[3:] if self.too_far_turned else rv)]
        still = self._v == [0.0] * 6 and self._a == [0.0] * 6
        if still and max(abs(g - p) for g, p in zip(goal, self._p, strict=True)) < 1e-12:
            return self.pose
        limits = _shares(goal, self._p, 0, min(speed, self._limits.speed)) + _shares(
            goal, self._p, 3, min(turn, self._limits.turn)
        )
        i = self._in
        i.current_position, i.current_velocity, i.current_acceleration = self._p, self._v, self._a
        i.target_position, i.max_velocity = goal, limits
        if self._otg.calculate(i, self._way) not in (Result.Working, Result.Finished):
            self._v, self._a = [0.0] * 6, [0.0] * 6  # stand still rather than follow a way that is not one
            return self.pose
        if dt >= self._way.duration:
            self._p, self._v, self._a = goal, [0.0] * 6, [0.0] * 6
        else:
            self._p, self._v, self._a = (list(x) for x in self._way.at_time(dt))
        self.pose = (*self._p[:3], *quat_normalize(quat_multiply(rotvec_to_quat(self._p[3:]), self._q0)))
        return self.pose

    def push(self, to: Pose) -> None:
        """A fixture moved the target: go on from there, without the velocity into it."""
        moved = sub(to, self.pose)
        n = norm(moved)
        if n > 0.0:
            into = sum(m * v for m, v in zip(moved, self._v, strict=False)) / n
            if into < 0.0:
                self._v = [v - into * m / n for v, m in zip(self._v, moved, strict=False)] + self._v[3:]
                self._a = [0.0] * 3 + self._a[3:]
        self._p = [*to[:3], *self._p[3:]]
        self.pose = (*to[:3], *self.pose[3:])


def _shares(goal: list[float], at: list[float], first: int, limit: float) -> list[float]:
    d = [abs(goal[k] - at[k]) for k in range(first, first + 3)]
    n = norm(d)
    w = [1.0, 1.0, 1.0] if n == 0.0 else [max(LEAST_SHARE, x / n) for x in d]
    k = max(limit, 1e-6) / norm(w)
    return [k * x for x in w]
