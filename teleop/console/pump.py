"""From a press to what the arm is asked for, 100 times a second for the arm that this console holds.

`compose` is pure: the hand's state, what the page asks for and the newest snapshot give one `Intent`. Sequence numbers,
epochs, rebase and the target of a jog are the business of `teleop.master.CommandMaker`, behind the site link.
"""

from dataclasses import dataclass, replace
from typing import Any

from teleop.console.contracts import Intent, SiteSnapshot
from teleop.console.hand import HandState

#: How often the hand is looked at.
RATE_HZ = 100
#: Telemetry older than this is no ground for a motion (the governor's own limits are tighter). ns
STALE = 500_000_000
PATH_MODES = frozenset({"goal", "advance", "rehearsal"})


@dataclass(frozen=True, slots=True)
class Ask:
    """What the page wants while pressed: a path up to a length (m), a twist in the guide frame (m/s x 3, rad/s x 3), or to
    be followed by `device`."""

    path_hash: bytes = b""
    s_limit: float | None = None
    jog: tuple[float, ...] | None = None
    device: str = ""


def compose(hand: HandState, ask: Ask, site: SiteSnapshot, drawn: int | None, now: int) -> Intent:
    """One intent. Released, stale or without anything to do it has press 0: it renews authority and moves nothing.

    Nothing drawn yet is 0, the oldest stamp there is: such a command can only be too old, never fresh by accident.
    """
    idle = Intent(mode=hand.mode or "goal", press=0, stop=False, echo_state=drawn or 0)
    if not hand.value or hand.site != site.name or not drawn or now - site.received > STALE:
        return idle
    if idle.mode in PATH_MODES:
        if ask.s_limit is None or not ask.path_hash:
            return idle
        return replace(idle, press=hand.value, s_limit=ask.s_limit, path_hash=ask.path_hash)
    if idle.mode == "servo":
        return replace(idle, press=hand.value, device=ask.device) if ask.device else idle
    return idle if ask.jog is None else replace(idle, press=hand.value, jog=ask.jog)


def stops_the_hand(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why a change of the governor's status ends a press ("" = it does not): each of these wants a new press."""
    if after.get("state") in ("STOP", "FAULT", "HOLD", "LOCAL") and before.get("state") != after.get("state"):
        return str(after["state"]).lower()
    if before.get("epoch") != after.get("epoch"):
        return "grant"
    if before.get("state") in ("ACTIVE", "DEGRADED") and after.get("state") == "PAUSE":
        return "pause"
    return ""
