"""A CRTK master arm (dVRK MTM, Touch, Force Dimension, any other) as a `MasterDevice`: the ROS end.

    node = Node("hand")
    device, topics = crtk_master(node, "/MTMR", gripper=True, force=True, damping=2.0)
    ...
    topics.take()            # in the console's loop, outside any executor, before device.read(now)

Topics of the master's namespace, with QoS that matches any offer (best effort, depth 1): measured_cp,
operating_state, gripper/measured_js, and
the buttons as sensor_msgs/Joy: operator_present and clutch (dVRK, there under /console, see `buttons`) or button1 and
button2 (Touch). Sent:
state_command, move_cp (aligning), body/servo_cf (forces).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crtk_msgs.msg import OperatingState, StringStamped
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy

from longhand_ros import qos
from longhand_ros.arm_topics import set_pose, set_stamp
from teleop.geometry import Pose
from teleop.master.crtk_master import CrtkMasterDevice
from teleop.master.sample import MasterSample

BUTTONS = ("operator_present", "clutch", "button1", "button2")


def stamp_ns(header: Any) -> int:
    """A header's stamp as ns; 0 is CRTK's word for invalid data."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


class CrtkMasterTopics:
    """Publishers and subscriptions of one master; `take` empties the subscriptions without an executor."""

    def __init__(self, node: Node, namespace: str, buttons: Mapping[str, str]) -> None:
        ns = namespace.rstrip("/")
        self._servo_cf = node.create_publisher(WrenchStamped, f"{ns}/body/servo_cf", qos.ORDER)
        self._move_cp = node.create_publisher(PoseStamped, f"{ns}/move_cp", qos.ORDER)
        self._state = node.create_publisher(StringStamped, f"{ns}/state_command", qos.ORDER)
        self._wrench = WrenchStamped()
        self._node, self._subscriptions = node, list[tuple[Any, Any, Callable[[Any], None]]]()
        self._ns, self._buttons = ns, dict(buttons)
        self._watched: Any = None
        self._seen = False

    def attach(self, device: CrtkMasterDevice) -> None:
        """Send what arrives to `device`."""
        ns = self._ns

        def listen(kind: Any, topic: str, profile: Any, then: Callable[[Any], None]) -> Any:
            subscription = self._node.create_subscription(kind, topic, lambda m: None, profile)
            self._subscriptions.append((subscription, kind, then))
            return subscription

        def cp(m: Any) -> None:
            p, o = m.pose.position, m.pose.orientation
            device.on_measured_cp((p.x, p.y, p.z, o.x, o.y, o.z, o.w), stamp_ns(m.header))

        self._watched = listen(PoseStamped, f"{ns}/measured_cp", qos.SERVO, cp)
        listen(
            OperatingState, f"{ns}/operating_state", qos.SERVO, lambda m: device.on_operating_state(m.state, m.is_homed)
        )
        listen(
            JointState,
            f"{ns}/gripper/measured_js",
            qos.SERVO,
            lambda m: device.on_gripper(m.position[0]) if m.position else None,
        )

        def button(name: str) -> Callable[[Any], None]:
            return lambda m: device.on_button(name, bool(m.buttons and m.buttons[0]))

        for name in BUTTONS:
            # a press must not be lost to a newer release: reliable, ten deep
            listen(Joy, self._buttons.get(name, f"{ns}/{name}"), qos.ORDER, button(name))
        self._device = device

    def take(self) -> None:
        """Everything that has arrived, oldest first; and whether the master's node is still there."""
        for subscription, kind, then in self._subscriptions:
            while (got := subscription.handle.take_message(kind, False)) is not None:
                then(got[0])
        there = self._watched.get_publisher_count() > 0 if hasattr(self._watched, "get_publisher_count") else True
        if self._seen and not there:
            self._device.on_lost()
        self._seen = there

    # --- CrtkMasterLink

    def servo_cf(self, wrench: Sequence[float]) -> None:
        w = self._wrench.wrench
        w.force.x, w.force.y, w.force.z, w.torque.x, w.torque.y, w.torque.z = (float(x) for x in wrench)
        set_stamp(self._wrench.header)
        self._servo_cf.publish(self._wrench)

    def move_cp(self, pose: Pose) -> None:
        message = PoseStamped()
        set_pose(message.pose, pose)
        set_stamp(message.header)
        self._move_cp.publish(message)

    def state_command(self, command: str) -> None:
        message = StringStamped(string=command)
        set_stamp(message.header)
        self._state.publish(message)


class CrtkConsoleDevice:
    """A CRTK master for the web console (`--device longhand_ros.crtk_master:console_device:...`): takes what the topics have
    brought before each reading."""

    def __init__(self, device: CrtkMasterDevice, topics: CrtkMasterTopics) -> None:
        self._device, self._topics = device, topics
        self.capabilities = device.capabilities

    def connect(self) -> None:
        self._device.connect()

    def read(self, now_ns: int) -> MasterSample | None:
        self._topics.take()
        return self._device.read(now_ns)

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return self._device.send_force(wrench)

    def disconnect(self) -> None:
        self._device.disconnect()


def console_device(argument: str) -> CrtkConsoleDevice:
    """NAMESPACE[,gripper][,damping=N s/m]: the master there; forces only where its damping is said. Raises ValueError."""
    import rclpy

    namespace, *options = argument.split(",")
    if not namespace.startswith("/"):
        raise ValueError(f"a namespace begins with /, got {namespace!r}")
    gripper, damping = False, 0.0
    for option in options:
        if option == "gripper":
            gripper = True
        elif option.startswith("damping="):
            damping = float(option.partition("=")[2])
        else:
            raise ValueError(f"{option!r} is neither gripper nor damping=NUMBER")
    if not rclpy.ok():
        rclpy.init()
    node = Node("longhand_hand")
    return CrtkConsoleDevice(*crtk_master(node, namespace, gripper=gripper, force=damping > 0.0, damping=damping))


def crtk_master(
    node: Node,
    namespace: str,
    *,
    rate_hz: float = 100.0,
    gripper: bool = False,
    force: bool = False,
    damping: float = 0.0,
    buttons: Mapping[str, str] | None = None,
) -> tuple[CrtkMasterDevice, CrtkMasterTopics]:
    """Device and topics of the master in `namespace`. buttons: other topic names, for example {"clutch":
    "/console/clutch"}."""
    topics = CrtkMasterTopics(node, namespace, buttons or {})
    name = namespace.strip("/").replace("/", " ") or "master"
    device = CrtkMasterDevice(topics, name, rate_hz, gripper=gripper, force=force, damping=damping)
    topics.attach(device)
    return device, topics
