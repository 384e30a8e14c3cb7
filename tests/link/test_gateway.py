"""The gateway's logic between a made-up link and a made-up governor, in made-up time."""

from collections import deque
from typing import Any

import pytest

from teleop.link.events import TCP_PATH, CommandFrame, Order, SessionOpened, Stop
from teleop.site.gateway import Gateway
from teleop.site.governor_client import GovernorGoneError
from teleop.wire.state import decode_state

MS = 1_000_000
KEY, S = "k" * 40, bytes(16)
ARM = {"stamp": 77, "q": (0.0,) * 7, "pose": (0.0,) * 7, "setpoint": (0.0,) * 7, "speed": 0.0, "drive": "standstill"}


class Link:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.states: list[dict[str, Any]] = []
        self.replies: list[tuple[str, int, dict[str, Any]]] = []
        self.notes: list[tuple[dict[str, Any], str | None]] = []
        self.echoes: list[tuple[str, int]] = []

    def poll(self, now_ns: int | None = None) -> list[Any]:
        out, self.events = self.events, []
        return out

    def send_state(self, frame: bytes) -> None:
        self.states.append(decode_state(frame))

    def reply(self, key: str, order: int, answer: dict[str, Any]) -> None:
        self.replies.append((key, order, answer))

    def notify(self, note: dict[str, Any], key: str | None = None) -> None:
        self.notes.append((note, key))

    def echo_stop(self, key: str, ordinal: int) -> None:
        self.echoes.append((key, ordinal))

    def stats(self) -> dict[str, Any]:
        return {"sessions": []}


class Governor:
    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.says: deque[dict[str, Any]] = deque()
        self.dead = False

    def send(self, message: dict[str, Any]) -> bool:
        if self.dead:
            raise GovernorGoneError("gone")
        self.got.append(message)
        return True

    def poll(self) -> list[dict[str, Any]]:
        if self.dead:
            raise GovernorGoneError("gone")
        out = list(self.says)
        self.says.clear()
        return out

    def fileno(self) -> int:
        return -1

    def close(self) -> None: ...

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.got if m["t"] == kind]


@pytest.fixture
def parts() -> tuple[Gateway, Link, Governor]:
    link, governor = Link(), Governor()
    return Gateway(link, lambda: governor), link, governor


def status(**changes: Any) -> dict[str, Any]:
    return {"t": "status", "state": "READY", "reason": "", "what_to_do": "", "holder": "", "stop_echo": 0} | changes


def test_commands_stops_and_orders_reach_the_governor_with_their_keys(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    link.events = [
        CommandFrame(KEY, 1, b"c", 0, S), CommandFrame("m" * 40, TCP_PATH, b"d", 0, S), Stop(KEY, 3, 0, 0),
        Order(KEY, 9, {"op": "request"}, 0, S),
    ]  # fmt: skip
    gateway.turn(0)
    assert governor.of("cmd") == [
        {"t": "cmd", "key": KEY, "path": 1, "data": b"c"},
        {"t": "cmd", "key": "m" * 40, "path": 2, "data": b"d"},
    ]
    assert governor.of("stop") == [{"t": "stop", "key": KEY}]
    assert governor.of("order")[0]["order"] == {"op": "request"} and governor.of("order")[0]["key"] == KEY


def test_replies_find_the_console_that_asked_even_when_two_use_the_same_id(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    link.events = [Order(KEY, 1, {"op": "a"}, 0, S), Order("m" * 40, 1, {"op": "b"}, 0, S)]
    gateway.turn(0)
    first, second = (m["id"] for m in governor.of("order"))
    governor.says += [{"t": "reply", "id": second, "ok": False, "reason": "no"}, {"t": "reply", "id": first, "ok": True}]
    gateway.turn(MS)
    assert link.replies == [("m" * 40, 1, {"ok": False, "reason": "no"}), (KEY, 1, {"ok": True})]
    governor.says.append({"t": "reply", "id": first, "ok": True})
    gateway.turn(2 * MS)
    assert len(link.replies) == 2, "a reply is passed on once"


def test_an_order_that_would_break_the_governors_limits_stays_here(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    bad = [{"op": "x", "d": [0] * 5000}, {"op": "x", "d": bytes(10_000)}, {"op": "y" * 5000}, {"op": 5}, {"op": "x", "d": deep}]
    link.events = [Order(KEY, i, o, 0, S) for i, o in enumerate(bad)]
    gateway.turn(0)
    assert not governor.of("order")
    assert [r[1] for r in link.replies] == list(range(5)) and not any(r[2]["ok"] for r in link.replies)


def test_case_orders_wait_for_the_case_node_and_are_bounded(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    link.events = [Order(KEY, i, {"op": "case.plan"}, 0, S) for i in range(100)]
    gateway.turn(0)
    assert len(gateway.case_orders) == 64 and len(link.replies) == 36 and "busy" in link.replies[0][2]["reason"]
    assert not governor.of("order")


def test_a_stop_is_echoed_only_after_the_governor_has_seen_it(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    governor.says.append(status(stop_echo=4))
    gateway.turn(0)
    link.events = [Stop(KEY, 1, 0, 0)]
    governor.says.append(status(stop_echo=4))
    gateway.turn(MS)
    assert link.echoes == []
    governor.says.append(status(stop_echo=5, state="STOP"))
    gateway.turn(2 * MS)
    assert link.echoes == [(KEY, 1)]


@pytest.mark.parametrize("offset", [0, 1, 33, 99])  # where in the slow grid the grant falls
def test_states_flow_at_100_hz_while_held_and_at_10_hz_otherwise(parts: tuple[Gateway, Link, Governor], offset: int) -> None:
    gateway, link, governor = parts
    gateway.feed_arm(ARM)
    governor.says.append(status())
    for ms in range(2000):
        gateway.turn(ms * MS)
    idle = len(link.states)
    for ms in range(2000, 2000 + offset):
        gateway.turn(ms * MS)
    before = len(link.states)
    governor.says.append(status(holder=KEY))
    for ms in range(2000 + offset, 4000 + offset):
        gateway.turn(ms * MS)
    assert 19 <= idle <= 22 and 195 <= len(link.states) - before <= 202


def test_the_stamp_of_a_frame_is_the_arms_own_and_stands_still_with_it(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    gateway.feed_arm(ARM)
    governor.says.append(status())
    for ms in range(1, 3000):
        gateway.turn(ms * MS)
    assert link.states[-1]["t"] == 77, "a silent arm must not look alive"


def test_no_frame_shows_a_robot_that_is_not_there(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    gateway.turn(0)
    gateway.feed_arm(ARM)
    gateway.turn(200 * MS)
    assert link.states == [], "no governor yet"
    governor.says.append(status())
    gateway.turn(400 * MS)
    gateway.turn(600 * MS)
    assert len(link.states) > 0
    n = len(link.states)
    governor.dead = True
    for ms in range(700, 1000):
        gateway.turn(ms * MS)
    assert len(link.states) == n, "the governor died"


def test_texts_go_on_change_and_twice_a_second(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    for ms in range(2000):
        if ms % 10 == 0:
            governor.says.append(status(stamp=ms, counts={"accepted": ms}, reason="late" if ms >= 1205 else ""))
        gateway.turn(ms * MS)
    notes = [n for n, _ in link.notes if n["t"] == "status"]
    assert 4 <= len(notes) <= 6
    first = next(i for i, n in enumerate(notes) if n["reason"] == "late")
    assert notes[first]["stamp"] == 1210, "the change itself was sent"


def test_a_new_console_gets_the_texts_at_once(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    governor.says.append(status())
    gateway.turn(0)
    link.notes.clear()
    link.events = [SessionOpened(KEY, "lin", S, 0)]
    gateway.turn(MS)
    assert [k for n, k in link.notes if n["t"] == "status"] == [KEY]


def test_heartbeats_and_link_reports_keep_their_rates_and_a_stall_makes_no_volley(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, _, governor = parts
    for ms in range(1000):
        gateway.turn(ms * MS)
    assert 19 <= len(governor.of("hb")) <= 21 and 9 <= len(governor.of("link")) <= 11
    n = len(governor.got)
    gateway.turn(60_000 * MS)
    assert len(governor.got) - n <= 2


def test_the_death_of_the_governor_is_said_answered_and_survived() -> None:
    link, governors = Link(), [Governor(), Governor()]
    made = iter(governors)
    gateway = Gateway(link, lambda: next(made))
    governors[0].says.append(status(holder=KEY))
    link.events = [Order(KEY, 5, {"op": "hold"}, 0, S)]
    gateway.turn(0)
    governors[0].dead = True
    gateway.turn(MS)
    assert any(n["t"] == "alarm" and n["priority"] == "HIGH" for n, _ in link.notes)
    assert link.replies == [(KEY, 5, {"ok": False, "reason": "the site's governor is gone"})]
    assert not gateway.held()
    link.events = [CommandFrame(KEY, 0, b"x", 0, S), Order(KEY, 6, {"op": "hold"}, 0, S)]
    gateway.turn(2 * MS)
    assert link.replies[-1][1] == 6 and not link.replies[-1][2]["ok"]
    for ms in range(3, 700):
        gateway.turn(ms * MS)
    assert gateway.governor is governors[1] and governors[1].of("hb")


def test_no_governor_at_the_start_is_said_once() -> None:
    def none() -> Any:
        raise GovernorGoneError("no governor at x; start the site first")

    gateway = Gateway(Link(), none)
    for ms in range(5000):
        gateway.turn(ms * MS)
    assert list(gateway.log) == ["no governor at x; start the site first"]


def test_verdicts_on_rejected_commands_go_to_their_sender_at_most_ten_a_second(parts: tuple[Gateway, Link, Governor]) -> None:
    gateway, link, governor = parts
    for ms in range(0, 1000, 10):
        governor.says += [{"t": "verdict", "key": KEY, "seq": ms, "reason": "stale"}, {"t": "verdict", "key": KEY, "seq": ms, "reason": "ok"}]
        gateway.turn(ms * MS)
    verdicts = [(n, k) for n, k in link.notes if n["t"] == "verdict"]
    assert len(verdicts) == 10 and {k for _, k in verdicts} == {KEY} and {n["reason"] for n, _ in verdicts} == {"stale"}
