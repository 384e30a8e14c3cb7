"""`StreamEnd`: one end of a session's datagram streams over all its paths. No sockets, no clock: bytes and times in, bytes out.

Everything is sent on every path with the same counter; the first copy of the newest frame is delivered, the rest is counted.
Probes (20 a second, on every path) carry four-stamp round trips and a reception report, so both ends know both directions.
"""

import struct
from collections import deque
from dataclasses import dataclass

from teleop.link.estimators import PathHealth, PathStats
from teleop.link.replay import Arrival, ReplayWindow, Sieve
from teleop.link.seal import PAYLOAD_MAX_BYTES, Channel, Kind, StreamCipher, Unsealed, parse_header

PROBE_PERIOD_NS = 50_000_000
#: own send time; datagrams received on this path so far; highest counter among them; how many echoes follow.
PROBE = struct.Struct(">QQQB")
#: An echo: send time of a probe of the peer, own time of its arrival. Every probe is echoed once, also one that was
#: overtaken: else the slow ones would be missing from the round trips.
ECHO = struct.Struct(">QQ")
ECHOES_MAX = 8
STOP = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Opened:
    """A datagram that opened and counts."""

    kind: int
    path: int
    counter: int
    payload: bytes


class StreamEnd:
    """Keys, counters, windows and estimators of one session at one end. `site`: this end is the arm's."""

    def __init__(self, secret: bytes, nonce: bytes, number: int, paths: int, *, site: bool, now_ns: int) -> None:
        self.paths = paths
        self.site = site

        def ciphers(from_site: bool, channel: int) -> list[StreamCipher]:
            return [
                StreamCipher(secret, nonce, number, from_site=from_site, channel=channel, path=p) for p in range(paths)
            ]

        self._out = {c: ciphers(site, c) for c in (Channel.STREAM, Channel.LOAD)}
        self._in = {c: ciphers(not site, c) for c in (Channel.STREAM, Channel.LOAD)}
        self._windows = {c: [ReplayWindow() for _ in range(paths)] for c in self._in}
        self._counter = 0
        self._load_counter = [0] * paths
        self._sieves = {Kind.COMMAND: Sieve(), Kind.STATE: Sieve()}
        self.health = [PathHealth(p, now_ns) for p in range(paths)]
        #: All paths taken together, first arrival counts: what the gate gets to see.
        self.combined = PathHealth(-1, now_ns)
        #: What the peer last reported per path: (datagrams received, highest counter).
        self.peer_report = [(0, 0)] * paths
        self._to_echo: list[deque[tuple[int, int]]] = [deque(maxlen=ECHOES_MAX) for _ in range(paths)]
        self._newest = 0
        self._next_probe = now_ns
        self._probe_period = PROBE_PERIOD_NS
        self._probe_pad = 0
        self._test_until = 0
        self.load_bytes = [0] * paths
        self.counts = {"copies": 0, "late": 0, "replayed": 0, "bad": 0, "delivered": 0}

    def next_counter(self) -> int:
        """The next number of the stream channel (also for frames that travel by the TCP fall-back)."""
        self._counter += 1
        return self._counter

    def seal_all(self, kind: Kind, payload: bytes, now_ns: int) -> list[bytes]:
        """One datagram per path, same counter. Raises ValueError if the payload is too long."""
        counter = self.next_counter()
        return [c.seal(kind, counter, now_ns, payload) for c in self._out[Channel.STREAM]]

    def probes(self, now_ns: int) -> list[bytes]:
        """The probes due now: one per path, or none."""
        if now_ns < self._next_probe:
            return []
        if self._test_until and now_ns > self._test_until:
            self.set_test(0, 0, 0, now_ns)
        # Keep the grid unless we fell behind: a stalled loop must not answer with a volley.
        self._next_probe = max(self._next_probe + self._probe_period, now_ns + self._probe_period // 2)
        counter = self.next_counter()
        out = []
        for p, cipher in enumerate(self._out[Channel.STREAM]):
            echoes = self._to_echo[p]
            body = PROBE.pack(now_ns, self.health[p].received, self._windows[Channel.STREAM][p].highest, len(echoes))
            body += b"".join(ECHO.pack(*e) for e in echoes)
            echoes.clear()
            out.append(cipher.seal(Kind.PROBE, counter, now_ns, body.ljust(self._probe_pad, b"\0")))
        return out

    def set_test(self, rate_hz: float, size: int, until_ns: int, now_ns: int) -> None:
        """Probe at `rate_hz` with payloads of `size` bytes until `until_ns` (line test); rate 0: back to normal."""
        self._probe_period = int(1e9 / min(rate_hz, 1000.0)) if rate_hz > 0 else PROBE_PERIOD_NS
        self._probe_pad = min(size, PAYLOAD_MAX_BYTES) if rate_hz > 0 else 0
        self._test_until = until_ns if rate_hz > 0 else 0
        self._next_probe = min(self._next_probe, now_ns + self._probe_period)

    def load(self, path: int, size: int, now_ns: int) -> bytes:
        """A filler datagram for the throughput test of one path, `size` bytes of payload."""
        self._load_counter[path] += 1
        payload = bytes(min(size, PAYLOAD_MAX_BYTES))
        return self._out[Channel.LOAD][path].seal(Kind.LOAD, self._load_counter[path], now_ns, payload)

    def open(self, path: int, data: bytes, now_ns: int) -> Opened | None:
        """Authenticate one datagram that arrived on `path`. None: not genuine, seen before, or not the newest."""
        health = self.health[path]
        try:
            head = parse_header(data)
            if head.from_site == self.site or head.path != path or head.channel not in self._in:
                raise Unsealed("direction")
            payload = self._in[Channel(head.channel)][path].open(data)
        except Unsealed:
            health.bad += 1
            self.counts["bad"] += 1
            return None
        if not self._windows[Channel(head.channel)][path].admit(head.counter):
            health.duplicates += 1
            self.counts["replayed"] += 1
            return None
        if head.channel == Channel.LOAD:
            self.load_bytes[path] += len(data)
            return None
        health.datagram(now_ns, head.counter, head.sent_us)
        if head.counter > self._newest:
            self._newest = head.counter
            self.combined.datagram(now_ns, head.counter, head.sent_us)
        if head.kind == Kind.PROBE:
            self._probe(path, payload, now_ns)
            return None
        if head.kind in (Kind.STOP, Kind.STOP_ECHO):
            return Opened(head.kind, path, head.counter, payload)
        return self.sieve(Kind(head.kind), path, head.counter, payload)

    def sieve(self, kind: Kind, path: int, counter: int, payload: bytes) -> Opened | None:
        """First arrival wins, newest wins, for an authenticated frame from any path (or from the TCP fall-back)."""
        wanted = Kind.COMMAND if self.site else Kind.STATE
        if kind != wanted:
            self.counts["bad"] += 1
            return None
        arrival = self._sieves[kind].sort(counter)
        if arrival is Arrival.NEW:
            self.counts["delivered"] += 1
            return Opened(kind, path, counter, payload)
        self.counts["copies" if arrival is Arrival.COPY else "late"] += 1
        return None

    def _probe(self, path: int, payload: bytes, now_ns: int) -> None:
        if len(payload) < PROBE.size:
            self.counts["bad"] += 1
            return
        sent, received, highest, n = PROBE.unpack_from(payload)
        if n > ECHOES_MAX or len(payload) < PROBE.size + n * ECHO.size:
            self.counts["bad"] += 1
            return
        self._to_echo[path].append((sent, now_ns))
        if highest >= self.peer_report[path][1]:
            self.peer_report[path] = (received, highest)
        for i in range(n):
            stamp, arrived = ECHO.unpack_from(payload, PROBE.size + i * ECHO.size)
            rtt = (now_ns - stamp) - (sent - arrived)
            offset = ((arrived - stamp) + (sent - now_ns)) // 2
            self.health[path].round_trip(now_ns, rtt, offset)

    def stats(self, now_ns: int) -> list[PathStats]:
        """Health of every path."""
        return [h.stats(now_ns) for h in self.health]

    def any_alive(self, now_ns: int) -> bool:
        """Is at least one datagram path alive?"""
        return any(h.is_alive(now_ns) for h in self.health)
