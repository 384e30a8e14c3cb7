"""One UDP port of the relay: every client gets its own socket towards the site, so the site can tell them apart."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable

from sim.network.channel import Channel

_CLIENTS_MAX = 64
_IDLE_NS = 60_000_000_000
_TAKE = 64


class UdpRoute:
    """listen <-> to, up and down through one channel each (shared by all clients: it is one line)."""

    def __init__(self, path: int, listen: tuple[str, int], to: tuple[str, int], up: Channel, down: Channel) -> None:
        self.path, self.port, self.up, self.down = path, listen[1], up, down
        self._to = to
        self._ends: dict[tuple[str, int], tuple[socket.socket, int]] = {}  # client -> (socket to the site, last used)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        try:
            self._sock.bind(listen)
        except OSError as e:
            self._sock.close()
            hint = "; another relay?" if e.errno == errno.EADDRINUSE else ""
            raise OSError(e.errno, f"udp port {listen[1]}: {os.strerror(e.errno or 0)}{hint}") from None

    def clients(self) -> int:
        """Clients known at the moment."""
        return len(self._ends)

    def readers(self) -> dict[int, Callable[[], None]]:
        """What to call when which descriptor is readable."""
        out: dict[int, Callable[[], None]] = {self._sock.fileno(): self._from_clients}
        for client, (sock, _) in self._ends.items():
            out[sock.fileno()] = lambda c=client, s=sock: self._from_site(c, s)  # type: ignore[misc]
        return out

    def writers(self) -> dict[int, Callable[[], None]]:
        """Datagrams never wait for a writable socket."""
        return {}

    def _from_clients(self) -> None:
        for _ in range(_TAKE):
            try:
                data, client = self._sock.recvfrom(65536)
            except OSError:
                return
            now = time.monotonic_ns()
            if client not in self._ends:
                self._make_room(now)
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.setblocking(False)
                sock.connect(self._to)
                self._ends[client] = (sock, now)
            else:
                self._ends[client] = (self._ends[client][0], now)
            self.up.push(now, data, client)

    def _from_site(self, client: tuple[str, int], sock: socket.socket) -> None:
        for _ in range(_TAKE):
            try:
                data = sock.recv(65536)
            except OSError:  # nothing more, or nobody listens at the site at the moment
                return
            self.down.push(time.monotonic_ns(), data, client)

    def _make_room(self, now: int) -> None:
        old = [c for c, (_, used) in self._ends.items() if now - used > _IDLE_NS]
        if len(self._ends) >= _CLIENTS_MAX and not old:
            old = [min(self._ends, key=lambda c: self._ends[c][1])]
        for c in old:
            self._ends.pop(c)[0].close()

    def next_due(self) -> int | None:
        """When the next datagram arrives."""
        due = [d for d in (self.up.next_due(), self.down.next_due()) if d is not None]
        return min(due, default=None)

    def move(self, now_ns: int) -> None:
        """Hand over what has arrived."""
        for data, client in self.up.due_tagged(now_ns):
            end = self._ends.get(client)
            if end is not None:
                _send(end[0], data, None)
        for data, client in self.down.due_tagged(now_ns):
            _send(self._sock, data, client)

    def close(self) -> None:
        """Let go of the port."""
        self._sock.close()
        for sock, _ in self._ends.values():
            sock.close()


def _send(sock: socket.socket, data: bytes, to: tuple[str, int] | None) -> None:
    with contextlib.suppress(OSError):  # a line has no way to complain either
        sock.send(data) if to is None else sock.sendto(data, to)
