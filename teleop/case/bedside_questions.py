"""Questions that the case puts to the doctor at the bedside, and the answers; shared between threads."""

import itertools
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `sentence` is for people, `detail` for a page's picture and numbers."""

    id: int
    kind: str
    sentence: str
    detail: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return {"t": "question", "id": self.id, "kind": self.kind, "sentence": self.sentence, "detail": self.detail}


class Questions:
    """Open questions. `ask` blocks the desk's thread; `answer` comes from the loop that serves the bedside panel."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[int, Question] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._ids = itertools.count(1)

    def open(self) -> list[Question]:
        with self._changed:
            return list(self._open.values())

    def ask(self, kind: str, sentence: str, detail: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer, or {"ok": False, "why": ...} when nobody answers in time."""
        question = Question(next(self._ids), kind, sentence, detail)
        with self._changed:
            self._open[question.id] = question
            self._changed.wait_for(lambda: question.id in self._answers, timeout_s)
            del self._open[question.id]
            return self._answers.pop(question.id, {"ok": False, "why": f"nobody at the bedside answered in {timeout_s:g} s"})

    def answer(self, id_: int, ok: bool, who: str, why: str = "") -> bool:
        """False when the question is not open (answered already, or timed out)."""
        with self._changed:
            if id_ not in self._open or id_ in self._answers:
                return False
            self._answers[id_] = {"ok": ok, "who": who, "why": why}
            self._changed.notify_all()
            return True
