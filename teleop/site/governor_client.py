"""One peer's end of `governor.sock`: AF_UNIX, SOCK_SEQPACKET, non-blocking, one msgpack map per packet.

    with GovernorClient.connect(path, "case", wait_s=10.0) as governor:
        governor.send({"t": "hb", "note": ""})
        for message in governor.poll():      # whatever has arrived, oldest first; [] when nothing has
            ...

Every message is a map with the key "t". The kernel keeps packets whole and in order, and tells at once when the other
process dies (end of file), whatever killed it. Nothing here waits, except `connect` while it is asked to.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack

PROTOCOL_VERSION = 1
ROLES = frozenset({"gateway", "adapter", "case", "recorder", "probe"})
#: Largest packet we read: a stored path of some thousand rows; the kernel's default send buffer (208 KiB) is smaller.
MAX_PACKET_BYTES = 1 << 20
#: Packets taken by one poll, so that a flood cannot keep the caller from its other work.
MAX_PACKETS_PER_POLL = 256


class GovernorGoneError(ConnectionError):
    """The governor is not there, or died. The arm then stops by itself when its lease ends."""


class GovernorProtocolError(ValueError):
    """The other end sent something that is not a message of this protocol."""


class GovernorClient:
    """A connected peer. Not thread-safe: one owner. `dropped` counts packets that a full socket made us shed."""

    def __init__(self, sock: socket.socket, path: Path, role: str) -> None:
        """Takes over a connected SEQPACKET socket and says hello on it; prefer `connect`."""
        self._sock = sock
        self._buffer = bytearray(MAX_PACKET_BYTES)
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self.path = path
        self.role = role
        self.dropped = 0
        self.alive = True
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET_BYTES)  # the kernel caps it silently
        self.send({"t": "hello", "role": role, "v": PROTOCOL_VERSION})

    @classmethod
    def connect(cls, path: Path | str, role: str, *, wait_s: float = 0.0) -> "GovernorClient":
        """Connect and say hello. Tries again for `wait_s` seconds while nobody listens yet.

        Raises GovernorGoneError (nobody listens), PermissionError (the socket or its owner is not ours).
        """
        if role not in ROLES:
            raise ValueError(f"role {role!r} is none of {', '.join(sorted(ROLES))}")
        path = Path(path)
        deadline = time.monotonic() + wait_s
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                sock.connect(os.fspath(path))
                _require_own_uid(sock, path)
                return cls(sock, path, role)
            except (FileNotFoundError, ConnectionRefusedError, GovernorGoneError) as error:
                sock.close()
                if time.monotonic() >= deadline:
                    why = "no such socket" if isinstance(error, FileNotFoundError) else "nobody listens"
                    raise GovernorGoneError(f"no governor at {path} ({why}); start the site first") from None
                time.sleep(0.02)
            except BaseException:
                sock.close()
                raise

    def fileno(self) -> int:
        """For select and poll: readable when a message, or the end, is there."""
        return self._sock.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send one message. False if the governor does not keep up and the packet was shed (and counted).

        Raises GovernorGoneError (it died), ValueError (no "t", or too large for one packet).
        """
        if not isinstance(message.get("t"), str):
            raise ValueError(f'a message to the governor needs the key "t", got keys {sorted(message)}')
        if not self.alive:
            raise GovernorGoneError(f"the governor at {self.path} is gone")
        data = self._pack(dict(message))
        try:
            self._sock.send(data, socket.MSG_NOSIGNAL | socket.MSG_EOR)
        except BlockingIOError:
            self.dropped += 1
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise ValueError(f'message {message["t"]!r} of {len(data)} bytes is too large for one packet; '
                                 "send fewer rows") from None
            self._gone(error)
        return True

    def poll(self) -> list[dict[str, Any]]:
        """Every message that has arrived (at most MAX_PACKETS_PER_POLL), oldest first.

        Raises GovernorGoneError once the governor has died *and* its last messages have been handed out.
        Raises GovernorProtocolError on a packet that is no message; the connection is closed then.
        """
        if not self.alive:
            raise GovernorGoneError(f"the governor at {self.path} is gone")
        messages: list[dict[str, Any]] = []
        for _ in range(MAX_PACKETS_PER_POLL):
            try:
                size, _, flags, _ = self._sock.recvmsg_into([self._buffer])
            except BlockingIOError:
                break
            except OSError as error:
                if messages:
                    break  # hand these out; the next poll meets the end again
                self._gone(error)
            if size == 0:
                if messages:
                    break
                self._gone(None)
            if flags & socket.MSG_TRUNC:
                self.close()
                raise GovernorProtocolError(f"packet larger than {MAX_PACKET_BYTES} bytes from {self.path}")
            messages.append(self._decode(memoryview(self._buffer)[:size]))
        return messages

    def wait(self, timeout_s: float) -> bool:
        """True as soon as something (a message or the end) can be polled; False after `timeout_s`."""
        return bool(select.select([self._sock], [], [], timeout_s)[0])

    def close(self) -> None:
        self.alive = False
        self._sock.close()

    def __enter__(self) -> "GovernorClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _decode(self, packet: memoryview) -> dict[str, Any]:
        try:
            message = msgpack.unpackb(packet, raw=False, strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            self.close()
            raise GovernorProtocolError(f"not msgpack from {self.path}: {error}") from None
        if not isinstance(message, dict) or not isinstance(message.get("t"), str):
            self.close()
            raise GovernorProtocolError(f'a packet from {self.path} is no map with a string "t"')
        return message

    def _gone(self, error: OSError | None) -> None:
        self.close()
        why = f": {error.strerror}" if error is not None and error.strerror else ""
        raise GovernorGoneError(f"the governor at {self.path} is gone{why}") from None


def _require_own_uid(sock: socket.socket, path: Path) -> None:
    """Refuse a listener of another user: it could read every order and answer anything."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != os.getuid():
        raise PermissionError(f"{path} is served by uid {uid}, not by us (uid {os.getuid()}); refusing to talk to it")
