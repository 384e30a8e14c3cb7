"""Every action at the console with who and when, one JSON line each, flushed at once.

This is the console's own record of actions (orders, presses, approvals, chat). The hospital's session log is the
one that is hash-chained and signed; an order that reached a hospital stands in both, by the person's name and key.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


class Journal:
    """Append-only JSON lines in a 0600 file."""

    def __init__(self, path: Path | None) -> None:
        self.lines = 0
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w")

    def write(self, who: str, what: str, **details: Any) -> None:
        self.lines += 1
        if self._file is None:
            return
        row = {
            "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "t_ns": time.monotonic_ns(),
            "who": who,
            "what": what,
        }
        self._file.write(json.dumps(row | details, default=_plain, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
