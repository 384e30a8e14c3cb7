"""The hand behind the console: the page's devices and the page's press must both say yes, and what the hand does is what
the arm is asked for."""

from dataclasses import replace

import numpy as np
import pytest

from safety.states import Mode, State
from teleop.console.site_hand import Choices, SiteHand, choices_from, picture_alignment
from teleop.geometry import quat_rotate, rotvec_to_quat
from teleop.master.command_maker import Intention, Phase
from teleop.master.hand import HandState
from teleop.master.robot_view import RobotView

MS = 1_000_000
ARM = (0.5, 0.0, 0.3, *rotvec_to_quat((np.pi, 0.0, 0.0)))  # the guide looks down
#: base to LPS of a prone patient, head towards +y of the base (sim.layout).
PRONE = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))


class Rig:
    """A hand, an arm that goes where it is told, a page that talks 50 times a second."""

    def __init__(self):
        self.hand = SiteHand("me")
        self.hand.turn = PRONE
        self.now, self.seq, self.last_seq = 1_000 * MS, 0, 0
        self.arm, self.drive = ARM, "standstill"
        self.state, self.rebase = State.READY, 1
        self.sent = []

    def view(self):
        return RobotView(
            self.now, b"s" * 16, "a", "arm1", self.state, "", "me", 1, self.rebase, self.last_seq, 0, "",
            0.05, 0.5, 0.0, self.arm, self.arm, 0.0, 0.0, b"", self.drive,
        )  # fmt: skip

    def samples(self, **devices):
        self.seq += 1
        return [
            {"kind": k, "seq": self.seq, "twist": list(twist), "buttons": list(buttons)}
            for k, (twist, buttons) in devices.items()
        ]

    def run(self, ms, pressed=True, source="gamepad", mode=Mode.SERVO, page="p1", **devices):
        """Devices: kind=(twist, buttons)."""
        self.hand.source = source if pressed else ""
        for _ in range(ms // 10):
            self.now += 10 * MS
            if self.now % (20 * MS) == 0 and devices:
                self.hand.push(page, self.samples(**devices), 0, self.now)
            c = self.hand.step(self.now, self.view(), Intention(mode=mode, pressed=pressed, s_goal=0.1))
            self.sent.append(c)
            if c is not None:
                self.last_seq = c.seq
                if c.press and c.target and self.state is State.ACTIVE:
                    self.arm, self.drive = c.target, "moving"
                elif c.press and self.state is not State.ACTIVE:
                    self.state = State.ACTIVE
                elif not c.press and self.state is State.ACTIVE:
                    self.state, self.drive, self.rebase = State.PAUSE, "standstill", self.rebase + 1
        return self.sent[-1]


REST = ((0.0,) * 6, ())
RIGHT = ((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), ("deadman",))


def test_a_stick_moves_the_guide_and_letting_go_ends_it():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(1000, gamepad=RIGHT)
    assert rig.hand.loop.hand.state is HandState.ENGAGED and rig.hand.phase is Phase.PRESSED
    moved = np.subtract(rig.arm[:3], ARM[:3])
    assert 1e-3 < np.linalg.norm(moved) < 7e-3, "6 mm/s at most"
    c = rig.run(100, pressed=False, gamepad=REST)
    assert c.press == 0


def test_the_page_s_press_alone_or_the_device_s_alone_moves_nothing():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(300, pressed=False, gamepad=RIGHT)
    assert all(c.press == 0 for c in rig.sent if c)
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(300, pressed=True, gamepad=((1.0, 0, 0, 0, 0, 0), ()))
    assert all(c.press == 0 for c in rig.sent if c) and rig.arm == ARM


def test_the_press_counts_for_the_device_that_the_page_named():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST, keyboard=REST)
    rig.run(300, source="keyboard", gamepad=RIGHT, keyboard=REST)
    assert all(c.press == 0 for c in rig.sent if c) and rig.arm == ARM


def test_two_devices_at_once_the_second_is_ignored_and_said_and_does_not_take_over():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST, keyboard=REST)
    rig.run(500, source="gamepad", gamepad=RIGHT, keyboard=REST)
    at = rig.arm
    rig.run(100, source="gamepad", gamepad=((0.0,) * 6, ("deadman",)), keyboard=((0, 1.0, 0, 0, 0, 0), ("deadman",)))
    assert np.linalg.norm(np.subtract(rig.arm[:3], at[:3])[1:]) < 1e-4
    assert any("two devices at once" in words for words in rig.hand.take_news())
    rig.run(40, pressed=False, gamepad=REST, keyboard=((0, 1.0, 0, 0, 0, 0), ("deadman",)))
    at, before = rig.arm, len(rig.sent)
    rig.run(500, source="gamepad", gamepad=REST, keyboard=((0, 1.0, 0, 0, 0, 0), ("deadman",)))
    assert all(c.press == 0 for c in rig.sent[before:] if c) and rig.arm == at


def test_a_device_that_falls_silent_or_whose_page_goes_is_let_go_and_wants_a_release():
    for end in ("silence", "page"):
        rig = Rig()
        rig.run(200, pressed=False, gamepad=REST)
        rig.run(500, gamepad=RIGHT)
        if end == "page":
            rig.hand.page_gone("p1", rig.now)
            rig.run(30)
        else:
            rig.run(200)  # the page still says pressed, the device says nothing
        assert rig.sent[-1].press == 0, end
        at, before = rig.arm, len(rig.sent)
        rig.run(400, gamepad=RIGHT)
        assert all(c.press == 0 for c in rig.sent[before:] if c) and rig.arm == at, end


def test_a_stop_or_a_lost_press_at_the_console_wants_the_stick_released():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(500, gamepad=RIGHT)
    rig.run(100, pressed=False, gamepad=RIGHT)
    at, before = rig.arm, len(rig.sent)
    rig.run(400, pressed=True, gamepad=RIGHT)
    assert all(c.press == 0 for c in rig.sent[before:] if c) and rig.arm == at
    rig.run(200, pressed=False, gamepad=REST)
    assert rig.run(300, gamepad=RIGHT).press > 0


def test_a_malformed_reading_is_said_and_counts_for_nothing():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(500, gamepad=RIGHT)
    for _ in range(40):
        rig.now += 10 * MS
        rig.hand.push("p1", [{"kind": "gamepad", "seq": 10**6, "twist": [float("nan")] * 6, "buttons": ["deadman"]}], 0, rig.now)
        rig.sent.append(rig.hand.step(rig.now, rig.view(), Intention(mode=Mode.SERVO, pressed=True)))
    assert rig.sent[-1].press == 0
    assert any("finite" in words for words in rig.hand.take_news())
    rig.hand.push("p1", [{"kind": "toaster"}, "nonsense", None], 0, rig.now)
    assert any("toaster" in words for words in rig.hand.take_news())


def test_right_and_up_in_the_picture_are_right_and_up_of_the_hand_and_ahead_is_ahead():
    direction = quat_rotate(ARM[3:], (0.0, 0.0, 1.0))
    q, mirrored = picture_alignment(direction, PRONE)
    turn = np.array(PRONE)

    def in_patient(x, y, z):
        return turn @ np.array(quat_rotate(q, (-x if mirrored else x, y, z)))

    assert np.allclose(in_patient(1, 0, 0), (1, 0, 0), atol=1e-9), "picture right: the patient's left"
    assert np.allclose(in_patient(0, 1, 0), (0, 0, 1), atol=1e-9), "picture up: the head"
    assert np.allclose(in_patient(0, 0, -1), turn @ np.array(direction), atol=1e-9), "push: into the patient"


def test_the_stick_to_the_right_moves_the_guide_to_the_right_in_the_picture():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(1000, gamepad=RIGHT)
    moved = np.array(PRONE) @ np.subtract(rig.arm[:3], ARM[:3])
    assert moved[0] > 1e-3 and abs(moved[1]) < 1e-6 and abs(moved[2]) < 1e-6


def test_the_axis_fixture_keeps_the_guide_on_the_planned_line():
    rig = Rig()
    rig.hand.line = (ARM[:3], (0.0, 0.0, -1.0))
    rig.hand.choose(replace(Choices(), fixture="axis"))
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(1000, gamepad=((1.0, 0.0, -1.0, 0, 0, 0), ("deadman",)))
    moved = np.subtract(rig.arm[:3], ARM[:3])
    assert moved[2] < -1e-3 and np.linalg.norm(moved[:2]) < 1e-6
    assert any(what == "axis guide" for what, *_ in rig.hand.show(rig.now)["changes"])


def test_a_push_along_the_planned_axis_moves_along_it_and_nothing_else_moves():
    rig = Rig()
    rig.hand.line = (ARM[:3], (0.0, 0.0, -1.0))
    rig.hand.choose(replace(Choices(), fixture="push"))
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(1500, gamepad=((1.0, 0.0, -1.0, 0, 0.5, 0), ("deadman",)))
    moved = np.subtract(rig.arm[:3], ARM[:3])
    assert -3.1e-3 < moved[2] < -0.2e-3, "2 mm/s at most"
    assert np.linalg.norm(moved[:2]) < 1e-9 and np.abs(np.dot(rig.arm[3:], ARM[3:])) == pytest.approx(1.0, abs=1e-12)
    assert any(what == "axis admittance" for what, *_ in rig.hand.show(rig.now)["changes"])


def test_the_ghost_is_the_command_and_the_error_of_the_prediction_is_told():
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(500, gamepad=RIGHT)
    shown = rig.hand.show(rig.now)
    assert shown["ghost"] == list(rig.sent[-1].target) and shown["state"] == "engaged" and shown["device"] == "gamepad"
    assert rig.hand.take_errors() and not rig.hand.take_errors()


def test_settings_are_checked_and_a_filter_is_not_exchanged_in_mid_motion():
    for wrong in ({"scale": 2.0}, {"scale": "x"}, {"tremor": "much"}, {"alignment": "moon"}, {"speed": 1}, {"lock_rotation": 1}, {"align": "yes"}):
        with pytest.raises(ValueError, match="hand settings|scale"):
            choices_from(wrong, Choices())
    rig = Rig()
    rig.run(200, pressed=False, gamepad=REST)
    rig.run(500, gamepad=RIGHT)
    with pytest.raises(ValueError, match="release first"):
        rig.hand.choose(replace(Choices(), tremor="strong"))
    assert rig.hand.choices == Choices()
    at = rig.arm
    rig.hand.choose(replace(Choices(), scale=0.1))
    rig.run(10, gamepad=RIGHT)
    assert np.linalg.norm(np.subtract(rig.arm[:3], at[:3])) < 1e-3
    rig.run(200, pressed=False, gamepad=REST)
    rig.hand.choose(replace(Choices(), tremor="off"))
    assert rig.hand.show(rig.now)["delay_ms"] == 0.0


def test_goal_motions_go_by_the_page_s_press_alone():
    rig = Rig()
    rig.run(100, pressed=False, mode=Mode.GOAL)
    c = rig.run(200, pressed=True, mode=Mode.GOAL)
    assert c.press > 0 and c.s_limit is not None and rig.hand.loop.hand.state is HandState.DISABLED
