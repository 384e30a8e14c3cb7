"""A Unix SEQPACKET server of msgpack maps for the processes of one site: peers of our own user only, never waits."""

import contextlib
import os
import select
import socket
import struct
from pathlib import Path
from typing import Any

import msgpack

#: Largest packet taken from a peer (B): an order with a stored path of some thousand rows.
MAX_PACKET_BYTES = 1 << 20


class SocketInUseError(OSError):
    """Another process serves this path."""


class PacketServer:
    """Listens on `path` (mode 0600). `poll()` returns (peer number, message); message None: that peer is gone."""

    def __init__(self, path: Path) -> None:
        """Raises SocketInUseError when a living process listens there; a dead one's file is removed."""
        self.path = path
        if path.exists():
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                probe.connect(os.fspath(path))
            except OSError:
                path.unlink()
            else:
                raise SocketInUseError(f"{path}: another process already serves it; stop that one first")
            finally:
                probe.close()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(os.fspath(path))
        os.chmod(path, 0o600)
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._peers: dict[int, socket.socket] = {}
        self._next = 1
        self.refused = 0

    @property
    def peers(self) -> list[int]:
        return list(self._peers)

    def filenos(self) -> list[int]:
        """For select: the listener and every peer."""
        return [self._listener.fileno(), *(s.fileno() for s in self._peers.values())]

    def wait(self, timeout_s: float) -> bool:
        return bool(select.select(self.filenos(), [], [], timeout_s)[0])

    def poll(self) -> list[tuple[int, dict[str, Any] | None]]:
        """Accept whoever knocks, then return everything that has arrived, oldest first per peer."""
        self._accept()
        out: list[tuple[int, dict[str, Any] | None]] = []
        for number, peer in list(self._peers.items()):
            for _ in range(256):
                try:
                    data = peer.recv(MAX_PACKET_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    data = b""
                message = self._decode(data)
                if message is None:
                    self._drop(number)
                    out.append((number, None))
                    break
                out.append((number, message))
        return out

    def send(self, number: int, message: dict[str, Any]) -> bool:
        """False when the peer is gone or does not keep up (its packet is shed)."""
        peer = self._peers.get(number)
        if peer is None:
            return False
        try:
            peer.send(msgpack.packb(message, use_bin_type=True), socket.MSG_NOSIGNAL | socket.MSG_EOR)
        except OSError:
            return False
        return True

    def broadcast(self, message: dict[str, Any]) -> None:
        for number in list(self._peers):
            self.send(number, message)

    def close(self) -> None:
        for number in list(self._peers):
            self._drop(number)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                return
            _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.getuid():
                self.refused += 1
                peer.close()
                continue
            peer.setblocking(False)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET_BYTES)
            self._peers[self._next] = peer
            self._next += 1

    def _decode(self, data: bytes) -> dict[str, Any] | None:
        if not data:
            return None
        try:
            message = msgpack.unpackb(data, raw=False, strict_map_key=False)
        except (ValueError, msgpack.UnpackException):
            return None
        return message if isinstance(message, dict) and isinstance(message.get("t"), str) else None

    def _drop(self, number: int) -> None:
        self._peers.pop(number).close()
