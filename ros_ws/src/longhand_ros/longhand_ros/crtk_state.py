"""Publishes what an arm measures and aims at, by the CRTK names, from the arm process's `arm_state`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from longhand_msgs.msg import ArmState
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from longhand_ros import qos
from longhand_ros.robot_model import Frames, robot_description
from teleop.arm.kinematics import Kinematics
from teleop.crtk.session import ArmView
from teleop.geometry import quat_rotate

#: /tf is for people's eyes: one in four samples of arm_state.
TF_EVERY = 4


def view_of(m: ArmState) -> ArmView:
    """The message as the local session sees it. Raises ValueError when its joints do not fit together."""
    if len(m.q) != len(m.dq):
        raise ValueError(f"arm_state with {len(m.q)} positions and {len(m.dq)} velocities")
    return ArmView(
        stamp=m.stamp_mono, q=tuple(m.q), dq=tuple(m.dq), q_ref=tuple(m.q_ref), pose=pose_from(m.base_t_tip),
        setpoint=pose_from(m.setpoint), s=m.s, path_hash=bytes(m.path_hash), drive=m.drive,
    )


def pose_from(m: PoseMsg) -> tuple[float, float, float, float, float, float, float]:
    p, r = m.position, m.orientation
    return (p.x, p.y, p.z, r.x, r.y, r.z, r.w)


def pose_to(m: PoseMsg, pose: Sequence[float]) -> None:
    p, r = m.position, m.orientation
    p.x, p.y, p.z, r.x, r.y, r.z, r.w = (float(x) for x in pose)


class StatePublishers:
    """measured_js/cp/cv/cf, setpoint_js/cp, goal_js/cp, local/..., /tf, /tf_static, robot_description.

    Reference frame: the arm's base link; the `local/` topics are relative to the arm's own base, which is the same
    frame here, since nothing moves the base.
    """

    def __init__(self, node: Node, kin: Kinematics, prefix: str) -> None:
        self._kin = kin
        self._names = list(kin.model.joint_names)
        self._frames = Frames(kin.model, prefix)
        self._count = 0

        def publish(kind: type, name: str, profile: Any = qos.STATE) -> Any:
            return node.create_publisher(kind, name, profile)

        self._measured_js = publish(JointState, "measured_js")
        self._setpoint_js = publish(JointState, "setpoint_js")
        self._goal_js = publish(JointState, "goal_js")
        self._measured_cp = [publish(PoseStamped, f"{ns}measured_cp") for ns in ("", "local/")]
        self._setpoint_cp = [publish(PoseStamped, f"{ns}setpoint_cp") for ns in ("", "local/")]
        self._goal_cp = publish(PoseStamped, "goal_cp")
        self._measured_cv = [publish(TwistStamped, f"{ns}measured_cv") for ns in ("", "local/")]
        self._measured_cf = publish(WrenchStamped, "measured_cf")
        self._tf = publish(TFMessage, "/tf", qos.STREAM)
        self._tf_static = publish(TFMessage, "/tf_static", qos.LATCHED)
        self._description = publish(String, "robot_description", qos.LATCHED)
        self._description.publish(String(data=robot_description(kin.model)))
        fixed = self._frames.fixed()
        now = node.get_clock().now().to_msg()
        for t in fixed:
            t.header.stamp = now
        self._tf_static.publish(TFMessage(transforms=fixed))

    @property
    def base_frame(self) -> str:
        return self._frames.base

    def publish(self, m: ArmState, view: ArmView) -> None:
        """Everything that follows from one arm_state. Where the arm is silent nothing is published: CRTK's 'invalid'."""
        stamp = m.header.stamp
        q, dq = np.asarray(view.q), np.asarray(view.dq)
        self._measured_js.publish(self._joints(stamp, view.q, view.dq, tuple(m.tau)))
        if view.q_ref:
            self._setpoint_js.publish(self._joints(stamp, view.q_ref))
        for p in self._measured_cp:
            p.publish(self._pose(stamp, view.pose))
        for p in self._setpoint_cp:
            p.publish(self._pose(stamp, view.setpoint))
        twist = TwistStamped()
        twist.header.stamp, twist.header.frame_id = stamp, self._frames.base
        v = self._kin.jacobian_fast(q) @ dq
        a, b = twist.twist.linear, twist.twist.angular
        a.x, a.y, a.z, b.x, b.y, b.z = (float(x) for x in v)
        for p in self._measured_cv:
            p.publish(twist)
        wrench = WrenchStamped()
        wrench.header.stamp, wrench.header.frame_id = stamp, self._frames.base
        # The arm estimates how hard, not from where: a tool that pushes along its axis is pushed back along it.
        f = quat_rotate(view.pose[3:], (0.0, 0.0, -m.force))
        wrench.wrench.force.x, wrench.wrench.force.y, wrench.wrench.force.z = f
        self._measured_cf.publish(wrench)
        self._count += 1
        if self._count % TF_EVERY == 0 or view.drive == "parked":
            moving = self._frames.moving(self._kin.link_frames(q))
            for t in moving:
                t.header.stamp = stamp
            self._tf.publish(TFMessage(transforms=moving))

    def publish_goal(self, stamp: Time, q: Sequence[float], pose: Sequence[float]) -> None:
        """The newest goal, joint and Cartesian, each where there is one."""
        if q:
            self._goal_js.publish(self._joints(stamp, tuple(q)))
        if pose:
            self._goal_cp.publish(self._pose(stamp, pose))

    def _joints(self, stamp: Time, q: tuple[float, ...], dq: tuple[float, ...] = (),
                tau: tuple[float, ...] = ()) -> JointState:
        m = JointState(name=self._names, position=q, velocity=dq, effort=tau)
        m.header.stamp, m.header.frame_id = stamp, self._frames.base
        return m

    def _pose(self, stamp: Time, pose: Sequence[float]) -> PoseStamped:
        m = PoseStamped()
        m.header.stamp, m.header.frame_id = stamp, self._frames.base
        pose_to(m.pose, pose)
        return m
