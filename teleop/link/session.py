"""What a site remembers of one console: keys of its streams, ways back to it, orders already carried out, TCP credit."""

from collections import OrderedDict
from dataclasses import dataclass, field

from teleop.link.bucket import TokenBucket
from teleop.link.stream import StreamEnd

#: Orders remembered, and bytes of replies kept for those that are asked again because the first answer got lost.
REPLIES_KEPT = 256
REPLY_BYTES_KEPT = 2 * 1024 * 1024
#: A reply that left this recently is under way: an order that is asked again (the copy by the other route) has to wait.
REPLY_UNDER_WAY_NS = 400_000_000
#: Larger replies go by the route on which the order came first, not by all.
REPLY_SMALL_BYTES = 4096
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
    orders_seen: OrderedDict[int, "Answered"] = field(default_factory=OrderedDict)
    reply_bytes: int = 0
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

    def remember_order(self, order: int, route: bytes) -> bool:
        """True if this order is new. An id seen before, or too old to tell, is not."""
        if order in self.orders_seen or order <= self.newest_order - REPLIES_KEPT:
            return False
        self.orders_seen[order] = Answered(route)
        self.newest_order = max(self.newest_order, order)
        while len(self.orders_seen) > REPLIES_KEPT:
            _, old = self.orders_seen.popitem(last=False)
            self.reply_bytes -= len(old.raw or b"")
        return True

    def keep_reply(self, order: int, raw: bytes, now_ns: int) -> list[bytes]:
        """Keep the packed reply for those who ask again; the routes to send it by now."""
        entry = self.orders_seen.get(order)
        if entry is None:
            return list(self.routes)
        self.reply_bytes += len(raw) - len(entry.raw or b"")
        entry.raw, entry.sent = raw, now_ns
        for old in self.orders_seen.values():
            if self.reply_bytes <= REPLY_BYTES_KEPT:
                break
            if old is not entry and old.raw:
                self.reply_bytes -= len(old.raw)
                old.raw = b""
        return [entry.route] if len(raw) > REPLY_SMALL_BYTES and entry.route in self.routes else list(self.routes)

    def asked_again(self, order: int, now_ns: int) -> bytes | None:
        """The reply to send to a console that asks again, None if there is none yet or it is under way.

        b"": there was a reply, but it is not kept any more.
        """
        entry = self.orders_seen.get(order)
        if entry is None:
            return b""
        if entry.raw is None or now_ns - entry.sent < REPLY_UNDER_WAY_NS:
            return None
        entry.sent = now_ns
        return entry.raw


@dataclass(slots=True)
class Answered:
    """One order: the route it came by first, its reply as packed bytes (None: not yet), when that was last sent."""

    route: bytes
    raw: bytes | None = None
    sent: int = 0
