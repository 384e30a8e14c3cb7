"""The `gateway` node: the site's end of the WAN. The logic is `teleop.site.gateway`; this file owns the loop and the topics.

One polled loop in the main thread, outside any executor (messages are taken by hand); heartbeats every 50 ms.
"""

import argparse
import contextlib
import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import rclpy
from longhand_msgs.msg import (
    ArmState,
    Heartbeat,
    LinkStats,
    LogCheckpoint,
    LogPeerCheckpoint,
    TrackerSample,
    UiAction,
    VideoFrame,
)
from longhand_msgs.srv import CaseOrder
from rclpy.context import Context
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from longhand_ros import qos
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.link.endpoint import site_ports
from teleop.link.errors import KeyRefused, LinkError
from teleop.link.keys import load_roles, load_secret
from teleop.link.site import SiteLink
from teleop.site.gateway import Gateway
from teleop.site.governor_client import GovernorClient
from teleop.site.media_door import MediaDoor
from teleop.wire import VERSIONS

#: Longest waits of the loop (ms): topics have no descriptor to wait on, so while a sample is expected the loop wakes this
#: often to look, which bounds how old an arm state gets here.
EXPECTING_WAIT_MS = 2.0
IDLE_WAIT_MS = 50.0
#: After a sample of a 100 Hz topic none is expected for this long; asking ROS for nothing costs 20 us.
REST_NS = 8_000_000
CHECKPOINT_NS = 200_000_000
ROLES_NS = 1_000_000_000
HEARTBEAT_NS = 200_000_000
#: A case order that the case node has not answered by then is reported as lost.
CASE_TIMEOUT_NS = 60_000_000_000


def _pose(p: Any) -> tuple[float, ...]:
    a, b = p.position, p.orientation
    return (a.x, a.y, a.z, b.x, b.y, b.z, b.w)


def arm_fields(m: Any) -> dict[str, Any]:
    """ArmState -> the fields of an ArmReport that cross the WAN."""
    return {
        "stamp": m.stamp_mono, "q": tuple(m.q), "pose": _pose(m.base_t_tip), "setpoint": _pose(m.setpoint),
        "speed": m.speed, "force": m.force, "s": m.s, "path_hash": bytes(m.path_hash), "lease_id": m.lease_id,
        "drive": m.drive, "fault": m.fault, "tracking_error": m.tracking_error,
    }  # fmt: skip


def tracker_fields(m: Any) -> dict[str, Any]:
    """TrackerSample -> wire: stamp and tracker_T_guide, tracker_T_reference (nil while not seen)."""
    return {
        "stamp": m.stamp_mono,
        "guide": _pose(m.tracker_t_guide) if m.guide_visible else None,
        "ref": _pose(m.tracker_t_reference) if m.reference_visible else None,
    }


class GatewayNode(Node):
    """Topics in and out, the case's service, and the one loop. Raises LinkError, OSError at construction."""

    def __init__(self, config: SiteConfig, context: Context | None = None) -> None:
        super().__init__("gateway", namespace=f"/{config.site}/{config.arm}", context=context)
        self.config = config
        keys = load_secret(config.keys_dir / config.site)
        orders, stop, streams = site_ports(config.base_port)
        self.roles_file = config.keys_dir / "roles.toml"
        self.roles = load_roles(self.roles_file)
        self.roles_seen = self.roles_file.stat().st_mtime_ns if self.roles_file.exists() else 0
        self.link = SiteLink(
            config.site, keys, self.roles, host=config.host,
            orders_port=orders, stop_port=stop, stream_ports=streams, versions=VERSIONS,
        )  # fmt: skip
        self.gateway = Gateway(self.link, lambda: GovernorClient.connect(config.governor_socket, "gateway"))
        self.arm_states = self.create_subscription(ArmState, "arm_state", lambda _: None, qos.ARM_STATE_WANTED)
        self.tracker = self.create_subscription(TrackerSample, "tracker", lambda _: None, qos.SAMPLES)
        self.checkpoint = self.create_subscription(LogCheckpoint, "log/checkpoint", lambda _: None, qos.LATCHED)
        self.peer_checkpoints = self.create_publisher(LogPeerCheckpoint, "log/peer_checkpoint", qos.ORDER)
        self.ui_actions = self.create_publisher(UiAction, "ui/actions", qos.EVENTS)
        self.video_frames = self.create_publisher(VideoFrame, "video/frames", qos.STREAM)
        self.media = MediaDoor(config.run_dir / "media.sock")
        self.stats = self.create_publisher(LinkStats, "link/stats", qos.SAMPLES)
        self.heartbeats = self.create_publisher(Heartbeat, "heartbeat", qos.SAMPLES)
        self.case: Any = self.create_client(CaseOrder, "case/order")
        self.asked: dict[int, tuple[str, int, int]] = {}  # sequence number of the request -> (key, order, deadline)
        self.next_roles = self.next_heartbeat = 0
        self.next_arm = self.next_tracker = self.next_checkpoint = 0
        self.said_stats: Any = None

    def turn(self) -> None:
        """One turn of the loop."""
        governor = self.gateway.governor
        wait = IDLE_WAIT_MS
        if self.gateway.held():
            wait = max(EXPECTING_WAIT_MS, (self.next_arm - time.monotonic_ns()) / 1e6)
        self.link.wait(wait, [governor] if governor is not None else [])
        self.step(time.monotonic_ns())

    def step(self, now: int) -> None:
        """Take and send what there is at robot time `now`; does not wait."""
        self._take_topics(now)
        self.gateway.turn(now)
        self._case_orders(now)
        self._site_orders()
        self._pictures(now)
        self._publish(now)
        if now >= self.next_roles:
            self.next_roles = now + ROLES_NS
            self._reread_roles()

    def _take_topics(self, now: int) -> None:
        if now >= self.next_arm:
            newest = _newest(self.arm_states, ArmState)
            if newest is not None:
                self.next_arm = now + REST_NS
                self.gateway.feed_arm(arm_fields(newest))
        if now >= self.next_tracker:
            self.next_tracker = now + REST_NS
            sample = _newest(self.tracker, TrackerSample)
            if sample is not None:
                self.gateway.tracker = tracker_fields(sample)
        if now < self.next_checkpoint:
            return
        self.next_checkpoint = now + CHECKPOINT_NS
        checkpoint = _newest(self.checkpoint, LogCheckpoint)
        if checkpoint is not None:  # the other end keeps it, so that neither end can rewrite its log alone
            self.link.notify({"t": "checkpoint", "site": self.config.site, "note": checkpoint.note})

    def _case_orders(self, now: int) -> None:
        orders = self.gateway.case_orders
        if not orders and not self.asked:
            return
        if orders and not self.case.service_is_ready():
            for key, number, _ in orders:
                self.gateway.answer_case(key, number, {"ok": False, "reason": "the site's case node is not running"})
            orders.clear()
        handle = self.case.handle
        with handle:
            while orders:
                key, number, order = orders.popleft()
                request = CaseOrder.Request(key=key, order=list(msgpack.packb(order)))
                self.asked[handle.send_request(request)] = (key, number, now + CASE_TIMEOUT_NS)
            while self.asked:
                taken = handle.take_response(CaseOrder.Response)
                if taken is None or taken[0] is None:
                    break
                header, response = taken
                asked = self.asked.pop(header.request_id.sequence_number, None)
                if asked is not None:
                    self.gateway.answer_case(asked[0], asked[1], _case_reply(bytes(response.reply)))
        for sequence in [s for s, (_, _, deadline) in self.asked.items() if now > deadline]:
            key, number, _ = self.asked.pop(sequence)
            self.gateway.answer_case(key, number, {"ok": False, "reason": "the case node did not answer in a minute"})

    def _site_orders(self) -> None:
        """Orders to the gateway itself: another site's log checkpoint, and what somebody did at the console's screens."""
        while self.gateway.site_orders:
            key, number, order = self.gateway.site_orders.popleft()
            note, site = order.get("note"), order.get("site")
            if order["op"] == "site.checkpoint" and isinstance(note, str) and isinstance(site, str) and len(note) < 4096:
                self.peer_checkpoints.publish(LogPeerCheckpoint(
                    schema_version=1, stamp_mono=time.monotonic_ns(), site=site[:32], checkpoint_hash=[], note=note,
                    cosignature="",
                ))  # fmt: skip
                self.gateway.answer_case(key, number, {"ok": True})
            elif order["op"] == "site.video":
                refusal = self.media.offer(key, number, order, time.monotonic_ns())
                if refusal is not None:
                    self.gateway.answer_case(key, number, refusal)
            elif order["op"] == "site.ui" and (action := ui_action(order)) is not None:
                principal = self.roles.by_key(key)
                console = principal.name if principal else key[:8]
                self.ui_actions.publish(UiAction(
                    schema_version=1, stamp_mono=time.monotonic_ns(), stamp_ui=action["stamp_ui"],
                    who=f"{action['by']} ({console})", where=action["where"], action=action["action"], detail=action["detail"],
                ))  # fmt: skip
                self.gateway.answer_case(key, number, {"ok": True})
            else:
                self.gateway.answer_case(key, number, {"ok": False, "reason": f"unknown or malformed order {order['op'][:64]!r}"})

    def _pictures(self, now: int) -> None:
        """Pass between consoles and the site's cameras; number and hash of every picture go to the session log."""
        self.media.control(self.gateway._paths, self.gateway.status, now)
        for key, number, reply in self.media.poll(now):
            self.gateway.answer_case(key, number, reply)
        self.gateway.video = self.media.video
        while self.media.frames:
            stream, frame, captured, sha256 = self.media.frames.pop(0)
            self.video_frames.publish(VideoFrame(schema_version=1, stamp_mono=captured, stream=stream, frame_id=frame, sha256=list(sha256)))

    def _publish(self, now: int) -> None:
        while self.gateway.log:
            self.get_logger().info(self.gateway.log.popleft())
        stats = self.gateway.link_stats
        if stats is not None and stats is not self.said_stats:
            self.said_stats = stats
            for session in stats["sessions"]:
                for p in session["paths"]:
                    self.stats.publish(LinkStats(
                        schema_version=1, stamp_mono=now, peer=session["name"], path=p["path"], alive=p["alive"],
                        rtt_ms_p50=_number(p["rtt_ms_p50"]), rtt_ms_p99=_number(p["rtt_ms_p99"]), loss=p["loss"],
                        jitter_ms=p["jitter_ms"], received=p["received"], lost=p["lost"], duplicates=p["duplicates"],
                        bad=p["bad"],
                    ))  # fmt: skip
        if now >= self.next_heartbeat:
            self.next_heartbeat = now + HEARTBEAT_NS
            self.heartbeats.publish(Heartbeat(schema_version=1, stamp_mono=now, process="gateway", pid=os.getpid(), note=""))

    def _reread_roles(self) -> None:
        try:
            seen = self.roles_file.stat().st_mtime_ns
            if seen != self.roles_seen:
                self.roles_seen = seen
                self.roles = load_roles(self.roles_file)
                self.link.set_roles(self.roles)
                self.get_logger().info("role table read again")
        except (OSError, KeyRefused) as e:
            self.get_logger().error(f"the role table is not usable, the old one stays in force: {e}", throttle_duration_sec=10.0)

    def close(self) -> None:
        """Say goodbye to the consoles and let go of the ports."""
        self.link.close()
        self.media.close()
        if self.gateway.governor is not None:
            self.gateway.governor.close()


def _newest(subscription: Any, kind: Any) -> Any:
    newest = None
    with subscription.handle:
        while (got := subscription.handle.take_message(kind, False)) is not None:
            newest = got[0]
    return newest


def ui_action(order: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a UiAction from a console's word, None when they are not short texts and a stamp."""
    texts = {name: order.get(name) for name in ("by", "where", "action", "detail")}
    stamp = order.get("stamp_ui", 0)
    if not all(isinstance(t, str) and len(t) <= (8000 if n == "detail" else 64) for n, t in texts.items()):
        return None
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not 0 <= stamp < 2**63:
        return None
    return {**texts, "stamp_ui": stamp}


def _case_reply(raw: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, msgpack.UnpackException):
        reply = msgpack.unpackb(raw, raw=False)
        if isinstance(reply, dict):
            return reply
    return {"ok": False, "reason": "the case node's reply is no msgpack map"}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def be_realtime() -> str:
    """Above ordinary processes, below arm and governor, where that is permitted; says what it got."""
    gc.collect()
    gc.freeze()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except OSError:
        return "ordinary scheduling (SCHED_FIFO is not permitted here): commands may wait for other processes"
    return "SCHED_FIFO 5"


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    ended: list[int] = []
    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: ended.append(n))
    try:
        node = GatewayNode(load_site_config(args.config))
    except (LinkError, OSError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        rclpy.shutdown()
        return 4 if isinstance(e, LinkError) else 1
    node.get_logger().info(f"listening on {node.config.host}, ports {node.config.base_port} to {node.config.base_port + 3}; {be_realtime()}")
    try:
        while not ended:
            node.turn()
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
