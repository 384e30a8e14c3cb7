"""A console with a master that renders forces, a bad line, an arm at a wall: in virtual time, through the console's own parts.

The device is a mass with damping that an operator pulls along a wave through a spring; it is read every 4 ms, and what it is
told to render is held in between. The site is a stand-in that follows every command exactly (the worst case: it adds no
damping) and pushes a wall that is a spring; its frames are real state frames with the site's own contact meter. What the
rendered force did to the device is counted here a second time, from the true motion."""

from dataclasses import replace
from math import pi, sin

from safety.states import Mode, State
from sim.network.channel import Channel, Line
from sim.network.models import GilbertElliott, Normal
from teleop.console.native import NativeHands
from teleop.console.site_hand import Choices, SiteHand
from teleop.master.command_maker import Intention
from teleop.master.device import Capabilities
from teleop.master.sample import MasterSample
from teleop.site.contact import ContactMeter
from teleop.wire.state import decode_state, encode_state
from tests.console.test_site_hand import ARM

MS = 1_000_000
MASS, DAMPING, SPRING, GRIP_DAMPING = 0.3, 2.0, 150.0, 4.0
Q = (0.0, 0.0, 0.0, 1.0)


class Mtm:
    """One axis (z, back) of a haptic master with mass; the other two stand."""

    capabilities = Capabilities("mtm", "pose", (True,) * 6, 250.0, orientation=True, force=True, damping=DAMPING)

    def __init__(self):
        self.z = self.v = 0.0
        self.force = (0.0,) * 6
        self.held = set()
        self.seq, self.sent = 0, 0

    def connect(self):
        pass

    def disconnect(self):
        pass

    def read(self, now_ns):
        self.seq += 1
        return MasterSample("mtm", self.seq, now_ns, now_ns, pose=(0.0, 0.0, self.z, *Q), buttons=frozenset(self.held))

    def send_force(self, wrench):
        self.force, self.sent = wrench, self.sent + 1
        return True

    def pulled(self, goal, dt):
        """The hand of the operator pulls towards `goal` for dt; returns the way."""
        before = self.z
        for _ in range(5):
            hand = SPRING * (goal - self.z) - GRIP_DAMPING * self.v
            self.v += (hand + self.force[2] - DAMPING * self.v) / MASS * dt / 5
            self.z += self.v * dt / 5
        return self.z - before


class Wall:
    """The site: what it is told, in which state it is, what it feels."""

    def __init__(self, stiffness, depth):
        self.at, self.stiffness, self.depth = ARM, stiffness, depth
        self.state, self.rebase, self.last_seq, self.drive = State.READY, 1, 0, "standstill"
        self.meter = ContactMeter()

    def command(self, c):
        if c.rebase != self.rebase or c.seq <= self.last_seq:
            return
        self.last_seq = c.seq
        if c.press and self.state is not State.ACTIVE and self.state is not State.STOP:
            self.state = State.ACTIVE
        elif not c.press and self.state is State.ACTIVE:
            self.end(State.PAUSE)
        if c.press and c.target and self.state is State.ACTIVE:
            self.at, self.drive = c.target, "moving"

    def end(self, state):
        self.state, self.drive, self.rebase = state, "standstill", self.rebase + 1

    def frame(self, now):
        force = self.stiffness * max(0.0, ARM[2] - self.depth - self.at[2])
        arm = {"stamp": now, "pose": self.at, "setpoint": self.at, "speed": 0.0, "force": force, "drive": self.drive}
        arm["contact"] = self.meter.step(self.at, force).wire()
        gov = {
            "v": 1, "site": "a", "arm": "arm1", "state": self.state.value, "reason": "", "holder": "me", "epoch": 1,
            "rebase": self.rebase, "session": b"s" * 16, "last_seq": self.last_seq, "press_floor": 0, "v_cap": 0.05, "w_cap": 0.5,
            "loop_age_ns": 0,
        }  # fmt: skip
        return encode_state(now, arm, gov, None, None)


class Rig:
    """`run` for so many ms; everything that was rendered is in `forces`, what the books say against the truth in `check`."""

    def __init__(self, delay=0.0, jitter=0.0, loss=0.0, seed=1, reflect=True, scale=0.8, wave=0.01, stiffness=4000.0, depth=-0.0005):
        self.now = 1_000 * MS
        self.hand = SiteHand("me")
        self.hand.choose(replace(Choices(), reflect=reflect, alignment="guide", scale=scale))
        self.device, self.site = Mtm(), Wall(stiffness, depth)
        self.native = NativeHands([self.device])
        self.native.attach([self.hand])
        self.name = "native mtm"
        line = Line(Normal(delay * 1e3, jitter * 1e3), GilbertElliott(loss), fifo=False)
        self.up, self.down = Channel(line, seed, self.now), Channel(line, seed + 1, self.now)
        self.frame, self.wave, self.seq = None, wave, 0
        self.page = self.heard = self.pressed = True
        self.commands = {}
        self.forces, self.times = [], []
        self.goal, self.still, self.hold = 0.0, False, 0.0
        self.out = self.into = self.lowest = 0.0
        self.released = self.spent = 0.0
        self.engagement, self.start = 0, 0.0

    @property
    def book(self):
        return self.hand._reflected[self.name]

    def run(self, ms):
        for _ in range(ms):
            self.now += MS
            if not self.still:
                t = (self.now - 1_000 * MS) * 1e-9
                self.goal = self.wave * (sin(2.0 * pi * 0.27 * t) + sin(2.0 * pi * 0.71 * t))
            self.hold += self.device.force[2] * self.device.pulled(self.goal, 1e-3)
            if self.now % (4 * MS) == 0:
                self._count()
                self.native.step(self.now)
                self.forces.append(self.device.force[:3])
                self.times.append(self.now)
            if self.page and self.now % (20 * MS) == 0:
                self.seq += 1
                self.hand.push("p1", [{"kind": "keyboard", "seq": self.seq, "twist": [0.0] * 6, "buttons": []}], 0, self.now)
            if self.now % (10 * MS) == 0:
                self._console()
            for packet in self.up.due(self.now):
                self.site.command(self.commands[packet])
            if self.now % (10 * MS) == 5 * MS:
                self.down.push(self.now, self.site.frame(self.now))
        return self

    def _console(self):
        for packet in self.down.due(self.now):
            frame = decode_state(packet)
            if self.heard and (self.frame is None or frame["t"] > self.frame["t"]):
                self.frame = frame
        pressed = self.pressed and "deadman" in self.device.held
        self.hand.source = self.name if pressed else ""
        c = self.hand.step(self.now, self.frame, Intention(mode=Mode.SERVO, pressed=pressed))
        if c is not None:
            key = f"{c.epoch} {c.seq} {self.now}".encode()
            self.commands[key] = c
            self.up.push(self.now, key)

    def _count(self):
        """The work of the hold that ends now, from the true motion."""
        work, self.hold = self.hold, 0.0
        self.released = max(self.released, self.spent + work)
        self.spent += work
        if self.book.engagements != self.engagement:
            self.engagement, self.out, self.into = self.book.engagements, 0.0, 0.0
            self.start = self.hand.view.contact[2] if self.hand.view else 0.0
        self.out += max(0.0, work)
        self.into += max(0.0, -work)
        returned = self.site.meter.contact.returned - self.start
        self.lowest = min(self.lowest, min(self.into, returned) + self.book.params.budget - self.out, self.book.ledger.observer)

    def press(self, ms=600):
        """Released long enough to be seen so over the line, then held."""
        self.device.held = set()
        self.run(300 + 3 * ms)
        self.device.held = {"deadman"}
        return self.run(ms)

    def check(self):
        """Never below the bound: neither the books nor the truth."""
        assert self.lowest >= -1e-9, f"the observer fell to {self.lowest} J"
        assert self.released <= self.book.params.budget * max(1, self.engagement) + 1e-9, f"{self.released} J more out than in"
        return self
