import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sim.demo.judge import Truth, judge, judge_screw
from teleop.case.guide import guide_pose_on_line

ENTRY, TIP = np.array([10.0, -20.0, 30.0]), np.array([10.0, 25.0, 30.0])


def frame(rotvec, p):
    m = np.eye(4)
    m[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    m[:3, 3] = p
    return m


WORLD_T_CT = frame((0.3, 1.1, -0.4), (0.6, 0.1, 0.3))
WORLD_T_REF = frame((-0.2, 0.5, 0.9), (0.5, 0.2, 0.4))
PERFECT = np.linalg.inv(WORLD_T_REF) @ WORLD_T_CT


def guide_at(world_T_ct):
    entry, tip = ENTRY * 1e-3, TIP * 1e-3
    axis = (tip - entry) / np.linalg.norm(tip - entry)
    return world_T_ct @ guide_pose_on_line(entry, axis, 0.005, np.eye(4))


def test_a_perfect_guide_on_a_perfect_registration_has_no_error():
    verdict = judge(Truth(0, guide_at(WORLD_T_CT), WORLD_T_CT, WORLD_T_REF), PERFECT, ENTRY, TIP)
    assert verdict.entry_error_mm < 1e-9
    assert verdict.total_error_mm < 1e-9
    assert verdict.axis_error_deg < 1e-5


def test_a_registration_error_shows_in_the_total_but_not_against_the_registered_line():
    shifted = PERFECT @ frame((0, 0, 0), (0.002, 0, 0))
    guide = guide_at(WORLD_T_REF @ shifted)
    verdict = judge(Truth(0, guide, WORLD_T_CT, WORLD_T_REF), shifted, ENTRY, TIP)
    assert verdict.entry_error_mm < 1e-9
    assert verdict.total_error_mm == pytest.approx(2.0, abs=1e-6)


def test_a_tilted_guide_is_worse_at_the_tip_than_at_the_entry():
    guide = guide_at(WORLD_T_CT) @ frame((0.02, 0, 0), (0, 0, 0))
    verdict = judge(Truth(0, guide, WORLD_T_CT, WORLD_T_REF), PERFECT, ENTRY, TIP)
    assert verdict.axis_error_deg == pytest.approx(np.degrees(0.02), rel=1e-6)
    assert verdict.entry_error_mm == pytest.approx(5 * np.tan(0.02), rel=1e-3)
    assert verdict.total_error_mm > 0.9


def test_a_placed_screw_becomes_a_row_graded_in_the_patient_of_its_own_room(monkeypatch):
    monkeypatch.setattr("sim.demo.judge.generate", lambda seed: f"patient {seed}")
    asked = []
    monkeypatch.setattr("sim.demo.judge.grade_truth", lambda *a: asked.append(a) or {"grade": "B"})
    planned = {"level": "L4", "side": "left", "grade": "", "diameter_mm": 6.5, "entry_lps_mm": ENTRY, "tip_lps_mm": TIP}
    truth = Truth(0, guide_at(WORLD_T_CT) @ frame((0.02, 0, 0), (0, 0, 0)), WORLD_T_CT, WORLD_T_REF)
    row = judge_screw("karamay", 7, planned, truth, PERFECT.ravel().tolist(), 12.5)
    assert (row.site, row.level, row.side, row.grade_planned, row.grade_as_positioned, row.seconds) == ("karamay", "L4", "left", "?", "B", 12.5)
    patient, entry, tip, diameter, level = asked[0]
    assert (patient, diameter, level) == ("patient 7", 6.5, "L4"), "graded as it was positioned, not as planned"
    assert row.axis_error_deg == pytest.approx(np.degrees(0.02), rel=1e-6) and not np.allclose(tip, TIP) and np.allclose(entry, ENTRY, atol=0.2)
