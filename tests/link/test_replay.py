"""Every datagram counts once; a stream never steps back."""

from hypothesis import given
from hypothesis import strategies as st

from teleop.link.bucket import TokenBucket
from teleop.link.replay import Arrival, ReplayWindow, Sieve


@given(st.lists(st.integers(1, 200), max_size=300))
def test_the_window_admits_each_counter_at_most_once_and_none_that_is_too_old(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(size=16), set(), 0
    for c in counters:
        expected = c not in seen and c > highest - 16
        assert window.admit(c) is expected
        if expected:
            seen.add(c)
            highest = max(highest, c)


def test_the_window_survives_a_jump_over_its_whole_length() -> None:
    window = ReplayWindow()
    assert window.admit(1) and window.admit(10**12) and not window.admit(1) and not window.admit(10**12)
    assert window.admit(10**12 - 1)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 1)), max_size=300))
def test_over_two_paths_each_frame_passes_once_and_the_stream_only_goes_forward(arrivals: list[tuple[int, int]]) -> None:
    windows, sieve = [ReplayWindow(), ReplayWindow()], Sieve()
    passed, seen = [], set()
    for counter, path in arrivals:
        if not windows[path].admit(counter):
            continue
        kind = sieve.sort(counter)
        if kind is Arrival.NEW:
            passed.append(counter)
        elif counter in seen:
            assert kind is Arrival.COPY
        else:
            assert kind is Arrival.LATE
        seen.add(counter)
    assert passed == sorted(set(passed))
    assert not arrivals or passed[-1] == max(c for c, _ in arrivals)


@given(st.permutations(range(1, 40)))
def test_when_one_path_is_cut_the_other_still_brings_the_newest_frame(order: list[int]) -> None:
    sieve = Sieve()
    newest = [c for c in order if sieve.sort(c) is Arrival.NEW]
    assert newest[-1] == 39


@given(st.lists(st.integers(0, 50_000_000), max_size=400), st.floats(1, 500), st.integers(1, 50))
def test_the_bucket_never_grants_more_than_burst_plus_rate(steps: list[int], rate: float, burst: int) -> None:
    bucket, now, granted = TokenBucket(rate, burst), 10**15, 0
    for step in steps:
        now += step
        granted += bucket.take(now)
    assert granted <= burst + rate * sum(steps) / 1e9 + 1


def test_the_bucket_gives_nothing_for_a_clock_that_steps_back() -> None:
    bucket = TokenBucket(100, 1)
    assert bucket.take(10**9)
    assert not bucket.take(0) and not bucket.take(10**9)
    assert bucket.take(10**9 + 10_000_001)
