"""A CRTK client as a third party would write it: default QoS, its own thread with a SingleThreadedExecutor, and the calling
conventions of the community's Python client (collaborative-robotics/crtk_python_client 1.4: getters give (data, time),
`enable(timeout)`, `move_cp(goal).wait()`, state_command published latched). Knows nothing of Longhand.
"""

import contextlib
import threading
import time

import rclpy
from crtk_msgs.msg import OperatingState, StringStamped
from crtk_msgs.srv import QueryForwardKinematics, QueryInverseKinematics
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

SUBSCRIBED = {"measured_js": JointState, "measured_cp": PoseStamped, "measured_cv": TwistStamped,
              "setpoint_js": JointState, "setpoint_cp": PoseStamped}
PUBLISHED = {"servo_jp": JointState, "servo_jv": JointState, "servo_cp": PoseStamped, "servo_cv": TwistStamped,
             "interpolate_cp": PoseStamped, "move_jp": JointState, "move_cp": PoseStamped, "hold": Empty}


class MoveHandle:
    """Given back by move_*: waits for busy, then for no longer busy."""

    def __init__(self, client):
        self._client, self._start = client, time.monotonic()

    def wait(self, timeout=30.0):
        client, end = self._client, self._start + timeout
        with client.news:
            while not (client.last_busy > self._start and not client.state.is_busy):
                left = end - time.monotonic()
                if left <= 0.0 or not client.news.wait(left):
                    return False
        return True


class CrtkClient:
    """One arm at `namespace` in `domain`. Use as a context manager."""

    def __init__(self, namespace, domain, publish=tuple(PUBLISHED)):
        self.connection_timeout = 10.0  # the community's client has 1 s, too short for a machine that runs other tests
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("third_party", context=self.context)
        self.news = threading.Condition()
        self.state, self.last_busy, self.data, self.states, self.warnings = OperatingState(), 0.0, {}, [], []
        self.pubs = {n: self.node.create_publisher(t, f"{namespace}/{n}", 10) for n, t in PUBLISHED.items() if n in publish}
        latched = QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pubs["state_command"] = self.node.create_publisher(StringStamped, f"{namespace}/state_command", latched)
        self.subs = [self.node.create_subscription(t, f"{namespace}/{n}", lambda m, n=n: self._got(n, m), 10)
                     for n, t in SUBSCRIBED.items()]
        self.subs.append(self.node.create_subscription(OperatingState, f"{namespace}/operating_state", self._on_state, 10))
        self.extra = self.node.create_subscription(StringStamped, f"{namespace}/warning", self._on_warning, 10)
        self.fk = self.node.create_client(QueryForwardKinematics, f"{namespace}/forward_kinematics")
        self.ik = self.node.create_client(QueryInverseKinematics, f"{namespace}/inverse_kinematics")
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException):
            self.executor.spin()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.try_shutdown()
        self.thread.join(10.0)

    def _got(self, name, message):
        with self.news:
            self.data[name] = (message, time.monotonic())
            self.news.notify_all()

    def _on_state(self, message):
        with self.news:
            if message.is_busy:
                self.last_busy = time.monotonic()
            self.state = message
            self.states.append((message.state, message.is_busy))
            self.news.notify_all()

    def _on_warning(self, message):
        with self.news:
            self.warnings.append(message.string)
            self.news.notify_all()

    def wait_for(self, what, timeout=30.0):
        """True once `what()` holds; checked at every message."""
        end = time.monotonic() + timeout
        with self.news:
            while not what():
                left = end - time.monotonic()
                if left <= 0.0:
                    return False
                self.news.wait(left)
        return True

    def check_connections(self, timeout=5.0):
        """Every publisher has a subscriber, every subscriber a publisher; else TimeoutError with the missing ones."""
        end = time.monotonic() + timeout
        while True:
            missing = [p.topic_name for p in self.pubs.values() if p.get_subscription_count() == 0]
            missing += [s.topic_name for s in self.subs if s.get_publisher_count() == 0]
            if not missing:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not connected: {missing}")
            time.sleep(0.02)

    def _newest(self, name, wait_timeout=5.0):
        if not self.wait_for(lambda: name in self.data, wait_timeout):
            raise TimeoutError(f"{name}: no data received yet")
        message, at = self.data[name]
        if time.monotonic() - at > self.connection_timeout:
            raise TimeoutError(f"{name}: last data received more than {self.connection_timeout:g} s ago")
        return message

    def measured_jp(self):
        return list(self._newest("measured_js").position)

    def setpoint_jp(self):
        return list(self._newest("setpoint_js").position)

    def measured_cp(self):
        return _pose(self._newest("measured_cp"))

    def setpoint_cp(self):
        return _pose(self._newest("setpoint_cp"))

    def state_command(self, word):
        m = StringStamped(string=word)
        m.header.stamp = self.node.get_clock().now().to_msg()
        self.pubs["state_command"].publish(m)

    def wait_for_state(self, state, timeout=10.0):
        return self.wait_for(lambda: self.state.state == state, timeout)

    def enable(self, timeout=10.0):
        self.state_command("enable")
        return self.wait_for_state("ENABLED", timeout)

    def _joints(self, name, **vectors):
        m = JointState(**vectors)
        m.header.stamp = self.node.get_clock().now().to_msg()
        self.pubs[name].publish(m)

    def _cartesian(self, name, pose):
        m = PoseStamped()
        m.header.stamp = self.node.get_clock().now().to_msg()
        p, r = m.pose.position, m.pose.orientation
        p.x, p.y, p.z, r.x, r.y, r.z, r.w = (float(x) for x in pose)
        self.pubs[name].publish(m)

    def servo_jp(self, q):
        self._joints("servo_jp", position=[float(x) for x in q])

    def servo_jv(self, v):
        self._joints("servo_jv", velocity=[float(x) for x in v])

    def servo_cp(self, pose):
        self._cartesian("servo_cp", pose)

    def interpolate_cp(self, pose):
        self._cartesian("interpolate_cp", pose)

    def servo_cv(self, linear, angular=(0.0, 0.0, 0.0)):
        m = TwistStamped()
        m.header.stamp = self.node.get_clock().now().to_msg()
        a, b = m.twist.linear, m.twist.angular
        a.x, a.y, a.z = linear
        b.x, b.y, b.z = angular
        self.pubs["servo_cv"].publish(m)

    def move_jp(self, q):
        handle = MoveHandle(self)
        self._joints("move_jp", position=[float(x) for x in q])
        return handle

    def move_cp(self, pose):
        handle = MoveHandle(self)
        self._cartesian("move_cp", pose)
        return handle

    def hold(self):
        self.pubs["hold"].publish(Empty())


def _pose(m):
    p, r = m.pose.position, m.pose.orientation
    return [p.x, p.y, p.z, r.x, r.y, r.z, r.w]
