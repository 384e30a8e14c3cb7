"""`longhand log`: Ask a session log: who held the arm, what stopped it, alarms, travel, latency, everything in order."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from safety.log import questions
from safety.log.cdr import CdrError
from safety.log.container import ContainerError
from safety.log.explain import in_words
from safety.log.privacy import load, open_fields
from safety.log.reader import LogReader
from safety.log.replay import ReplayError
from safety.log.walk import NotALog

app = typer.Typer(add_completion=False)
#: Facts of the header that `info` prints; --json has all of them.
STATED = ("inviting_institution", "invited_institution", "service", "operators", "consent_form_sha256", "git", "config_sha256")
QUESTIONS = ("holder", "holds", "alarms", "travel", "latency", "timeline", "info", "export")


@app.command(epilog="Example: longhand log a.mcap holder --at 12.5      longhand log a.mcap travel --json")
def main(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Session log.")],
    question: Annotated[str, typer.Argument(help="One of: " + " ".join(QUESTIONS))],
    at: Annotated[str, typer.Option(help="For holder: seconds from the begin, mono:<ns>, or a UTC time.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="For export: the copy without people in it.")] = None,
    case_key: Annotated[Path | None, typer.Option(help="Key of the case, to read its free texts.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer one question from a session log. This reads; `longhand verify` says whether the log can be believed.

    travel exits with 3 when a measured travel exceeds its bound.
    """
    if question not in QUESTIONS:
        typer.echo(f"usage: {question!r} is no question; ask one of {', '.join(QUESTIONS)}", err=True)
        raise typer.Exit(2)
    code = 0
    try:
        with LogReader(log) as reader:
            if question == "export":
                answer, lines = _export(reader, out)
            elif question == "holder":
                answer, lines = _holder(reader, at)
            elif question == "travel":
                answer, lines = _travel(reader)
                code = 3 if answer["exceeded"] else 0
            else:
                ask: dict[str, Callable[[LogReader], tuple[Any, list[str]]]] = {
                    "holds": _holds, "alarms": _alarms, "latency": _latency, "timeline": _timeline, "info": _info,
                }  # fmt: skip
                answer, lines = ask[question](reader)
            answer = open_fields(answer, load(case_key) if case_key else None)
    except (NotALog, ReplayError, CdrError, ContainerError, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    print(json.dumps(answer, default=_plain) if json_ else "\n".join(lines))
    raise typer.Exit(code)


def _stated(details: Any, found: dict[str, Any]) -> list[str]:
    """What the header says about the service, and plans and registrations that came later."""
    lines = [f"{key.replace('_', ' ')}: {_shown(details[key])}" for key in STATED if isinstance(details, dict) and key in details]
    lines += [f"plan {p['sha256']} by {p['by'][:12]}" for p in found["plans"]]
    lines += [
        f"registration {r.get('registration_epoch', '?')}, {r.get('ref_T_ct_sha256', 'no hash')}, TRE95 {r.get('tre95_mm', 0):.2f} mm"
        for r in found["registrations"]
    ]
    return lines


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def _s(reader: LogReader, mono: int) -> str:
    return f"{(mono - reader.start) / 1e9:10.3f} s"


def _holder(reader: LogReader, at: str) -> tuple[Any, list[str]]:
    if at:
        answer = questions.holder_at(reader, questions.parse_time(at, reader))
        who = answer.get("name") or answer.get("holder") or "nobody"
        return answer, [
            f"{_s(reader, answer['at'])}: {who} (epoch {answer.get('epoch', '-')}, state {answer.get('state_then', '-')})"
        ]
    rows = questions.holders(reader)
    return {"holders": [asdict(h) for h in rows]}, [
        f"{_s(reader, h.since)}  epoch {h.epoch:<5} {h.name or h.holder or 'nobody'}" for h in rows
    ] or ["nobody ever held the arm"]


def _holds(reader: LogReader) -> tuple[Any, list[str]]:
    rows = questions.changes(reader)
    seconds_in = questions.time_in_states(reader)
    answer = {"changes": [asdict(c) for c in rows], "seconds_in": seconds_in}
    lines = []
    for c in rows:
        lines.append(f"{_s(reader, c.stamp)}  {c.old:>8} -> {c.new:<8} {c.reason}   (step {c.n}, by {c.by[:12]})")
        lines.append(f"{'':14}  input {in_words(c.step)}")
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in seconds_in.items())
    return answer, [*lines, f"time: {spent}"]


def _alarms(reader: LogReader) -> tuple[Any, list[str]]:
    rows = questions.alarm_lines(reader)
    return {"alarms": [asdict(a) for a in rows]}, [
        f"{_s(reader, a.stamp)}  {a.priority:6} {a.phase:5} {a.id}: {a.text}" for a in rows
    ] or ["no alarms"]


def _travel(reader: LogReader) -> tuple[Any, list[str]]:
    rows = questions.stops(reader)
    worst = max(rows, key=lambda r: r.travel / r.bound if r.bound else 0.0, default=None)
    answer = {
        "stops": [{**asdict(r), "took_ms": r.took_ns / 1e6} for r in rows],
        "worst": None if worst is None else asdict(worst),
        "exceeded": sum(r.travel > r.bound for r in rows),
    }
    lines = [
        f"{_s(reader, r.t_k)}  {r.travel * 1e3:7.3f} mm of {r.bound * 1e3:7.3f} mm bound, at rest after "
        f"{r.took_ns / 1e6:6.1f} ms  {r.mode:9} {r.why}"
        for r in rows
    ]
    if worst is not None:
        lines.append(f"worst: {worst.travel * 1e3:.3f} mm of {worst.bound * 1e3:.3f} mm; {answer['exceeded']} exceed theirs")
    return answer, lines or ["the arm never moved under a lease"]


def _latency(reader: LogReader) -> tuple[Any, list[str]]:
    answer = questions.latency(reader)
    age = ", ".join(f"{k} {v:.1f}" for k, v in answer["loop_age_ms"].items()) or "none"
    lines = [f"{answer['commands_accepted']} commands accepted; loop age ms: {age}"]
    lines += [f"refused {n} times: {reason}" for reason, n in sorted(answer["rejected"].items())]
    lines += [
        f"path {path}: loss up to {p['loss_max'] * 100:.1f} %, rtt p99 up to {p['rtt_ms_p99_max']:.1f} ms, "
        f"alive in {p['alive']} of {p['samples']} reports"
        for path, p in answer["paths"].items()
    ]
    return answer, lines


def _timeline(reader: LogReader) -> tuple[Any, list[str]]:
    rows = questions.timeline(reader)
    return {"timeline": rows}, [f"{row['s']:10.3f} s  {row['what']:7} {row['text']}" for row in rows]


def _export(reader: LogReader, out: Path | None) -> tuple[Any, list[str]]:
    from teleop.review.export import export

    if out is None:
        raise ValueError("export needs -o OUT.mcap")
    count = export(reader, out)
    return {"out": str(out), "messages": count}, [f"{out}: {count} messages, people replaced by letters, texts left out"]


def _info(reader: LogReader) -> tuple[Any, list[str]]:
    header = {k: v for k, v in reader.header.items() if k not in ("params", "site_signature")}
    header["details"] = json.loads(header["details"])
    counts: dict[str, int] = {}
    for message in reader.messages():
        counts[message.topic] = counts.get(message.topic, 0) + 1
    found = questions.facts(reader)
    answer = {"header": header, "plans": found["plans"], "registrations": found["registrations"],
              "complete": reader.complete, "seconds": (reader.end - reader.start) / 1e9, "messages": counts}  # fmt: skip
    lines = [
        f"session {header['session']}, site {header['site']}, arm {header['arm']}, case {header['case_id'] or '-'}",
        f"{answer['seconds']:.1f} s, {'complete' if reader.complete else 'cut off: no summary at its end'}",
        *_stated(header["details"], found),
        *(f"  {n:9}  {topic}" for topic, n in sorted(counts.items())),
    ]
    return answer, lines
