"""The `recorder` node: everything a site decided, was told and measured, into one signed session log.

A process of its own. One polled loop takes the governor's steps from `governor.sock` and raw CDR from the topics below and
puts them into a bounded ring; a thread of `safety.log.recording` writes. Nothing here can make the governor or the arm
wait: a governor that cannot send sheds, a full ring drops, and both show as GAP records and as an alarm.

Publishes `heartbeat` (ring level, disk policy, newest checkpoint), `log/checkpoint` (the newest checkpoint on disk, for
the gateway to carry to the other site) and `log/alarms`. Takes in `log/peer_checkpoint` (what the other site carried here).
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import platform
import signal
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgpack
import rclpy
from longhand_msgs.msg import Alarm, Heartbeat, LogCheckpoint, LogPeerCheckpoint
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args

from longhand_ros import qos
from safety.inputs import OrderIn, decode_input, encode_input
from safety.log.cdr import CdrError, TypeStore
from safety.log.disk import FULL, LOW, NO_GRANT, require_space
from safety.log.keepout import SIGNAL as KEEPOUT
from safety.log.keepout import Keepout
from safety.log.privacy import CaseKey, key_file, load_or_make, seal_fields
from safety.log.recording import Recording
from safety.log.seconds import (
    ALARM_TOPIC,
    ALARM_TYPE,
    ARM_SIGNALS,
    CHANGE_TOPIC,
    CHANGE_TYPE,
    LINK_SIGNALS,
    SECOND_TOPIC,
    SECOND_TYPE,
    Overview,
)
from safety.log.session import SessionInfo, log_path
from safety.log.steps import EVENT_TOPIC, EVENT_TYPE, ORDER_TOPIC, RARE
from safety.log.utc import CLOCK_TOPIC, CLOCK_TYPE, UtcWatch, utc_error
from safety.log.utc import now as utc_now
from safety.log.writer import SessionLog
from safety.params import Params
from safety.process import parser as governor_parser
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.link.keys import load_secret
from teleop.site.governor import arguments
from teleop.site.governor_client import GovernorClient, GovernorGoneError, GovernorProtocolError

PERIOD_S = 0.02
#: The beat while next to nothing comes (an idle site says some 60 things a second): the sockets hold it easily.
IDLE_PERIOD_S = 0.05
BUSY_MESSAGES = 6
HEARTBEAT_NS = 50_000_000
GRAPH_NS = 250_000_000
GRAPH_SETTLED_NS = 2_000_000_000
RECONNECT_NS = 500_000_000
#: How often the distance to the nearest keep-out is worked out for the overview.
KEEPOUT_NS = 100_000_000
#: Topics of /<site>/<arm>/ that are recorded, beside what the governor sends by its socket. CRTK inputs are there so that
#: a local client's commands show as they came; CRTK outputs repeat arm_state and are recorded on request only.
TOPICS = frozenset({
    "arm_state", "arm_state_block", "governor/status", "governor/alarms", "lease", "link/stats", "tracker",
    "case/events", "heartbeat", "operating_state", "state_command", "hold", "servo_cp", "servo_jp", "servo_jv", "servo_cv",
    "move_cp", "move_jp", "interpolate_cp", "plan", "registration", "clock", "video/frames", "ui/actions",
})  # fmt: skip
#: Their `detail` may hold what somebody wrote; it is stored under the case's key (safety/log/privacy.py).
WRITTEN_BY_PEOPLE = frozenset({"case/events", "ui/actions"})
CRTK_OUTPUTS = frozenset({
    "measured_js", "measured_cp", "measured_cv", "measured_cf", "setpoint_js", "setpoint_cp", "goal_js", "goal_cp",
})  # fmt: skip


def header_details(config: SiteConfig, config_text: str) -> dict[str, Any]:
    """Facts of the session header that this machine knows by itself; the case adds its own as events."""
    versions: dict[str, str] = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("longhand", "mcap", "msgpack", "cryptography", "pyzmq", "rclpy", "numpy", "pybullet"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    details: dict[str, Any] = {
        "versions": versions,
        "git": _git_commit(),
        "config": config.model_dump(mode="json"),
        "config_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "simulated": config.driver != "crtk",
        "inviting_institution": config.inviting_institution or config.site,
        "invited_institution": config.invited_institution or "not stated",
        "service": config.service or "not stated",
        "operators": list(config.operators),
        "consent_form_sha256": _sha256_of_file(config.consent_form),
        "thresholds": thresholds(config).to_dict(),
    }
    if config.case_dir is not None and (config.case_dir / "case.json").is_file():
        case = json.loads((config.case_dir / "case.json").read_text())
        details["images_sha256"] = {name: entry["sha256"] for name, entry in case["files"].items()}
    roles = config.keys_dir / "roles.toml"
    if roles.is_file():
        from teleop.link.keys import load_roles

        table = load_roles(roles)
        details["roles_sha256"] = hashlib.sha256(roles.read_bytes()).hexdigest()
        details["site_keys"] = {p.name: p.ed25519 for p in table.principals.values()}
        details["grants"] = [[g.who, g.role, g.site, g.arm] for g in table.grants]
    return details


def thresholds(config: SiteConfig) -> Params:
    """What the governor of this configuration starts with; what it did start with stands in its boot step."""
    return Params.from_words(governor_parser().parse_args(arguments(config)).param)


def _sha256_of_file(path: Path | None) -> str:
    """Hex, or in words why there is none."""
    if path is None:
        return "no form stated"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"the form cannot be read: {error.strerror}"


def _git_commit() -> str:
    """Commit of the checkout this code runs from, "" outside one (read, not asked of git)."""
    for folder in Path(__file__).resolve().parents:
        head = folder / ".git" / "HEAD"
        if head.is_file():
            text = head.read_text().strip()
            ref = folder / ".git" / text.removeprefix("ref: ")
            return text if not text.startswith("ref: ") else ref.read_text().strip() if ref.is_file() else ""
    return ""


class RecorderNode(Node):
    """See the module."""

    def __init__(
        self, config: SiteConfig, log: SessionLog, case_key: CaseKey, wait_s: float, crtk: bool, context: Context | None = None
    ) -> None:
        super().__init__("recorder", namespace=f"/{config.site}/{config.arm}", enable_rosout=False, context=context)
        self.config = config
        self.case_key = case_key
        self.prefix = f"/{config.site}/{config.arm}/"
        self.wanted = TOPICS | CRTK_OUTPUTS if crtk else TOPICS
        self.recording = Recording(log, time.monotonic_ns).start()
        self.types = TypeStore((Path(sys.prefix) / "share", *_ament_shares()))
        log.types = self.types
        self.heartbeats = self.create_publisher(Heartbeat, "heartbeat", qos.SAMPLES)
        self.checkpoints = self.create_publisher(LogCheckpoint, "log/checkpoint", qos.LATCHED)
        self.alarms = self.create_publisher(Alarm, "log/alarms", qos.EVENTS)
        self.peers = self.create_subscription(LogPeerCheckpoint, "log/peer_checkpoint", lambda _: None, qos.ORDER)
        self.subscriptions_: dict[str, tuple[Any, Any, str]] = {}
        self.refused: set[str] = set()
        self.governor: GovernorClient | None = None
        self.governor_wait_until = time.monotonic() + wait_s
        self.last_n: int | None = None
        self.overview = Overview(time.monotonic_ns())
        self.utc = UtcWatch()
        self.keepout = Keepout()
        self.next_keepout = 0
        self.shown = b""
        self.gaps_until = 0
        self.dropped_seen = 0
        self.raised: set[str] = set()
        self.settled = time.monotonic_ns() + 15_000_000_000
        self.next_heartbeat = self.next_graph = self.next_connect = 0
        self.busy = True

    def turn(self) -> None:
        """One turn of the loop. A fixed beat, not one wake-up per message: what waits keeps its own stamp, and the sockets
        hold seconds of it."""
        time.sleep(PERIOD_S if self.busy else IDLE_PERIOD_S)
        self.step(time.monotonic_ns())

    def step(self, now: int) -> None:
        """Take what there is; does not wait."""
        if now >= self.next_graph:
            self.next_graph = now + (GRAPH_NS if now < self.settled else GRAPH_SETTLED_NS)
            self._find_topics()
        self._take_governor()
        self._take_topics()
        now = time.monotonic_ns()
        if now >= self.next_heartbeat:
            self.next_heartbeat = now + HEARTBEAT_NS
            self._beat(now)

    def _take_governor(self) -> None:
        now = time.monotonic_ns()
        if self.governor is None:
            if now < self.next_connect:
                return
            self.next_connect = now + RECONNECT_NS
            try:
                self.governor = GovernorClient.connect(self.config.governor_socket, "recorder")
                self.governor.send({"t": "hb", "note": ""})
                self._lower("recorder.governor", now)
            except (GovernorGoneError, PermissionError) as error:
                if time.monotonic() > self.governor_wait_until:
                    self._raise("recorder.governor", "HIGH", str(error), "restart the site's governor", now)
            return
        try:
            messages = self.governor.poll()
        except (GovernorGoneError, GovernorProtocolError) as error:
            self.governor, self.last_n = None, None
            self._raise("recorder.governor", "HIGH", str(error), "restart the site's governor", now)
            return
        now = time.monotonic_ns()
        self.busy = len(messages) > BUSY_MESSAGES
        for message in messages:
            if message["t"] == "ev":
                self._event(message, now)
            elif message["t"] == "status":
                change = self.overview.status(message, self.last_n or 0, now)
                if change is not None:
                    self.recording.put(CHANGE_TOPIC, CHANGE_TYPE, change, now)
                for alarm in self.overview.alarms(message, now):
                    self.recording.put(ALARM_TOPIC, ALARM_TYPE, alarm, now)

    def _event(self, ev: dict[str, Any], now: int) -> None:
        n, stamp = int(ev["n"]), int(ev["stamp"])
        if self.last_n is not None and n != self.last_n + 1 and ev.get("kind") not in ("boot", "snapshot"):
            missing = max(0, n - self.last_n - 1)
            self.recording.put("log/gap", "longhand_msgs/msg/LogGap", {
                "schema_version": 1, "stamp_mono": now, "from_mono": now, "until_mono": stamp,
                "stream": EVENT_TOPIC, "dropped": missing, "cause": "source_gap",
            }, now)  # fmt: skip
            self.gaps_until = now + 1_000_000_000
            self._raise("recorder.gap", "MEDIUM", f"{missing} governor steps were not recorded",
                        "the log of this session has a hole; check the machine's load", now)
        self.last_n = n
        fields = {
            "schema_version": 1, "n": n, "stamp_mono": stamp, "kind": str(ev.get("kind", "")),
            "state": str(ev.get("state", "")), "summary": str(ev.get("summary", "")),
            "input": ev.get("input", b""), "outputs": ev.get("outputs", b""),
        }  # fmt: skip
        if fields["kind"] == "order" and b"note" in fields["input"]:
            fields["input"] = self._sealed_note(fields["input"])
        cost = len(fields["input"]) + len(fields["outputs"])
        topic = ORDER_TOPIC if fields["kind"] in RARE else EVENT_TOPIC
        if topic == ORDER_TOPIC:
            self.keepout.step(fields["kind"], fields["input"], fields["outputs"])
        self.recording.put(topic, EVENT_TYPE, fields, now, publish_mono=stamp, cost=cost)

    def _find_topics(self) -> None:
        for topic, kinds in self.get_topic_names_and_types():
            short = topic.removeprefix(self.prefix)
            if short not in self.wanted or not topic.startswith(self.prefix) or topic in self.subscriptions_:
                continue
            offers = self.get_publishers_info_by_topic(topic)
            if not offers or topic in self.refused:
                continue
            try:
                kind = message_class(kinds[0])
                self.types.bundle(kinds[0])
            except (CdrError, ImportError, AttributeError, ValueError) as error:
                self.refused.add(topic)
                self.get_logger().warning(f"{topic} of type {kinds[0]} is not recorded: {error}")
                continue
            # Ask for no more than every present publisher offers: an incompatible wish would record nothing.
            reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
            latched = all(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=1000,
                reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
            )  # fmt: skip
            subscription = self.create_subscription(kind, topic, lambda _: None, profile, raw=True)
            self.subscriptions_[topic] = (subscription, kind, kinds[0])

    def _take_topics(self) -> None:
        now = time.monotonic_ns()
        for topic, (subscription, kind, name) in self.subscriptions_.items():
            handle = subscription.handle
            with handle:
                for _ in range(200):  # one flooded topic must not starve the others
                    got = handle.take_message(kind, True)
                    if got is None:
                        break
                    self._record(topic.removeprefix(self.prefix), name, bytes(got[0]), now)
        handle = self.peers.handle
        with handle:
            while (got := handle.take_message(LogPeerCheckpoint, False)) is not None:
                message = got[0]
                self.recording.peer_checkpoint(
                    message.site, note=message.note, digest=bytes(message.checkpoint_hash)
                )

    def _record(self, topic: str, name: str, data: bytes, now: int) -> None:
        if topic in WRITTEN_BY_PEOPLE:
            self.recording.put(topic, name, self._sealed(name, data), now)
            return
        self.recording.put(topic, name, data, now)
        try:
            if topic == "arm_state":
                fields = self.types.decode(name, data)
                self.overview.add_fields(ARM_SIGNALS, fields)
                if now >= self.next_keepout:
                    self.next_keepout = now + KEEPOUT_NS
                    self.overview.add(KEEPOUT, self.keepout.of_state(fields))
            elif topic == "link/stats":
                fields = self.types.decode(name, data)
                self.overview.add_fields(LINK_SIGNALS, fields, f".{fields['path']}")
        except CdrError as error:
            self.get_logger().warning(f"{topic}: {error}", once=True)

    def _sealed_note(self, data: bytes) -> bytes:
        """A note among the governor's orders: what was written is sealed. No decision looks at it, so a replay is the same."""
        order = decode_input(data)
        if not isinstance(order, OrderIn) or order.order.get("op") != "note":
            return data
        return encode_input(replace(order, order=seal_fields(order.order, self.case_key)))

    def _sealed(self, name: str, data: bytes) -> dict[str, Any] | bytes:
        """The message with its free texts under the case's key."""
        fields = self.types.decode(name, data)
        try:
            detail = json.loads(fields["detail"])
        except ValueError:
            detail = {"text": fields["detail"]}
        return {**fields, "detail": json.dumps(seal_fields(detail, self.case_key), ensure_ascii=False)}

    def _word_for_governor(self, state: Any, now: int) -> str:
        """What the governor wants to hear of the log (docs/orders.md): "", "gap", "disk_low" or "disk_full"."""
        if state.dropped > self.dropped_seen:
            self.dropped_seen, self.gaps_until = state.dropped, now + 1_000_000_000
        if state.disk.policy == FULL or not self.recording.alive:
            return "disk_full"
        if state.disk.policy == NO_GRANT:
            return "disk_low"
        return "gap" if now < self.gaps_until else ""

    def _beat(self, now: int) -> None:
        state = self.recording.state
        second = self.overview.second(now)
        if second is not None:
            self.recording.put(SECOND_TOPIC, SECOND_TYPE, second, now)
            clock = self.utc.look(*utc_now())
            if clock is not None:
                self.recording.put(CLOCK_TOPIC, CLOCK_TYPE, clock, now)
        note = json.dumps({
            "ring": round(state.ring, 3), "dropped": state.dropped, "disk": state.disk.policy,
            "disk_s": round(min(state.disk.seconds, 1e9)), "records": state.records, "bytes": state.file_bytes,
            "checkpoint": state.checkpoint.hex(), "error": state.error,
        })  # fmt: skip
        self.heartbeats.publish(Heartbeat(schema_version=1, stamp_mono=now, process="recorder", pid=os.getpid(), note=note))
        if self.governor is not None:
            with contextlib.suppress(GovernorGoneError):  # _take_governor meets it too, and says so
                self.governor.send({"t": "hb", "note": self._word_for_governor(state, now)})
        if state.checkpoint != self.shown:
            self.shown = state.checkpoint
            self.checkpoints.publish(
                LogCheckpoint(schema_version=1, stamp_mono=now, size=state.records, note=state.note)
            )
        self._watch(state, now)

    def _watch(self, state: Any, now: int) -> None:
        """Alarms of the recorder itself; the governor hears of the disk by the heartbeat and acts on it."""
        if state.dropped:
            self._raise("recorder.gap", "MEDIUM", f"{state.dropped} messages were dropped before the log",
                        "the log of this session has a hole; check disk and load", now)
        minutes = state.disk.seconds / 60
        if state.disk.policy == FULL:
            self._raise("recorder.disk_full", "HIGH", f"the log cannot be written: {state.error}",
                        "free disk space now; the arm will hold within 60 s", now)
        elif state.disk.policy in (LOW, NO_GRANT):
            what = "no new grant of control" if state.disk.policy == NO_GRANT else "control goes on"
            self._raise("recorder.disk_low", "LOW", f"disk space for {minutes:.0f} min of log: {what}",
                        "free disk space", now)
        else:
            self._lower("recorder.disk_full", now)
            self._lower("recorder.disk_low", now)
        if not self.recording.alive:
            self._raise("recorder.writer", "HIGH", f"the log writer died: {state.error}", "restart the recorder", now)

    def _raise(self, name: str, priority: str, text: str, what_to_do: str, now: int) -> None:
        if name not in self.raised:
            self.raised.add(name)
            self.get_logger().warning(text)
            self._alarm(name, priority, "enter", text, what_to_do, now)

    def _lower(self, name: str, now: int) -> None:
        if name in self.raised:
            self.raised.discard(name)
            self._alarm(name, "LOW", "exit", "", "", now)

    def _alarm(self, name: str, priority: str, phase: str, text: str, what_to_do: str, now: int) -> None:
        alarm = {
            "schema_version": 1, "stamp_mono": now, "id": name, "priority": priority, "phase": phase,
            "latched": name == "recorder.gap", "text": text, "what_to_do": what_to_do, "who": "recorder",
        }  # fmt: skip
        self.alarms.publish(Alarm(**alarm))
        self.recording.put("log/alarms", "longhand_msgs/msg/Alarm", alarm, now)

    def finish(self, reason: str) -> bool:
        """Take what is still queued, close the log. False when the writer did not manage."""
        for _ in range(20):  # 0.2 s: the others end at the same time and their last words belong in the log
            time.sleep(PERIOD_S)
            self._take_governor()
            self._take_topics()
        done = self.recording.close(reason)
        if self.governor is not None:
            self.governor.close()
        return done


def message_class(name: str) -> Any:
    """`pkg/msg/Name` -> its Python class. Raises ImportError, AttributeError."""
    package, _, short = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), short)


def _ament_shares() -> tuple[Path, ...]:
    return tuple(Path(p) / "share" for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p)


def open_log(config: SiteConfig, config_file: Path, session_hex: str, planned_s: float) -> tuple[SessionLog, CaseKey]:
    """Check space, create the log; with it the key of the case. session_hex: 32 digits, "" for a random one. Raises DiskError,
    KeyRefused, OSError, ValueError."""
    session = bytes.fromhex(session_hex) or os.urandom(16)
    case_key = load_or_make(key_file(config.keys_dir, config.case_id))
    config.log_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    stat = os.statvfs(config.log_dir)
    require_space(stat.f_bavail * stat.f_frsize, planned_s, str(config.log_dir))
    key = load_secret(config.keys_dir / config.site).signer()
    info = SessionInfo(
        session=session, site=config.site, arm=config.arm, case_id=config.case_id,
        params=msgpack.packb(thresholds(config).to_dict()),
        details={**header_details(config, config_file.read_text()), "case_key_id": case_key.key_id},
    )  # fmt: skip
    log = SessionLog(
        log_path(config.log_dir, session, config.site), key, info, mono=time.monotonic_ns(), utc=time.time_ns(),
        utc_error=utc_error(),
    )  # fmt: skip
    return log, case_key


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    parser.add_argument("--session", default="", help="32 hex digits, the same for every site (default: the configuration's, else random)")
    parser.add_argument("--planned-minutes", type=float, default=60.0, help="twice this must fit on the disk")
    parser.add_argument("--wait-s", type=float, default=20.0, help="alarm when the governor is absent for longer")
    parser.add_argument("--crtk", action="store_true", help="record measured_*, setpoint_*, goal_* too")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    stop: list[str] = []
    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, lambda *_: stop.append("SIGINT"))
    signal.signal(signal.SIGTERM, lambda *_: stop.append("SIGTERM"))
    try:
        config = load_site_config(args.config)
        log, case_key = open_log(config, args.config, args.session or config.session, args.planned_minutes * 60)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        rclpy.shutdown()
        return 1
    with contextlib.suppress(OSError):  # where permitted: a busy machine should not make the log late
        os.nice(-5)
    node = RecorderNode(config, log, case_key, args.wait_s, args.crtk)
    print(f"recording to {log.path}", flush=True)
    reason = "error"
    try:
        while not stop:
            node.turn()
        reason = f"ended by {stop[0]}"
    finally:
        done = node.finish(reason)
        node.destroy_node()
        rclpy.shutdown()
        state = node.recording.state
        print(f"{'closed' if done else 'NOT closed'} {log.path}: {state.records} records, {state.dropped} dropped"
              + (f"; {state.error}" if state.error else ""), flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
