"""The governor's adapter node: the CRTK face of one arm, and the read-only mirror of its governor.

Callbacks only hand what came to `teleop.crtk.session.LocalSession`, which decides, and send what it leaves in its outbox
over `governor.sock`. A publisher on any topic, ours or a rogue's, reaches the arm through the governor or not at all.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crtk_msgs.msg import OperatingState, StringStamped
from crtk_msgs.srv import QueryForwardKinematics, QueryInverseKinematics, TriggerOperatingState
from geometry_msgs.msg import PoseStamped, TwistStamped
from longhand_msgs.msg import ArmState
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from longhand_ros import qos
from longhand_ros.crtk_state import StatePublishers, pose_from, pose_to, view_of
from longhand_ros.mirror import Mirror
from longhand_ros.spin import run
from teleop.arm.clearance import ClearanceChecker, Scene
from teleop.arm.kinematics import Kinematics, Unreachable, warm
from teleop.arm.model import load_model
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.crtk.moves import Move, plan_joint_move, plan_pose_move
from teleop.crtk.session import LocalSession
from teleop.geometry import check_pose
from teleop.site.governor_client import GovernorClient, GovernorGoneError, GovernorProtocolError

TICK_S = 0.01
#: While nothing moves and no client has asked for anything: the governor sends its status at 10 Hz then. A heartbeat is
#: missed after 200 ms, an answer to a client's first word waits half of this.
IDLE_TICK_S = 0.04
SLOW_S = 0.2
DIAGNOSTICS_S = 1.0
HEARTBEAT_NS = 50_000_000
RECONNECT_NS = 500_000_000


def scene_of(config: SiteConfig) -> Scene:
    """What stands round the arm. A simulated room's nominal layout, its patient grown by the seeded centimetre; a real
    site's arm is only kept from itself here, its room is the case's matter."""
    if config.driver == "crtk":
        return Scene()
    from sim.layout import nominal_ct, room_scene

    return room_scene(nominal_ct())


class GovernorAdapter(Node):
    """See the module. Namespace /<site>/<arm>."""

    def __init__(self, config: SiteConfig, kin: Kinematics, governor_wait_s: float = 20.0) -> None:
        super().__init__("governor_adapter", namespace=f"/{config.site}/{config.arm}")
        self.config = config
        self._kin = kin
        checker = ClearanceChecker(kin, scene_of(config))

        def plan(kind: str, q_now: Sequence[float], goal: Sequence[float]) -> Move:
            if kind == "jp":
                return plan_joint_move(kin, checker, q_now, goal)
            return plan_pose_move(kin, checker, q_now, check_pose(goal, "move_cp"))

        self.session = LocalSession(config.site, config.arm, kin.n, plan)
        self._governor: GovernorClient | None = GovernorClient.connect(
            config.governor_socket, "adapter", wait_s=governor_wait_s)
        self._next_heartbeat = self._next_connect = 0
        self._arm_stamp = self._newest_state = 0
        self._state = StatePublishers(self, kin, f"{config.arm}_base")
        self._mirror = Mirror(self)
        self._operating_state = self.create_publisher(OperatingState, "operating_state", qos.LATCHED)
        self._warning = self.create_publisher(StringStamped, "warning", qos.ORDER)
        self.create_subscription(ArmState, "arm_state", self._on_arm, qos.ARM_STATE_WANTED)
        self._subscribe_clients()
        self.create_service(QueryForwardKinematics, "forward_kinematics", self._forward)
        self.create_service(QueryInverseKinematics, "inverse_kinematics", self._inverse)
        self.create_service(TriggerOperatingState, "trigger_operating_state", self._trigger)
        # Callbacks of timers take no argument: the events executor would pass one.
        self._ticker = self.create_timer(TICK_S, self._tick)
        self.create_timer(SLOW_S, self._slow)
        self.create_timer(DIAGNOSTICS_S, self._diagnose)
        self._governor.wait(1.0)  # its first status comes with the hello
        self._tick()
        self._publish_state()
        if config.local_control:
            self.get_logger().info("local control is on: CRTK clients may enable the arm while no remote holds it")

    def _subscribe_clients(self) -> None:
        for name, profile, kind, take in (
            ("servo_jp", qos.SERVO, JointState, lambda m: self._servo("jp", m.position)),
            ("servo_jv", qos.SERVO, JointState, lambda m: self._servo("jv", m.velocity)),
            ("servo_cp", qos.SERVO, PoseStamped, lambda m: self._servo("cp", pose_from(m.pose))),
            ("servo_cv", qos.SERVO, TwistStamped, lambda m: self._servo("cv", _twist(m))),
            ("interpolate_cp", qos.SERVO, PoseStamped, lambda m: self._servo("interpolate", pose_from(m.pose))),
            ("move_jp", qos.ORDER, JointState, lambda m: self._move("jp", m.position)),
            ("move_cp", qos.ORDER, PoseStamped, lambda m: self._move("cp", pose_from(m.pose))),
            ("hold", qos.ORDER, Empty, lambda m: self._hold()),
            ("state_command", qos.ORDER, StringStamped, lambda m: self._command(m.string)),
        ):
            self.create_subscription(kind, name, take, profile)

    # --- from clients ------------------------------------------------------------------------------------------------

    def _servo(self, kind: str, value: Sequence[float]) -> None:
        self.session.servo(kind, value, time.monotonic_ns())
        self._flush()

    def _move(self, kind: str, goal: Sequence[float]) -> None:
        name = f"move_{kind}"
        self.session.move(kind, goal, self._who_publishes(name), time.monotonic_ns())
        self._flush()

    def _hold(self) -> None:
        self.session.hold(time.monotonic_ns())
        self._flush()

    def _command(self, word: str) -> None:
        self.session.state_command(word, time.monotonic_ns())
        self._flush()

    def _who_publishes(self, topic: str) -> frozenset[bytes]:
        """Ids of everybody who publishes on a topic of ours."""
        infos = self.get_publishers_info_by_topic(self.resolve_topic_name(topic))
        return frozenset(bytes(i.endpoint_gid) for i in infos)

    # --- from the arm and the governor -------------------------------------------------------------------------------

    def _on_arm(self, m: ArmState) -> None:
        now = time.monotonic_ns()
        try:
            view = view_of(m, self._kin.n, self._newest_state, now)
        except ValueError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return
        self._newest_state, self._arm_stamp = view.stamp, now
        self._state.publish(m, view)
        self.session.on_arm(view, self._arm_stamp)
        self._flush()

    def _tick(self) -> None:
        now = time.monotonic_ns()
        governor = self._governor
        if governor is None:
            self._reconnect(now)
        else:
            try:
                newest = None
                for message in governor.poll():
                    if message["t"] == "status":
                        newest = message
                        self.session.on_status(message, now)
                    elif message["t"] == "reply":
                        self.session.on_reply(message, now)
                    elif message["t"] == "verdict":
                        self.session.on_verdict(message, now)
                if newest is not None:
                    self._mirror.status(newest)
                if now >= self._next_heartbeat:
                    self._next_heartbeat = now + HEARTBEAT_NS
                    governor.send({"t": "hb", "note": ""})
            except (GovernorGoneError, GovernorProtocolError) as error:
                self._lost(error)
        self.session.tick(now)
        self._flush()
        wanted = int(1e9 * (IDLE_TICK_S if self.session.idle else TICK_S))
        if self._ticker.timer_period_ns != wanted:
            self._ticker.timer_period_ns = wanted

    def _lost(self, error: Exception) -> None:
        self.get_logger().error(f"{error}; the arm comes to rest by its lease")
        if self._governor is not None:
            self._governor.close()
        self._governor = None
        self.session.on_governor_gone()

    def _reconnect(self, now: int) -> None:
        if now < self._next_connect:
            return
        self._next_connect = now + RECONNECT_NS
        try:
            self._governor = GovernorClient.connect(self.config.governor_socket, "adapter")
            self.get_logger().info("the governor is back")
        except OSError:
            pass  # said once when it went; tried again in half a second

    # --- out ---------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send and publish what the session decided."""
        session = self.session
        for note in session.notes:
            self.get_logger().warning(note)
            m = StringStamped(string=note)
            m.header.stamp = self.get_clock().now().to_msg()
            self._warning.publish(m)
        session.notes.clear()
        outbox, session.outbox = session.outbox, []
        if self._governor is not None:
            try:
                for message in outbox:
                    if not self._governor.send(message):
                        self.get_logger().error("the governor does not read: a message was shed",
                                                throttle_duration_sec=1.0)
            except GovernorGoneError as error:
                self._lost(error)
        if session.changed:
            self._publish_state()

    def _publish_state(self) -> None:
        m = OperatingState(is_homed=True)
        m.state, m.is_busy = self.session.shown()
        m.header.stamp = self.get_clock().now().to_msg()
        self._operating_state.publish(m)

    def _slow(self) -> None:
        """5 Hz: operating state, goals, and whether who asked for a move is still there."""
        self._publish_state()
        if self.session.busy:
            self.session.on_clients({t: self._who_publishes(t) for t in ("move_jp", "move_cp")})
        stamp = self.get_clock().now().to_msg()
        self._state.publish_goal(stamp, self.session.goal_q, self.session.goal_pose)
        self._flush()

    def _diagnose(self) -> None:
        now = time.monotonic_ns()
        shed = str(self._governor.dropped) if self._governor is not None else "not connected"
        self._mirror.diagnostics(self.session.status, self.session.arm, (now - self._arm_stamp) * 1e-9,
                                 {"messages shed": shed})

    # --- services ----------------------------------------------------------------------------------------------------

    def _forward(self, request: Any, response: Any) -> Any:
        try:
            pose_to(response.cp, self._kin.fk(list(request.jp)))
            response.result = True
        except ValueError as error:
            response.result, response.message = False, str(error)
        return response

    def _inverse(self, request: Any, response: Any) -> Any:
        arm = self.session.arm
        try:
            seed = list(request.jp) or (list(arm.q) if arm is not None else self._kin.model.home.tolist())
            response.jp = self._kin.solve(pose_from(request.cp), seed, restarts=10).q.tolist()
            response.result = True
        except (Unreachable, ValueError) as error:
            response.result, response.message = False, str(error)
        return response

    def _trigger(self, request: Any, response: Any) -> Any:
        m = response.operating_state
        m.state, m.is_busy, m.is_homed = self.session.state, self.session.busy, True
        m.header.stamp = self.get_clock().now().to_msg()
        return response

    def destroy_node(self) -> None:
        if self._governor is not None:
            self._governor.close()
        super().destroy_node()


def _twist(m: TwistStamped) -> tuple[float, ...]:
    a, b = m.twist.linear, m.twist.angular
    return (a.x, a.y, a.z, b.x, b.y, b.z)


def make(argv: list[str]) -> GovernorAdapter:
    parser = argparse.ArgumentParser(prog="governor_adapter", description="The CRTK face of one arm.")
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    args = parser.parse_args(argv)
    config = load_site_config(args.config)
    return GovernorAdapter(config, warm(load_model(config.arm_model)))


def main() -> int:
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
