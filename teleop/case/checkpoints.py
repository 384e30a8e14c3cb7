"""`Carrier`: takes every site's newest log checkpoint to every other site, through the console that talks to all of them.

A site that has seen another's checkpoint records and co-signs it; from then on that other site can neither cut nor rewrite
what stands before it (docs/log.md). The console's own log takes part like a site's. The carrier cannot forge anything:
a checkpoint is signed by its site. It can withhold, and then the logs show that nothing was witnessed.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Protocol

#: A site gets at most one note in this time, so that thirty hospitals do not flood the lines ...
PER_TARGET_NS = 250_000_000
#: ... and the same site's newest one at most this often.
AGAIN_NS = 900_000_000
_LOST_AFTER_S = 5.0


class Reply(Protocol):
    reply: dict[str, Any] | None


class Site(Protocol):
    """What the carrier needs of a `ConsoleSession`."""

    name: str
    up: bool
    checkpoint: str
    peer_checkpoint: bytes

    def send(self, op: str, timeout_s: float = ..., **fields: Any) -> Reply: ...


class OwnLog(Protocol):
    """What the carrier needs of a `ConsoleLog`."""

    @property
    def name(self) -> str: ...
    @property
    def checkpoint(self) -> str: ...
    def witness(self, site: str, note: str) -> None: ...


class Carrier:
    """Owned by the console's loop; `step` never waits. own: the console's log, None when it keeps none."""

    def __init__(self, sites: Sequence[Site], own: OwnLog | None = None) -> None:
        self._sites = sites
        self._own = own
        self._witnessed: dict[str, str] = {}
        self._sent: dict[tuple[str, str], tuple[int, str]] = {}  # (to, of) -> when, which note
        self._next: dict[str, int] = {}
        self._open: dict[str, Reply] = {}

    def step(self, now_ns: int) -> int:
        """Carry what is due; returns how many notes went out."""
        notes = {s.name: s.checkpoint for s in self._sites if s.checkpoint}
        if self._own is not None:
            for name, note in notes.items():
                if self._witnessed.get(name) != note:
                    self._witnessed[name] = note
                    self._own.witness(name, note)
            if self._own.checkpoint:
                notes[self._own.name] = self._own.checkpoint
                digest = short_digest(self._own.checkpoint)
                for site in self._sites:
                    site.peer_checkpoint = digest  # in every command: what the console's log was when it was made
        return sum(self._send(site, notes, now_ns) for site in self._sites if site.up)

    def _send(self, to: Site, notes: dict[str, str], now: int) -> bool:
        waiting = self._open.get(to.name)
        if now < self._next.get(to.name, 0) or (waiting is not None and waiting.reply is None):
            return False
        due = []
        for name, note in notes.items():
            at, sent = self._sent.get((to.name, name), (-AGAIN_NS, ""))
            if name != to.name and note != sent and now - at >= AGAIN_NS:
                due.append((at, name, note))
        if not due:
            return False
        _, name, note = min(due)
        try:
            self._open[to.name] = to.send("site.checkpoint", _LOST_AFTER_S, site=name, note=note)
        except (ValueError, RuntimeError, OSError):
            return False  # too many orders are open: the next turn tries again
        self._sent[to.name, name] = (now, note)
        self._next[to.name] = now + PER_TARGET_NS
        return True


def short_digest(note: str) -> bytes:
    """First 8 bytes of the digest of a checkpoint's text: what a command carries."""
    return sha256((note.partition("\n\n")[0] + "\n").encode()).digest()[:8]


