"""An external CRTK arm behind our drive: the ROS end of `teleop.arm.crtk_arm`.

    driver = CrtkArm(node, "/ur5e", model)
    driver.wait_ready(10.0)
    loop = ArmLoop(driver, ...)      # as with any other ArmDriver

The arm process has its own loop outside any executor, so what has arrived is taken by hand at each `read`.
measured_js, measured_cf and
operating_state are subscribed best effort, depth 1, which matches every offer; servo_jp goes out reliable, depth 1.
"""

import time
from collections.abc import Sequence
from typing import Any

from crtk_msgs.msg import OperatingState, StringStamped
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from longhand_ros import qos
from longhand_ros.arm_topics import set_stamp
from longhand_ros.crtk_master import stamp_ns
from teleop.arm.crtk_arm import CrtkArmDriver
from teleop.arm.driver import DriverError, EncoderSample
from teleop.arm.model import ArmModel


class _Topics:
    """`CrtkArmLink` over ROS."""

    def __init__(self, node: Node, ns: str, names: Sequence[str]) -> None:
        self._servo = node.create_publisher(JointState, f"{ns}/servo_jp", qos.STATE)
        self._state = node.create_publisher(StringStamped, f"{ns}/state_command", qos.ORDER)
        self._hold = node.create_publisher(Empty, f"{ns}/hold", qos.ORDER)
        self._message = JointState(name=list(names))

    def servo_jp(self, q: Sequence[float]) -> None:
        self._message.position = list(q)
        set_stamp(self._message.header)
        self._servo.publish(self._message)

    def state_command(self, command: str) -> None:
        message = StringStamped(string=command)
        set_stamp(message.header)
        self._state.publish(message)

    def hold(self) -> None:
        self._hold.publish(Empty())


class CrtkArm(CrtkArmDriver):
    """`CrtkArmDriver` that fetches what has arrived before each `read`."""

    def __init__(self, node: Node, namespace: str, model: ArmModel, **limits: Any) -> None:
        """limits: period_ns, silence_ns, lag of `CrtkArmDriver`."""
        ns = namespace.rstrip("/")
        super().__init__(
            _Topics(node, ns, model.joint_names), model.joint_names, model.lower, model.upper, model.v_max, **limits
        )
        self._js = node.create_subscription(JointState, f"{ns}/measured_js", lambda m: None, qos.SERVO)
        self._cf = node.create_subscription(WrenchStamped, f"{ns}/measured_cf", lambda m: None, qos.SERVO)
        self._os = node.create_subscription(OperatingState, f"{ns}/operating_state", lambda m: None, qos.LATCHED)

    def take(self, now_ns: int) -> None:
        """Everything that has arrived."""
        while (got := self._os.handle.take_message(OperatingState, False)) is not None:
            self.on_operating_state(got[0].state, got[0].is_homed)
        while (got := self._cf.handle.take_message(WrenchStamped, False)) is not None:
            f = got[0].wrench.force
            self.on_measured_cf((f.x, f.y, f.z))
        while (got := self._js.handle.take_message(JointState, False)) is not None:
            m = got[0]
            self.on_measured_js(m.name, m.position, m.velocity, m.effort, stamp_ns(m.header), now_ns)

    def read(self, now_ns: int) -> EncoderSample:
        self.take(now_ns)
        return super().read(now_ns)

    def wait_ready(self, seconds: float) -> None:
        """Enable and home the arm. Raises DriverError with what is still missing when the time is over."""
        end = time.monotonic() + seconds
        asked = 0.0
        missing = "nothing asked yet"
        while time.monotonic() < end:
            self.take(time.monotonic_ns())
            if time.monotonic() >= asked:
                # twice a second: dVRK keeps only the newest state_command, and needs time for each
                asked = time.monotonic() + 0.5
                missing = self.wake()
                if not missing:
                    return
            time.sleep(0.01)
        raise DriverError(f"CRTK arm: not ready after {seconds:g} s: {missing}")
