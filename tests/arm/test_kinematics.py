"""Our numba kinematics against pinocchio, inside limits, and for an arm that is only a configuration file."""

from pathlib import Path

import numpy as np
import pinocchio
import pytest
import yaml

from teleop import geometry as g
from teleop.arm.kinematics import Kinematics, Unreachable, warm
from teleop.arm.model import MODELS, ModelError, build_model, load_model

UR5E = Path(__file__).parents[2].parent / "shared/data/urdf/ur5e/ur5e.urdf"
RNG = np.random.default_rng(1)


def ur5e_config():
    if not UR5E.exists():
        pytest.skip(f"{UR5E} is not on this machine (real data for tests)")
    return {
        "name": "ur5e",
        "urdf": str(UR5E),
        "base_link": "base_link",
        "last_link": "tool0",
        "home": [0.0, -1.4, 1.6, -1.77, -1.57, 0.0],
        "tool": {"urdf": "drill_guide.urdf", "base_link": "guide_mount", "tip_link": "guide_tip", "radius": 0.15},
    }


@pytest.fixture(scope="module")
def iiwa():
    return warm(load_model("iiwa7"))


def against_pinocchio(k: Kinematics, count: int = 50):
    model = pinocchio.buildModelFromUrdf(str(k.model.urdf))
    data = model.createData()
    frame = model.getFrameId(k.model.flange_link)
    last_T_tip = g.pose_to_matrix(g.compose(k.model.last_link_T_flange, k.model.flange_T_tip))
    for _ in range(count):
        q = RNG.uniform(k.model.lower, k.model.upper)
        pinocchio.computeJointJacobians(model, data, q)
        pinocchio.updateFramePlacements(model, data)
        base = data.oMf[model.getFrameId(k.model.base_link)].homogeneous
        want = np.linalg.inv(base) @ data.oMf[frame].homogeneous @ last_T_tip
        assert np.allclose(g.pose_to_matrix(k.fk(q)), want, atol=1e-9)
        jac = pinocchio.getFrameJacobian(model, data, frame, pinocchio.LOCAL_WORLD_ALIGNED)
        lever = want[:3, 3] - (np.linalg.inv(base) @ data.oMf[frame].homogeneous)[:3, 3]
        assert np.allclose(base[:3, :3], np.eye(3), atol=1e-9)
        shifted = jac.copy()
        shifted[:3] += np.cross(jac[3:].T, lever).T
        assert np.allclose(k.jacobian(q), shifted, atol=1e-9)


def test_forward_kinematics_and_jacobian_agree_with_pinocchio(iiwa):
    against_pinocchio(iiwa)


def test_a_second_arm_is_configuration_only():
    k = Kinematics(build_model(ur5e_config(), MODELS / "ur5e.yaml"))
    against_pinocchio(k)
    q = np.array([0.3, -1.2, 1.4, -1.5, -1.2, 0.4])
    found = k.solve(k.fk(q), k.model.home)
    assert g.worst_point_distance(k.fk(found.q), k.fk(q), 0.1) < 1e-5


def test_inverse_kinematics_finds_every_reachable_pose_inside_the_limits(iiwa):
    for i in range(200):
        pose = iiwa.fk(RNG.uniform(iiwa.model.lower, iiwa.model.upper))
        found = iiwa.solve(pose, iiwa.model.home, seed=i)
        assert g.worst_point_distance(iiwa.fk(found.q), pose, iiwa.radius) < 2e-6
        assert np.all(found.q >= iiwa.model.lower) and np.all(found.q <= iiwa.model.upper)


def test_a_free_roll_keeps_the_axis_and_the_point(iiwa):
    for i in range(50):
        pose = iiwa.fk(RNG.uniform(iiwa.model.lower, iiwa.model.upper))
        found = iiwa.solve(pose, iiwa.model.home, roll_free=True, seed=i)
        lateral, tilt, depth = g.axis_errors(iiwa.fk(found.q), pose[:3], g.axis_of(pose))
        assert lateral < 2e-6 and tilt < 2e-6 and abs(depth) < 2e-6


def test_a_pose_out_of_reach_is_refused_with_the_distance_that_is_missing(iiwa):
    with pytest.raises(Unreachable, match="mm"):
        iiwa.solve((2.0, 0, 0, 0, 0, 0, 1), iiwa.model.home, restarts=3)


def test_worst_tool_point_speed_is_what_finite_differences_say(iiwa):
    q = iiwa.model.home
    dq = np.array([0.1, -0.05, 0.02, 0.1, 0.3, -0.2, 0.1])
    dt = 1e-6
    moved = g.worst_point_distance(iiwa.fk(q - dq * dt / 2), iiwa.fk(q + dq * dt / 2), iiwa.radius)
    assert iiwa.speed(q, dq) == pytest.approx(moved / dt, rel=1e-4)


def test_the_same_seed_gives_the_same_posture(iiwa):
    pose = iiwa.fk(np.array([1.0, 0.9, -1.0, 1.2, 1.0, -0.8, 0.4]))
    assert np.array_equal(iiwa.solve(pose, iiwa.model.home, seed=5).q, iiwa.solve(pose, iiwa.model.home, seed=5).q)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"base_link": "nowhere"}, "nowhere"), ({"home": [0.0]}, "home"), ({"velocity": [1.0]}, "velocity")],
)
def test_a_model_that_does_not_fit_together_says_what_is_wrong(change, word):
    config = yaml.safe_load((MODELS / "iiwa7.yaml").read_text()) | change
    with pytest.raises(ModelError, match=word):
        build_model(config, MODELS / "iiwa7.yaml")


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match="iiwa7"):
        load_model("no-such-arm")
