"""Jog: a velocity along and about the guide's axes becomes an absolute target that never runs away from the arm.

At a press the target starts at the arm. While the operator asks for a velocity the target moves in the guide frame as
it was at the press (+z is the guide axis). It stays within `lead` of the newest known set-point of the arm, in metres
and in radians: an arm that is slower than asked (cap, latency) slows the target instead of collecting a debt that it
would pay after the operator stopped. With a round trip R this bounds the jog speed by lead / R, on top of whatever
the governor allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import Pose, compose, norm, pose_error, quat_multiply, rotvec_to_quat
from teleop.master.vectors import add, scaled


@dataclass(frozen=True, slots=True)
class JogLimits:
    """speed m/s and rad/s: the fastest jog whatever the device asks. lead m and rad: how far the target may lead the
    arm. longest_step s: a console that stalled does not make up for the time."""

    speed: float = 0.010
    turn: float = 0.10
    lead: float = 0.004
    lead_turn: float = 0.04
    longest_step: float = 0.05


def jog_step(target: Pose, arm: Pose, twist: Sequence[float], dt: float, limits: JogLimits) -> Pose:
    """The next target. twist: (x, y, z m/s, rx, ry, rz rad/s) in the frame of `target`; arm: newest base_T_tip
    set-point."""
    dt = max(0.0, min(limits.longest_step, dt))
    v, w = _capped(twist[:3], limits.speed), _capped(twist[3:], limits.turn)
    if norm(v) == 0.0 and norm(w) == 0.0:
        return target
    moved = compose(target, (*scaled(v, dt), *rotvec_to_quat(scaled(w, dt))))
    d, turn = pose_error(arm, moved)
    p = add(arm, _capped(d, limits.lead))
    q = (
        quat_multiply(rotvec_to_quat(_capped(turn, limits.lead_turn)), arm[3:])
        if norm(turn) > limits.lead_turn
        else moved[3:]
    )
    if norm(d) <= limits.lead:
        p = (moved[0], moved[1], moved[2])
    return (*p, *q)


def _capped(v: Sequence[float], limit: float) -> tuple[float, float, float]:
    n = norm(v)
    k = 1.0 if n <= limit else limit / n
    return v[0] * k, v[1] * k, v[2] * k
