"""Stands beside a case that people treat in the web console, and judges it as a demo is judged: by the physics, afterwards.

It reads what the console knows of each hospital (never more) to learn when a guide was verified and a screw placed, and
looks behind the scenes of that room meanwhile. Nobody else sees these looks; nothing of them comes back into the case.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.demo.judge import Truth, judge_screw
from sim.demo.outcome import Outcome, SiteRow
from sim.demo.prepare import Demo
from sim.demo.watch import RoomWatch
from sim.world_client import WorldClient
from teleop.link.estimators import p50_p99

#: Steps of a screw in which the guide is near its line, so that looking is worth the trouble.
WORTH_A_LOOK = frozenset({"advance", "verified", "confirmed", "placed"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the console says of a hospital now. mine: this console holds control; holder: who does, as the hospital says;
    screw, step: the one in work; rtt_ms: round trip of the best path now, None without one; ref_T_ct: the registration,
    16 numbers, or None."""

    site: str
    mine: bool
    holder: str
    screw: str
    step: str
    placed: tuple[str, ...]
    rtt_ms: float | None
    ref_T_ct: Sequence[float] | None
    holds: int = 0


@dataclass(slots=True)
class _Room:
    watch: RoomWatch
    step: str = ""
    started: dict[str, float] = field(default_factory=dict)
    verified: dict[str, int] = field(default_factory=dict)
    judged: dict[str, tuple[Truth, Sequence[float], float]] = field(default_factory=dict)
    rtts: deque[float] = field(default_factory=lambda: deque(maxlen=20_000))
    mine: bool = False
    holds: int = 0


class Bystander:
    """`step` some times a second while the case goes on, `conclude` when the hospitals have ended."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.rooms = {c.site: _Room(RoomWatch(c.site, WorldClient(c.world_socket, timeout_s=1.0))) for c in demo.configs}
        self.handovers: list[dict[str, Any]] = []
        self.blind: list[str] = []
        self._released: tuple[str, float] | None = None

    def step(self, seen: Sequence[Seen]) -> None:
        """Take note; look where a guide is near its line. May wait for a room's answer."""
        for s in seen:
            room = self.rooms.get(s.site)
            if room is None:
                continue
            now = time.monotonic()
            self._control(s, seen, room, now)
            if s.mine and s.rtt_ms is not None:
                room.rtts.append(s.rtt_ms)
            room.holds = max(room.holds, s.holds)
            if s.screw and s.step != "selected":
                room.started.setdefault(s.screw, now)
            if s.screw and s.step in WORTH_A_LOOK:
                room.watch.look()
                stamp = room.watch.looks[-1][0].stamp if room.watch.looks else 0
                if s.step == "verified":
                    room.verified.setdefault(s.screw, stamp)
                elif s.step in ("selected", "approach", "stand_off", "advance"):
                    room.verified.pop(s.screw, None)  # it was moved again
                if s.step == "placed" and s.screw not in room.judged:
                    self._judge(s, room, stamp, now)

    def _control(self, s: Seen, seen: Sequence[Seen], room: _Room, now: float) -> None:
        if room.mine and not s.mine and s.placed:
            self._released = (s.site, now)
        if s.mine and not room.mine and self._released is not None and self._released[0] != s.site:
            before, at = self._released
            left = next((o for o in seen if o.site == before), None)
            clean = left is not None and not left.holder
            self.handovers.append({
                "from": before, "to": s.site, "ms": (now - at) * 1e3, "clean": clean,
                "why": "" if clean else f"{before} still has a holder",
            })  # fmt: skip
            self._released = None
        room.mine = s.mine

    def _judge(self, s: Seen, room: _Room, stamp: int, now: float) -> None:
        since = room.verified.get(s.screw)
        truth = room.watch.between(since, stamp) if since is not None else None
        if truth is None or s.ref_T_ct is None:
            self.blind.append(f"{s.site} {s.screw}: the judge saw nothing between verification and placing: {room.watch.blind}")
            return
        room.judged[s.screw] = (truth, s.ref_T_ct, now - room.started.get(s.screw, now))

    def conclude(self, plans: Mapping[str, Mapping[str, Mapping[str, Any]]], loop_ages_ms: Mapping[str, Sequence[float]]) -> Outcome:
        """The outcome. plans: site -> screw id -> {level, side, grade, diameter_mm, entry_lps_mm, tip_lps_mm} of the plans
        that were sent; loop ages of each site, ms. Hospitals that were not visited are left out."""
        from safety.log.verify import verify

        out = Outcome(handovers=self.handovers, problems=list(self.blind))
        out.expected_screws = sum(len(p) for p in plans.values())
        for config, profile in zip(self.demo.configs, self.demo.profiles, strict=True):
            room, plan = self.rooms[config.site], plans.get(config.site)
            room.watch.client.close()
            if plan is None:
                continue
            for screw, (truth, ref_T_ct, seconds) in room.judged.items():
                p = plan.get(screw)
                if p is None:
                    out.problems.append(f"{config.site} {screw}: was placed and is not in the plan that was sent")
                    continue
                out.screws.append(judge_screw(config.site, config.seed, p, truth, ref_T_ct, seconds))
            log: Path | None = self.demo.log_of(config.site)
            if log is None:
                out.problems.append(f"{config.site}: no session log was written")
            out.sites.append(SiteRow(
                config.site, profile, p50_p99(room.rtts), p50_p99(loop_ages_ms.get(config.site, ())), room.holds,
                str(log) if log else "", log is not None and verify([log]).ok,
            ))  # fmt: skip
        return out
