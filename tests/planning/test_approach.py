"""Paths of the guide in the simulated room: every lumbar pedicle can be reached, and what is blocked is refused by
name."""

import numpy as np
import pytest

from safety.lease import path_digest
from sim.layout import nominal_ct, room_scene
from teleop import geometry as g
from teleop.arm.clearance import Clearance, ClearanceChecker, Scene, box, capsule, plane
from teleop.arm.drive import accept_path, drive_params, initial
from teleop.arm.driver import EncoderSample
from teleop.arm.kinematics import Unreachable, warm
from teleop.arm.model import load_model
from teleop.planning import approach as ap

#: Entry (LPS mm) and convergence (deg) of the pedicles, from the published dimensions the phantom is made of.
ENTRIES = {
    "L1": (16.5, 42.6, 78.0, 13), "L2": (19.0, 40.2, 39.0, 14), "L3": (19.8, 26.3, 3.2, 15), "L4": (22.5, 23.3, -38.5, 17),
    "L5": (24.5, 22.6, -75.2, 30),
}  # fmt: skip


@pytest.fixture(scope="module")
def kin():
    return warm(load_model("iiwa7"))


@pytest.fixture(scope="module")
def scene():
    return room_scene(nominal_ct())


def axis(level, side, tilt=0.0):
    x, y, z, convergence = ENTRIES[level]
    sign = 1 if side == "left" else -1
    c, t = np.radians(convergence), np.radians(tilt)
    direction = np.array([-sign * np.sin(c) * np.cos(t), -np.cos(c) * np.cos(t), np.sin(t)])
    ct = nominal_ct()
    return g.transform_point(ct, (sign * x * 1e-3, y * 1e-3, z * 1e-3)), g.quat_rotate(ct[3:], direction)


def accepted(kin, path, q):
    params = drive_params(kin)
    state = initial(EncoderSample(0, np.array(q), np.zeros(7), np.zeros(7), 0.0), params)
    _, ok, reason = accept_path(state, path, params)
    return ok, reason


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("level", list(ENTRIES))
def test_every_lumbar_pedicle_is_reached_away_from_limits_and_singularities(kin, scene, level, side):
    point, direction = axis(level, side)
    found = ap.plan_approach(kin, scene, kin.model.home, point, direction, advance_to=0.005)
    for path in (found.to_stand_off, found.advance):
        ok, reason = accepted(kin, path, path.q[0])
        assert ok, reason
        assert path.path_hash == path_digest(path.kind, path.q, path.s, path.margin)
        rows = np.array(path.q)
        assert np.all(rows > kin.model.lower + 0.02) and np.all(rows < kin.model.upper - 0.02)
        assert min(kin.singular_value(row) for row in rows[::10]) > 0.01
    assert np.allclose(found.to_stand_off.q[0], kin.model.home)
    assert found.to_stand_off.q[-1] == found.advance.q[0]
    lateral, tilt, depth = g.axis_errors(kin.fk(np.array(found.advance.q[0])), point, direction)
    assert lateral < 1e-5 and tilt < 1e-5 and depth == pytest.approx(-0.100, abs=1e-5)
    end = kin.fk(np.array(found.advance.q[-1]))
    lateral, tilt, depth = g.axis_errors(end, point, direction)
    assert lateral < 1e-5 and tilt < 1e-5 and depth == pytest.approx(-0.005, abs=1e-5)


def test_the_advance_stays_on_its_line_with_its_orientation_locked(kin, scene):
    point, direction = axis("L4", "left")
    line = ap.plan_approach(kin, scene, kin.model.home, point, direction).advance
    for row in line.q:
        lateral, tilt, _ = g.axis_errors(kin.fk(np.array(row)), point, direction)
        assert lateral < 2e-5 and tilt < 1e-5
    back = ap.reverse(line)
    assert back.q == line.q[::-1] and back.s[0] == 0.0 and accepted(kin, back, back.q[0])[0]


def test_a_correction_is_small_or_refused(kin, scene):
    point, direction = axis("L3", "right")
    found = ap.plan_approach(kin, scene, kin.model.home, point, direction)
    q = np.array(found.to_stand_off.q[-1])
    here = kin.fk(q)
    goal = ap.nearest_roll(here, (here[0] + 0.001, here[1], here[2]), g.quat_rotate(here[3:], (0.01, 0.0, 1.0)))
    path = ap.plan_correction(kin, scene, q, goal)
    assert g.worst_point_distance(kin.fk(np.array(path.q[-1])), goal, 0.1) < 1e-6
    assert accepted(kin, path, q)[0]
    with pytest.raises(ap.Blocked, match="not small"):
        ap.plan_correction(kin, scene, q, (here[0] + 0.05, *here[1:]))
    with pytest.raises(ap.Blocked, match="already is"):
        ap.plan_line(kin, scene, q, here)


def test_a_blocked_way_is_refused_and_says_what_is_in_it(kin, scene):
    point, direction = axis("L3", "left")
    lid = box("a lamp", (point[0], point[1], point[2] + 0.14, 0, 0, 0, 1), (0.3, 0.3, 0.01))
    with pytest.raises((ap.Blocked, Unreachable), match="a lamp"):
        ap.plan_approach(kin, Scene((*scene.obstacles, lid)), kin.model.home, point, direction)


def test_an_axis_out_of_reach_is_refused(kin, scene):
    with pytest.raises(Unreachable, match="Move the table"):
        ap.plan_approach(kin, scene, kin.model.home, (1.5, 0.0, 0.2), (0.0, 0.0, -1.0))


def test_an_arm_that_starts_in_the_patient_must_retreat_first(kin, scene):
    point, direction = axis("L3", "left")
    deep = ap.plan_approach(kin, scene, kin.model.home, point, direction).advance.q[-1]
    with pytest.raises(ap.Blocked, match="retreat"):
        ap.plan_approach(kin, scene, deep, point, direction)


def test_rrt_connect_finds_a_way_round_a_post(kin):
    start, goal = kin.model.home.copy(), kin.model.home.copy()
    start[0], goal[0] = -0.8, 0.9
    tip = kin.fk(kin.model.home)
    post = capsule("a post", (tip[0], tip[1], -0.5), (tip[0], tip[1], tip[2] + 0.02), 0.03)
    checker = ClearanceChecker(kin, Scene((post,)))
    straight = np.linspace(start, goal, 200)
    assert min(checker.at(row).distance for row in straight) < 0.0, (
        "the post must be in the way for this to test anything"
    )
    way = ap._rrt_connect(kin, checker, start, goal, seed=1)
    assert way is not None
    rows, s = ap.resample(kin, way)
    assert min(checker.at(row).distance for row in rows) > 0.0
    assert accepted(kin, ap.path_from_rows("goal", rows, s, np.full(len(rows), 0.01)), start)[0]


def test_a_blocked_straight_way_is_gone_round_by_the_motion_planner(kin, scene, monkeypatch):
    point, direction = axis("L3", "left")
    start = kin.model.home.copy()
    start[0] -= 1.2
    plain = ap.plan_approach(kin, scene, start, point, direction)
    assert plain.planner == "straight"
    candidates = ap._candidates

    def only_the_cheapest(*args):
        found, searched, why = candidates(*args)
        return found[:1], searched, why

    monkeypatch.setattr(ap, "_candidates", only_the_cheapest)
    middle = kin.fk(np.array(plain.to_stand_off.q[len(plain.to_stand_off.q) // 2]))
    pole = capsule("an infusion pole", (middle[0], middle[1], -0.5), (middle[0], middle[1], middle[2] + 0.02), 0.02)
    blocked = Scene((*scene.obstacles, pole))
    with pytest.raises(ap.Blocked, match="infusion pole"):
        ap.plan_approach(kin, blocked, start, point, direction, use_ompl=False)
    found = ap.plan_approach(kin, blocked, start, point, direction)
    assert found.planner == "rrt-connect"
    checker = ClearanceChecker(kin, blocked)
    assert min(checker.at(np.array(row)).distance for row in found.to_stand_off.q) > 0.0
    for path in (found.to_stand_off, found.advance):
        assert path.path_hash == path_digest(path.kind, path.q, path.s, path.margin)
        assert accepted(kin, path, path.q[0])[0]
    assert found.to_stand_off.q[-1] == found.advance.q[0]


def test_patient_table_drape_and_floor_are_all_kept_clear_of(scene):
    assert {o.name for o in scene.obstacles} == {"patient", "the table", "the drape", "the floor"}


def test_the_same_seed_plans_the_same_path(kin, scene):
    point, direction = axis("L2", "left")
    a = ap.plan_approach(kin, scene, kin.model.home, point, direction, seed=3)
    b = ap.plan_approach(kin, scene, kin.model.home, point, direction, seed=3)
    assert a.to_stand_off == b.to_stand_off and a.advance == b.advance


def test_distances_to_analytic_obstacles_are_exact(kin):
    tip = kin.fk(kin.model.home)
    lowest = 0.009  # radius of the sphere nearest to the opening, 5 mm behind it
    for obstacle, expected in [
        (plane("p", (0.0, 0.0, 1.0), tip[2] - 0.1), 0.105 - lowest),
        (box("b", (tip[0], tip[1], tip[2] - 0.2, 0, 0, 0, 1), (0.1, 0.1, 0.05), 0.02), 0.135 - lowest),
        (capsule("c", (tip[0], tip[1], tip[2] - 0.3), (tip[0], tip[1], tip[2] - 0.1), 0.04), 0.065 - lowest),
    ]:
        checker = ClearanceChecker(kin, Scene((obstacle,)), check_self=False)
        assert checker.tool_margin(kin.model.home) == pytest.approx(expected, abs=2e-4)
        assert isinstance(checker.at(kin.model.home), Clearance)
