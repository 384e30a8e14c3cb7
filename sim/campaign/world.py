"""`World`: one virtual session. A hand, a WAN of two sealed paths, a site with its arm; faults reach in through its knobs.

One clock, 2 ms grain: packets are delivered, then the drive ticks (4 ms), the governor ticks, the site sends its state, the
hand its command (10 ms each, out of phase). The same seed gives the same run, to the byte.
"""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from safety.inputs import BeatIn, CommandIn, Input, LinkIn, ReportIn, TickIn
from safety.params import MS, S
from safety.states import State
from sim.campaign.hand import Frame, Hand, pack
from sim.campaign.judge import Judge
from sim.campaign.rig import SURGEON
from sim.campaign.site import Site, axis_of, standing
from sim.network.channel import Channel
from sim.network.profiles import channels, profile
from teleop.link.seal import Kind, StreamCipher, Unsealed

GRAIN = 2 * MS
SECRET = b"campaign".ljust(32, b"-")
#: Files of measured round trips; a profile `trace:NAME.csv.gz` is looked for here.
TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "net"


def network(name: str) -> Any:
    """A profile by name; raises ValueError (unknown) or OSError (a trace that is not there)."""
    if name.startswith("trace:") and "/" not in name:
        name = f"trace:{TRACES / name.removeprefix('trace:')}"
    return profile(name)


@dataclass
class Counters:
    """What happened on the way, so that a run can prove that its fault struck."""

    sent: int = 0
    delivered: int = 0
    unsealed: int = 0
    injected: int = 0


class World:
    """See the module. `strike_after`: ns of motion before the fault may strike."""

    def __init__(
        self,
        mode: str,
        net: str,
        seed: int,
        *,
        lease_enabled: bool = True,
        params: tuple[tuple[str, Any], ...] = (),
        driver: str = "kinematic",
        name: str = "a",
    ) -> None:
        self.mode, self.seed = mode, seed
        self.rng = random.Random(f"{mode} {net} {seed}")
        made, path = standing(mode, lease_enabled, params, name)
        self.site: Site = made.fork()
        self.site.power_on(seed, driver=driver)
        self.t0 = self.site.now
        self.judge = Judge(self.site.params)
        self.paths: list[tuple[Channel, Channel]] = channels(network(net), seed, self.t0)
        self.ciphers = [
            StreamCipher(SECRET, self.site.s.session, 1, from_site=False, channel=0, path=k)
            for k in range(len(self.paths))
        ]
        self.hand = self._hand(path)
        self.hand.site = name
        self.count = Counters()
        self.wire: list[bytes] = []  # inner frames as sent, newest last
        self.heard = [self.t0] * len(self.paths)
        self.rtts: list[float] = [40.0] * len(self.paths)
        # knobs of the faults
        self.hand_alive = True
        self.hand_deaf = False
        self.copies = 1
        self.corrupt = 0.0
        self.hold_up: list[tuple[int, bytes]] | None = None
        self.gateway_alive = self.governor_alive = True
        self.governor_backlog: list[Callable[[], None]] | None = None
        self.late_ns = 0
        self.wall_step = 0
        self.view_frozen = 0
        self.recorder_note = ""
        self.muted: set[str] = set()
        # marks
        self.struck_at = 0
        self.ref = 0
        self.rejected0: dict[str, int] = {}
        self.accept0 = 0
        self.state_at_strike = ""

    def fork(self) -> "World":
        """The same moment once more, for another fault: both go on alone. Only over the kinematic arm (physics cannot be copied)
        and while nothing stalls.
        """
        assert self.governor_backlog is None and self.hold_up is None
        other = copy.copy(self)
        other.rng = copy.copy(self.rng)
        other.site = self.site.fork()
        other.site.inbox = list(self.site.inbox)
        other.site.arm = self.site.arm.fork()
        other.judge = copy.copy(self.judge)
        other.judge.wrongs, other.judge.changes = list(self.judge.wrongs), list(self.judge.changes)
        other.paths = [(up.fork(), down.fork()) for up, down in self.paths]
        other.hand = copy.copy(self.hand)
        other.hand.rng = other.rng
        other.count = replace(self.count)
        other.wire, other.heard, other.rtts = list(self.wire), list(self.heard), list(self.rtts)
        other.muted = set(self.muted)
        return other

    @property
    def now(self) -> int:
        return self.site.now

    def _hand(self, path: bytes) -> Hand:
        pose = self.site.tip()
        z = axis_of(pose)
        if self.mode == "jog":
            way = -z
        else:
            side = np.array([0.0, -1.0, 0.0])
            way = side - z * float(side @ z) - z * self.rng.uniform(0.0, 0.8)
            way = way / np.linalg.norm(way)
        start = self.now + 60 * MS + self.rng.randrange(0, 50) * MS
        hand = Hand(self.mode, path, pose, way, self.rng, start)
        hand.seq = self.site.s.last_seq
        return hand

    # --- one grain ---------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """2 ms."""
        site = self.site
        site.now += GRAIN
        k = (site.now - self.t0) // MS
        self._deliver()
        if k % 10 == 0 and self.governor_alive:
            self.judge.late_ticks += self.late_ns > 20 * MS
            self.decide(TickIn(site.now, self.late_ns, self.wall_step))
            self.late_ns = self.wall_step = 0
        if k % 50 == 0:
            self._beats()
        if k % 100 == 20 and self.gateway_alive:
            self._link()
        if k % 4 == 0:
            self._drive(k % 8 == 0)
        if k % 10 == 4:
            self._send_state()
        if k % 10 == 8 and self.hand_alive:
            self._send_command()

    def decide(self, i: Input, *, foreign: bool = False) -> None:
        """One input to the governor, now or when it wakes."""
        if not self.governor_alive:
            return
        if self.governor_backlog is not None:
            self.governor_backlog.append(lambda: self._decide(i, foreign))
            return
        self._decide(i, foreign)

    def _decide(self, i: Input, foreign: bool) -> None:
        if i.now < self.now and isinstance(i, CommandIn):
            i = CommandIn(self.now, i.peer, i.key, i.path, i.data)  # t_k is the dequeue time
        site = self.site
        site.outs = []
        accepted = site.s.accepted
        site.do(i)
        if foreign:
            self.judge.attacked(site.s.accepted > accepted)
        self.judge.decided(site, site.outs, foreign)

    def wake_governor(self) -> None:
        """End of a stall: the backlog is dequeued now."""
        backlog, self.governor_backlog = self.governor_backlog or [], None
        for item in backlog:
            item()

    def _deliver(self) -> None:
        for k, (up, down) in enumerate(self.paths):
            for data in up.due(self.now):
                if self.hold_up is not None:
                    self.hold_up.append((k, data))
                else:
                    self.arrive(k, data)
            for _, frame in down.due_tagged(self.now):
                if not self.hand_deaf:
                    self.hand.receive(frame)

    def arrive(self, path: int, data: bytes) -> None:
        """A sealed datagram at the gateway."""
        if not self.gateway_alive:
            return
        try:
            inner = self.ciphers[path].open(data)
        except Unsealed:
            self.count.unsealed += 1
            return
        self.count.delivered += 1
        self.heard[path] = self.now
        self.decide(CommandIn(self.now, "gateway", SURGEON, path, inner))

    def inject(self, inner: bytes, key: str, *, path: int = 0) -> None:
        """An attacker's frame, past the sealing (the worst case): it must never move anything."""
        self.count.injected += 1
        self.decide(CommandIn(self.now, "gateway", key, path, inner), foreign=True)

    def _send_command(self) -> None:
        c = self.hand.command(self.now)
        if c is None:
            return
        inner = pack(c)
        self.wire.append(inner)
        if len(self.wire) > 400:
            del self.wire[:200]
        self.count.sent += 1
        for k, (up, _) in enumerate(self.paths):
            data = self.ciphers[k].seal(Kind.COMMAND, c.seq, self.now, inner)
            if self.corrupt and self.rng.random() < self.corrupt:
                spoiled = bytearray(data)
                for _ in range(self.rng.randint(1, 8)):
                    bit = self.rng.randrange(len(spoiled) * 8)
                    spoiled[bit >> 3] ^= 1 << (bit & 7)
                data = bytes(spoiled)
            for _ in range(self.copies):
                up.push(self.now, data)

    def _send_state(self) -> None:
        s, r = self.site.s, self.site.last_report
        if r is None:
            return
        view = self.view_frozen or (self.now - 30 * MS) // (33 * MS) * (33 * MS)
        pause = s.pause_kind if s.state is State.PAUSE else ""
        frame = Frame(self.now, s.session, s.auth.epoch, s.rebase, str(s.state), pause, r.setpoint, view)
        for _, down in self.paths:
            down.push(self.now, b"s" * 600, frame)

    def _beats(self) -> None:
        for role in ("gateway", "recorder", "case"):
            peer = self.site.s.peers.get(role)
            if role not in self.muted and peer is not None and peer.up:
                self.decide(BeatIn(self.now, role, self.recorder_note if role == "recorder" else ""))

    def _link(self) -> None:
        age = self.site.s.age / 1e6 or 40.0
        paths = [{"alive": self.now - h < 200 * MS, "rtt_ms": min(age, 390.0), "loss": 0.0} for h in self.heard]
        self.decide(LinkIn(self.now, paths))

    def _drive(self, report: bool) -> None:
        site = self.site
        site.outs = []
        r = site.tick(send_report=False)
        if r is not None and report and self.governor_alive:
            self.decide(ReportIn(self.now, r))
        self.judge.looked(site)

    # --- for faults and runner ---------------------------------------------------------------------------------------

    def moving(self) -> bool:
        """Does the tool move faster than 1 mm/s (as measured), under a lease, in a moving state?"""
        r = self.site.last_report
        state = self.site.s.state
        return (
            r is not None
            and r.speed > 0.001
            and state in (State.ACTIVE, State.DEGRADED)
            and self.site.s.lease is not None
        )

    def cut(self, ns: int, paths: tuple[int, ...] = (0, 1), *, up: bool = True, down: bool = True) -> None:
        for k in paths:
            if up:
                self.paths[k][0].cut(self.now + ns)
            if down:
                self.paths[k][1].cut(self.now + ns)

    def holds(self) -> int:
        return self.site.s.holds

    def rejected(self, *reasons: str) -> int:
        """Refusals since the strike."""
        return sum(self.site.s.rejected.get(r, 0) - self.rejected0.get(r, 0) for r in reasons)

    def alarm(self, id_: str) -> bool:
        return any(a.id == id_ for a in self.site.s.alarms)

    def mark_strike(self) -> None:
        self.struck_at = self.ref = self.now
        self.state_at_strike = str(self.site.s.state)
        self.rejected0 = dict(self.site.s.rejected)
        self.accept0 = self.site.s.accepted

    def elapsed(self) -> int:
        """Since the strike, ns."""
        return self.now - self.struck_at if self.struck_at else 0


__all__ = ["GRAIN", "TRACES", "S", "World", "network"]
