"""The workflow of a case as a pure state machine: nothing skips a gate silently.

    images -> plan approved -> line qualified -> plan transferred -> registered -> time-out (read back on both sides)
    -> for each screw: approach -> stand-off -> advance -> verified -> bedside confirmed -> placed -> released

`advance(state, event)` returns the new state or raises `GateClosed` naming every condition that is missing. A new plan
voids everything that was built on the old one; a new registration voids the time-out and all that follows.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Step(StrEnum):
    """Steps of a case, in order."""

    IMAGES = "images"
    APPROVED = "approved"
    TRANSFERRED = "transferred"
    REGISTERED = "registered"
    TIME_OUT = "time_out"


class ScrewStep(StrEnum):
    """Steps of one screw, in order."""

    NONE = "none"
    SELECTED = "selected"
    APPROACH = "approach"
    STAND_OFF = "stand_off"
    ADVANCE = "advance"
    VERIFIED = "verified"
    CONFIRMED = "confirmed"
    PLACED = "placed"


CASE_ORDER = tuple(Step)
SCREW_ORDER = tuple(ScrewStep)

#: From which screw steps a screw may enter each step. Corrections stay within STAND_OFF and ADVANCE, a failed
#: verification returns to ADVANCE, and a retreat is always allowed (it goes back to SELECTED).
SCREW_FROM: dict[ScrewStep, frozenset[ScrewStep]] = {
    ScrewStep.SELECTED: frozenset(SCREW_ORDER),
    ScrewStep.APPROACH: frozenset({ScrewStep.SELECTED, ScrewStep.APPROACH}),
    ScrewStep.STAND_OFF: frozenset({ScrewStep.APPROACH, ScrewStep.STAND_OFF}),
    ScrewStep.ADVANCE: frozenset({ScrewStep.STAND_OFF, ScrewStep.ADVANCE, ScrewStep.VERIFIED}),
    ScrewStep.VERIFIED: frozenset({ScrewStep.ADVANCE, ScrewStep.VERIFIED}),
    ScrewStep.CONFIRMED: frozenset({ScrewStep.VERIFIED}),
    ScrewStep.PLACED: frozenset({ScrewStep.CONFIRMED}),
}


class GateClosed(Exception):
    """A step was asked for whose conditions are not met; `missing` names them for people."""

    def __init__(self, step: str, missing: tuple[str, ...]) -> None:
        super().__init__(f"{step} refused: " + "; ".join(missing))
        self.step = step
        self.missing = missing


@dataclass(frozen=True, slots=True)
class CaseState:
    """Where a case stands. `plan_hash` is "" until a plan was transferred; `placed` lists screw ids in order."""

    case_id: str
    done: frozenset[Step] = frozenset()
    plan_hash: str = ""
    registration_epoch: int = 0
    screw: str = ""
    screw_step: ScrewStep = ScrewStep.NONE
    placed: tuple[str, ...] = ()


def require(state: CaseState, *steps: Step) -> tuple[str, ...]:
    """The steps among `steps` that are not done yet, as words."""
    words = {
        Step.IMAGES: "the images are not there",
        Step.APPROVED: "the plan is not approved by the surgeon",
        Step.TRANSFERRED: "the plan is not at the patient's site",
        Step.REGISTERED: "the patient is not registered",
        Step.TIME_OUT: "the time-out (case, side, level read back on both sides) is not done",
    }
    return tuple(words[step] for step in steps if step not in state.done)


def complete(state: CaseState, step: Step, *, plan_hash: str = "", registration_epoch: int = 0) -> CaseState:
    """Mark a step of the case as done; raises GateClosed when an earlier one is missing."""
    earlier = CASE_ORDER[: CASE_ORDER.index(step)]
    missing = require(state, *earlier)
    if step is Step.APPROVED:
        missing = require(state, Step.IMAGES)
    if step is Step.REGISTERED:
        missing = require(state, Step.IMAGES)
    if missing:
        raise GateClosed(step, missing)
    done = state.done | {step}
    if step in (Step.APPROVED, Step.TRANSFERRED) and plan_hash and plan_hash != state.plan_hash:
        done = (done - {Step.TIME_OUT, Step.TRANSFERRED}) | {step}
        return replace(state, done=done, plan_hash=plan_hash, screw="", screw_step=ScrewStep.NONE)
    if step is Step.REGISTERED:
        done = done - {Step.TIME_OUT}
        return replace(
            state, done=done, registration_epoch=registration_epoch, screw="", screw_step=ScrewStep.NONE
        )
    return replace(state, done=done)


def screw_step(state: CaseState, screw: str, step: ScrewStep) -> CaseState:
    """Move one screw to a step; raises GateClosed when the case or the screw is not ready for it."""
    missing = list(require(state, *CASE_ORDER))
    if step is ScrewStep.SELECTED:
        if screw in state.placed:
            missing.append(f"{screw} is already placed")
        if state.screw not in ("", screw) and state.screw_step not in (
            ScrewStep.NONE, ScrewStep.SELECTED, ScrewStep.PLACED,
        ):
            missing.append(f"{state.screw} is at step {state.screw_step}: retreat or finish it first")
    else:
        if state.screw != screw:
            missing.append(f"{screw} is not the selected screw ({state.screw or 'none is'})")
        elif state.screw_step not in SCREW_FROM[step]:
            missing.append(f"{screw} is at step {state.screw_step}")
    if missing:
        raise GateClosed(step, tuple(missing))
    placed = (*state.placed, screw) if step is ScrewStep.PLACED else state.placed
    return replace(state, screw=screw, screw_step=step, placed=placed)


def retreat(state: CaseState) -> CaseState:
    """The guide goes back along its axis: the screw in hand returns to SELECTED (a placed one is let go)."""
    if state.screw_step is ScrewStep.PLACED:
        return replace(state, screw="", screw_step=ScrewStep.NONE)
    if state.screw:
        return replace(state, screw_step=ScrewStep.SELECTED)
    return state
