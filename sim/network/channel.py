"""`Channel`: one direction of one path, as a pure model. Time and packets in, packets out; the same object runs in virtual
time (campaign, nuisance statistics) and inside the relay process.

Order of what happens to a packet: outage, loss, queue (rate and tail drop), delay, reordering, duplication, corruption.
"""

import copy
import heapq
import random
from dataclasses import dataclass, field, replace
from typing import Any

from sim.network.models import MS, Delay, GilbertElliott, Loss, Normal


@dataclass(frozen=True, slots=True)
class Line:
    """What one direction of a path is like.

    fifo: packets keep their order (a packet never overtakes). rate_bps 0: unlimited. queue_ms: what the bottleneck holds
    before it drops. reorder / duplicate / corrupt: probabilities per packet; a reordered packet is held back `reorder_ms`.
    """

    delay: Delay
    loss: Loss = field(default_factory=lambda: GilbertElliott(0.0))
    fifo: bool = True
    rate_bps: float = 0.0
    queue_ms: float = 200.0
    reorder: float = 0.0
    reorder_ms: float = 15.0
    duplicate: float = 0.0
    corrupt: float = 0.0


PERFECT = Line(Normal(0.0, 0.0))


@dataclass(slots=True)
class Counts:
    """What the channel did, so that a test can prove that an impairment struck."""

    entered: int = 0
    delivered: int = 0
    lost: int = 0
    cut: int = 0
    queue_dropped: int = 0
    reordered: int = 0
    duplicated: int = 0
    corrupted: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    delay_sum_ns: int = 0
    delay_max_ns: int = 0


class Channel:
    """Seeded, deterministic. All times in ns on one clock that never goes back."""

    def __init__(self, line: Line, seed: int, start_ns: int = 0) -> None:
        self.line = replace(line, loss=copy.copy(line.loss))  # the loss model has a state of its own
        self.counts = Counts()
        self._rng = random.Random(seed)
        self._start = start_ns
        self._heap: list[tuple[int, int, bytes, Any]] = []
        self._order = 0
        self._last_out = 0
        self._free = 0
        self._cut_until = 0

    def fork(self) -> "Channel":
        """The same moment once more: both go on with the same random numbers and do not touch each other."""
        other = copy.copy(self)
        other.line = replace(self.line, loss=copy.copy(self.line.loss))
        other.counts = replace(self.counts)
        other._rng = copy.copy(self._rng)
        other._heap = list(self._heap)
        return other

    def set_line(self, line: Line) -> None:
        """Another line from now on; what is under way arrives as it would have."""
        self.line = replace(line, loss=copy.copy(line.loss))

    def cut(self, until_ns: int) -> None:
        """Nothing enters before `until_ns`, and what is under way is lost."""
        self._cut_until = max(self._cut_until, until_ns)
        self.counts.cut += len(self._heap)
        self._heap.clear()

    def heal(self) -> None:
        """End an outage now."""
        self._cut_until = 0

    def is_cut(self, now_ns: int) -> bool:
        """Is there an outage?"""
        return now_ns < self._cut_until

    def push(self, now_ns: int, packet: bytes, tag: Any = None) -> None:
        """A packet enters. `tag` rides along untouched (the relay's note of whose packet it is)."""
        line, rng, c = self.line, self._rng, self.counts
        c.entered += 1
        c.bytes_in += len(packet)
        # Draw always the same number of times in the same order: an outage must not change the fate of later packets.
        lost = line.loss.lost(now_ns - self._start, rng)
        delay = line.delay.draw(now_ns - self._start, rng)
        u_reorder, u_duplicate, u_corrupt = rng.random(), rng.random(), rng.random()
        if now_ns < self._cut_until:
            c.cut += 1
            return
        if lost:
            c.lost += 1
            return
        out = now_ns + delay
        if line.rate_bps > 0:
            begin = max(now_ns, self._free)
            if begin - now_ns > line.queue_ms * MS:
                c.queue_dropped += 1
                return
            self._free = begin + int(len(packet) * 8e9 / line.rate_bps)
            out += self._free - now_ns
        if line.fifo:
            out = max(out, self._last_out)
        if u_reorder < line.reorder:
            c.reordered += 1
            out += int(line.reorder_ms * MS)
        else:
            if out < self._last_out:
                c.reordered += 1
            self._last_out = max(self._last_out, out)
        if u_corrupt < line.corrupt and packet:
            c.corrupted += 1
            bit = rng.randrange(len(packet) * 8)
            mutable = bytearray(packet)
            mutable[bit >> 3] ^= 1 << (bit & 7)
            packet = bytes(mutable)
        c.delay_sum_ns += out - now_ns
        c.delay_max_ns = max(c.delay_max_ns, out - now_ns)
        self._schedule(out, packet, tag)
        if u_duplicate < line.duplicate:
            c.duplicated += 1
            self._schedule(out + 1 * MS, packet, tag)

    def segment_delay(self, now_ns: int, size: int, retransmit_ns: int) -> int:
        """How long a segment of a byte stream takes, ns: nothing is lost there, what would be lost waits to be sent again."""
        line, rng, c = self.line, self._rng, self.counts
        c.entered += 1
        c.bytes_in += size
        lost = line.loss.lost(now_ns - self._start, rng)
        delay = line.delay.draw(now_ns - self._start, rng)
        if line.rate_bps > 0:
            self._free = max(now_ns, self._free) + int(size * 8e9 / line.rate_bps)
            delay += self._free - now_ns
        if lost:
            c.lost += 1
            delay += retransmit_ns
        c.delivered += 1
        c.bytes_out += size
        c.delay_sum_ns += delay
        c.delay_max_ns = max(c.delay_max_ns, delay)
        return delay

    def _schedule(self, out: int, packet: bytes, tag: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (out, self._order, packet, tag))

    def due(self, now_ns: int) -> list[bytes]:
        """Packets that have arrived by now, in order of arrival."""
        return [packet for packet, _ in self.due_tagged(now_ns)]

    def due_tagged(self, now_ns: int) -> list[tuple[bytes, Any]]:
        """Packets that have arrived by now, with their tags."""
        out = []
        while self._heap and self._heap[0][0] <= now_ns:
            _, _, packet, tag = heapq.heappop(self._heap)
            self.counts.delivered += 1
            self.counts.bytes_out += len(packet)
            out.append((packet, tag))
        return out

    def step(self, now_ns: int, packet: bytes | None = None) -> list[bytes]:
        """A packet (or none) enters at `now_ns`; what has arrived by then comes out."""
        if packet is not None:
            self.push(now_ns, packet)
        return self.due(now_ns)

    def next_due(self) -> int | None:
        """When the next packet arrives, None if nothing is under way."""
        return self._heap[0][0] if self._heap else None
