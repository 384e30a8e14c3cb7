"""Paths of the guide: from where the arm is to a stand-off on the screw's axis, along the axis, small corrections,
and back.

A guide's goal has 5 degrees of freedom: the axis is a line with a depth, the roll about it is free. `plan_approach`
searches
the roll together with the branches of the inverse kinematics, keeps postures away from joint limits and singularities
whose straight advance to the end of the line is possible too, prefers the smallest joint motion, and takes the first
whose straight joint interpolation is clear of the scene; OMPL (RRT-Connect) is asked only when no straight one is. What
is blocked is refused with the part of the arm, the obstacle and the place.

All results are `safety.lease.StoredPath`: joint rows about 1 mm of worst-tool-point arc length apart, hashed, with a
margin
(m) at every row for the governor's speed law. Pure functions of their arguments and the seed. Metres, radians, base
frame; the patient's envelope may be entered by the distal guide only on straight lines along its own axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import radians

import numpy as np
from numpy.typing import NDArray

from safety.lease import StoredPath, path_digest
from teleop.arm.clearance import Clearance, ClearanceChecker, Scene
from teleop.arm.kinematics import Kinematics, Unreachable, as_array
from teleop.geometry import (
    Pose,
    Row,
    along_axis,
    axis_of,
    check_pose,
    interpolate,
    norm,
    pose_error,
    pose_of_axis,
    pose_to_matrix,
)

Array = NDArray[np.float64]

#: Arc length of the worst tool point between rows (m).
ROW_STEP = 0.001
#: s counts at least this much (m) per radian of the largest joint step, so that a pure elbow motion has a length too.
JOINT_LEVER = 0.02
#: Margins of an acceptable posture: joint limits (rad), smallest scaled singular value (m/s per rad/s), clearance (m).
LIMIT_MARGIN, MIN_SINGULAR, MIN_CLEARANCE = 0.06, 0.015, 0.010
#: The distal guide may come this near to the skin (m): at a stand-off of 100 mm before an oblique L5 entry it has to.
TIP_CLEARANCE = 0.003
#: Roll search: step and tries of the inverse kinematics for each.
ROLL_STEP_DEG, RESTARTS = 10, 3
#: The margin (m) given to rows on the axis: the corridor's wall, where the governor's own fixture takes over.
CORRIDOR = 0.002
#: A correction is small: farther than this (m, rad) is a new approach.
CORRECTION_MAX, CORRECTION_TURN = 0.02, radians(6.0)


class Blocked(ValueError):
    """No acceptable path; the text says what is in the way, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Approach:
    """to_stand_off: joint path ("goal") from the present posture; advance: straight line ("advance") from the
    stand-off to
    the end of the line; q_stand_off (n,); roll_deg about the axis; clearance: the tightest place of the joint path;
    planner: "straight" or "rrt-connect"; searched: how many postures were looked at."""

    to_stand_off: StoredPath
    advance: StoredPath
    q_stand_off: Array
    roll_deg: float
    clearance: Clearance
    planner: str
    searched: int


# --- rows ------------------------------------------------------------------------------------------------------------


def path_from_rows(kind: str, rows: Array, s: Array, margin: Array) -> StoredPath:
    """Hash and freeze rows (N,n), arc lengths (N,) and margins (N,)."""
    q, lengths, margins = rows.tolist(), s.tolist(), margin.tolist()
    return StoredPath(
        path_hash=path_digest(kind, q, lengths, margins),
        kind=kind,
        q=tuple(tuple(row) for row in q),
        s=tuple(lengths),
        margin=tuple(margins),
    )


def arc_lengths(kin: Kinematics, rows: Array) -> Array:
    """(N,) arc length of the worst tool point along joint rows (N,n), counting elbow motion by JOINT_LEVER."""
    lengths, _ = kin.path_steps(rows)
    joints = np.abs(np.diff(rows, axis=0)).max(axis=1) * JOINT_LEVER
    return np.concatenate([[0.0], np.cumsum(np.maximum(lengths, joints))])


def resample(kin: Kinematics, rows: Array, step: float = ROW_STEP) -> tuple[Array, Array]:
    """Rows (N,n) -> (rows, s) with equal arc length of about `step` between them: (M,n), (M,). Raises Blocked for a
    path
    without length."""
    fine = [rows[0]]
    for a, b in pairwise(rows):
        lengths, _ = kin.path_steps(np.array([a, b]))
        pieces = max(1, int(np.ceil(max(float(lengths[0]), float(np.abs(b - a).max()) * 0.1) / (0.5 * step))))
        fine.extend(a + (b - a) * (k + 1) / pieces for k in range(pieces))
    dense = np.array(fine)
    s = arc_lengths(kin, dense)
    if s[-1] < 1e-6:
        raise Blocked("the goal is where the arm already is")
    keep = np.concatenate([[True], np.diff(s) > 0.0])
    dense, s = dense[keep], s[keep]
    count = max(2, int(np.ceil(s[-1] / step)) + 1)
    at = np.linspace(0.0, s[-1], count)
    even = np.array([np.interp(at, s, dense[:, k]) for k in range(dense.shape[1])]).T
    even[0], even[-1] = rows[0], rows[-1]
    # the lengths between the kept rows themselves (chords), never less than what the tool moves between them
    return even, arc_lengths(kin, even)


def reverse(path: StoredPath) -> StoredPath:
    """The same rows backwards: the retreat."""
    s = np.array(path.s)
    return path_from_rows(path.kind, np.array(path.q)[::-1], (s[-1] - s)[::-1], np.array(path.margin)[::-1])


# --- lines -----------------------------------------------------------------------------------------------------------


def follow_line(kin: Kinematics, q: Array, start: Pose, goal: Pose, step: float = ROW_STEP) -> Array:
    """Joint rows (N,n) whose tip runs straight from `start` to `goal` (rotation at constant rate), from posture q at
    start.
    Raises Blocked where a joint limit or a singularity is in the way."""
    d, turn = pose_error(start, goal)
    length = norm(d) + kin.radius * norm(turn)
    count = max(2, int(np.ceil(length / step)) + 1)
    rows = np.empty((count, kin.n))
    rows[0] = q
    at = q.copy()
    low, high = kin.model.lower + LIMIT_MARGIN / 2, kin.model.upper - LIMIT_MARGIN / 2
    for i in range(1, count):
        target = pose_to_matrix(interpolate(start, goal, i / (count - 1)))
        size = 1.0
        for _ in range(8):
            at, size = kin.follow(at, target, 1e-4)
            if size < 1e-8:
                break
        share = i / (count - 1)
        if size > 1e-6 or np.abs(at - rows[i - 1]).max() > 0.1:
            raise Blocked(f"the line runs into a singularity after {share * length * 1000:.0f} mm; choose another roll")
        if np.any(at < low) or np.any(at > high):
            k = int(np.argmax(np.maximum(low - at, at - high)))
            raise Blocked(
                f"joint {kin.model.joint_names[k]} reaches its limit after {share * length * 1000:.0f} mm of the line"
            )
        rows[i] = at
    return rows


def plan_line(
    kin: Kinematics,
    scene: Scene,
    q_now: Row,
    base_T_goal: Row,
    *,
    kind: str = "advance",
    enter: bool = True,
) -> StoredPath:
    """Straight line of the tip from where it is to `base_T_goal` (x, y, z, qx, qy, qz, qw), orientation turned evenly
    on the
    way (a locked one stays). `enter`: the distal guide may be inside the patient. Raises Blocked."""
    q = as_array(np.asarray(q_now), kin.n)
    goal = check_pose(base_T_goal, "base_T_goal")
    checker = ClearanceChecker(kin, scene)
    rows = follow_line(kin, q, kin.fk(q), goal)
    s = arc_lengths(kin, rows)
    if s[-1] < 1e-6:
        raise Blocked("the goal is where the guide already is")
    margin, _ = _margins(checker, rows, s, enter=enter, where="the line")
    return path_from_rows(kind, rows, s, np.minimum(margin, CORRIDOR) if enter else margin)


def plan_correction(
    kin: Kinematics, scene: Scene, q_now: Row, base_T_goal: Row, *, kind: str = "advance"
) -> StoredPath:
    """A small straight correction onto a pose. Raises Blocked when it is not small (plan a new approach then)."""
    q = as_array(np.asarray(q_now), kin.n)
    d, turn = pose_error(kin.fk(q), check_pose(base_T_goal, "base_T_goal"))
    if norm(d) > CORRECTION_MAX or norm(turn) > CORRECTION_TURN:
        raise Blocked(
            f"a correction of {norm(d) * 1000:.1f} mm and {np.degrees(norm(turn)):.1f} deg is not small "
            f"(at most {CORRECTION_MAX * 1000:.0f} mm, {np.degrees(CORRECTION_TURN):.0f} deg): plan a new approach"
        )
    return plan_line(kin, scene, q, base_T_goal, kind=kind, enter=True)


def nearest_roll(base_T_now: Row, point: Row, direction: Row) -> Pose:
    """The pose on an axis (point m, direction) that needs the smallest turn from `base_T_now`: its z is laid onto the
    direction by the shortest rotation, its roll kept."""
    from teleop.geometry import angle_between, cross, pose_from, quat_multiply, rotvec_to_quat, unit

    z, d = axis_of(base_T_now), unit(direction)
    axis = cross(z, d)
    size = norm(axis)
    angle = angle_between(z, d)
    if size < 1e-12:
        if angle < 1.0:
            return pose_from(point, base_T_now[3:])
        axis, size = cross(z, (1.0, 0.0, 0.0) if abs(z[0]) < 0.9 else (0.0, 1.0, 0.0)), 1.0
    turn = rotvec_to_quat(tuple(a / size * angle for a in axis))
    return pose_from(point, quat_multiply(turn, base_T_now[3:]))


# --- approach --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    cost: float
    roll_deg: float
    q: Array
    line: Array


def plan_approach(
    kin: Kinematics,
    scene: Scene,
    q_now: Row,
    point: Row,
    direction: Row,
    *,
    stand_off: float = 0.100,
    advance_to: float = 0.0,
    seed: int = 0,
    use_ompl: bool = True,
) -> Approach:
    """From posture `q_now` onto the axis through `point` (m) along `direction` (into the patient): the guide's
    opening first
    `stand_off` (m) before the point, then straight to `advance_to` before it. Raises Blocked or Unreachable."""
    q = as_array(np.asarray(q_now), kin.n)
    checker = ClearanceChecker(kin, scene)
    here = checker.at(q)
    if here.distance < MIN_CLEARANCE / 2:
        raise Blocked(f"the arm starts too near: {here}; retreat along the guide's axis first")
    candidates, searched, why = _candidates(kin, checker, q, point, direction, stand_off, advance_to, seed)
    if not candidates:
        raise Unreachable(
            f"no posture reaches the axis at {tuple(round(float(v), 3) for v in point)} with its stand-off of "
            f"{stand_off * 1000:.0f} mm ({searched} tried): {why}. Move the table or the arm's base, or plan another axis."
        )
    first_block = ""
    for candidate in candidates:
        try:
            return _finish(kin, checker, np.array([q, candidate.q]), candidate, "straight", searched)
        except Blocked as blocked:
            first_block = first_block or str(blocked)
    if use_ompl:
        for candidate in candidates[:3]:
            way = _rrt_connect(kin, checker, q, candidate.q, seed)
            if way is None:
                continue
            try:
                return _finish(kin, checker, way, candidate, "rrt-connect", searched)
            except Blocked:
                continue
    raise Blocked(
        f"the way to the stand-off is blocked ({len(candidates)} postures tried): {first_block}. Move the arm to a freer "
        "posture first, or plan another axis."
    )


def _candidates(
    kin: Kinematics,
    checker: ClearanceChecker,
    q: Array,
    point: Row,
    direction: Row,
    stand_off: float,
    advance_to: float,
    seed: int,
) -> tuple[list[_Candidate], int, str]:
    """Acceptable postures at the stand-off, cheapest first; how many were looked at; why the last one was not taken."""
    found: list[_Candidate] = []
    searched = 0
    why = "the inverse kinematics found nothing inside the joint limits"
    for roll in range(0, 360, ROLL_STEP_DEG):
        end = along_axis(pose_of_axis(point, direction, radians(roll)), -advance_to)
        start = along_axis(end, -(stand_off - advance_to))
        for solution in kin.solutions(start, q, restarts=RESTARTS, seed=seed * 1000 + roll, limit_margin=LIMIT_MARGIN):
            searched += 1
            if solution.singular < MIN_SINGULAR:
                why = "only near-singular postures"
                continue
            clear, fits = _clear(checker, solution.q, enter=False)
            if not fits:
                why = f"at the stand-off {clear}"
                continue
            try:
                line = follow_line(kin, solution.q, start, end, step=0.005)
            except Blocked as blocked:
                why = str(blocked)
                continue
            tight = min(
                (checker.at(row, enter=True) for row in line[:: max(1, len(line) // 8)]), key=lambda c: c.distance
            )
            last = checker.at(line[-1], enter=True)
            tight = last if last.distance < tight.distance else tight
            if tight.distance < MIN_CLEARANCE:
                why = f"on the line {tight}"
                continue
            room = min(float((solution.q - kin.model.lower).min()), float((kin.model.upper - solution.q).min()))
            cost = float(np.abs(solution.q - q).max()) + 0.02 / solution.singular + 0.1 / max(room, 0.05)
            found.append(_Candidate(cost, float(roll), solution.q, line))
    found.sort(key=lambda c: c.cost)
    return found, searched, why


def _finish(
    kin: Kinematics, checker: ClearanceChecker, way: Array, candidate: _Candidate, planner: str, searched: int
) -> Approach:
    """Both paths of a candidate, densely checked."""
    rows, s = resample(kin, way)
    margin, tightest = _margins(checker, rows, s, enter=False, where="the way")
    start, end = kin.fk(candidate.q), kin.fk(candidate.line[-1])
    line = follow_line(kin, candidate.q, start, end)
    line_s = arc_lengths(kin, line)
    line_margin, _ = _margins(checker, line, line_s, enter=True, where="the line")
    return Approach(
        to_stand_off=path_from_rows("goal", rows, s, margin),
        advance=path_from_rows("advance", line, line_s, np.minimum(line_margin, CORRIDOR)),
        q_stand_off=candidate.q,
        roll_deg=candidate.roll_deg,
        clearance=tightest,
        planner=planner,
        searched=searched,
    )


def _clear(checker: ClearanceChecker, row: Array, *, enter: bool) -> tuple[Clearance, bool]:
    """Clearance of a posture, and whether it is enough: MIN_CLEARANCE for everything but the distal guide at the
    patient,
    which needs TIP_CLEARANCE, or nothing where it may enter."""
    inside = checker.at(row, enter=True)
    if enter:
        return inside, inside.distance >= MIN_CLEARANCE
    whole = checker.at(row)
    fits = inside.distance >= MIN_CLEARANCE and whole.distance >= TIP_CLEARANCE
    return whole, fits


def _margins(checker: ClearanceChecker, rows: Array, s: Array, *, enter: bool, where: str) -> tuple[Array, Clearance]:
    """Clearance of every row (N,), and the tightest. Raises Blocked where it is not enough, unless the arm starts
    that near
    and only gets away."""
    margin = np.empty(len(rows))
    tightest = Clearance(float("inf"), "arm", "nothing")
    leaving = not _clear(checker, rows[0], enter=enter)[1]
    for i, row in enumerate(rows):
        c, fits = _clear(checker, row, enter=enter)
        margin[i] = c.distance
        if fits:
            leaving = False
        elif c.distance < 0.0 or not (leaving and (i == 0 or margin[i] >= margin[i - 1] - 1e-6)):
            raise Blocked(f"{where} is blocked after {s[i] * 1000:.0f} of {s[-1] * 1000:.0f} mm: {c}")
        if c.distance < tightest.distance:
            tightest = c
    return margin, tightest


def _rrt_connect(kin: Kinematics, checker: ClearanceChecker, start: Array, goal: Array, seed: int) -> Array | None:
    """Way-points (M,n) by OMPL's RRT-Connect, shortened and with rounded corners (Chaikin 1974), or None."""
    try:
        from ompl import base, geometric, util
    except ImportError:
        return None
    util.setLogLevel(util.LOG_ERROR)
    util.RNG.setSeed(seed + 1)
    space = base.RealVectorStateSpace(kin.n)
    bounds = base.RealVectorBounds(kin.n)
    for k in range(kin.n):
        bounds.setLow(k, float(kin.model.lower[k] + LIMIT_MARGIN))
        bounds.setHigh(k, float(kin.model.upper[k] - LIMIT_MARGIN))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)

    def near(row: Array) -> bool:
        # the ends themselves may be nearer than the way between them
        return (
            min(float(np.abs(row - start).max()), float(np.abs(row - goal).max())) < 0.1
            and _clear(checker, row, enter=False)[1]
        )

    def valid(state: Sequence[float]) -> bool:
        row = np.array([state[k] for k in range(kin.n)])
        return bool(checker.at(row).distance > MIN_CLEARANCE * 1.5 or near(row))

    setup.setStateValidityChecker(valid)
    setup.getSpaceInformation().setStateValidityCheckingResolution(0.004)
    a, b = space.allocState(), space.allocState()
    for k in range(kin.n):
        a[k], b[k] = float(start[k]), float(goal[k])
    setup.setStartAndGoalStates(a, b)
    setup.setPlanner(geometric.RRTConnect(setup.getSpaceInformation()))
    if not setup.solve(3.0) or not setup.haveExactSolutionPath():
        return None
    setup.simplifySolution(1.0)
    states = setup.getSolutionPath().getStates()
    way = np.array([[s[k] for k in range(kin.n)] for s in states])
    way[0], way[-1] = start, goal
    for _ in range(5):
        cut = [way[0]]
        for p, r in pairwise(way):
            cut += [p * 0.75 + r * 0.25, p * 0.25 + r * 0.75]
        way = np.array([*cut, way[-1]])
    return way
