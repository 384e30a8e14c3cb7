"""One TCP port of the relay. Bytes are delayed and stalled, never lost: that is all a relay can do to a TCP connection.

A segment that the model would lose waits one retransmission time longer, and everything behind it waits too: 200 ms, the
kernel's minimum, when little is under way; one round trip when more than three segments are (fast retransmit, RFC 5681 3.2).
During an outage nothing moves and nothing is accepted. What is under way is bounded: a full line stops reading, so the
sender's kernel feels the back-pressure.
"""

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sim.network.channel import Channel

_SEGMENT = 1448
#: A kernel's own window grows to megabytes on a long line; 256 KiB made 23 MB of images take 20 s over 5G.
_UNDER_WAY_MAX = 2 * 1024 * 1024
_RETRANSMIT_NS = 200_000_000
_FAST_BYTES = 4 * _SEGMENT
_CONNECTIONS_MAX = 64


@dataclass
class _Pipe:
    """One direction of one connection: chunks with their time of arrival, then what the socket did not take yet."""

    source: socket.socket
    sink: socket.socket
    line: Channel
    chunks: deque[tuple[int, bytes]] = field(default_factory=deque)
    out: bytearray = field(default_factory=bytearray)
    last_due: int = 0
    size: int = 0
    ended: bool = False
    dead: bool = False

    def read(self) -> None:
        try:
            data = self.source.recv(_SEGMENT)
        except BlockingIOError:
            return
        except OSError:
            self.dead = True
            return
        if not data:
            self.ended = True
            return
        now = time.monotonic_ns()
        again = _RETRANSMIT_NS
        if self.size >= _FAST_BYTES:  # duplicate acknowledgements tell of a loss a round trip after it
            again = min(again, 2 * max(0, self.last_due - now))
        self.last_due = max(self.last_due, now + self.line.segment_delay(now, len(data), again))
        self.chunks.append((self.last_due, data))
        self.size += len(data)

    def move(self, now: int) -> None:
        # An outage stalls: chunks keep waiting, the connection stays open.
        if not self.line.is_cut(now):
            while self.chunks and self.chunks[0][0] <= now:
                self.out += self.chunks.popleft()[1]
        if self.out:
            try:
                n = self.sink.send(self.out)
                del self.out[:n]
                self.size -= n
            except BlockingIOError:
                return
            except OSError:
                self.dead = True

    def full(self) -> bool:
        return self.size >= _UNDER_WAY_MAX

    def done(self) -> bool:
        return self.dead or (self.ended and not self.chunks and not self.out)


class TcpRoute:
    """listen <-> to for any number of connections."""

    def __init__(self, path: int, listen: tuple[str, int], to: tuple[str, int], up: Channel, down: Channel) -> None:
        self.path, self.port, self.up, self.down = path, listen[1], up, down
        self._to = to
        self._pairs: list[tuple[_Pipe, _Pipe]] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._sock.bind(listen)
            self._sock.listen(16)
        except OSError as e:
            self._sock.close()
            hint = "; another relay?" if e.errno == errno.EADDRINUSE else ""
            raise OSError(e.errno, f"tcp port {listen[1]}: {os.strerror(e.errno or 0)}{hint}") from None

    def clients(self) -> int:
        """Connections at the moment."""
        return len(self._pairs)

    def readers(self) -> dict[int, Callable[[], None]]:
        """What to call when which descriptor is readable. A full direction is not read."""
        now = time.monotonic_ns()
        out: dict[int, Callable[[], None]] = {}
        if not self.up.is_cut(now) and len(self._pairs) < _CONNECTIONS_MAX:
            out[self._sock.fileno()] = self._accept
        for pair in self._pairs:
            for pipe in pair:
                if not (pipe.ended or pipe.dead or pipe.full() or pipe.line.is_cut(now)):
                    out[pipe.source.fileno()] = pipe.read
        return out

    def writers(self) -> dict[int, Callable[[], None]]:
        """Sinks that did not take everything last time."""
        now = time.monotonic_ns()
        return {
            pipe.sink.fileno(): (lambda p=pipe, t=now: p.move(t))  # type: ignore[misc]
            for pair in self._pairs
            for pipe in pair
            if pipe.out and not pipe.dead
        }

    def _accept(self) -> None:
        try:
            client, _ = self._sock.accept()
        except OSError:
            return
        site = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            site.settimeout(0.2)  # the site is on this very machine: it answers or refuses at once
            site.connect(self._to)
        except OSError:
            client.close()  # nobody there: the console sees the connection end
            site.close()
            return
        for s in (client, site):
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append((_Pipe(client, site, self.up), _Pipe(site, client, self.down)))

    def next_due(self) -> int | None:
        """When the next chunk arrives (an outage has no end worth waking for)."""
        now = time.monotonic_ns()
        heads = [p.chunks[0][0] for pair in self._pairs for p in pair if p.chunks and not p.line.is_cut(now)]
        return min(heads, default=None)

    def move(self, now_ns: int) -> None:
        """Hand over what has arrived; forget connections that are over."""
        for pair in list(self._pairs):
            for pipe in pair:
                if not pipe.dead:
                    pipe.move(now_ns)
            if any(p.done() for p in pair):
                self._drop(pair)

    def drop_all(self) -> int:
        """Break every connection now; how many there were."""
        n = len(self._pairs)
        for pair in list(self._pairs):
            self._drop(pair)
        return n

    def _drop(self, pair: tuple[_Pipe, _Pipe]) -> None:
        for pipe in pair:
            pipe.source.close()
        self._pairs.remove(pair)

    def close(self) -> None:
        """Let go of the port and of every connection."""
        self.drop_all()
        self._sock.close()
