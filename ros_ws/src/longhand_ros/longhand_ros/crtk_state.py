"""The part of the CRTK face that follows from `arm_state` but that the arm's own loop need not spend time on.

The arm process itself publishes measured_js, measured_cp, measured_cv, setpoint_js, setpoint_cp, local/measured_cp and
robot_description. Here: measured_cf, local/setpoint_cp, local/measured_cv, goal_js, goal_cp, /tf and /tf_static.
"""

import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from longhand_msgs.msg import ArmState
from rclpy.node import Node
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage

from longhand_ros import qos
from longhand_ros.robot_model import Frames
from teleop.arm.kinematics import Kinematics
from teleop.crtk.session import ArmView
from teleop.geometry import check_pose, quat_rotate

#: /tf is for people's eyes: one in four samples of arm_state.
TF_EVERY = 4


def view_of(m: ArmState, joints: int, newest: int, now: int) -> ArmView:
    """The message as the local session sees it.

    Anybody can publish arm_state, so it is read as what anybody may have said. Raises ValueError for another number of
    joints, a number that is none, or a stamp that is not after `newest` and not after `now` (robot ns).
    """
    if not len(m.q) == len(m.dq) == joints or len(m.q_ref) not in (0, joints):
        raise ValueError(f"arm_state with {len(m.q)}, {len(m.dq)}, {len(m.q_ref)} joints, the model has {joints}")
    view = ArmView(
        stamp=m.stamp_mono, q=tuple(m.q), dq=tuple(m.dq), q_ref=tuple(m.q_ref),
        pose=check_pose(pose_from(m.base_t_tip), "base_t_tip"), setpoint=check_pose(pose_from(m.setpoint), "setpoint"),
        s=m.s, path_hash=bytes(m.path_hash), drive=m.drive,
    )
    if not all(math.isfinite(x) for x in (*view.q, *view.dq, *view.q_ref, view.s, m.force)):
        raise ValueError("arm_state with a number that is not finite")
    if not newest < view.stamp <= now:
        raise ValueError(f"arm_state stamped {(view.stamp - now) * 1e-6:.1f} ms from now: a second publisher?")
    return view


def pose_from(m: PoseMsg) -> tuple[float, float, float, float, float, float, float]:
    p, r = m.position, m.orientation
    return (p.x, p.y, p.z, r.x, r.y, r.z, r.w)


def pose_to(m: PoseMsg, pose: Sequence[float]) -> None:
    p, r = m.position, m.orientation
    p.x, p.y, p.z, r.x, r.y, r.z, r.w = (float(x) for x in pose)


class StatePublishers:
    """See the module. Reference frame: `base_frame`, the arm's base link; the `local/` topics are relative to the arm's
    own base, which is the same frame here, since nothing moves the base."""

    def __init__(self, node: Node, kin: Kinematics, base_frame: str) -> None:
        self._kin = kin
        self._names = list(kin.model.joint_names)
        self._frames = Frames(kin.model, base_frame)
        self._base = base_frame
        self._count = 0
        self._goal_js = node.create_publisher(JointState, "goal_js", qos.STATE)
        self._goal_cp = node.create_publisher(PoseStamped, "goal_cp", qos.STATE)
        self._local_setpoint_cp = node.create_publisher(PoseStamped, "local/setpoint_cp", qos.STATE)
        self._local_measured_cv = node.create_publisher(TwistStamped, "local/measured_cv", qos.STATE)
        self._measured_cf = node.create_publisher(WrenchStamped, "measured_cf", qos.STATE)
        self._tf = node.create_publisher(TFMessage, "/tf", qos.STREAM)
        self._tf_static = node.create_publisher(TFMessage, "/tf_static", qos.LATCHED)
        fixed = self._frames.fixed()
        for t in fixed:
            t.header.stamp = node.get_clock().now().to_msg()
        self._tf_static.publish(TFMessage(transforms=fixed))

    def publish(self, m: ArmState, view: ArmView) -> None:
        """All that follows from one arm_state. Where the arm is silent nothing is published: CRTK's "invalid"."""
        stamp = m.header.stamp
        if self._local_setpoint_cp.get_subscription_count():
            self._local_setpoint_cp.publish(self._pose(stamp, view.setpoint))
        if self._local_measured_cv.get_subscription_count():
            twist = TwistStamped()
            twist.header.stamp, twist.header.frame_id = stamp, self._base
            v = self._kin.jacobian_fast(np.asarray(view.q)) @ np.asarray(view.dq)
            a, b = twist.twist.linear, twist.twist.angular
            a.x, a.y, a.z, b.x, b.y, b.z = (float(x) for x in v)
            self._local_measured_cv.publish(twist)
        if self._measured_cf.get_subscription_count():
            wrench = WrenchStamped()
            wrench.header.stamp, wrench.header.frame_id = stamp, self._base
            # The arm estimates how hard, not from where: a tool that pushes along its axis is pushed back along it.
            f = quat_rotate(view.pose[3:], (0.0, 0.0, -m.force))
            wrench.wrench.force.x, wrench.wrench.force.y, wrench.wrench.force.z = f
            self._measured_cf.publish(wrench)
        self._count += 1
        if (self._count % TF_EVERY == 0 or view.drive == "parked") and self._tf.get_subscription_count():
            moving = self._frames.moving(self._kin.link_frames(np.asarray(view.q)))
            for t in moving:
                t.header.stamp = stamp
            self._tf.publish(TFMessage(transforms=moving))

    def publish_goal(self, stamp: Time, q: Sequence[float], pose: Sequence[float]) -> None:
        """The newest goal, joint and Cartesian, each where there is one."""
        if q:
            goal = JointState(name=self._names, position=list(q))
            goal.header.stamp, goal.header.frame_id = stamp, self._base
            self._goal_js.publish(goal)
        if pose:
            self._goal_cp.publish(self._pose(stamp, pose))

    def _pose(self, stamp: Time, pose: Sequence[float]) -> PoseStamped:
        m = PoseStamped()
        m.header.stamp, m.header.frame_id = stamp, self._base
        pose_to(m.pose, pose)
        return m
