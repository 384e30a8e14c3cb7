"""Bytes of the orders channel: whatever comes, only BadMessage comes out, and nothing that is not finite gets in."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.command import COMMAND_MAX_BYTES, Command
from safety.decode import decode_command
from teleop.link import messages
from teleop.link.errors import BadMessage
from teleop.link.orders import ORDER_REPEAT_NS, OrderBook, StopRepeater
from teleop.link.session import REPLIES_KEPT, REPLY_BYTES_KEPT, TCP_CREDIT, Mailbox, SiteSession
from teleop.link.stream import StreamEnd
from teleop.wire.command import encode_command
from teleop.wire.state import STATE_MAX_BYTES, StateError, change_key, decode_state, encode_state, long_texts


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_in_one_way(raw: bytes) -> None:
    with contextlib.suppress(BadMessage):
        assert isinstance(messages.unpack(raw), dict)


@pytest.mark.parametrize(
    "value",
    [
        {"x": 1},
        {"t": 5},
        {"t": "order", "x": float("nan")},
        {"t": "order", "x": [[float("inf")]]},
        [1, 2],
        {"t": "order", 3: 4},
        {"t": "x" * 70000},
    ],
)
def test_malformed_messages_are_refused(value: object) -> None:
    with pytest.raises(BadMessage):
        messages.unpack(msgpack.packb(value))


def test_double_keys_deep_nests_and_extensions_are_refused() -> None:
    double = b"\x82\xa1t\xa1a\xa1t\xa1b"
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    for raw in (double, msgpack.packb({"t": "a", "d": deep}), msgpack.packb({"t": "a", "e": msgpack.ExtType(1, b"x")})):
        with pytest.raises(BadMessage):
            messages.unpack(raw)


def test_what_is_too_large_is_refused_at_both_ends() -> None:
    with pytest.raises(BadMessage, match="send it in parts"):
        messages.pack({"t": "order", "d": bytes(messages.ORDER_MAX_BYTES)})
    with pytest.raises(BadMessage):
        messages.unpack(bytes(messages.ORDER_MAX_BYTES + 1))


@pytest.mark.parametrize("value", [True, -1, 2**63, 1.0, "1", None])
def test_an_integer_field_takes_integers_only(value: object) -> None:
    with pytest.raises(BadMessage):
        messages.field({"t": "a", "n": value}, "n", int)


def test_an_order_is_repeated_until_answered_and_lost_in_time() -> None:
    book = OrderBook()
    a, b = book.ask({"op": "x"}, 0, timeout_ns=10**10), book.ask({"op": "y"}, 0, timeout_ns=10**9)
    assert [n for n, _ in book.due(0)] == [a, b] and not book.due(1)
    assert [n for n, _ in book.due(ORDER_REPEAT_NS)] == [a, b]
    assert book.answered(a) and not book.answered(a)
    assert book.lost(10**9) == [b] and not book.due(10**10)


def test_a_stop_is_said_until_its_own_echo() -> None:
    stop = StopRepeater()
    assert stop.due(0) == (False, False)
    first = stop.ask(0)
    assert stop.due(0) == (True, True) and stop.due(5) == (False, False)
    assert stop.due(20_000_000) == (True, False) and stop.due(100_000_000) == (True, True)
    second = stop.ask(110_000_000)
    assert stop.echo(first, 120_000_000) is None and stop.pending
    assert stop.echo(99, 120_000_000) is None and stop.pending, "an echo of what was never said"
    assert stop.echo(second, 130_000_000) == 20_000_000 and not stop.pending


@given(st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=200))
def test_the_tcp_outbox_never_has_more_than_its_credit_under_way(script: list[int | None]) -> None:
    box, newest = Mailbox(), 0
    for ack in script:
        if ack is None:
            newest += 1
            box.put(newest, b"")
        else:
            box.ack(ack)
        while box.take() is not None:
            pass
        assert 0 <= box.sent - box.acked <= TCP_CREDIT
    assert box.waiting is None or box.waiting[0] == newest, "only the newest waits"


def command(**changes: object) -> Command:
    fields = {
        "v": 1, "session": bytes(16), "site": "hospital_with_a_long_name_of_31", "arm": "arm1", "epoch": 2**40, "seq": 2**40, "rebase": 2**30,
        "t_console": 2**62, "echo_state": 2**62, "echo_view": 2**62, "mode": "servo", "press": 2**40, "stop": False,
        "plan_hash": bytes(8), "path_hash": bytes(8), "registration_epoch": 2**30, "peer_checkpoint": bytes(8),
        "target": (0.1,) * 7, "q_target": None, "s_limit": None,
    }  # fmt: skip
    return Command(**(fields | changes))  # type: ignore[arg-type]


def test_the_largest_command_fits_and_the_gate_reads_it_back() -> None:
    c = command(target=(0.123456789, -0.2, 0.3, 0.0, 0.0, 0.0, 1.0))
    raw = encode_command(c)
    assert len(raw) <= COMMAND_MAX_BYTES
    assert decode_command(raw) == c
    with pytest.raises(ValueError, match="at most 480 B"):
        encode_command(command(site="x" * 240))


ARM = {
    "stamp": 2**62, "q": (0.123456789,) * 7, "dq": (0.1,) * 7, "tau": (1.0,) * 7, "pose": (0.1,) * 7, "setpoint": (0.1,) * 7,
    "speed": 0.01, "force": 1.0, "s": 0.1, "path_hash": bytes(8), "lease_id": 2**40, "drive": "standstill", "fault": "f" * 300,
    "tracking_error": 1e-4, "late_ns": 5, "contact": (1.0, 2**31, 2**31),
}  # fmt: skip
STATUS = {
    "t": "status", "v": 1, "stamp": 2**62, "site": "x" * 31, "arm": "arm1", "state": "DEGRADED", "since": 2**62, "reason": "r" * 400,
    "what_to_do": "w" * 400, "holder": "k" * 40, "holder_role": "surgeon", "suspended": False, "epoch": 2**40, "rebase": 2**20,
    "session": bytes(16), "mode": "rehearsal", "last_seq": 2**40, "last_reject": "sequence_jump", "press_floor": 2**30, "v_cap": 0.01,
    "w_cap": 0.1, "v_cap_why": "x" * 100, "loop_age_ns": 10**8, "loop_age_p95_ns": 10**8, "loss": 0.01, "margin": 0.01,
    "travel_bound": 0.003, "lease_id": 2**40, "s": 0.1, "path_hash": bytes(8), "plan_hash": bytes(8), "registration_epoch": 2**20,
    "alarms": [{"id": "a", "text": "t" * 200}] * 20, "counts": {"accepted": 1}, "blockers": ["b" * 100] * 10, "stop_echo": 7,
    "rehearsal_on": False,
}  # fmt: skip
TRACKER = {"stamp": 2**62, "guide": (0.1,) * 7, "ref": (0.1,) * 7}


def test_the_largest_state_frame_fits_a_datagram_and_reads_back() -> None:
    raw = encode_state(2**62, ARM, STATUS, TRACKER, [2**40, 2**40])
    assert len(raw) <= STATE_MAX_BYTES
    frame = decode_state(raw)
    assert frame["t"] == 2**62 and frame["gov"]["state"] == "DEGRADED" and "alarms" not in frame["gov"]
    assert frame["arm"]["pose"] == [0.1] * 7 and "tau" not in frame["arm"]
    assert "contact" not in frame["arm"], "what is too long loses what a standing arm does not need"
    moving = decode_state(encode_state(2**62, ARM | {"fault": ""}, STATUS, TRACKER, [2**40, 2**40]))
    assert moving["arm"]["contact"] == [1.0, 2**31, 2**31]
    assert long_texts(STATUS)["alarms"] == STATUS["alarms"]


def test_a_state_frame_that_does_not_fit_is_refused() -> None:
    with pytest.raises(StateError, match="fit a datagram"):
        encode_state(1, ARM | {"q": (0.1,) * 60}, STATUS, TRACKER, None)


def test_counters_are_no_change_worth_a_note_but_texts_are() -> None:
    assert change_key(STATUS) == change_key(STATUS | {"counts": {"accepted": 2}, "stamp": 5, "loop_age_ns": 3})
    for changed in ({"alarms": []}, {"what_to_do": "x"}, {"state": "HOLD"}, {"holder": ""}):
        assert change_key(STATUS) != change_key(STATUS | changed)


@given(st.binary(max_size=1300))
def test_arbitrary_bytes_are_no_state_frame(raw: bytes) -> None:
    try:
        decode_state(raw)
    except StateError:
        return
    pytest.fail("accepted random bytes")


@pytest.mark.parametrize("key", ["t", "arm", "gov", "tracker", "video", "v"])
def test_a_state_frame_of_another_shape_is_refused(key: str) -> None:
    frame = msgpack.unpackb(encode_state(5, ARM, STATUS, TRACKER, None))
    for wrong in ("x", float("nan"), -1):
        with pytest.raises(StateError):
            decode_state(msgpack.packb(frame | {key: wrong}))


def session() -> SiteSession:
    stream = StreamEnd(bytes(32), bytes(16), 1, 2, site=True, now_ns=0)
    made = SiteSession("k" * 40, "lin", bytes(16), bytes(16), 1, bytes(32), stream, 0, 0)
    made.routes = {b"a": (0, 0), b"b": (1, 0)}
    return made


def test_a_small_reply_goes_by_all_routes_and_a_large_one_by_the_one_that_was_faster() -> None:
    s = session()
    assert s.remember_order(1, b"b") and not s.remember_order(1, b"a")
    assert s.keep_reply(1, b"small", 0) == [b"a", b"b"]
    assert s.remember_order(2, b"b")
    assert s.keep_reply(2, bytes(50_000), 0) == [b"b"]
    del s.routes[b"b"]
    assert s.keep_reply(2, bytes(50_000), 0) == [b"a"]


def test_an_order_asked_again_gets_its_reply_unless_that_is_under_way() -> None:
    s = session()
    s.remember_order(1, b"a")
    assert s.asked_again(1, 0) is None, "not answered yet"
    s.keep_reply(1, b"yes", 0)
    assert s.asked_again(1, 1) is None, "the copy by the other route"
    assert s.asked_again(1, 500_000_000) == b"yes"


def test_replies_kept_are_bounded_in_number_and_in_bytes() -> None:
    s = session()
    for i in range(1, 1000):
        assert s.remember_order(i, b"a")
        s.keep_reply(i, bytes(100_000), i)
        assert s.reply_bytes <= REPLY_BYTES_KEPT
        assert s.reply_bytes == sum(len(e.raw or b"") for e in s.orders_seen.values())
    assert len(s.orders_seen) == REPLIES_KEPT
    assert not s.remember_order(5, b"a"), "too old to know: never carried out again"
    assert s.asked_again(5, 10**18) == b"" and s.asked_again(999, 10**18) == bytes(100_000)
