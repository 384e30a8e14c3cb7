"""The whole hand: device to command, with an arm that follows; devices that misbehave in mid-motion."""

import itertools
from dataclasses import replace
from math import sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.states import Mode, State
from teleop.geometry import norm, pose_error, rotvec_to_quat
from teleop.master.command_maker import Intention, Phase
from teleop.master.device import Capabilities
from teleop.master.hand import HandState
from teleop.master.hand_loop import BROWSER_SPEED, HandLoop
from teleop.master.sample import MasterSample

MS = 1_000_000
HOME = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
START = (0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0)
MTM = Capabilities("mtm", "pose", (True,) * 6, 1000.0, orientation=True)
PAD = Capabilities("pad", "rate", (True,) * 6, 100.0, grade="browser")
SERVO = Intention(mode=Mode.SERVO)


def path(t):
    return (0.02 * sin(2 * t), 0.015 * sin(t), 0.01 * sin(3 * t), *rotvec_to_quat((0.1 * sin(t), 0, 0.1 * sin(2 * t))))


class Rig:
    """HandLoop and an ideal site: READY until a press, then ACTIVE; PAUSE and a new rebase at each release; the arm
    follows
    the accepted target at once. The device is read every `period_ms`, commands are made every 10 ms."""

    def __init__(self, state_frame, devices=(MTM,), period_ms=1, **kwargs):
        self.loop = HandLoop({d.name: d for d in devices}, me="me", **kwargs)
        self.frame_of, self.period = state_frame, period_ms
        self.t, self.arm, self.state, self.rebase, self.n = 0, START, State.READY, 1, 0
        self.commands, self.extra = [], {}

    def frame(self):
        return self.frame_of(
            t=self.t + 1, pose=self.arm, state=self.state, rebase=self.rebase, v_cap=0.05, w_cap=0.5, **self.extra
        )

    def site(self, command):
        if command is None or command.rebase != self.rebase:
            return
        if command.press:
            self.state = State.ACTIVE
            if command.target is not None:
                self.arm = command.target
        elif self.state is State.ACTIVE:
            self.state, self.rebase = State.PAUSE, self.rebase + 1

    def run(self, ms, sample, wish=SERVO, enabled=True):
        """Run for `ms`; sample(t s) gives {device: MasterSample or None}. Returns the commands made."""
        made = []
        for _ in range(ms):
            self.t += MS
            if self.t // MS % self.period == 0:
                self.loop.feel(self.t, sample(self.t * 1e-9), enabled)
            if self.t // MS % 10 == 0:
                c = self.loop.command(self.t, self.frame(), wish)
                self.site(c)
                made.append(c)
        self.commands += made
        return made

    def mtm(self, pose=HOME, *buttons, **more):
        self.n += 1
        return {"mtm": MasterSample("mtm", self.n, self.t, self.t, pose=pose, buttons=frozenset(buttons), **more)}


@pytest.fixture
def rig(state_frame):
    return Rig(state_frame)


def largest_step(commands):
    targets = [c.target for c in commands if c is not None and c.press]
    return max((norm(pose_error(a, b)[0]) for a, b in itertools.pairwise(targets)), default=0.0)


def test_a_press_engages_and_the_arm_follows_the_hand_scaled(rig):
    rig.run(100, lambda t: rig.mtm(path(0.0)))
    rig.run(50, lambda t: rig.mtm(path(0.0), "deadman"))
    commands = rig.run(3000, lambda t: rig.mtm(path(min(2.5, t - 0.15)), "deadman"))
    assert rig.loop.last.hand.state is HandState.ENGAGED
    assert commands[-1].press == 1
    assert norm(pose_error(rig.arm, START)[0]) == pytest.approx(0.3 * norm(path(2.5)[:3]), abs=1e-6)
    assert largest_step(rig.commands) < 0.05 * 0.010 * 1.01, "never faster than the cap between two commands"


def test_a_held_deadman_at_switch_on_moves_nothing(rig):
    commands = rig.run(500, lambda t: rig.mtm(path(t), "deadman"))
    assert all(c.press == 0 for c in commands)


@pytest.mark.parametrize("fault", ["freeze", "nan", "unplug", "jump", "off"])
def test_a_device_that_fails_in_mid_motion_is_a_release_and_needs_a_new_press(rig, fault):
    rig.run(50, lambda t: rig.mtm())
    rig.run(500, lambda t: rig.mtm(path(t), "deadman"))
    assert rig.commands[-1].press == 1

    def failing(t):
        if fault == "freeze":
            return {"mtm": None}
        if fault == "unplug":
            return rig.mtm(None, connected=False)
        if fault == "off":
            return rig.mtm(path(t), "deadman")
        pose = (float("nan"), *HOME[1:]) if fault == "nan" else (0.3, 0.2, *path(t)[2:])
        return rig.mtm(pose, "deadman")

    failed = rig.run(300, failing, enabled=fault != "off")
    assert failed[-1].press == 0
    first = next(k for k, c in enumerate(failed) if c.press == 0)
    assert first <= (11 if fault in ("freeze", "nan") else 1), "100 ms of silence, at once for the others"
    where = rig.arm
    again = rig.run(300, lambda t: rig.mtm(path(t), "deadman"))
    assert all(c.press == 0 for c in again) and rig.arm == where, "the held deadman does nothing"
    rig.run(50, lambda t: rig.mtm(path(t)))
    back = rig.run(100, lambda t: rig.mtm(path(t), "deadman"))
    assert back[-1].press == 2
    assert norm(pose_error(back[0].target or where, where)[0]) < 1e-9


def test_a_release_shorter_than_a_command_period_is_a_release(rig):
    rig.run(50, lambda t: rig.mtm())
    rig.run(200, lambda t: rig.mtm(HOME, "deadman"))
    n = iter(range(100))
    made = rig.run(50, lambda t: rig.mtm(HOME, *([] if next(n) == 3 else ["deadman"])))
    assert made[0].press == 0


def test_a_scale_change_by_latency_in_mid_motion_does_not_jump(rig):
    rig.run(50, lambda t: rig.mtm())
    rig.run(600, lambda t: rig.mtm(path(t), "deadman"))
    rig.extra = {"loop_age_ns": 250 * MS}
    rig.run(600, lambda t: rig.mtm(path(t), "deadman"))
    assert rig.loop.last.scale < 0.3
    assert rig.commands[-1].press == 1 and largest_step(rig.commands) < 0.05 * 0.010 * 1.01


def test_nothing_moves_after_the_hand_stops_beyond_the_leash(rig):
    rig.run(50, lambda t: rig.mtm())
    rig.run(400, lambda t: rig.mtm((0.5 * (t - 0.05), 0, 0, 0, 0, 0, 1), "deadman"))
    at_stop = rig.arm
    stop = (0.5 * 0.4, 0, 0, 0, 0, 0, 1)
    rig.run(1000, lambda t: rig.mtm(stop, "deadman"))
    assert (
        norm(pose_error(at_stop, rig.arm)[0]) <= 0.002 + 0.3 * 0.5 * 0.025
    )  # the leash, and what the filter still held


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "let go", "clutch", "silence", "rebase", "hold state", "stop"]), st.integers(1, 15)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_in_any_history_the_target_starts_at_the_arm_and_never_steps_further_than_the_cap(state_frame, history):
    rig = Rig(state_frame, period_ms=5)
    rig.run(30, lambda t: rig.mtm(path(t)))
    for event, tens in history:
        if event == "rebase":
            rig.rebase += 1
            rig.state = State.PAUSE
        if event == "hold state":
            rig.rebase += 1
            rig.state = State.HOLD
        buttons = () if event == "let go" else ("deadman", "clutch") if event == "clutch" else ("deadman",)
        before = rig.arm
        made = rig.run(
            10 * tens,
            lambda t, b=buttons, e=event: {"mtm": None} if e == "silence" else rig.mtm(path(t), *b),
            replace(SERVO, stop=event == "stop"),
        )
        for c in made:
            if c.press:
                assert norm(pose_error(before, c.target)[0]) <= 0.05 * 0.010 * 1.01
                before = c.target


def test_the_same_hand_at_100_hz_and_at_1_khz_moves_the_arm_the_same(state_frame):
    arms = []
    for period in (1, 10):
        rig = Rig(state_frame, period_ms=period, devices=(replace(MTM, rate_hz=1000 / period),))
        rig.run(100, lambda t, r=rig: r.mtm(path(0.0)))
        rig.run(40, lambda t, r=rig: r.mtm(path(0.0), "deadman"))
        rig.run(2000, lambda t, r=rig: r.mtm(path(t - 0.14), "deadman"))
        arms.append(rig.arm)
    assert norm(pose_error(*arms)[0]) < 1e-4


def test_a_rate_device_servoes_through_its_virtual_grip_at_browser_speed(state_frame):
    rig = Rig(state_frame, devices=(PAD,), period_ms=10)

    def pad(*buttons):
        rig.n += 1
        full = (0, 1.0, 0, 0, 0, 0)
        return {"pad": MasterSample("pad", rig.n, None, rig.t, twist=full, buttons=frozenset(buttons))}

    rig.run(50, lambda t: pad())
    assert rig.arm == START, "no deadman, no motion"
    rig.run(1000, lambda t: pad("deadman"))
    moved = norm(pose_error(START, rig.arm)[0])
    assert 0.002 < moved <= BROWSER_SPEED and rig.arm[0] == pytest.approx(START[0], abs=1e-9)


def test_a_pose_device_in_jog_is_a_joystick_about_the_press(rig):
    rig.run(50, lambda t: rig.mtm())
    rig.run(50, lambda t: rig.mtm(HOME, "deadman"), Intention(mode=Mode.JOG))
    where = rig.arm
    rig.run(500, lambda t: rig.mtm((0, 0, min(0.03, t - 0.1), 0, 0, 0, 1), "deadman"), Intention(mode=Mode.JOG))
    assert rig.arm[2] > where[2] + 0.003 and rig.arm[:2] == pytest.approx(where[:2])


def test_hold_to_run_needs_only_the_deadman(rig):
    goal = Intention(mode=Mode.GOAL, path_hash=b"12345678", s_goal=0.2)
    rig.run(50, lambda t: rig.mtm(), goal)
    assert rig.run(50, lambda t: rig.mtm(path(t), "deadman"), goal)[-1].s_limit == pytest.approx(0.05)
    assert rig.run(20, lambda t: rig.mtm(path(t)), goal)[-1].press == 0


def test_switching_the_mode_under_a_held_deadman_asks_for_a_release(rig):
    rig.run(50, lambda t: rig.mtm())
    rig.run(100, lambda t: rig.mtm(HOME, "deadman"))
    assert rig.run(50, lambda t: rig.mtm(HOME, "deadman"), Intention(mode=Mode.JOG))[-1].press == 0
    assert rig.loop.maker.phase is Phase.WAITING_FOR_RELEASE


def test_the_second_of_two_devices_does_nothing_while_the_first_is_held(state_frame):
    rig = Rig(state_frame, devices=(MTM, PAD), period_ms=10)

    def both(mtm, pad, pose=HOME):
        s = rig.mtm(pose, *mtm)
        s["pad"] = MasterSample("pad", rig.n, None, rig.t, twist=(1.0,) * 6, buttons=frozenset(pad))
        return s

    rig.run(50, lambda t: both((), ()))
    rig.run(200, lambda t: both(("deadman",), ()))
    where = rig.arm
    rig.run(200, lambda t: both(("deadman",), ("deadman",)))
    assert norm(pose_error(rig.arm, where)[0]) < 1e-9 and rig.commands[-1].press == 1
    made = rig.run(200, lambda t: both((), ("deadman",)))
    assert all(c.press == 0 for c in made), "letting go of the first does not start the second"
    rig.run(50, lambda t: both((), ()))
    rig.run(200, lambda t: both((), ("deadman",)))
    assert rig.commands[-1].press == 2 and rig.loop.last.device == "pad"


def test_a_device_that_was_not_announced_is_an_error(rig):
    with pytest.raises(KeyError):
        rig.loop.feel(1, {"other": None})


def pads(rig, **buttons):
    """Readings of some of the pads first, second (those named), each with its buttons."""
    out = {}
    for name, held in buttons.items():
        rig.n += 1
        out[name] = MasterSample(name, rig.n, rig.t, rig.t, twist=(1.0,) + (0.0,) * 5, buttons=frozenset(held))
    return out


@pytest.fixture
def two_pads(state_frame):
    devices = [Capabilities(n, "rate", (True,) * 6, 1000.0) for n in ("first", "second")]
    return Rig(state_frame, devices)


def test_a_device_is_usable_at_its_first_press_though_the_first_in_the_list_is_not_there(two_pads):
    rig = two_pads
    rig.run(200, lambda t: pads(rig, second=()))
    rig.run(300, lambda t: pads(rig, second=("deadman",)))
    assert rig.loop.last.hand.state is HandState.ENGAGED and rig.arm != START


def test_a_device_that_comes_back_with_its_deadman_down_while_another_rests_is_no_press(two_pads):
    rig = two_pads
    rig.run(100, lambda t: pads(rig, first=(), second=()))
    rig.run(300, lambda t: pads(rig, first=("deadman",), second=()))
    assert rig.loop.last.hand.state is HandState.ENGAGED
    rig.run(300, lambda t: pads(rig, second=()))
    at = rig.arm
    commands = rig.run(500, lambda t: pads(rig, first=("deadman",), second=()))
    assert all(c is None or c.press == 0 for c in commands) and rig.arm == at
    rig.run(100, lambda t: pads(rig, first=(), second=()))
    rig.run(300, lambda t: pads(rig, first=("deadman",), second=()))
    assert rig.arm != at


def test_a_device_plugged_in_with_its_deadman_down_is_no_press_though_another_was_seen_released(two_pads):
    rig = two_pads
    rig.run(300, lambda t: pads(rig, first=()))
    commands = rig.run(500, lambda t: pads(rig, first=(), second=("deadman",)))
    assert all(c is None or c.press == 0 for c in commands) and rig.arm == START
    rig.run(100, lambda t: pads(rig, first=(), second=()))
    rig.run(300, lambda t: pads(rig, first=(), second=("deadman",)))
    assert rig.arm != START
