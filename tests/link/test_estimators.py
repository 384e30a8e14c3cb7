"""The health of a path, from made-up arrivals in made-up time."""

import random

import pytest

from teleop.link.estimators import DEAD_AFTER_NS, PathHealth, p50_p99

MS = 1_000_000


def feed(h: PathHealth, counters: list[int], start: int = 0, period: int = 10 * MS, delay: int = 20 * MS) -> int:
    now = start
    for c in counters:
        now = start + c * period + delay
        h.datagram(now, c, (start + c * period) // 1000 & 0xFFFFFFFF)
    return now


def test_a_path_comes_alive_after_five_datagrams_and_dies_of_silence() -> None:
    h = PathHealth(0, 0)
    feed(h, [1, 2, 3, 4])
    assert not h.is_alive(60 * MS)
    now = feed(h, [5])
    assert h.is_alive(now) and h.is_alive(now + DEAD_AFTER_NS)
    assert not h.is_alive(now + DEAD_AFTER_NS + 1)
    assert not h.is_alive(now), "dead stays dead until datagrams come again"


def test_a_dead_path_needs_five_datagrams_to_return() -> None:
    h = PathHealth(0, 0)
    feed(h, list(range(1, 10)))
    assert not h.is_alive(2_000 * MS)
    feed(h, [200, 201, 202, 203])
    assert not h.is_alive(2_060 * MS)
    now = feed(h, [204])
    assert h.is_alive(now)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.1, 0.5])
def test_loss_is_what_was_lost(loss: float) -> None:
    rng = random.Random(3)
    came = [c for c in range(1, 1001) if c in (1, 1000) or rng.random() >= loss]
    h = PathHealth(0, 0)
    now = feed(h, came)
    true = 1 - len(came) / 1000
    assert h.loss(now) == pytest.approx(true, abs=0.02)
    assert h.stats(now).lost == 1000 - len(came)


def test_a_silent_path_has_lost_what_no_counter_shows_yet() -> None:
    h = PathHealth(0, 0)
    now = feed(h, list(range(1, 500)))
    assert h.loss(now, 1_000 * MS) == 0.0
    assert h.loss(now + 600 * MS, 1_000 * MS) >= 0.6
    assert h.loss(now + 20_000 * MS) == 1.0


def test_reordered_and_burst_are_told_apart() -> None:
    h = PathHealth(0, 0)
    feed(h, [1, 2, 4, 3, 5, 6, 12, 13])
    assert h.reordered == 1 and h.bursts == {1: 1, 5: 1}


def test_jitter_is_zero_for_a_constant_delay_and_grows_with_its_variation() -> None:
    calm, rough = PathHealth(0, 0), PathHealth(0, 0)
    rng = random.Random(1)
    for c in range(1, 500):
        sent = c * 10 * MS
        calm.datagram(sent + 30 * MS, c, sent // 1000)
        rough.datagram(sent + 30 * MS + rng.randrange(20 * MS), c, sent // 1000)
    assert calm.stats(5000 * MS).jitter_ms < 0.01
    assert 3 < rough.stats(5000 * MS).jitter_ms < 12


def test_the_send_time_may_wrap_around() -> None:
    h = PathHealth(0, 0)
    start = (2**32 - 250_000) * 1000  # 0.25 s before the 32-bit microseconds wrap
    for c in range(1, 100):
        sent = start + c * 10 * MS
        h.datagram(sent + 30 * MS, c, sent // 1000 & 0xFFFFFFFF)
    stats = h.stats(start + 1000 * MS)
    assert stats.jitter_ms < 0.01 and stats.queue_ms == pytest.approx(0.0, abs=0.01)


def test_queueing_shows_as_delay_above_its_minimum_without_synchronised_clocks() -> None:
    h = PathHealth(0, 0)
    offset = 123_456_789_000  # the peer's clock runs somewhere else entirely
    for c in range(1, 200):
        sent = c * 10 * MS
        queue = max(0, c - 100) * MS
        h.datagram(sent + 30 * MS + queue, c, (sent + offset) // 1000 & 0xFFFFFFFF)
    assert h.stats(2000 * MS).queue_ms == pytest.approx(99, abs=0.1)


def test_the_clock_offset_comes_from_the_sample_with_the_least_delay() -> None:
    h = PathHealth(0, 0)
    for i, (rtt, error) in enumerate([(50, 20), (12, 1), (90, -30)]):
        h.round_trip(i * MS, rtt * MS, 1000 * MS + error * MS)
    est = h.clock(3 * MS)
    assert est is not None and est.offset_ns == 1001 * MS
    assert abs(est.offset_ns - 1000 * MS) <= est.error_ns


def test_nonsense_round_trips_are_ignored() -> None:
    h = PathHealth(0, 0)
    h.round_trip(0, -5, 0)
    h.round_trip(0, 10**12, 0)
    assert h.stats(0).rtt_ms_p50 is None and h.clock(0) is None


def test_the_middle_and_the_hundredth_worst_of_any_order_and_none_of_nothing() -> None:
    assert p50_p99([float(v) for v in reversed(range(1, 201))]) == {"p50": 101.0, "p99": 199.0}
    assert p50_p99([7.0]) == {"p50": 7.0, "p99": 7.0}
    assert all(v != v for v in p50_p99(()).values())
