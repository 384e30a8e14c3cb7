"""The published stop distance against ruckig, from every kind of admitted state."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Ruckig, Trajectory

from safety import stopping as published
from teleop.arm import stopping

A, J = 0.2, 2.0


def by_ruckig(v, a0, a=A, j=J):
    otg, inp, out = Ruckig(1), InputParameter(1), Trajectory(1)
    inp.control_interface = ControlInterface.Velocity
    inp.current_position, inp.current_velocity, inp.current_acceleration = [0.0], [v], [a0]
    inp.target_velocity, inp.target_acceleration = [0.0], [0.0]
    inp.max_acceleration, inp.max_jerk = [a], [j]
    otg.calculate(inp, out)
    return out.at_time(out.duration)[0][0], out.duration


@given(st.floats(1e-4, 0.25), st.floats(0, 1))
@settings(max_examples=300)
def test_a_stop_is_as_long_as_ruckig_makes_it(v, share):
    a0 = share * A
    assert stopping.stop_from(v, a0, A, J) == pytest.approx(by_ruckig(v, a0), rel=1e-6, abs=1e-9)


@given(st.floats(1e-3, 0.25), st.floats(0, 1))
@settings(max_examples=300)
def test_no_admitted_state_stops_longer_than_the_bound(cap, share):
    a0 = share * min(A, (2 * J * cap) ** 0.5)
    v = cap - a0 * a0 / (2 * J)
    d, t = by_ruckig(v, a0)
    assert d <= stopping.d_stop(cap, A, J) * (1 + 1e-9)
    assert t <= stopping.t_stop(cap, A, J) * (1 + 1e-9)


@given(st.floats(1e-3, 0.25))
def test_the_bound_is_reached_by_the_worst_start(cap):
    v, a0 = stopping.worst_start(cap, A, J)
    assert by_ruckig(v, a0)[0] == pytest.approx(stopping.d_stop(cap, A, J), rel=1e-6)


@given(st.floats(1e-4, 0.25), st.floats(0.05, 1.0), st.floats(0.5, 20.0))
def test_the_drive_never_needs_more_than_the_governor_publishes(cap, a, j):
    assert stopping.d_stop(cap, a, j) <= published.worst_stop(cap, a, j) * (1 + 1e-9)


def test_ten_millimetres_a_second_stop_within_1_4_mm():
    assert stopping.d_steady(0.010, A, J) == pytest.approx(0.00071, abs=1e-5)
    assert stopping.d_stop(0.010, A, J) == pytest.approx(0.00137, abs=1e-5)


def test_a_state_outside_the_limits_has_no_stop():
    with pytest.raises(ValueError, match="no stop"):
        stopping.stop_from(0.01, 0.3, A, J)
