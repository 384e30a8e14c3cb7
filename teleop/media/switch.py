"""`Switch`: the newest pictures of one hospital, to whoever watches; knows which streams are wanted and which are frozen.

One asyncio loop. What a stream is doing (alive, waiting, silent, hung) is `freeze`'s to say.
"""

import hashlib
import time
from collections.abc import Callable, Iterable

from teleop.media import freeze
from teleop.media.frames import STREAMS, CodedFrame, FrameInfo
from teleop.media.rtc import Feed


class Switch:
    """on_want: told (streams wanted now) when that changes; on_key: told (stream) when somebody needs a key frame."""

    def __init__(self, on_want: Callable[[frozenset[str]], None], on_key: Callable[[str], None], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._on_want, self._on_key, self._clock = on_want, on_key, clock
        self.feeds: dict[str, set[Feed]] = {s: set() for s in STREAMS}
        self.taps: list[Callable[[CodedFrame], None]] = []
        self.last: dict[str, FrameInfo] = {}
        self.size: dict[str, tuple[int, int]] = {}
        self.watches = {s: freeze.Watch() for s in STREAMS}
        self.counts = dict.fromkeys(STREAMS, 0)
        self.bytes = dict.fromkeys(STREAMS, 0)
        self.extra: frozenset[str] = frozenset()  # wanted by others than feeds (recording, thumbnails)
        self._told: frozenset[str] = frozenset()

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset(s for s, f in self.feeds.items() if f) | self.extra

    def set_extra(self, streams: Iterable[str]) -> None:
        self.extra = frozenset(streams)
        self._tell()

    def join(self, stream: str, feed: Feed) -> None:
        """Raises KeyError for a stream that no site has."""
        self.feeds[stream].add(feed)
        feed.want_key = lambda: self._on_key(stream)
        if len(self.feeds[stream]) == 1:
            self.watches[stream] = freeze.restarted(self.watches[stream], self._clock())
        self._tell()
        feed.begin()

    def leave(self, feed: Feed) -> None:
        for feeds in self.feeds.values():
            feeds.discard(feed)
        self._tell()

    def _tell(self) -> None:
        if self.wanted != self._told:
            self._told = self.wanted
            self._on_want(self._told)

    def push(self, coded: CodedFrame, content: bytes = b"") -> None:
        """A picture of the source. content: digest of the bare picture where it is known, to see a hung camera."""
        info = coded.info
        if info.stream not in self.feeds:
            return
        digest = content or hashlib.blake2b(coded.data[-512:], digest_size=8).digest()
        self.watches[info.stream] = freeze.seen(self.watches[info.stream], self._clock(), info.captured, digest)
        self.last[info.stream], self.size[info.stream] = info, (coded.width, coded.height)
        self.counts[info.stream] += 1
        self.bytes[info.stream] += len(coded.data)
        for feed in self.feeds[info.stream]:
            feed.offer(coded.data, coded.key)
        for tap in self.taps:
            tap(coded)

    def state(self, stream: str) -> str:
        """"" = alive; else waiting, silent, hung (`freeze.verdict`), or off while nobody watches."""
        if stream not in self.wanted:
            return "off"
        return freeze.verdict(self.watches[stream], self._clock())
