"""What a site remembers of one console: keys of its streams, ways back to it, orders already carried out, TCP credit."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from teleop.link.bucket import TokenBucket
from teleop.link.stream import StreamEnd

#: Replies kept for orders that are asked again because the first answer got lost.
REPLIES_KEPT = 256
#: Frames under way on the TCP fall-back before the sender waits for an acknowledgement (160 ms at 100 Hz).
TCP_CREDIT = 16


@dataclass
class Mailbox:
    """One-slot outbox of a stream on TCP with credit: at most TCP_CREDIT frames unacknowledged, the newest waits, older are dropped."""

    waiting: tuple[int, bytes] | None = None
    sent: int = 0
    acked: int = 0
    dropped: int = 0

    def put(self, counter: int, payload: bytes) -> None:
        """A new frame replaces the one that waits."""
        if self.waiting is not None:
            self.dropped += 1
        self.waiting = (counter, payload)

    def take(self) -> tuple[int, bytes] | None:
        """The frame to send now, or None (nothing waits, or no credit)."""
        if self.waiting is None or self.sent - self.acked >= TCP_CREDIT:
            return None
        frame, self.waiting = self.waiting, None
        self.sent += 1
        return frame

    def ack(self, received: int) -> None:
        """The peer has received this many frames of ours in all."""
        if self.acked < received <= self.sent:
            self.acked = received


@dataclass
class SiteSession:
    """One console at the site. `nonce` is the session of its commands, `number` finds it from a datagram's header."""

    key: str
    name: str
    instance: bytes
    nonce: bytes
    number: int
    secret: bytes
    stream: StreamEnd
    opened: int
    heard: int  # last authentic word on any channel
    routes: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # ROUTER identity -> (path, last heard)
    addresses: list[tuple[str, int] | None] = field(default_factory=list)  # newest authentic source per path
    address_counter: list[int] = field(default_factory=list)
    replies: OrderedDict[int, dict[str, Any] | None] = field(default_factory=OrderedDict)
    newest_order: int = 0
    notes: int = 0
    alive: list[bool] = field(default_factory=list)
    fallback: bool = False
    mailbox: Mailbox = field(default_factory=Mailbox)
    tcp_received: int = 0
    # 100 Hz is the rate of commands; twice that is a device that misbehaves, more is a flood.
    commands: TokenBucket = field(default_factory=lambda: TokenBucket(250.0, 50.0))
    orders: TokenBucket = field(default_factory=lambda: TokenBucket(100.0, 200.0))
    test_load: dict[int, tuple[float, int, int]] = field(default_factory=dict)  # path -> (B/s, until, next)

    def remember_order(self, order: int) -> bool:
        """True if this order is new. An id seen before, or too old to tell, is not."""
        if order in self.replies or order <= self.newest_order - REPLIES_KEPT:
            return False
        self.replies[order] = None
        self.newest_order = max(self.newest_order, order)
        while len(self.replies) > REPLIES_KEPT:
            self.replies.popitem(last=False)
        return True
