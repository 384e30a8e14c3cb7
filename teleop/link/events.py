"""What `poll()` returns: plain records, no behaviour. Times `t` are ns of the local monotonic clock at dequeue."""

from dataclasses import dataclass, field
from typing import Any

#: `path` of a frame that came by the TCP fall-back.
TCP_PATH = -1


# --- at the site ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CommandFrame:
    """The newest command frame of a key: authenticated, never seen before, not yet decoded."""

    key: str
    path: int
    data: bytes
    t: int
    session: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """An order, delivered once per (key, id) of a session. Answer with `SiteLink.reply(key, id, {...})`."""

    key: str
    id: int
    order: dict[str, Any]
    t: int
    session: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody with a good key asks for a stop. Repeated (at most every 100 ms) until `SiteLink.echo_stop(key, ordinal)`."""

    key: str
    ordinal: int
    path: int
    t: int


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A console has joined. `session`: the 16-byte nonce that its commands must carry. `release`: what it says it runs."""

    key: str
    name: str
    session: bytes
    t: int
    release: str = ""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A console has left: why is "bye", "silent", "superseded", "revoked" or "link closed"."""

    key: str
    session: bytes
    why: str
    t: int


@dataclass(frozen=True, slots=True)
class Intruder:
    """A handshake that was refused, or bytes that did not authenticate. For the alarm list, never a motion matter."""

    what: str
    key: str
    address: str
    t: int


# --- at the console ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Up:
    """A session stands. `clock_offset_ns`: site clock minus console clock, first estimate, +- `clock_error_ns`."""

    site: str
    session: bytes
    clock_offset_ns: int
    clock_error_ns: int
    t: int
    release: str = ""


@dataclass(frozen=True, slots=True)
class Down:
    """Nothing authentic from the site on any channel for two seconds, or it said so. The link goes on trying."""

    site: str
    why: str
    t: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The site will not have us; retrying cannot help. `why`: "version", "superseded", "revoked", "key"."""

    site: str
    why: str
    text: str
    t: int


@dataclass(frozen=True, slots=True)
class StateFrame:
    """The newest state frame (msgpack), first arrival of all paths."""

    path: int
    data: bytes
    t: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The site's answer to the order `id`."""

    id: int
    reply: dict[str, Any]
    t: int


@dataclass(frozen=True, slots=True)
class OrderLost:
    """No answer to the order `id` in time. It may or may not have been carried out: ask for the state."""

    id: int
    why: str
    t: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something the site tells all its consoles (long texts of the status, alarms, case events)."""

    note: dict[str, Any]
    t: int


@dataclass(frozen=True, slots=True)
class StopEchoed:
    """The site's governor has seen the stop `ordinal`, `after_ns` after it was asked for."""

    ordinal: int
    after_ns: int
    t: int


# --- at both -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PathChange:
    """A datagram path died (silent > 250 ms) or came back. `key` names the console (at the site), "" at the console."""

    path: int
    alive: bool
    t: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class RouteChange:
    """An orders connection (TCP) over `path` was made or lost, seen by the socket monitor."""

    path: int
    connected: bool
    why: str
    t: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """Streams go over TCP (`on`), because no datagram path passes, or over UDP again. TCP stalls at 1 % loss: say it."""

    on: bool
    text: str
    t: int
    key: str = ""


@dataclass(slots=True)
class Counters:
    """What was shed or refused, by reason. Never reset while the link lives."""

    n: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, k: int = 1) -> None:
        """Count `k` more."""
        self.n[reason] = self.n.get(reason, 0) + k
