"""What is wrong with a simulated arm, and nobody at the site knows: seeded joint offsets, DH errors, mount, payload,
stiffness.

The true arm is a chain whose fixed transforms differ from the nominal ones by fractions of a millimetre and
hundredths of a
degree, whose encoders are off by hundredths of a degree, whose bracket sits slightly askew, and which sags under a
payload
the controller does not know. All of it is scaled so that the open-loop error of the tip (nominal kinematics of the
encoders
against the truth) averages 1.2 to 1.8 mm over the room's postures: uncalibrated industrial arms are there, the LWR 3's
open-loop error is given as 1.2 mm.

Frames: base_T_tip. Units SI. Only `sim` may import this, and only a judge may ask for the truth it makes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teleop.arm import kernels
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import ArmModel
from teleop.geometry import Pose, compose, pose_from, pose_to_matrix, rotvec_to_quat

Array = NDArray[np.float64]

#: Spread of the raw draws, before scaling (1 sigma): encoder offset rad, link position m, link rotation rad, mount m
#: and rad.
OFFSET, LINK_P, LINK_R, MOUNT_P, MOUNT_R = 8e-4, 2e-4, 3e-4, 3e-4, 1e-3
#: Stiffness of a joint's gear and link, N m/rad (LBR iiwa class: of the order of 1e4), and of the guide at its tip,
#: N/m.
JOINT_STIFFNESS = 1.0e4
GUIDE_STIFFNESS = 5.0e4
#: Noise of one encoder reading, rad (20 bit per turn: 6e-6 rad per step, noise below one step).
ENCODER_NOISE = 2e-6


@dataclass(frozen=True, slots=True)
class HiddenErrors:
    """offsets (n,) rad: encoder = true joint + offset. links (n,) poses applied after each nominal fixed transform.
    mount: applied
    before flange_T_tip. payload kg that the controller does not know of, at the flange. joint_stiffness (n,) N
    m/rad."""

    offsets: Array
    links: tuple[Pose, ...]
    mount: Pose
    payload: float
    joint_stiffness: Array
    guide_stiffness: float = GUIDE_STIFFNESS


def no_errors(n: int) -> HiddenErrors:
    """A perfect arm, for tests that are about something else."""
    identity = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    return HiddenErrors(np.zeros(n), (identity,) * n, identity, 0.0, np.full(n, np.inf), np.inf)


def true_model(model: ArmModel, errors: HiddenErrors) -> ArmModel:
    """The chain as it really is."""
    pre = np.array([model.pre[i] @ pose_to_matrix(errors.links[i]) for i in range(model.n)])
    flange = pose_to_matrix(compose(model.last_link_T_flange, compose(errors.mount, model.flange_T_tip)))
    nominal = pose_to_matrix(compose(model.last_link_T_flange, model.flange_T_tip))
    # model.tool may hold fixed transforms before the flange as well: keep them
    rest = model.tool @ np.linalg.inv(nominal)
    return replace(model, pre=np.ascontiguousarray(pre), tool=np.ascontiguousarray(rest @ flange))


def _raw(model: ArmModel, rng: np.random.Generator, scale: float) -> HiddenErrors:
    n = model.n

    def small(p: float, r: float) -> Pose:
        return pose_from(rng.normal(0.0, p, 3) * scale, rotvec_to_quat(rng.normal(0.0, r, 3) * scale))

    return HiddenErrors(
        offsets=rng.normal(0.0, OFFSET, n) * scale,
        links=tuple(small(LINK_P, LINK_R) for _ in range(n)),
        mount=small(MOUNT_P, MOUNT_R),
        payload=float(rng.uniform(0.1, 0.4)),
        joint_stiffness=np.full(n, JOINT_STIFFNESS) * rng.uniform(0.7, 1.3, n),
    )


def draw_errors(model: ArmModel, seed: int) -> HiddenErrors:
    """Errors of one arm, scaled to an average open-loop error of the tip of 1.2 to 1.8 mm around the home posture."""
    wanted = float(np.random.default_rng([seed, 11]).uniform(1.2e-3, 1.8e-3))
    postures = model.home + np.random.default_rng([seed, 12]).uniform(-0.5, 0.5, (20, model.n))
    postures = np.clip(postures, model.lower, model.upper)
    scale = 1.0
    for _ in range(20):
        errors = _raw(model, np.random.default_rng([seed, 13]), scale)
        found = open_loop_error(model, errors, postures)
        if abs(found - wanted) < 1e-5:
            break
        scale *= wanted / found
    return errors


def open_loop_error(model: ArmModel, errors: HiddenErrors, postures: Array) -> float:
    """Mean distance (m) between the tip the controller believes in and the true one."""
    arm = TrueArm(model, errors)
    nominal = Kinematics(model)
    gaps = []
    for q in postures:
        believed = nominal.fk(arm.encoders(q))
        true = arm.tip(q)
        gaps.append(float(np.linalg.norm(np.subtract(believed[:3], true[:3]))))
    return float(np.mean(gaps))


class TrueArm:
    """Maps between true joint angles, encoder readings and the true tip."""

    def __init__(self, model: ArmModel, errors: HiddenErrors) -> None:
        self.errors = errors
        self.model = true_model(model, errors)
        self.kin = Kinematics(self.model)
        self._flex = np.zeros(model.n)
        self._flex_at = np.full(model.n, np.inf)
        self._ones = np.ones(model.n)
        self._frames = np.empty((model.n + 1, 4, 4))
        self._jac = np.empty((6, model.n))

    def sag(self, q: Array) -> Array:
        """(n,) rad: how far the unknown payload bends each joint behind its encoder at posture q."""
        e = self.errors
        # a hundredth of a degree changes the sag by nanoradians: keep it until a joint has moved further
        if e.payload == 0.0 or kernels.first_jump(q, self._flex_at, self._ones, 2e-4, 0.0) < 0:
            return self._flex
        self._flex_at = q.copy()
        m = self.model
        kernels.frames(m.pre, m.axis, m.prismatic, m.tool, q, self._frames)
        kernels.jacobian(m.axis, m.prismatic, self._frames, self._jac)
        self._flex = self._jac[2] * (-9.81 * e.payload) / e.joint_stiffness
        return self._flex

    def encoders(self, q: Array) -> Array:
        """What the encoders read at true joint angles q, without noise."""
        return q + self.errors.offsets - self.sag(q)

    def joints_for(self, q_ref: Array, near: Array) -> Array:
        """True joint angles at which the encoders read q_ref; `near` is a posture close by (for the sag)."""
        return q_ref - self.errors.offsets + self.sag(near)

    def tip(self, q: Array, force: Array | None = None) -> Pose:
        """True base_T_tip at true joint angles q; a force (3,) N on the tip, base frame, bends the guide aside."""
        pose = self.kin.fk(q)
        if force is None or not np.any(force):
            return pose
        bend = np.asarray(force) / self.errors.guide_stiffness
        return (pose[0] + bend[0], pose[1] + bend[1], pose[2] + bend[2], *pose[3:])
