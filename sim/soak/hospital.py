"""`Hospital`: one site of the virtual soak. The campaign's world (shipped governor, drive, simulated arm, sealed paths) with
what hours need: both ends of the shipped stream with their estimators and two clocks, pictures and voice on the same line,
a session log, a waiting state that costs little, and people who answer a hold.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from safety.conditions import blockers
from safety.inputs import KIND_OF, CommandIn, Input, LinkIn, Output, ReportIn, TickIn, encode_input, encode_outputs
from safety.log import SessionLog
from safety.log.steps import EVENT_TOPIC, EVENT_TYPE, ORDER_TOPIC, RARE
from safety.params import MS, S
from safety.snapshot import encode_situation
from safety.states import State
from sim.campaign.hand import Frame, Hand, pack
from sim.campaign.rig import SURGEON
from sim.campaign.world import SECRET, World, network
from sim.network.channel import Line
from sim.network.profiles import Profile, channels
from sim.soak.deadlines import Deadlines, of_arm, of_governor
from sim.soak.pictures import STEP_NS, Camera, Piece
from teleop.link.seal import Kind
from teleop.link.stream import StreamEnd

#: Bytes of a state frame, sealed for real; what it tells rides beside it.
STATE_BYTES = 600
WAIT_GRAIN = 10 * MS
#: What path 0 and path 1 carry (measured 5G uplinks lie between 10 and 60 Mbit/s).
LINE_BPS = 30e6
#: A stall of the governor's process: how often in the mean, and how long (an ordinary machine that is busy).
STALL_EVERY_NS, STALL_NS = 60 * S, (12 * MS, 90 * MS)
#: How far the hand goes to and fro from home (m): clear of the keep-outs of the campaign's room.
REACH_M = 0.012
#: A person answers a hold after so long; the bedside re-arms after a stop.
ANSWER_NS, REARM_NS = 1 * S, 4 * S
#: A press that the governor has not taken up after so long is given back; the next one comes as much later.
PRESS_TAKEN_NS = 1 * S


class SteadyHand(Hand):
    """The campaign's hand, which stays on one line through home however often it is rebased, presses only where the site
    says that nothing is in the way, and resumes after a hold that was acknowledged."""

    home: tuple[float, ...] = ()
    #: The site names no blocker (and a hold is acknowledged).
    clear = False
    #: A press that the governor did not take up is given back.
    pressed_at = 0

    def _press(self, now: int, f: Frame) -> None:
        if f.state in ("READY", "HOLD"):
            ignored = self.press and now - self.pressed_at > PRESS_TAKEN_NS
            if not (self.clear and self.wants) or ignored:
                self.press = 0
            elif not self.press and now - self.pressed_at > 2 * PRESS_TAKEN_NS:
                self._begin(now, f)
            return
        before = self.press
        super()._press(now, f)
        if self.press and not before:
            self._begin(now, f)

    def _begin(self, now: int, f: Frame) -> None:
        """A new press begins where the arm stands."""
        self._new_press()
        self.pressed_at = now
        self.moved = float(self.way @ (np.array(f.setpoint[:3]) - np.array(self.home[:3])))

    def command(self, now: int) -> Any:
        f = self.frame
        if f is not None and f.rebase != self.rebase:
            self.rebase, self.base = f.rebase, self.home
            self.moved = float(self.way @ (np.array(f.setpoint[:3]) - np.array(self.home[:3])))
        return super().command(now)


@dataclass
class ConsoleClock:
    """The console's clock: `ppm` fast and `ahead` ns in front of the robot's."""

    ppm: float
    ahead: int
    t0: int

    def at(self, robot_ns: int) -> int:
        return robot_ns + self.ahead + int((robot_ns - self.t0) * self.ppm * 1e-6)


class Hospital(World):
    """`net`: a profile or trace:FILE. `shift_ns`: where in the trace this hospital begins. Records into `log` from `record` on."""

    def __init__(self, name: str, net: str, seed: int, shift_ns: int, ppm: float) -> None:
        super().__init__("servo", net, seed, name=name)
        self.name = name
        rated = Profile(net, "with a rate", tuple(
            replace(p, up=_rated(p.up), down=_rated(p.down)) for p in network(net).paths
        ))  # fmt: skip
        self.paths = channels(rated, seed, self.t0 - shift_ns)
        self.clock = ConsoleClock(ppm, (seed % 7 - 3) * S, self.t0)
        nonce, count = self.site.s.session, len(self.paths)
        self.near = StreamEnd(SECRET, nonce, 1, count, site=False, now_ns=self.clock.at(self.t0))
        self.far = StreamEnd(SECRET, nonce, 1, count, site=True, now_ns=self.t0)
        self.camera = Camera(self.t0)
        self.governor, self.arm_loop = of_governor(), of_arm(4 * MS)
        self.in_hand = False
        self.log: SessionLog | None = None
        self.stalls = 0
        self._random = random.Random(f"stalls {seed}")
        self._stall_at = self._next_stall()
        self._awake_at = self._due_tick = 0
        self._held_since = self._stopped_since = 0
        self._first_ms: Callable[[float], None] | None = None
        self._asked_at = self._accepted0 = 0
        self._ages: list[float] = []
        self.site.order("release", key=SURGEON)

    def _hand(self, path: bytes) -> Hand:
        plain = super()._hand(path)
        hand = SteadyHand("servo", path, np.array(self.site.tip()), plain.way, self.rng, plain.press_at)
        hand.seq, hand.home, hand.wants = plain.seq, tuple(float(x) for x in self.site.tip()), False
        hand.reach = REACH_M
        return hand

    # --- the log -----------------------------------------------------------------------------------------------------

    def record(self, log: SessionLog) -> None:
        """From now on every step goes into the log, which begins with the boot and what the governor remembers now."""
        self.log = log
        self._write(0, "boot", encode_input(self.site.boot_input), b"\x90")
        self._write(self.site.s.n, "snapshot", encode_situation(self.site.s), b"\x90")
        self.site.do = self._recorded  # type: ignore[method-assign]
        self._plain_do = type(self.site).do

    def _recorded(self, i: Input) -> list[Output]:
        site = self.site
        out = self._plain_do(site, i)
        if isinstance(i, TickIn):
            self.governor.woke(i.now, i.late_ns)
        elif isinstance(i, ReportIn):
            self.arm_loop.woke(i.report.stamp, i.report.late_ns, i.report.drive != "parked")
        self._write(site.s.n, KIND_OF[type(i)], encode_input(i), encode_outputs(out))
        return out

    def _write(self, n: int, kind: str, data: bytes, outputs: bytes) -> None:
        assert self.log is not None
        fields = {"schema_version": 1, "n": n, "stamp_mono": self.now, "kind": kind, "state": str(self.site.s.state),
                  "summary": "", "input": data, "outputs": outputs}  # fmt: skip
        self.log.write(ORDER_TOPIC if kind in RARE else EVENT_TOPIC, EVENT_TYPE, fields, self.now)

    # --- the case ----------------------------------------------------------------------------------------------------

    def take(self, told: Callable[[float], None]) -> None:
        """The bedside grants control; `told` hears how many ms later the first command was accepted."""
        if self.site.s.state in (State.STOP, State.FAULT):
            self.site.order("rearm")
        self.site.must("qualify", result={"passed": True})
        self.site.order("grant", holder=SURGEON)  # where it is refused the people ask again
        self.hand.seq, self.in_hand, self.hand.wants = 0, True, True
        self.hand.press_at = self.now
        self._first_ms, self._asked_at, self._accepted0 = told, self.now, self.site.s.accepted

    def let_go(self) -> None:
        """The deadman is released; the arm stops by itself."""
        self.hand.wants = False

    @property
    def still(self) -> bool:
        r = self.site.last_report
        return r is not None and r.drive in ("standstill", "parked")

    @property
    def parked(self) -> bool:
        """Its loops may turn slowly."""
        r = self.site.last_report
        return not self.in_hand and r is not None and r.drive == "parked" and self.governor_backlog is None

    def give_back(self) -> None:
        """The surgeon releases the arm."""
        if self.site.s.auth.holder:
            self.site.order("release", key=SURGEON)
        self.in_hand = False
        self._held_since = self._stopped_since = 0

    def ages_ms(self) -> list[float]:
        """Loop ages since the last call."""
        found, self._ages = self._ages, []
        return found

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """2 ms, with the arm in a hand."""
        self._stalls()
        super().advance()
        k = (self.now - self.t0) // MS
        if k % 10 == 0:
            self._aside(True)
        if k % 100 == 0:
            self._people()
            if self.site.s.age:
                self._ages.append(self.site.s.age / 1e6)

    def wait(self) -> None:
        """10 ms, with nobody's hand on it: as a parked site, whose loops turn twenty to fifty times a second."""
        self.site.now += WAIT_GRAIN
        k = (self.now - self.t0) // MS
        self._deliver()
        if k % 20 == 0:
            self._drive(k % 100 == 0)
        if k % 50 == 0:
            self.decide(TickIn(self.now, 0, 0))
            self._beats()
        if k % 100 == 0:
            self._link()
            self._send_state()
        self._aside(False)

    def _aside(self, watched: bool) -> None:
        """Probes, pictures, voice, the log's own time."""
        near_now = self.clock.at(self.now)
        for p, data in enumerate(self.near.probes(near_now)):
            self.paths[p][0].push(self.now, data)
        for p, data in enumerate(self.far.probes(self.now)):
            self.paths[p][1].push(self.now, data)
        if watched:
            for size, piece in self.camera.send(self.now):
                self.paths[0][1].push(self.now, bytes(size), piece)
            if (self.now - self.t0) % STEP_NS == 0:
                best = min(self.far.health, key=lambda h: h.silence_ns(self.now))
                loss, queue = self.far.combined.loss(self.now, 1 * S), best.stats(self.now).queue_ms
                self.camera.step(self.now, loss, queue, self._risen())
        if self.log is not None:
            self.log.tick(self.now)

    def _risen(self) -> float | None:
        return self.site.s.age / 1e6 if self.hand.press else None

    def _deliver(self) -> None:
        near_now = self.clock.at(self.now)
        for k, (up, down) in enumerate(self.paths):
            for data in up.due(self.now):
                opened = self.far.open(k, data, self.now)
                if opened is not None:
                    self.heard[k] = self.now
                    self.count.delivered += 1
                    self.decide(CommandIn(self.now, "gateway", SURGEON, k, opened.payload))
            for data, tag in down.due_tagged(self.now):
                if isinstance(tag, Piece):
                    self.camera.arrived(self.now, tag)
                elif self.near.open(k, data, near_now) is not None and tag is not None:
                    self.hand.receive(tag)

    def _send_command(self) -> None:
        c = self.hand.command(self.now)
        if c is None or not self.in_hand:
            return
        self.count.sent += 1
        for k, data in enumerate(self.near.seal_all(Kind.COMMAND, pack(c), self.clock.at(self.now))):
            self.paths[k][0].push(self.now, data)

    def _send_state(self) -> None:
        s, r = self.site.s, self.site.last_report
        if r is None:
            return
        pause = s.pause_kind if s.state is State.PAUSE else ""
        view = (self.now - 30 * MS) // (33 * MS) * (33 * MS)
        frame = Frame(self.now, s.session, s.auth.epoch, s.rebase, str(s.state), pause, r.setpoint, view)
        for k, data in enumerate(self.far.seal_all(Kind.STATE, bytes(STATE_BYTES), self.now)):
            self.paths[k][1].push(self.now, data, frame)

    def _link(self) -> None:
        rows = [
            {"alive": h.is_alive(self.now), "rtt_ms": (h.newest_round_trip_ns() or 0) / 1e6, "loss": h.loss(self.now)}
            for h in self.far.health
        ]
        self.decide(LinkIn(self.now, rows))

    # --- what goes wrong, and who answers ----------------------------------------------------------------------------

    def _next_stall(self) -> int:
        return self.now + int(self._random.expovariate(1.0 / STALL_EVERY_NS))

    def _stalls(self) -> None:
        """The governor's process is away for some ms now and then: what came meanwhile is decided when it is back, and its
        tick says how late it was."""
        if self.governor_backlog is None and self.now >= self._stall_at:
            self.governor_backlog = []
            self.stalls += 1
            self._awake_at = self.now + self._random.randrange(*STALL_NS)
            self._due_tick = self.now
        elif self.governor_backlog is not None and self.now >= self._awake_at:
            # ticks that fell into the stall never happened: the loop has one timer, not a queue of them
            self.governor_backlog = [item for item in self.governor_backlog if not getattr(item, "tick", False)]
            self.wake_governor()
            self._decide(TickIn(self.now, self.now - self._due_tick, 0), False)
            self._stall_at = self._next_stall()

    def decide(self, i: Input, *, foreign: bool = False) -> None:
        if self.governor_backlog is not None and isinstance(i, TickIn):
            return  # the loop's own timer does not run while its process is away
        super().decide(i, foreign=foreign)

    def _people(self) -> None:
        """Ten times a second: a hold is read, acknowledged and resumed; after a stop the bedside looks, re-arms and grants."""
        s = self.site.s
        if self._first_ms is not None and s.accepted > self._accepted0:
            self._first_ms((self.now - self._asked_at) / 1e6)
            self._first_ms = None
        hand = self.hand
        assert isinstance(hand, SteadyHand)
        if s.state is State.HOLD:
            self._held_since = self._held_since or self.now
            if not s.acked and self.now - self._held_since > ANSWER_NS and s.auth.holder:
                self.site.order("ack", key=SURGEON)
            hand.clear = s.acked and not blockers(s, self.site.params)
            if not s.auth.holder and hand.wants:
                self.site.order("grant", holder=SURGEON)
                hand.seq = 0
            return
        self._held_since, hand.clear = 0, not blockers(s, self.site.params)
        if s.state in (State.STOP, State.FAULT):
            self._stopped_since = self._stopped_since or self.now
            if self.now - self._stopped_since > REARM_NS:
                self.site.order("rearm")
            return
        self._stopped_since = 0
        if s.state is State.READY and not s.auth.holder and hand.wants:
            self.site.must("qualify", result={"passed": True})
            self.site.order("grant", holder=SURGEON)
            hand.seq = 0


def _rated(line: Line) -> Line:
    return replace(line, rate_bps=LINE_BPS)


__all__ = ["Camera", "Deadlines", "Hospital"]
