"""What other thresholds would have done with the very same inputs.

Two governors run side by side on the recorded inputs: one with the recorded parameters, one with the changed ones. Commands
name the epoch and the rebase they were made against; an honest console would have named the other governor's, so these
two are carried over (a frame that was behind by one stays behind by one). All else is as recorded.

OPEN LOOP: after the first difference the surgeon would have seen something else and acted otherwise, and the arm would have
been elsewhere. The numbers say which way a threshold pulls, not what would have happened.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from safety import governor
from safety.inputs import BootIn, ChangeOut, CommandIn, Input, Output, ReportIn, decode_input
from safety.log.replay import ReplayError, begin
from safety.log.steps import BOOT, SNAPSHOT, Step
from safety.params import Params
from safety.situation import Situation
from safety.snapshot import decode_situation
from safety.speed_law import travel_bound
from safety.states import State

CAVEAT = (
    "open loop: after the first difference the surgeon would have acted otherwise and the arm would have been elsewhere; "
    "these numbers say which way a threshold pulls, not what would have happened"
)
#: Words people use -> parameter. `margin` is the zone near anatomy.
ALIASES = {"margin": "m_near", "lease": "lease_ns", "age_hold": "a_hold_ns"}
_STOPPED = (State.PAUSE, State.HOLD, State.STOP, State.FAULT)
_MOVING = (State.ACTIVE, State.DEGRADED)


def parse_changes(words: Iterable[str]) -> dict[str, Any]:
    """`lease_ms=100`, `m_near_mm=1`, `margin_mm=1`, `v_near=0.01` -> parameter values in the kernel's units.

    Raises ParamError (from Params) and ValueError, naming the word."""
    out: dict[str, Any] = {}
    for word in words:
        name, sep, text = word.partition("=")
        if not sep:
            raise ValueError(f"{word!r}: write name=value, for example lease_ms=100")
        if name.endswith("_mm"):
            base = ALIASES.get(name[:-3], name[:-3])
            try:
                name, text = base, repr(float(text) / 1000.0)
            except ValueError:
                raise ValueError(f"{word!r}: {text!r} is no number") from None
        elif name.endswith("_ms") and name[:-3] in ALIASES:
            name = ALIASES[name[:-3]].removesuffix("_ns") + "_ms"
        elif name in ALIASES:
            name = ALIASES[name]
        key = name[:-3] + "_ns" if name.endswith("_ms") else name
        out[key] = _one(f"{name}={text}", key)
    return out


def _one(word: str, key: str) -> Any:
    """The value of one word, typed by Params; zone margins are checked together later, in their order."""
    try:
        return getattr(Params.from_words([word]), key)
    except ValueError as error:
        if "out of order" in str(error):
            return float(word.partition("=")[2])
        raise


@dataclass(slots=True)
class Tally:
    """What one governor did. Times s; travel bound X and reach in m."""

    params: Params
    entered: dict[str, int] = field(default_factory=dict)
    reasons: list[tuple[int, str, str]] = field(default_factory=list)  # stamp, state, reason
    seconds: dict[str, float] = field(default_factory=dict)
    leases: int = 0
    bound_max: float = 0.0
    bound_sum: float = 0.0
    reach: float = 0.0  # integral of the speed cap while a lease is in force

    @property
    def moving_s(self) -> float:
        return sum(self.seconds.get(str(s), 0.0) for s in _MOVING)

    @property
    def bound_mean(self) -> float:
        return self.bound_sum / self.leases if self.leases else 0.0


@dataclass(slots=True)
class WhatIf:
    """recorded and changed: the two tallies. first: the first difference in state (stamp, recorded, changed)."""

    recorded: Tally
    changed: Tally
    decisions: int
    first: tuple[int, str, str] | None
    extra: list[tuple[int, str, str]]
    missing: list[tuple[int, str, str]]

    def to_json(self) -> dict[str, Any]:
        a, b = self.recorded, self.changed
        return {
            "decisions": self.decisions,
            "changed": {
                k: [v, b.params.to_dict()[k]] for k, v in a.params.to_dict().items() if v != b.params.to_dict()[k]
            },
            "first_difference": None if self.first is None else
            {"stamp": self.first[0], "recorded": self.first[1], "changed": self.first[2]},
            "entered": {
                str(s): [a.entered.get(str(s), 0), b.entered.get(str(s), 0)]
                for s in State if a.entered.get(str(s)) or b.entered.get(str(s))
            },
            "extra": [list(e) for e in self.extra], "missing": [list(e) for e in self.missing],
            "moving_s": [a.moving_s, b.moving_s], "time_lost_s": a.moving_s - b.moving_s,
            "bound_mm_mean": [a.bound_mean * 1e3, b.bound_mean * 1e3],
            "bound_mm_max": [a.bound_max * 1e3, b.bound_max * 1e3],
            "travel_saved_mm_per_stop": (a.bound_mean - b.bound_mean) * 1e3,
            "reach_mm": [a.reach * 1e3, b.reach * 1e3],
            "caveat": CAVEAT,
        }  # fmt: skip


class _Side:
    """One governor running along."""

    def __init__(self, params: Params) -> None:
        self.tally = Tally(params)
        self.s: Situation | None = None

    def run(self, i: Input, step: Step) -> None:
        assert self.s is not None
        p, tally = self.tally.params, self.tally
        before = self.s
        self.s, out = governor.step(before, i, p)
        seconds = (self.s.now - before.now) / 1e9
        state = str(before.state)
        tally.seconds[state] = tally.seconds.get(state, 0.0) + seconds
        if before.lease is not None and before.lease.expiry >= self.s.now:
            tally.reach += before.lease.v_cap * seconds
        if self.s.lease is not None and self.s.lease is not before.lease:
            bound = travel_bound(self.s.lease.v_cap, p)
            tally.leases += 1
            tally.bound_sum += bound
            tally.bound_max = max(tally.bound_max, bound)
        self._count(out, step)

    def _count(self, out: list[Output], step: Step) -> None:
        for o in out:
            if isinstance(o, ChangeOut):
                self.tally.entered[o.new] = self.tally.entered.get(o.new, 0) + 1
                if o.new in _STOPPED:
                    self.tally.reasons.append((step.stamp, o.new, o.reason))


def _carried_over(i: Input, a: Situation, b: Situation) -> Input:
    """The command as it would have named the other governor's epoch and rebase; a report with its lease."""
    if isinstance(i, CommandIn) and (a.rebase != b.rebase or a.auth.epoch != b.auth.epoch):
        try:
            fields = msgpack.unpackb(i.data, raw=False)
            fields["rebase"] += b.rebase - a.rebase
            fields["epoch"] += b.auth.epoch - a.auth.epoch
            return replace(i, data=msgpack.packb(fields, use_bin_type=True))
        except (ValueError, KeyError, TypeError):
            return i
    if isinstance(i, ReportIn) and a.lease is not None and b.lease is not None and i.report.lease_id == a.lease.lease_id:
        return replace(i, report=replace(i.report, lease_id=b.lease.lease_id))
    return i


def what_if(recorded: Iterable[Step], values: dict[str, Any]) -> WhatIf:
    """Run both. values: parameter name -> value (`parse_changes`). Raises ReplayError, ParamError."""
    sides: tuple[_Side, _Side] | None = None
    first: tuple[int, str, str] | None = None
    decisions = 0
    for step in recorded:
        if step.kind == BOOT:
            started = begin(step)
            if sides is None and started is not None:
                sides = (_Side(started[1]), _Side(Params.from_dict({**started[1].to_dict(), **values})))
            if sides is not None and started is not None:
                for side in sides:
                    side.s = governor.boot(_boot_with(step, side.tally.params))[0]
            continue
        if step.kind == SNAPSHOT:
            for side in sides or ():
                side.s = decode_situation(step.input)
            continue
        if sides is None:
            continue
        a, b = sides
        if a.s is None or b.s is None or step.n != a.s.n + 1:
            a.s = b.s = None
            continue
        i = decode_input(step.input)
        other = _carried_over(i, a.s, b.s)
        a.run(i, step)
        b.run(other, step)
        decisions += 1
        assert a.s is not None and b.s is not None
        if first is None and a.s.state is not b.s.state:
            first = (step.stamp, f"{a.s.state}: {a.s.reason}", f"{b.s.state}: {b.s.reason}")
    if sides is None or not decisions:
        raise ReplayError("the log holds no governor step that can be replayed")
    a, b = sides
    extra, missing = _compare(a.tally.reasons, b.tally.reasons)
    return WhatIf(a.tally, b.tally, decisions, first, extra, missing)


def _boot_with(step: Step, params: Params) -> BootIn:
    boot_input = decode_input(step.input)
    assert isinstance(boot_input, BootIn)  # `begin` asked
    return replace(boot_input, params=params.to_dict())


def _compare(
    a: list[tuple[int, str, str]], b: list[tuple[int, str, str]], window_ns: int = 1_000_000_000
) -> tuple[list[tuple[int, str, str]], list[tuple[int, str, str]]]:
    """Stops of b that a has not (same state within a second), and the other way round."""
    left = list(a)
    extra = []
    for stamp, state, reason in b:
        match = next((x for x in left if x[1] == state and abs(x[0] - stamp) <= window_ns), None)
        if match is None:
            extra.append((stamp, state, reason))
        else:
            left.remove(match)
    return extra, left
