"""`Gateway`: what passes between the WAN and the governor of a site. No ROS and no clock of its own; the ROS node feeds it.

In:  command frames, orders, stops from the consoles, each with the CURVE key that the link authenticated; orders "case.*"
     go to the case node, all others to the governor, which alone decides.
Out: state frames (100 Hz while somebody holds the arm, 10 Hz otherwise), the status with its texts as notes (on change, at
     most every 20 ms, and twice a second), verdicts on rejected commands, replies.

The gateway decides nothing about motion. A console's bytes never reach the governor's decoder unchecked: what would make
it drop this connection is refused here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from safety.decode import Refusal, unpack_limited
from teleop.link.errors import BadMessage
from teleop.link.events import (
    TCP_PATH,
    CommandFrame,
    Fallback,
    Intruder,
    Order,
    PathChange,
    SessionClosed,
    SessionOpened,
    Stop,
)
from teleop.site.contact import ContactMeter
from teleop.site.governor_client import GovernorGoneError, GovernorProtocolError
from teleop.wire.state import CONTACT_KEY, StateError, change_key, encode_state, long_texts

HELD_PERIOD_NS = 10_000_000
IDLE_PERIOD_NS = 100_000_000
TEXTS_PERIOD_NS = 500_000_000
TEXTS_MIN_NS = 20_000_000
LINK_PERIOD_NS = 100_000_000
HEARTBEAT_NS = 50_000_000
VERDICT_PERIOD_NS = 100_000_000
RECONNECT_NS = 500_000_000
#: Number of the TCP fall-back as a path at the governor, whose paths are not negative.
GOVERNOR_TCP_PATH = 2
_ASKED_MAX = 1024


class GovernorLike(Protocol):
    """What we need of `teleop.site.governor_client.GovernorClient`."""

    def send(self, message: dict[str, Any]) -> bool: ...
    def poll(self) -> list[dict[str, Any]]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class LinkLike(Protocol):
    """What we need of `teleop.link.site.SiteLink`."""

    def poll(self, now_ns: int | None = None) -> Sequence[Any]: ...
    def send_state(self, frame: bytes) -> None: ...
    def reply(self, key: str, order: int, answer: dict[str, Any]) -> None: ...
    def notify(self, note: dict[str, Any], key: str | None = None) -> None: ...
    def echo_stop(self, key: str, ordinal: int) -> None: ...
    def stats(self) -> dict[str, Any]: ...


@dataclass
class Gateway:
    """Owned by one loop. `connect` makes a governor client or raises; called again half a second after a loss.

    `case_orders` fills with (key, id, order) for the case node; answer with `answer_case`.
    `log` fills with lines for people; `link_stats` with the newest statistics, ten times a second.
    """

    link: LinkLike
    connect: Any
    case_orders: deque[tuple[str, int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=256))
    site_orders: deque[tuple[str, int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=64))
    log: deque[str] = field(default_factory=lambda: deque(maxlen=256))
    governor: GovernorLike | None = None
    status: dict[str, Any] = field(default_factory=dict)
    arm: dict[str, Any] | None = None
    tracker: dict[str, Any] | None = None
    video: list[int] = field(default_factory=list)
    link_stats: dict[str, Any] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    _asked: dict[int, tuple[str, int]] = field(default_factory=dict)
    _next_id: int = 1
    _stops: dict[tuple[str, int], int] = field(default_factory=dict)  # (key, ordinal) -> governor's stop count before it
    _texts_key: tuple[str, ...] = ()
    _texts_at: int = -TEXTS_PERIOD_NS
    _next_state: int = 0
    _next_link: int = 0
    _next_beat: int = 0
    _next_connect: int = 0
    _verdict_at: dict[str, int] = field(default_factory=dict)
    _said_gone: bool = False
    _contact: ContactMeter = field(default_factory=ContactMeter)

    # --- from the ROS side -----------------------------------------------------------------------------------------
    def feed_arm(self, arm: dict[str, Any]) -> None:
        """The newest ArmReport fields (SI, base_T_tip poses as 7 numbers; `stamp` robot monotonic ns)."""
        if "pose" in arm and "force" in arm:
            arm = arm | {CONTACT_KEY: self._contact.step(arm["pose"], arm["force"]).wire()}
        self.arm = arm

    def answer_case(self, key: str, order: int, reply: dict[str, Any]) -> None:
        """The case node's (or anybody's) reply to an order of a console."""
        try:
            self.link.reply(key, order, reply)
        except BadMessage as e:
            self.link.reply(key, order, {"ok": False, "reason": f"the reply does not fit a message: {e}"})

    # --- one turn --------------------------------------------------------------------------------------------------
    def turn(self, now_ns: int) -> None:
        """Take everything that has arrived, hand it on, send what is due. Never waits."""
        self._ensure_governor(now_ns)
        for event in self.link.poll(now_ns):
            self._take(event, now_ns)
        if self.governor is not None:
            try:
                for message in self.governor.poll():
                    self._from_governor(message, now_ns)
            except (GovernorGoneError, GovernorProtocolError) as e:
                self._governor_gone(str(e))
        self._send_due(now_ns)

    def _ensure_governor(self, now: int) -> None:
        if self.governor is not None or now < self._next_connect:
            return
        self._next_connect = now + RECONNECT_NS
        try:
            self.governor = self.connect()
        except (GovernorGoneError, OSError) as e:
            if not self._said_gone:
                self._said_gone = True
                self.log.append(str(e))
        else:
            self._said_gone = False
            self._next_beat = now
            self.log.append("governor connected")

    def _governor_gone(self, why: str) -> None:
        self.governor, self.status = None, {}
        self.log.append(f"governor lost: {why}")
        self.link.notify({"t": "alarm", "id": "governor", "priority": "HIGH", "text": f"The site's governor is gone: {why}",
                          "what_to_do": "The arm rests by its lease. The site must restart it."})  # fmt: skip
        for key, number in self._asked.values():
            self.link.reply(key, number, {"ok": False, "reason": "the site's governor is gone"})
        self._asked.clear()

    def _tell(self, message: dict[str, Any]) -> bool:
        """Send to the governor; False if it is not there or does not keep up."""
        if self.governor is None:
            return False
        try:
            return self.governor.send(message)
        except GovernorGoneError as e:
            self._governor_gone(str(e))
            return False

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- from the consoles -----------------------------------------------------------------------------------------
    def _take(self, event: Any, now: int) -> None:
        match event:
            case CommandFrame(key=key, path=path, data=data):
                path = GOVERNOR_TCP_PATH if path == TCP_PATH else path
                if not self._tell({"t": "cmd", "key": key, "path": path, "data": data}):
                    self._count("command_not_delivered")
            case Stop(key=key, ordinal=ordinal):
                if (key, ordinal) not in self._stops:
                    self._stops[key, ordinal] = int(self.status.get("stop_echo", 0))
                    self.log.append(f"stop {ordinal} asked for by {key[:8]}")
                while len(self._stops) > 64:
                    self._stops.pop(next(iter(self._stops)))
                self._tell({"t": "stop", "key": key})
            case Order(key=key, id=number, order=order):
                self._order(key, number, order)
            case SessionOpened(key=key, name=name, release=release):
                self.log.append(f"console {name} ({key[:8]}) connected, release {release or 'unknown'}")
                if self.status:
                    self._note_texts(key)
            case SessionClosed(key=key, why=why):
                self.log.append(f"console {key[:8]} left: {why}")
            case PathChange(key=key, path=path, alive=alive):
                self.log.append(f"console {key[:8]}: path {path} {'is back' if alive else 'is silent'}")
                self._next_link = now  # the governor hears of it at once
            case Fallback(key=key, text=text):
                self.log.append(f"console {key[:8]}: {text}")
                self.link.notify({"t": "link", "text": text}, key)
            case Intruder(what=what, key=key, address=address):
                self._count("intruder")
                if self.counts["intruder"] < 20 or self.counts["intruder"] % 1000 == 0:
                    self.log.append(f"refused {key[:8] or 'somebody'} {address}: {what}")

    def _order(self, key: str, number: int, order: dict[str, Any]) -> None:
        op = order.get("op")
        if not isinstance(op, str):
            self.link.reply(key, number, {"ok": False, "reason": 'an order is a map with a text "op"'})
        elif op.startswith("case."):
            if len(self.case_orders) >= 64:
                self.link.reply(key, number, {"ok": False, "reason": "the case is busy; ask again"})
            else:
                self.case_orders.append((key, number, order))
        elif op.startswith("site."):
            self.site_orders.append((key, number, order))
        else:
            self._to_governor(key, number, order)

    def _to_governor(self, key: str, number: int, order: dict[str, Any]) -> None:
        own = self._next_id
        message = {"t": "order", "key": key, "id": own, "order": order}
        try:  # the governor ends the connection of a peer that breaks its limits: a console must not be able to cause that
            unpack_limited(msgpack.packb(message), text=4096, binary=4096, array=512, keys=64)
        except (Refusal, ValueError, OverflowError) as e:
            self._count("order_refused")
            self.link.reply(key, number, {"ok": False, "reason": f"the order is not within the governor's limits: {e}"})
            return
        if not self._tell(message):
            self.link.reply(key, number, {"ok": False, "reason": "the site's governor does not answer; the arm is at rest"})
            return
        self._next_id += 1
        self._asked[own] = (key, number)
        while len(self._asked) > _ASKED_MAX:
            self._asked.pop(next(iter(self._asked)))

    # --- from the governor -----------------------------------------------------------------------------------------
    def _from_governor(self, m: dict[str, Any], now: int) -> None:
        kind = m["t"]
        if kind == "status":
            self.status = m
            echo = int(m.get("stop_echo", 0))
            for (key, ordinal), before in list(self._stops.items()):
                if echo > before:
                    del self._stops[key, ordinal]
                    self.link.echo_stop(key, ordinal)
            changed = change_key(m)
            if changed != self._texts_key and now - self._texts_at >= TEXTS_MIN_NS:
                self._send_texts(now, changed)
        elif kind == "reply":
            asked = self._asked.pop(int(m.get("id", 0)), None)
            if asked is not None:
                self.answer_case(*asked, {k: v for k, v in m.items() if k not in ("t", "id", "key")})
        elif kind == "verdict":
            key = str(m.get("key", ""))
            if m.get("reason") != "ok" and now - self._verdict_at.get(key, -VERDICT_PERIOD_NS) >= VERDICT_PERIOD_NS:
                self._verdict_at[key] = now
                self.link.notify(dict(m), key)

    def _send_texts(self, now: int, changed: tuple[str, ...]) -> None:
        self._texts_key, self._texts_at = changed, now
        self._note_texts(None)

    def _note_texts(self, key: str | None) -> None:
        try:
            self.link.notify({"t": "status", **long_texts(self.status)}, key)
        except BadMessage as e:
            self.log.append(f"status not sent: {e}")

    # --- what is due -----------------------------------------------------------------------------------------------
    def held(self) -> bool:
        """Does somebody hold the arm?"""
        return bool(self.status.get("holder"))

    def _send_due(self, now: int) -> None:
        period = HELD_PERIOD_NS if self.held() else IDLE_PERIOD_NS
        self._next_state = min(self._next_state, now + period)  # when somebody takes the arm, the slow grid ends
        if now >= self._next_state:
            self._next_state = max(self._next_state + period, now + period // 2)
            self._send_state()
        if self.status and now - self._texts_at >= TEXTS_PERIOD_NS:
            self._send_texts(now, change_key(self.status))
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_NS
            self._tell({"t": "hb", "note": ""})
        if now >= self._next_link:
            self._next_link = now + LINK_PERIOD_NS
            self.link_stats = self.link.stats()
            self._tell({"t": "link", "paths": self._paths()})

    def _send_state(self) -> None:
        # Half a frame would show a robot that is not there: without an arm or a governor there is none. The frame's stamp
        # is the arm's own: if the arm falls silent, the echo stands still and the loop age grows, although this process
        # goes on sending.
        if self.arm is None or not self.status:
            return
        stamp = int(self.arm["stamp"])
        for tracker, video in ((self.tracker, self.video), (None, None)):
            try:
                frame = encode_state(stamp, self.arm, self.status, tracker, video)
                break
            except StateError as e:  # an arm with many joints: then the tracker, which matters less, stays at home
                self._count("state_too_large")
                if self.counts["state_too_large"] == 1:
                    self.log.append(str(e))
        else:
            return
        self.link.send_state(frame)

    def _paths(self) -> list[dict[str, Any]]:
        """The paths of the holder's session (of any, while nobody holds), as the governor wants them."""
        sessions = (self.link_stats or {}).get("sessions", [])
        holder = self.status.get("holder")
        chosen = next((s for s in sessions if s["key"] == holder), sessions[0] if sessions else None)
        if chosen is None:
            return []
        return [
            {
                "alive": p["alive"],
                "rtt_ms": p["rtt_ms_p50"] if p["rtt_ms_p50"] is not None else 0.0,
                "rtt_ms_p99": p["rtt_ms_p99"] if p["rtt_ms_p99"] is not None else 0.0,
                "loss": p["loss_1s"],
                "loss_10s": p["loss"],
                "jitter_ms": p["jitter_ms"],
                "queue_ms": p["queue_ms"],
                "silence_ms": p["silence_ms"],
                "tcp": chosen["transport"] == "tcp",
            }
            for p in chosen["paths"]
        ]
