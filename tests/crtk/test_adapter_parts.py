"""What the adapter node builds on, without running it: reading arm_state, the tree of frames, the robot description."""

import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

pytest.importorskip("rclpy")
from longhand_msgs.msg import ArmState

from longhand_ros.crtk_state import pose_to, view_of
from longhand_ros.robot_model import Frames, robot_description
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import load_model
from teleop.geometry import pose_to_matrix

MODEL = load_model()


def arm_state(**changes):
    m = ArmState(stamp_mono=100, q=[0.1] * 7, dq=[0.0] * 7, q_ref=[0.1] * 7, drive="standstill")
    for name, value in changes.items():
        setattr(m, name, value)
    return m


def test_a_good_state_is_read():
    view = view_of(arm_state(), 7, newest=99, now=100)
    assert view.q == (0.1,) * 7 and view.still


@pytest.mark.parametrize(("changes", "says"), [
    ({"q": [0.1] * 6}, "joints"), ({"q_ref": [0.1] * 3}, "joints"), ({"dq": [float("nan")] * 7}, "not finite"),
    ({"force": float("inf")}, "not finite"), ({"stamp_mono": 99}, "second publisher"), ({"stamp_mono": 101}, "second publisher")])
def test_a_state_that_somebody_made_up_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        view_of(arm_state(**changes), 7, newest=99, now=100)


def test_a_pose_that_is_none_is_refused():
    m = arm_state()
    pose_to(m.base_t_tip, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="base_t_tip"):
        view_of(m, 7, newest=99, now=100)


def test_the_tree_of_frames_leads_to_the_tip():
    kin = Kinematics(MODEL)
    frames = Frames(MODEL, "arm1_base")
    q = MODEL.home + 0.1
    at = {"arm1_base": np.eye(4)}
    for t in [*frames.fixed()[:1], *frames.moving(kin.link_frames(q)), *frames.fixed()[1:]]:
        v, r = t.transform.translation, t.transform.rotation
        at[t.child_frame_id] = at[t.header.frame_id] @ pose_to_matrix((v.x, v.y, v.z, r.x, r.y, r.z, r.w))
    np.testing.assert_allclose(at["guide_tip"], pose_to_matrix(kin.fk(q)), atol=1e-9)


def test_the_robot_description_is_one_tree_with_meshes_that_exist():
    root = ET.fromstring(robot_description(MODEL))
    links = {link.get("name") for link in root.findall("link")}
    parents = {j.find("child").get("link"): j.find("parent").get("link") for j in root.findall("joint")}
    assert {MODEL.base_link, "guide_tip"} <= links and set(parents) | set(parents.values()) <= links
    link = "guide_tip"
    while link in parents:
        link = parents[link]
    assert link in (MODEL.base_link, *(set(links) - set(parents)))
    for mesh in root.iter("mesh"):
        assert Path(urlparse(mesh.get("filename")).path).is_file()


def test_the_same_joints_give_the_same_tip_in_the_robot_description(tmp_path):
    pinocchio = pytest.importorskip("pinocchio")
    file = tmp_path / "robot.urdf"
    file.write_text(robot_description(MODEL))
    model = pinocchio.buildModelFromUrdf(str(file))
    data, q = model.createData(), MODEL.home + 0.2
    pinocchio.framesForwardKinematics(model, data, q)
    tip = data.oMf[model.getFrameId("guide_tip")].homogeneous
    np.testing.assert_allclose(tip, pose_to_matrix(Kinematics(MODEL).fk(q)), atol=1e-8)
