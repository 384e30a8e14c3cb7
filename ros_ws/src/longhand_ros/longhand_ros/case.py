"""The `case` node: the desk of one hospital's case, site-local and not real-time.

One polled loop owns every socket and topic; the desk works in one thread of its own, because planning a path or waiting
for the doctor takes seconds and the heartbeat must go on.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import sys
import time
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import rclpy
from longhand_msgs.msg import ArmState, CaseEvent, Heartbeat, LinkStats, TrackerSample
from longhand_msgs.srv import CaseOrder
from rclpy.context import Context
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from longhand_ros import qos
from teleop.case.bedside_questions import Questions
from teleop.case.case_file import load_case
from teleop.case.desk import Desk
from teleop.case.expert_requests import OPS as EXPERT_OPS
from teleop.case.expert_requests import ExpertRequests
from teleop.case.paths import SitePaths
from teleop.case.room import ArmView, TrackerFrame
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.case.site_room import SiteRoom
from teleop.case.table_jog import TableFrames
from teleop.geometry import pose_to_matrix
from teleop.link.keys import load_roles
from teleop.site.governor_client import GovernorClient, GovernorGoneError
from teleop.site.packet_server import PacketServer

#: Longest wait of the loop (s): topics and the service have no descriptor to wait on. While the desk works the tracker's
#: 50 Hz must not overflow; idle, a site among thirty should cost nothing. A heartbeat is missed after 200 ms.
BUSY_WAIT_S = 0.01
IDLE_WAIT_S = 0.04
HEARTBEAT_NS = 50_000_000
#: The line to a console counts as up for so long after the gateway last said that a path is alive (it says so ten times a second).
LINE_UP_NS = 2_000_000_000


def _pose(msg: Any) -> np.ndarray:
    p, q = msg.position, msg.orientation
    return pose_to_matrix((p.x, p.y, p.z, q.x, q.y, q.z, q.w))


class CaseNode(Node):
    """See the module."""

    def __init__(self, config: SiteConfig, context: Context | None = None) -> None:
        super().__init__("case", namespace=f"/{config.site}/{config.arm}", context=context)
        self.config = config
        self.questions = Questions()
        self.events = self.create_publisher(CaseEvent, "case/events", qos.EVENTS)
        self.heartbeats = self.create_publisher(Heartbeat, "heartbeat", qos.SAMPLES)
        self.arm_states = self.create_subscription(ArmState, "arm_state", lambda _: None, qos.ARM_STATE_WANTED)
        self.tracker = self.create_subscription(TrackerSample, "tracker", lambda _: None, qos.SAMPLES)
        self.line = self.create_subscription(LinkStats, "link/stats", lambda _: None, qos.SAMPLES)
        self.orders: Any = self.create_service(CaseOrder, "case/order", lambda request, response: response)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self.asked: list[tuple[Future[dict[str, Any]], Any]] = []
        self.bedside_asked: list[tuple[Future[dict[str, Any]], int, int]] = []
        self.shown: set[int] = set()
        self.status: dict[str, Any] = {}
        self.experts = ExpertRequests(int(time.time()))
        self.line_alive_at = -LINE_UP_NS
        self.table = TableFrames(config.site, config.arm)
        self.setpoint: tuple[float, ...] | None = None
        self.jogged: tuple[int, int] = (0, 0)  # epoch and press of the newest motion of the table
        self.room = SiteRoom(self._senses(), self.questions, self.log_step)
        self.desk: Desk | None = None
        self.bedside = PacketServer(config.run_dir / "bedside.sock")
        self.governor = GovernorClient.connect(config.governor_socket, "case", wait_s=20.0)
        self.next_heartbeat = 0
        if config.case_dir is not None:
            self.desk = Desk(
                self.room, load_case(config.case_dir), SitePaths.for_site(config), self._may_approve,
                correction=config.correction, demo_qualification=config.demo_qualification,
            )

    def _senses(self) -> Any:
        """The simulated room's door; a real site's probe and anaesthetist come in here."""
        from sim.world_client import WorldClient

        return WorldClient(self.config.world_socket)

    def _may_approve(self, ed25519: str) -> str | None:
        """The owner of a key that may approve plans here: a surgeon at this site, not revoked."""
        roles = load_roles(self.config.keys_dir)
        for person in roles.principals.values():
            if person.ed25519 == ed25519 and roles.role_of(person.curve, self.config.site, self.config.arm) == "surgeon":
                return person.name
        return None

    def log_step(self, who: str, step: str, detail: dict[str, Any]) -> None:
        message = CaseEvent(
            schema_version=CaseEvent.SCHEMA_VERSION, stamp_mono=time.monotonic_ns(), who=who,
            where=self.config.site, step=step, detail=json.dumps(detail, default=str),
        )
        self.events.publish(message)

    def turn(self) -> None:
        """One turn of the loop: topics, orders, bedside, governor, heartbeat."""
        now = time.monotonic_ns()
        self._take_topics()
        self._take_orders()
        self._serve_governor()  # first, so that what the table asks for meets the newest status
        self._serve_bedside()
        if now >= self.next_heartbeat:
            self.next_heartbeat = now + HEARTBEAT_NS
            self.governor.send({"t": "hb", "note": ""})

    def _take_topics(self) -> None:
        newest = None
        while (got := self._take(self.arm_states, ArmState)) is not None:
            newest = got
        if newest is not None:
            p, o = newest.setpoint.position, newest.setpoint.orientation
            self.setpoint = (p.x, p.y, p.z, o.x, o.y, o.z, o.w)
            self.room.feed_arm(ArmView(newest.stamp_mono, tuple(newest.q), _pose(newest.base_t_tip), newest.drive))
        while (got := self._take(self.tracker, TrackerSample)) is not None:
            self.room.feed_tracker(TrackerFrame(
                got.stamp_mono,
                _pose(got.tracker_t_guide) if got.guide_visible else None,
                _pose(got.tracker_t_reference) if got.reference_visible else None,
            ))

        while (got := self._take(self.line, LinkStats)) is not None:
            if got.alive:
                self.line_alive_at = time.monotonic_ns()
            self.room.feed_link({
                "path": got.path, "alive": got.alive, "rtt_ms_p50": got.rtt_ms_p50, "rtt_ms_p99": got.rtt_ms_p99,
                "loss": got.loss, "jitter_ms": got.jitter_ms,
            })

    @staticmethod
    def _take(subscription: Any, kind: Any) -> Any:
        with subscription.handle:
            got = subscription.handle.take_message(kind, False)
        return got[0] if got is not None else None

    def _take_orders(self) -> None:
        handle: Any = self.orders.handle
        with handle:
            while True:
                request, header = handle.service_take_request(CaseOrder.Request)
                if request is None or header is None:
                    break
                order = msgpack.unpackb(bytes(request.order), raw=False)
                self.asked.append((self._submit(request.key, order), header.request_id))
            waiting, self.asked = self.asked, []
            for future, header in waiting:
                if future.done():
                    reply = array("B", msgpack.packb(future.result()))
                    handle.service_send_response(CaseOrder.Response(reply=reply), header)
                else:
                    self.asked.append((future, header))

    def _submit(self, who: str, order: dict[str, Any]) -> Future[dict[str, Any]]:
        if order.get("op") in EXPERT_OPS:
            return self._expert(who, order)
        desk = self.desk
        if desk is None:
            refused: Future[dict[str, Any]] = Future()
            refused.set_result({"ok": False, "reason": f"site {self.config.site} has no case open (case_dir is not set)"})
            return refused
        return self.worker.submit(desk.handle, who, order)

    def _expert(self, who: str, order: dict[str, Any]) -> Future[dict[str, Any]]:
        """A request for an expert, at once: it must not wait for a desk that waits for the doctor."""
        now = time.monotonic_ns()
        images: dict[str, Any] = {}
        if self.desk is not None:
            images = {"case_id": self.desk.case.case_id, "ct_sha256": self.desk.case.ct_sha256}
        up = now - self.line_alive_at < LINE_UP_NS
        done: Future[dict[str, Any]] = Future()
        reply = self.experts.handle(who, order, now, time.time(), line_up=up, images=images)
        done.set_result(reply)
        if order["op"] != "case.requests":
            self.log_step(str(order.get("by") or who)[:40], str(order["op"]), {k: v for k, v in {**order, **reply}.items() if k != "op"})
        return done

    def _serve_bedside(self) -> None:
        for peer, message in self.bedside.poll():
            if message is None:
                continue
            if message["t"] == "answer":
                self.questions.answer(int(message["id"]), bool(message["ok"]), str(message.get("who", "bedside")),
                                      str(message.get("why", "")))
            elif message["t"] == "order":
                self._bedside_order(peer, int(message.get("id", 0)), dict(message["order"]))
            elif message["t"] == "jog":
                self._table_jog(message)
            elif message["t"] == "stop":
                self.governor.send({"t": "stop", "key": "bedside"})
        waiting, self.bedside_asked = self.bedside_asked, []
        for future, peer, id_ in waiting:
            if future.done():
                self.bedside.send(peer, {"t": "reply", "id": id_, **future.result()})
            else:
                self.bedside_asked.append((future, peer, id_))
        for question in self.questions.open():
            if question.id not in self.shown or self.bedside.peers:
                self.shown.add(question.id)
                self.bedside.broadcast(question.to_wire())

    def _table_jog(self, ask: dict[str, Any]) -> None:
        """A look at the hand of the doctor at the table. A guide that the table moved stands nowhere any more: a new approach."""
        try:
            frame = self.table.frame(ask, self.status, self.setpoint)
        except (KeyError, TypeError, ValueError):
            return  # no frame, no motion
        if frame is None:
            return
        self.governor.send(frame)
        now = (int(self.status["epoch"]), self.table.press)
        if ask["press"] and now != self.jogged:
            self.jogged = now
            self.log_step(str(ask.get("who", "bedside")), "table_jog", {"way": ask["way"]})
            if self.desk is not None:
                self.worker.submit(self.desk.handle, "bedside", {"op": "case.retreat"})

    def _bedside_order(self, peer: int, id_: int, order: dict[str, Any]) -> None:
        """case.* goes to the desk, all else to the governor; neither waits for the other."""
        if str(order.get("op", "")).startswith("case."):
            self.bedside_asked.append((self._submit("bedside", order), peer, id_))
            return
        self.governor.send({"t": "order", "key": "bedside", "id": 1_000_000_000 + peer * 100_000 + id_, "order": order})

    def _serve_governor(self) -> None:
        for order in self.room.take_orders():
            self.governor.send({"t": "order", "key": "bedside", **order})
        newest = None
        for message in self.governor.poll():
            if message["t"] == "reply" and int(message["id"]) < 1_000_000_000:
                self.room.feed_governor(message)
            elif message["t"] == "reply":
                peer, id_ = divmod(int(message["id"]) - 1_000_000_000, 100_000)
                self.bedside.send(peer, {**message, "id": id_})
            elif message["t"] == "verdict":
                self.bedside.broadcast({"t": "jog_refused", "reason": message["reason"], "text": message["text"]})
            elif message["t"] == "status":
                newest = message
        if newest is not None:
            self.status = newest
            self.bedside.broadcast(newest)

    def wait(self) -> None:
        """Until the bedside has something to say, or the next turn is due. The governor's status, 100 Hz while an arm is in
        a hand, is not waited for: the desk is in no hurry, and its own thread needs the interpreter."""
        busy = bool(self.asked or self.bedside_asked)
        select.select(self.bedside.filenos(), [], [], BUSY_WAIT_S if busy else IDLE_WAIT_S)

    def close(self) -> None:
        self.bedside.close()
        self.governor.close()
        self.worker.shutdown(wait=False, cancel_futures=True)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="case", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    config = load_site_config(args.config)
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    with contextlib.suppress(OSError):  # where permitted: on a busy machine a desk that falls silent for a second stops the arm
        os.nice(-5)
    node = CaseNode(config)
    try:
        while not stop:
            node.turn()
            node.wait()
    except GovernorGoneError as gone:
        # At a Ctrl-C everybody gets the signal at once, and the governor may be the quicker one.
        deadline = time.monotonic() + 0.5
        while not stop and time.monotonic() < deadline:
            time.sleep(0.02)
        if stop:
            return 0
        print(f"error: {gone}; the desk ends, the arm is at rest by its lease", file=sys.stderr, flush=True)
        return 4
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
