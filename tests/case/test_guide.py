import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from teleop.case.guide import base_T_ref_from_view, guide_error, guide_pose_on_line, mean_pose

unit = st.floats(-1, 1)


def pose(rotvec, p):
    m = np.eye(4)
    m[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    m[:3, 3] = p
    return m


@given(st.tuples(unit, unit, unit), st.tuples(unit, unit, unit), st.floats(0.0, 0.2), st.tuples(unit, unit, unit))
def test_a_guide_put_on_a_line_has_no_error_and_the_asked_stand_off(direction, entry, stand_off, rotvec):
    axis = np.array(direction)
    if np.linalg.norm(axis) < 1e-2:
        return
    axis /= np.linalg.norm(axis)
    on_line = guide_pose_on_line(np.array(entry), axis, stand_off, pose(rotvec, (0, 0, 0)))
    error = guide_error(on_line, np.array(entry), axis)
    assert error.lateral_m < 1e-9
    assert error.angle_rad < 1e-7
    assert error.stand_off_m == pytest.approx(stand_off, abs=1e-9)
    assert np.linalg.det(on_line[:3, :3]) == pytest.approx(1.0)


@given(st.floats(0, 6.283), st.floats(1e-5, 5e-3))
def test_a_sideways_shift_is_reported_as_that_lateral_error(direction, shift):
    axis = np.array([0.0, 0.0, -1.0])
    entry = np.array([0.1, 0.2, 0.3])
    on_line = guide_pose_on_line(entry, axis, 0.03, np.eye(4))
    on_line[:3, 3] += shift * np.array([np.cos(direction), np.sin(direction), 0.0])
    assert guide_error(on_line, entry, axis).lateral_m == pytest.approx(shift, rel=1e-9)


def test_a_tilted_guide_is_off_at_the_entry_by_stand_off_times_the_tilt():
    entry = np.zeros(3)
    axis = np.array([0.0, 0.0, 1.0])
    tilted = guide_pose_on_line(entry, axis, 0.05, np.eye(4))
    tilted[:3, :3] = tilted[:3, :3] @ Rotation.from_rotvec([0.01, 0, 0]).as_matrix()
    error = guide_error(tilted, entry, axis)
    assert error.angle_rad == pytest.approx(0.01, rel=1e-6)
    assert error.lateral_m == pytest.approx(0.05 * np.tan(0.01), rel=1e-6)


def test_one_wild_tracker_frame_does_not_move_the_mean():
    rng = np.random.default_rng(3)
    true = pose((0.3, -0.2, 0.1), (0.5, 0.1, 0.2))
    frames = np.stack([true @ pose(rng.normal(0, 1e-3, 3), rng.normal(0, 1e-4, 3)) for _ in range(50)])
    frames[7] = frames[7] @ pose((0.5, 0, 0), (0.05, 0, 0))
    mean, scatter = mean_pose(frames)
    assert np.linalg.norm(mean[:3, 3] - true[:3, 3]) < 1e-4
    assert Rotation.from_matrix(mean[:3, :3].T @ true[:3, :3]).magnitude() < 1e-3
    assert scatter < 4e-4


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"\(N,4,4\)"):
        mean_pose(np.zeros((0, 4, 4)))


@given(st.tuples(unit, unit, unit), st.tuples(unit, unit, unit))
def test_a_target_through_the_local_view_is_exact_when_the_arm_does_not_lie(rotvec, p):
    base_T_ref = pose(rotvec, p)
    base_T_tip = pose((0.1, 0.2, 0.3), (0.4, 0.0, 0.3))
    ref_T_tip = np.linalg.inv(base_T_ref) @ base_T_tip
    assert np.allclose(base_T_ref_from_view(base_T_tip, ref_T_tip), base_T_ref, atol=1e-12)
