"""1+1: both paths always carry everything, so losing one costs nothing. On virtual time, with the real sealing and sieving."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from safety.params import MS, S
from sim.campaign.run import run_one
from teleop.link.seal import Kind
from teleop.link.stream import StreamEnd

PERIOD = 10 * MS
DELAYS = (8 * MS, 31 * MS)


def carry(seconds: float, up: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(sent, delivered) of every command over two paths. `up`: (path, from ns, to ns) of outages."""
    secret, nonce = bytes(32), bytes(16)
    console = StreamEnd(secret, nonce, 1, 2, site=False, now_ns=0)
    site = StreamEnd(secret, nonce, 1, 2, site=True, now_ns=0)
    on_the_way: list[tuple[int, int, int, bytes]] = []
    for k in range(int(seconds * S) // PERIOD):
        now = k * PERIOD
        for path, datagram in enumerate(console.seal_all(Kind.COMMAND, now.to_bytes(8, "big"), now)):
            if not any(p == path and a <= now < b for p, a, b in up):
                on_the_way.append((now + DELAYS[path], k, path, datagram))
    out = []
    for at, _, path, datagram in sorted(on_the_way):
        opened = site.open(path, datagram, at)
        if opened is not None:
            out.append((int.from_bytes(opened.payload, "big"), at))
    return out


def gaps(delivered: list[tuple[int, int]]) -> int:
    return max(b[1] - a[1] for a, b in pairwise(delivered))


def test_each_command_is_handed_on_once_by_the_quicker_path() -> None:
    got = carry(1.0, [])
    assert [s for s, _ in got] == list(range(0, S, PERIOD)) and all(at - s == DELAYS[0] for s, at in got)


def test_the_quicker_path_dies_and_the_longest_silence_is_the_difference_of_the_paths() -> None:
    got = carry(2.0, [(0, S, 2 * S)])
    assert [s for s, _ in got] == list(range(0, 2 * S, PERIOD)), "not one command is missing"
    assert gaps(got) == PERIOD + DELAYS[1] - DELAYS[0]


def test_both_dead_is_silence_so_the_test_above_can_fail() -> None:
    assert gaps(carry(2.0, [(0, S, S + 200 * MS), (1, S, S + 200 * MS)])) >= 200 * MS


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 150), st.integers(1, 40)), max_size=8))
def test_whichever_path_is_out_no_silence_is_longer_than_the_lease_while_one_is_up(outages: list[tuple[int, int, int]]) -> None:
    up = [(p, a * PERIOD, (a + n) * PERIOD) for p, a, n in outages]
    both = [k * PERIOD for k in range(200) if all(any(p == q and a <= k * PERIOD < b for p, a, b in up) for q in (0, 1))]
    if both:
        return
    got = carry(2.0, up)
    # When the slow path steps in, one period may pass twice; when the quick one comes back, what is overtaken is dropped.
    assert gaps(got) <= 2 * PERIOD + DELAYS[1] - DELAYS[0] < 150 * MS


def test_in_the_whole_stack_one_path_cut_makes_no_pause_and_no_hold() -> None:
    """Governor, drive, hand and both lines on virtual time: the campaign's fault F02, judged by its own rules."""
    for mode in ("goal", "servo"):
        outcome = run_one("F02", mode, "5g", 3)
        assert outcome.struck and outcome.passed, outcome.why
