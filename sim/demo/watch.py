"""Watching a running demo: the console's event lines, the truth of the room in hand, and the fault's moment."""

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.demo.judge import Truth, truth_from
from sim.world_client import WorldClient
from teleop.case.room import RoomError


class EventLines:
    """Follows a file of JSON lines that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """Events appended since the last call; a line still being written waits."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, _, _ = data.rpartition(b"\n")
        self._offset += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines() if line.strip()]


@dataclass
class RoomWatch:
    """Looks behind the scenes of one hospital and remembers the last looks."""

    site: str
    client: WorldClient
    looks: deque[tuple[Truth, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=6000))
    blind: str = ""

    def look(self) -> dict[str, Any] | None:
        """One look; None (and `blind` says why) while the room does not answer."""
        try:
            answer = self.client.ask("truth")
        except RoomError as error:
            self.blind = str(error)
            return None
        self.looks.append((truth_from(answer), answer))
        return answer

    def between(self, start_ns: int, end_ns: int) -> Truth | None:
        """The look in the middle of those taken in [start, end], or None."""
        found = [truth for truth, _ in self.looks if start_ns <= truth.stamp <= end_ns]
        return found[len(found) // 2] if found else None
