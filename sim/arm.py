"""The PyBullet arm: torque-limited joints under position control with velocity feed-forward, behind the `ArmDriver`
protocol.

One physics step per servo period (500 Hz). The controller closes its loop on encoders that are off (`sim.hidden`), so
the
measured kinematics lie by 1-2 mm at the tip; the physics itself would be too good (POSITION_CONTROL is rigid to
micrometres). With brakes on the physics is not stepped at all: nothing moves, and a parked hospital costs no CPU.

PyBullet belongs to the thread that calls this (it holds the GIL); nothing here renders and nothing asks for closest
points
on meshes (wrong answers and crashes above 46 k points).
"""

import tempfile
from pathlib import Path

import numpy as np
import pybullet as p
from numpy.typing import NDArray

from sim.hidden import ENCODER_NOISE, HiddenErrors, TrueArm, draw_errors
from sim.robot_file import TIP_LINK, write_true_robot
from teleop.arm.driver import DriverError, EncoderSample
from teleop.arm.model import ArmModel
from teleop.geometry import Pose

Array = NDArray[np.float64]

#: Noise of the force reading, N (1 sigma).
FORCE_NOISE = 0.3


class PyBulletArm:
    """See the module. `client`: a PyBullet connection of its own is made when None."""

    def __init__(
        self,
        model: ArmModel,
        seed: int = 0,
        *,
        period_ns: int = 2_000_000,
        q0: Array | None = None,
        errors: HiddenErrors | None = None,
        client: int | None = None,
    ) -> None:
        self.joint_names = model.joint_names
        self.lower, self.upper, self.v_max = model.lower, model.upper, model.v_max
        self.period_ns = period_ns
        errors = errors if errors is not None else draw_errors(model, seed)
        self.true = TrueArm(model, errors)
        self.client = p.connect(p.DIRECT) if client is None else client
        if self.client < 0:
            raise DriverError("PyBullet refused a connection")
        c = self.client
        p.setGravity(0, 0, -9.81, physicsClientId=c)
        p.setTimeStep(period_ns * 1e-9, physicsClientId=c)
        p.setPhysicsEngineParameter(deterministicOverlappingPairs=1, physicsClientId=c)
        with tempfile.TemporaryDirectory() as folder:
            urdf = write_true_robot(model, errors, Path(folder) / "robot.urdf")
            self.body = p.loadURDF(str(urdf), useFixedBase=True, flags=p.URDF_USE_INERTIA_FROM_FILE, physicsClientId=c)
        index = {}
        self.tip_index = -1
        for j in range(p.getNumJoints(self.body, physicsClientId=c)):
            info = p.getJointInfo(self.body, j, physicsClientId=c)
            index[info[1].decode()] = j
            if info[12].decode() == TIP_LINK:
                self.tip_index = j
        self.joints = [index[name] for name in model.joint_names]
        self._effort = model.effort.tolist()
        self._rng = np.random.default_rng([seed, 41])
        start = np.array(model.home if q0 is None else q0)
        self._q = self.true.joints_for(start, start)
        self._dq = np.zeros(model.n)
        self._tau = np.zeros(model.n)
        self._force = np.zeros(3)
        for j, q in zip(self.joints, self._q.tolist(), strict=True):
            p.resetJointState(self.body, j, q, physicsClientId=c)
        self._brakes = True
        self._targets = self._q.copy()
        self._open = True
        self.saturated = 0
        for _ in range(200):
            # let gravity settle into the joint motors before anybody looks
            self._advance(start, np.zeros(model.n))

    def _advance(self, q_ref: Array, dq_ref: Array) -> None:
        c = self.client
        # Bullet's motor reaches target + velocity * period: ask for the place one period before the reference
        targets = self.true.joints_for(q_ref - dq_ref * (self.period_ns * 1e-9), self._q)
        p.setJointMotorControlArray(
            self.body,
            self.joints,
            p.POSITION_CONTROL,
            targetPositions=targets.tolist(),
            targetVelocities=dq_ref.tolist(),
            forces=self._effort,
            physicsClientId=c,
        )
        p.stepSimulation(physicsClientId=c)
        states = p.getJointStates(self.body, self.joints, physicsClientId=c)
        self._q = np.array([s[0] for s in states])
        self._dq = np.array([s[1] for s in states])
        self._tau = np.array([s[3] for s in states])
        if np.any(np.abs(self._tau) >= np.array(self._effort) * 0.999):
            self.saturated += 1
        contacts = p.getContactPoints(bodyA=self.body, physicsClientId=c)
        self._force = np.zeros(3)
        for contact in contacts:
            if contact[2] != self.body:
                self._force += contact[9] * np.array(contact[7])

    def read(self, now_ns: int) -> EncoderSample:
        if not self._open:
            raise DriverError("the arm is closed")
        noise = self._rng.normal(0.0, 1.0, len(self._q) + 1)
        q = self.true.encoders(self._q) + noise[:-1] * ENCODER_NOISE
        dq = np.zeros_like(self._dq) if self._brakes else self._dq.copy()
        force = float(np.linalg.norm(self._force))
        return EncoderSample(now_ns, q, dq, self._tau.copy(), abs(force + float(noise[-1]) * FORCE_NOISE))

    def write(self, q_ref: Array, dq_ref: Array) -> None:
        if not self._open:
            raise DriverError("the arm is closed")
        if self._brakes:
            return
        self._advance(q_ref, dq_ref)

    def brakes(self, on: bool) -> None:
        self._brakes = on

    def close(self) -> None:
        if self._open:
            self._open = False
            p.disconnect(physicsClientId=self.client)

    # --- the simulator's truth: for the tracker's model and the judge ------------------------------------------------

    def tip(self) -> Pose:
        """True base_T_tip, guide bent by whatever it touches."""
        return self.true.tip(self._q, self._force)

    def tip_of_physics(self) -> Pose:
        """base_T_tip as PyBullet has it (unbent), to check `tip` against."""
        state = p.getLinkState(self.body, self.tip_index, computeForwardKinematics=1, physicsClientId=self.client)
        x, y, z = state[4]
        return (x, y, z, *state[5])
