"""The stop distances and the speed law: against ruckig, against the closed forms, against themselves."""

from math import sqrt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Trajectory

from safety.params import Params
from safety.speed_law import rest_bound_ns, speed_limit, travel_bound
from safety.stopping import steady_stop, stop_from, worst_stop, worst_stop_time

P = Params()


def ruckig_stop(v0: float, a0: float, a: float, j: float) -> tuple[float, float]:
    """(distance, duration) of ruckig's time-optimal stop."""
    otg, i, t = Ruckig(1), InputParameter(1), Trajectory(1)
    i.control_interface = ControlInterface.Velocity
    i.current_position, i.current_velocity, i.current_acceleration = [0.0], [v0], [a0]
    i.target_velocity, i.target_acceleration = [0.0], [0.0]
    i.max_acceleration, i.max_jerk = [a], [j]
    assert otg.calculate(i, t) == Result.Working
    return t.at_time(t.duration)[0][0], t.duration


speeds = st.floats(1e-4, 0.25)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(v=speeds, part=st.floats(0.0, 1.0), a=st.floats(0.05, 2.0), j=st.floats(0.5, 50.0))
def test_stop_distance_agrees_with_ruckig(v: float, part: float, a: float, j: float) -> None:
    a0 = part * a
    d, _ = ruckig_stop(v, a0, a, j)
    assert stop_from(v, a0, a, j) == pytest.approx(d, rel=1e-6, abs=1e-9)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cap=speeds, part=st.floats(0.0, 1.0))
def test_no_admitted_state_stops_later_than_the_worst_stop(cap: float, part: float) -> None:
    a, j = P.a_max, P.j_max
    a0 = part * min(a, sqrt(2.0 * j * cap))
    v0 = cap - a0 * a0 / (2.0 * j)
    d, t = ruckig_stop(v0, a0, a, j)
    assert d <= worst_stop(cap, a, j) * (1 + 1e-9)
    assert t <= worst_stop_time(cap, a, j) * (1 + 1e-9)


def test_worst_stop_is_attained() -> None:
    for cap in (0.001, 0.005, 0.01, 0.05):
        a0 = min(P.a_max, sqrt(2.0 * P.j_max * cap))
        d, _ = ruckig_stop(cap - a0 * a0 / (2.0 * P.j_max), a0, P.a_max, P.j_max)
        assert d == pytest.approx(worst_stop(cap, P.a_max, P.j_max), rel=1e-6)


def test_published_example_of_the_bound() -> None:
    """10 mm/s, a = 200 mm/s^2, j = 2000 mm/s^3: 0.71 mm from steady speed, 3.67 mm at full acceleration."""
    assert steady_stop(0.01, 0.2, 2.0) == pytest.approx(0.71e-3, abs=5e-6)
    assert stop_from(0.01, 0.2, 0.2, 2.0) == pytest.approx(3.67e-3, abs=5e-6)


def test_nothing_needs_no_stop() -> None:
    assert steady_stop(0.0, 0.2, 2.0) == 0.0
    assert worst_stop(0.0, 0.2, 2.0) == 0.0
    assert worst_stop_time(0.0, 0.2, 2.0) == 0.0


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(age=st.floats(0.0, 1.0), margin=st.floats(0.0, 0.05))
def test_speed_law_keeps_its_promise_and_wastes_nothing(age: float, margin: float) -> None:
    v = speed_limit(age, margin, P)
    assert 0.0 <= v <= P.v_max
    if v > 0.0:
        assert travel_bound(v, P, age) <= margin
    if 0.0 < v < P.v_max:
        assert travel_bound(v + 1e-9, P, age) > margin


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(age=st.floats(0.0, 0.6), margin=st.floats(0.0, 0.02), more=st.floats(0.0, 0.3))
def test_speed_law_is_monotonic(age: float, margin: float, more: float) -> None:
    v = speed_limit(age, margin, P)
    assert speed_limit(age + more, margin, P) <= v
    assert speed_limit(age, margin + more, P) >= v


def test_speed_law_without_margin_or_age_is_zero() -> None:
    assert speed_limit(0.05, P.e_track, P) == 0.0
    assert speed_limit(0.05, -1.0, P) == 0.0
    assert speed_limit(-0.001, 0.01, P) == 0.0
    assert speed_limit(float("nan"), 0.01, P) == 0.0
    assert speed_limit(0.05, float("nan"), P) == 0.0


def test_bound_is_the_sum_of_its_parts() -> None:
    v = 0.01
    expected = v * 0.164 + worst_stop(v, P.a_max, P.j_max) + P.e_track
    assert travel_bound(v, P) == pytest.approx(expected, rel=1e-12)
    assert travel_bound(v, P, 0.1) == pytest.approx(expected + v * 0.1, rel=1e-12)
    assert rest_bound_ns(v, P) == 164_000_000 + int(worst_stop_time(v, P.a_max, P.j_max) * 1e9)
