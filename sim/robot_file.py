"""Writes the URDF of the *true* robot: arm plus tool as one file, with the hidden errors built in, for the physics to
load.

Joint origins carry the DH errors, the tool sits on its askew mount, the mount is heavier by the unknown payload, joint
efforts are the real machine's. Mesh paths become absolute. Our own XML handling, a page of it, so that any URDF of a
model
file works (the UR5e as well as the iiwa).
"""

import xml.etree.ElementTree as ET
from math import asin, atan2
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.hidden import HiddenErrors
from teleop.arm.model import ArmModel, _origin
from teleop.geometry import compose, pose_to_matrix

Array = NDArray[np.float64]

TIP_LINK = "guide_tip"


def _write_origin(joint: ET.Element, m: Array) -> None:
    """xyz and rpy (URDF's fixed-axis angles) of a 4x4."""
    pitch = asin(max(-1.0, min(1.0, -float(m[2, 0]))))
    roll, yaw = atan2(float(m[2, 1]), float(m[2, 2])), atan2(float(m[1, 0]), float(m[0, 0]))
    origin = joint.find("origin")
    if origin is None:
        origin = ET.SubElement(joint, "origin")
    origin.set("xyz", " ".join(repr(float(v)) for v in m[:3, 3]))
    origin.set("rpy", f"{roll!r} {pitch!r} {yaw!r}")


def _absolute_meshes(root: ET.Element, folder: Path) -> None:
    for mesh in root.iter("mesh"):
        name = mesh.get("filename", "")
        if name.startswith("package://"):
            name = name.split("://", 1)[1]
        mesh.set("filename", str((folder / name).resolve()))


def write_true_robot(model: ArmModel, errors: HiddenErrors, target: Path) -> Path:
    """Write the robot to `target`; returns it."""
    arm = ET.parse(model.urdf).getroot()
    tool = ET.parse(model.tool_urdf).getroot()
    _absolute_meshes(arm, model.urdf.parent)
    _absolute_meshes(tool, model.tool_urdf.parent)
    joints = {j.get("name"): j for j in arm.findall("joint")}
    for i, name in enumerate(model.joint_names):
        joint = joints[name]
        _write_origin(joint, _origin(joint, name) @ pose_to_matrix(errors.links[i]))
        limit = joint.find("limit")
        if limit is not None:
            limit.set("effort", str(float(model.effort[i])))
            limit.set("velocity", str(float(model.v_max[i])))
    mass = tool.find("link/inertial/mass")
    if mass is not None:
        mass.set("value", str(float(mass.get("value", "0")) + errors.payload))
    mount = ET.SubElement(arm, "joint", name="flange_to_tool", type="fixed")
    ET.SubElement(mount, "parent", link=model.flange_link)
    first = tool.find("link")
    ET.SubElement(mount, "child", link=first.get("name", "") if first is not None else "")
    _write_origin(mount, pose_to_matrix(compose(model.last_link_T_flange, errors.mount)))
    for element in tool:
        if element.tag in ("link", "joint"):
            arm.append(element)
    ET.ElementTree(arm).write(target, encoding="unicode", xml_declaration=True)
    return target
