"""What a soak run brings back: series over time and the ends of the logs. JSON both ways; nothing in it decides."""

from dataclasses import asdict, dataclass, field
from typing import Any

Series = list[tuple[float, float]]


@dataclass
class LogEnd:
    """One session log when the run was over. end: clean, unclean, tampered. missing_steps: holes in the governor's numbering;
    replayed: decisions compared, equal: those that came out the same; -1, -1 where it was not replayed."""

    end: str
    records: int
    checkpoints: int
    gaps: int
    dropped: int
    missing_steps: int = 0
    replayed: int = -1
    equal: int = -1


@dataclass
class Evidence:
    """kind: "real time" or "virtual time". Times in s since the start of the run.

    memory_mb: process -> series. clocks: site -> rows of (t, error of the estimated offset in us, its stated bound in us).
    log_bytes: site -> series; checkpoint_age_s: site -> series (age of the newest signed checkpoint). deadlines: loop ->
    `Deadlines.to_json`. wrongs: what must never happen, in words. lasted_s: how long it ran.
    """

    kind: str
    lasted_s: float
    asked_s: float
    memory_mb: dict[str, Series] = field(default_factory=dict)
    cpu_s: dict[str, Series] = field(default_factory=dict)
    clocks: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    log_bytes: dict[str, Series] = field(default_factory=dict)
    checkpoint_age_s: dict[str, Series] = field(default_factory=dict)
    logs: dict[str, LogEnd] = field(default_factory=dict)
    deadlines: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: dict[str, Series] = field(default_factory=dict)
    voice: dict[str, Series] = field(default_factory=dict)
    loop_age_ms: dict[str, Series] = field(default_factory=dict)
    handovers: list[dict[str, Any]] = field(default_factory=list)
    cases: int = 0
    holds: int = 0
    wrongs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(raw: dict[str, Any]) -> Evidence:
    """The evidence that `to_json` wrote. Raises TypeError, KeyError for another shape."""
    known = {k: raw[k] for k in Evidence.__dataclass_fields__ if k in raw}
    known["logs"] = {k: LogEnd(**v) for k, v in raw.get("logs", {}).items()}
    return Evidence(**known)
