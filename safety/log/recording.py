"""`Recording`: a SessionLog with a ring in front and a thread of its own, for a process that must never wait for a disk.

The thread encodes, chains, writes, syncs and signs. Everybody else calls `put` (never blocks) and reads `state`, which
says how full the ring is, what the disk policy is, and which checkpoint is the newest that is safely on disk: only that
one may be shown to other sites, so that an honest site never lacks a checkpoint somebody has seen.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from safety.log.cdr import CdrError
from safety.log.checkpoint import CheckpointError
from safety.log.disk import OK, DiskState, assess
from safety.log.ring import Ring
from safety.log.seconds import SECOND_TOPIC
from safety.log.writer import LogError, LogFull, SessionLog

#: How often the disk is looked at, ns.
DISK_PERIOD_NS = 1_000_000_000
_BATCH_S = 0.02


@dataclass(frozen=True, slots=True)
class RecordingState:
    """What others may know. ring: 0..1. checkpoint: digest of the newest checkpoint on disk; note: its signed text."""

    ring: float
    dropped: int
    disk: DiskState
    records: int
    file_bytes: int
    checkpoint: bytes
    note: str
    error: str


class Recording:
    """Owns the log from `start` until `close`."""

    def __init__(
        self, log: SessionLog, clock: Callable[[], int], *, ring: Ring | None = None,
        free_space: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        """clock: robot monotonic ns. free_space: bytes left for the log (default: statvfs of its folder)."""
        self._log = log
        self._clock = clock
        self._ring = ring or Ring()
        self._free_space = free_space or (lambda: _statvfs_free(log))
        self._stop = threading.Event()
        self._reason = ""
        self._peer: list[tuple[str, str, bytes, int]] = []
        self._peer_lock = threading.Lock()
        self._disk = DiskState(OK, 0.0, 0, 0.0)
        self._rate = 0.0
        self._disk_looked = (clock(), log.size_bytes)
        self._full = False
        self._error = ""
        self._synced = (log.newest.digest() if log.newest else b"", log.newest_note)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._look_at_disk(clock())

    def start(self) -> "Recording":
        self._thread.start()
        return self

    def put(
        self, topic: str, msg_type: str, message: Mapping[str, Any] | bytes, mono: int | None = None, *,
        publish_mono: int | None = None, cost: int = 0,
    ) -> bool:  # fmt: skip
        """Record one message, from any thread, without waiting. False: the ring is full, a GAP record will say so."""
        stamp = self._clock() if mono is None else mono
        return self._ring.put(topic, msg_type, message, stamp, publish_mono=publish_mono, cost=cost)

    def peer_checkpoint(self, site: str, *, note: str = "", digest: bytes = b"") -> None:
        """Another site's newest checkpoint arrived: record it, co-sign it when its text came along."""
        with self._peer_lock:
            self._peer.append((site, note, digest, self._clock()))

    @property
    def state(self) -> RecordingState:
        digest, note = self._synced
        return RecordingState(
            self._ring.level, self._ring.dropped, self._disk, self._log.records, self._log.size_bytes, digest, note,
            self._error,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self, reason: str, timeout_s: float = 10.0) -> bool:
        """Write what is queued, close the log cleanly. False when the writer could not finish in time."""
        self._reason = reason
        self._stop.set()
        self._thread.join(timeout_s)
        return self._log.closed

    # The writer's thread

    def _run(self) -> None:
        while True:
            stopping = self._stop.is_set()
            # In batches: a wake-up per message would cost more than writing it.
            self._stop.wait(_BATCH_S)
            if not self._full:
                self._drain()
            now = self._clock()
            self._tick(now)
            if now - self._disk_looked[0] >= DISK_PERIOD_NS:
                self._look_at_disk(now)
            if stopping and (self._full or self._ring.empty):
                break
        try:
            self._log.close(self._clock(), self._reason)
        except LogError as error:
            self._error = str(error)

    def _drain(self) -> None:
        items, losses = self._ring.take(0.0, limit=5000)
        for item in items:
            try:
                if item.topic == SECOND_TOPIC:
                    self._log.write_alone(item.topic, item.msg_type, item.message, item.mono)
                else:
                    self._log.write(item.topic, item.msg_type, item.message, item.mono, publish_mono=item.publish_mono)
            except (CdrError, LogError) as error:
                # A message that cannot be stored is a hole like any other, and must show as one.
                self._error = str(error)
                self._log.gap(item.topic, 1, item.mono, item.mono, "not_storable", self._clock())
        for topic, loss in losses.items():
            self._log.gap(topic, loss.count, loss.from_mono, loss.until_mono, "ring_full", self._clock())
        with self._peer_lock:
            peers, self._peer = self._peer, []
        for site, note, digest, mono in peers:
            try:
                self._log.peer_checkpoint(site, mono, note=note, digest=digest)
            except (CheckpointError, LogError) as error:
                self._error = f"checkpoint of {site}: {error}"

    def _tick(self, now: int) -> None:
        try:
            if self._full:
                self._log.flush()
                self._full = False
                self._error = ""
            if self._log.tick(now):
                os.fdatasync(self._log.fileno())
                newest = self._log.newest
                if newest is not None:
                    self._synced = (newest.digest(), self._log.newest_note)
        except (LogFull, OSError) as error:
            self._full = True
            self._error = str(error)

    def _look_at_disk(self, now: int) -> None:
        before, size = self._disk_looked
        if now > before:
            rate = (self._log.size_bytes - size) * 1e9 / (now - before)
            self._rate = rate if self._rate == 0.0 else 0.8 * self._rate + 0.2 * rate
        self._disk_looked = (now, self._log.size_bytes)
        try:
            free = self._free_space()
        except OSError:
            free = 0
        self._disk = assess(free, self._rate, self._full)


def _statvfs_free(log: SessionLog) -> int:
    stat = os.statvfs(log.path.parent)
    return stat.f_bavail * stat.f_frsize


