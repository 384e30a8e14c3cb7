"""Bad devices: NaN, saturation, freeze, double rate, clock steps, unplugging, jumps, and two devices at once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.master.device import Capabilities
from teleop.master.guard import Reading, SampleGuard
from teleop.master.sample import MasterSample
from teleop.master.selector import DeviceSelector

MS = 1_000_000
CAPS = Capabilities("mtm", "pose", (True,) * 6, 100.0, orientation=True)
HOME = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def sample(n, ms=None, pose=HOME, t_device=None, buttons=("deadman",), **more):
    t = (10 * n if ms is None else ms) * MS
    return MasterSample("mtm", n, t if t_device is None else t_device, t, pose=pose, buttons=frozenset(buttons), **more)


@pytest.fixture
def guard():
    return SampleGuard(CAPS)


def run(guard, samples):
    return [guard.step(s.t_host, s) for s in samples]


def test_a_good_device_is_believed(guard):
    readings = run(guard, [sample(n) for n in range(50)])
    assert all(r.alive and r.fresh and r.deadman and not r.events for r in readings)


@pytest.mark.parametrize(
    "bad",
    [
        {"pose": (float("nan"), 0, 0, 0, 0, 0, 1)},
        {"pose": (float("inf"), 0, 0, 0, 0, 0, 1)},
        {"pose": (0, 0, 0, 0, 0, 0, 2)},
        {"pose": None},
        {"gripper": float("nan")},
        {"wrench": (0, 0, 0, 0, 0, float("nan"))},
        {"twist": (0, 0)},
    ],
)
def test_a_broken_reading_is_dropped_and_after_100_ms_of_them_the_hand_lets_go(guard, bad):
    run(guard, [sample(n) for n in range(3)])
    readings = run(guard, [replace(sample(n), **bad) for n in range(3, 20)])
    assert not any(r.fresh for r in readings)
    assert readings[0].alive and readings[0].sample.pose == HOME
    assert not readings[-1].alive and not readings[-1].deadman
    assert guard.counts["dropped"] == 17


def test_a_rate_device_without_a_deflection_is_broken():
    guard = SampleGuard(replace(CAPS, kind="rate"))
    assert not guard.step(0, sample(0)).fresh


def test_a_frozen_device_is_a_release_and_says_so_once(guard):
    run(guard, [sample(n) for n in range(3)])
    readings = [guard.step((20 + k) * MS, None) for k in range(200)]
    assert readings[99].deadman and not readings[101].deadman
    assert sum(bool(r.events) for r in readings) == 1


def test_a_device_that_repeats_an_old_reading_under_new_numbers_is_frozen(guard):
    run(guard, [sample(n) for n in range(3)])
    readings = run(guard, [sample(n, t_device=20 * MS) for n in range(3, 20)])
    assert not readings[-1].alive
    assert any("frozen" in e for r in readings for e in r.events)


def test_unplugging_releases_at_once_and_a_replugged_device_counts_from_zero(guard):
    run(guard, [sample(n) for n in range(3)])
    gone = guard.step(30 * MS, sample(3, connected=False))
    assert not gone.alive and not gone.deadman
    back = guard.step(500 * MS, sample(0, ms=500))
    assert back.alive and back.fresh


def test_a_reloaded_page_counts_from_zero_after_its_silence(guard):
    run(guard, [sample(n) for n in range(100, 103)])
    assert guard.step(1500 * MS, sample(0, ms=1500)).fresh


def test_a_stepping_device_clock_is_said_and_changes_nothing(guard):
    run(guard, [sample(n) for n in range(5)])
    for jump in (3_600_000, -3_600_000):
        r = guard.step(50 * MS + jump // 10**6, sample(5 if jump > 0 else 6, ms=50, t_device=(50 + jump) * MS))
        assert r.alive and r.fresh
        assert any("clock stepped" in e for e in r.events)


def test_double_rate_is_said_and_changes_nothing(guard):
    run(guard, [sample(n) for n in range(50)])
    readings = run(guard, [sample(50 + n, ms=500 + 5 * n) for n in range(200)])
    assert all(r.alive for r in readings)
    assert [e for r in readings for e in r.events if "Hz" in e] != []


def test_saturated_axes_are_said_once_and_used_as_they_are(guard):
    readings = run(guard, [sample(n, saturated=("x",)) for n in range(5)])
    assert all(r.fresh for r in readings)
    assert sum(len(r.events) for r in readings) == 1


def test_a_pose_jump_releases_until_the_deadman_is_seen_released(guard):
    run(guard, [sample(n) for n in range(3)])
    far = (0.2, 0, 0, 0, 0, 0, 1)
    readings = run(guard, [sample(n, pose=far) for n in range(3, 10)])
    assert not any(r.alive for r in readings)
    assert run(guard, [sample(10, pose=far, buttons=())])[0].alive
    assert run(guard, [sample(11, pose=far)])[0].deadman


def test_a_hand_at_two_metres_a_second_is_no_jump(guard):
    readings = run(guard, [sample(n, pose=(0.02 * n, 0, 0, 0, 0, 0, 1)) for n in range(20)])
    assert all(r.alive for r in readings)


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 50), st.booleans(), st.floats())), max_size=60))
def test_whatever_a_device_sends_the_guard_answers_and_lets_through_only_finite_poses(inputs):
    guard = SampleGuard(CAPS)
    for k, i in enumerate(inputs):
        s = None if i is None else sample(i[0], ms=10 * k, pose=(i[2], 0, 0, 0, 0, 0, 1), connected=i[1])
        r = guard.step(k * 10 * MS, s)
        if r.alive:
            assert abs(r.sample.pose[0]) < float("inf")


def reading(deadman):
    return Reading(sample(0, buttons=("deadman",) if deadman else ()), True, True)


def test_the_first_of_two_devices_holds_and_the_second_does_nothing_until_released():
    s = DeviceSelector()
    assert s.step({"a": reading(True), "b": reading(False)})[0] == "a"
    active, events = s.step({"a": reading(True), "b": reading(True)})
    assert active == "a" and "two devices" in events[0]
    assert s.step({"a": reading(True), "b": reading(True)})[1] == ()
    assert s.step({"a": reading(False), "b": reading(True)})[0] is None, "b was pressed while a held"
    assert s.step({"a": reading(False), "b": reading(False)})[0] is None
    assert s.step({"a": reading(False), "b": reading(True)})[0] == "b"


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_control_never_passes_from_a_held_device_to_a_held_device(history):
    s, before, held_before = DeviceSelector(), None, set()
    for a, b in history:
        held = {n for n, h in (("a", a), ("b", b)) if h}
        active, _ = s.step({"a": reading(a), "b": reading(b)})
        assert active is None or active in held
        if before is not None and before in held:
            assert active == before
        if active is not None and active != before:
            assert active not in held_before
        before, held_before = active, held
