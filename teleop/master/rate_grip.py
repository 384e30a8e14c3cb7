"""A rate device (gamepad, SpaceMouse, keyboard) as a hand that moves: deflections integrate to a virtual grip pose.

    v = speed * shape(deflection),   shape(d) = sign(d) ((|d| - deadband) / (1 - deadband))^expo

The grip moves in the device's own axes; `teleop.master.hand` aligns them with the arm. It moves only while the
deadman is held, by the time between readings of the console's clock and never by more than `longest_step` of it: a
stall is not made up for. A held deflection therefore gives the same motion at any sampling rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import IDENTITY, Pose, norm, quat_multiply, quat_normalize, rotvec_to_quat
from teleop.master.vectors import add, scaled


@dataclass(frozen=True, slots=True)
class RateParams:
    """speed m/s and turn rad/s at full deflection; deadband 0..1 (a worn stick rests within 0.1); expo >= 1;
    longest_step s."""

    speed: float = 0.020
    turn: float = 0.30
    deadband: float = 0.12
    expo: float = 1.6
    longest_step: float = 0.05


def shape(deflection: float, params: RateParams) -> float:
    """Deflection -1..1 to a fraction -1..1 of full speed; monotone, zero in the dead band, odd."""
    d = max(-1.0, min(1.0, deflection))
    a = (abs(d) - params.deadband) / (1.0 - params.deadband)
    if a <= 0.0:
        return 0.0
    return a**params.expo if d > 0.0 else -(a**params.expo)


def shaped_twist(twist: Sequence[float], params: RateParams) -> tuple[float, ...]:
    """(m/s x 3, rad/s x 3) of six deflections. Never faster than `speed` and `turn` as a vector, corners of the stick
    included."""
    f = [shape(d, params) for d in twist]
    out: list[float] = []
    for part, full in ((f[:3], params.speed), (f[3:], params.turn)):
        n = norm(part)
        k = full / n if n > 1.0 else full
        out += [x * k for x in part]
    return tuple(out)


class RateGrip:
    """The virtual grip. `pose` is master_T_grip; where it starts means nothing, only its motion does."""

    def __init__(self, params: RateParams | None = None) -> None:
        self._params = params or RateParams()
        self._last: int | None = None
        self.pose: Pose = IDENTITY

    def step(self, now_ns: int, twist: Sequence[float], held: bool) -> Pose:
        """Move for the time since the last step by the deflections valid in it."""
        dt = 0.0 if self._last is None else (now_ns - self._last) * 1e-9
        self._last = now_ns
        if not held:
            return self.pose
        dt = max(0.0, min(self._params.longest_step, dt))
        t = shaped_twist(twist, self._params)
        q = quat_multiply(rotvec_to_quat(scaled(t[3:], dt)), self.pose[3:])
        self.pose = (*add(self.pose, scaled(t[:3], dt)), *quat_normalize(q))
        return self.pose
