"""What the arm process publishes: arm_state, arm_state_block, tracker, and the measured side of the CRTK face.

Message objects are made once and filled again: a new PoseStamped costs 7 us, filling one costs 1. The CRTK topics are
filled only while somebody listens (asked five times a second: CRTK clients wait one second for their first message).
"""

import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from crtk_msgs.msg import OperatingState  # noqa: F401  (fails early, with a clear name, where the interfaces were not built)
from geometry_msgs.msg import Pose, PoseStamped, TwistStamped
from longhand_msgs.msg import ArmState, ArmStateBlock, TrackerSample
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from longhand_ros import qos
from safety.lease import ArmReport
from teleop.arm.kinematics import Kinematics

BLOCK_NS = 100_000_000


def set_pose(pose: Pose, values: Sequence[float]) -> None:
    """Fill a geometry_msgs/Pose from (x, y, z, qx, qy, qz, qw)."""
    p, o = pose.position, pose.orientation
    p.x, p.y, p.z, o.x, o.y, o.z, o.w = values


def set_stamp(header: Any) -> None:
    """Wall-clock time, as ROS headers carry it (the robot's own stamps travel beside, in stamp_mono)."""
    header.stamp.sec, header.stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)


class ArmTopics:
    """Publishers of one arm on a node whose namespace is /<site>/<arm>. base_frame names the frame of all poses."""

    def __init__(self, node: Node, kin: Kinematics, base_frame: str, description: str) -> None:
        self._node = node
        self._kin = kin
        make = node.create_publisher
        self._state = make(ArmState, "arm_state", qos.ARM_STATE_OFFERED)
        self._block = make(ArmStateBlock, "arm_state_block", qos.ORDER)
        self._tracker = make(TrackerSample, "tracker", qos.SAMPLES)
        self._measured_js = make(JointState, "measured_js", qos.STATE)
        self._setpoint_js = make(JointState, "setpoint_js", qos.STATE)
        self._measured_cp = make(PoseStamped, "measured_cp", qos.STATE)
        self._local_cp = make(PoseStamped, "local/measured_cp", qos.STATE)
        self._setpoint_cp = make(PoseStamped, "setpoint_cp", qos.STATE)
        self._measured_cv = make(TwistStamped, "measured_cv", qos.STATE)
        self._crtk = (
            self._measured_js,
            self._setpoint_js,
            self._measured_cp,
            self._local_cp,
            self._setpoint_cp,
            self._measured_cv,
        )
        self._wanted: dict[int, bool] = {id(p): False for p in self._crtk}
        self._next_ask = 0
        self._msg_state = ArmState(schema_version=ArmState.SCHEMA_VERSION)
        self._msg_state.header.frame_id = base_frame
        names = list(kin.model.joint_names)
        self._msg_mjs, self._msg_sjs = JointState(name=names), JointState(name=names)
        self._msg_cp, self._msg_cv = PoseStamped(), TwistStamped()
        for message in (self._msg_mjs, self._msg_sjs, self._msg_cp, self._msg_cv):
            message.header.frame_id = base_frame
        self._msg_tracker = TrackerSample(schema_version=TrackerSample.SCHEMA_VERSION)
        self._msg_tracker.header.frame_id = "tracker"
        self._base_frame = base_frame
        self._rows: list[ArmReport] = []
        self._description = make(String, "robot_description", qos.LATCHED)
        self._description.publish(String(data=description))

    def state(self, r: ArmReport) -> None:
        """arm_state and whatever CRTK topics somebody listens to."""
        m = self._msg_state
        set_stamp(m.header)
        m.stamp_mono = r.stamp
        m.q, m.dq, m.tau = array("d", r.q), array("d", r.dq), array("d", r.tau)
        set_pose(m.base_t_tip, r.pose)
        set_pose(m.setpoint, r.setpoint)
        m.speed, m.force, m.s = r.speed, r.force, r.s
        m.path_hash, m.lease_id = array("B", r.path_hash), r.lease_id
        m.drive, m.fault = r.drive, r.fault
        m.tracking_error, m.late_ns = r.tracking_error, r.late_ns
        m.q_ref, m.travel = array("d", r.q_ref), r.travel
        self._state.publish(m)
        if r.stamp >= self._next_ask:
            self._next_ask = r.stamp + 200_000_000
            self._wanted = {id(p): p.get_subscription_count() > 0 for p in self._crtk}
        if any(self._wanted.values()):
            self._crtk_side(r)

    def _crtk_side(self, r: ArmReport) -> None:
        stamp = self._msg_state.header.stamp
        want = self._wanted
        if want[id(self._measured_js)]:
            m = self._msg_mjs
            m.header.stamp = stamp
            m.position, m.velocity, m.effort = array("d", r.q), array("d", r.dq), array("d", r.tau)
            self._measured_js.publish(m)
        if want[id(self._setpoint_js)]:
            m = self._msg_sjs
            m.header.stamp = stamp
            m.position = array("d", r.q_ref)
            self._setpoint_js.publish(m)
        cp = self._msg_cp
        cp.header.stamp = stamp
        if want[id(self._setpoint_cp)]:
            set_pose(cp.pose, r.setpoint)
            self._setpoint_cp.publish(cp)
        if want[id(self._measured_cp)] or want[id(self._local_cp)]:
            set_pose(cp.pose, r.pose)
            for publisher in (self._measured_cp, self._local_cp):
                if want[id(publisher)]:
                    publisher.publish(cp)
        if want[id(self._measured_cv)]:
            cv = self._msg_cv
            cv.header.stamp = stamp
            v = self._kin.jacobian_fast(np.array(r.q)) @ np.array(r.dq)
            twist = cv.twist
            twist.linear.x, twist.linear.y, twist.linear.z = v[:3].tolist()
            twist.angular.x, twist.angular.y, twist.angular.z = v[3:].tolist()
            self._measured_cv.publish(cv)

    def collect(self, r: ArmReport) -> None:
        """Every tick: rows of arm_state_block, published each 100 ms."""
        rows = self._rows
        if rows and r.stamp - rows[0].stamp >= BLOCK_NS:
            self._publish_block(rows)
            self._rows = rows = []
        rows.append(r)

    def _publish_block(self, rows: list[ArmReport]) -> None:
        m = ArmStateBlock(schema_version=ArmStateBlock.SCHEMA_VERSION)
        set_stamp(m.header)
        m.header.frame_id = self._base_frame
        m.joints = len(rows[0].q)
        m.stamp_mono = array("q", [r.stamp for r in rows])
        m.q = array("d", [x for r in rows for x in r.q])
        m.q_ref = array("d", [x for r in rows for x in r.q_ref])
        m.tip = array("d", [x for r in rows for x in r.pose])
        m.travel = array("d", [r.travel for r in rows])
        m.lease_id = array("Q", [r.lease_id for r in rows])
        self._block.publish(m)

    def tracker(self, stamp: int, guide: Sequence[float] | None, reference: Sequence[float] | None) -> None:
        """One frame of the tracker; None where a body is not seen."""
        m = self._msg_tracker
        set_stamp(m.header)
        m.stamp_mono = stamp
        m.guide_visible, m.reference_visible = guide is not None, reference is not None
        set_pose(m.tracker_t_guide, guide or (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        set_pose(m.tracker_t_reference, reference or (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        self._tracker.publish(m)
