"""Sealed datagrams: what was sealed opens, everything else does not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.link.seal import DATAGRAM_MAX_BYTES, OVERHEAD, PAYLOAD_MAX_BYTES, Kind, StreamCipher, Unsealed, parse_header

SECRET, NONCE = bytes(range(32)), bytes(range(16))


def cipher(**changes: object) -> StreamCipher:
    given = {"secret": SECRET, "nonce": NONCE, "number": 7, "from_site": False, "channel": 0, "path": 0} | changes
    return StreamCipher(given.pop("secret"), given.pop("nonce"), given.pop("number"), **given)  # type: ignore[arg-type]


@given(st.binary(max_size=PAYLOAD_MAX_BYTES), st.integers(1, 2**63 - 1), st.integers(0, 2**62), st.sampled_from(list(Kind)))
def test_what_was_sealed_opens_to_the_same_payload(payload: bytes, counter: int, now: int, kind: Kind) -> None:
    datagram = cipher().seal(kind, counter, now, payload)
    head = parse_header(datagram)
    assert cipher().open(datagram) == payload
    assert (head.kind, head.counter, head.session, head.path) == (kind, counter, 7, 0)
    assert head.sent_us == now // 1000 % 2**32
    assert len(datagram) == len(payload) + OVERHEAD <= DATAGRAM_MAX_BYTES


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_flipped_bit_anywhere_does_not_open(payload: bytes, data: st.DataObject) -> None:
    datagram = bytearray(cipher().seal(Kind.COMMAND, 5, 0, payload))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit >> 3] ^= 1 << (bit & 7)
    with pytest.raises(Unsealed):
        cipher().open(bytes(datagram))


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": bytes(32)},
        {"nonce": bytes(16)},
        {"from_site": True},
        {"channel": 1},
        {"path": 1},
    ],
    ids=["other secret", "other session", "other direction", "other channel", "other path"],
)
def test_a_datagram_of_another_stream_does_not_open(changes: dict[str, object]) -> None:
    datagram = cipher().seal(Kind.COMMAND, 5, 0, b"move")
    with pytest.raises(Unsealed):
        cipher(**changes).open(datagram)


def test_a_datagram_readdressed_to_the_other_path_does_not_open_there() -> None:
    datagram = bytearray(cipher().seal(Kind.COMMAND, 5, 0, b"move"))
    datagram[1] |= 1
    with pytest.raises(Unsealed):
        cipher(path=1).open(bytes(datagram))


@given(st.binary(max_size=1500))
def test_arbitrary_bytes_are_refused_and_raise_nothing_else(data: bytes) -> None:
    try:
        parse_header(data)
        cipher().open(data)
    except Unsealed:
        return
    pytest.fail("opened random bytes")


def test_payload_too_long_and_counter_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1200 B"):
        cipher().seal(Kind.STATE, 1, 0, bytes(PAYLOAD_MAX_BYTES + 1))
    for counter in (0, -1, 2**63):
        with pytest.raises(ValueError, match="counter"):
            cipher().seal(Kind.STATE, counter, 0, b"")


def test_the_wire_has_not_changed() -> None:
    """The vector of docs/wire.md: a peer written by somebody else depends on these very bytes."""
    datagram = cipher(path=1).seal(Kind.COMMAND, 258, 5_000_000, b"longhand")
    assert datagram.hex() == VECTOR


VECTOR = "110100070000138800000000000001022dbc0173d08c6299944fd3a96fd295057223ebd622d07364"


def test_the_page_for_strangers_has_the_same_vector() -> None:
    page = (Path(__file__).parents[2] / "docs/wire.md").read_text()
    assert VECTOR in page
