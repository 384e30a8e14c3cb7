"""The consult room: who is here, who presents, pointers, drawings, raised hands, chat, proposals.

One authority (this server) orders everything into one list, which is also the record. Points are patient millimetres
(LPS) in the image's frame of reference, never pixels, so every expert can look at another plane and see the same point.
"""

from collections import deque
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from teleop.console.contracts import ConsoleError, Principal, Role

CHAT_LIMIT = 500
CHAT_LETTERS = 1000
DRAWINGS_LIMIT = 500
POINTS_LIMIT = 2000
#: Colours that are told apart on grey images and from the plan's cyan/yellow/green; the name is always written too.
COLOURS = ("#ff8fab", "#c77dff", "#ffa94d", "#74c0fc", "#f783ac", "#e599f7", "#ffd8a8", "#99e9f2")


def point(value: object) -> tuple[float, float, float]:
    """A finite point in patient millimetres. Raises ConsoleError."""
    if isinstance(value, (list, tuple)) and len(value) == 3:
        numbers = [float(v) for v in value if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) == 3 and all(isfinite(n) and abs(n) < 1e5 for n in numbers):
            return (numbers[0], numbers[1], numbers[2])
    raise ConsoleError("a point must be three finite numbers in patient millimetres (LPS)")


@dataclass(slots=True)
class Room:
    """State of the consult. `persons`: page id -> principal. `pointers`: page id -> what the pointer shows."""

    persons: dict[str, Principal] = field(default_factory=dict)
    pointers: dict[str, dict[str, Any]] = field(default_factory=dict)
    drawings: list[dict[str, Any]] = field(default_factory=list)
    chat: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CHAT_LIMIT))
    hands: dict[str, float] = field(default_factory=dict)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    presenter: str = ""
    look: dict[str, Any] = field(default_factory=dict)
    _colours: dict[str, str] = field(default_factory=dict)
    _serial: int = 0

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def colour(self, name: str) -> str:
        """The colour of a person, the same as long as the room exists."""
        if name not in self._colours:
            self._colours[name] = COLOURS[len(self._colours) % len(COLOURS)]
        return self._colours[name]

    def enter(self, page: str, who: Principal) -> None:
        self.persons[page] = who
        self.colour(who.name)

    def leave(self, page: str) -> None:
        who = self.persons.pop(page, None)
        self.pointers.pop(page, None)
        if self.presenter == page:
            self.presenter = ""
        if who and all(p.name != who.name for p in self.persons.values()):
            self.hands.pop(who.name, None)

    def point(self, page: str, case: str, at: object) -> None:
        """Show a pointer at a patient point, or take it away (None)."""
        if at is None:
            self.pointers.pop(page, None)
            return
        who = self.persons[page]
        self.pointers[page] = {
            "name": who.name,
            "colour": self.colour(who.name),
            "case": case,
            "at_lps_mm": list(point(at)),
        }

    def draw(self, page: str, case: str, kind: str, points: object, text: str, when: float) -> dict[str, Any]:
        """Add a line, a measurement or a note."""
        if kind not in ("line", "measure", "note"):
            raise ConsoleError(f"unknown kind of drawing {kind!r}: line, measure or note")
        if not isinstance(points, list) or not 1 <= len(points) <= POINTS_LIMIT:
            raise ConsoleError(f"a drawing has 1 to {POINTS_LIMIT} points")
        if len(self.drawings) >= DRAWINGS_LIMIT:
            raise ConsoleError(f"{DRAWINGS_LIMIT} drawings are on the images: erase some first")
        who = self.persons[page]
        drawing = {
            "id": self._next(),
            "case": case,
            "kind": kind,
            "points_lps_mm": [list(point(p)) for p in points],
            "text": str(text)[:200],
            "author": who.name,
            "colour": self.colour(who.name),
            "when": when,
        }
        self.drawings.append(drawing)
        return drawing

    def erase(self, page: str, serial: int) -> None:
        """Take a drawing away: one's own, or any if surgeon."""
        who = self.persons[page]
        for drawing in self.drawings:
            if drawing["id"] == serial:
                if drawing["author"] != who.name and who.role is not Role.SURGEON:
                    raise ConsoleError(
                        f"this drawing is {drawing['author']}'s: only its author or the surgeon erases it"
                    )
                self.drawings.remove(drawing)
                return

    def say(self, page: str, text: object, when: float) -> dict[str, Any]:
        words = str(text).strip()
        if not words or len(words) > CHAT_LETTERS:
            raise ConsoleError(f"a message has 1 to {CHAT_LETTERS} letters")
        who = self.persons[page]
        line = {
            "id": self._next(),
            "author": who.name,
            "role": who.role.value,
            "colour": self.colour(who.name),
            "text": words,
            "when": when,
        }
        self.chat.append(line)
        return line

    def hand(self, page: str, up: bool, when: float) -> None:
        name = self.persons[page].name
        if up:
            self.hands.setdefault(name, when)
        else:
            self.hands.pop(name, None)

    def present(self, page: str, on: bool) -> None:
        self.presenter = page if on else ("" if self.presenter == page else self.presenter)

    def show(self, page: str, look: object) -> None:
        """The presenter's view: case, crosshair, screw, window, depth, zoom."""
        if page == self.presenter and isinstance(look, dict):
            self.look = {k: look[k] for k in ("case", "cross", "screw", "window", "depth", "zoom", "camera") if k in look}

    def propose(self, page: str, case: str, screw: dict[str, Any], words: str, when: float) -> dict[str, Any]:
        """Propose a change of one screw; it changes nothing until the surgeon accepts it."""
        who = self.persons[page]
        proposal = {
            "id": self._next(),
            "case": case,
            "screw": screw,
            "text": str(words)[:400],
            "author": who.name,
            "colour": self.colour(who.name),
            "when": when,
            "state": "open",
        }
        self.proposals.append(proposal)
        del self.proposals[:-100]
        return proposal

    def decide(self, serial: int, accept: bool, who: str) -> dict[str, Any]:
        for proposal in self.proposals:
            if proposal["id"] == serial and proposal["state"] == "open":
                proposal["state"] = "accepted" if accept else "declined"
                proposal["decided_by"] = who
                return proposal
        raise ConsoleError("this proposal is no longer open")

    def document(self) -> dict[str, Any]:
        """What pages show, without the fast pointers."""
        seen: dict[str, dict[str, Any]] = {}
        for page, who in self.persons.items():
            row = seen.setdefault(
                who.name,
                {
                    "name": who.name,
                    "role": who.role.value,
                    "colour": self.colour(who.name),
                    "pages": 0,
                    "hand": who.name in self.hands,
                    "presents": False,
                },
            )
            row["pages"] += 1
            row["presents"] = row["presents"] or page == self.presenter
        return {
            "persons": list(seen.values()),
            "drawings": self.drawings,
            "chat": list(self.chat),
            "proposals": self.proposals,
            "look": self.look if self.presenter else {},
        }
