"""A managed node that survives being asked for an impossible transition."""

from typing import Any

from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleNode


class GuardedLifecycleNode(LifecycleNode):
    """`LifecycleNode` that answers an illegal transition with success=False.

    In Jazzy (rclpy 7.1.6) the stock service callback raises instead and the node dies: anybody could kill it with one
    request. Kilted answers by itself; there this guard never acts.
    """

    def _LifecycleNodeMixin__on_change_state(self, request: Any, response: Any) -> Any:
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)  # type: ignore[misc]
        except RCLError as error:
            self.get_logger().warning(f"refused lifecycle transition {request.transition.id}: {error}")
            response.success = False
            return response
