"""Live pictures and voice as a load on an emulated line, in virtual time: the shipped ladder decides, packets queue with control's.

The camera's end sends three streams as the rung says, cut into datagrams; the console's end counts what came and how long it
took, and tells it back once a second as RTCP would. No picture is rendered: bytes of the rung's size stand for it.
"""

from collections import deque
from dataclasses import dataclass

from teleop.media import adapt
from teleop.media.adapt import LADDER, Measured
from teleop.media.frames import STREAMS

STEP_NS = 200_000_000
REPORT_NS = 1_000_000_000
PACKET = 1_200
#: Opus at 32 kbit/s: a block of 20 ms with its headers.
VOICE_NS, VOICE_BYTES = 20_000_000, 120


@dataclass(frozen=True, slots=True)
class Piece:
    """A datagram of a picture (or of voice, stream -1). number: counts datagrams; last: it completes its picture."""

    stream: int
    number: int
    sent: int
    last: bool


class Camera:
    """Both ends of one hospital's pictures and the voice beside them. ceiling: rung that the console's budget allows."""

    def __init__(self, now: int) -> None:
        self.level = adapt.State(since=now, calm_since=now)
        self.ceiling = len(LADDER) - 1
        self.pictures = self.voice = self.sent_bytes = 0
        self.ages_ms: deque[float] = deque(maxlen=512)  # of whole pictures, on arrival
        self.rungs_ns = [0] * len(LADDER)
        self._due = [now + i * 7_000_000 for i in range(len(STREAMS))]
        self._voice_due = now
        self._number = 0
        self._next_step, self._next_report = now + STEP_NS, now + REPORT_NS
        self._sent = self._came = 0
        self._delays: deque[tuple[int, int]] = deque()
        self._told: tuple[float | None, float | None] = (None, None)
        self._last = now

    @property
    def kbps(self) -> float:
        """What the present rung sends at most, all streams."""
        return float(LADDER[self.level.rung].kbps * len(STREAMS))

    def send(self, now: int) -> list[tuple[int, Piece]]:
        """(bytes, piece) of everything that goes now."""
        out = []
        rung = LADDER[self.level.rung]
        if rung.fps > 0.0:
            period = int(1e9 / rung.fps)
            for stream, due in enumerate(self._due):
                if now < due:
                    continue
                self._due[stream] = max(due + period, now)
                left = max(200, int(rung.kbps * 125 / rung.fps))
                while left > 0:
                    size = min(PACKET, left)
                    left -= size
                    out.append((size, self._piece(stream, now, left <= 0)))
        if now >= self._voice_due:
            self._voice_due += VOICE_NS
            out.append((VOICE_BYTES, Piece(-1, 0, now, True)))
        self.sent_bytes += sum(size for size, _ in out)
        return out

    def _piece(self, stream: int, now: int, last: bool) -> Piece:
        self._number += 1
        self._sent += 1
        return Piece(stream, self._number, now, last)

    def arrived(self, now: int, piece: Piece) -> None:
        """A datagram reached the console."""
        if piece.stream < 0:
            self.voice += 1
            return
        self._came += 1
        delay = now - piece.sent
        self._delays.append((now, delay))
        if piece.last:
            self.pictures += 1
            self.ages_ms.append(delay / 1e6)

    def step(self, now: int, control_loss: float | None, control_queue_ms: float | None, loop_age_ms: float | None) -> None:
        """Five times a second: the shipped step of the ladder, with the console's reports as they come back."""
        self.rungs_ns[self.level.rung] += now - self._last
        self._last = now
        if now >= self._next_report:
            self._next_report += REPORT_NS
            self._report(now)
        if now < self._next_step:
            return
        self._next_step += STEP_NS
        loss, queue = self._told
        self.level = adapt.step(
            self.level, Measured(loss, queue, control_loss, control_queue_ms, loop_age_ms), now, ceiling=self.ceiling
        )

    def _report(self, now: int) -> None:
        while self._delays and now - self._delays[0][0] > 30 * REPORT_NS:
            self._delays.popleft()
        fresh = [d for t, d in self._delays if t >= now - REPORT_NS]
        floor = min((d for _, d in self._delays), default=0)
        # What is still under way is not lost yet: the loss of a second is counted a little too high, as RTCP does.
        lost = 1.0 - min(self._came, self._sent) / self._sent if self._sent >= 20 else None
        self._told = (lost, (sum(fresh) / len(fresh) - floor) / 1e6 if fresh else None)
        self._sent = self._came = 0
