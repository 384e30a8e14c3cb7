"""A room with a real arm in it: what `sim.room.SimRoom` simulates, people and devices do here.

The arm process asks a room for its driver, a tracker's frames and answers on world.sock. Here the driver is an
external CRTK arm; there is
no simulated tracker, and requests of the simulated room are refused with the reason.
"""

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node

from longhand_ros.crtk_arm_driver import CrtkArm
from teleop.arm.model import ArmModel

#: An arm that has not enabled and homed itself by then will not (dVRK's own limit is a minute).
READY_S = 60.0


class RealRoom:
    """See the module. Raises DriverError where the arm is not ready in time."""

    patient = None

    def __init__(self, node: Node, namespace: str, model: ArmModel) -> None:
        self.driver = CrtkArm(node, namespace, model)
        node.get_logger().info(f"waiting for the arm at {namespace}")
        self.driver.wait_ready(READY_S)

    def tick(self, now: int, *, moving: bool = True) -> None:
        """The patient breathes without our help."""

    def tracker_frame(self, now: int, period_ns: int = 0) -> None:
        """No simulated tracker: a real one publishes by itself."""
        return

    def handle(self, request: Mapping[str, Any], now: int) -> dict[str, Any]:
        return {"ok": False, "reason": f"{request.get('t')!r} is a request to a simulated room; this arm is real"}

    def close(self) -> None:
        self.driver.close()
