"""The budget: control always, priority between planes and sites, nobody starved."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teleop.link.budget import BURST_S, IN_HAND, Budget, SiteBudget, ask, step, with_site
from teleop.link.planes import Plane

MB = 125_000.0  # bytes a second of 1 Mbit/s
MS = 1_000_000


def two(rate: float = MB) -> Budget:
    b = with_site(with_site(Budget(rate), "a", IN_HAND), "b")
    return step(b, 0)


def send_all(
    b: Budget, seconds: float, wants: dict[str, tuple[Plane, int]], each_ms: int = 10
) -> tuple[Budget, dict[str, int]]:
    """Everybody asks for one packet after another for so long; bytes sent by site."""
    sent = dict.fromkeys(wants, 0)
    for _ in range(int(seconds * 1000 / each_ms)):
        b = step(b, b.at + each_ms * MS, frozenset(wants))
        for site, (plane, size) in wants.items():
            while True:
                b, yes = ask(b, site, plane, size)
                if not yes:
                    break
                sent[site] += size
    return b, sent


def test_control_is_never_refused_even_when_the_line_is_overdrawn() -> None:
    b = two(1000.0)
    for _ in range(1000):
        b, yes = ask(b, "a", Plane.STREAM, 1200)
        assert yes
    assert b.sites["a"].tokens >= -1000.0 * BURST_S, "and the debt is bounded"


def test_bulk_stops_first_then_video_then_orders() -> None:
    b = two()
    full = b.sites["a"].tokens
    stopped = []
    while b.sites["a"].tokens > 0.0:
        b, _ = ask(b, "a", Plane.STREAM, 500)
        for plane in (Plane.BULK, Plane.VIDEO, Plane.ORDERS):
            if plane not in stopped and not ask(b, "a", plane, 500)[1]:
                stopped.append(plane)
    assert stopped == [Plane.BULK, Plane.VIDEO, Plane.ORDERS] and full == MB * BURST_S


def test_the_site_in_hand_gets_its_larger_share_while_both_want_more_than_there_is() -> None:
    _, sent = send_all(two(), 10.0, {"a": (Plane.VIDEO, 1200), "b": (Plane.VIDEO, 1200)})
    assert sent["a"] / sent["b"] == pytest.approx(IN_HAND, rel=0.15)
    assert sum(sent.values()) <= MB * 10.0 + 2 * MB * BURST_S


def test_what_one_site_does_not_use_goes_to_the_other() -> None:
    _, sent = send_all(two(), 10.0, {"b": (Plane.BULK, 1200)})
    assert sent["b"] == pytest.approx(MB * 10.0, rel=0.1)


def test_the_site_that_waits_longest_is_not_starved() -> None:
    _, sent = send_all(two(), 10.0, {"a": (Plane.VIDEO, 1200), "b": (Plane.BULK, 1200)})
    assert sent["b"] > 0.5 * MB * 10.0 / 9.0


def test_a_packet_larger_than_the_bucket_passes_when_the_bucket_is_full_and_is_paid_for() -> None:
    b = two()
    b, yes = ask(b, "b", Plane.BULK, 256 * 1024)
    assert yes and b.sites["b"].tokens < 0
    assert not ask(b, "b", Plane.BULK, 256 * 1024)[1]


@example(
    events=[
        (0, "a", Plane.ORDERS, 2363),
        (0, "b", Plane.ORDERS, 1254),
        (0, "c", Plane.ORDERS, 2363),
        (250, "a", Plane.ORDERS, 1),
        (250, "a", Plane.ORDERS, 2361),
    ],
    rate=1000.0,
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 400), st.sampled_from(["a", "b", "c"]), st.sampled_from(list(Plane)), st.integers(1, 60000)
        ),
        max_size=80,
    ),
    st.floats(1e3, 1e7),
)
def test_over_any_time_the_asking_planes_together_never_exceed_the_rate_and_one_burst_a_site(
    events: list[tuple[int, str, Plane, int]], rate: float
) -> None:
    b = Budget(rate)
    for name in ("a", "b", "c"):
        b = with_site(b, name)
    b = step(b, 0)
    now, sent, largest = 0, 0, 0
    for ms, site, plane, size in events:
        now += ms * MS
        b = step(b, now, frozenset({site}))
        assert all(s.tokens <= rate * BURST_S * 1.000001 for s in b.sites.values())
        b, yes = ask(b, site, plane, size)
        if plane is not Plane.STREAM and yes:
            sent, largest = sent + size, max(largest, size)
    assert sent <= rate * now / 1e9 + 3 * (rate * BURST_S + largest) + 1


def test_a_clock_that_stands_or_steps_back_fills_nothing() -> None:
    b = two()
    b, _ = ask(b, "a", Plane.STREAM, 10_000)
    assert step(b, b.at).sites == b.sites and step(b, b.at - 5).sites == b.sites


def test_a_share_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        with_site(Budget(1.0), "a", 0.0)
    assert isinstance(two().sites["a"], SiteBudget)
