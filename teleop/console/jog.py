"""Jog and servo by keys: an absolute target that walks ahead of the arm by a bounded lead.

    target(t + dt) = target(t) + v dt,  then pulled back so that |target - setpoint| <= LEAD

The target is absolute and idempotent (losing a frame never adds up); the bounded lead means that an arm which was held
back (speed law, corridor) does not run after a far target when it is let go again. Velocities are in the guide's frame
(z along the guide axis) or in the base frame. Poses are (x, y, z, qx, qy, qz, qw), metres.
"""

from dataclasses import dataclass

from teleop.geometry import Vec3, norm, quat_angle, quat_multiply, quat_normalize, quat_rotate, rotvec_to_quat

#: m: at the jog speed of 10 mm/s this is half a second of motion.
LEAD = 0.005
#: rad
LEAD_ANGLE = 0.04


@dataclass(frozen=True, slots=True)
class Jog:
    """linear: m/s, angular: rad/s, in `frame` ("guide" or "base")."""

    linear: Vec3
    angular: Vec3
    frame: str


def step(target: tuple[float, ...], setpoint: tuple[float, ...], jog: Jog, dt: float) -> tuple[float, ...]:
    """Walk the target for dt seconds; returns the new target, at most LEAD and LEAD_ANGLE from the set-point."""
    quat = quat_normalize(target[3:7])
    in_guide = jog.frame == "guide"
    linear = quat_rotate(quat, jog.linear) if in_guide else jog.linear
    angular = quat_rotate(quat, jog.angular) if in_guide else jog.angular
    position = [target[i] + linear[i] * dt for i in range(3)]
    lead = [position[i] - setpoint[i] for i in range(3)]
    length = norm(lead)
    if length > LEAD:
        position = [setpoint[i] + lead[i] * LEAD / length for i in range(3)]
    turned = quat_normalize(quat_multiply(rotvec_to_quat([w * dt for w in angular]), quat))
    if quat_angle(turned, quat_normalize(setpoint[3:7])) > LEAD_ANGLE:
        turned = quat
    return (*position, *turned)
