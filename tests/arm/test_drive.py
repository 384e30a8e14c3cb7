"""Ring 1: whatever it is told, the drive moves only inside leases and ends at rest inside its bound."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from safety.lease import path_digest
from teleop import geometry as g
from teleop.arm.drive import accept_path, clear_paths, step
from teleop.arm.driver import EncoderSample
from tests.arm.drive_bench import HOME, L_NS, MS, PERIOD, Bench, joint_path, kinematics, params, stored, with_path

# no shrinking: an example runs seconds of virtual time, and a failing one prints its arguments anyway
FAST = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

cap = st.floats(0.002, 0.1)
w_cap = st.floats(0.02, 1.0)
offset = st.tuples(*[st.floats(-0.05, 0.05)] * 3, *[st.floats(-0.2, 0.2)] * 3)
posture = st.tuples(*[st.floats(-0.3, 0.3)] * 7)
#: (target, renewals, ticks between renewals, lateness of one tick in ms)
burst = st.tuples(st.integers(1, 6), st.integers(0, 25), st.integers(0, 40))


def target_of(bench, home, o):
    q = g.quat_multiply(g.rotvec_to_quat(o[3:]), home[3:])
    return (home[0] + o[0], home[1] + o[1], home[2] + o[2], *q)


def drive_through(bench, contents, bursts, v_cap, w):
    """Leases of changing content; returns the last one."""
    last = None
    for content, (renewals, gap, late) in zip(contents, bursts, strict=False):
        for _ in range(renewals):
            last = bench.lease(v_cap=v_cap, w_cap=w, **content)
            bench.tick(last)
            for k in range(gap):
                bench.tick(late=late * MS if k == 3 else 0)
    return last


def assert_bound(bench, lease, v_cap):
    """At rest by expiry + t_stop, inside d_stop of where expiry found it, never over the cap."""
    while bench.now < lease.expiry:
        bench.tick()
    at_expiry = bench.travel[max(i for i, t in enumerate(bench.stamps) if t <= lease.expiry or i == 0)]
    bench.rest()
    p = bench.params
    # 1 %: in joint space the tool's metres per radian change on the way
    assert bench.now <= lease.expiry + p.t_stop(v_cap) * 1.01e9 + PERIOD
    assert bench.travel[-1] - at_expiry <= p.d_stop(v_cap) + 1e-9
    assert max(bench.speeds) <= v_cap * 1.001
    assert bench.state.fault == ""


@given(st.lists(offset, min_size=1, max_size=5), st.lists(burst, min_size=5, max_size=5), cap, w_cap)
@FAST
def test_pose_leases_end_at_rest_within_the_bound(offsets, bursts, v_cap, w):
    bench = Bench()
    home = bench.state.pose_ref.tolist()
    contents = [{"kind": "pose", "target": target_of(bench, home, o)} for o in offsets]
    assert_bound(bench, drive_through(bench, contents, bursts, v_cap, w), v_cap)


@given(st.lists(posture, min_size=1, max_size=5), st.lists(burst, min_size=5, max_size=5), cap, w_cap)
@FAST
def test_joint_leases_end_at_rest_within_the_bound(postures, bursts, v_cap, w):
    bench = Bench()
    contents = [{"kind": "joints", "q_target": tuple((HOME + np.array(d)).tolist())} for d in postures]
    assert_bound(bench, drive_through(bench, contents, bursts, v_cap, w), v_cap)


@given(
    posture.filter(lambda d: max(map(abs, d)) > 0.05),
    st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=5),
    st.lists(burst, min_size=5, max_size=5),
    cap,
    w_cap,
)
@FAST
def test_path_leases_end_at_rest_within_the_bound_and_never_go_back(d, shares, bursts, v_cap, w):
    path = joint_path(kinematics(), HOME, HOME + np.array(d))
    bench = with_path(Bench(), path)
    contents = [{"kind": "path", "path_hash": path.path_hash, "s_limit": x * path.s[-1]} for x in shares]
    passed = [0.0]
    original = bench.tick

    def tick(*args, **kwargs):
        report = original(*args, **kwargs)
        assert report.s >= passed[-1] - 1e-15, "ran backwards on the path"
        passed.append(report.s)
        return report

    bench.tick = tick
    assert_bound(bench, drive_through(bench, contents, bursts, v_cap, w), v_cap)
    assert passed[-1] <= max(0.0, max(shares)) * path.s[-1] + 1e-9


@given(st.floats(0.01, 0.1), st.floats(0.001, 0.01))
@FAST
def test_a_lower_cap_is_reached_by_decelerating(fast, slow):
    bench = Bench()
    far = bench.shifted(x=0.2)
    bench.follow(600, target=far, v_cap=fast, w_cap=1.0)
    reached = bench.speeds[-1]
    assert reached > 0.6 * fast
    bench.follow(1000, target=far, v_cap=slow, w_cap=1.0)
    later = bench.speeds[300:]
    assert max(later[350:]) <= slow * 1.001
    # a drive that was still speeding up must first ramp its acceleration down: a/j = 0.1 s = 50 ticks
    assert all(b <= a + 1e-9 for a, b in pairwise(later[50:]) if a > slow * 1.01)


def test_a_pose_target_is_reached_exactly():
    bench = Bench()
    goal = target_of(bench, bench.state.pose_ref.tolist(), (0.01, -0.02, 0.015, 0.05, -0.1, 0.02))
    bench.follow(4000, target=goal, v_cap=0.05, w_cap=0.5)
    assert g.worst_point_distance(kinematics().fk(bench.q), goal, 0.1) < 1e-7
    assert bench.report.drive == "standstill"


def test_a_joint_target_is_reached_exactly():
    bench = Bench()
    goal = HOME + np.array([0.05, -0.03, 0.02, 0.04, 0.1, -0.05, 0.2])
    bench.follow(6000, kind="joints", q_target=tuple(goal.tolist()), v_cap=0.08, w_cap=1.0)
    assert np.allclose(bench.q, goal, atol=1e-9)


def test_a_path_is_followed_to_its_end_and_the_end_only():
    path = joint_path(kinematics(), HOME, HOME + 0.05)
    bench = with_path(Bench(), path)
    bench.follow(8000, kind="path", path_hash=path.path_hash, s_limit=10.0, v_cap=0.05, w_cap=1.0)
    assert np.allclose(bench.q, path.q[-1], atol=1e-9)
    assert bench.report.s == pytest.approx(path.s[-1])


def test_leases_that_do_not_come_stop_the_arm_after_l():
    bench = Bench()
    bench.follow(400, target=bench.shifted(x=0.2), v_cap=0.05)
    last = bench.state.lease.expiry
    bench.rest()
    moving = [t for t, w in zip(bench.stamps, bench.words, strict=True) if w == "moving"]
    assert max(moving) <= last
    assert bench.words[-2] == "stopping"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lease_id": 1}, "newer"),
        ({"epoch": 0}, "newer"),
        ({"expiry": 0}, "expired"),
        ({"expiry": 10_000_000 * MS}, "ahead"),
        ({"v_cap": float("nan")}, "caps"),
        ({"v_cap": 0.0}, "caps"),
        ({"target": (0.0,) * 7}, "quaternion"),
        ({"target": (float("inf"), 0, 0, 0, 0, 0, 1)}, "non-finite"),
        ({"target": (5.0, 0, 0, 0, 0, 0, 1)}, "workspace"),
        ({"target": None}, "7 numbers"),
        ({"kind": "joints", "q_target": (9.0,) * 7}, "limits"),
        ({"kind": "joints", "q_target": (0.0,)}, "finite numbers"),
        ({"kind": "path", "path_hash": b"nothing", "s_limit": 1.0}, "no stored path"),
        ({"kind": "dance"}, "dance"),
    ],
)
def test_a_lease_that_cannot_be_followed_is_ignored_with_the_reason(change, word):
    bench = Bench()
    bench.tick(bench.lease(target=bench.shifted()))
    bench.tick(bench.lease(target=bench.shifted()))
    held = bench.state.lease
    bench.tick(bench.lease(**({"target": bench.shifted(x=0.1)} | change)))
    assert word in bench.state.ignored
    assert bench.state.lease == held
    assert max(bench.speeds) < 1e-12


def test_a_late_tick_eats_the_lease_and_is_not_caught_up():
    bench = Bench()
    bench.follow(400, target=bench.shifted(x=0.2), v_cap=0.05)
    before = bench.travel[-1]
    bench.tick(late=100 * MS)
    assert bench.travel[-1] - before <= 0.05 * bench.params.dt * 1.001
    bench.tick(late=60 * MS)
    assert bench.state.lease is None and bench.words[-1] == "stopping"


def test_halt_decelerates_now_and_a_newer_lease_may_go_on():
    bench = Bench()
    far = bench.shifted(x=0.2)
    bench.follow(400, target=far, v_cap=0.05)
    bench.tick(halt=True)
    assert bench.words[-1] == "stopping"
    before = bench.travel[-1]
    bench.rest()
    assert bench.travel[-1] - before <= bench.params.d_stop(0.05)
    bench.follow(100, target=far)
    assert bench.words[-1] == "moving"


def test_another_kind_of_lease_takes_effect_at_rest():
    path = joint_path(kinematics(), HOME, HOME + 0.05)
    bench = with_path(Bench(), path)
    bench.follow(400, kind="path", path_hash=path.path_hash, s_limit=1.0, v_cap=0.05)
    bench.tick(bench.lease(target=bench.shifted(z=0.1), v_cap=0.05))
    assert bench.words[-1] == "moving" and bench.state.kind == "path"
    speeds = []
    for i in range(400):
        bench.tick(bench.lease(target=bench.shifted(z=0.1), v_cap=0.05) if i % 5 == 0 else None)
        speeds.append(bench.speeds[-1])
        if bench.state.kind == "pose":
            break
    assert bench.state.kind == "pose"
    assert min(speeds) < 1e-3


def test_a_path_can_only_be_joined_at_its_start_or_where_it_was_left():
    path = joint_path(kinematics(), HOME, HOME + 0.05)
    bench = with_path(Bench(), path)
    bench.follow(600, kind="path", path_hash=path.path_hash, s_limit=0.005, v_cap=0.05)
    bench.rest()
    left = bench.report.s
    bench.follow(300, kind="path", path_hash=path.path_hash, s_limit=1.0, v_cap=0.05)
    assert bench.report.s > left
    bench.rest()
    bench.follow(600, target=bench.shifted(z=0.02), v_cap=0.05)
    bench.rest()
    bench.tick(bench.lease(kind="path", path_hash=path.path_hash, s_limit=1.0))
    assert "not at the start" in bench.state.ignored


def test_a_small_gap_at_the_start_of_a_path_is_blended_without_a_jump():
    path = joint_path(kinematics(), HOME + 0.0005, HOME + 0.05)
    bench = with_path(Bench(), path)
    bench.follow(4000, kind="path", path_hash=path.path_hash, s_limit=1.0, v_cap=0.02, w_cap=1.0)
    assert max(bench.speeds) < 0.04
    assert np.allclose(bench.q, path.q[-1], atol=1e-9)


def test_parked_after_two_seconds_and_awake_with_the_next_lease():
    bench = Bench()
    bench.follow(200, target=bench.shifted(x=0.01))
    bench.rest()
    for _ in range(1100):
        bench.tick()
    assert bench.report.drive == "parked" and bench.state.brakes
    bench.follow(20, target=bench.shifted(x=0.01))
    assert not bench.state.brakes and bench.report.drive == "moving"


# --- supervision -----------------------------------------------------------------------------------------------------


def stuck(bench):
    q = bench.q.copy()
    return lambda s: EncoderSample(s.stamp, q, np.zeros(7), s.tau, s.force)


def frozen(bench):
    old = bench.sample()
    return lambda s: old


def noisy(value):
    return lambda bench: lambda s: EncoderSample(s.stamp, np.full(7, value), s.dq, s.tau, s.force)


def pushed(bench):
    return lambda s: EncoderSample(s.stamp, s.q, s.dq, s.tau, 100.0)


def jumped(bench):
    return lambda s: EncoderSample(s.stamp, s.q + np.eye(7)[3] * 0.05, s.dq, s.tau, s.force)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (stuck, "tracking"),
        (frozen, "tracking"),
        (noisy(float("nan")), "non-finite"),
        (pushed, "force"),
        (jumped, "jumped"),
    ],
)
def test_a_fault_of_the_arm_stops_the_drive_and_stays(fault, word):
    bench = Bench()
    far = bench.shifted(x=0.2)
    bench.follow(400, target=far, v_cap=0.03)
    bench.bend = fault(bench)
    before = bench.travel[-1]
    bench.follow(200, target=far, v_cap=0.03)
    assert word in bench.state.fault
    bench.rest()
    assert bench.report.drive == "fault" and bench.state.brakes
    reach = bench.params.d_stop(0.03) + bench.params.e_track + 0.03 * 0.06
    assert bench.travel[-1] - before <= reach
    bench.follow(100, target=far)
    assert "fault" in bench.state.ignored and not bench.state.moving


def test_a_fault_is_cleared_at_rest_and_the_reference_starts_from_the_encoders():
    bench = Bench()
    bench.follow(400, target=bench.shifted(x=0.2), v_cap=0.03)
    bench.bend = stuck(bench)
    where = bench.q.copy()
    bench.follow(100, target=bench.shifted(x=0.2), v_cap=0.03)
    bench.tick(clear=True)
    assert bench.state.fault, "not at rest yet"
    bench.rest()
    bench.tick(clear=True)
    assert bench.state.fault == ""
    assert np.allclose(bench.state.q_ref, where)


def test_motion_while_the_drive_stands_is_a_fault():
    bench = Bench()
    bench.tick()
    still = bench.q.copy()
    for k in range(200):
        bench.dq = np.full(7, 0.05)
        bench.bend = lambda s, k=k: EncoderSample(s.stamp, still, np.full(7, 0.05), s.tau, s.force)
        bench.tick()
    assert "should stand" in bench.state.fault


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_joint_brakes_before_its_limit_and_says_so(sign):
    kin = kinematics()
    limit = kin.model.upper[6] if sign > 0 else kin.model.lower[6]
    start = HOME.copy()
    start[6] = limit - sign * 0.25
    bench = Bench(q0=start)
    beyond = start.copy()
    beyond[6] = limit + sign * 0.1
    goal = kin.fk(beyond)
    rates, said = [np.zeros(7)], set()
    for k in range(3000):
        bench.tick(bench.lease(target=goal, v_cap=0.1, w_cap=1.0) if k % 5 == 0 else None)
        rates.append(bench.dq.copy())
        said.add(bench.state.blocked)
    bench.rest()
    assert np.all(bench.q < kin.model.upper) and np.all(bench.q > kin.model.lower)
    assert any("limit" in word for word in said)
    assert bench.state.fault == ""
    accelerations = np.abs(np.diff(np.array(rates), axis=0)) / bench.params.dt
    assert accelerations.max() < bench.params.joint_acceleration


# --- stored paths ----------------------------------------------------------------------------------------------------


def broken(path, **change):
    kind = change.get("kind", path.kind)
    q = change.get("q", [list(r) for r in path.q])
    s = change.get("s", list(path.s))
    return stored(kind, q, s, change.get("margin", list(path.margin)))


def test_paths_are_refused_with_the_reason():
    kin = kinematics()
    good = joint_path(kin, HOME, HOME + 0.05)
    rows, s = [list(r) for r in good.q], list(good.s)
    far = [row[:] for row in rows]
    far[200][3] = 9.0
    nan = [row[:] for row in rows]
    nan[5][0] = float("nan")
    corner = [row[:] for row in rows]
    for i in range(200, 400):
        corner[i][0] += 0.3
    cases = [
        (broken(good, kind="stroll"), "kind"),
        (broken(good, q=far), "outside its limits"),
        (broken(good, q=nan), "not finite"),
        (broken(good, s=[x * 0.5 for x in s]), "the tool moves"),
        (broken(good, s=s[::-1]), "increase"),
        (broken(good, s=[x * 100 for x in s]), "apart"),
        (broken(good, margin=[0.01]), "margins"),
        (broken(good, q=corner), "the tool moves"),
        (broken(good, q=rows[:1], s=s[:1], margin=[0.01]), "samples"),
        (broken(good, q=[r[:6] for r in rows]), "7 joints"),
    ]
    state = Bench().state
    for path, word in cases:
        after, ok, reason = accept_path(state, path, params())
        assert not ok and word in reason, (word, reason)
        assert after.paths == state.paths


def test_a_path_with_another_hash_is_refused():
    good = joint_path(kinematics(), HOME, HOME + 0.05)
    forged = stored(good.kind, [list(r) for r in good.q], list(good.s), list(good.margin))
    forged = type(forged)(
        path_digest("goal", [[0.0] * 7], [0.0], [0.0]), *[getattr(good, f) for f in good.__slots__[1:]]
    )
    _, ok, reason = accept_path(Bench().state, forged, params())
    assert not ok and "hash" in reason


def test_only_sixteen_paths_are_kept_and_clearing_keeps_the_one_in_use():
    bench = Bench()
    for k in range(20):
        with_path(bench, joint_path(kinematics(), HOME, HOME + 0.02 + 0.001 * k))
    assert len(bench.state.paths) == 16
    used = list(bench.state.paths)[-1]
    bench.follow(100, kind="path", path_hash=used, s_limit=1.0)
    assert list(clear_paths(bench.state).paths) == [used]


def test_the_same_inputs_give_the_same_outputs_bit_for_bit():
    def run():
        bench = Bench()
        for k in range(200):
            bench.tick(bench.lease(target=bench.shifted(x=0.03, y=0.02 * (k % 3))) if k % 5 == 0 else None)
        return bench.q

    assert np.array_equal(run(), run())


def test_a_step_leaves_the_state_it_was_given_alone():
    bench = Bench()
    bench.follow(100, target=bench.shifted(x=0.02))
    state = bench.state
    q, pose = state.q_ref.copy(), state.pose_ref.copy()
    step(state, bench.now + PERIOD, None, bench.sample(), bench.params)
    assert np.array_equal(state.q_ref, q) and np.array_equal(state.pose_ref, pose)
    assert L_NS == 150 * MS
