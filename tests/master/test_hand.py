"""Engage and clutch, as properties: no jump, invariance, no drift, the same at any sampling rate."""

from dataclasses import replace
from math import cos, pi, radians, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.states import State
from teleop.geometry import (
    compose,
    norm,
    pose_error,
    quat_multiply,
    quat_normalize,
    quat_rotate,
    rotvec_to_quat,
)
from teleop.master.command_maker import Phase
from teleop.master.guard import Reading
from teleop.master.hand import Hand, HandSettings, HandState
from teleop.master.robot_view import robot_view
from teleop.master.sample import MasterSample

ARM = (0.5, 0.1, 0.3, 0.0, 0.0, 0.0, 1.0)
HOME = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)

small = st.floats(-0.05, 0.05)
rotvec = st.tuples(*[st.floats(-1.0, 1.0)] * 3)
poses = st.builds(lambda p, r: (*p, *rotvec_to_quat(r)), st.tuples(small, small, small), rotvec)


def path(t):
    """A smooth hand: metres and radians as a function of seconds."""
    q = rotvec_to_quat((0.2 * sin(t), 0.1 * t, 0.15 * sin(2 * t)))
    return (0.03 * sin(2 * t), 0.02 * (1 - cos(3 * t)), 0.01 * t, *q)


def reading(pose=HOME, held=True, clutch=False, alive=True, **more):
    buttons = frozenset(b for b, on in (("deadman", held), ("clutch", clutch)) if on)
    return Reading(MasterSample("m", 0, None, 0, pose=pose, buttons=buttons, **more), alive, True)


class Rig:
    """A hand with an arm that stands and a governor that says `phase`."""

    def __init__(self, state_frame, settings=None, arm=ARM):
        self.hand, self.frame_of, self.arm, self.settings = Hand(settings), state_frame, arm, settings
        self.moving = True

    def view(self):
        return robot_view(self.frame_of(pose=self.arm, state=State.ACTIVE if self.moving else State.PAUSE))

    def __call__(self, pose=HOME, phase=Phase.PRESSED, settings=None, enabled=True, **more):
        return self.hand.step(reading(pose, **more), pose, self.view(), phase, settings, enabled)

    def engage(self, pose=HOME):
        self(pose, Phase.RELEASED, held=False)
        self(pose, Phase.RELEASED)
        return self(pose)


@pytest.fixture
def rig(state_frame):
    return Rig(state_frame)


def apart(a, b):
    d, turn = pose_error(a, b)
    return norm(d) + norm(turn)


def test_the_states_in_the_order_of_a_normal_engagement(rig):
    assert rig.hand.state is HandState.DISABLED
    assert rig(held=False, phase=Phase.RELEASED).state is HandState.ALIGNING
    asking = rig(phase=Phase.RELEASED)
    assert (asking.state, asking.pressed) == (HandState.ALIGNING, True)
    assert rig(phase=Phase.PRESSED).state is HandState.ENGAGED
    assert rig(held=False).state is HandState.ALIGNING


def test_a_deadman_that_was_down_before_anybody_looked_is_no_press(rig):
    assert rig(phase=Phase.RELEASED).state is HandState.WAITING_FOR_RELEASE
    assert not rig(phase=Phase.RELEASED).pressed


def test_while_the_arm_does_not_move_yet_the_anchor_goes_along_with_the_hand(rig):
    rig(phase=Phase.RELEASED, held=False)
    rig.moving = False
    for x in range(10):
        out = rig((0.01 * x, 0, 0, 0, 0, 0, 1))
        assert out.target == ARM and out.state is HandState.ALIGNING
    rig.moving = True
    assert rig((0.1, 0, 0, 0, 0, 0, 1)).target == ARM, "the 100 mm that were moved meanwhile are not caught up"


@given(grip=poses, arm=poses, scale=st.floats(0.05, 1.0), frame=rotvec)
def test_engaging_anywhere_starts_exactly_at_the_arm(state_frame, grip, arm, scale, frame):
    rig = Rig(state_frame, HandSettings(scale=scale, base_q_master=rotvec_to_quat(frame)), arm)
    out = rig.engage(grip)
    assert out.state is HandState.ENGAGED
    assert apart(out.target, arm) < 1e-9
    assert apart(rig(grip).target, arm) < 1e-9


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["move", "rest", "clutch", "release", "scale", "lock_p", "lock_q", "frame", "unplug", "pause"]
            ),
            st.floats(0.05, 1.0),
        ),
        max_size=40,
    )
)
@settings(max_examples=150)
def test_no_transition_whatever_moves_the_target_of_a_hand_at_rest(state_frame, history):
    rig, grip, s = Rig(state_frame, HandSettings()), HOME, HandSettings()
    target, t = rig.engage(grip).target, 0.0
    for event, x in history:
        held, clutch, alive, phase = True, False, True, Phase.PRESSED
        before, state = grip, rig.hand.state
        if event == "move":
            t += 0.1 * x
            grip = path(t)
        elif event == "scale":
            s = replace(s, scale=x)
        elif event == "lock_p":
            s = replace(s, lock_translation=not s.lock_translation)
        elif event == "lock_q":
            s = replace(s, lock_rotation=not s.lock_rotation)
        elif event == "frame":
            s = replace(s, base_q_master=rotvec_to_quat((x, 0.3, 0)))
        else:
            held, clutch, alive = event != "release", event == "clutch", event != "unplug"
            phase = Phase.WAITING_FOR_RELEASE if event == "pause" else Phase.PRESSED
        out = rig(grip, phase, s, held=held, clutch=clutch, alive=alive)
        if out.state is HandState.ENGAGED and state is HandState.ENGAGED:
            if grip == before:
                assert apart(out.target, target) < 1e-9, event
            else:
                assert norm(pose_error(out.target, target)[0]) <= s.scale * norm(pose_error(grip, before)[0]) + 1e-12
        elif out.state is HandState.ENGAGED:
            assert apart(out.target, rig.arm) < 1e-9
        if out.pressed and out.target is not None:
            target = out.target
            rig.arm = out.target  # an arm that follows


@given(offset=st.tuples(small, small, small), hold=rotvec, t=st.floats(0.0, 3.0))
def test_where_the_master_is_and_how_it_is_held_does_not_matter(state_frame, offset, hold, t):
    """Shift the master's origin, and hold the grip turned in the hand: the same motion gives the same target."""

    def target_of(grip):
        rig = Rig(state_frame)
        rig.engage(grip(0.0))
        return rig(grip(t)).target

    def moved(t):
        p = path(t)
        return (
            *(a + b for a, b in zip(p[:3], offset, strict=True)),
            *quat_normalize(quat_multiply(p[3:], rotvec_to_quat(hold))),
        )

    assert apart(target_of(path), target_of(moved)) < 1e-9


@given(base=rotvec, t=st.floats(0.0, 3.0))
def test_turning_the_masters_frame_and_the_alignment_together_changes_nothing(state_frame, base, t):
    """A console turned on its table, with its alignment told so, is the same console."""
    b = rotvec_to_quat(base)

    def turned(t):
        return compose((0, 0, 0, *b), path(t))

    plain, other = Rig(state_frame), Rig(state_frame, HandSettings(base_q_master=(-b[0], -b[1], -b[2], b[3])))
    plain.engage(path(0.0))
    other.engage(turned(0.0))
    assert apart(plain(path(t)).target, other(turned(t)).target) < 1e-9


@given(st.sets(st.integers(1, 199)), st.randoms())
def test_lost_readings_leave_no_drift(state_frame, lost, _):
    whole, lossy = Rig(state_frame), Rig(state_frame)
    whole.engage(path(0.0))
    lossy.engage(path(0.0))
    for k in range(1, 200):
        a = whole(path(k * 0.01))
        if k not in lost:
            assert apart(lossy(path(k * 0.01)).target, a.target) < 1e-9


def test_the_same_hand_gives_the_same_targets_at_100_hz_and_at_1_khz(state_frame):
    fast, slow = Rig(state_frame), Rig(state_frame)
    fast.engage(path(0.0))
    slow.engage(path(0.0))
    for k in range(1, 3001):
        a = fast(path(k * 1e-3)).target
        if k % 10 == 0:
            assert apart(slow(path(k * 1e-3)).target, a) < 1e-9


def test_scale_multiplies_the_translation_only(rig):
    rig.engage()
    q = rotvec_to_quat((0.0, 0.0, 0.5))
    out = rig((0.1, 0, 0, *q))
    assert out.target[:3] == pytest.approx((0.5 + 0.3 * 0.1, 0.1, 0.3))
    assert out.target[3:] == pytest.approx(q)


def test_alignment_turns_the_hands_motion(state_frame):
    rig = Rig(state_frame, HandSettings(scale=1.0, base_q_master=rotvec_to_quat((0, 0, pi / 2))))
    rig.engage()
    assert rig((0.01, 0, 0, 0, 0, 0, 1)).target[:3] == pytest.approx((0.5, 0.11, 0.3))


def test_locks_keep_what_they_lock(rig):
    rig.engage()
    moved = (0.02, 0, 0, *rotvec_to_quat((0, 0.2, 0)))
    rig(HOME, settings=HandSettings(lock_translation=True))
    out = rig(moved, settings=HandSettings(lock_translation=True))
    assert out.target[:3] == pytest.approx(ARM[:3]) and out.target[3:] == pytest.approx(moved[3:])
    rig(moved, settings=HandSettings(lock_rotation=True))
    out = rig(HOME, settings=HandSettings(lock_rotation=True))
    assert out.target[3:] == pytest.approx(moved[3:]) and out.target[0] == pytest.approx(0.5 - 0.3 * 0.02)


def test_a_misaligned_grip_does_not_engage_and_the_operator_is_told_by_how_much(state_frame):
    rig = Rig(state_frame, HandSettings(align=True))
    off = (0, 0, 0, *rotvec_to_quat((0, 0, radians(20))))
    rig(off, Phase.RELEASED, held=False)
    out = rig(off, Phase.RELEASED)
    assert not out.pressed and "20 deg" in out.why
    near = (0, 0, 0, *rotvec_to_quat((0, 0, radians(4))))
    assert rig(near, Phase.RELEASED).pressed


def test_the_alignment_offset_is_bled_by_the_hands_own_turning_and_not_by_time(state_frame):
    rig = Rig(state_frame, HandSettings(align=True, bleed=0.2))
    start = (0, 0, 0, *rotvec_to_quat((0, 0, radians(4))))
    rig.engage(start)
    for _ in range(100):
        out = rig(start)
    assert apart(out.target, ARM) < 1e-9, "a resting hand moves nothing"
    for k in range(1, 101):
        grip = (0, 0, 0, *rotvec_to_quat((0.02 * sin(k / 5), 0, radians(4) + 0.01 * k)))
        out = rig(grip)
    assert norm(pose_error(out.target, (*out.target[:3], *grip[3:]))[1]) < radians(0.2), (
        "after 1 rad it points as the grip does"
    )


def test_unlocking_the_rotation_of_an_aligning_hand_asks_for_a_release(state_frame):
    locked = HandSettings(align=True, lock_rotation=True)
    rig = Rig(state_frame, locked)
    rig.engage()
    assert rig(HOME, settings=HandSettings(align=True)).state is HandState.WAITING_FOR_RELEASE


def test_the_clutch_frees_the_hand_and_its_release_engages_where_the_arm_is(rig):
    rig.engage()
    rig(path(0.5))
    out = rig(path(0.5), clutch=True)
    assert out.state is HandState.CLUTCHED and not out.pressed
    rig(path(2.0), Phase.RELEASED, clutch=True)
    rig.moving = False
    assert rig(path(2.0), Phase.RELEASED).pressed, "the clutch's release is a new press"
    rig.moving = True
    out = rig(path(2.0))
    assert out.state is HandState.ENGAGED and apart(out.target, ARM) < 1e-9


def test_unplugging_in_mid_motion_waits_for_a_release(rig):
    rig.engage()
    assert not rig(alive=False).pressed
    assert rig().state is HandState.WAITING_FOR_RELEASE
    assert rig(held=False, phase=Phase.RELEASED).state is HandState.ALIGNING


def test_a_press_that_the_maker_ended_waits_for_a_release(rig):
    rig.engage()
    out = rig(phase=Phase.WAITING_FOR_RELEASE)
    assert out.state is HandState.WAITING_FOR_RELEASE and not out.pressed
    assert not rig(phase=Phase.WAITING_FOR_RELEASE).pressed


def test_the_presence_gesture_is_asked_once_and_not_again_after_a_clutch(state_frame):
    rig = Rig(state_frame, HandSettings(gesture=True))
    rig(held=False, phase=Phase.RELEASED, gripper=0.0)
    assert "pinch" in rig(phase=Phase.RELEASED, gripper=0.1).why
    assert rig(phase=Phase.RELEASED, gripper=radians(45)).pressed
    rig(gripper=0.0)
    rig(clutch=True, gripper=0.0)
    assert rig(phase=Phase.RELEASED, gripper=0.0).pressed


def test_a_twist_is_a_presence_gesture_too(state_frame):
    rig = Rig(state_frame, HandSettings(gesture=True))
    rig(held=False, phase=Phase.RELEASED)
    assert rig((0, 0, 0, *rotvec_to_quat((0, 0, radians(4.5)))), Phase.RELEASED).pressed


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0.0},
        {"scale": -0.3},
        {"scale": 1.5},
        {"turn_scale": -1.0},
        {"tolerance": 0.0},
        {"bleed": 1.0},
        {"base_q_master": (0, 0, 0, 2)},
    ],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match="outside|unit quaternion"):
        HandSettings(**wrong)


def test_slipping_moves_the_anchor_and_not_the_hand(rig):
    rig.engage()
    rig.hand.slip((0.001, 0.0, 0.0))
    assert rig(HOME).target[0] == pytest.approx(ARM[0] + 0.001)
    assert quat_rotate(rig(HOME).target[3:], (1, 0, 0)) == pytest.approx((1, 0, 0))
