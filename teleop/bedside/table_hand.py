"""The deadman of the pages at the table: a press of a jog button becomes one ask to the case desk per sample of the page.

The rules of a press are the console's own (`teleop.console.hand`): it lasts 150 ms without a new sample, and what is over
stays over. Nothing here repeats an ask: a page that is silent, slow or gone sends nothing, and the lease runs out.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from teleop.case.table_jog import AWAY, WAYS
from teleop.console import hand
from teleop.console.hand import HandState, Sample

SITE = "table"


class TableHand:
    """One hand for all tablets of a table: the page that presses first has it."""

    def __init__(self, send: Callable[[dict[str, Any]], Any]) -> None:
        self.state = HandState()
        self.server = secrets.token_hex(8)
        self.name = ""
        self.refused = ""  # the governor's words on the newest refused ask of this press
        self._send = send
        self._seen: tuple[Any, ...] = ()
        self._echo = 0

    def sample(self, page: str, message: Mapping[str, Any], who: str, now: int) -> bool:
        """Take a page's look at its deadman: {press, way, echo, age_ms, name}. Malformed = released. True: a press began."""
        press, way, echo, age = (message.get(k) for k in ("press", "way", "echo", "age_ms"))
        good = type(press) is int and press >= 0 and type(echo) is int and echo >= 0 and type(age) in (int, float)
        if not good or (press and way != AWAY and way not in WAYS):
            press, way, echo, age = 0, "", 0, 0
        before = self.state
        self.state = hand.sample(before, Sample(page, SITE, str(way or ""), int(press or 0), int(float(age or 0) * 1e6)), now)
        began = self.state.value != before.value and self.state.press > 0
        if began:
            self.name, self.refused = str(message.get("name") or who)[:60], ""
        if page == self.state.seat:
            if self.state.press and self.state.press == press:
                self._ask(self.state.value, int(echo or 0))
            elif before.press or not press:
                self._ask(0)
        return began

    def status(self, status: Mapping[str, Any]) -> None:
        """A status of the governor. A take-over, a stop and the end of a motion end the press; a new epoch hears a released hand
        first, because it believes no deadman that was down before it.
        """
        local = status.get("state") == "LOCAL"
        seen = (local, status.get("epoch"), status.get("rebase"))
        if seen == self._seen:
            return
        fresh = local and seen[:2] != self._seen[:2]
        self._seen = seen
        self.state = hand.interrupted(self.state, SITE, "ended")
        if fresh:
            self._echo = int(status.get("stamp", 0))
            self._ask(0)

    def tick(self, now: int) -> None:
        """Silence ends a press."""
        before, self.state = self.state, hand.tick(self.state, now)
        if before.press and not self.state.press:
            self._ask(0)

    def page_gone(self, page: str) -> None:
        before, self.state = self.state, hand.page_gone(self.state, page)
        if before.press and not self.state.press:
            self._ask(0)

    def stopped(self) -> None:
        """A stop from here: the press is over before the governor says so."""
        self.state = hand.interrupted(self.state, SITE, "stop")

    def _ask(self, press: int, echo: int = 0) -> None:
        """A release needs no picture: it goes out with the newest stamp that was echoed, so that its age does not refuse it."""
        if press:
            self._echo = echo
        self._send({"t": "jog", "server": self.server, "press": press, "way": self.state.mode, "echo": self._echo, "who": self.name})

    def frame(self) -> dict[str, Any]:
        """What the page shows of it."""
        return {"press": bool(self.state.press), "why": self.state.why, "refused": self.refused, "name": self.name}
