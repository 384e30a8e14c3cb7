"""Kinematics of one arm: where the tip is, how fast its worst point moves, which joints bring it somewhere.

Thin objects over `teleop.arm.kernels`. Call `warm(model)` once before a control loop: the kernels are compiled
(seconds the first time on a machine, about one second from the cache) and nothing is compiled inside the loop
afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teleop.arm import kernels
from teleop.arm.model import ArmModel
from teleop.geometry import Pose, check_pose, pose_to_matrix

Array = NDArray[np.float64]

#: Damping of the servo loop's inverse kinematics (m): 1e-3 leaves 1e-6 m of lag per step away from singularities.
SERVO_DAMPING = 1e-3


class Unreachable(ValueError):
    """No joint posture inside the limits reaches the pose: says how near the best try came."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A posture that reaches a pose. q (n,) rad; errors m and rad; singular: smallest scaled singular value (m/s per
    rad/s)."""

    q: Array
    position_error: float
    rotation_error: float
    singular: float


def as_array(q: Sequence[float] | Array, n: int) -> Array:
    """q as a float64 array of n. Raises ValueError for another length or non-finite numbers."""
    a = np.asarray(q, dtype=np.float64)
    if a.shape != (n,):
        raise ValueError(f"need {n} joint values, got shape {a.shape}")
    if not np.all(np.isfinite(a)):
        raise ValueError(f"non-finite joint value in {a.tolist()}")
    return a


class Kinematics:
    """Forward and inverse kinematics of a model. Not thread-safe: it keeps its work arrays."""

    def __init__(self, model: ArmModel) -> None:
        self.model = model
        self.n = model.n
        self.radius = model.tool_radius
        self._chain = (model.pre, model.axis, model.prismatic, model.tool)
        self._frames = np.empty((self.n + 1, 4, 4))
        self._jac = np.empty((6, self.n))
        self._pose = np.empty(7)
        self._zero = np.zeros(self.n)
        self._step = np.empty(self.n)

    def fk(self, q: Sequence[float] | Array) -> Pose:
        """base_T_tip."""
        kernels.measure(*self._chain, as_array(q, self.n), self._zero, 0.0, self._frames, self._jac, self._pose)
        return tuple(self._pose.tolist())

    def measure(self, q: Array, dq: Array) -> tuple[Pose, float]:
        """base_T_tip and the worst tool point's speed (m/s); no checks of its arguments, for the loop."""
        speed = kernels.measure(*self._chain, q, dq, self.radius, self._frames, self._jac, self._pose)
        return tuple(self._pose.tolist()), float(speed)

    def fk_fast(self, q: Array) -> Array:
        """base_T_tip (7,) without checks, for the loop."""
        kernels.frames(*self._chain, q, self._frames)
        kernels.pose_of(self._frames[self.n], self._pose)
        return self._pose.copy()

    def jacobian_fast(self, q: Array) -> Array:
        """(6,n) Jacobian without checks, for the loop."""
        kernels.frames(*self._chain, q, self._frames)
        kernels.jacobian(self.model.axis, self.model.prismatic, self._frames, self._jac)
        return self._jac.copy()

    def largest_gain(self, q: Array) -> tuple[float, float]:
        """Bounds per rad/s of joint speed (Euclidean norm), over all directions: (worst tool point m/s, rotation rad/s)."""
        kernels.frames(*self._chain, q, self._frames)
        kernels.jacobian(self.model.axis, self.model.prismatic, self._frames, self._jac)
        g, turn = kernels.largest_gain(self._jac, self.radius)
        return float(g), max(float(turn), 1e-6)

    def monitor(self, q: Array, dq: Array, q_ref: Array, anchor: Array) -> tuple[Array, float, float, float]:
        """What the drive watches: (measured pose (7,), worst tool point's speed m/s, its distance from the pose of
        `q_ref` m, its distance from the pose `anchor` (7,) m)."""
        pose, pose_ref = np.empty(7), self._pose
        speed, err, moved = kernels.monitor(
            *self._chain, q, dq, q_ref, self.radius, anchor, self._frames, self._jac, pose, pose_ref
        )
        return pose, float(speed), float(err), float(moved)

    def pose_difference(self, a: Array, b: Array) -> Array:
        """(6,) metres: what takes pose a to pose b, rotation vector times the tool radius."""
        out = np.empty(6)
        kernels.pose_difference(a, b, self.radius, out)
        return out

    def move_pose(self, pose: Array, move: Array) -> tuple[Array, Array]:
        """Pose (7,) moved by (6,) as of `pose_difference`: (pose (7,), the same as 4x4)."""
        out, matrix = np.empty(7), np.empty((4, 4))
        kernels.move_pose(pose, move, self.radius, out, matrix)
        return out, matrix

    def link_frames(self, q: Sequence[float] | Array) -> Array:
        """(n+1,4,4): base_T_link behind each joint, and base_T_tip last."""
        out = np.empty((self.n + 1, 4, 4))
        kernels.frames(*self._chain, as_array(q, self.n), out)
        return out

    def jacobian(self, q: Sequence[float] | Array) -> Array:
        """(6,n) geometric Jacobian of the tip, rows v then omega, base frame."""
        kernels.frames(*self._chain, as_array(q, self.n), self._frames)
        kernels.jacobian(self.model.axis, self.model.prismatic, self._frames, self._jac)
        return self._jac.copy()

    def speed(self, q: Sequence[float] | Array, dq: Sequence[float] | Array) -> float:
        """Speed of the worst tool point, m/s: |v| + |omega| r."""
        return self.measure(as_array(q, self.n), as_array(dq, self.n))[1]

    def singular_value(self, q: Sequence[float] | Array) -> float:
        """Distance from a singularity: smallest singular value of the Jacobian with rotations scaled by the tool
        radius."""
        return float(kernels.manipulability(self.jacobian(q), self.radius))

    def follow(self, q: Array, base_T_target: Array, damping: float = SERVO_DAMPING) -> tuple[Array, float]:
        """One damped step of q towards a 4x4 target: (new q, length of the task step m + rad). Limits are the
        caller's."""
        size = kernels.follow(*self._chain, q, base_T_target, damping, self._frames, self._jac, self._step)
        return self._step.copy(), float(size)

    def solve(
        self,
        base_T_tip: Sequence[float],
        seed_q: Sequence[float] | Array,
        *,
        roll_free: bool = False,
        restarts: int = 20,
        seed: int = 0,
        limit_margin: float = 0.0,
        tol_p: float = 1e-6,
        tol_r: float = 1e-6,
    ) -> Solution:
        """Joints that bring the tip to a pose, inside the limits shrunk by `limit_margin` rad: from `seed_q` first,
        then from `restarts` random postures (seeded). Raises Unreachable."""
        best = None
        for found in self.solutions(
            base_T_tip,
            seed_q,
            roll_free=roll_free,
            restarts=restarts,
            seed=seed,
            limit_margin=limit_margin,
            tol_p=tol_p,
            tol_r=tol_r,
            failures=True,
        ):
            if found.position_error <= tol_p and found.rotation_error <= tol_r:
                return found
            if best is None or found.position_error < best.position_error:
                best = found
        assert best is not None
        raise Unreachable(
            f"{self.model.name} cannot reach {tuple(round(v, 4) for v in base_T_tip)} inside its joint limits: "
            f"the best of {restarts + 1} tries stayed {best.position_error * 1000:.2f} mm and "
            f"{np.degrees(best.rotation_error):.2f} deg away. Move the base or the patient, or choose another pose."
        )

    def solutions(
        self,
        base_T_tip: Sequence[float],
        seed_q: Sequence[float] | Array,
        *,
        roll_free: bool = False,
        restarts: int = 20,
        seed: int = 0,
        limit_margin: float = 0.0,
        tol_p: float = 1e-6,
        tol_r: float = 1e-6,
        failures: bool = False,
    ) -> Iterator[Solution]:
        """Every posture found, nearest seed first; `failures` yields the unsuccessful tries too."""
        target = pose_to_matrix(check_pose(base_T_tip, "base_T_tip"))
        lower, upper = self.model.lower + limit_margin, self.model.upper - limit_margin
        rng = np.random.default_rng(seed)
        q0 = as_array(seed_q, self.n)
        for _ in range(restarts + 1):
            q, ep, er, _ = kernels.solve_lm(*self._chain, target, q0, lower, upper, roll_free, 100, tol_p, tol_r)
            if failures or (ep <= tol_p and er <= tol_r):
                yield Solution(q, float(ep), float(er), self.singular_value(q))
            q0 = rng.uniform(lower, upper)

    def path_steps(self, rows: Array) -> tuple[Array, Array]:
        """Worst-tool-point distance (m) and rotation (rad) between consecutive rows of an (N,n) joint path: two
        (N-1,) arrays."""
        lengths, turns = np.empty(len(rows) - 1), np.empty(len(rows) - 1)
        kernels.path_steps(*self._chain, np.ascontiguousarray(rows), self.radius, lengths, turns)
        return lengths, turns


def warm(model: ArmModel) -> Kinematics:
    """Compile (or load from the cache) every kernel by calling it once; returns kinematics ready for a loop."""
    k = Kinematics(model)
    k.measure(model.home, np.zeros(model.n))
    k.jacobian(model.home)
    k.singular_value(model.home)
    pose = k.fk(model.home)
    k.follow(model.home, pose_to_matrix(pose))
    for roll_free in (False, True):
        k.solve(pose, model.home, roll_free=roll_free, restarts=0)
    k.path_steps(np.array([model.home, model.home + 1e-3]))
    k.fk_fast(model.home)
    k.jacobian_fast(model.home)
    k.largest_gain(model.home)
    here = np.array(pose)
    k.monitor(model.home, np.zeros(model.n), model.home, here)
    k.move_pose(here, k.pose_difference(here, here))
    kernels.reflect(np.eye(6)[0], np.zeros(6), np.empty(6))
    rows = np.array([model.home, model.home + 1e-3])
    kernels.all_finite(model.home)
    kernels.first_outside(model.home, model.lower, model.upper)
    kernels.first_jump(model.home, model.home, model.v_max, 1.0, 0.0)
    kernels.limit_step(model.home, model.home, model.v_max, model.lower, model.upper, 0.0, np.empty(model.n))
    kernels.stops_outside(model.home, model.home, 0.0, model.lower, model.upper, 0.0)
    kernels.path_at(np.array([0.0, 1e-3]), rows, np.zeros_like(rows), 0.0, np.empty(model.n), np.empty(model.n))
    return k
