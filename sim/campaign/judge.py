"""The judge of one run: travel and time after every last valid command, against the bound; and what must never happen."""

from dataclasses import dataclass, field
from math import sqrt

from safety.fixtures import clearance
from safety.inputs import ChangeOut, HaltOut, LeaseOut, Output
from safety.params import MS, Params
from safety.speed_law import rest_bound_ns, speed_limit
from safety.states import State
from sim.campaign.site import DRIVE_NS, Site

#: Between a decision and the drive's next tick, and the grain of the judge's clock.
SLACK_NS = DRIVE_NS + 2 * MS
STANDING = (State.INIT, State.READY, State.HOLD, State.STOP, State.FAULT, State.LOCAL)


@dataclass
class Judge:
    """travel_ratio, time_ratio: worst measured / bound. wrongs: what must never happen, in words (empty is good)."""

    params: Params
    travel_ratio: float = 0.0
    time_ratio: float = 0.0
    worst_travel: float = 0.0
    worst_bound: float = 0.0
    leases: int = 0
    foreign: int = 0
    attacks: int = 0
    attacks_accepted: int = 0
    late_ticks: int = 0
    truth: bool = False
    true_travel: float = 0.0
    wrongs: list[str] = field(default_factory=list)
    changes: list[tuple[int, str, str, str]] = field(default_factory=list)
    _t_k: int = 0
    _travel: float = 0.0
    _bound: float = 0.0
    _rest: int = 0
    _seq: tuple[int, int] = (0, 0)
    _moving: bool = False
    _limit: int = 0
    _standing_since: int = 0
    _tip: tuple[float, ...] | None = None

    def wrong(self, text: str) -> None:
        if text not in self.wrongs and len(self.wrongs) < 20:
            self.wrongs.append(text)

    def attacked(self, accepted: bool) -> None:
        """An attacker's frame came to the gate."""
        self.attacks += 1
        if accepted:
            self.attacks_accepted += 1
            self.wrong("a frame of an attacker was accepted")

    def decided(self, site: Site, outs: list[Output], foreign: bool) -> None:
        """Outputs of one step. `foreign`: its command was an attacker's, or one that must not be accepted."""
        p = self.params
        for o in outs:
            if isinstance(o, LeaseOut):
                lease = o.lease
                self.leases += 1
                if foreign:
                    self.foreign += 1
                    self.wrong("a foreign command moved the arm")
                if (lease.epoch, lease.seq) <= self._seq:
                    self.wrong("a lease out of order")
                self._seq = (lease.epoch, lease.seq)
                if site.s.state in STANDING and lease.mode != "rehearsal":
                    self.wrong(f"a lease in {site.s.state}")
                if p.lease_enabled and lease.expiry > lease.t_k + p.lease_ns:
                    self.wrong("a lease longer than L")
                if site.s.age > p.a_hold_ns:
                    self.wrong("a lease on a stale command")
                if lease.v_cap > speed_limit(site.s.age * 1e-9, p.m_free, p) + 1e-12:
                    self.wrong("a cap above the speed law")
                travel = self._measured(site)
                self._t_k, self._travel, self._bound = lease.t_k, travel, site.s.bound
                self._rest = lease.t_k + rest_bound_ns(site.s.peak_v, p)
                self._limit = 0
            elif isinstance(o, HaltOut):
                stop = rest_bound_ns(site.s.peak_v, p) - p.lease_ns
                self._limit = site.now + stop if not self._limit else self._limit
            elif isinstance(o, ChangeOut):
                self.changes.append((site.now, o.old, o.new, o.reason))
                self._standing_since = site.now if o.new in STANDING else 0

    def _measured(self, site: Site) -> float:
        if self.truth:
            return self.true_travel
        return site.last_report.travel if site.last_report is not None else 0.0

    def _follow(self, site: Site) -> None:
        """Arc length of the true tip, where encoders cannot be believed."""
        assert site.arm is not None
        tip = site.arm.tip()[:3]
        if self._tip is not None:
            self.true_travel += sqrt(sum((a - b) ** 2 for a, b in zip(tip, self._tip, strict=True)))
        self._tip = tuple(tip)

    def looked(self, site: Site) -> None:
        """After each drive tick."""
        r, state = site.last_report, site.state
        if r is None or state is None or not self._t_k:
            return
        if self.truth:
            self._follow(site)
        gone = self._measured(site) - self._travel
        if self._bound > 0.0:
            ratio = gone / self._bound
            if ratio > self.travel_ratio:
                self.travel_ratio, self.worst_travel, self.worst_bound = ratio, gone, self._bound
            if ratio > 1.0:
                self.wrong(f"travel {gone * 1e3:.2f} mm over the bound {self._bound * 1e3:.2f} mm")
        moving = state.moving
        if moving:
            late = site.now - self._rest
            if late > SLACK_NS:
                self.wrong("still moving after the time bound")
            if self._limit and site.now - self._limit > SLACK_NS:
                self.wrong("still moving after a halt")
        elif self._moving:
            whole = self._rest - self._t_k
            self.time_ratio = max(self.time_ratio, (site.now - self._t_k) / (whole + SLACK_NS))
        self._moving = moving
        p = self.params
        if site.s.scene is not None:
            clear, name = clearance(site.s.scene, r.pose, p.tool_length, p.tool_radius)
            if clear < -(p.e_track + 0.0005) and name != "corridor":
                self.wrong(f"inside the keep-out {name}")

    def entered(self, states: tuple[str, ...], after: int) -> int | None:
        """When one of the states was first entered at or after a time."""
        return next((t for t, _, new, _ in self.changes if t >= after and new in states), None)
