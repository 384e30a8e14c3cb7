"""A hospital asks for an expert from its bedside: the site's end, pure (time is an input).

The bedside page opens a request (question; the case's images are named with it). Every console with a session polls `case.requests`
and takes what is new; it tells back with `case.consult` who was told, who has seen it, who has the images open after how long. The
doctor at the table sees each of these. Nothing here waits for anybody, so it works while the case desk waits for an answer.
"""

from dataclasses import dataclass, field
from typing import Any

QUESTION_MAX = 1000
#: Requests kept, newest last; open ones at once.
KEPT, OPEN_MAX = 20, 3
OPS = frozenset({"case.ask_expert", "case.withdraw_request", "case.requests", "case.consult"})
NO_LINE = (
    "no console can be reached from here: the line is down, so nobody would see this request. Nothing was sent; telephone "
    "the experts on call, and ask again when the line is back"
)
#: What a console may tell of a request, and its longest form.
FACTS = ("told", "seen", "opened")


@dataclass(slots=True)
class ExpertRequest:
    """asked: robot mono ns. taken: console's name once one has it. told, seen, opened: name -> ms after the asking."""

    id: int
    question: str
    by: str
    asked: int
    utc: float
    images: dict[str, Any]
    state: str = "open"
    taken: str = ""
    taken_ms: float = 0.0
    answer: str = ""
    told: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    opened: dict[str, float] = field(default_factory=dict)

    def to_wire(self, now: int) -> dict[str, Any]:
        """age_ms: since the asking, on the robot's clock, so that a console needs no clock of ours."""
        return {
            "id": self.id, "question": self.question, "by": self.by, "utc": self.utc, "age_ms": (now - self.asked) / 1e6,
            "images": self.images, "state": self.state, "taken": self.taken, "taken_ms": self.taken_ms, "answer": self.answer,
            "told": self.told, "seen": self.seen, "opened": self.opened,
        }  # fmt: skip


class ExpertRequests:
    """The requests of one site. `handle` never waits and never raises."""

    def __init__(self, first_id: int = 1) -> None:
        """first_id: above those of the run before, so that a console never takes a new request for an old one."""
        self._all: list[ExpertRequest] = []
        self._next = first_id

    def handle(
        self, who: str, order: dict[str, Any], now: int, utc: float, *, line_up: bool, images: dict[str, Any]
    ) -> dict[str, Any]:
        """who: "bedside" or a console's key. images: what can be shown of the case ({} without one). -> the reply."""
        try:
            match order.get("op"):
                case "case.ask_expert":
                    return self._ask(who, order, now, utc, line_up, images)
                case "case.withdraw_request":
                    return self._withdraw(who, order)
                case "case.requests":
                    return {"ok": True, "reason": "", "requests": [r.to_wire(now) for r in self._all]}
                case "case.consult":
                    return self._told(who, order, now)
        except (KeyError, TypeError, ValueError) as error:
            return _no(f"{order.get('op')}: bad order: {type(error).__name__}: {error}")
        return _no(f"unknown order {order.get('op')!r}")

    def _ask(self, who: str, order: dict[str, Any], now: int, utc: float, line_up: bool, images: dict[str, Any]) -> dict[str, Any]:
        if who != "bedside":
            return _no("a request for an expert is opened at the bedside; a console asks on its own page")
        question = str(order.get("question", "")).strip()
        if not 1 <= len(question) <= QUESTION_MAX:
            return _no(f"write a question of 1 to {QUESTION_MAX} letters")
        if not line_up:
            return _no(NO_LINE)
        if sum(r.state == "open" for r in self._all) >= OPEN_MAX:
            return _no(f"{OPEN_MAX} requests are open already: withdraw one first")
        made = ExpertRequest(self._next, question, str(order.get("by") or "bedside")[:40], now, utc, images)
        self._next += 1
        self._all = [*self._all[-(KEPT - 1) :], made]
        return {"ok": True, "reason": "", "request": made.id}

    def _withdraw(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        if who != "bedside":
            return _no("only the bedside withdraws its request")
        r = self._find(order)
        if r is None or r.state != "open":
            return _no("this request is not open any more")
        r.state = "withdrawn"
        return {"ok": True, "reason": "", "request": r.id}

    def _told(self, who: str, order: dict[str, Any], now: int) -> dict[str, Any]:
        if who == "bedside":
            return _no("this is for consoles")
        r = self._find(order)
        if r is None:
            return _no("no such request here")
        if not r.taken:
            r.taken, r.taken_ms = str(order.get("console", ""))[:40] or who[:8], (now - r.asked) / 1e6
        for name in FACTS:
            found = order.get(name, {})
            if not isinstance(found, dict) or len(found) > 50:
                raise ValueError(f"{name} is a map of at most 50 names to ms")
            setattr(r, name, getattr(r, name) | {str(k)[:40]: float(v) for k, v in found.items()})
        if order.get("state") == "closed" and r.state == "open":
            r.state, r.answer = "closed", str(order.get("answer", ""))[:QUESTION_MAX]
        return {"ok": True, "reason": "", "state": r.state}

    def _find(self, order: dict[str, Any]) -> ExpertRequest | None:
        wanted = int(order["id"])
        return next((r for r in self._all if r.id == wanted), None)


def _no(why: str) -> dict[str, Any]:
    return {"ok": False, "reason": why}
