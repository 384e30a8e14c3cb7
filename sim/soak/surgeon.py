"""The surgeon's process of a soak in real time: a session with each hospital, the scripted surgeon going round for as long as asked,
pictures and voice beside it (`watchers`). Writes what it sees as JSON lines.

    python -m sim.soak.surgeon --list LIST.json --events EVENTS.jsonl --seconds S
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safety.log.checkpoint import CheckpointError, parse
from sim.soak.watchers import Watchers
from sim.surgeon import (
    Treatment,
    follow,
    onto_line,
    prepare,
    recover,
    rehearse_both,
    take_control,
    test_line,
)
from teleop.case.checkpoints import Carrier
from teleop.case.console_log import log_of_list
from teleop.case.console_session import ConsoleSession, Pending
from teleop.case.script import OrderRefused, Script, ScriptTimeout, Waiting, pause, until
from teleop.case.site_list import sessions_of

PUMP_MS = 5.0
WAITING_NS = 10_000_000
LOOK_NS = 5_000_000_000
#: The line is qualified again, and stop and take-over are rehearsed again, before the 30 minutes of the old ones are over (s).
REQUALIFY_S = 1500.0
Report = Callable[..., None]


def drill(treatment: Treatment, screw: str, report: Report) -> Waiting[None]:
    """The guide onto one screw's line and back: everything of a case but the drilling, so that it can be done again."""
    session = treatment.session
    yield from session.ask("case.select", screw=screw)
    approach = yield from session.ask("case.path", kind="approach", timeout_s=60.0)
    yield from follow(treatment, approach, report)
    yield from session.ask("case.breath_hold", on=True)
    yield from onto_line(treatment, "stand-off", report)
    advance = yield from session.ask("case.path", kind="advance", timeout_s=60.0)
    yield from follow(treatment, advance, report)
    yield from onto_line(treatment, "entry", report)
    verified = yield from session.ask("case.verify", timeout_s=30.0)
    report("verified", session.name, screw=screw, lateral_mm=verified.get("lateral_mm"))
    yield from session.ask("case.breath_hold", on=False)
    retreat = yield from session.ask("case.path", kind="retreat", timeout_s=60.0)
    yield from follow(treatment, retreat, report)
    yield from session.ask("case.retreat")


class Round:
    """All hospitals in turn, again and again."""

    def __init__(self, treatments: list[Treatment], signer: Any, report: Report, end: Callable[[], bool]) -> None:
        self.treatments, self.signer, self.report, self.end = treatments, signer, report, end
        self.in_hand = treatments[0].session.name
        self.prepared = False
        self._qualified: dict[str, float] = {}
        self._released_ns = 0

    def run(self) -> Waiting[None]:
        for t in self.treatments:
            yield from until(lambda t=t: t.session.up, 90.0, f"the link to {t.session.name} is up")  # type: ignore[misc]
        for t in self.treatments:
            yield from prepare(t, self.signer, self.report)
        self.prepared = True
        self.report("soaking", "")
        number = 0
        while not self.end():
            treatment = self.treatments[number % len(self.treatments)]
            try:
                yield from self._visit(treatment, number // len(self.treatments))
            except (OrderRefused, ScriptTimeout) as error:
                self.report("case_failed", treatment.session.name, why=str(error))
                yield from self._leave(treatment)
            number += 1

    def _visit(self, t: Treatment, number: int) -> Waiting[None]:
        name = self.in_hand = t.session.name
        if time.monotonic() - self._qualified.get(name, -1e9) > REQUALIFY_S:
            yield from test_line(t, self.report)
            yield from rehearse_both(t, self.report)
            self._qualified[name] = time.monotonic()
            self._released_ns = 0  # a line test and two rehearsals lie between: no hand-over to be timed
        yield from take_control(t, self.report)
        if self._released_ns:
            self.report("handover", name, ms=(time.monotonic_ns() - self._released_ns) * 1e-6)
        assert t.plan is not None
        yield from drill(t, t.plan.screw_ids[number % len(t.plan.screw_ids)], self.report)
        self._released_ns = time.monotonic_ns()
        yield from t.session.ask("release")
        self.report("treated", name)

    def _leave(self, t: Treatment) -> Waiting[None]:
        """After something was refused: calm, and give the arm back."""
        try:
            yield from recover(t, self.report)
            if t.session.holding:
                yield from t.session.ask("case.breath_hold", on=False)
                yield from t.session.ask("case.retreat")
                yield from t.session.ask("release")
        except (OrderRefused, ScriptTimeout) as error:
            self.report("waiting", t.session.name, why=str(error))
        self._released_ns = 0
        yield from pause(2.0)


class Eyes:
    """What is written down every five seconds."""

    def __init__(self, sessions: list[ConsoleSession], watchers: Watchers, report: Report) -> None:
        self.sessions, self.watchers, self.report = sessions, watchers, report
        self._due = 0

    def look(self, now: int) -> None:
        if now < self._due:
            return
        self._due = now + LOOK_NS
        for s in self.sessions:
            clock = s.link.clock()  # type: ignore[attr-defined]
            ages = sorted(s.loop_ages_ms)
            s.loop_ages_ms.clear()
            self.report(
                "look", s.name, clock=None if clock is None else [clock.offset_ns, clock.error_ns], state=s.state,
                checkpoint_age_s=checkpoint_age_s(s.checkpoint, now), pictures=self.watchers.pictures[s.name],
                loop_age_p99_ms=ages[int(0.99 * (len(ages) - 1))] if ages else None, counts=s.status.get("counts", {}),
            )  # fmt: skip
        w = self.watchers
        self.report("people", "", heard=dict(w.heard), shown=dict(w.shown), problems=dict(w.problems))


def checkpoint_age_s(note: str, now: int) -> float | None:
    """How old the newest checkpoint of a hospital's log is here; all clocks are this machine's."""
    try:
        return (now - parse(note)[0].mono) / 1e9 if note else None
    except CheckpointError:
        return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.soak.surgeon", description=__doc__.splitlines()[0])
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="after everything was prepared")
    args = parser.parse_args(argv)
    plan = json.loads(args.list.read_text())
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    events = args.events.open("a", buffering=1)

    def report(event: str, site: str, **detail: Any) -> None:
        line = {"t": time.monotonic_ns(), "event": event, "site": site, **detail}
        events.write(json.dumps(line, default=lambda v: v.hex() if isinstance(v, bytes) else str(v)) + "\n")

    sessions, signer = sessions_of(plan)
    log = log_of_list(plan, simulated=True)
    carrier = Carrier(sessions, log)
    watchers = Watchers([s.name for s in sessions])
    by_name = {s.name: s for s in sessions}
    folder = Path(plan["folder"])
    begun = [0]

    def over() -> bool:
        return stop or bool(begun[0] and time.monotonic_ns() - begun[0] > args.seconds * 1e9)

    treatments = [Treatment(s, folder / s.name, int(plan["screws_per_site"]), bool(plan["correction"])) for s in sessions]
    rounds = Round(treatments, signer, report, over)
    script = Script(rounds.run())
    eyes = Eyes(sessions, watchers, report)
    offers: list[tuple[Pending, Any]] = []
    next_pump = 0
    try:
        while not stop and not script.done:
            now = time.monotonic_ns()
            in_hand = by_name[rounds.in_hand]
            others_due = now >= next_pump
            if others_due:
                next_pump = now + WAITING_NS
            for s in sessions:
                if others_due or s is in_hand:
                    s.pump(now)
            script.resume(now)
            carrier.step(now)
            if log is not None:
                log.step(now, {s.name: s.link for s in sessions})
            if rounds.prepared:
                if not begun[0]:
                    begun[0] = now
                    watchers.start()
                watchers.watch(rounds.in_hand)
                while not watchers.asked.empty():
                    site, offer, answer = watchers.asked.get_nowait()
                    offers.append((by_name[site].send("site.video", 10.0, offer=offer), answer))
                for pending, answer in [o for o in offers if o[0].reply is not None]:
                    answer.set_result(pending.reply)
                offers = [o for o in offers if o[0].reply is None]
                eyes.look(now)
            in_hand.link.wait(PUMP_MS)
        if script.error is not None:
            report("failed", "", why=f"{type(script.error).__name__}: {script.error}")
            print(f"error: {script.error}", file=sys.stderr, flush=True)
            return 1
        report("done", "")
        return 0
    finally:
        if begun[0]:
            watchers.close()
        if log is not None:
            log.close("end of the soak")
        for s in sessions:
            s.link.close()


if __name__ == "__main__":
    sys.exit(main())
