"""Operating states of CRTK and the governor's states: one table each way.

    governor                                CRTK
    INIT, LOCAL, READY without a holder     DISABLED
    READY with a holder, ACTIVE, DEGRADED   ENABLED
    PAUSE, HOLD                             PAUSED
    STOP, FAULT, and no governor at all     FAULT

    command    DISABLED    ENABLED     PAUSED      FAULT
    enable     ENABLED     ENABLED     invalid     ENABLED if the governor agrees, else refused with its reason
    disable    DISABLED    DISABLED    DISABLED    stays FAULT
    pause      invalid     PAUSED      PAUSED      invalid
    resume     invalid     invalid     ENABLED     invalid
    home       no motion: the encoders are absolute, the arm is always homed
    unhome     refused for the same reason
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DISABLED, ENABLED, PAUSED, FAULT = "DISABLED", "ENABLED", "PAUSED", "FAULT"
COMMANDS = ("enable", "disable", "pause", "resume", "home", "unhome")

_FIXED = {
    "INIT": DISABLED, "LOCAL": DISABLED, "ACTIVE": ENABLED, "DEGRADED": ENABLED,
    "PAUSE": PAUSED, "HOLD": PAUSED, "STOP": FAULT, "FAULT": FAULT,
}  # fmt: skip


def operating_state(status: Mapping[str, Any] | None) -> str:
    """CRTK state for a governor's status; None: no governor is heard."""
    if status is None:
        return FAULT
    state = status["state"]
    if state == "READY":
        return ENABLED if status["holder"] else DISABLED
    return _FIXED.get(state, FAULT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a state_command leads to: an order for the governor, or nothing to do, or a refusal in words."""

    order: dict[str, Any] | None = None
    refusal: str = ""


def answer(word: str, status: Mapping[str, Any] | None) -> Answer:
    """The table above."""
    state = operating_state(status)
    if word not in COMMANDS:
        return Answer(refusal=f"unknown state_command {word[:40]!r}; known: {', '.join(COMMANDS)}")
    if status is None:
        return Answer(refusal=f"{word}: the governor is not there")
    if word == "home":
        return Answer()
    if word == "unhome":
        return Answer(refusal="unhome: the encoders are absolute, the arm is always homed")
    if word == "enable":
        if state == PAUSED:
            return Answer(refusal="enable: the arm is PAUSED; resume or disable it")
        return Answer({"op": "enable"})
    if word == "disable":
        return Answer({"op": "disable"})
    if word == "pause":
        if state == PAUSED:
            return Answer()
        return Answer({"op": "pause"}) if state == ENABLED else Answer(refusal=f"pause: the arm is {state}")
    if state != PAUSED:
        return Answer(refusal=f"resume: the arm is {state}, not PAUSED")
    # A latched HOLD needs its reason acknowledged; a pause of our own is simply left.
    return Answer({"op": "ack"} if status["state"] == "HOLD" else {"op": "resume"})
