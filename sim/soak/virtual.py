"""The soak in virtual time: three hospitals in one process on one virtual clock, the surgeon's hand passing from one to the
next, for as many virtual hours as asked. Memory is this process's own; logs are real session logs on disk."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.log import LogError, SessionInfo, SessionLog, verify
from safety.log.reader import LogReader
from safety.log.replay import replay
from safety.log.steps import steps
from safety.params import MS, S
from sim.soak.evidence import Evidence, LogEnd
from sim.soak.hospital import WAIT_GRAIN, Hospital

SITES = ("tianjin", "karamay", "zhangjiakou")
#: Quartz clocks of the console against each hospital's, ppm.
PPM = (35.0, -20.0, 12.0)
#: A case: so long in the hand, then the team needs so long before the next hospital is taken (virtual).
CASE_NS, PAUSE_NS = 60 * S, 40 * S
#: The arm must stand within so long after the deadman was let go.
REST_NS = 10 * S
SAMPLE_NS = 30 * S
#: The three logs' opening UTC; they agree, for the sites' clocks are the same virtual one.
UTC = 1_790_000_000_000_000_000
Say = Callable[[str], None]


class VirtualSoak:
    """`run` -> Evidence. folder: for the logs, must be empty of them."""

    def __init__(self, trace: str, hours: float, folder: Path, say: Say, seed: int = 1, check_logs: bool = True) -> None:
        self.end_ns = int(hours * 3600 * S)
        self.say, self.check_logs = say, check_logs
        self.sites = [
            # a third of an hour apart in the trace, which repeats
            Hospital(name, trace, seed + i, i * 1200 * S, ppm) for i, (name, ppm) in enumerate(zip(SITES, PPM, strict=True))
        ]
        begin = max(h.now for h in self.sites)
        for h in self.sites:
            while h.now < begin:
                h.wait()
        self.begin = begin
        self.paths: dict[str, Path] = {}
        session = os.urandom(16)
        folder.mkdir(parents=True, exist_ok=True)
        for h in self.sites:
            path = self.paths[h.name] = folder / f"{session.hex()}-{h.name}.mcap"
            details = {"simulated": True, "virtual_time": True, "service": "soak"}
            info = SessionInfo(session=session, site=h.name, case_id="SOAK", details=details)
            h.record(SessionLog(path, Ed25519PrivateKey.generate(), info, mono=h.now, utc=UTC))
        self.e = Evidence("virtual time", 0.0, self.end_ns / S)
        self._process = psutil.Process()
        self._next_sample = 0
        self._wall = time.monotonic()
        self._waited = ""

    @property
    def t(self) -> float:
        """Virtual seconds since the start."""
        return (self.sites[0].now - self.begin) / S

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> Evidence:
        """All hours; ends early where `interrupted` says so (the judge then says how far it came)."""
        number = 0
        try:
            while self.t * S < self.end_ns and not interrupted():
                self._case(self.sites[number % len(self.sites)], number)
                number += 1
        finally:
            self._finish()
        return self.e

    def _case(self, h: Hospital, number: int) -> None:
        before = self.sites[(number - 1) % len(self.sites)].name if number else ""

        def took(ms: float) -> None:
            self.e.handovers.append({"t": round(self.t, 1), "from": before, "to": h.name, "first_command_ms": round(ms, 1)})

        h.take(took)
        travel0 = h.site.last_report.travel if h.site.last_report else 0.0
        self._pass(CASE_NS, h)
        h.let_go()
        waited = 0
        while not h.still and waited < REST_NS:
            self._pass(20 * MS, h)
            waited += 20 * MS
        if not h.still:
            self.e.wrongs.append(f"{h.name}: the arm did not stand {REST_NS // S} s after the deadman was let go")
        h.give_back()
        moved = (h.site.last_report.travel if h.site.last_report else 0.0) - travel0
        self.e.cases += moved > 0.005
        self._pass(PAUSE_NS, None)

    def _pass(self, ns: int, hand: Hospital | None) -> None:
        """All hospitals live for `ns` (a multiple of 10 ms), the one in hand at its full grain."""
        end = self.sites[0].now + ns
        while self.sites[0].now < end:
            for h in self.sites:
                if h is hand or not h.parked:
                    for _ in range(WAIT_GRAIN // (2 * MS)):
                        h.advance()
                else:
                    h.wait()
            if self.sites[0].now - self.begin >= self._next_sample:
                self._next_sample += SAMPLE_NS
                self._sample()

    def _sample(self) -> None:
        t, e = self.t, self.e
        e.memory_mb.setdefault("all three hospitals and the console, one process", []).append((t, self._process.memory_info().rss / 1e6))
        e.cpu_s.setdefault("all", []).append((t, sum(self._process.cpu_times()[:2])))
        total = 0
        for h in self.sites:
            near = h.clock.at(h.now)
            estimate = min((c for c in (p.clock(near) for p in h.near.health) if c), key=lambda c: c.error_ns, default=None)
            if estimate is not None:
                error = estimate.offset_ns - (h.now - near)
                e.clocks.setdefault(h.name, []).append((t, error / 1e3, estimate.error_ns / 1e3))
            assert h.log is not None
            total += h.log.size_bytes
            newest = h.log.newest
            e.checkpoint_age_s.setdefault(h.name, []).append((t, (h.now - newest.mono) / S if newest else math.inf))
            e.pictures.setdefault(h.name, []).append((t, float(h.camera.pictures)))
            e.voice.setdefault(h.name, []).append((t, float(h.camera.voice)))
            ages = sorted(h.ages_ms())
            if ages:
                e.loop_age_ms.setdefault(h.name, []).append((t, ages[int(0.99 * (len(ages) - 1))]))
        e.log_bytes.setdefault("all", []).append((t, float(total)))
        speed = t / max(time.monotonic() - self._wall, 1e-9)
        memory = self._process.memory_info().rss / 1e6
        self.say(f"{t / 3600:6.2f} h virtual of {self.end_ns / S / 3600:g}, {speed:5.1f} x real time, {memory:.0f} MB, "
                 f"{e.cases} cases, {sum(h.site.s.holds for h in self.sites)} holds, {total / 1e6:.0f} MB of logs")  # fmt: skip

    def _finish(self) -> None:
        e = self.e
        e.lasted_s = self.t
        e.holds = sum(h.site.s.holds for h in self.sites)
        for h in self.sites:
            e.wrongs += [f"{h.name}: {w}" for w in h.judge.wrongs]
            e.deadlines[f"{h.name}/governor"] = h.governor.to_json()
            e.deadlines[f"{h.name}/arm"] = h.arm_loop.to_json()
            rungs = [round(ns / S) for ns in h.camera.rungs_ns]
            e.notes.append(f"{h.name}: {h.stalls} stalls of the governor made, {h.site.s.pauses} pauses, {h.site.s.holds} holds, "
                           f"seconds on each rung of the pictures (off, thumbnail, low, medium, full): {rungs}")  # fmt: skip
            assert h.log is not None
            try:
                h.log.close(h.now, "end of the soak")
            except LogError as error:
                e.wrongs.append(str(error))
        for h in self.sites:
            e.logs[h.name] = end_of(self.paths[h.name], replayed=self.check_logs)
            self.say(f"log of {h.name}: {e.logs[h.name]}")


def end_of(path: Path, *, replayed: bool) -> LogEnd:
    """Verify a log, count holes in the governor's numbering and, if asked, replay every decision."""
    report = verify([path]).files[0]
    out = LogEnd(report.end, report.records, report.checkpoints, report.gaps, report.dropped)
    with LogReader(path) as reader:
        if replayed:
            found = replay(steps(reader))
            out.replayed, out.equal, out.missing_steps = found.decisions, found.equal, found.skipped
    return out
