"""From a press to commands: 100 Hz for the arm that this console holds.

`compose` is pure: the hand's state, what the page asks for and the newest snapshot give one `Intent`. The target of
jog and servo starts at the arm's own set-point at the press, and again whenever the robot's `rebase` changed.
"""

from dataclasses import dataclass, replace
from typing import Any

from teleop.console.contracts import Intent, SiteSnapshot
from teleop.console.hand import HandState
from teleop.console.jog import Jog, step

#: Commands per second to the arm in hand; nothing is sent to the others.
RATE_HZ = 100
#: A frame older than this is no base for a new motion (the governor's own limits are tighter). ns
STALE = 500_000_000
PATH_MODES = frozenset({"goal", "advance", "rehearsal"})


@dataclass(frozen=True, slots=True)
class Ask:
    """What the page wants while pressed: a path up to a length, or velocities (m/s, rad/s)."""

    path_hash: bytes = b""
    s_limit: float | None = None
    jog: Jog | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """The target in progress: which press and rebase it belongs to, and the pose."""

    press: int = 0
    rebase: int = -1
    target: tuple[float, ...] | None = None


def compose(
    hand: HandState, ask: Ask, walk: Walk, site: SiteSnapshot, drawn: int | None, now: int, dt: float
) -> tuple[Intent, Walk]:
    """One command. Released, stale or without a target it has press 0: it renews authority and moves nothing."""
    mode = hand.mode or "goal"
    idle = Intent(mode=mode, press=0, stop=False, echo_state=drawn)
    if not hand.value or hand.site != site.name or now - site.received > STALE:
        return idle, Walk()
    if mode in PATH_MODES:
        if ask.s_limit is None or not ask.path_hash:
            return idle, Walk()
        return replace(idle, press=hand.value, s_limit=ask.s_limit, path_hash=ask.path_hash), Walk()
    setpoint = site.arm.get("setpoint") or site.arm.get("pose")
    if ask.jog is None or not setpoint:
        return idle, Walk()
    rebase = int(site.gov.get("rebase", 0))
    if walk.press != hand.value or walk.rebase != rebase or walk.target is None:
        walk = Walk(hand.value, rebase, tuple(setpoint))
    assert walk.target is not None
    walk = replace(walk, target=step(walk.target, tuple(setpoint), ask.jog, dt))
    return replace(idle, press=hand.value, target=walk.target), walk


def stops_the_hand(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why a change of the governor's status ends a press ("" = it does not): a new press is wanted after each of
    these."""
    if after.get("state") in ("STOP", "FAULT", "HOLD", "LOCAL") and before.get("state") != after.get("state"):
        return str(after["state"]).lower()
    if before.get("epoch") != after.get("epoch"):
        return "grant"
    if before.get("state") in ("ACTIVE", "DEGRADED") and after.get("state") == "PAUSE":
        return "pause"
    return ""
