"""Master devices at the console's own machine: they move the arm only where a page shows servo, and feel only what is
local."""

from dataclasses import replace

import numpy as np
import pytest

from safety.states import Mode, State
from teleop.console.contracts import ConsoleError
from teleop.console.native import NativeHands, open_device
from teleop.console.site_hand import Choices
from teleop.geometry import quat_conjugate, quat_multiply
from teleop.master.command_maker import Intention
from teleop.master.device import Capabilities
from teleop.master.hand import HandState
from teleop.master.sample import MasterSample
from tests.console.test_site_hand import ARM, REST, Rig

MS = 1_000_000
Q = (0.0, 0.0, 0.0, 1.0)


class Mtm:
    """A master with forces: where it is and what is held is the test's."""

    capabilities = Capabilities("mtm", "pose", (True,) * 6, 250.0, orientation=True, force=True, damping=2.0)

    def __init__(self):
        self.turn = Q
        self.at, self.held, self.seq, self.here, self.forces, self.error = (0.0, 0.0, 0.0), set(), 0, True, [], None

    def connect(self):
        if self.error:
            raise OSError(self.error)

    def read(self, now_ns):
        self.seq += 1
        if not self.here:
            return MasterSample("mtm", self.seq, None, now_ns, connected=False, note="unplugged")
        return MasterSample("mtm", self.seq, now_ns, now_ns, pose=(*self.at, *self.turn), buttons=frozenset(self.held))

    def send_force(self, wrench):
        self.forces.append(wrench)
        return True

    def disconnect(self):
        pass


class NativeRig(Rig):
    """A page that shows servo, and a native device that is read 250 times a second."""

    def __init__(self):
        super().__init__()
        self.device = Mtm()
        self.native = NativeHands([self.device])
        self.native.attach([self.hand])
        self.name = "native mtm"

    def go(self, ms, pressed=True, velocity=(0.0, 0.0, 0.0), page=True):
        self.hand.source = self.name if pressed else ""
        for k in range(ms // 2):
            self.now += 2 * MS
            self.device.at = tuple(p + v * 0.002 for p, v in zip(self.device.at, velocity, strict=True))
            if k % 2 == 0:
                self.native.step(self.now)
            if page and self.now % (20 * MS) == 0:
                self.hand.push("p1", self.samples(keyboard=REST), 0, self.now)
            if self.now % (10 * MS) == 0:
                c = self.hand.step(self.now, self.view(), Intention(mode=Mode.SERVO, pressed=pressed))
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

    def press(self, **more):
        self.go(200, pressed=False)
        self.device.held = {"deadman"}
        return self.go(200, **more)


def test_a_native_device_moves_the_guide_while_a_page_shows_servo():
    rig = NativeRig()
    rig.press()
    rig.go(1000, velocity=(0.02, 0.0, 0.0))
    assert rig.hand.loop.hand.state is HandState.ENGAGED
    assert 2e-3 < np.linalg.norm(np.subtract(rig.arm[:3], ARM[:3])) < 8e-3
    assert rig.native.show() == [{"name": "native mtm", "there": True, "deadman": True, "why": ""}]


def test_without_a_page_that_shows_servo_or_without_its_press_nothing_moves():
    rig = NativeRig()
    rig.press(pressed=False)
    rig.go(500, pressed=False, velocity=(0.02, 0.0, 0.0))
    assert all(c.press == 0 for c in rig.sent if c)
    rig = NativeRig()
    rig.press()
    rig.go(300, velocity=(0.02, 0.0, 0.0))
    rig.go(1500, velocity=(0.02, 0.0, 0.0), page=False)
    assert rig.sent[-1].press == 0 and rig.hand.loop.hand.state is not HandState.ENGAGED


def test_a_device_that_goes_lets_go_and_is_looked_for_again():
    rig = NativeRig()
    rig.press()
    rig.go(300, velocity=(0.02, 0.0, 0.0))
    rig.device.here = False
    rig.go(50)
    assert rig.sent[-1].press == 0 and not rig.native.show()[0]["there"]
    rig.device.here, rig.device.error = True, "no permission: add yourself to the group input"
    rig.go(2500)
    assert rig.native.show()[0]["why"].startswith("no permission")
    rig.device.error = None
    at = rig.arm
    rig.go(2500, velocity=(0.002, 0.0, 0.0))
    assert rig.native.show()[0]["there"] and rig.arm == at, "it comes back with its deadman held: that is no press"


def test_the_force_is_the_fixture_s_and_none_when_the_hand_does_not_move_the_guide():
    rig = NativeRig()
    rig.hand.line = (ARM[:3], (0.0, 0.0, -1.0))
    rig.hand.choose(replace(Choices(), fixture="axis", alignment="guide", scale=1.0))
    rig.go(200, pressed=False)
    assert all(f == (0.0,) * 6 for f in rig.device.forces)
    rig.press()
    rig.go(400, velocity=(0.01, 0.0, 0.0))
    last = np.array(rig.device.forces[-1][:3])
    assert last[0] < -0.05 and np.abs(last[1:]).max() < 0.02, f"back to the line: {last}"
    assert np.linalg.norm(last) <= 4.0
    rig.device.held = set()
    rig.go(50, pressed=False)
    assert rig.device.forces[-1] == (0.0,) * 6


@pytest.mark.parametrize("words", ["joystick", "no.such.module:make", "math:nothing", "teleop.console.native:open_device"])
def test_a_device_that_cannot_be_made_is_refused_in_words(words):
    with pytest.raises(ConsoleError, match="--device"):
        open_device(words)


def test_built_in_devices_are_made_and_opened_later():
    assert open_device("spacemouse").capabilities.name == "spacemouse"
    assert open_device("gamepad").capabilities.name == "gamepad"


def test_a_grip_that_is_to_be_aligned_first_moves_nothing_until_it_lies_as_the_guide_does():
    rig = NativeRig()
    rig.hand.choose(replace(Choices(), align=True, alignment="guide"))
    rig.press()
    rig.go(500, velocity=(0.02, 0.0, 0.0))
    assert rig.hand.loop.hand.state is HandState.ALIGNING and rig.arm == ARM
    assert rig.hand.show(rig.now)["misaligned"] > 1.0, "and the page can say by how much"
    rig.device.turn = quat_multiply(quat_conjugate(rig.hand.loop.settings.base_q_master), ARM[3:])
    rig.device.held = set()
    rig.press()
    rig.go(500, velocity=(0.02, 0.0, 0.0))
    assert rig.hand.loop.hand.state is HandState.ENGAGED and rig.arm != ARM
