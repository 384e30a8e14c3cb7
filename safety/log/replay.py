"""Would it decide the same again? Every recorded input goes through the same `step`; every output must be the same bytes.

Begins at the boot record, or at a snapshot where the recorder came later. Behind a hole in the numbering the memory of the
governor is unknown: steps are skipped, and counted as such, until the next boot or snapshot.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from safety import governor
from safety.inputs import BootIn, Input, Output, decode_input, decode_outputs, encode_outputs
from safety.log.steps import BOOT, SNAPSHOT, Step
from safety.params import ParamError, Params
from safety.situation import Situation
from safety.snapshot import SnapshotError, decode_situation

StepFunction = Callable[[Situation, Input, Params], tuple[Situation, list[Output]]]


class ReplayError(ValueError):
    """The log has nothing to replay, or was made by a governor whose inputs this one cannot read."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A step that decided differently: what was recorded, what comes out now."""

    n: int
    stamp: int
    record: int
    kind: str
    input: str
    recorded: list[str]
    replayed: list[str]
    state_recorded: str
    state_replayed: str


@dataclass(slots=True)
class ReplayReport:
    """decisions: steps replayed; equal: those with the same bytes and state; skipped: behind a hole in the log."""

    decisions: int = 0
    equal: int = 0
    skipped: int = 0
    begins: int = 0
    first_difference: Difference | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.decisions > 0 and self.equal == self.decisions

    def to_json(self) -> dict[str, Any]:
        d = self.first_difference
        return {
            "ok": self.ok, "decisions": self.decisions, "equal": self.equal, "skipped": self.skipped,
            "first_difference": None if d is None else {name: getattr(d, name) for name in Difference.__slots__},
            "notes": self.notes,
        }  # fmt: skip


def begin(step: Step) -> tuple[Situation, Params] | None:
    """The memory a boot record starts with; None for a snapshot, which needs the parameters of a boot before it."""
    boot_input = decode_input(step.input)
    if not isinstance(boot_input, BootIn):
        raise ReplayError(f"record {step.record} says it is a boot, and is not")
    return governor.boot(boot_input)


def walk(
    recorded: Iterable[Step], decide: StepFunction | None = None, params: Params | None = None
) -> Iterator[tuple[Step, Input | None, Situation | None, Situation | None, list[Output]]]:
    """Run the recorded inputs. Yields (step, input, situation before, situation after, outputs); input and situations are
    None for a step that cannot be replayed. decide: default `safety.governor.step`; params: instead of the recorded ones.

    Raises ReplayError."""
    run = decide or governor.step
    s: Situation | None = None
    p: Params | None = params
    for step in recorded:
        try:
            if step.kind == BOOT:
                s, booted = begin(step) or (None, None)
                p = params or booted
                continue
            if step.kind == SNAPSHOT:
                s = decode_situation(step.input)
                continue
            if s is None or p is None or step.n != s.n + 1:
                s = None
                yield step, None, None, None, []
                continue
            i = decode_input(step.input)
        except (ParamError, SnapshotError, ValueError, KeyError, TypeError) as error:
            raise ReplayError(
                f"record {step.record} ({step.kind}, step {step.n}) cannot be read by this governor: {error}; "
                "replay with the version named in the log's header"
            ) from error
        before = s
        s, outputs = run(s, i, p)
        yield step, i, before, s, outputs


def replay(recorded: Iterable[Step], decide: StepFunction | None = None) -> ReplayReport:
    """Compare bit for bit. Raises ReplayError (also when there is not one step to replay)."""
    report = ReplayReport()
    for step, i, _, after, outputs in walk(recorded, decide):
        if i is None or after is None:
            report.skipped += 1
            continue
        report.decisions += 1
        if encode_outputs(outputs) == step.outputs and (not step.state or str(after.state) == step.state):
            report.equal += 1
        elif report.first_difference is None:
            report.first_difference = Difference(
                step.n, step.stamp, step.record, step.kind, repr(i)[:2000],
                [repr(o) for o in decode_outputs(step.outputs)], [repr(o) for o in outputs], step.state,
                str(after.state),
            )  # fmt: skip
    if report.skipped:
        report.notes.append(f"{report.skipped} steps stand behind a hole in the log and could not be replayed")
    if not report.decisions:
        raise ReplayError("the log holds no governor step that can be replayed")
    return report
