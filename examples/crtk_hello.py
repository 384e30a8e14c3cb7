"""Read an arm by its CRTK names, enable it, move its tip two centimetres up and back.

    longhand up launch/hospital.launch.yaml site:=a domain:=41 local_control:=true     # one shell
    source .venv/ros.sh 41 && python examples/crtk_hello.py /a/arm1                    # another
"""

import sys

import rclpy
from crtk_msgs.msg import OperatingState, StringStamped
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node


class Hello(Node):
    """Everything by topics with ROS's default quality of service."""

    def __init__(self, arm: str) -> None:
        super().__init__("crtk_hello")
        self.state, self.tip = OperatingState(), PoseStamped()
        self.create_subscription(OperatingState, f"{arm}/operating_state", lambda m: setattr(self, "state", m), 10)
        self.create_subscription(PoseStamped, f"{arm}/setpoint_cp", lambda m: setattr(self, "tip", m), 10)
        self.create_subscription(StringStamped, f"{arm}/warning", lambda m: print(f"the arm says: {m.string}"), 10)
        self.command = self.create_publisher(StringStamped, f"{arm}/state_command", 10)
        self.move_cp = self.create_publisher(PoseStamped, f"{arm}/move_cp", 10)

    def wait(self, what, seconds: float, text: str) -> None:
        """Spin until `what()`; ends the program with `text` after `seconds`."""
        end = self.get_clock().now().nanoseconds + int(seconds * 1e9)
        while not what():
            rclpy.spin_once(self, timeout_sec=0.1)
            if self.get_clock().now().nanoseconds > end:
                sys.exit(f"gave up after {seconds:g} s: {text} (the arm is {self.state.state or 'silent'})")

    def go(self, dz: float) -> None:
        """Move the tip dz metres along the base's z; back when the arm is no longer busy."""
        goal = PoseStamped(pose=self.tip.pose)
        goal.pose.position.z += dz
        self.move_cp.publish(goal)
        self.wait(lambda: self.state.is_busy, 5.0, "the move did not begin")
        self.wait(lambda: not self.state.is_busy, 30.0, "the move did not end")
        print(f"tip at z = {self.tip.pose.position.z:.4f} m")


def main() -> None:
    arm = sys.argv[1] if len(sys.argv) > 1 else "/a/arm1"
    rclpy.init()
    node = Hello(arm)
    node.wait(lambda: node.move_cp.get_subscription_count() > 0 and node.command.get_subscription_count() > 0
              and node.tip.header.stamp.sec > 0, 10.0, f"no arm at {arm}; is ROS_DOMAIN_ID right?")
    print(f"{arm} is {node.state.state}, tip at z = {node.tip.pose.position.z:.4f} m")
    node.command.publish(StringStamped(string="enable"))
    node.wait(lambda: node.state.state == "ENABLED", 10.0, "not enabled; was the site started with local_control:=true?")
    node.go(+0.02)
    node.go(-0.02)
    node.command.publish(StringStamped(string="disable"))
    node.wait(lambda: node.state.state == "DISABLED", 5.0, "not disabled")
    rclpy.shutdown()


if __name__ == "__main__":
    main()
