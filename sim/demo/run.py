"""Runs a demo from empty folder to verdict: lay out, start, watch, judge, end, verify the logs, say what came of it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sim.demo.fault import FaultPlan, Striker
from sim.demo.judge import Truth, judge_screw
from sim.demo.outcome import FaultRow, Outcome, SiteRow
from sim.demo.prepare import OWN_PROCESSES, Demo, prepare
from sim.demo.processes import end, processes
from sim.demo.travel import travel_after
from sim.demo.watch import EventLines, RoomWatch
from sim.world_client import WorldClient
from teleop.launch import shm
from teleop.launch.runner import Ended, Line, Runner
from teleop.link.estimators import p50_p99

#: A demo that takes longer than this per site is ended (s).
SITE_LIMIT_S = 300.0
#: After a process was killed nothing is restarted: the demo watches the arm come to rest for so long, then ends (s).
AFTER_KILL_S = 6.0
#: The judge looks this often; with a fault armed, ten times as often (s).
LOOK_S = 0.1

Say = Callable[[str], None]


@dataclass
class Options:
    """What the command line asks for."""

    out: Path
    sites: int = 3
    screws_per_site: int = 1
    seed: int = 1
    profile: str | None = None
    fault: FaultPlan | None = None
    correction: bool = True
    driver: str = "pybullet"
    arm_model: str = "iiwa7"
    own: int = OWN_PROCESSES
    verbose: bool = False


@dataclass
class _Watched:
    """What the run collects for the outcome."""

    registrations: dict[str, Any] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: dict[tuple[str, str], int] = field(default_factory=dict)
    verified: dict[tuple[str, str], int] = field(default_factory=dict)
    confirmed: dict[tuple[str, str], int] = field(default_factory=dict)
    judged: dict[tuple[str, str], tuple[Truth, float]] = field(default_factory=dict)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    usage: dict[str, tuple[float, float]] = field(default_factory=dict)
    disturbed: dict[str, str] = field(default_factory=dict)
    done: bool = False


class DemoRun:
    """One run. `say` gets one line of progress at a time."""

    def __init__(self, options: Options, say: Say) -> None:
        self.options = options
        self.say = say
        self.outcome = Outcome()
        self.watched = _Watched()
        self._interrupted = False

    def interrupt(self) -> None:
        """Ctrl-C: end cleanly."""
        self._interrupted = True

    def run(self) -> Outcome:
        started = time.monotonic()
        self.say(f"laying out {self.options.sites} simulated hospitals in {self.options.out} ...")
        demo = prepare(
            self.options.out, self.options.sites, seed=self.options.seed, screws_per_site=self.options.screws_per_site,
            correction=self.options.correction, profile=self.options.profile, driver=self.options.driver,
            arm_model=self.options.arm_model, own=self.options.own,
        )
        self.say(f"patients, keys and configurations are there ({time.monotonic() - started:.0f} s)")
        try:
            self._treat(demo)
        finally:
            shutil.rmtree(demo.run, ignore_errors=True)
            shm.clean()
        self._conclude(demo)
        return self.outcome

    # --- while it runs ---------------------------------------------------------------------------------------------

    def _treat(self, demo: Demo) -> None:
        runner = Runner(processes(demo))
        self._log = (demo.out / "processes.log").open("w", buffering=1)
        self._begin = time.monotonic()
        runner.start()
        rooms = {c.site: RoomWatch(c.site, WorldClient(c.world_socket, timeout_s=1.0)) for c in demo.configs}
        striker = self._striker(demo, runner)
        lines = EventLines(demo.events_file)
        deadline = time.monotonic() + SITE_LIMIT_S * (1 + self.options.sites)
        next_look = 0.0
        in_hand = demo.configs[0].site
        try:
            while not self.watched.done and not self._interrupted:
                for event in runner.poll(0.02 if not striker or striker.struck_ns else 0.005):
                    self._process_event(event, striker)
                for step in lines.read():
                    in_hand = self._console_event(step, rooms) or in_hand
                now = time.monotonic()
                if striker is not None and striker.killed and now - striker.struck_ns * 1e-9 > AFTER_KILL_S:
                    break
                if now >= next_look:
                    armed = striker is not None and not striker.struck_ns
                    next_look = now + (LOOK_S / 10 if armed else LOOK_S)
                    self._look(rooms[in_hand], striker)
                if now > deadline:
                    self.outcome.problems.append(f"not finished after {SITE_LIMIT_S * (1 + self.options.sites):.0f} s")
                    break
            self._measure_usage(runner, demo)
        finally:
            end(runner, self._log)
            for room in rooms.values():
                room.client.close()
        if self._interrupted:
            self.outcome.problems.append("interrupted")
        self._rooms = rooms
        self._striker_end = striker

    def _striker(self, demo: Demo, runner: Runner) -> Striker | None:
        if self.options.fault is None:
            return None
        first = demo.configs[0]
        relay = WorldClient(first.run_dir / "relay.sock", timeout_s=1.0)

        def pid(name: str) -> int:
            return runner.pid("console" if name == "console" else f"{first.site}/{name}")

        def to_relay(command: dict[str, object]) -> None:
            relay.ask(str(command["t"]), **{k: v for k, v in command.items() if k != "t"})

        return Striker(self.options.fault, to_relay, pid)

    def _look(self, room: RoomWatch, striker: Striker | None) -> None:
        answer = room.look()
        if answer is None or striker is None or striker.struck_ns:
            return
        if striker.look(time.monotonic_ns(), int(answer["lease_id"]), float(answer["tip_speed"])):
            self.say(f"fault {striker.plan.name} strikes {room.site} at {float(answer['tip_speed']) * 1e3:.1f} mm/s")

    def _process_event(self, event: Any, striker: Striker | None) -> None:
        if isinstance(event, Line):
            self._log.write(f"[{event.name}] {event.text}\n")
            if self.options.verbose:
                self.say(f"[{event.name}] {event.text}")
        elif isinstance(event, Ended):
            self._log.write(f"*** {event.name} {event.why}\n")
            meant = striker is not None and striker.killed and event.signal == "SIGKILL"
            if event.name == "console" and not meant:
                self.watched.done = True
            if not event.expected and not (event.name == "console" and event.clean):
                self.say(f"{event.name} {event.why}")
                if not meant:
                    self.outcome.problems.append(f"{event.name} {event.why}; its last words are in processes.log")

    def _console_event(self, event: dict[str, Any], rooms: dict[str, RoomWatch]) -> str | None:
        """Take note of one step; returns the site in hand when it changes."""
        kind, site, w = event["event"], event["site"], self.watched
        key = (site, str(event.get("screw", "")))
        if kind == "registered":
            w.registrations[site] = event
        elif kind == "planned":
            w.plans[site] = {s["id"]: s for s in event["screws"]}
        elif kind == "approach":
            w.started[key] = event["t"]
        elif kind == "verified":
            w.verified[key] = event["t"]
        elif kind == "not_verified":
            w.verified[key] = event["t"]
            self._judge(rooms[site], key, event["t"] - 1_000_000_000, event["t"])
        elif kind == "confirmed":
            w.confirmed[key] = event["t"]
        elif kind == "placed":
            self._judge(rooms[site], key, w.verified[key], event["t"])
        elif kind == "disturbed":
            w.disturbed[site] = event["state"]
        elif kind == "handover":
            self.outcome.handovers.append(
                {"from": event["frm"], "to": event["to"], "ms": event["ms"], "clean": event["clean"], "why": event["why"]}
            )
        elif kind == "link":
            w.links[site] = event
            w.holds[site] = int(event.get("counts", {}).get("holds", 0))
        elif kind == "failed":
            self.outcome.problems.append(f"the surgeon's script ended: {event['why']}")
        self._progress(event)
        return site if kind == "control" else None

    def _progress(self, event: dict[str, Any]) -> None:
        hidden = {"t", "event", "site", "stats", "rtt_ms", "loop_age_ms", "counts", "ref_T_ct", "per_fiducial"}
        detail = ", ".join(f"{k} {_short(v)}" for k, v in event.items() if k not in hidden)
        self.say(f"{time.monotonic() - self._begin:6.1f} s  {event['site']:<12} {event['event']:<12} {detail}")

    def _judge(self, room: RoomWatch, key: tuple[str, str], start_ns: int, end_ns: int) -> None:
        room.look()
        site, screw = key
        truth = room.between(start_ns, end_ns)
        if truth is None:
            self.outcome.problems.append(f"{site} {screw}: the judge saw nothing between verification and placing: {room.blind}")
            return
        # Grading needs seconds of a core: afterwards, when no motion can suffer from it.
        self.watched.judged[key] = (truth, (end_ns - self.watched.started[key]) * 1e-9)

    def _measure_usage(self, runner: Runner, demo: Demo) -> None:
        """Memory (proportional share) and CPU since start of each site's processes; a ward's, in equal parts."""
        elapsed = max(time.monotonic() - self._begin, 1.0)
        houses = [(c.site, (c,)) for c in demo.configs[: demo.own]] + list(demo.wards.items())
        for house, configs in houses:
            memory = cpu = 0.0
            for name in runner.alive():
                if name.startswith(house + "/"):
                    try:
                        process = psutil.Process(runner.pid(name))
                        memory += process.memory_full_info().pss / 1e6
                        cpu += sum(process.cpu_times()[:2])
                    except psutil.Error:
                        continue
            for config in configs:
                self.watched.usage[config.site] = (memory / len(configs), 100.0 * cpu / elapsed / len(configs))

    # --- afterwards ------------------------------------------------------------------------------------------------

    def _conclude(self, demo: Demo) -> None:
        from safety.log.verify import verify

        seeds = {c.site: c.seed for c in demo.configs}
        for (site, screw), (truth, seconds) in self.watched.judged.items():
            planned, ref_T_ct = self.watched.plans[site][screw], self.watched.registrations[site]["ref_T_ct"]
            self.outcome.screws.append(judge_screw(site, seeds[site], planned, truth, ref_T_ct, seconds))
        self.outcome.expected_screws = sum(len(p) for p in self.watched.plans.values()) or demo.screws_per_site * len(demo.configs)
        for config, profile in zip(demo.configs, demo.profiles, strict=True):
            log = demo.log_of(config.site)
            link = self.watched.links.get(config.site, {})
            none = p50_p99(())
            memory, cpu = self.watched.usage.get(config.site, (0.0, 0.0))
            verifies = False
            if log is None:
                self.outcome.problems.append(f"{config.site}: no session log was written")
            else:
                report = verify([log])
                killed = self.options.fault is not None and self.options.fault.name == "kill-recorder"
                verifies = report.ok or (killed and report.end == "unclean")
            self.outcome.sites.append(SiteRow(
                config.site, profile, link.get("rtt_ms", none), link.get("loop_age_ms", none),
                self.watched.holds.get(config.site, 0), str(log) if log else "", verifies, memory, cpu,
            ))
        logs = sorted((demo.out / "logs").glob("*.mcap"))
        if len(logs) > 1:  # the console's among them: does each hold the checkpoints of the others that it should?
            self.outcome.problems += [f"logs contradict each other: {line}" for line in verify(logs).cross]
        if self.options.fault is not None:
            self.outcome.fault = self._fault_row(demo)

    def _fault_row(self, demo: Demo) -> FaultRow:
        assert self.options.fault is not None
        name, at_s, striker = self.options.fault.name, self.options.fault.at_s, self._striker_end
        log = demo.log_of(demo.configs[0].site)
        if striker is None or not striker.struck_ns or log is None:
            return FaultRow(name, at_s, float("nan"), float("nan"), "", struck=False)
        try:
            travel = travel_after(log, striker.struck_ns)
        except ValueError as error:  # a log that ended with its recorder
            return FaultRow(name, at_s, float("nan"), float("nan"), "", unknown=str(error))
        return FaultRow(name, at_s, travel.travel_m * 1e3, travel.bound_m * 1e3, travel.final_state)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(_short(v) for v in value)
    if isinstance(value, dict):
        return str(value.get("id", value)) if "id" in value else "{" + ", ".join(f"{k} {_short(v)}" for k, v in value.items()) + "}"
    return str(value)


def write_json(outcome: Outcome, path: Path) -> None:
    """Write the outcome as JSON ("-": standard output)."""
    text = json.dumps(outcome.to_json(), indent=1)
    if str(path) == "-":
        print(text)
    else:
        path.write_text(text + "\n")


