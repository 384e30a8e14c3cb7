"""Recorded pictures, beside the session log: one H.264 file per stream, one line per picture, and the way back.

    <log folder>/video-<site>-<time>/guide.h264        Annex B, plays in any player
                                     index.jsonl       {"stream", "id", "captured", "at", "size", "key", "w", "h", "sha256", "pose"}

The session log holds number, capture time and SHA-256 of every picture (`video/frames`), so a stored picture that was
exchanged, or is missing, shows. Replay asks by robot time and gets the picture that was the newest then.
"""

import bisect
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teleop.media.encode import Decoder
from teleop.media.frames import CodedFrame


class StoreError(ValueError):
    """Stored pictures cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored picture. at, size: place in the stream's file. captured: robot monotonic ns."""

    stream: str
    id: int
    captured: int
    at: int
    size: int
    key: bool
    w: int
    h: int
    sha256: str
    pose: tuple[float, ...] = ()


class Writer:
    """Appends pictures; stops, and says so, when the disk is nearly full. One thread."""

    def __init__(self, folder: Path, free_min: int = 2_000_000_000) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self._free_min = folder, free_min
        self._files: dict[str, Any] = {}
        self._index = (folder / "index.jsonl").open("a", buffering=1)
        self._began: set[str] = set()
        self.full = False
        self._count = 0

    def put(self, frame: CodedFrame) -> bool:
        """Store one picture; False when it was not (before the first key frame, or no space)."""
        info = frame.info
        if info.stream not in self._began and not frame.key:
            return False
        self._count += 1
        if self._count % 100 == 1:
            disk = os.statvfs(self.folder)
            self.full = disk.f_bavail * disk.f_frsize < self._free_min
        if self.full:
            self._began.clear()
            return False
        self._began.add(info.stream)
        file = self._files.get(info.stream)
        if file is None:
            file = self._files[info.stream] = (self.folder / f"{info.stream}.h264").open("ab", buffering=0)
        at = file.tell()
        file.write(frame.data)
        row = {"stream": info.stream, "id": info.id, "captured": info.captured, "at": at, "size": len(frame.data), "key": frame.key,
               "w": frame.width, "h": frame.height, "sha256": frame.sha256.hex()}  # fmt: skip
        self._index.write(json.dumps(row | ({"pose": info.pose} if info.pose else {})) + "\n")
        return True

    def close(self) -> None:
        for file in [*self._files.values(), self._index]:
            file.close()


class Reader:
    """Stored pictures by robot time. Raises StoreError for a folder without an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.streams: dict[str, list[Entry]] = {}
        try:
            lines = (folder / "index.jsonl").read_text().splitlines()
        except OSError as error:
            raise StoreError(f"{folder}: no recorded pictures here ({error.strerror})") from None
        for number, line in enumerate(lines):
            try:
                row = json.loads(line)
                entry = Entry(**{**row, "pose": tuple(row.get("pose", ()))})
            except (ValueError, TypeError) as error:
                if number == len(lines) - 1:
                    break  # cut in the middle of its last line
                raise StoreError(f"{folder}/index.jsonl, line {number + 1}: {error}") from None
            self.streams.setdefault(entry.stream, []).append(entry)
        self._times = {s: [e.captured for e in rows] for s, rows in self.streams.items()}
        self._decoders: dict[str, tuple[int, Decoder, NDArray[np.uint8] | None]] = {}

    def at(self, stream: str, t_ns: int) -> int | None:
        """Ordinal of the picture that was the newest at robot time t; None before the first."""
        k = bisect.bisect_right(self._times.get(stream, []), t_ns) - 1
        return k if k >= 0 else None

    def data(self, entry: Entry) -> bytes:
        """The coded picture, checked against its hash. Raises StoreError when it is missing or was changed."""
        with (self.folder / f"{entry.stream}.h264").open("rb") as file:
            file.seek(entry.at)
            data = file.read(entry.size)
        import hashlib

        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise StoreError(f"{self.folder}/{entry.stream}.h264: picture {entry.id} is not the one that was recorded")
        return data

    def picture(self, stream: str, t_ns: int) -> tuple[Entry, NDArray[np.uint8]] | None:
        """The picture at robot time t, decoded: from where the last request left off, or from the key frame before."""
        k = self.at(stream, t_ns)
        if k is None:
            return None
        rows = self.streams[stream]
        last, decoder, shown = self._decoders.get(stream, (-1, Decoder(), None))
        if k == last and shown is not None:
            return rows[k], shown
        first = k
        while first > 0 and not rows[first].key:
            first -= 1
        if not first <= last < k:
            decoder, last = Decoder(), first - 1
        for n in range(last + 1, k + 1):
            if rows[n].key and n > first:
                decoder = Decoder()
            decoded = decoder.decode(self.data(rows[n]))
            shown = decoded if decoded is not None else shown
        self._decoders[stream] = (k, decoder, shown)
        return (rows[k], shown) if shown is not None else None

    def check(self, logged: Iterable[tuple[str, int, bytes]], progress: Callable[[int], None] | None = None) -> list[str]:
        """Compare with the session log's (stream, frame id, sha256). Sentences; empty: every logged picture is here, unchanged."""
        have = {(e.stream, e.id): e for rows in self.streams.values() for e in rows}
        out, missing = [], 0
        for n, (stream, number, digest) in enumerate(logged):
            entry = have.pop((stream, number), None)
            if progress is not None and n % 500 == 0:
                progress(n)
            if entry is None:
                missing += 1
            elif entry.sha256 != digest.hex():
                out.append(f"{stream} {number}: the index names another picture than the session log")
            else:
                try:
                    self.data(entry)
                except (StoreError, OSError) as error:
                    out.append(str(error))
        if missing:
            out.append(f"{missing} pictures of the session log are not here")
        if have:
            out.append(f"{len(have)} pictures here are not in the session log")
        return out
