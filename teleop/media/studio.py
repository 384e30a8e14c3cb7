"""`Studio`: takes pictures of the wanted streams at the ladder's rate, codes, stores and hands them on. One thread.

It works only while somebody watches or records: an idle site's studio sleeps. A source that fails or hangs is said once
and tried again every second; the page sees a frozen picture by its age.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from teleop.media.adapt import LADDER, Rung
from teleop.media.encode import Encoder
from teleop.media.frames import STREAMS, CodedFrame, FrameInfo
from teleop.media.stamp import STRIP
from teleop.media.store import Writer

log = logging.getLogger("longhand.media")
#: Full size of each stream, width and height without the strip.
FULL = {"room": (640, 448), "guide": (448, 448), "ultrasound": (448, 336)}
RETRY_NS = 1_000_000_000


@dataclass(frozen=True)
class Picture:
    """pixels: (h, w, 3) uint8 RGB, the last STRIP rows free. captured: robot monotonic ns. pose: see FrameInfo."""

    pixels: NDArray[np.uint8]
    captured: int
    pose: tuple[float, ...] = ()


class Source(Protocol):
    """Something with cameras."""

    def picture(self, stream: str, width: int, height: int, number: int) -> Picture:
        """The present picture of a stream, (height, width) with room for the strip. May raise OSError or RuntimeError."""


def size_at(stream: str, rung: Rung) -> tuple[int, int]:
    """Width and height, strip included, of a stream on a rung; even."""
    w, h = FULL[stream]
    return int(w * rung.scale) // 16 * 16, int(h * rung.scale) // 2 * 2 + STRIP


class Studio:
    """See the module. emit: called in the studio's thread with every coded picture and the digest of its bare pixels."""

    def __init__(self, source: Source, emit: Callable[[CodedFrame, bytes], None], writer: Writer | None = None,
                 clock: Callable[[], int] = time.monotonic_ns) -> None:  # fmt: skip
        self._source, self._emit, self._writer, self._clock = source, emit, writer, clock
        self._encoders = {s: Encoder(s) for s in STREAMS}
        self._next = dict.fromkeys(STREAMS, 0)
        self._number = dict.fromkeys(STREAMS, 0)
        self._wanted: frozenset[str] = frozenset()
        self._rung = 2
        self._wake = threading.Event()
        self._stop = False
        self._complained: dict[str, str] = {}
        self.busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="studio", daemon=True)

    def start(self) -> "Studio":
        self._thread.start()
        return self

    def want(self, streams: frozenset[str]) -> None:
        self._wanted = streams
        self._wake.set()

    def rung(self, number: int) -> None:
        self._rung = number

    def want_key(self, stream: str) -> None:
        self._encoders[stream].want_key()

    def close(self) -> None:
        self._stop = True
        self._wake.set()
        self._thread.join(5)
        if self._writer is not None:
            self._writer.close()

    def _run(self) -> None:
        while not self._stop:
            rung = LADDER[self._rung]
            now = self._clock()
            due = [s for s in STREAMS if s in self._wanted and rung.fps > 0 and now >= self._next[s]]
            for stream in due:
                # On a grid, but never catching up: a late picture is skipped, not sent in a burst.
                period = int(1e9 / rung.fps)
                self._next[stream] = max(self._next[stream] + period, now + period // 2)
                self._take(stream, rung)
            wait = min((self._next[s] for s in self._wanted), default=0) - self._clock()
            self._wake.clear()
            if not self._wanted or rung.fps == 0:
                self._wake.wait(0.5)
            elif wait > 0:
                self._wake.wait(wait / 1e9)

    def _take(self, stream: str, rung: Rung) -> None:
        started = time.thread_time()
        try:
            self._number[stream] += 1
            picture = self._source.picture(stream, *size_at(stream, rung), self._number[stream])
            digest = hashlib.blake2b(picture.pixels[:-STRIP].data, digest_size=8).digest()
            pixels = picture.pixels if picture.pixels.flags.writeable else picture.pixels.copy()
            coded = self._encoders[stream].encode(pixels, FrameInfo(stream, self._number[stream], picture.captured, picture.pose), rung)
        except (OSError, RuntimeError, ValueError) as error:
            self._next[stream] = self._clock() + RETRY_NS
            if self._complained.get(stream) != str(error):
                self._complained[stream] = str(error)
                log.warning("%s gives no picture: %s", stream, error)
            return
        self._complained.pop(stream, None)
        if self._writer is not None:
            self._writer.put(coded)
        self.busy_s += time.thread_time() - started
        self._emit(coded, digest)
