"""Plan documents: screws, undo and redo, approvals, on disk after every change.

A document is JSON: {id, title, image, rev, screws: [...], approval: {...} | null, voided: {...} | null, created}.
Changes of one drag share a gesture and are one step of undo. An approval names the plan's hash; any later change of
a screw voids it, visibly.
"""

import json
import os
import re
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teleop.console.contracts import ConsoleError

UNDO_STEPS = 200
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")


@dataclass(slots=True)
class Desk:
    """One case on the desk. `screws` are plain dicts as planning makes them (docs/console.md lists the keys)."""

    id: str
    title: str
    image: dict[str, Any]
    site: str = ""
    screws: list[dict[str, Any]] = field(default_factory=list)
    rev: int = 0
    approval: dict[str, Any] | None = None
    voided: dict[str, Any] | None = None
    transferred: dict[str, Any] | None = None
    created: float = field(default_factory=time.time)
    folder: Path | None = None
    _undo: list[list[dict[str, Any]]] = field(default_factory=list)
    _redo: list[list[dict[str, Any]]] = field(default_factory=list)
    _gesture: str = ""

    def screw(self, screw_id: str) -> dict[str, Any]:
        for screw in self.screws:
            if screw["id"] == screw_id:
                return screw
        raise ConsoleError(f"no screw {screw_id!r} in this plan")

    def change(self, screws: list[dict[str, Any]], who: str, gesture: str = "") -> None:
        """Replace the screws (one undo step per gesture) and void the approval."""
        if not gesture or gesture != self._gesture:
            self._undo.append(deepcopy(self.screws))
            del self._undo[:-UNDO_STEPS]
        self._gesture = gesture
        self._redo.clear()
        self._put(screws, who)

    def replace_one(self, screw: dict[str, Any], who: str, gesture: str = "") -> None:
        self.screw(screw["id"])
        self.change([screw if s["id"] == screw["id"] else s for s in self.screws], who, gesture)

    def undo(self, who: str) -> None:
        if not self._undo:
            raise ConsoleError("nothing to undo")
        self._redo.append(deepcopy(self.screws))
        self._gesture = ""
        self._put(self._undo.pop(), who)

    def redo(self, who: str) -> None:
        if not self._redo:
            raise ConsoleError("nothing to redo")
        self._undo.append(deepcopy(self.screws))
        self._put(self._redo.pop(), who)

    def _put(self, screws: list[dict[str, Any]], who: str) -> None:
        self.screws = screws
        self.rev += 1
        if self.approval is not None:
            self.void(who, "the plan was changed")
        self.save()

    def approve(self, who: str, plan_hash: str, signature: dict[str, Any]) -> None:
        """Sign: the plan's hash, who, when, and the signature itself."""
        # A refusal ("no safe screw here") has no line: it is an answer, not something to drive to.
        bad = [s["id"] for s in self.screws if s.get("status") != "OK" and s.get("entry_lps_mm") is not None]
        if not any(s.get("status") == "OK" for s in self.screws):
            raise ConsoleError("a plan without a verified screw cannot be approved: add one first")
        if bad:
            raise ConsoleError(f"not every screw can be approved: {', '.join(bad)}; change or remove these first")
        self.approval = {"who": who, "when": time.time(), "hash": plan_hash, **signature}
        self.voided = None
        self._gesture = ""
        self.save()

    def void(self, who: str, why: str) -> None:
        if self.approval is None:
            raise ConsoleError("this plan is not approved")
        self.voided = {"who": who, "when": time.time(), "why": why, "was": self.approval}
        self.approval = None
        self.transferred = None
        self.save()

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "image": self.image,
            "site": self.site,
            "rev": self.rev,
            "screws": self.screws,
            "approval": self.approval,
            "voided": self.voided,
            "transferred": self.transferred,
            "created": self.created,
            "can_undo": bool(self._undo),
            "can_redo": bool(self._redo),
        }

    def save(self) -> None:
        """Write the document, complete or not at all."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{self.id}.json"
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.document(), file)
        partial.replace(path)


def load_desks(folder: Path) -> tuple[list[Desk], list[str]]:
    """All documents of a folder, and a sentence for each file that could not be read."""
    desks, complaints = [], []
    for path in sorted(folder.glob("*.json")) if folder.exists() else []:
        try:
            d = json.loads(path.read_text())
            if not _ID.match(d["id"]):
                raise ValueError("bad id")
            desks.append(
                Desk(
                    id=d["id"],
                    title=d["title"],
                    image=d["image"],
                    site=d["site"],
                    screws=d["screws"],
                    rev=d["rev"],
                    approval=d["approval"],
                    voided=d["voided"],
                    transferred=d["transferred"],
                    created=d["created"],
                    folder=folder,
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            complaints.append(f"{path.name} is not a plan document ({error!r}); it was left as it is")
    return desks, complaints
