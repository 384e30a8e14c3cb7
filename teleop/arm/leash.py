"""Jerk-limited following of a moving target in R^d with the *speed of the worst tool point* kept under a cap.

Ruckig limits each axis by itself; a box of limits either wastes speed (cap / sqrt(d) per axis) or lets the Euclidean
norm overshoot. So each tick the axes are turned (Householder) so that the first one points along the way to the
target: it gets 95 % of the cap, the others share 5 %, enough to brake what is left over of the previous direction. A
guard looks at where the speed would peak if the acceleration were taken back (v + a|a|/2j) and brakes for a tick
instead whenever that peak exceeds the cap; so a cap lowered below the present speed, or a target that jumps sideways,
ends in braking, never in a peak.

A stop turns the first axis along the present velocity and takes all axes to rest as fast as the limits allow, which
is a straight line from steady motion. All functions are pure; the ruckig objects are work space (`calculate`, never
`update`, never way-points). Units: whatever metric the caller chose; `gain(u)` is the worst tool point's speed (m/s)
per unit of speed along the unit direction u, and turns the limits (m/s, m/s^2, m/s^3) into that metric.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from ruckig import (  # type: ignore[attr-defined]
    ControlInterface,
    InputParameter,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from teleop.arm import kernels

Array = NDArray[np.float64]

#: Share of the cap for the way to the target; the rest is for what is left over of other directions.
MAIN_SHARE = 0.95
#: Below this distance (m in the metric) a target counts as reached and gives no direction.
REACHED = 1e-9


class TrajectoryError(RuntimeError):
    """Ruckig refused the problem (non-finite numbers, impossible limits): the caller stops."""


@dataclass(frozen=True, slots=True)
class Limits:
    """v (m/s of the worst tool point), a (m/s^2), j (m/s^3), and the largest speed in the metric along one axis
    (`axis_speed`, for example a joint's rad/s)."""

    v: float
    a: float
    j: float
    axis_speed: float = float("inf")
    axis_acceleration: float = float("inf")


class Leash:
    """Work space for one dimension d."""

    def __init__(self, d: int) -> None:
        self.d = d
        self._otg = Ruckig(d)
        self._in = InputParameter(d)
        self._in.synchronization = Synchronization.No
        self._out = Trajectory(d)
        self._work = np.empty(d)

    def _solve(self, dt: float) -> tuple[Array, Array, Array, float]:
        try:
            result = self._otg.calculate(self._in, self._out)
        except RuckigError as error:
            raise TrajectoryError(str(error)) from error
        if int(result) < 0:
            raise TrajectoryError(f"ruckig: {result}")
        x, v, a = self._out.at_time(dt)
        return np.array(x), np.array(v), np.array(a), float(self._out.duration)

    def _turn(self, u: Array, x: Array) -> Array:
        kernels.reflect(u, x, self._work)
        return self._work.copy()

    def stop(
        self, v: Array, a: Array, limits: Limits, gain: Callable[[Array], float], dt: float
    ) -> tuple[Array, Array, Array]:
        """One tick of coming to rest: (displacement, v, a). Exactly zero v and a once at rest."""
        speed = sqrt(float(v @ v))
        size = sqrt(float(a @ a))
        if speed == 0.0 and size == 0.0:
            return np.zeros(self.d), v, a
        u = v / speed if speed > 1e-12 else (a / size if size > 1e-12 else np.eye(self.d)[0])
        g = max(gain(u), 1e-9)
        acc = min(limits.a / g, limits.axis_acceleration)
        jerk = limits.j * acc / limits.a
        p = self._in
        p.control_interface = ControlInterface.Velocity
        p.current_position = [0.0] * self.d
        p.current_velocity = self._turn(u, v).tolist()
        p.current_acceleration = self._turn(u, a).tolist()
        p.target_velocity = [0.0] * self.d
        p.target_acceleration = [0.0] * self.d
        p.max_acceleration = [acc] * self.d
        p.max_jerk = [jerk] * self.d
        x, v1, a1, duration = self._solve(dt)
        if duration <= dt:
            return self._turn(u, x), np.zeros(self.d), np.zeros(self.d)
        return self._turn(u, x), self._turn(u, v1), self._turn(u, a1)

    def track(
        self,
        error: Array,
        v: Array,
        a: Array,
        limits: Limits,
        gain: Callable[[Array], float],
        gain_any: float,
        dt: float,
    ) -> tuple[Array, Array, Array]:
        """One tick towards a target that lies `error` away: (displacement, v, a). `gain_any` bounds gain(u) over all
        u."""
        dist = sqrt(float(error @ error))
        speed = sqrt(float(v @ v))
        if dist <= REACHED and speed < 1e-9:
            return error.copy(), np.zeros(self.d), np.zeros(self.d)
        u = error / dist if dist > 1e-7 else (v / speed if speed > 1e-12 else np.eye(self.d)[0])
        g = max(gain(u), 1e-9)
        acc = min(limits.a / g, limits.axis_acceleration)
        jerk = limits.j * acc / limits.a
        # v * acc / a: where an axis limit slows braking down, the speed shrinks with it, so that no stop gets longer
        main = min(MAIN_SHARE * limits.v / g, MAIN_SHARE * limits.v * acc / limits.a, limits.axis_speed)
        side = (1.0 - MAIN_SHARE) * limits.v / (gain_any * sqrt(self.d - 1)) if self.d > 1 else main
        p = self._in
        p.control_interface = ControlInterface.Position
        p.current_position = [0.0] * self.d
        p.current_velocity = self._turn(u, v).tolist()
        p.current_acceleration = self._turn(u, a).tolist()
        p.target_position = self._turn(u, error).tolist()
        p.target_velocity = [0.0] * self.d
        p.target_acceleration = [0.0] * self.d
        p.max_velocity = [main] + [side] * (self.d - 1)
        p.max_acceleration = [acc] * self.d
        p.max_jerk = [jerk] * self.d
        x, v1, a1, duration = self._solve(dt)
        if duration <= dt:
            return self._turn(u, x), np.zeros(self.d), np.zeros(self.d)
        peak = v1 + a1 * np.abs(a1) / (2.0 * jerk)
        highest = np.where(np.abs(peak) > np.abs(v1), peak, v1)
        b = self._turn(u, highest)
        length = sqrt(float(b @ b))
        if length > 1e-12 and gain(b / length) * length > limits.v:
            return self.stop(v, a, limits, gain, dt)
        return self._turn(u, x), self._turn(u, v1), self._turn(u, a1)


class Rail:
    """The same in one dimension, along a stored path: never backwards, never past the permitted arc length."""

    def __init__(self) -> None:
        self._otg = Ruckig(1)
        self._in = InputParameter(1)
        self._out = Trajectory(1)

    def _run(self, dt: float) -> tuple[float, float, float, float, float]:
        try:
            result = self._otg.calculate(self._in, self._out)
        except RuckigError as error:
            raise TrajectoryError(str(error)) from error
        if int(result) < 0:
            raise TrajectoryError(f"ruckig: {result}")
        x, v, a = self._out.at_time(dt)
        end = self._out.at_time(self._out.duration)[0][0]
        return x[0], v[0], a[0], float(self._out.duration), end

    def _stop(self, v: float, a: float, acc: float, jerk: float, dt: float) -> tuple[float, float, float, float]:
        p = self._in
        p.control_interface = ControlInterface.Velocity
        p.current_position, p.current_velocity, p.current_acceleration = [0.0], [v], [a]
        p.target_velocity, p.target_acceleration = [0.0], [0.0]
        p.max_acceleration, p.max_jerk = [acc], [jerk]
        x, v1, a1, duration, end = self._run(dt)
        if duration <= dt:
            return end, 0.0, 0.0, end
        return x, v1, a1, end

    def stop(self, v: float, a: float, limits: Limits, dt: float) -> tuple[float, float, float]:
        """One tick of coming to rest: (displacement, v, a)."""
        if v == 0.0 and a == 0.0:
            return 0.0, 0.0, 0.0
        x, v1, a1, _ = self._stop(v, a, limits.a, limits.j, dt)
        return x, v1, a1

    def track(self, error: float, v: float, a: float, limits: Limits, dt: float) -> tuple[float, float, float]:
        """One tick towards a point `error` ahead on the path. A point nearer than the shortest stop, or behind, is
        answered by that stop and no way back."""
        if v == 0.0 and a == 0.0 and error <= REACHED:
            return 0.0, 0.0, 0.0
        x, v1, a1, end = self._stop(v, a, limits.a, limits.j, dt)
        if end >= error - 1e-12 or limits.v <= 0.0:
            return x, v1, a1
        p = self._in
        p.control_interface = ControlInterface.Position
        p.target_position = [error]
        p.max_velocity = [limits.v]
        x2, v2, a2, duration, _ = self._run(dt)
        if duration <= dt:
            return error, 0.0, 0.0
        if v2 < 0.0 or v2 + a2 * abs(a2) / (2.0 * limits.j) > limits.v * (1 + 1e-9):
            return x, v1, a1
        return x2, v2, a2
