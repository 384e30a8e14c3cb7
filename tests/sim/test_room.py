"""The simulated room: its arm lies by a millimetre or two, its patient breathes, its tracker sees, and all of it is
seeded."""

from itertools import pairwise

import numpy as np
import pytest

from sim.arm import PyBulletArm
from sim.hidden import draw_errors, no_errors, open_loop_error
from sim.kinematic_arm import KinematicArm
from sim.patient import lay_patient
from sim.room import SimRoom
from sim.tracker import Tracker
from teleop import geometry as g
from teleop.arm.driver import ArmDriver
from teleop.arm.kinematics import warm
from teleop.arm.model import load_model

MS = 1_000_000


@pytest.fixture(scope="module")
def kin():
    return warm(load_model("iiwa7"))


@pytest.mark.parametrize("seed", range(6))
def test_the_measured_kinematics_lie_by_one_to_two_millimetres(kin, seed):
    errors = draw_errors(kin.model, seed)
    postures = kin.model.home + np.random.default_rng(99).uniform(-0.5, 0.5, (30, 7))
    assert 0.0008 < open_loop_error(kin.model, errors, postures) < 0.0025


def test_physics_and_our_true_kinematics_agree(kin):
    arm = PyBulletArm(kin.model, 3)
    try:
        assert g.worst_point_distance(arm.tip(), arm.tip_of_physics(), 0.1) < 1e-6
    finally:
        arm.close()


@pytest.mark.parametrize("make", [PyBulletArm, KinematicArm])
def test_an_arm_reaches_its_reference_by_its_own_encoders(kin, make):
    arm = make(kin.model, 5)
    try:
        assert isinstance(arm, ArmDriver)
        arm.brakes(False)
        goal = kin.model.home + 0.05
        for k in range(600):
            share = min(1.0, k / 500)
            rate = 0.05 if k < 500 else 0.0
            arm.write(kin.model.home + 0.05 * share, np.full(7, rate))
        found = arm.read(0)
        assert np.max(np.abs(found.q - goal)) < 1e-4
        nominal = kin.fk(found.q)
        assert 0.0002 < np.linalg.norm(np.subtract(nominal[:3], arm.tip()[:3])) < 0.004
    finally:
        arm.close()


@pytest.mark.parametrize("make", [PyBulletArm, KinematicArm])
def test_brakes_hold_whatever_is_written(kin, make):
    arm = make(kin.model, 5)
    try:
        arm.brakes(True)
        before = arm.tip()
        for _ in range(50):
            arm.write(kin.model.home + 0.2, np.full(7, 0.5))
        assert arm.tip() == before
        assert np.all(arm.read(0).dq == 0.0)
    finally:
        arm.close()


def test_without_errors_the_kinematics_tell_the_truth(kin):
    arm = KinematicArm(kin.model, 0, errors=no_errors(7), noise=0.0)
    assert g.worst_point_distance(kin.fk(arm.read(0).q), arm.tip(), 0.1) < 1e-9


def test_the_same_seed_is_the_same_room_bit_for_bit(kin):
    def run():
        room = SimRoom(kin.model, driver="pybullet", seed=4)
        out = []
        room.driver.brakes(False)
        for k in range(100):
            now = k * 2 * MS
            room.driver.write(kin.model.home + 0.0005 * k, np.full(7, 0.25))
            room.tick(now)
            frame = room.tracker_frame(now)
            out.append((room.driver.read(now).q.tolist(), frame))
        room.close()
        return out

    assert run() == run()


def test_breathing_lifts_the_back_two_millimetres_and_a_hold_settles():
    patient = lay_patient(1)
    heights = [patient.ct(t * 20 * MS)[2] for t in range(400)]
    assert max(heights) - min(heights) == pytest.approx(0.002, abs=1e-4)
    patient.breath.hold(True, 8_000 * MS)
    still = [patient.ct(9_100 * MS + t * 20 * MS) for t in range(100)]
    assert all(p == still[0] for p in still)
    assert still[0][2] == pytest.approx(min(heights), abs=1e-9)
    steps = [patient.ct(8_000 * MS + t * 20 * MS)[2] for t in range(60)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 1e-4, "a hold jumps"


def test_reference_frame_and_patient_move_together_until_somebody_bumps_it():
    patient = lay_patient(2)

    def between(t):
        return g.compose(g.invert(patient.ct(t)), patient.reference(t))

    assert g.worst_point_distance(between(0), between(1_300 * MS), 0.1) < 1e-9
    before = between(0)
    patient.bump("reference", 0.002)
    assert 0.0015 < g.worst_point_distance(before, between(0), 0.0) < 0.0025
    fixed = between(0)
    table = patient.ct(0)
    patient.bump("table", 0.005)
    assert g.worst_point_distance(fixed, between(0), 0.1) < 1e-9
    assert g.worst_point_distance(table, patient.ct(0), 0.0) > 0.001


def test_a_tracker_averages_to_the_truth_with_the_noise_it_promises():
    tracker = Tracker(3)
    tip, ref = (0.5, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0), (0.5, -0.1, 0.2, 0.0, 0.0, 0.0, 1.0)
    frames = [tracker.frame(k * 20 * MS, tip, ref) for k in range(3000)]
    seen = [f.tracker_T_reference for f in frames if f.tracker_T_reference is not None]
    assert 0.95 < len(seen) / len(frames) < 1.0, "drop-outs are expected, but few"
    where = np.array([p[:3] for p in seen])
    assert np.allclose(where.std(axis=0), 1e-4, rtol=0.15)
    found = g.transform_point(tracker.world_T_tracker, tuple(where.mean(axis=0)))
    assert np.linalg.norm(np.subtract(found, ref[:3])) < 1e-5


def test_nobody_is_seen_while_somebody_stands_in_the_way():
    tracker = Tracker(3)
    tracker.dropout(100 * MS)
    pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert tracker.frame(50 * MS, pose, pose).tracker_T_guide is None


def test_requests_of_the_room_are_answered_and_nonsense_is_refused(tmp_path, kin):
    (tmp_path / "landmarks.json").write_text('{"landmarks": [{"name": "spinous", "lps_mm": [1.0, 70.0, -9.0]}]}')
    room = SimRoom(kin.model, driver="kinematic", seed=1, phantom=tmp_path)
    truth = room.handle({"t": "truth"}, 0)
    true = g.transform_point(
        g.compose(g.invert(tuple(truth["world_T_ref"])), tuple(truth["world_T_ct"])), (0.001, 0.070, -0.009)
    )
    touches = np.array([room.handle({"t": "touch", "name": "spinous"}, k)["ref_p"] for k in range(200)])
    assert np.linalg.norm(touches.mean(axis=0) - np.array(true)) < 1e-4
    rms = np.sqrt(((touches - np.array(true)) ** 2).sum(axis=1).mean())
    assert rms == pytest.approx(0.0003, rel=0.2)
    assert room.handle({"t": "landmarks"}, 0)["names"] == ["spinous"]
    for bad, word in [
        ({"t": "touch", "name": "nose"}, "nose"),
        ({"t": "touch"}, "malformed"),
        ({"t": "bump", "what": "nurse"}, "nurse"),
        ({"t": "dance"}, "unknown"),
        ({}, "malformed"),
    ]:
        answer = room.handle(bad, 0)
        assert answer["ok"] is False and word in answer["reason"]


def test_a_room_without_its_phantom_says_how_to_make_one(tmp_path, kin):
    with pytest.raises(ValueError, match="longhand phantom"):
        SimRoom(kin.model, driver="kinematic", phantom=tmp_path)
    with pytest.raises(ValueError, match="pybullet or kinematic"):
        SimRoom(kin.model, driver="magic")
