"""The soak in real time: three simulated hospitals with processes of their own and their cameras, emulated lines over the trace,
and the surgeon's process going round. Sampled from outside; the logs are read when everything has ended."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from safety.inputs import ReportIn, TickIn, decode_input
from safety.log import NotALog
from safety.log.reader import LogReader
from safety.log.steps import steps
from sim.demo.camera_processes import camera_processes
from sim.demo.prepare import Demo, prepare
from sim.demo.processes import HERE, end, processes
from sim.demo.watch import EventLines
from sim.soak.deadlines import of_arm, of_governor
from sim.soak.evidence import Evidence
from sim.soak.virtual import end_of
from teleop.launch import shm
from teleop.launch.plan import Process
from teleop.launch.runner import Ended, Line, Runner

SITES = 3
#: Two, in turn: the guide goes from one line to the other.
SCREWS = 2
SAMPLE_S = 5.0
#: Everything must be prepared (images fetched, planned, registered) after so long (s).
PREPARED_S = 600.0
#: The surgeon finishes the case in hand after the time is up; longer than this and it is ended (s).
FINISH_S = 240.0
Say = Callable[[str], None]


class RealSoak:
    """`run` -> Evidence. trace: a profile's name or trace:FILE."""

    def __init__(
        self, trace: str, hours: float, folder: Path, say: Say, seed: int = 1, check_logs: bool = True, driver: str = "kinematic"
    ) -> None:
        self.trace, self.seconds, self.folder, self.say = trace, hours * 3600.0, folder, say
        self.seed, self.check_logs, self.driver = seed, check_logs, driver
        self.e = Evidence("real time", 0.0, self.seconds)
        self._begun = self._started = 0.0
        self._ended = False
        self._next = 0.0
        self._seen: dict[str, psutil.Process] = {}

    @property
    def t(self) -> float:
        """Seconds since the soak proper began."""
        return time.monotonic() - self._begun if self._begun else 0.0

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> Evidence:
        self.say("laying out three simulated hospitals ...")
        demo = prepare(
            self.folder, SITES, seed=self.seed, screws_per_site=SCREWS, correction=True, profile=self.trace,
            driver=self.driver, own=SITES,
        )  # fmt: skip
        try:
            self._soak(demo, interrupted)
        finally:
            shutil.rmtree(demo.run, ignore_errors=True)
            shm.clean()
        self._read_logs(demo)
        return self.e

    def _processes(self, demo: Demo) -> list[Process]:
        console = Process(
            "console", (sys.executable, "-m", "sim.soak.surgeon", "--list", str(demo.list_file), "--events",
                        str(demo.events_file), "--seconds", str(self.seconds)), {}, None, HERE,
        )  # fmt: skip
        return [*(p for p in processes(demo) if p.name != "console"), *camera_processes(demo), console]

    def _soak(self, demo: Demo, interrupted: Callable[[], bool]) -> None:
        runner = Runner(self._processes(demo))
        lines = EventLines(demo.events_file)
        log = (self.folder / "processes.log").open("w", buffering=1)
        self._started = started = time.monotonic()
        runner.start()
        try:
            while not self._ended and not interrupted():
                for event in runner.poll(0.1):
                    if isinstance(event, Line):
                        log.write(f"[{event.name}] {event.text}\n")
                    elif isinstance(event, Ended):
                        log.write(f"*** {event.name} {event.why}\n")
                        self._ended = self._ended or event.name == "console"
                        if not (event.name == "console" and event.clean):
                            self.e.wrongs.append(f"{event.name} {event.why} after {self.t:.0f} s")
                for seen in lines.read():
                    self._take(seen)
                if self._begun and time.monotonic() >= self._next:
                    self._next = time.monotonic() + SAMPLE_S
                    self._sample(demo, runner)
                if not self._begun and time.monotonic() - started > PREPARED_S:
                    self.e.wrongs.append(f"not prepared after {PREPARED_S:g} s: see processes.log")
                    break
                if self.t > self.seconds + FINISH_S:
                    self.e.wrongs.append(f"the case in hand was not over {FINISH_S:g} s after the time was up")
                    break
            self.e.lasted_s = self.t
        finally:
            end(runner, log)
        for seen in lines.read():
            self._take(seen)

    # --- samples -----------------------------------------------------------------------------------------------------

    def _take(self, seen: dict[str, Any]) -> None:
        kind, site, e = seen["event"], seen["site"], self.e
        if kind == "soaking":
            self._begun = time.monotonic()
            self.say("prepared: the soak begins")
            return
        t = seen["t"] * 1e-9 - (self._begun or self._started)
        if kind == "look" and self._begun:
            if seen["clock"] is not None:  # one machine, one monotonic clock: the true offset is zero
                offset, error = seen["clock"]
                e.clocks.setdefault(site, []).append((t, offset / 1e3, error / 1e3))
            if seen["checkpoint_age_s"] is not None:
                e.checkpoint_age_s.setdefault(site, []).append((t, seen["checkpoint_age_s"]))
            if seen["loop_age_p99_ms"] is not None:
                e.loop_age_ms.setdefault(site, []).append((t, seen["loop_age_p99_ms"]))
            e.pictures.setdefault(site, []).append((t, float(seen["pictures"])))
        elif kind == "people":
            for name in ("surgeon", "mentor"):
                e.voice.setdefault(name, []).append((t, float(seen["heard"].get(name, 0))))
            self._problems = seen["problems"]
        elif kind == "treated":
            e.cases += 1
        elif kind == "handover":
            e.handovers.append({"t": round(t, 1), "to": site, "first_command_ms": round(seen["ms"], 1)})
        elif kind in ("case_failed", "failed", "disturbed"):
            e.notes.append(f"{t:.0f} s {site} {kind}: {seen.get('why', '')}"[:300])
        if kind not in ("look", "people"):
            self.say(f"{t:7.1f} s  {site:14} {kind} {str(seen.get('why', ''))[:120]}")

    def _sample(self, demo: Demo, runner: Runner) -> None:
        t, total = self.t, 0.0
        for name in runner.alive():
            try:
                process = self._seen.setdefault(name, psutil.Process(runner.pid(name)))
                memory = process.memory_full_info().pss / 1e6
                self.e.memory_mb.setdefault(name, []).append((t, memory))
                self.e.cpu_s.setdefault(name, []).append((t, sum(process.cpu_times()[:2])))
                total += memory
            except psutil.Error:
                continue
        size = sum(p.stat().st_size for p in (demo.out / "logs").glob("*.mcap"))
        self.e.log_bytes.setdefault("all", []).append((t, float(size)))
        if int(t / SAMPLE_S) % 6 == 0:
            self.say(f"{t:7.0f} s of {self.seconds:.0f}, {total:.0f} MB in {len(runner.alive())} processes, machine "
                     f"{psutil.cpu_percent():.0f} % busy, {self.e.cases} cases, {size / 1e6:.0f} MB of logs")  # fmt: skip

    # --- afterwards --------------------------------------------------------------------------------------------------

    def _read_logs(self, demo: Demo) -> None:
        for config in demo.configs:
            path = demo.log_of(config.site)
            if path is None:
                self.e.wrongs.append(f"{config.site}: no session log was written")
                continue
            self.say(f"reading {path.name} ...")
            try:
                self.e.logs[config.site] = end_of(path, replayed=self.check_logs)
                governor, arm = of_governor(), of_arm()
                with LogReader(path) as reader:
                    for step in steps(reader):
                        if step.kind == "tick":
                            i = decode_input(step.input)
                            assert isinstance(i, TickIn)
                            governor.woke(i.now, i.late_ns)
                        elif step.kind == "report":
                            r = decode_input(step.input)
                            assert isinstance(r, ReportIn)
                            arm.woke(r.report.stamp, r.report.late_ns, r.report.drive != "parked")
                self.e.deadlines[f"{config.site}/governor"] = governor.to_json()
                self.e.deadlines[f"{config.site}/arm"] = arm.to_json()
            except (NotALog, ValueError, OSError) as error:
                self.e.wrongs.append(f"{config.site}: {error}")
        problems = getattr(self, "_problems", {})
        self.e.notes += [f"{words} ({count} times)" for words, count in list(problems.items())[:5]]
