"""The maker of command frames: presses, rebases, sequence numbers, echoes, goals and jogs."""

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.command import COMMAND_KEYS, COMMAND_MAX_BYTES
from safety.states import Mode, State
from teleop.geometry import norm, pose_error
from teleop.master.command_maker import CommandMaker, Intention, MakerParams, Phase
from teleop.master.jog import JogLimits, jog_step

TICK = 10_000_000
GOAL = Intention(
    mode=Mode.GOAL, pressed=True, path_hash=b"12345678", s_goal=0.3, plan_hash=b"87654321", registration_epoch=2
)
IDLE = replace(GOAL, pressed=False)


class Bench:
    """Steps one maker at 100 Hz; the robot's clock runs beside the console's."""

    def __init__(self, state_frame, **kwargs):
        self.maker, self.frame_of, self.n = CommandMaker(**kwargs), state_frame, 0

    def __call__(self, intention, fresh=True, **frame):
        self.n += 1
        robot = self.frame_of(t=self.n * TICK, **frame) if fresh else None
        return self.maker.step(self.n * TICK, robot, intention)


@pytest.fixture
def bench(state_frame):
    return Bench(state_frame)


def test_nothing_is_said_before_the_first_state_frame(bench):
    assert bench(GOAL, fresh=False) is None
    assert bench.maker.phase is Phase.NO_ROBOT


def test_nothing_is_said_while_another_holds_the_arm_and_a_press_begun_then_does_not_count(state_frame):
    bench = Bench(state_frame, me="me")
    assert bench(GOAL, holder="other") is None
    assert bench.maker.phase is Phase.NOT_HOLDER
    assert bench(GOAL, holder="me", epoch=2).press == 0, "held since before the grant"
    bench(IDLE, holder="me", epoch=2)
    assert bench(GOAL, holder="me", epoch=2).press > 0


def test_a_frame_has_exactly_the_wire_fields_and_fits(bench):
    wire = bench(replace(GOAL, peer_checkpoint=b"c" * 8)).to_wire()
    assert set(wire) == COMMAND_KEYS
    servo = bench(Intention(mode=Mode.SERVO, pressed=False)).to_wire() | {"target": [0.123456789] * 7, "site": "s" * 32}
    assert len(msgpack.packb(servo)) <= COMMAND_MAX_BYTES


def test_a_goal_press_asks_for_progress_no_further_than_the_horizon(bench):
    assert bench(GOAL).s_limit == pytest.approx(0.05)
    assert bench(GOAL, s=0.1, path_hash=b"12345678").s_limit == pytest.approx(0.15)
    assert bench(GOAL, s=0.09, path_hash=b"12345678").s_limit == pytest.approx(0.15), "not taken back by a trembling s"
    assert bench(GOAL, s=0.29, path_hash=b"12345678").s_limit == pytest.approx(0.3), "never past the goal"
    assert bench(replace(GOAL, horizon=None), s=0.29, path_hash=b"12345678").s_limit == pytest.approx(0.3)


def test_progress_on_another_path_gives_no_permission_on_this_one(bench):
    assert bench(GOAL, s=0.2, path_hash=b"otherone").s_limit == pytest.approx(0.05)


def test_each_press_has_a_larger_ordinal_and_release_is_zero(bench):
    presses = [bench(i, state=State.READY).press for i in (GOAL, GOAL, IDLE, GOAL, IDLE, IDLE, GOAL)]
    assert presses == [1, 1, 0, 2, 0, 0, 3]


def test_a_press_is_never_carried_across_a_rebase(bench):
    assert bench(GOAL, rebase=1).press == 1
    assert bench(GOAL, rebase=2).press == 0
    assert bench.maker.phase is Phase.WAITING_FOR_RELEASE
    assert bench(GOAL, rebase=2).press == 0, "a held button stays dead"
    assert bench(IDLE, rebase=2).press == 0
    command = bench(GOAL, rebase=2, state=State.PAUSE)
    assert (command.press, command.rebase) == (2, 2)


@pytest.mark.parametrize("state", [State.STOP, State.FAULT, State.LOCAL, State.INIT])
def test_a_held_button_does_nothing_after_the_arm_was_stopped_or_taken_over(bench, state):
    assert bench(GOAL).press == 1
    assert bench(GOAL, state=state).press == 0
    assert bench(GOAL, state=State.READY).press == 0
    assert bench(IDLE, state=State.READY).press == 0
    assert bench(GOAL, state=State.READY).press == 2


def test_the_stop_bit_goes_out_at_once_and_ends_the_press(bench):
    assert bench(GOAL).press == 1
    command = bench(replace(GOAL, stop=True))
    assert command.stop and command.press == 0
    assert bench(GOAL).press == 0
    assert bench.maker.phase is Phase.WAITING_FOR_RELEASE


def test_changing_the_mode_under_a_held_press_ends_it(bench):
    assert bench(GOAL).press == 1
    assert bench(replace(GOAL, mode=Mode.ADVANCE)).press == 0
    assert "mode changed" in bench.maker.why


def test_a_press_that_comes_before_the_arm_confirmed_the_last_release_waits_for_it_and_then_counts(bench):
    assert bench(GOAL, rebase=1).press == 1
    assert bench(GOAL, rebase=1).press == 1
    assert bench(IDLE, rebase=1).press == 0
    assert bench(GOAL, rebase=1).press == 0, "the old rebase would be refused"
    assert bench.maker.phase is Phase.SETTLING
    command = bench(GOAL, rebase=2, state=State.PAUSE)
    assert (command.press, command.rebase) == (2, 2)


def test_a_console_that_starts_anew_presses_above_the_robots_floor(bench):
    assert bench(GOAL, press_floor=41).press == 42


def test_a_pause_of_the_line_resumes_softly_only_where_that_is_switched_on(state_frame):
    paused = {"rebase": 2, "state": State.PAUSE, "pause_kind": "lease"}
    strict = Bench(state_frame)
    strict(GOAL)
    assert strict(GOAL, **paused).press == 0
    soft = Bench(state_frame, params=MakerParams(soft_resume=True))
    assert soft(GOAL).press == 1
    assert soft(GOAL, **paused, drive="stopping") is None, "press 0 would be a release"
    command = soft(GOAL, **paused)
    assert (command.press, command.rebase) == (1, 2)
    assert soft(GOAL, rebase=3, state=State.PAUSE, pause_kind="operator").press == 0, (
        "any other pause wants a new press"
    )


def test_a_soft_resume_of_a_servo_starts_where_the_arm_stands(state_frame):
    soft = Bench(state_frame, params=MakerParams(soft_resume=True))
    wish = Intention(mode=Mode.SERVO, pressed=True, jog=(0, 0, 0.005, 0, 0, 0))
    for _ in range(20):
        soft(wish)
    stood = (0.5, 0.0, 0.31, 0.0, 0.0, 0.0, 1.0)
    command = soft(wish, rebase=2, state=State.PAUSE, pause_kind="lease", pose=stood)
    assert command.press == 1 and command.target == stood


def test_a_page_without_a_pose_steers_a_servo_by_its_keys(bench):
    wish = Intention(mode=Mode.SERVO, pressed=True, jog=(0.005, 0, 0, 0, 0, 0))
    first, second = bench(wish), bench(wish)
    assert second.target[0] - first.target[0] == pytest.approx(0.005 * 0.01)


def test_a_silent_robot_ends_the_press(bench):
    assert bench(GOAL).press == 1
    last = [bench(GOAL, fresh=False) for _ in range(60)]
    assert last[0].press == 1 and last[-1].press == 0
    assert bench(GOAL).press == 0, "the press does not come back with the line"


def test_sequence_restarts_with_the_epoch_and_continues_after_what_the_robot_has_seen(bench):
    assert [bench(IDLE).seq for _ in range(3)] == [1, 2, 3]
    assert bench(IDLE, epoch=2).seq == 1
    late = Bench(bench.frame_of)
    assert late(IDLE, last_seq=4711).seq == 4712, "a restarted console is heard"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_the_echo_never_goes_back_and_never_leads_the_robot(state_frame, order):
    maker, echoes, newest = CommandMaker(), [], 0
    for n, t in enumerate(order):
        newest = max(newest, t)
        command = maker.step(n * TICK, state_frame(t=t), replace(IDLE, echo_state=t + 5 if n % 2 else None))
        echoes.append(command.echo_state)
        assert command.echo_state <= newest
    assert echoes == sorted(echoes)


def test_an_echo_that_lags_is_used_as_the_page_reports_it(bench):
    bench(IDLE)
    assert bench(replace(IDLE, echo_state=TICK + 5)).echo_state >= TICK
    maker = CommandMaker()
    command = maker.step(0, bench.frame_of(t=100), replace(IDLE, echo_state=40))
    assert command.echo_state == 40, "what was drawn counts, not what was received"


def test_servo_does_not_start_far_from_the_arm_and_does_not_start_before_it_stands(bench):
    near = (0.5005, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0)
    far = (0.51, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0)
    ask = Intention(mode=Mode.SERVO, pressed=True, target=far)
    assert bench(ask).press == 0
    assert "10.0 mm" in bench.maker.why
    assert bench(replace(ask, target=near), drive="stopping").press == 0
    command = bench(replace(ask, target=near))
    assert command.press == 1 and command.target == pytest.approx(near)


def test_jog_moves_along_the_guide_axis_only_and_only_when_the_arm_may_move(bench):
    ask = Intention(mode=Mode.JOG, pressed=True, jog=(0.0, 0.0, 0.005, 0.0, 0.0, 0.0))
    assert bench(ask, state=State.READY).target == pytest.approx((0.5, 0.0, 0.3, 0, 0, 0, 1))
    first, second = bench(ask), bench(ask)
    assert second.target[2] - first.target[2] == pytest.approx(0.005 * 0.01)
    assert second.target[:2] == pytest.approx((0.5, 0.0))


def test_a_jog_target_never_leads_a_blocked_arm_by_more_than_the_lead(bench):
    ask = Intention(mode=Mode.JOG, pressed=True, jog=(0.003, 0.0, 0.004, 0.05, 0.0, 0.0))
    for _ in range(500):
        command = bench(ask)
    d, turn = pose_error((0.5, 0.0, 0.3, 0, 0, 0, 1), command.target)
    assert norm(d) == pytest.approx(JogLimits().lead, abs=1e-9)
    assert norm(turn) == pytest.approx(JogLimits().lead_turn, abs=1e-9)


def test_a_console_that_stalled_does_not_make_up_for_the_time():
    limits = JogLimits()
    arm = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert jog_step(arm, arm, (0, 0, 0.01, 0, 0, 0), 30.0, limits)[2] == pytest.approx(0.01 * limits.longest_step)


@pytest.mark.parametrize(
    "spoil",
    [lambda f: f["arm"].pop("pose"), lambda f: f["arm"].update(pose=[float("nan")] * 7), lambda f: f.pop("gov")],
)
def test_a_broken_state_frame_is_refused_with_its_field(state_frame, spoil):
    frame = state_frame()
    spoil(frame)
    with pytest.raises(ValueError, match="robot state frame"):
        CommandMaker().step(0, frame, GOAL)


def test_a_goal_without_an_end_is_refused(bench):
    with pytest.raises(ValueError, match="s_goal"):
        bench(replace(GOAL, s_goal=None))


EVENT = st.tuples(
    st.booleans(),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([State.ACTIVE, State.ACTIVE, State.READY, State.PAUSE, State.HOLD, State.STOP]),
    st.sampled_from([Mode.GOAL, Mode.GOAL, Mode.ADVANCE]),
    st.booleans(),
)


@settings(max_examples=200)
@given(st.lists(EVENT, max_size=40))
def test_in_any_history_one_ordinal_means_one_uninterrupted_press_in_one_rebase_and_mode(state_frame, events):
    bench, rebase, seen, held_since_release = Bench(state_frame), 1, {}, True
    last = 0
    for pressed, bump, state, mode, stop in events:
        rebase += bump
        command = bench(replace(GOAL, pressed=pressed, mode=mode, stop=stop), rebase=rebase, state=state)
        if command.press:
            assert pressed and not stop and state is not State.STOP
            assert seen.setdefault(command.press, (rebase, mode)) == (rebase, mode)
            assert command.press >= last
            if command.press == last:
                assert held_since_release
            last, held_since_release = command.press, True
        if not pressed:
            held_since_release = False
