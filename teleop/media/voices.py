"""Voice: everybody speaks to the server, and the server gives each the sum of the others that are meant for him.

Mixing keeps one audio line per page, whoever comes and goes, and makes "private" a matter of the sum and not of trust in
pages. `audible` decides purely who hears whom. Opus by aiortc; 20 ms blocks of 48 kHz mono in between.
"""

import asyncio
import fractions
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

RATE = 48_000
BLOCK = 960
#: Blocks that wait per speaker: more is delay, less is gaps. 20 ms each.
DEPTH = 4
#: Louder than this (RMS of 16-bit samples) counts as speaking.
SPEAKING = 300.0


@dataclass(frozen=True)
class Line:
    """What a person's microphone may do: muted, and to whom it goes (names; empty: to all)."""

    muted: bool = True
    to: frozenset[str] = frozenset()


def audible(speaker: str, listener: str, lines: dict[str, Line]) -> bool:
    """Does `listener` (a name) hear `speaker`? Never oneself, never a muted one, a private voice only where it is meant."""
    line = lines.get(speaker, Line())
    return speaker != listener and not line.muted and (not line.to or listener in line.to)


def mix(blocks: dict[str, NDArray[np.int16]], listener: str, lines: dict[str, Line]) -> NDArray[np.int16]:
    """The sum for one listener, limited, (BLOCK,) int16. blocks: speaker's name -> (BLOCK,) samples."""
    total = np.zeros(BLOCK, dtype=np.int32)
    for speaker, samples in blocks.items():
        if audible(speaker, listener, lines):
            total += samples
    return np.clip(total, -32768, 32767).astype(np.int16)


@dataclass
class _Seat:
    name: str
    out: "MixTrack"
    blocks: deque[NDArray[np.int16]] = field(default_factory=lambda: deque(maxlen=DEPTH))
    level: float = 0.0
    heard: float = 0.0
    task: asyncio.Task[None] | None = None


class MixTrack(MediaStreamTrack):
    """What one page hears: a block every 20 ms."""

    kind = "audio"

    def __init__(self, room: "VoiceRoom", page: str) -> None:
        super().__init__()
        self._room, self._page = room, page
        self._n = 0
        self._start = 0.0

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._n == 0:
            self._start = now
        due = self._start + self._n * BLOCK / RATE
        if now - due > 0.5:  # the loop was held up: do not send half a second in one go
            self._n += int((now - due) * RATE / BLOCK)
            due = self._start + self._n * BLOCK / RATE
        await asyncio.sleep(max(0.0, due - now))
        frame = av.AudioFrame.from_ndarray(self._room.block_for(self._page)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._n * BLOCK, fractions.Fraction(1, RATE)
        self._n += 1
        return frame


class VoiceRoom:
    """Everybody's microphone and what each hears. One asyncio loop; a tick every 20 ms while anybody is here."""

    def __init__(self) -> None:
        self._seats: dict[str, _Seat] = {}
        self.lines: dict[str, Line] = {}
        self._mixed: dict[str, NDArray[np.int16]] = {}
        self._ticked = 0.0

    def enter(self, page: str, name: str, transceiver: Any) -> None:
        """A page's audio line, as its offer made it."""
        out = MixTrack(self, page)
        one = self._seats[page] = _Seat(name, out)
        transceiver.sender.replaceTrack(out)
        transceiver.direction = "sendrecv"
        one.task = asyncio.get_running_loop().create_task(self._listen(one, transceiver.receiver.track))

    def leave(self, page: str) -> None:
        one = self._seats.pop(page, None)
        if one is not None and one.task is not None:
            one.task.cancel()
            one.out.stop()

    def set(self, name: str, line: Line) -> None:
        self.lines[name] = line

    def speaking(self) -> dict[str, tuple[str, ...]]:
        """Who is heard speaking just now, and to whom (empty: all)."""
        now = time.monotonic()
        return {
            s.name: tuple(sorted(self.lines[s.name].to))
            for s in self._seats.values()
            if s.level > SPEAKING and now - s.heard < 0.4 and s.name in self.lines and not self.lines[s.name].muted
        }

    async def _listen(self, one: _Seat, track: Any) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=BLOCK)
        try:
            while True:
                for frame in resampler.resample(await track.recv()):
                    samples = frame.to_ndarray().reshape(-1)[:BLOCK]
                    if len(samples) == BLOCK:
                        one.blocks.append(samples.astype(np.int16, copy=False))
                        level = float(np.sqrt(np.mean(samples.astype(np.float32) ** 2)))
                        one.level = max(level, one.level * 0.9)
                        one.heard = time.monotonic() if level > SPEAKING else one.heard
        except MediaStreamError:
            pass

    def block_for(self, page: str) -> NDArray[np.int16]:
        """The next 20 ms for a page. The first who asks in a tick takes the speakers' blocks, for all."""
        now = time.monotonic()
        if now - self._ticked >= BLOCK / RATE * 0.75:
            self._ticked = now
            blocks: dict[str, NDArray[np.int16]] = {}
            for one in self._seats.values():
                if one.blocks:
                    samples = one.blocks.popleft()
                    # Two pages of one person are one voice.
                    blocks[one.name] = samples if one.name not in blocks else np.maximum(blocks[one.name], samples)
            self._mixed = {p: mix(blocks, s.name, self.lines) for p, s in self._seats.items()}
        return self._mixed.pop(page, np.zeros(BLOCK, dtype=np.int16))
