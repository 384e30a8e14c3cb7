"""arm.sock: where the governor of this site, and only one, hands its leases to the drive.

AF_UNIX SOCK_SEQPACKET, mode 0600; a peer of another user is dropped (SO_PEERCRED), a second governor is told
{"t": "refused"} and dropped while the first lives. Nothing here blocks: `poll` returns what has arrived, `send` sheds
a packet
when the other side does not read. A governor that dies leaves nothing behind but its last lease, which expires.
"""

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Any

import msgpack

from teleop.arm.messages import MAX_PACKET, MessageError, unpack

_CRED = struct.Struct("3i")
#: Packets taken per poll: a flood must not keep the servo loop from its tick.
BURST = 16


class DoorInUse(OSError):
    """Another arm process serves this socket."""


class GovernorDoor:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """Raises DoorInUse when a living process listens at `path`; a dead one's file is replaced."""
        self.path = path
        if path.exists():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
                try:
                    probe.connect(os.fspath(path))
                except OSError:
                    path.unlink()
                else:
                    raise DoorInUse(f"{path}: another arm process serves it already; stop that one first")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        old = os.umask(0o177)
        try:
            self._listener.bind(os.fspath(path))
        finally:
            os.umask(old)
        self._listener.listen(4)
        self._listener.setblocking(False)
        self._peer: socket.socket | None = None
        self.refused = 0
        self.malformed = 0
        self.last_error = ""
        self.shed = 0

    @property
    def connected(self) -> bool:
        return self._peer is not None

    def filenos(self) -> list[int]:
        """For a wait while parked."""
        return [self._listener.fileno()] + ([self._peer.fileno()] if self._peer is not None else [])

    def poll(self, *, accept: bool = True) -> list[dict[str, Any]]:
        """Messages that have arrived, oldest first; malformed ones are counted and dropped. `accept`: also look who
        knocks."""
        if accept:
            self._accept()
        out: list[dict[str, Any]] = []
        while self._peer is not None and len(out) < BURST:
            try:
                data = self._peer.recv(MAX_PACKET)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._peer.close()
                self._peer = None
                break
            try:
                out.append(unpack(data))
            except MessageError as error:
                self.malformed += 1
                self.last_error = str(error)
        return out

    def send(self, packet: bytes) -> bool:
        """False when nobody is there or the packet had to be shed."""
        if self._peer is None:
            return False
        try:
            self._peer.send(packet, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT | socket.MSG_EOR)
        except BlockingIOError:
            self.shed += 1
            return False
        except OSError:
            return False
        return True

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return
        uid = _CRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CRED.size))[1]
        if uid != os.getuid():
            self.refused += 1
            peer.close()
            return
        if self._peer is not None and not self._gone(self._peer):
            self.refused += 1
            with contextlib.suppress(OSError):
                peer.send(msgpack.packb({"t": "refused", "reason": "another governor is connected"}))
            peer.close()
            return
        if self._peer is not None:
            self._peer.close()
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET)
        self._peer = peer

    @staticmethod
    def _gone(peer: socket.socket) -> bool:
        try:
            return peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
