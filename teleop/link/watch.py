"""The watch on a line during a case: does it still keep what the qualification promised? A pure step, fed with path statistics.

The governor protects the patient from a bad line by itself; this tells people early and writes down what the line did, path by path and
minute by minute, for the certificate's second page. Judged against the qualification: a line that was qualified at 30 ms and now shows 120
is far from any hold, but it is not the line that was tested.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from teleop.link.line_test import Limits

MINUTE_NS = 60_000_000_000
#: Worse than qualified: the round trip has doubled and grown by at least so much (ms); the loss has passed its limit of DEGRADED.
GROWN_MS = 30.0
LOSS_AMBER = 0.02
#: A verdict gets worse at once and better only after so long.
CALM_NS = 10_000_000_000


class Colour(IntEnum):
    """Of a line: as qualified; not what was qualified, or one path short; not fit for a case."""

    GREEN = 0
    AMBER = 1
    RED = 2


@dataclass(frozen=True, slots=True)
class PathMinute:
    """What one path did in one minute: the worst of each. rtt, gap: ms; None: nothing came."""

    rtt_p99_ms: float | None = None
    loss: float = 0.0
    gap_ms: float = 0.0
    down_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LineState:
    """colour and why now; what it was over the whole case, by minutes. `fell`: how often each path died."""

    colour: Colour = Colour.GREEN
    why: str = ""
    since: int = 0
    at: int = -1
    began: int = -1
    calm_from: int = -1
    minutes: tuple[tuple[PathMinute, ...], ...] = ()
    fell: tuple[int, ...] = ()
    alive: tuple[bool, ...] = ()
    colour_ns: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Promise:
    """What the qualification measured, per path: round trip p99 in ms (None: the path was not good)."""

    rtt_p99_ms: tuple[float | None, ...] = ()
    limits: Limits = field(default_factory=Limits)


def promise_of(result: dict[str, Any], limits: Limits | None = None) -> Promise:
    """The promise of a line test's result."""
    return Promise(tuple(p["rtt_ms"]["p99"] if p.get("good") else None for p in result["paths"]), limits or Limits())


def judge(paths: list[dict[str, Any]], promise: Promise) -> tuple[Colour, str]:
    """Colour and reason of one look at the paths (maps as `PathStats`: alive, rtt_ms_p99, loss_1s, silence_ms)."""
    lim = promise.limits
    good, why, amber = [], [], []
    for i, p in enumerate(paths):
        rtt, loss = p.get("rtt_ms_p99"), float(p.get("loss_1s", p.get("loss", 0.0)) or 0.0)
        if not p.get("alive"):
            why.append(f"path {i} is silent")
        elif rtt is not None and rtt > lim.rtt_p99_ms:
            why.append(f"path {i}: round trip p99 {rtt:.0f} ms, at most {lim.rtt_p99_ms:.0f}")
        elif loss > lim.loss:
            why.append(f"path {i}: loss {loss:.1%}, at most {lim.loss:.0%}")
        else:
            good.append(i)
            was = promise.rtt_p99_ms[i] if i < len(promise.rtt_p99_ms) else None
            if was is not None and rtt is not None and rtt > 2.0 * was and rtt - was > GROWN_MS:
                amber.append(f"path {i}: round trip p99 {rtt:.0f} ms, qualified at {was:.0f}")
            elif loss > LOSS_AMBER:
                amber.append(f"path {i}: loss {loss:.1%}")
    if not good:
        return Colour.RED, "; ".join(why) or "no path"
    if why:
        return Colour.AMBER, "; ".join([*why, f"{len(good)} of {len(paths)} paths carry the case"])
    return (Colour.AMBER, "; ".join(amber)) if amber else (Colour.GREEN, "")


def step(s: LineState, now_ns: int, paths: list[dict[str, Any]], promise: Promise) -> LineState:
    """The state after one look at the paths' statistics. Call it one to ten times a second."""
    if now_ns <= s.at:
        return s
    now_colour, why = judge(paths, promise)
    began = s.began if s.began >= 0 else now_ns
    dt = now_ns - s.at if s.at >= 0 else 0
    spent = list(s.colour_ns)
    spent[s.colour] += dt
    colour, since, calm_from, words = s.colour, s.since or now_ns, s.calm_from, s.why
    if now_colour >= colour:
        since = now_ns if now_colour > colour else since
        colour, words, calm_from = now_colour, why, -1
    else:
        calm_from = now_ns if calm_from < 0 else calm_from
        if now_ns - calm_from >= CALM_NS:
            colour, words, since, calm_from = now_colour, why, now_ns, -1
    alive = tuple(bool(p.get("alive")) for p in paths)
    fell = list(s.fell) + [0] * (len(paths) - len(s.fell))
    for i, (was, is_now) in enumerate(zip(s.alive, alive, strict=False)):
        fell[i] += was and not is_now
    return LineState(
        colour, words, since, now_ns, began, calm_from,
        _noted(s.minutes, (now_ns - began) // MINUTE_NS, paths, dt), tuple(fell), alive, (spent[0], spent[1], spent[2]),
    )  # fmt: skip


def _noted(
    minutes: tuple[tuple[PathMinute, ...], ...], minute: int, paths: list[dict[str, Any]], dt: int
) -> tuple[tuple[PathMinute, ...], ...]:
    empty = tuple(PathMinute() for _ in paths)
    rows = list(minutes[-1440:])
    while len(rows) <= min(minute, 1440):
        rows.append(empty)
    row = list(rows[-1]) + [PathMinute()] * (len(paths) - len(rows[-1]))
    for i, p in enumerate(paths):
        old, rtt = row[i], p.get("rtt_ms_p99")
        row[i] = replace(
            old,
            rtt_p99_ms=rtt if old.rtt_p99_ms is None else old.rtt_p99_ms if rtt is None else max(rtt, old.rtt_p99_ms),
            loss=max(old.loss, float(p.get("loss_1s", p.get("loss", 0.0)) or 0.0)),
            gap_ms=max(old.gap_ms, float(p.get("silence_ms", 0.0) or 0.0)),
            down_ms=old.down_ms + (0.0 if p.get("alive") else dt / 1e6),
        )
    rows[-1] = tuple(row)
    return tuple(rows)


def as_document(s: LineState) -> dict[str, Any]:
    """Plain data for the certificate, the log and the page."""
    return {
        "colour": s.colour.name, "why": s.why, "seconds": max(0, s.at - s.began) / 1e9 if s.began >= 0 else 0.0,
        "seconds_by_colour": {c.name: s.colour_ns[c] / 1e9 for c in Colour}, "paths_fell": list(s.fell),
        "minutes": [
            [{"rtt_p99_ms": m.rtt_p99_ms, "loss": m.loss, "gap_ms": m.gap_ms, "down_ms": m.down_ms} for m in row] for row in s.minutes
        ],
    }  # fmt: skip
