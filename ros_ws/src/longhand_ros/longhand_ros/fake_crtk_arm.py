"""A fake external arm as a ROS process (simulated): `python -m longhand_ros.fake_crtk_arm --namespace /fake --model
iiwa7`.

To try a driver or a client against an arm with its own delays, refusals and faults. Whoever publishes the string
"fault" or "silent" on
<namespace>/trouble (std_msgs/String) gives it that trouble.
"""

import argparse
import sys
import time

from crtk_msgs.msg import OperatingState, StringStamped
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty, String

from longhand_ros import qos
from longhand_ros.arm_topics import set_stamp
from longhand_ros.spin import run
from sim.fake_crtk_arm import FakeCrtkArm
from teleop.arm.model import load_model


class FakeCrtkArmNode(Node):
    """Steps the fake at 250 Hz and publishes what it says."""

    def __init__(self, namespace: str, model: str, delay_ms: float) -> None:
        super().__init__("fake_crtk_arm", namespace=namespace)
        m = load_model(model)
        self.arm = FakeCrtkArm(m.joint_names, m.home, delay_ns=int(delay_ms * 1e6), publish_ns=4_000_000)
        self._js, self._os = JointState(name=list(m.joint_names)), OperatingState()
        self._pub_js = self.create_publisher(JointState, "measured_js", qos.STATE)
        self._pub_os = self.create_publisher(OperatingState, "operating_state", qos.LATCHED)
        hear = self.arm.hear
        self.create_subscription(
            StringStamped, "state_command", lambda m: hear(self.now(), "state_command", m.string), qos.ORDER
        )
        self.create_subscription(
            JointState, "servo_jp", lambda m: hear(self.now(), "servo_jp", list(m.position)), qos.SERVO
        )
        self.create_subscription(Empty, "hold", lambda m: hear(self.now(), "hold", None), qos.ORDER)
        self.create_subscription(String, "trouble", self._trouble, qos.ORDER)
        self.create_timer(0.004, self._tick)

    @staticmethod
    def now() -> int:
        return time.monotonic_ns()

    def _trouble(self, message: String) -> None:
        if message.data == "fault":
            self.arm.fault()
        self.arm.silent = message.data == "silent"

    def _tick(self) -> None:
        now = self.now()
        self.arm.step(now)
        for topic, value in self.arm.published(now):
            if topic == "measured_js":
                self._js.position = value["position"]
                set_stamp(self._js.header)
                self._pub_js.publish(self._js)
            else:
                self._os.state, self._os.is_homed = value
                set_stamp(self._os.header)
                self._pub_os.publish(self._os)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="fake_crtk_arm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--namespace", default="/fake")
    parser.add_argument("--model", default="iiwa7", help="a name or a YAML file, as longhand_arm's")
    parser.add_argument("--delay-ms", type=float, default=2.0)
    args = parser.parse_args(remove_ros_args(argv)[1:])
    return run(lambda _: FakeCrtkArmNode(args.namespace, args.model, args.delay_ms), argv)


if __name__ == "__main__":
    sys.exit(main())
