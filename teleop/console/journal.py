"""Every action at the console with who and when, one JSON line each, flushed at once.

This is the console's own record of actions (orders, presses, approvals, chat). `also` takes each line into the console's
session log, which is hash-chained and signed, and tells the hospital it concerns (`teleop.case.console_log.Actions`).
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Append-only JSON lines in a 0600 file."""

    def __init__(self, path: Path | None) -> None:
        self.lines = 0
        self._file = None
        #: Called with (who, where, what, details) of every line.
        self.also: Callable[[str, str, str, Mapping[str, Any]], None] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w")

    def write(self, who: str, what: str, **details: Any) -> None:
        self.lines += 1
        if self.also is not None:
            self.also(who, "console", what, details)
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
