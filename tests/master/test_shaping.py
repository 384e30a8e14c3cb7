"""Tremor filter, limits, fixtures and admittance: what they take away, what they add, and that nothing is pulled by
itself.
"""

import itertools
from math import radians, sin, tan

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from teleop.geometry import angle_between, axis_errors, norm, pose_error, quat_angle, quat_rotate, rotvec_to_quat, unit
from teleop.master.admittance import AxisAdmittance
from teleop.master.fixtures import AxisGuide, AxisLocks, Cone, ForbiddenCapsule, ForbiddenHalfSpace
from teleop.master.limiter import Limits, PoseLimiter
from teleop.master.scripted import Tremor, minimum_jerk
from teleop.master.shaping import Shaper, ShapingParams
from teleop.master.tremor import STRENGTHS, TremorFilter
from teleop.master.user_scale import ScaleLadder, UserScale
from teleop.master.vectors import swing_to

MS = 1_000_000
Q = (0.0, 0.0, 0.0, 1.0)
HOME = (0.5, 0.0, 0.3, *Q)
coordinate = st.floats(-0.1, 0.1)
points = st.tuples(coordinate, coordinate, coordinate)
directions = points.filter(lambda p: norm(p) > 1e-3)
turns = st.tuples(*[st.floats(-2.0, 2.0)] * 3)


def at(x, y=0.0, z=0.0):
    return (HOME[0] + x, HOME[1] + y, HOME[2] + z, *Q)


# --- tremor


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_filter_takes_out_the_tremor_it_promises(strength):
    f, tremor, t = TremorFilter(strength), Tremor(rms=50e-6, seed=4), np.arange(0, 20, 1e-3)
    raw = np.array([tremor.at(x) for x in t])
    f.reset(0, at(*raw[0]))
    out = np.array([f.step(round(x * 1e9), at(*r))[:3] for x, r in zip(t, raw, strict=True)]) - HOME[:3]
    late = slice(1000, None)
    left = np.mean(out[late] ** 2) / np.mean(raw[late] ** 2)
    assert left < {"light": 0.06, "normal": 0.035, "strong": 0.01}[strength]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_slow_motion_is_delayed_by_what_the_filter_says(strength):
    f, v = TremorFilter(strength), 0.01
    f.reset(0, at(0))
    for k in range(1, 2001):
        out = f.step(k * MS, at(v * k * 1e-3))
    lag = (v * 2.0 - (out[0] - HOME[0])) / v
    assert lag == pytest.approx(f.delay, abs=1e-4)
    assert f.delay < 0.030


def test_a_resting_hand_is_where_it_is():
    f = TremorFilter()
    f.reset(0, at(0))
    for k in range(1, 3000):
        out = f.step(k * MS, at(0.01))
    assert out == pytest.approx(at(0.01), abs=1e-12)


def test_the_filter_gives_the_same_at_100_hz_and_at_1_khz():
    def hand(t):
        return (*at(0.02 * sin(3 * t))[:3], *rotvec_to_quat((0.2 * sin(2 * t), 0, 0)))

    fast, slow, apart, turned = TremorFilter(), TremorFilter(), 0.0, 0.0
    fast.reset(0, hand(0))
    slow.reset(0, hand(0))
    for k in range(1, 3001):
        a = fast.step(k * MS, hand(k * 1e-3))
        if k % 10 == 0:
            b = slow.step(k * MS, hand(k * 1e-3))
            apart, turned = max(apart, norm(pose_error(a, b)[0])), max(turned, quat_angle(a[3:], b[3:]))
    assert apart < 5e-6 and turned < 5e-5, "what 10 ms of straight line hides of this hand"


@given(st.lists(st.integers(0, 40), min_size=1, max_size=50), st.integers(0, 10**9))
def test_the_filter_survives_any_times_and_starts_where_it_is_put(gaps, start):
    f, now = TremorFilter(), start
    f.reset(now, at(0.001))
    assert f.step(now, at(0.001)) == pytest.approx(at(0.001), abs=1e-15)
    for g in gaps:
        now += g * MS // 3
        assert f.step(now, at(0.001)) == pytest.approx(at(0.001), abs=1e-12)


def test_quaternion_signs_do_not_shake_the_filter():
    f = TremorFilter()
    q = rotvec_to_quat((0, 0, 0.5))
    f.reset(0, (*HOME[:3], *q))
    for k in range(1, 200):
        s = 1.0 if k % 2 else -1.0
        out = f.step(k * MS, (*HOME[:3], *(s * v for v in q)))
        assert quat_angle(out[3:], q) < 1e-9


# --- limits


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)), min_size=1, max_size=15
    ),
    st.sampled_from([1, 2, 5, 10]),
    st.floats(0.002, 0.05),
)
def test_speed_acceleration_and_jerk_stay_within_their_limits(wishes, period_ms, speed):
    limits, dt = Limits(speed=speed), period_ms * 1e-3
    limiter = PoseLimiter(limits)
    limiter.reset(HOME)
    p = [np.array(HOME[:3])]
    for w in wishes:
        for _ in range(100 // period_ms):
            p.append(np.array(limiter.step(dt, at(*w), 1.0, 1.0)[:3]))
    v = np.diff(p, axis=0) / dt
    assert np.linalg.norm(v, axis=1).max(initial=0) <= speed * 1.3, "the share of axes changes with the direction"
    assert np.abs(np.diff(v, axis=0)).max(initial=0) / dt <= limits.acceleration * 1.001
    assert np.abs(np.diff(v, n=2, axis=0)).max(initial=0) / dt**2 <= limits.jerk * 1.001


def test_a_straight_way_keeps_the_speed_limit_exactly_and_never_overshoots():
    limiter = PoseLimiter(Limits(speed=0.01))
    limiter.reset(HOME)
    goal, before = at(0.003, 0.004, 0.0), HOME
    for _ in range(1500):
        now = limiter.step(1e-3, goal, 0.01, 1.0)
        assert norm(pose_error(before, now)[0]) <= 0.01 * 1e-3 * (1 + 1e-6)
        assert norm(pose_error(now, HOME)[0]) <= 0.005 + 1e-9
        before = now
    assert now == pytest.approx(goal, abs=1e-9)


def test_a_turn_too_far_from_the_anchor_is_held_and_said():
    limiter = PoseLimiter()
    limiter.reset(HOME)
    out = limiter.step(0.01, (*HOME[:3], *rotvec_to_quat((0, 0, 3.1))), 1.0, 1.0)
    assert limiter.too_far_turned and quat_angle(out[3:], Q) < 1e-9


# --- fixtures


FIXTURES = [
    AxisGuide(HOME[:3], (0.1, 0.2, -1.0)),
    AxisGuide(HOME[:3], (0, 0, -1), width=0.005, align=False),
    Cone(HOME[:3], (0, 0, -1)),
    ForbiddenCapsule(HOME[:3], HOME[:3], 0.02),
    ForbiddenCapsule(HOME[:3], at(0.05)[:3], 0.02),
    ForbiddenHalfSpace(HOME[:3], (0, 0, 1)),
    AxisLocks(HOME, (True, False, True)),
]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda f: f.name)
@given(p=points, r=turns)
def test_a_projected_pose_is_allowed_and_an_allowed_one_is_left_alone(fixture, p, r):
    wish = (*at(*p)[:3], *rotvec_to_quat(r))
    once = fixture.project(wish)
    twice = fixture.project(once)
    d, turn = pose_error(once, twice)
    assert norm(d) < 1e-9 and norm(turn) < 1e-6


@given(p=points, r=turns, direction=directions)
def test_the_axis_guide_puts_the_tool_on_the_planned_axis(p, r, direction):
    guide = AxisGuide(HOME[:3], direction)
    lateral, angle, depth = axis_errors(guide.project((*at(*p)[:3], *rotvec_to_quat(r))), HOME[:3], direction)
    assert lateral < 1e-9 and angle < 1e-6
    assert depth == pytest.approx(sum(a * b for a, b in zip(p, guide.direction, strict=True)), abs=1e-9)


@given(q=turns, direction=directions)
def test_the_swing_to_an_axis_is_the_smallest_turn(q, direction):
    before = rotvec_to_quat(q)
    z = quat_rotate(before, (0, 0, 1))
    assume(angle_between(z, direction) < 3.1)
    after = swing_to(before, (0, 0, 1), unit(direction))
    assert quat_angle(before, after) == pytest.approx(angle_between(z, direction), abs=1e-6)


@given(p=points)
def test_outside_of_the_cone_is_pushed_radially_to_its_wall(p):
    cone = Cone(HOME[:3], (0, 0, -1), radians(20), 0.001)
    out = cone.project(at(*p))
    height = max(0.0, p[2])
    assert norm(pose_error(out, (*HOME[:2], out[2], *Q))[0]) <= 0.001 + height * tan(radians(20)) + 1e-12
    assert out[2] == pytest.approx(HOME[2] + p[2])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: AxisGuide((0, 0, 0), (0, 0, 0)),
        lambda: AxisGuide((0, 0, 0), (0, 0, 1), width=-1),
        lambda: Cone((0, 0, 0), (0, 0, 1), half_angle=2.0),
        lambda: Cone((0, 0, 0), (0, 0, 1), mouth=-1.0),
        lambda: ForbiddenCapsule((0, 0, 0), (0, 0, 0), 0.0),
        lambda: AxisAdmittance((0, 0, 1), damping=0.0),
        lambda: TremorFilter("heavy"),
        lambda: ShapingParams(leash=0.0) and Shaper(ShapingParams(leash=0.0)),
    ],
)
def test_a_fixture_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()


# --- the chain


def shaper(fixtures=(), admittance=None, **params):
    s = Shaper(ShapingParams(**params))
    s.reset(0, HOME)
    s.set_fixtures(fixtures, admittance)
    return s


def test_each_stage_says_what_it_changed():
    s = shaper([AxisGuide(HOME[:3], (0, 0, -1))])
    names = {
        c.what for k in range(1, 50) for c in s.step(k * 10 * MS, at(0.0005 * k, 0, -0.0001 * k), 0.01, 0.1).changes
    }
    assert {"tremor filter", "axis guide", "speed and jerk limit"} <= names


def test_without_anything_to_do_the_wish_arrives_and_nothing_is_reported():
    s = shaper(tremor="off")
    for k in range(100):
        out = s.step(k * 10 * MS, HOME, 0.01, 0.1)
    assert out.target == HOME and out.changes == ()


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda f: f.name)
@given(p=points)
@settings(max_examples=25)
def test_a_fixture_switched_on_around_a_resting_hand_moves_nothing(fixture, p):
    s = Shaper(ShapingParams())
    s.reset(0, at(*p))
    s.set_fixtures([fixture])
    for k in range(1, 30):
        out = s.step(k * 10 * MS, at(*p), 0.05, 0.5)
        assert out.target == pytest.approx(at(*p), abs=1e-9)


def test_the_violation_at_the_anchor_shrinks_as_the_hand_moves():
    s = Shaper(ShapingParams())
    s.reset(0, at(0.004))
    s.set_fixtures([AxisGuide(HOME[:3], (0, 0, -1), align=False)])
    off = []
    for k in range(1, 400):
        out = s.step(k * 10 * MS, at(0.004, 0, 0.02 * sin(k / 30)), 0.05, 0.5)
        off.append(out.target[0] - HOME[0])
    assert off[0] == pytest.approx(0.004, abs=1e-4) and off[-1] == pytest.approx(0.0, abs=1e-5)
    assert all(b <= a + 1e-5 for a, b in itertools.pairwise(off))


def test_when_the_hand_outruns_the_cap_the_arm_stops_within_the_leash_of_the_hands_stop():
    s, slipped, wish_x = shaper(leash=0.002, tremor="off"), 0.0, 0.0
    for k in range(1, 301):
        wish_x = min(0.05, 0.05 * k * 0.01)  # 50 mm/s for one second against a cap of 10 mm/s
        out = s.step(k * 10 * MS, at(wish_x + slipped), 0.01, 0.1)
        slipped += out.slip[0]
        if k == 100:
            at_stop = out.target[0]
    assert out.target[0] - at_stop <= 0.002 + 1e-9
    assert out.target[0] - HOME[0] == pytest.approx(0.01 + 0.002, abs=0.0005)


@settings(max_examples=30)
@given(st.floats(-0.015, 0.015), st.floats(-0.015, 0.015), st.sampled_from([2, 10, 20]))
def test_the_target_never_enters_a_forbidden_zone_and_is_not_pulled_through_it(y, z, period_ms):
    zone = ForbiddenCapsule(at(0.03)[:3], at(0.03)[:3], 0.02)
    s = Shaper(ShapingParams(leash=0.08, tremor="off"))
    start = at(0.0, y, z)
    s.reset(0, start)
    s.set_fixtures([zone])
    for k in range(1, 8000 // period_ms):
        x = min(0.06, k * period_ms * 1e-3 * 0.02)
        out = s.step(k * period_ms * MS, at(x, y, z), 0.02, 0.5)
        assert norm(pose_error(at(0.03), out.target)[0]) >= 0.02 - 1e-9


def test_the_shaped_target_is_the_same_at_100_hz_and_at_1_khz():
    def hand(t):
        return at(0.03 * minimum_jerk(t / 3), 0.005 * sin(2 * t), -0.01 * minimum_jerk(t / 2))

    fixtures = [Cone(at(0.03)[:3], (0, 0, -1)), ForbiddenCapsule(at(0.015, 0.004)[:3], at(0.015, 0.004)[:3], 0.003)]
    fast, slow, apart = shaper(fixtures), shaper(fixtures), 0.0
    for k in range(1, 3501):
        a = fast.step(k * MS, hand(k * 1e-3), 0.05, 0.5)
        if k % 10 == 0:
            b = slow.step(k * MS, hand(k * 1e-3), 0.05, 0.5)
            apart = max(apart, norm(pose_error(a.target, b.target)[0]))
    assert apart < 2e-4


# --- admittance


def test_admittance_moves_along_the_axis_only_and_by_the_push_only():
    a = AxisAdmittance((0, 0, -1), damping=1000, deadband=0.5, speed=0.002)
    s = shaper([], a, tremor="off")
    for k in range(1, 101):
        out = s.step(k * 10 * MS, at(0.02, 0.01, 0.0), 0.01, 0.5, (5.0, 3.0, -2.5, 0, 0, 0))
    assert out.target[:2] == pytest.approx(HOME[:2], abs=1e-9)
    assert HOME[2] - out.target[2] == pytest.approx(0.002, rel=0.05), "2 N past the dead band for 1 s at 1000 N s/m"
    still = out.wish[2]
    for k in range(101, 201):
        out = s.step(k * 10 * MS, at(0.02, 0.01, 0.0), 0.01, 0.5, (5.0, 3.0, -0.4, 0, 0, 0))
    assert out.target[2] == pytest.approx(still, abs=5e-5), "a push inside the dead band is none"


def test_admittance_without_a_force_sensor_uses_the_spring_to_the_hand():
    a = AxisAdmittance((0, 0, -1))
    assert a.push(at(0, 0, -0.01), HOME, None) == pytest.approx(2.0)
    assert a.push(at(0.01), HOME, None) == 0.0


# --- the surgeon's scale


@given(st.floats(0.05, 1.0), st.floats(0.1, 1.0), st.floats(0, 5))
def test_the_scale_is_never_negative_nor_below_the_range_and_falls_with_age(scale, least, age):
    u = UserScale(scale=scale, least=least)
    values = [u.at(k) for k in range(u.steps + 1)]
    assert all(0.05 <= v <= 1.0 for v in values) and values == sorted(values, reverse=True)
    assert 0.0 <= u.rung(age) <= u.steps


def test_the_ladder_falls_at_once_and_does_not_flutter():
    ladder = ScaleLadder(UserScale(scale=0.4, full_until=0.1, least_from=0.4, least=0.5))
    assert ladder.step(0.05) == pytest.approx(0.4)
    assert ladder.step(1.0) == pytest.approx(0.2)
    assert ladder.step(0.05) > 0.2
    for _ in range(10):
        ladder.step(0.05)
    rungs = set()
    for k in range(100):
        ladder.step(0.16 + 0.004 * (-1) ** k)
        rungs.add(ladder.rung)
    assert len(rungs) <= 2 and ladder.rung in (0, 1)


@pytest.mark.parametrize("wrong", [{"scale": -0.15}, {"least": 0.0}, {"full_until": 0.5}, {"steps": 0}])
def test_a_scale_setting_that_could_mirror_or_stop_the_hand_is_refused(wrong):
    with pytest.raises(ValueError):
        UserScale(**wrong)
