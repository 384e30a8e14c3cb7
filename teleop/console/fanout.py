"""Frames to many pages: newest wins, and nobody gets the next frame before the last one was acknowledged.

Without the acknowledgement a slow page shows data that is seconds old while looking alive (kernel buffers).
Messages that must not be lost (replies, chat, plan documents) have their own bounded queue; a page that lets it
overflow is disconnected, and told so.
"""

import asyncio
from collections import deque

#: Reliable messages waiting for one page. A page that cannot keep up with this many is reloaded, not fed late.
QUEUE_LIMIT = 512


class Overflow(Exception):
    """The page did not read its messages."""


class Ended(Overflow):
    """The server ends this page, with a close code and words for the person."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Outbox:
    """What waits for one page: one newest frame, and a bounded queue of messages."""

    def __init__(self) -> None:
        self._frame: bytes | None = None
        self._queue: deque[bytes] = deque()
        self._in_flight = False
        self._wake = asyncio.Event()
        self._overflow = False
        self._ended: Ended | None = None
        self.skipped = 0

    def offer_frame(self, packed: bytes) -> None:
        """Replace the waiting frame."""
        if self._frame is not None:
            self.skipped += 1
        self._frame = packed
        self._wake.set()

    def post(self, packed: bytes) -> None:
        """Queue a message that must arrive."""
        if len(self._queue) >= QUEUE_LIMIT:
            self._overflow = True
        else:
            self._queue.append(packed)
        self._wake.set()

    def end(self, code: int, words: str) -> None:
        """Close this page, whatever waits for it."""
        self._ended = Ended(code, words)
        self._wake.set()

    def acknowledge(self) -> None:
        """The page drew the last frame: the next may go."""
        self._in_flight = False
        self._wake.set()

    def take(self) -> bytes | None:
        """The next thing to send now, or None. Raises Overflow, Ended."""
        if self._ended is not None:
            raise self._ended
        if self._overflow:
            raise Overflow("this page did not read its messages in time; reload it")
        if self._queue:
            return self._queue.popleft()
        if self._frame is not None and not self._in_flight:
            packed, self._frame = self._frame, None
            self._in_flight = True
            return packed
        return None

    async def next(self) -> bytes:
        """Wait for the next thing to send. Raises Overflow."""
        while True:
            packed = self.take()
            if packed is not None:
                return packed
            self._wake.clear()
            await self._wake.wait()
