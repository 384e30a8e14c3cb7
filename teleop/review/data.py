"""One log as the reviewer's page sees it: an overview at once, detail for the range one looks at.

Opening reads only the low-rate records (state changes, alarms, case steps, gaps) and the one-second ranges which the recorder
wrote along, so that hours open in a moment. A narrow range is read from the full-rate samples.
"""

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.inputs import OrderIn, decode_input
from safety.log.cdr import CdrError
from safety.log.explain import explain, plain
from safety.log.keepout import SIGNAL as KEEPOUT
from safety.log.keepout import Keepout
from safety.log.questions import alarm_lines, changes, holders
from safety.log.reader import LogReader, Message
from safety.log.seconds import ALARM_TOPIC, ARM_SIGNALS, CHANGE_TOPIC, LINK_SIGNALS, SECOND_TOPIC, STATUS_SIGNALS
from safety.log.session import CLOSE_TOPIC, GAP_TOPIC
from safety.log.steps import EVENT_TOPIC, ORDER_TOPIC, steps

#: Ranges up to this long are drawn from the samples themselves, s.
DETAIL_S = 40.0
_DETAIL_TOPICS = ("arm_state", "governor/status", "link/stats")
#: Bytes of a log without overview records that are still read as a whole at opening.
_SMALL = 64 << 20
Array = NDArray[np.float64]


class ReviewLog:
    """An open log. Times handed out and taken are robot mono ns of this log."""

    def __init__(self, path: Path) -> None:
        """Raises NotALog, OSError."""
        self.path = path
        self.reader = LogReader(path)
        self.header = dict(self.reader.header)
        self.start, self.end = self.reader.start, self.reader.end
        self._lock = threading.Lock()
        self._second_cache: OrderedDict[int, dict[str, Array]] = OrderedDict()
        self._keepouts = self._read_keepouts()
        self.overview_t, self.overview = self._read_overview()
        self.changes = self._read_changes()
        self.events = self._read_events()

    @property
    def has_governor(self) -> bool:
        """False for the log of a console."""
        return EVENT_TOPIC in self.reader.topics or ORDER_TOPIC in self.reader.topics

    # --- opening ---------------------------------------------------------------------------------------------------

    def _read_overview(self) -> tuple[Array, dict[str, Array]]:
        """(end of each second (N,), name -> (N, 3) low high mean). Built here when the recorder wrote none."""
        rows: list[dict[str, Any]] = [self.reader.decode(m) for m in self.reader.messages((SECOND_TOPIC,))]
        if not rows:
            return self._build_overview()
        names = sorted({name for row in rows for name in row["names"]})
        t = np.array([row["stamp_mono"] for row in rows], dtype=np.float64)
        table = {name: np.full((len(rows), 3), np.nan) for name in names}
        for k, row in enumerate(rows):
            for name, low, high, mean in zip(row["names"], row["low"], row["high"], row["mean"], strict=True):
                table[name][k] = (low, high, mean)
        return t, table

    def _build_overview(self) -> tuple[Array, dict[str, Array]]:
        if self.path.stat().st_size > _SMALL:
            return np.zeros(0), {}
        samples = self._samples(self.start, self.end + 1)
        edges = np.arange(self.start, self.end + 1_000_000_000, 1_000_000_000, dtype=np.float64)
        return edges[1:], {name: _bucket(t_v[:, 0], t_v[:, 1], edges) for name, t_v in samples.items()}

    def _read_keepouts(self) -> list[tuple[int, Keepout]]:
        """(from when, what to keep out of), in order."""
        out: list[tuple[int, Keepout]] = []
        if ORDER_TOPIC not in self.reader.topics:
            return out
        now = Keepout()
        for step in steps(self.reader, rare=True):
            if now.step(step.kind, step.input, step.outputs):
                out.append((step.stamp, copy(now)))
        return out

    def _keepout_at(self, at: int) -> Keepout | None:
        index = bisect_right(self._keepouts, at, key=lambda row: row[0]) - 1
        return self._keepouts[index][1] if index >= 0 else None

    def _read_changes(self) -> list[dict[str, Any]]:
        """Each change of state, holder or mode, in order."""
        if CHANGE_TOPIC in self.reader.topics:
            return [self.reader.decode(m) for m in self.reader.messages((CHANGE_TOPIC,))]
        rows: list[dict[str, Any]] = [
            {"stamp_mono": c.stamp, "n": c.n, "old_state": c.old, "state": c.new, "reason": c.reason} for c in changes(self.reader)
        ]
        rows += [
            {"stamp_mono": h.since, "holder": h.holder, "holder_name": h.name, "epoch": h.epoch} for h in holders(self.reader)
        ]
        rows.sort(key=lambda row: row["stamp_mono"])
        state: dict[str, Any] = {"state": "", "reason": "", "holder": "", "holder_name": "", "mode": "", "epoch": 0}
        filled = []
        for row in rows:
            state = {**state, **row}
            filled.append(dict(state))
        return filled

    def _read_events(self) -> list[dict[str, Any]]:
        """What a reviewer jumps to: {at, what, text, priority?}."""
        out: list[dict[str, Any]] = []
        names = {c["holder"]: c["holder_name"] for c in self.changes if c.get("holder_name")}
        last_state = None
        for change in self.changes:
            if change.get("state") and change["state"] != last_state:
                last_state = change["state"]
                out.append({"at": change["stamp_mono"], "what": "state", "state": last_state,
                            "text": f"{last_state}: {change.get('reason', '')}"})  # fmt: skip
        topics = [t for t in (ALARM_TOPIC, "log/alarms", "case/events", "ui/actions", GAP_TOPIC, CLOSE_TOPIC)
                  if t in self.reader.topics]  # fmt: skip
        if ALARM_TOPIC not in topics and "governor/alarms" in self.reader.topics:
            topics.append("governor/alarms")
        if not any("alarm" in t for t in topics) and self.path.stat().st_size <= _SMALL:
            for a in alarm_lines(self.reader):
                out.append({"at": a.stamp, "what": "alarm", "priority": a.priority, "phase": a.phase, "id": a.id,
                            "text": f"{a.id}: {a.text}", "todo": a.what_to_do})  # fmt: skip
        for message in self.reader.messages(topics):
            f = self.reader.decode(message)
            at = f["stamp_mono"]
            if message.msg_type.endswith("/Alarm"):
                out.append({"at": at, "what": "alarm", "priority": f["priority"], "phase": f["phase"], "id": f["id"],
                            "text": f"{f['id']}: {f['text']}", "todo": f["what_to_do"]})  # fmt: skip
            elif message.topic == GAP_TOPIC:
                out.append({"at": at, "what": "gap", "text": f"{f['dropped']} messages of {f['stream']} missing: {f['cause']}"})
            elif message.topic == CLOSE_TOPIC:
                out.append({"at": at, "what": "close", "text": f"log closed: {f['reason']}"})
            else:
                who = names.get(f["who"], f["who"] if len(f["who"]) < 24 else f["who"][:8] + "…")
                text = f"{who}: {f.get('step') or f.get('action')}"
                detail = _json(f["detail"])
                ok = not (isinstance(detail, dict) and detail.get("ok") is False)
                out.append({"at": at, "what": "case", "text": text, "detail": detail, "ok": ok})
        out.sort(key=lambda row: row["at"])
        return out

    # --- plots -----------------------------------------------------------------------------------------------------

    @property
    def signals(self) -> list[str]:
        return sorted(self.overview) or sorted((*STATUS_SIGNALS, *ARM_SIGNALS))

    def series(self, names: list[str], t0: int, t1: int, width: int) -> dict[str, Any]:
        """{name: {t, low, high, mean}} over [t0, t1), at most about `width` points each; t in ns."""
        t0, t1, width = max(t0, self.start), min(t1, self.end + 1), max(2, min(width, 4000))
        if t1 <= t0:
            return {}
        if (t1 - t0) / 1e9 <= DETAIL_S:
            edges = np.linspace(t0, t1, width + 1)
            found = self._detail(t0, t1)
            out = {n: _columns(edges[1:], _held(_bucket(found[n][:, 0], found[n][:, 1], edges), (t1 - t0) / 1e9 / width))
                   for n in names if n in found}  # fmt: skip
            # What is recorded by the second only (or came by another way) is drawn by the second.
            for name in set(names) & set(self.overview) - set(out):
                rows = self.overview[name][np.clip(np.searchsorted(self.overview_t, edges[1:]), 0, len(self.overview_t) - 1)]
                out[name] = _columns(edges[1:], rows)
            return out
        a, b = np.searchsorted(self.overview_t, (t0, t1 + 1_000_000_000))
        t = self.overview_t[a:b]
        out = {}
        for name in names:
            if name in self.overview and len(t):
                out[name] = _columns(*_merge(t, self.overview[name][a:b], width))
        return out

    def _detail(self, t0: int, t1: int) -> dict[str, Array]:
        """name -> (N, 2) of (stamp, value), from cached whole seconds."""
        parts: dict[str, list[Array]] = {}
        for second in range((t0 - self.start) // 1_000_000_000, (t1 - self.start) // 1_000_000_000 + 1):
            with self._lock:
                block = self._second_cache.get(second)
            if block is None:
                begin = self.start + second * 1_000_000_000
                block = self._samples(begin, begin + 1_000_000_000)
                with self._lock:
                    self._second_cache[second] = block
                    if len(self._second_cache) > 600:
                        self._second_cache.popitem(last=False)
            for name, rows in block.items():
                parts.setdefault(name, []).append(rows)
        return {name: np.concatenate(rows) for name, rows in parts.items()}

    def _samples(self, t0: int, t1: int) -> dict[str, Array]:
        rows: dict[str, list[tuple[float, float]]] = {}
        topics = [t for t in _DETAIL_TOPICS if t in self.reader.topics]
        for message in self.reader.messages(topics, t0, t1):
            try:
                fields = self.reader.decode(message)
            except CdrError:
                continue
            if message.topic == "arm_state":
                table, suffix = ARM_SIGNALS, ""
            elif message.topic == "governor/status":
                table, suffix = STATUS_SIGNALS, ""
            else:
                table, suffix = LINK_SIGNALS, f".{fields['path']}"
            if message.topic == "arm_state" and (keepout := self._keepout_at(message.mono)) is not None:
                distance = keepout.of_state(fields)
                if distance is not None:
                    rows.setdefault(KEEPOUT, []).append((float(message.mono), distance))
            for name, (key, factor) in table.items():
                if key in fields:
                    rows.setdefault(name + suffix, []).append((float(message.mono), fields[key] * factor))
        return {name: np.array(values) for name, values in rows.items()}

    # --- space -----------------------------------------------------------------------------------------------------

    def paths(self, t0: int, t1: int, points: int = 1000) -> dict[str, Any]:
        """Measured and commanded tip positions, base frame m: {t, measured (N,3), commanded (N,3)}."""
        t0, t1 = max(t0, self.start), min(t1, self.end + 1)
        rows: list[tuple[int, list[float], list[float]]] = []
        if (t1 - t0) / 1e9 <= 2 * DETAIL_S:
            every = max(1, int((t1 - t0) / 1e7 / points))
            for k, message in enumerate(self.reader.messages(("arm_state",), t0, t1)):
                if k % every == 0:
                    rows.append(self._tips(message))
        else:
            seen = -1
            for at in np.linspace(t0, t1 - 1, points):
                found = self.reader.last_before("arm_state", int(at))
                if found is not None and found.index != seen:
                    seen = found.index
                    rows.append(self._tips(found))
        return {"t": [r[0] for r in rows], "measured": [r[1] for r in rows], "commanded": [r[2] for r in rows]}

    def _tips(self, message: Message) -> tuple[int, list[float], list[float]]:
        f = self.reader.decode(message)
        return message.mono, _xyz(f["base_t_tip"]), _xyz(f["setpoint"])

    def plans(self) -> dict[str, Any]:
        """Planned lines the governor was told, keep-outs, and guide poses that passed verification (base frame, m)."""
        lines: list[dict[str, Any]] = []
        keepouts: list[dict[str, Any]] = []
        rare = ORDER_TOPIC in self.reader.topics
        for step in steps(self.reader, rare=rare):
            if step.kind != "order" or b"corridor" not in step.input:
                continue
            i = decode_input(step.input)
            if not isinstance(i, OrderIn) or i.order.get("op") != "scene":
                continue
            corridor = i.order.get("corridor")
            if corridor:
                lines.append({"at": step.stamp, "entry": corridor["entry"], "axis": corridor["axis"]})
            keepouts = [dict(k) for k in i.order.get("keepouts") or ()]
        achieved = []
        for event in self.events:
            if event["what"] == "case" and "case.verify" in event["text"] and event["ok"]:
                found = self.reader.last_before("arm_state", event["at"])
                if found is not None:
                    pose = self.reader.decode(found)["base_t_tip"]
                    achieved.append({"at": event["at"], "pose": [*_xyz(pose), *_quaternion(pose)], "detail": event["detail"]})
        return {"lines": lines, "keepouts": keepouts, "achieved": achieved}

    # --- one instant -----------------------------------------------------------------------------------------------

    def moment(self, at: int) -> dict[str, Any]:
        """What was known at an instant: newest arm state, status and link reports, with their ages."""
        out: dict[str, Any] = {"at": at}
        for topic in ("arm_state", "governor/status"):
            found = self.reader.last_before(topic, at) if topic in self.reader.topics else None
            if found is not None and at - found.mono < 5_000_000_000:
                out[topic] = plain({k: v for k, v in self.reader.decode(found).items() if k != "wire"})
                out[topic]["age_ms"] = (at - found.mono) / 1e6
        change = None
        for row in self.changes:
            if row["stamp_mono"] > at:
                break
            change = row
        out["change"] = plain(change) if change else None
        return out

    def decision(self, at: int, move: int = 0, record: int | None = None) -> dict[str, Any] | None:
        """The governor's step at (move 0: last at or before), after (1) or before (-1) an instant, with inputs and outputs.

        record: move from this record instead: several steps may bear the same stamp."""
        if move > 0:
            here = steps(self.reader, at - 1_000_000_000)
            step = next((s for s in here if (s.stamp > at if record is None else s.record > record)), None)
            return None if step is None else explain(step)
        for reach in (1_000_000_000, 10_000_000_000, self.end - self.start + 1):
            step = None
            for candidate in steps(self.reader, at - reach, at + 1_000_000_000):
                if record is not None and candidate.record >= record:
                    break
                if record is None and candidate.stamp > (at if move == 0 else at - 1):
                    break
                step = candidate
            if step is not None:
                return explain(step)
        return None

    def find_step(self, n: int) -> dict[str, Any] | None:
        """A step by its ordinal."""
        found = next((s for s in steps(self.reader) if s.n == n and s.kind not in ("boot", "snapshot")), None)
        return None if found is None else explain(found)

    def close(self) -> None:
        self.reader.close()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _xyz(pose: dict[str, Any]) -> list[float]:
    p = pose["position"]
    return [p["x"], p["y"], p["z"]]


def _quaternion(pose: dict[str, Any]) -> list[float]:
    q = pose["orientation"]
    return [q["x"], q["y"], q["z"], q["w"]]


def _bucket(t: Array, v: Array, edges: Array) -> Array:
    """Low, high, mean of v in each interval of edges: (len(edges)-1, 3), NaN where there is none."""
    count = len(edges) - 1
    out = np.full((count, 3), np.nan)
    index = np.searchsorted(edges, t, side="right") - 1
    inside = (index >= 0) & (index < count)
    index, v = index[inside], v[inside]
    if len(index) == 0:
        return out
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    rows = index[starts]
    out[rows, 0] = np.minimum.reduceat(v, starts)
    out[rows, 1] = np.maximum.reduceat(v, starts)
    out[rows, 2] = np.add.reduceat(v, starts) / np.diff(np.r_[starts, len(v)])
    return out


def _held(rows: Array, bucket_s: float, hold_s: float = 1.2) -> Array:
    """Carry the last known row over empty buckets, at most `hold_s`: a signal of 10 Hz is a line, a hole in the log is not."""
    known = np.flatnonzero(~np.isnan(rows[:, 2]))
    if len(known) == 0:
        return rows
    last = known[np.clip(np.searchsorted(known, np.arange(len(rows)), side="right") - 1, 0, len(known) - 1)]
    near = (np.arange(len(rows)) - last >= 0) & ((np.arange(len(rows)) - last) * bucket_s <= hold_s)
    out = rows.copy()
    fill = near & np.isnan(rows[:, 2])
    out[fill] = rows[last[fill]][:, [2, 2, 2]]
    return out


def _merge(t: Array, rows: Array, width: int) -> tuple[Array, Array]:
    """Join neighbours so that at most `width` rows stay: lowest low, highest high, mean of means."""
    n = len(t)
    if n <= width:
        return t, rows
    starts = np.unique((np.arange(width) * n) // width)
    with np.errstate(all="ignore"):
        low = np.fmin.reduceat(rows[:, 0], starts)
        high = np.fmax.reduceat(rows[:, 1], starts)
        known = ~np.isnan(rows[:, 2])
        total = np.add.reduceat(np.where(known, rows[:, 2], 0.0), starts)
        mean = total / np.add.reduceat(known.astype(np.float64), starts)
    ends = np.r_[starts[1:], n] - 1
    return t[ends], np.column_stack([low, high, mean])


def _columns(t: Array, rows: Array) -> dict[str, list[float | None]]:
    def clean(column: Array) -> list[float | None]:
        return [None if x != x else float(f"{x:.6g}") for x in column.tolist()]

    return {"t": t.tolist(), "low": clean(rows[:, 0]), "high": clean(rows[:, 1]), "mean": clean(rows[:, 2])}


__all__ = ["DETAIL_S", "ReviewLog", "explain"]
