"""Poses, quaternions and rotation vectors, against scipy and against each other."""

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from teleop import geometry as g

angle = st.floats(-3.1, 3.1)
coordinate = st.floats(-2.0, 2.0)
rotvec = st.tuples(angle, angle, angle).filter(lambda v: g.norm(v) < 3.1)
pose = st.builds(
    lambda p, v: g.pose_from(p, g.rotvec_to_quat(v)), st.tuples(coordinate, coordinate, coordinate), rotvec
)


@given(rotvec)
def test_a_rotation_vector_survives_the_trip_through_a_quaternion(v):
    assert g.quat_to_rotvec(g.rotvec_to_quat(v)) == pytest.approx(v, abs=1e-9)


@given(rotvec)
def test_quaternion_matrix_and_scipy_agree(v):
    q = g.rotvec_to_quat(v)
    m = Rotation.from_rotvec(v).as_matrix()
    assert np.allclose(g.quat_to_matrix(q), m, atol=1e-9)
    assert g.quat_angle(g.matrix_to_quat(m), q) < 1e-7


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0)])
def test_half_turns_survive_the_trip_through_a_matrix(axis):
    q = g.rotvec_to_quat(tuple(a * pi for a in axis))
    assert g.quat_angle(g.matrix_to_quat(g.quat_to_matrix(q)), q) < 1e-7


@given(pose, pose)
def test_composing_poses_is_multiplying_matrices(a, b):
    assert np.allclose(g.pose_to_matrix(g.compose(a, b)), g.pose_to_matrix(a) @ g.pose_to_matrix(b), atol=1e-9)


@given(pose)
def test_a_pose_times_its_inverse_is_the_identity(a):
    assert g.worst_point_distance(g.compose(a, g.invert(a)), g.IDENTITY, 1.0) < 1e-7


@given(pose, st.tuples(coordinate, coordinate, coordinate))
def test_a_point_goes_there_and_back(a, p):
    assert g.transform_point(g.invert(a), g.transform_point(a, p)) == pytest.approx(p, abs=1e-9)


@given(pose, pose, st.floats(0, 1))
def test_interpolation_covers_the_distance_in_proportion(a, b, t):
    m = g.interpolate(a, b, t)
    whole = g.worst_point_distance(a, b, 0.1)
    assert g.worst_point_distance(a, m, 0.1) == pytest.approx(t * whole, abs=1e-6)


@given(pose, angle)
def test_roll_never_moves_the_axis(p, roll):
    z = g.axis_of(p)
    made = g.pose_of_axis(p[:3], z, roll)
    assert g.angle_between(g.axis_of(made), z) < 1e-7
    lateral, tilt, depth = g.axis_errors(g.along_axis(made, 0.05), p[:3], z)
    assert lateral < 1e-9 and tilt < 1e-7 and depth == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(
    "bad", [(0,) * 6, (0, 0, 0, 0, 0, 0, 2.0), (0, 0, float("nan"), 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 0)]
)
def test_a_malformed_pose_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="target"):
        g.check_pose(bad, "target")


def test_a_zero_direction_is_refused():
    with pytest.raises(ValueError, match="direction"):
        g.unit((0.0, 0.0, 0.0))
