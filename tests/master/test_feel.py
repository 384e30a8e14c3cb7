"""What the operator feels and sees ahead: passive whatever the line does, and honest about its error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.states import State
from teleop.geometry import norm
from teleop.master.haptics import HapticParams, LocalHaptics, stiffest
from teleop.master.passivity import PassivityPort
from teleop.master.prediction import Predictor
from teleop.master.reflection_model import Device, Line, reflect, wall_energy
from teleop.master.robot_view import robot_view

HOME = (0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0)
Q = (0.0, 0.0, 0.0, 1.0)
number = st.floats(-10, 10)
vectors = st.tuples(number, number, number)


# --- local haptics


def test_no_force_on_a_device_of_unknown_damping():
    h = LocalHaptics(0.0)
    assert h.stiffness == 0.0
    assert h.step(HOME, (0.6, *HOME[1:]), (1, 0, 0), 0.3, Q, 1.0) == (0.0, 0.0, 0.0)


@given(st.floats(0.0, 10.0), st.floats(-5.0, 5.0), st.floats(1e-4, 1e-2), st.floats(0.0, 1e4))
def test_the_rendered_stiffness_obeys_colgate(b, damping, period, stiffness):
    h = LocalHaptics(b, HapticParams(stiffness=stiffness, damping=damping, period=period))
    assert h.stiffness == 0.0 or b > h.stiffness * period / 2 + abs(damping)


def test_the_force_points_to_where_the_hand_may_be_is_capped_and_grows_from_zero():
    h = LocalHaptics(2.0, HapticParams(stiffness=400.0, force=4.0, ramp=0.2))
    wall = (0.499, *HOME[1:])
    forces = [h.step(HOME, wall, (0, 0, 0), 0.5, Q, 0.01)[0] for _ in range(40)]
    assert forces[0] == pytest.approx(-0.8 * 0.05), "0.4 N of spring per 1 mm of hand, 5 % of the ramp"
    assert forces[-1] == pytest.approx(-0.8)
    far = h.step(HOME, (0.3, *HOME[1:]), (0, 0, 0), 0.5, Q, 0.01)
    assert norm(far) == pytest.approx(4.0)
    assert h.step(HOME, HOME, (1, 1, 1), 0.5, Q, 0.01) == (0.0, 0.0, 0.0), "free space is free"


def test_a_locally_rendered_wall_is_passive_below_colgates_limit_and_not_far_above_it():
    device = Device(mass=0.1, damping=1.0, period=1e-3)
    limit = stiffest(device.damping, 0.0, device.period)
    assert wall_energy(device, 0.5 * limit) < 1e-6
    assert wall_energy(device, 3.0 * limit) > 1e-3, "the check can fail"


# --- reflected force


@given(st.lists(st.tuples(vectors, vectors, st.floats(0, 5)), max_size=40), st.floats(0, 1), st.booleans())
def test_no_port_ever_gives_more_than_it_heard_of(steps, budget, at_master):
    port, heard = PassivityPort(budget), 0.0
    given_out = 0.0
    for wish, other, told in steps:
        port.hear(told)
        heard = max(heard, told)
        out = (port.force if at_master else port.velocity)(wish, other, 0.01)
        given_out += max(0.0, sum(a * b for a, b in zip(out, other, strict=True)) * 0.01)
        assert given_out <= heard + budget + 1e-9
        assert port.ledger.observer >= -1e-9


def test_old_packets_do_not_shrink_what_was_heard():
    port = PassivityPort()
    port.hear(2.0)
    port.hear(1.0)
    assert port.ledger.other == 2.0


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="negative"):
        PassivityPort(-1.0)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("jitter", "loss"), [(0.0, 0.0), (0.05, 0.05)])
def test_reflected_force_is_passive_over_any_line(delay, jitter, loss):
    out = reflect(Line(delay, jitter, loss), Device(), control=True, seconds=6.0)
    assert out.lowest_observer >= -1e-12
    assert out.released <= 1e-9
    assert out.largest_swing < 0.06, "the device stays with the operator's wave of 20 mm"


def test_without_the_controller_the_same_line_gives_energy_away():
    out = reflect(Line(0.2, 0.05, 0.05), Device(), control=False, seconds=6.0)
    assert out.released > 1e-3, "the check can fail"


# --- seeing ahead


def frame(state_frame, t, last_seq, x=0.5, **more):
    return robot_view(state_frame(t=t, last_seq=last_seq, pose=(x, *HOME[1:]), **more))


def test_commands_under_way_are_played_on_top_of_the_newest_set_point(state_frame):
    p = Predictor()
    p.answered(frame(state_frame, 1, 0))
    for seq in range(1, 11):
        p.sent(seq, 1, (0.501, *HOME[1:]))
    d = p.display()
    assert d["ghost"][0] == pytest.approx(0.501)
    assert d["predicted"][0] == pytest.approx(0.501), "10 periods at 10 mm/s reach 1 mm"
    assert d["measured"][0] == pytest.approx(0.5) and d["in_flight"] == 10


def test_the_prediction_error_is_that_of_the_answered_command(state_frame):
    p = Predictor()
    p.answered(frame(state_frame, 1, 0))
    for seq in range(1, 11):
        p.sent(seq, 1, (0.51, *HOME[1:]))
    assert p.answered(frame(state_frame, 2, 5, x=0.5005)).distance == pytest.approx(0.0, abs=1e-12)
    error = p.answered(frame(state_frame, 3, 6, x=0.5009))
    assert error.distance == pytest.approx(0.0003), "0.6 mm were predicted"
    assert [e.seq for e in p.take_errors()] == [5, 6] and p.take_errors() == []
    assert p.display()["error_worst_mm"] == pytest.approx(0.3)


def test_a_pause_clears_what_was_under_way(state_frame):
    p = Predictor()
    p.answered(frame(state_frame, 1, 0))
    for seq in range(1, 11):
        p.sent(seq, 1, (0.51, *HOME[1:]))
    p.answered(frame(state_frame, 2, 5, x=0.5004, rebase=2, state=State.PAUSE))
    assert p.display()["predicted"][0] == pytest.approx(0.5004) and p.display()["halo_m"] == 0.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.floats(0.49, 0.51)), max_size=60))
@settings(max_examples=50)
def test_the_prediction_never_runs_faster_than_the_cap(state_frame, events):
    p, seq, t = Predictor(), 0, 1
    p.answered(frame(state_frame, t, 0))
    for answer, acked, x in events:
        if answer:
            t += 1
            p.answered(frame(state_frame, t, acked))
        else:
            before, seq = p.display()["predicted"], seq + 1
            p.sent(seq, 1, (x, *HOME[1:]))
            assert abs(p.display()["predicted"][0] - before[0]) <= 0.010 * 0.01 + 1e-12


def test_before_the_first_frame_there_is_nothing_to_show():
    p = Predictor()
    p.sent(1, 1, HOME)
    assert p.display()["measured"] is None
