"""What a reviewer asks a log: who held the arm when, each state change and why, alarms, the worst travel against its bound,
how old the commands were, and everything in one line of time. Reads; decides nothing.

Times in the answers are the robot's monotonic ns, plus seconds since the log's begin for people.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgpack

from safety.inputs import ChangeOut, LeaseOut, Output, ReportIn, VerdictOut, decode_input, decode_outputs
from safety.log.explain import explain
from safety.log.reader import LogReader
from safety.log.replay import begin, walk
from safety.log.seconds import ALARM_TOPIC, CHANGE_TOPIC
from safety.log.session import CHECKPOINT_TOPIC, CLOSE_TOPIC, GAP_TOPIC, PEER_TOPIC
from safety.log.steps import BOOT, EVENT_TOPIC, ORDER_TOPIC, Step, steps
from safety.params import Params
from safety.speed_law import travel_bound
from safety.states import State


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state. n: the step, record: where it stands in the file, by: key or input that caused it, step: the
    whole step with its inputs (`safety.log.explain`)."""

    stamp: int
    n: int
    record: int
    old: str
    new: str
    reason: str
    by: str
    step: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Holder:
    """From `since` (ns) on this key held the arm ("" nobody, "local" the on-site client)."""

    since: int
    holder: str
    name: str
    role: str
    epoch: int
    state: str


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """An alarm entering, acknowledged or leaving."""

    stamp: int
    id: str
    priority: str
    phase: str
    text: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Stop:
    """One coming to rest: t_k of the last command that gave a lease, standstill, travel between them and the bound (m)."""

    t_k: int
    rest: int
    travel: float
    bound: float
    v_cap: float
    mode: str
    why: str

    @property
    def took_ns(self) -> int:
        return self.rest - self.t_k


def step_outputs(step: Step, kinds: tuple[bytes, ...]) -> list[Output]:
    """Outputs of a step, [] without decoding when none of the kinds (their names) occurs in the bytes."""
    if not any(kind in step.outputs for kind in kinds):
        return []
    return decode_outputs(step.outputs)


def changes(log: LogReader) -> list[Change]:
    """Each change of state, from the governor's own outputs."""
    return [
        Change(step.stamp, step.n, step.record, o.old, o.new, o.reason, o.by, explain(step))
        for step in steps(log)
        for o in step_outputs(step, (b"change",))
        if isinstance(o, ChangeOut)
    ]


def holders(log: LogReader) -> list[Holder]:
    """Who held the arm from when, from the recorder's overview or, without one, by running the steps again."""
    out: list[Holder] = []

    def add(stamp: int, holder: str, name: str, role: str, epoch: int, state: str) -> None:
        if not out or (out[-1].holder, out[-1].epoch) != (holder, epoch):
            out.append(Holder(stamp, holder, name, role, epoch, state))

    if CHANGE_TOPIC in log.topics:
        for message in log.messages((CHANGE_TOPIC,)):
            f = log.decode(message)
            add(f["stamp_mono"], f["holder"], f.get("holder_name", ""), f["holder_role"], f["epoch"], f["state"])
        return out
    for step, _, _, s, _ in walk(steps(log)):
        if s is not None:
            name = s.roles.name(s.auth.holder) if s.auth.holder else ""
            role = "local" if s.auth.holder == "local" else "surgeon" if s.auth.holder else ""
            add(step.stamp, s.auth.holder, name, role, s.auth.epoch, str(s.state))
    return out


def holder_at(log: LogReader, mono: int) -> dict[str, Any]:
    """Who held the arm at an instant, since when and until when."""
    known = holders(log)
    index = bisect_right([h.since for h in known], mono) - 1
    if index < 0:
        return {"at": mono, "holder": None, "why": "before the first word of the governor in this log"}
    until = known[index + 1].since if index + 1 < len(known) else None
    state = ""
    for change in changes(log):
        if change.stamp > mono:
            break
        state = change.new
    return {"at": mono, "until": until, "state_then": state or known[index].state, **asdict(known[index])}


def alarm_lines(log: LogReader) -> list[AlarmLine]:
    """Alarms of the governor (and of the recorder), in order."""
    topics = [t for t in (ALARM_TOPIC, "log/alarms") if t in log.topics]
    if ALARM_TOPIC not in topics and "governor/alarms" in log.topics:
        topics.append("governor/alarms")
    out = []
    for message in log.messages(topics):
        f = log.decode(message)
        out.append(AlarmLine(f["stamp_mono"], f["id"], f["priority"], f["phase"], f["text"], f["what_to_do"]))
    if ALARM_TOPIC not in log.topics and "governor/alarms" not in log.topics:
        out += list(_alarms_by_replay(log))
    return sorted(out, key=lambda line: line.stamp)


def _alarms_by_replay(log: LogReader) -> Iterator[AlarmLine]:
    before: dict[str, Any] = {}
    for step, _, _, s, _ in walk(steps(log)):
        if s is None:
            continue
        now = {a.id: a for a in s.alarms}
        if now == before:
            continue
        for id_, a in now.items():
            old = before.get(id_)
            if old is None or old.since != a.since:
                yield AlarmLine(step.stamp, id_, a.priority, "enter", a.text, a.what_to_do)
            elif a.acked and not old.acked:
                yield AlarmLine(step.stamp, id_, a.priority, "ack", a.text, a.what_to_do)
        for id_, a in before.items():
            if id_ not in now:
                yield AlarmLine(step.stamp, id_, a.priority, "exit", a.text, "")
        before = now


def stops(log: LogReader) -> list[Stop]:
    """Every coming to rest with what it travelled after the last command that gave a lease, as the arm itself measured."""
    out: list[Stop] = []
    params = Params()
    lease: LeaseOut | None = None
    reports: list[tuple[int, float]] = []  # (stamp, travel) since shortly before the newest lease
    why = ""
    for step in steps(log):
        if step.kind == BOOT:
            started = begin(step)
            if started is not None:
                params = started[1]
        elif step.kind == "report":
            i = decode_input(step.input)
            assert isinstance(i, ReportIn)
            reports.append((i.report.stamp, i.report.travel))
            if lease is None:
                del reports[:-2]
            elif i.report.stamp > lease.lease.t_k and i.report.drive in ("standstill", "parked", "fault"):
                begin_travel = _at(reports, lease.lease.t_k)
                # A report of standstill made before the arm took the lease in would end the run before it began.
                if i.report.lease_id >= lease.lease.lease_id or i.report.stamp > lease.lease.expiry:
                    last = lease.lease
                    out.append(
                        Stop(last.t_k, i.report.stamp, i.report.travel - begin_travel, travel_bound(last.v_cap, params),
                             last.v_cap, last.mode, why)
                    )  # fmt: skip
                    lease = None
        for o in step_outputs(step, (b"lease", b"change")):
            if isinstance(o, LeaseOut):
                if lease is None or o.lease.lease_id > lease.lease.lease_id:
                    lease = o
                    cut = max(0, len(reports) - 2)
                    del reports[:cut]
            elif isinstance(o, ChangeOut):
                why = f"{o.new}: {o.reason}"
    return out


def _at(reports: list[tuple[int, float]], stamp: int) -> float:
    """Travel at an instant, interpolated between the reports around it."""
    before = None
    for at, travel in reports:
        if at <= stamp:
            before = (at, travel)
        elif before is None:
            return travel
        else:
            return before[1] + (travel - before[1]) * (stamp - before[0]) / (at - before[0])
    return before[1] if before else 0.0


def latency(log: LogReader) -> dict[str, Any]:
    """Loop age of the commands that were accepted (ms), refusals by reason, link statistics per path."""
    ages: list[int] = []
    rejected: Counter[str] = Counter()
    for step in steps(log):
        if step.kind != "command":
            continue
        refused = [o.reason for o in step_outputs(step, (b"verdict",)) if isinstance(o, VerdictOut)]
        rejected.update(refused)
        if refused:
            continue
        try:
            row = msgpack.unpackb(step.input, raw=False)
            command = msgpack.unpackb(row[5], raw=False)
            ages.append(row[1] - min(v for v in (command["echo_state"], command["echo_view"]) if v is not None))
        except (ValueError, KeyError, IndexError, TypeError):
            rejected["unreadable"] += 1
    ages.sort()
    paths: dict[str, dict[str, Any]] = {}
    for message in log.messages(("link/stats",)):
        f = log.decode(message)
        entry = paths.setdefault(str(f["path"]), {"samples": 0, "alive": 0, "loss_max": 0.0, "rtt_ms_p99_max": 0.0})
        entry["samples"] += 1
        entry["alive"] += bool(f["alive"])
        entry["loss_max"] = max(entry["loss_max"], f["loss"])
        entry["rtt_ms_p99_max"] = max(entry["rtt_ms_p99_max"], f["rtt_ms_p99"])
        entry["rtt_ms_p50_last"] = f["rtt_ms_p50"]
    return {
        "commands_accepted": len(ages), "loop_age_ms": _percentiles(ages), "rejected": dict(rejected), "paths": paths,
    }  # fmt: skip


def _percentiles(ages: list[int]) -> dict[str, float]:
    if not ages:
        return {}
    last = len(ages) - 1
    return {
        name: ages[min(last, round(q * last))] / 1e6 for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


def time_in_states(log: LogReader) -> dict[str, float]:
    """Seconds in each state, from the first step to the end of the log; nothing for the log of a console."""
    if EVENT_TOPIC not in log.topics and ORDER_TOPIC not in log.topics:
        return {}
    total: dict[str, float] = {}
    since, state = log.start, str(State.INIT)
    for change in changes(log):
        total[state] = total.get(state, 0.0) + max(0, change.stamp - since) / 1e9
        since, state = change.stamp, change.new
    total[state] = total.get(state, 0.0) + max(0, log.end - since) / 1e9
    return {name: seconds for name, seconds in total.items() if seconds > 0}


def timeline(log: LogReader) -> list[dict[str, Any]]:
    """Everything that happened, in order: {at, s, what, text, ...}. Times: `at` mono ns, `s` seconds from the begin."""
    rows: list[dict[str, Any]] = []

    def add(at: int, what: str, text: str, **more: Any) -> None:
        rows.append({"at": at, "s": (at - log.start) / 1e9, "what": what, "text": text, **more})

    for c in changes(log):
        add(c.stamp, "state", f"{c.old} -> {c.new}: {c.reason}", state=c.new, n=c.n, record=c.record, by=c.by)
    for h in holders(log):
        add(h.since, "holder", f"{h.name or h.holder or 'nobody'} holds the arm (epoch {h.epoch})", holder=h.holder)
    for a in alarm_lines(log):
        add(a.stamp, "alarm", f"{a.priority} {a.phase}: {a.id}: {a.text}", id=a.id, priority=a.priority, phase=a.phase)
    for message in log.messages(("case/events", "ui/actions", GAP_TOPIC, CLOSE_TOPIC)):
        f = log.decode(message)
        if message.topic == "case/events":
            add(f["stamp_mono"], "case", f"{f['who']}: {f['step']}", detail=_json(f["detail"]))
        elif message.topic == "ui/actions":
            add(f["stamp_mono"], "ui", f"{f['who']} at {f['where']}: {f['action']}", detail=_json(f["detail"]))
        elif message.topic == GAP_TOPIC:
            add(f["stamp_mono"], "gap", f"{f['dropped']} messages of {f['stream']} missing ({f['cause']})")
        elif message.topic == CLOSE_TOPIC:
            add(f["stamp_mono"], "close", f["reason"])
    rows.sort(key=lambda row: row["at"])
    return rows


def facts(log: LogReader) -> dict[str, Any]:
    """What the header states about the session, and what became known in its course: the plans that were transferred and
    the registrations that were made, with their hashes (a header is written before there are any)."""
    details = _json(log.header["details"])
    out: dict[str, Any] = {"header": details if isinstance(details, dict) else {}, "plans": [], "registrations": []}
    for message in log.messages(("case/events",)):
        f = log.decode(message)
        detail = _json(f["detail"])
        if not isinstance(detail, dict) or detail.get("ok") is False:
            continue
        if f["step"] == "case.plan" and "plan_hash" in detail:
            out["plans"].append({"at": f["stamp_mono"], "by": f["who"], "sha256": detail["plan_hash"]})
        elif f["step"] == "case.register":
            keep = ("registration_epoch", "fre_mm", "tre95_mm", "ref_T_ct_sha256")
            out["registrations"].append({"at": f["stamp_mono"], "by": f["who"], **{k: detail[k] for k in keep if k in detail}})
    return out


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_time(text: str, log: LogReader) -> int:
    """"12.5" seconds from the begin, "mono:<ns>", or a UTC time as 2026-11-21T10:15:30.5Z. Raises ValueError."""
    if text.startswith("mono:"):
        return int(text[5:])
    try:
        return log.start + round(float(text) * 1e9)
    except ValueError:
        pass
    from datetime import datetime

    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{text!r} is no time: seconds from the begin, mono:<ns>, or 2026-11-21T10:15:30Z") from None
    return round(when.timestamp() * 1e9) - log.utc(0)


__all__ = [
    "CHECKPOINT_TOPIC", "PEER_TOPIC", "AlarmLine", "Change", "Holder", "Stop", "alarm_lines", "changes", "facts",
    "holder_at", "holders", "latency", "parse_time", "step_outputs", "stops", "time_in_states", "timeline",
]  # fmt: skip
