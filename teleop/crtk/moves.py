"""Goals of move_jp and move_cp as stored paths: from where the arm stands, sampled, checked against everything around.

move_cp goes along a straight line of the tip, with the orientation turning evenly; where the arm cannot (a limit or a
singularity in between), it goes there by even motion of all joints, and says so. move_jp moves all joints evenly.
A blocked way is refused with what stands in it: there is no search round obstacles here, that is the case's planner.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety.lease import StoredPath, path_digest
from teleop.arm.clearance import ClearanceChecker
from teleop.arm.kinematics import Kinematics, Unreachable
from teleop.geometry import Pose, interpolate, worst_point_distance

Array = NDArray[np.float64]

#: Longest step between samples: worst tool point (m), any joint (rad). The drive takes 5 mm, the governor 0.2 rad.
STEP_M = 0.003
STEP_RAD = 0.03
MAX_ROWS = 1900  # the governor takes 2000
#: Free space kept on the way (m); where the arm starts with less, it may go on with what it has.
CLEARANCE_M = 0.010
#: Keep away from the joint limits (rad).
LIMIT_MARGIN = 0.01
#: Self-motion (the tool standing) still has to count as path length, or it would take no time: metres per radian.
M_PER_RAD = 0.05
#: Nearer than this to the goal (m, rad) there is nothing to do.
ARRIVED_M = 1e-5
ARRIVED_RAD = 1e-4
#: Largest clearance told to the speed law (m).
MARGIN_MAX = 1.0


class MoveRefused(ValueError):
    """Why there is no move: unreachable, beyond a limit, blocked; the text says by what."""


@dataclass(frozen=True, slots=True)
class Move:
    """A checked move. path: None when the arm is there already. note: what a person may want to know ("" mostly)."""

    path: StoredPath | None
    q_goal: tuple[float, ...]
    pose_goal: Pose
    note: str = ""


def plan_joint_move(
    kin: Kinematics, checker: ClearanceChecker, q_now: Sequence[float], q_goal: Sequence[float]
) -> Move:
    """Even motion of all joints (n,) rad. Raises MoveRefused."""
    start, goal = np.asarray(q_now, dtype=float), np.asarray(q_goal, dtype=float)
    if goal.shape != (kin.n,):
        raise MoveRefused(f"move_jp has {goal.size} positions, the arm has {kin.n} joints")
    _require_limits(kin, goal)
    pose = kin.fk(goal)
    if float(np.max(np.abs(goal - start))) < ARRIVED_RAD:
        return Move(None, tuple(goal.tolist()), pose)
    rows = _joint_rows(kin, start, goal)
    return Move(_checked(kin, checker, rows), tuple(goal.tolist()), pose)


def plan_pose_move(kin: Kinematics, checker: ClearanceChecker, q_now: Sequence[float], base_T_goal: Pose) -> Move:
    """Straight line of the tip to `base_T_goal`, else even joint motion to a posture there. Raises MoveRefused."""
    start = np.asarray(q_now, dtype=float)
    pose_now = kin.fk(start)
    if worst_point_distance(pose_now, base_T_goal, kin.radius) < ARRIVED_M:
        return Move(None, tuple(start.tolist()), base_T_goal)
    line = _line_rows(kin, start, pose_now, base_T_goal)
    blocked = ""
    if line is not None:
        try:
            return Move(_checked(kin, checker, line), tuple(line[-1].tolist()), base_T_goal)
        except MoveRefused as refusal:
            blocked = f"; straight: {refusal}"
    try:
        goal = kin.solve(base_T_goal, start, restarts=30, limit_margin=LIMIT_MARGIN).q
    except Unreachable as error:
        raise MoveRefused(str(error)) from None
    try:
        path = _checked(kin, checker, _joint_rows(kin, start, goal))
    except MoveRefused as refusal:
        raise MoveRefused(f"{refusal}{blocked}") from None
    return Move(path, tuple(goal.tolist()), base_T_goal, "not along a straight line: the arm turns all joints evenly")


def _joint_rows(kin: Kinematics, start: Array, goal: Array) -> Array:
    """(N,n) even joint motion, sampled so that neither tool nor joint steps too far."""
    count = max(2, int(np.ceil(float(np.max(np.abs(goal - start))) / STEP_RAD)) + 1)
    while True:
        t = np.linspace(0.0, 1.0, count)[:, None]
        rows = start + (goal - start) * t
        longest = float(kin.path_steps(rows)[0].max())
        if longest <= STEP_M:
            return rows
        count = int(np.ceil(count * longest / STEP_M * 1.02)) + 1
        if count > MAX_ROWS:
            raise MoveRefused(f"the move is too long: {count} steps of {STEP_M * 1e3:g} mm, at most {MAX_ROWS}")


def _line_rows(kin: Kinematics, start: Array, pose_now: Pose, goal: Pose) -> Array | None:
    """(N,n) along the straight line, or None where the arm cannot follow it without a jump."""
    distance = worst_point_distance(pose_now, goal, kin.radius)
    count = max(2, int(np.ceil(distance / (STEP_M * 0.9))) + 1)
    if count > MAX_ROWS:
        return None
    rows = np.empty((count, kin.n))
    rows[0] = start
    for i in range(1, count):
        try:
            rows[i] = kin.solve(interpolate(pose_now, goal, i / (count - 1)), rows[i - 1], restarts=0,
                                limit_margin=LIMIT_MARGIN).q
        except Unreachable:
            return None
        if float(np.max(np.abs(rows[i] - rows[i - 1]))) > 3 * STEP_RAD:
            return None
    return rows


def _require_limits(kin: Kinematics, q: Array) -> None:
    model = kin.model
    if not np.all(np.isfinite(q)):
        raise MoveRefused("a joint position is not finite")
    for name, value, low, high in zip(model.joint_names, q, model.lower, model.upper, strict=True):
        if not low + LIMIT_MARGIN <= value <= high - LIMIT_MARGIN:
            raise MoveRefused(f"{name} at {value:.3f} rad is outside its limits {low + LIMIT_MARGIN:.3f} .. "
                              f"{high - LIMIT_MARGIN:.3f}")


def _checked(kin: Kinematics, checker: ClearanceChecker, rows: Array) -> StoredPath:
    """Clearance of every sample; then the path with its lengths and margins. Raises MoveRefused."""
    clear = [checker.at(row) for row in rows]
    need = min(CLEARANCE_M, clear[0].distance - 1e-4)
    for i, c in enumerate(clear):
        if c.distance < need:
            raise MoveRefused(f"blocked {100.0 * i / (len(rows) - 1):.0f} % of the way: {c}")
    lengths, _ = kin.path_steps(rows)
    steps = np.maximum(lengths * (1 + 1e-6), np.max(np.abs(np.diff(rows, axis=0)), axis=1) * M_PER_RAD)
    s = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-7))])
    q = tuple(tuple(float(x) for x in row) for row in rows)
    lengths_out = tuple(float(x) for x in s)
    margin = tuple(max(0.0, min(MARGIN_MAX, c.distance)) for c in clear)
    return StoredPath(path_digest("goal", q, lengths_out, margin), "goal", q, lengths_out, margin)
