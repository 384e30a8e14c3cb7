"""What the console needs from the rest of the stack, as protocols, and the words it uses itself.

`SiteLink` is one hospital as seen from the surgeon's side; `teleop.console.live_sites` makes one from a link. Planning
is reached through a child process (`planner_process`), so that arithmetic never delays a deadman.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class ConsoleError(Exception):
    """Something a person asked for cannot be done; the text says what, where and what to do."""


class Role(StrEnum):
    """Who may do what (see `permissions`). Only `surgeon`, the operating surgeon, has motion rights; `viewer` only looks and may
    stop. mentor, bedside, observer and reviewer come to a consultation by invitation."""

    SURGEON = "surgeon"
    MENTOR = "mentor"
    EXPERT = "expert"
    BEDSIDE = "bedside"
    OBSERVER = "observer"
    REVIEWER = "reviewer"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in person: a display name, a role, and the name of the key that signs for them ("" = cannot sign)."""

    name: str
    role: Role
    key: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """What the console asks of one arm at one tick, before the link adds session, epoch, seq, rebase and stamps.

    mode: safety.states.Mode value. press: 0 released, else the ordinal of the deadman press at this console.
    jog: twist in the guide's frame (m/s x 3, rad/s x 3; z along the guide) for jog; device: which of the page's devices
    the press is on, for servo; s_limit: metres along
    path_hash for goal, advance and rehearsal. echo_state: robot stamp (ns) that the page last drew, 0 = nothing yet.
    """

    mode: str
    press: int
    stop: bool
    echo_state: int
    jog: tuple[float, ...] | None = None
    s_limit: float | None = None
    path_hash: bytes = b""
    echo_view: int | None = None  # capture time (robot ns) of the picture that the page displays; None: none is shown
    device: str = ""


@dataclass(slots=True)
class SiteSnapshot:
    """One hospital at one instant, as its own telemetry says (never as we asked).

    received: console monotonic ns of the newest frame, 0 = never. stamp: robot monotonic ns of that frame.
    arm, gov, tracker: as in the state frame. link: {"paths": [{alive, rtt_ms, loss, jitter_ms}], "rtt_ms", "loss",
    "carrier"}. case: where the case stands; hand: what the surgeon's hand does here (docs/console.md lists the keys).
    """

    name: str
    title: str = ""
    simulated: bool = True
    received: int = 0
    stamp: int = 0
    arm: dict[str, Any] = field(default_factory=dict)
    gov: dict[str, Any] = field(default_factory=dict)
    tracker: dict[str, Any] | None = None
    link: dict[str, Any] = field(default_factory=dict)
    case: dict[str, Any] = field(default_factory=dict)
    mine: bool = False  # this console's key holds control
    hand: dict[str, Any] = field(default_factory=dict)


class SiteLink(Protocol):
    """One hospital. Calls never block; `order` awaits the site's own reply."""

    name: str
    on_change: Callable[[], None] | None
    way: tuple[bytes, list[list[float]]]

    def snapshot(self) -> SiteSnapshot: ...

    def send(self, intent: Intent) -> None:
        """Put one command on the stream (100 Hz while control is held)."""

    def bind_plan(self, plan_hash: bytes, lines: dict[str, Any]) -> None:
        """The plan that the surgeon has in front of him: first 8 bytes of its hash, screw id -> (entry, tip) in LPS mm."""

    def master(self, page: str, samples: object, age_ns: int, now_ns: int) -> None:
        """Readings of a page's master devices (`teleop.master.browser`), `age_ns` old."""

    def page_gone(self, page: str) -> None:
        """A page closed: its devices are let go."""

    def configure(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Change the hand's settings; returns all of them. Raises ConsoleError naming the field and its range."""

    def take_news(self) -> list[str]:
        """What was noticed of the master devices since the last call."""

    def take_prediction(self) -> dict[str, Any] | None:
        """How well what was drawn ahead came true since the last call, for the record; None: nothing to say."""

    def energies(self) -> dict[str, dict[str, float]]:
        """By device, the energies of the reflected force (`SiteHand.energies`), for the record; empty while it is off."""

    def stop(self, who: str) -> None:
        """Stop on every path, repeated until echoed; needs no authority."""

    async def order(self, op: str, **params: Any) -> dict[str, Any]:
        """Ask the site for something; {"ok": bool, "reason": str, ...}."""

    def robot(self) -> dict[str, Any]:
        """Kinematic description for the 3-D view: {"joints": [...], "links": [...]} (`robot_picture`)."""

    async def close(self) -> None: ...
