"""The strict decoder: exact, bounded, and it never raises anything but its own Refusal."""

import contextlib
import math
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from safety.command import COMMAND_MAX_BYTES, Command
from safety.decode import Refusal, decode_command, unpack_limited
from safety.states import Reason
from sim.campaign.rig import HOME, Rig


def good(**changes: Any) -> dict[str, Any]:
    return Rig().make(press=1, target=HOME).to_wire() | changes


def reason_of(m: Any) -> Reason:
    with pytest.raises(Refusal) as caught:
        decode_command(m if isinstance(m, bytes) else msgpack.packb(m))
    return caught.value.reason


def test_what_the_encoder_makes_the_decoder_reads() -> None:
    command = Rig().make(press=1, target=HOME)
    assert decode_command(msgpack.packb(command.to_wire())) == command


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", True), ("v", 1.0), ("epoch", -1), ("seq", 2**63), ("rebase", "1"), ("press", None), ("press", False),
        ("echo_state", 1.5), ("echo_view", True), ("echo_view", -1), ("stop", 0), ("site", ""), ("site", "x" * 65),
        ("site", b"a"), ("mode", "drill"), ("mode", None), ("session", b"short"), ("session", "N" * 16),
        ("plan_hash", b"1234567"), ("path_hash", "12345678"), ("peer_checkpoint", None),
        ("target", [0, 0, 0, 0, 0, 0, 1]), ("target", [True, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]), ("target", [0.0] * 7),
        ("target", [0.0] * 6), ("target", [0.0] * 8), ("target", "up"), ("target", [20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ("target", None),
    ],
)  # fmt: skip
def test_wrong_type_or_range_is_refused_as_fields(field: str, value: Any) -> None:
    assert reason_of(good(**{field: value})) is Reason.FIELDS


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_refused_in_every_target(bad: float) -> None:
    for k in range(7):
        target = list(HOME)
        target[k] = bad
        assert reason_of(good(target=target)) is Reason.NOT_FINITE
    assert reason_of(good(target=None, q_target=[0.1, bad])) is Reason.NOT_FINITE
    assert reason_of(good(mode="goal", target=None, s_limit=bad)) is Reason.NOT_FINITE


def test_which_targets_go_together() -> None:
    assert reason_of(good(s_limit=0.1)) is Reason.FIELDS  # two at once
    assert reason_of(good(target=None)) is Reason.FIELDS  # a press for nothing
    assert reason_of(good(mode="goal")) is Reason.FIELDS  # a pose for a path mode
    assert reason_of(good(target=None, s_limit=0.1)) is Reason.FIELDS  # a path length for servo
    assert reason_of(good(mode="goal", target=None, s_limit=-0.1)) is Reason.FIELDS
    assert reason_of(good(mode="goal", target=None, s_limit=1)) is Reason.FIELDS
    assert reason_of(good(target=None, q_target=[11.0])) is Reason.FIELDS
    assert reason_of(good(target=None, q_target=[])) is Reason.FIELDS
    assert decode_command(msgpack.packb(good(press=0, target=None))).press == 0


def test_key_set_is_exact() -> None:
    m = good()
    assert reason_of(m | {"extra": 1}) is Reason.FIELDS
    m.pop("seq")
    assert reason_of(m) is Reason.FIELDS


def test_duplicate_key_is_refused() -> None:
    raw = msgpack.packb(good())
    m = good()
    doubled = bytes([0xDE, 0, len(m) + 1]) + raw[3:] + msgpack.packb("press") + msgpack.packb(7)
    assert raw[0] == 0xDE
    assert len(doubled) <= COMMAND_MAX_BYTES
    assert reason_of(doubled) is Reason.DECODE


def test_size_nesting_extension_and_trailing_bytes() -> None:
    assert reason_of(b"") is Reason.SIZE
    assert reason_of(b"\x00" * (COMMAND_MAX_BYTES + 1)) is Reason.SIZE
    assert reason_of(b"\x91" * 400 + b"\x00") is Reason.DECODE
    assert reason_of(msgpack.packb(msgpack.ExtType(1, b"x"))) is Reason.DECODE
    assert reason_of(msgpack.packb(good()) + b"\x00") is Reason.DECODE
    assert reason_of(msgpack.packb({1: 2})) is Reason.DECODE
    assert reason_of(msgpack.packb([1])) is Reason.DECODE
    assert reason_of(msgpack.packb("x" * 300)) is Reason.DECODE
    assert reason_of(msgpack.packb({"a": list(range(100))})) is Reason.DECODE
    assert reason_of(msgpack.packb({"a": b"x" * 100})) is Reason.DECODE
    assert reason_of(msgpack.packb({str(k): 0 for k in range(40)})) is Reason.DECODE
    assert reason_of(b"\xa2\xff\xff") is Reason.DECODE  # not UTF-8


def test_quaternion_comes_back_normalised() -> None:
    target = [0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0005]
    c = decode_command(msgpack.packb(good(target=target)))
    assert c.target is not None
    assert c.target[6] == pytest.approx(1.0, abs=1e-12)
    assert reason_of(good(target=[0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 1.01])) is Reason.FIELDS


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=600))
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        assert isinstance(decode_command(data), Command)
    except Refusal as refusal:
        assert refusal.reason in (Reason.SIZE, Reason.DECODE, Reason.FIELDS, Reason.NOT_FINITE)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field=st.sampled_from(sorted(Command.__slots__)), value=anything)
def test_any_value_in_any_field_decodes_to_the_right_type_or_is_refused(field: str, value: Any) -> None:
    try:
        c = decode_command(msgpack.packb(good(**{field: value})))
    except Refusal:
        return
    if c.target is not None:
        assert all(type(x) is float and math.isfinite(x) for x in c.target)
    assert type(c.stop) is bool
    assert type(c.press) is int and c.press >= 0


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_flipped_bits_decode_or_are_refused(data: st.DataObject) -> None:
    raw = bytearray(msgpack.packb(good()))
    for _ in range(data.draw(st.integers(1, 4))):
        k = data.draw(st.integers(0, len(raw) * 8 - 1))
        raw[k // 8] ^= 1 << k % 8
    with contextlib.suppress(Refusal):
        decode_command(bytes(raw))


def test_unpack_limits_are_the_callers() -> None:
    assert unpack_limited(msgpack.packb([1] * 100), array=100) == [1] * 100
    with pytest.raises(Refusal):
        unpack_limited(msgpack.packb([1] * 101), array=100)
