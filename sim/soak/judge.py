"""The judge of a soak: what grew, drifted, was missed or has holes. Pure, over `Evidence`.

Memory: the slope through all pairs of samples (Theil 1950, Sen 1968) after the warm-up, which a few outliers do not move,
times the time watched. What a run of that length could not have seen is said with it.
"""

import itertools
from dataclasses import asdict, dataclass
from typing import Any

from sim.soak.evidence import Evidence, Series

#: Share of a run that is warm-up: caches fill, compilers compile, windows of estimators fill.
WARM_UP = 0.25
#: Growth over the time watched: so much (MB), or so large a share of the middle value.
GROWTH_MB, GROWTH_SHARE = 6.0, 0.05
#: An estimate of a clock may be wrong by its own stated bound and this much more (us), and may not wander (us over the run).
CLOCK_SLACK_US, CLOCK_WANDER_US = 500.0, 10_000.0
#: The newest signed checkpoint is never older than this (s): three a second are made.
CHECKPOINT_AGE_S = 2.0
#: The log's rate at the end against the rate after warm-up.
LOG_RATE_RATIO = 2.0
#: More points than this are thinned out before the slope: pairs grow with the square.
SLOPE_POINTS = 240
#: Part of the time asked for that must have been run, and samples that a slope needs.
RAN_SHARE, LEAST_SAMPLES = 0.98, 8


@dataclass(frozen=True, slots=True)
class Check:
    """ok: passed. note: what this run could not have seen."""

    what: str
    measured: str
    limit: str
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(c.ok for c in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(c) for c in self.checks]}


def judge(e: Evidence) -> Verdict:
    """Every check; an evidence that lacks something fails there, for what was not looked at was not seen to hold."""
    checks = [Check("ran as long as asked", f"{e.lasted_s:.0f} s", f"{e.asked_s:.0f} s", e.lasted_s >= RAN_SHARE * e.asked_s)]
    checks += _each("memory", e.memory_mb, _memory)
    checks += _each("clock", e.clocks, _clock)
    checks += _each("deadlines", e.deadlines, _deadlines)
    checks += _each("log", e.logs, _log)
    checks += _each("log growth", e.log_bytes, _log_rate)
    checks += _each("checkpoints", e.checkpoint_age_s, _checkpoints)
    checks += _each("pictures", e.pictures, _flows)
    checks += _each("voice", e.voice, _flows)
    checks.append(Check("cases treated", str(e.cases), "1 or more", e.cases >= 1))
    words = "; ".join(e.wrongs[:5]) or "nothing"
    checks.append(Check("what must never happen", words, "nothing", not e.wrongs))
    return Verdict(tuple(checks))


def _each(what: str, found: dict[str, Any], check: Any) -> list[Check]:
    if not found:
        return [Check(what, "not measured", "measured", False)]
    return [check(f"{what}: {name}", value) for name, value in sorted(found.items())]


def slope(series: Series) -> float:
    """Theil-Sen slope, units a second; 0 for fewer than two points. Long series are thinned evenly."""
    step = max(1, -(-len(series) // SLOPE_POINTS))
    points = series[::step]
    slopes = sorted(
        (b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] > a[0]
    )
    return _middle(slopes)


def after_warm_up(series: Series) -> Series:
    """The samples after the first quarter of the time."""
    begin = series[0][0] + WARM_UP * (series[-1][0] - series[0][0])
    return [p for p in series if p[0] >= begin]


def _memory(what: str, series: Series) -> Check:
    warm = after_warm_up(series) if series else []
    if len(warm) < LEAST_SAMPLES:
        return Check(what, f"{len(warm)} samples after warm-up", f"{LEAST_SAMPLES} or more", False)
    span = warm[-1][0] - warm[0][0]
    growth = slope(warm) * span
    limit = max(GROWTH_MB, GROWTH_SHARE * _middle(sorted(v for _, v in warm)))
    note = f"over {span / 60:.0f} min: a leak below {limit / span * 3600:.0f} MB an hour would not be seen"
    return Check(what, f"{growth:+.2f} MB", f"{limit:.1f} MB", growth <= limit, note)


def _clock(what: str, rows: list[tuple[float, float, float]]) -> Check:
    if len(rows) < LEAST_SAMPLES:
        return Check(what, f"{len(rows)} estimates", f"{LEAST_SAMPLES} or more", False)
    beyond = max(abs(error) - bound for _, error, bound in rows)
    errors = after_warm_up([(t, error) for t, error, _ in rows])
    wander = slope(errors) * (errors[-1][0] - errors[0][0]) if len(errors) > 1 else 0.0
    ok = beyond <= CLOCK_SLACK_US and abs(wander) <= CLOCK_WANDER_US
    return Check(
        what, f"worst {max(abs(r[1]) for r in rows):.0f} us wrong, {beyond:+.0f} us against its bound, wandered {wander:+.0f} us",
        f"its bound + {CLOCK_SLACK_US:.0f} us, {CLOCK_WANDER_US:.0f} us", ok,
    )  # fmt: skip


def _deadlines(what: str, found: dict[str, Any]) -> Check:
    unaccounted, wakes = int(found["unaccounted"]), int(found["wakes"])
    words = f"{found['missed']} of {wakes} missed, worst {found['worst_ms']:.0f} ms; {unaccounted} unaccounted"
    return Check(what, words, "0 unaccounted", wakes > 0 and unaccounted == 0)


def _log(what: str, end: Any) -> Check:
    replayed = "not replayed" if end.replayed < 0 else f"{end.equal} of {end.replayed} decisions came out the same"
    words = f"{end.end}, {end.records} records, {end.checkpoints} checkpoints, {end.gaps} gaps, {end.missing_steps} steps missing, {replayed}"
    ok = end.end == "clean" and not end.gaps and not end.dropped and not end.missing_steps
    ok = ok and end.checkpoints > 0 and (end.replayed < 0 or (end.replayed > 0 and end.equal == end.replayed))
    return Check(what, words, "clean, no gap, every decision the same", ok)


def _log_rate(what: str, series: Series) -> Check:
    if len(series) < LEAST_SAMPLES:
        return Check(what, f"{len(series)} samples", f"{LEAST_SAMPLES} or more", False)
    if any(b[1] < a[1] for a, b in itertools.pairwise(series)):
        return Check(what, "the log became smaller", "it only grows", False)
    warm = after_warm_up(series)
    half = warm[len(warm) // 2]
    first = (half[1] - warm[0][1]) / max(half[0] - warm[0][0], 1e-9)
    last = (warm[-1][1] - half[1]) / max(warm[-1][0] - half[0], 1e-9)
    return Check(
        what, f"{first / 1e3:.1f}, then {last / 1e3:.1f} kB/s", f"x {LOG_RATE_RATIO:g} at most, and not at rest",
        last > 0 and first > 0 and last <= LOG_RATE_RATIO * first,
    )  # fmt: skip


def _checkpoints(what: str, series: Series) -> Check:
    if len(series) < LEAST_SAMPLES:
        return Check(what, f"{len(series)} samples", f"{LEAST_SAMPLES} or more", False)
    worst = max(v for _, v in series)
    return Check(what, f"the newest at most {worst:.2f} s old", f"{CHECKPOINT_AGE_S:g} s", worst <= CHECKPOINT_AGE_S)


def _flows(what: str, series: Series) -> Check:
    """A count that grows: pictures or blocks of voice received so far."""
    moved = series[-1][1] - series[0][1] if len(series) > 1 else 0.0
    return Check(what, f"{moved:.0f} received", "more than none", moved > 0)


def _middle(values: list[float]) -> float:
    if not values:
        return 0.0
    half = len(values) // 2
    return values[half] if len(values) % 2 else 0.5 * (values[half - 1] + values[half])
