"""One SEQPACKET connection of msgpack maps that comes back by itself, for asyncio."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

#: Largest packet (B): a question with its detail, a status with its texts.
MAX_PACKET = 1 << 20
RETRY_S = 0.3


class Packets:
    """Connects to `path`, says `hello` (if any), hands every map to `on_message`; tries again when the peer is gone."""

    def __init__(self, path: Path, hello: dict[str, Any] | None, on_message: Callable[[dict[str, Any]], None]) -> None:
        self.path, self.hello, self.on_message = path, hello, on_message
        self.up = False
        self._sock: socket.socket | None = None

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                sock.setblocking(False)
                try:
                    sock.connect(os.fspath(self.path))
                except OSError:
                    sock.close()
                    await asyncio.sleep(RETRY_S)
                    continue
                self._sock = sock
                if self.hello is not None:
                    self.send(self.hello)
                self.up = True
                with contextlib.suppress(OSError):
                    while data := await loop.sock_recv(sock, MAX_PACKET):
                        with contextlib.suppress(ValueError, msgpack.UnpackException):
                            message = msgpack.unpackb(data, raw=False, strict_map_key=False)
                            if isinstance(message, dict) and isinstance(message.get("t"), str):
                                self.on_message(message)
                self.up, self._sock = False, None
                sock.close()
                await asyncio.sleep(RETRY_S)
        finally:
            self.up = False
            if self._sock is not None:
                self._sock.close()

    def send(self, message: dict[str, Any]) -> bool:
        """False when nobody is there."""
        if self._sock is None:
            return False
        try:
            self._sock.send(msgpack.packb(message, use_bin_type=True))
        except OSError:
            return False
        return True
