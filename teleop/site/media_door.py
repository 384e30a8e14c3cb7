"""The gateway's connection to the site's media process (`teleop.media.site_end`): offers in, answers and picture ids out. Never waits."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from teleop.media.frames import STREAMS

RETRY_NS = 1_000_000_000
CONTROL_NS = 200_000_000
#: An offer that the media process has not answered by then is refused.
OFFER_NS = 8_000_000_000


class MediaDoor:
    """video: what the state frame carries, [stream, id, captured] of the newest picture of each stream, flat.

    frames: rows [stream, id, captured, sha256] for the session log; whoever publishes them empties it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.video: list[int] = []
        self.frames: list[list[Any]] = []
        self._socket: socket.socket | None = None
        self._retry = 0
        self._next_control = 0
        self._id = 0
        self._asked: dict[int, tuple[str, int, int]] = {}
        self._newest: dict[str, tuple[int, int]] = {}

    def offer(self, key: str, number: int, order: dict[str, Any], now: int) -> dict[str, Any] | None:
        """Hand a console's offer on; a refusal to answer at once, or None."""
        sdp = order.get("offer")
        if not isinstance(sdp, str) or not 0 < len(sdp) < 60_000:
            return {"ok": False, "reason": "an offer is an SDP text"}
        self._id += 1
        if not self._send({"t": "offer", "id": self._id, "key": key, "sdp": sdp}, now):
            return {"ok": False, "reason": "this hospital's cameras are not running"}
        self._asked[self._id] = (key, number, now + OFFER_NS)
        return None

    def control(self, paths: Callable[[], list[dict[str, Any]]], status: dict[str, Any], now: int) -> None:
        """How control is doing; said five times a second."""
        if now < self._next_control:
            return
        self._next_control = now + CONTROL_NS
        alive = [p for p in paths() if p.get("alive")]
        age = status.get("loop_age_ns") if status.get("holder") else None
        self._send({
            "t": "control", "loss": min((p["loss"] for p in alive), default=None), "queue_ms": min((p["queue_ms"] for p in alive), default=None),
            "loop_age_ms": age / 1e6 if age else None, "state": status.get("state", ""),
        }, now)  # fmt: skip

    def poll(self, now: int) -> list[tuple[str, int, dict[str, Any]]]:
        """Replies to consoles: (key, order, reply)."""
        out = []
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._lose()
                break
            with contextlib.suppress(ValueError, KeyError, TypeError, msgpack.UnpackException):
                out += self._take(msgpack.unpackb(data, raw=False))
        for number in [n for n, a in self._asked.items() if now > a[2]]:
            key, order, _ = self._asked.pop(number)
            out.append((key, order, {"ok": False, "reason": "this hospital's cameras do not answer"}))
        return out

    def _take(self, message: dict[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
        if message["t"] == "answer":
            asked = self._asked.pop(message["id"], None)
            return [] if asked is None else [(asked[0], asked[1], {k: v for k, v in message.items() if k not in ("t", "id")})]
        if message["t"] == "frames":
            for row in message["rows"]:
                self.frames.append(row)
                self._newest[row[0]] = (row[1], row[2])
            del self.frames[:-1000]
            self.video = [v for n, s in enumerate(STREAMS) if s in self._newest for v in (n, *self._newest[s])]
        return []

    def _send(self, message: dict[str, Any], now: int) -> bool:
        if self._socket is None and not self._connect(now):
            return False
        assert self._socket is not None
        try:
            self._socket.send(msgpack.packb(message), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self._lose()
            return False
        return True

    def _connect(self, now: int) -> bool:
        if now < self._retry:
            return False
        self._retry = now + RETRY_NS
        if not self.path.exists():
            return False
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.setblocking(False)
        try:
            s.connect(os.fspath(self.path))
        except OSError:
            s.close()
            return False
        self._socket = s
        return True

    def _lose(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self.video, self._newest = [], {}

    def close(self) -> None:
        self._lose()
