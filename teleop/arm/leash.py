"""Jerk-limited following of a moving target in R^d with the *speed of the worst tool point* kept under a cap.

Ruckig limits each axis by itself; a box of limits either wastes speed (cap / sqrt(d) per axis) or lets the Euclidean
norm overshoot. So each axis gets 94 % of the cap times its share of the way to go (`u`, at least LEAST_SHARE), and a
guard looks at where the speed would peak if the acceleration were taken back (v + a |a|/2j, a vector) and brakes for a
tick instead whenever that peak comes to the cap; a cap lowered below the present speed, or a target that jumps
sideways, ends in braking, never in a peak.

A stop turns the first axis along the present velocity (Householder) and takes all axes to rest as fast as the limits
allow, which is a straight line from steady motion. All functions are pure; the ruckig objects are work space
(`calculate`, never `update`, never way-points). Units: whatever metric the caller chose; `gain(u)` is the worst tool
point's speed (m/s) per unit of speed along the unit direction u. Acceleration and jerk are the same number in every
direction and in following and stopping alike: were they not, an acceleration built up in one direction could not be
taken back in time in another.
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
MAIN_SHARE = 0.94
#: Every axis keeps at least this share, so that what is left over of other directions is braked.
LEAST_SHARE = 0.05
#: The same for acceleration: what is left over has to be braked with some force.
LEAST_PUSH = 0.25
#: Where the guard brakes, as a share of the cap: a tick of jerk-limited growth fits between it and the cap.
GUARD = 0.965
#: Below this distance (m in the metric) a target counts as reached and gives no direction.
REACHED = 1e-9
#: A cap below this (m/s; 4 mm an hour) is a cap of zero.
CREEP = 1e-6
#: Ruckig has no answer for a way of hours: a target is never further than so much time (s) at the cap.
FORESIGHT_S = 600.0


class TrajectoryError(RuntimeError):
    """Ruckig refused the problem (non-finite numbers, impossible limits): the caller stops."""


@dataclass(frozen=True, slots=True)
class Limits:
    """v: cap of the worst tool point, m/s; a, j: acceleration and jerk in the metric, the same in every direction;
    axis_speed: largest speed in the metric whatever the tool does (a joint's rad/s)."""

    v: float
    a: float
    j: float
    axis_speed: float = float("inf")


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
        except (RuckigError, ValueError) as error:  # ValueError: a refusal for which the binding has no name
            raise TrajectoryError(str(error)) from error
        if int(result) < 0:
            raise TrajectoryError(f"ruckig: {result}")
        x, v, a = self._out.at_time(dt)
        return np.array(x), np.array(v), np.array(a), float(self._out.duration)

    def _turn(self, u: Array, x: Array) -> Array:
        kernels.reflect(u, x, self._work)
        return self._work.copy()

    def stop(self, v: Array, a: Array, limits: Limits, dt: float) -> tuple[Array, Array, Array]:
        """One tick of coming to rest: (displacement, v, a). Exactly zero v and a once at rest."""
        speed = sqrt(float(v @ v))
        size = sqrt(float(a @ a))
        if speed == 0.0 and size == 0.0:
            return np.zeros(self.d), v, a
        u = v / speed if speed > 1e-12 else (a / size if size > 1e-12 else np.eye(self.d)[0])
        p = self._in
        p.control_interface = ControlInterface.Velocity
        p.current_position = [0.0] * self.d
        p.current_velocity = self._turn(u, v).tolist()
        p.current_acceleration = self._turn(u, a).tolist()
        p.target_velocity = [0.0] * self.d
        p.target_acceleration = [0.0] * self.d
        p.max_acceleration = [limits.a] * self.d
        p.max_jerk = [limits.j] * self.d
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
        if limits.v < CREEP:
            return self.stop(v, a, limits, dt)
        u = error / dist if dist > 1e-7 else (v / speed if speed > 1e-12 else np.eye(self.d)[0])
        g = max(gain(u), 1e-9)
        main = min(MAIN_SHARE * limits.v / g, limits.axis_speed)
        # Fixed axes, the speed shared by the way to go: axes turned toward the target in every tick re-plan each time in
        # another decomposition, are late by their own phase and spiral outwards round a target that trembles
        # (tests/arm/test_following_a_trembling_target.py: 3 mm round 0.05 mm).
        share = np.maximum(np.abs(u), LEAST_SHARE)
        share /= sqrt(float(share @ share))
        if dist > main * FORESIGHT_S:
            error = error * (main * FORESIGHT_S / dist)
        p = self._in
        p.control_interface = ControlInterface.Position
        p.current_position = [0.0] * self.d
        p.current_velocity = v.tolist()
        p.current_acceleration = a.tolist()
        p.target_position = error.tolist()
        p.target_velocity = [0.0] * self.d
        p.target_acceleration = [0.0] * self.d
        p.max_velocity = (main * share).tolist()
        # the acceleration is shared too, so that its *norm* stays under a: the stop distance is computed with that
        push = np.maximum(np.abs(u), LEAST_PUSH)
        p.max_acceleration = (push * (limits.a / sqrt(float(push @ push)))).tolist()
        p.max_jerk = [limits.j] * self.d
        x, v1, a1, duration = self._solve(dt)
        if duration <= dt:
            return x, np.zeros(self.d), np.zeros(self.d)
        # taken back along its own direction, which is the slowest way any later frame can choose
        peak = v1 + a1 * (sqrt(float(a1 @ a1)) / (2.0 * limits.j))
        for w in (peak, v1):
            length = sqrt(float(w @ w))
            if length > 1e-12 and gain(w / length) * length > GUARD * limits.v:
                return self.stop(v, a, limits, dt)
        return x, v1, a1


class Rail:
    """The same in one dimension, along a stored path: never backwards, never past the permitted arc length."""

    def __init__(self) -> None:
        self._otg = Ruckig(1)
        self._in = InputParameter(1)
        self._out = Trajectory(1)

    def _run(self, dt: float) -> tuple[float, float, float, float, float]:
        try:
            result = self._otg.calculate(self._in, self._out)
        except (RuckigError, ValueError) as error:  # ValueError: a refusal for which the binding has no name
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
        if end >= error - 1e-12 or limits.v < CREEP:
            return x, v1, a1
        error = min(error, limits.v * FORESIGHT_S)
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
