"""A scripted surgeon at the console: plans, then treats one hospital after the other, through the console's own session.

Simulation only: the script stands for the person. It sees what a console sees (state frames, answers of the desk), holds
the deadman like a person would, and after a pause or a hold releases, asks, and presses again as the rules demand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safety.states import Mode
from teleop.case.console_session import ConsoleSession, Pending
from teleop.case.planning_door import ApprovedPlan, approve, plan_case
from teleop.case.script import OrderRefused, ScriptTimeout, Turnstile, Waiting, pause, together, until
from teleop.master.command_maker import Intention, Phase

#: The script gives up a motion after so long (s): a person would have called the engineer.
MOTION_TIMEOUT_S = 120.0
#: A press that the governor has not taken up after so long is taken back (s).
PRESS_TAKEN_S = 3.0
#: Corrections at one place before the script calls the line unreachable (the field's robots do at most three).
MAX_CORRECTIONS = 5

#: A hospital that is not prepared after so long is given up (s): thirty of them share one link and two cores.
PREPARED_S = 1800.0
#: Hospitals prepared at once: planning keeps a core busy for seconds, images fill a line.
PREPARED_AT_ONCE = 3

#: The demo's line test (s): marked DEMO, invalid as a certificate.
LINE_TEST_S = 5.0
#: Chunks of an image on their way at once: 1.5 MB, fills a line of 300 ms at 40 Mbit/s.
FETCH_AHEAD = 8

Report = Callable[..., None]


@dataclass
class Treatment:
    """One hospital in the surgeon's list."""

    session: ConsoleSession
    folder: Path
    screws: int = 1
    correction: bool = True
    plan: ApprovedPlan | None = None
    line_tested: bool = False
    placed: list[str] = field(default_factory=list)


def knock(session: ConsoleSession) -> Waiting[dict[str, Any]]:
    """Ask the desk to describe its case; a hospital that is still starting is asked again for two minutes."""
    deadline = time.monotonic() + 120.0
    while True:
        try:
            described: dict[str, Any] = yield from session.ask("case.describe", timeout_s=30.0)
            return described
        except OrderRefused:
            if time.monotonic() > deadline:
                raise
        yield from pause(0.5)


def fetch_images(treatment: Treatment, report: Report) -> Waiting[dict[str, Path]]:
    """Fetch the site's series in chunks (resumable), check their hashes, return name -> file."""
    from teleop.case.case_file import sha256_of

    session = treatment.session
    described = yield from knock(session)
    files = {}
    for name, series in described["series"].items():
        path = treatment.folder / series["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.exists() and sha256_of(path) == series["sha256"]):
            yield from _fetch(session, name, path, series["bytes"])
            if sha256_of(path) != series["sha256"]:
                path.unlink()
                raise OrderRefused("case.series", {"reason": f"{name}: the SHA-256 of what arrived is wrong; fetch it again"})
        files[name] = path
    report("images", session.name, case_id=described["case_id"], bytes=sum(p.stat().st_size for p in files.values()))
    return files


def _fetch(session: ConsoleSession, name: str, path: Path, size: int) -> Waiting[None]:
    """Append what is missing of one file, FETCH_AHEAD chunks on the way at a time; resumes where an earlier try ended."""
    from teleop.case.case_file import MAX_CHUNK

    have = path.stat().st_size if path.exists() else 0
    asked = have
    waiting: list[Pending] = []
    with path.open("ab") as out:
        while have < size:
            while asked < size and len(waiting) < FETCH_AHEAD:
                waiting.append(session.send("case.series", 30.0, name=name, offset=asked, length=MAX_CHUNK))
                asked += MAX_CHUNK
            first = waiting.pop(0)
            part = yield from until(lambda p=first: p.reply, 31.0, f"{session.name} sends {name}")  # type: ignore[misc]
            if not part["ok"]:
                raise OrderRefused("case.series", part)
            out.write(part["data"])
            have += len(part["data"])


def prepare(treatment: Treatment, signer: Any, report: Report) -> Waiting[None]:
    """Images -> plan -> sign -> transfer -> register -> time-out: everything before control is asked for."""
    session = treatment.session
    files = yield from fetch_images(treatment, report)
    described = yield from session.ask("case.describe")
    plan = yield from plan_case(files, described["case_id"], treatment.screws)
    treatment.plan = approve(plan, signer, treatment.folder)
    report("planned", session.name, screws=treatment.plan.summaries, seconds=treatment.plan.seconds)
    yield from session.ask(
        "case.plan", plan=treatment.plan.data, signature=treatment.plan.signature, public_key=treatment.plan.public_key
    )
    registered = yield from session.ask("case.register", timeout_s=60.0)
    report("registered", session.name, **{k: v for k, v in registered.items() if k not in ("ok", "reason")})
    yield from session.ask(
        "case.read_back", timeout_s=90.0, case_id=described["case_id"], plan_hash=treatment.plan.digest,
        ct_sha256=described["ct_sha256"], screws=treatment.plan.screw_ids,
    )
    report("time_out", session.name)


def rehearse(treatment: Treatment, drill: str, report: Report) -> Waiting[None]:
    """One drill: move slowly in free air, then stop from here, or be taken over from there, in the middle of it."""
    session, plan = treatment.session, treatment.plan
    assert plan is not None
    yield from take_control(treatment, report)
    stored = yield from session.ask("case.rehearse", timeout_s=90.0, on=True)
    session.intention = Intention(
        mode=Mode.REHEARSAL, pressed=True, path_hash=bytes(stored["path_hash"]), s_goal=float(stored["length_m"]),
        horizon=None, plan_hash=plan.hash8, registration_epoch=int(session.status.get("registration_epoch", 0)),
    )
    yield from until(lambda: session.frame["arm"]["speed"] > 0.004, 20.0, f"{session.name} moves in the rehearsal")
    yield from pause(0.3)
    if drill == "stop":
        session.stop()
        yield from until(lambda: session.state == "STOP", 5.0, f"{session.name} stops")
        session.intention = replace(session.intention, pressed=False)
        yield from pause(0.5)
        yield from session.ask("case.rearm", timeout_s=90.0, why="end of the stop rehearsal")
    else:
        yield from session.ask("case.rehearse_take_over", timeout_s=30.0)
        session.intention = replace(session.intention, pressed=False)
    report("rehearsed", session.name, drill=drill)


def test_line(treatment: Treatment, report: Report) -> Waiting[None]:
    """The line test, of DEMO length: no certificate."""
    session = treatment.session
    session.link.run_test(int(LINE_TEST_S * 1e3), 100, 400, 1000)
    line = yield from session.ask("case.qualify", timeout_s=LINE_TEST_S + 20.0, seconds=LINE_TEST_S)
    report("qualified", session.name, demo=line["demo"], paths=line["paths"])


def rehearse_both(treatment: Treatment, report: Report) -> Waiting[None]:
    """The rehearsal: a stop from here and a take-over from there."""
    session = treatment.session
    for drill, words in (("stop", "the stop rehearsal"), ("take_over", "the take-over rehearsal")):
        for _ in range(3):
            yield from rehearse(treatment, drill, report)
            if not any(words in b for b in session.status.get("blockers", [])):
                break
        else:
            raise ScriptTimeout(f"{session.name}: {words} was not passed: {session.status.get('blockers')}")
    yield from session.ask("case.rehearse", timeout_s=10.0, on=False)


def take_control(treatment: Treatment, report: Report) -> Waiting[None]:
    """Ask the bedside for control and wait until the site says that it is ours."""
    session = treatment.session
    started = time.monotonic_ns()
    yield from session.ask("case.request_control", timeout_s=90.0)
    yield from until(lambda: session.holding, 10.0, f"{session.name} grants control")
    yield from until(lambda: session.status.get("last_seq", 0) > 0, 10.0, f"{session.name} accepts a first command")
    report("control", session.name, ms=(time.monotonic_ns() - started) * 1e-6)


def follow(treatment: Treatment, stored: dict[str, Any], report: Report) -> Waiting[None]:
    """Hold to run along a stored path to its end; after a pause or hold: release, ask if needed, press again."""
    session, plan = treatment.session, treatment.plan
    assert plan is not None
    path_hash, length = bytes(stored["path_hash"]), float(stored["length_m"])
    holding = Intention(
        mode=Mode(stored["kind"]), pressed=True, path_hash=path_hash, s_goal=length, horizon=None,
        plan_hash=plan.hash8, registration_epoch=int(session.status.get("registration_epoch", 0)),
    )

    def arrived() -> bool:
        arm = session.frame.get("arm", {})
        return bytes(arm.get("path_hash") or b"") == path_hash and float(arm.get("s", 0.0)) >= length - 2e-5

    def over() -> bool:
        """The press is over: the arm stopped for a reason, or the governor did not take the press up."""
        waiting = session.maker.phase is Phase.WAITING_FOR_RELEASE
        ignored = session.state in ("HOLD", "READY") and time.monotonic() - pressed_at > PRESS_TAKEN_S
        return waiting or ignored or session.state in ("STOP", "FAULT", "LOCAL")

    deadline = time.monotonic() + MOTION_TIMEOUT_S
    while not arrived():
        if time.monotonic() > deadline:
            raise ScriptTimeout(f"{session.name}: not at the end of the path after {MOTION_TIMEOUT_S:g} s")
        if session.state in ("HOLD", "STOP", "FAULT", "LOCAL"):
            report("disturbed", session.name, state=session.state, why=str(session.status.get("reason", "")))
            yield from recover(treatment, report)
        session.intention = replace(holding, pressed=False)
        yield from until(lambda: session.maker.phase is Phase.RELEASED, 10.0, f"{session.name} hears the release")
        session.intention, pressed_at = holding, time.monotonic()
        left = max(1.0, deadline - time.monotonic())
        yield from until(lambda: arrived() or over(), left, f"{session.name} reaches the end of the path")
        if not arrived():
            blockers = session.status.get("blockers") or []
            why = "; ".join(blockers) if session.state == "READY" and blockers else str(session.status.get("reason", ""))
            report("interrupted", session.name, state=session.state, why=why)
    session.intention = replace(holding, pressed=False)
    yield from until(
        lambda: session.frame.get("arm", {}).get("drive") in ("standstill", "parked"), 5.0, f"{session.name} stands still"
    )


def recover(treatment: Treatment, report: Report) -> Waiting[None]:
    """What a person does after the arm stopped: let go, read why, agree with the bedside, and only then go on."""
    session = treatment.session
    session.intention = replace(session.intention, pressed=False)
    yield from pause(0.3)
    yield from until(lambda: session.up, 30.0, f"the link to {session.name} is back")
    tried = 0
    while session.state in ("HOLD", "STOP", "LOCAL", "FAULT"):
        tried += 1
        if tried > 20:
            raise ScriptTimeout(f"{session.name} stays in {session.state}: {session.status.get('reason', '')}")
        try:
            if session.state == "HOLD":
                yield from session.ask("ack", timeout_s=5.0)
            if session.state in ("STOP", "FAULT"):
                yield from session.ask("case.rearm", timeout_s=90.0, why=str(session.status.get("reason", "")))
                yield from take_control(treatment, report)
        except (OrderRefused, ScriptTimeout) as refused:
            report("waiting", session.name, why=str(refused))
        yield from pause(0.5)
        if session.state == "HOLD" and not session.status.get("blockers"):
            break
    report("recovered", session.name, state=session.state)


def onto_line(treatment: Treatment, where: str, report: Report) -> Waiting[None]:
    """Let the tracker correct the guide until the desk says it is on its line."""
    for _ in range(MAX_CORRECTIONS):
        reply = yield from treatment.session.ask("case.correct", timeout_s=30.0)
        report("measured", treatment.session.name, where=where, lateral_mm=reply["lateral_mm"], angle_deg=reply["angle_deg"])
        if reply["on_line"]:
            return
        yield from follow(treatment, reply, report)
    report("measured", treatment.session.name, where=where, lateral_mm=reply["lateral_mm"], angle_deg=reply["angle_deg"])


def treat_screw(treatment: Treatment, screw: str, report: Report) -> Waiting[None]:
    """Approach, stand-off, advance, verify, confirm, place, retreat: one screw."""
    session = treatment.session
    yield from session.ask("case.select", screw=screw)
    approach = yield from session.ask("case.path", kind="approach", timeout_s=60.0)
    report("approach", session.name, screw=screw, length_m=approach["length_m"])
    yield from follow(treatment, approach, report)
    yield from session.ask("case.breath_hold", on=True)
    if treatment.correction:
        yield from onto_line(treatment, "stand-off", report)
    advance = yield from session.ask("case.path", kind="advance", timeout_s=60.0)
    report("advance", session.name, screw=screw, length_m=advance["length_m"])
    yield from follow(treatment, advance, report)
    if treatment.correction:
        yield from onto_line(treatment, "entry", report)
    try:
        verified = yield from session.ask("case.verify", timeout_s=30.0)
    except OrderRefused as refused:
        report("not_verified", session.name, screw=screw, why=str(refused), **_numbers(refused.reply))
        raise
    report("verified", session.name, screw=screw, **_numbers(verified))
    yield from session.ask("case.confirm", timeout_s=150.0)
    report("confirmed", session.name, screw=screw)
    yield from pause(0.5)  # the doctor drills: nothing of ours moves
    yield from session.ask("case.place", timeout_s=900.0)
    report("placed", session.name, screw=screw)
    yield from session.ask("case.breath_hold", on=False)
    treatment.placed.append(screw)
    retreat = yield from session.ask("case.path", kind="retreat", timeout_s=60.0)
    yield from follow(treatment, retreat, report)
    yield from session.ask("case.retreat")


def _numbers(reply: dict[str, Any]) -> dict[str, Any]:
    return {k: reply[k] for k in ("lateral_mm", "angle_deg", "stand_off_mm", "scatter_mm", "grade") if k in reply}


def ready(treatment: Treatment, signer: Any, report: Report, turnstile: Turnstile) -> Waiting[None]:
    """Everything at one hospital that nobody's hand is needed for, a few hospitals at a time."""
    yield from turnstile.enter()
    try:
        yield from prepare(treatment, signer, report)
        yield from test_line(treatment, report)
    finally:
        turnstile.leave()
    treatment.line_tested = True


def rehearsals(treatments: list[Treatment], report: Report) -> Waiting[None]:
    """In the surgeon's order, each as soon as its hospital is ready: one arm at a time is in a hand, in a rehearsal too."""
    for treatment in treatments:
        yield from until(lambda t=treatment: t.line_tested, PREPARED_S, f"{treatment.session.name} is prepared")  # type: ignore[misc]
        yield from rehearse_both(treatment, report)


def operate(treatments: list[Treatment], signer: Any, report: Report) -> Waiting[None]:
    """The whole list: prepare every hospital, then take the arms in turn."""
    for treatment in treatments:
        yield from until(lambda t=treatment: t.session.up, 60.0, f"the link to {treatment.session.name} is up")  # type: ignore[misc]
    turnstile = Turnstile(PREPARED_AT_ONCE)
    yield from together(*(ready(treatment, signer, report, turnstile) for treatment in treatments), rehearsals(treatments, report))
    released_ns = 0
    before: ConsoleSession | None = None
    for treatment in treatments:
        session = treatment.session
        yield from take_control(treatment, report)
        if before is not None:
            let_go = not before.status.get("holder")
            report(
                "handover", session.name, frm=before.name, to=session.name, clean=let_go and session.holding,
                ms=(time.monotonic_ns() - released_ns) * 1e-6,
                why="" if let_go else f"{before.name} still says that {before.status.get('holder')} holds it",
            )
        assert treatment.plan is not None
        for screw in treatment.plan.screw_ids:
            yield from treat_screw(treatment, screw, report)
        released_ns = time.monotonic_ns()
        yield from session.ask("release")
        before = session
        report("released", session.name)
