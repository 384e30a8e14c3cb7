"""What RViz, rqt and other tools want to see of a recorded arm, made from its recorded `arm_state`: joints, poses, transforms,
the robot's description. Every message bears the stamp of the state it is made from.

`/tf` has no prefix, because RViz looks there: where somebody alive publishes it, a replay stays away from it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from longhand_ros import qos
from longhand_ros.arm_topics import set_pose
from longhand_ros.robot_model import Frames, robot_description
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import load_model


class ReplayView:
    """Publishers under `base` (ends with /) and on /tf. arm: its name; model: which arm it was."""

    def __init__(self, node: Node, base: str, arm: str, model: str) -> None:
        """Raises teleop.arm.model's errors for a model that is not here."""
        loaded = load_model(model)
        self._kin = Kinematics(loaded)
        self._names = list(loaded.joint_names)
        self._frame = f"{arm}_base"
        self._frames = Frames(loaded, self._frame)
        make = node.create_publisher
        self._measured_js, self._setpoint_js = make(JointState, base + "measured_js", 10), make(JointState, base + "setpoint_js", 10)
        self._measured_cp, self._setpoint_cp = make(PoseStamped, base + "measured_cp", 10), make(PoseStamped, base + "setpoint_cp", 10)
        self._description = make(String, base + "robot_description", qos.LATCHED)
        self._description.publish(String(data=robot_description(loaded)))
        #: False: somebody else publishes transforms in this domain.
        self.transforms = node.count_publishers("/tf") == 0
        self._tf = make(TFMessage, "/tf", qos.STREAM) if self.transforms else None
        self._fixed = make(TFMessage, "/tf_static", qos.LATCHED) if self.transforms else None
        if self._fixed is not None:
            self._fixed.publish(TFMessage(transforms=self._frames.fixed()))

    def show(self, state: Mapping[str, Any], utc_ns: int) -> None:
        """One recorded ArmState (its fields) at its own time, UTC ns."""
        seconds, nanoseconds = divmod(utc_ns, 1_000_000_000)
        q, q_ref = [float(x) for x in state["q"]], [float(x) for x in state.get("q_ref", ())]
        if len(q) != len(self._names):
            return
        for publisher, message in (
            (self._measured_js, JointState(name=self._names, position=q, velocity=[float(x) for x in state["dq"]])),
            (self._setpoint_js, JointState(name=self._names, position=q_ref if len(q_ref) == len(q) else q)),
            (self._measured_cp, _stamped(state["base_t_tip"])),
            (self._setpoint_cp, _stamped(state["setpoint"])),
        ):
            message.header.frame_id = self._frame
            message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
            publisher.publish(message)
        if self._tf is not None:
            moving = self._frames.moving(self._kin.link_frames(np.asarray(q)))
            for transform in moving:
                transform.header.stamp.sec, transform.header.stamp.nanosec = seconds, nanoseconds
            self._tf.publish(TFMessage(transforms=moving))


def _stamped(pose: Mapping[str, Mapping[str, float]]) -> PoseStamped:
    message = PoseStamped()
    set_pose(message.pose, [*(pose["position"][k] for k in "xyz"), *(pose["orientation"][k] for k in "xyzw")])
    return message
