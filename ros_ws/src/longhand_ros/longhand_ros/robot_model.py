"""One URDF of arm and tool, and the transforms that go with it, so that RViz and Foxglove show the arm."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray

from teleop.arm.model import ArmModel
from teleop.geometry import matrix_to_pose, pose_to_matrix


def robot_description(model: ArmModel) -> str:
    """The arm's URDF with the tool fixed to its last link; mesh files by absolute file:// address. Raises OSError."""
    robot = ET.parse(model.urdf).getroot()
    _absolute_meshes(robot, model.urdf.parent)
    tool = ET.parse(model.tool_urdf).getroot()
    _absolute_meshes(tool, model.tool_urdf.parent)
    for element in list(tool):
        if element.tag in ("link", "joint"):
            robot.append(element)
    x, y, z, qx, qy, qz, qw = model.last_link_T_flange
    joint = ET.SubElement(robot, "joint", name="flange_to_tool", type="fixed")
    ET.SubElement(joint, "parent", link=model.flange_link)
    ET.SubElement(joint, "child", link=_root_link(tool))
    ET.SubElement(joint, "origin", xyz=f"{x:.9g} {y:.9g} {z:.9g}", rpy=_rpy((qx, qy, qz, qw)))
    return ET.tostring(robot, encoding="unicode")


def _absolute_meshes(robot: ET.Element, folder: Path) -> None:
    for mesh in robot.iter("mesh"):
        name = mesh.get("filename", "")
        if name and "://" not in name:
            mesh.set("filename", (folder / name).resolve().as_uri())


def _root_link(robot: ET.Element) -> str:
    """The link that is no joint's child."""
    children = {c.get("link") for c in robot.iter("child")}
    return next(link.get("name", "") for link in robot.findall("link") if link.get("name") not in children)


def _rpy(quat: Sequence[float]) -> str:
    """URDF's fixed-axis roll, pitch, yaw of a quaternion."""
    m = pose_to_matrix((0.0, 0.0, 0.0, *quat))
    pitch = float(np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0])))
    return f"{float(np.arctan2(m[2, 1], m[2, 2])):.9g} {pitch:.9g} {float(np.arctan2(m[1, 0], m[0, 0])):.9g}"


class Frames:
    """The tree below `base_frame` (the frame of all poses of the arm): the URDF's own link names, and the tip's.

    One arm to a ROS domain, so the names need no prefix and RViz shows the robot_description as it is.
    """

    def __init__(self, model: ArmModel, base_frame: str) -> None:
        self.base = base_frame
        self._model = model

    def fixed(self) -> list[TransformStamped]:
        """Transforms that never change: base frame to base link, last link to tool mount, mount to tip."""
        m = self._model
        root = _root_link(ET.parse(m.tool_urdf).getroot())
        last_T_mount = pose_to_matrix(m.last_link_T_flange)
        return [
            _transform(self.base, m.base_link, np.eye(4)),
            _transform(m.flange_link, root, last_T_mount),
            _transform(root, "guide_tip", pose_to_matrix(m.flange_T_tip)),
        ]

    def moving(self, link_frames: NDArray[np.float64]) -> list[TransformStamped]:
        """Transforms of the joints, from (n+1,4,4) base_T_link as `Kinematics.link_frames` gives them."""
        out, parent, base_T_parent = [], self._model.base_link, np.eye(4)
        for name, base_T_link in zip(self._model.link_names, link_frames, strict=False):
            out.append(_transform(parent, name, np.linalg.inv(base_T_parent) @ base_T_link))
            parent, base_T_parent = name, base_T_link
        return out


def _transform(parent: str, child: str, matrix: NDArray[np.float64]) -> TransformStamped:
    pose = matrix_to_pose(matrix)
    t = TransformStamped()
    t.header.frame_id, t.child_frame_id = parent, child
    v, r = t.transform.translation, t.transform.rotation
    v.x, v.y, v.z, r.x, r.y, r.z, r.w = (float(x) for x in pose)
    return t
