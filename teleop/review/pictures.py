"""Recorded pictures beside a log, at the reviewer's cursor: the newest picture of each stream then, checked against the log.

A folder of pictures (`video-<site>-<time>`) belongs to a log when the log's own hash names one of its pictures; names prove nothing.
"""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from safety.log.reader import LogReader
from teleop.media.stamp import STRIP
from teleop.media.store import Reader, StoreError

TOPIC = "video/frames"
#: A cursor further than this behind the newest picture shows none: nothing was recorded then.
GAP_NS = 2_000_000_000
#: So many of the log's rows are compared with a folder's index to find out whether it belongs.
PROBES = 20


def logged(reader: LogReader) -> list[tuple[str, int, bytes, int]]:
    """(stream, frame id, sha256, capture time) of every picture that the log names."""
    topic = next((t for t in reader.topics if t == TOPIC or t.endswith("/" + TOPIC)), "")
    if not topic:
        return []
    out = []
    for message in reader.messages((topic,)):
        row = reader.decode(message)
        out.append((str(row["stream"]), int(row["frame_id"]), bytes(row["sha256"]), int(row["stamp_mono"])))
    return out


def folder_of(log: Path, rows: list[tuple[str, int, bytes, int]]) -> Path | None:
    """The folder of pictures that belongs to a log, beside it."""
    probes = {(r[0], r[1]): r[2].hex() for r in rows[:: max(1, len(rows) // PROBES)]}
    for folder in sorted(log.parent.glob("video-*"), reverse=True):
        try:
            found = Reader(folder)
        except StoreError:
            continue
        if any(probes.get((e.stream, e.id)) == e.sha256 for entries in found.streams.values() for e in entries):
            return folder
    return None


class Pictures:
    """The pictures of one log. Not for several threads at once: the caller locks."""

    def __init__(self, log: Path, rows: list[tuple[str, int, bytes, int]]) -> None:
        self.rows = rows
        self.folder = folder_of(log, rows) if rows else None
        self._reader = Reader(self.folder) if self.folder is not None else None
        self._hashes = {(s, n): digest.hex() for s, n, digest, _ in rows}

    def at(self, mono: int, seconds: Callable[[int], float]) -> dict[str, Any]:
        """{streams: {name: {id, t, age_ms, jpeg (base64), logged}}, note}. logged: the log names this very picture."""
        if self._reader is None:
            return {"streams": {}, "note": "the log names no pictures" if not self.rows else "the pictures of this log are not beside it"}
        out: dict[str, Any] = {}
        for stream in sorted(self._reader.streams):
            try:
                found = self._reader.picture(stream, mono)
            except (StoreError, OSError) as error:
                out[stream] = {"error": str(error)}
                continue
            if found is None or mono - found[0].captured > GAP_NS:
                continue
            entry, pixels = found
            buffer = io.BytesIO()
            Image.fromarray(pixels[:-STRIP]).save(buffer, "JPEG", quality=80)
            out[stream] = {
                "id": entry.id, "t": seconds(entry.captured), "age_ms": (mono - entry.captured) / 1e6,
                "jpeg": base64.b64encode(buffer.getvalue()).decode(), "logged": self._hashes.get((stream, entry.id)) == entry.sha256,
            }  # fmt: skip
        return {"streams": out, "note": ""}
