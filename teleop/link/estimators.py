"""Health of one path of the link, as one end sees it. Pure: every method takes the time.

Loss comes from the counters (the sender numbers every datagram of a path's channel without holes), round trips from the four stamps
of the probes, jitter from the send times in the headers (RFC 3550, 6.4.1), queueing from one-way delay minus its recent minimum
(needs no synchronised clocks; idea of LEDBAT, RFC 6817), clock offset from the sample with the least delay (RFC 5905, 10).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

#: A path that has been silent for this long is dead. Probes come every 50 ms, so five in a row are missing.
DEAD_AFTER_NS = 250_000_000
#: A dead path returns after this many authenticated datagrams.
RETURN_AFTER = 5
_WINDOW_NS = 10_000_000_000
_SLICE_NS = 100_000_000
_OWD_WINDOW_NS = 60_000_000_000
_DRIFT = 50e-6  # of a quartz clock, for the bound of the clock offset


@dataclass(frozen=True, slots=True)
class PathStats:
    """One path over the last ten seconds (loss_1s: one). Times in ms; None where nothing was measured."""

    path: int
    alive: bool
    rtt_ms_p50: float | None
    rtt_ms_p99: float | None
    rtt_ms_last: float | None
    jitter_ms: float
    queue_ms: float
    loss: float
    loss_1s: float
    longest_gap_ms: float
    longest_burst: int
    received: int
    lost: int
    duplicates: int
    reordered: int
    bad: int
    silence_ms: float


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """Peer clock minus own clock, ns, and the bound of its error (half the round trip + drift since then)."""

    offset_ns: int
    error_ns: int


class PathHealth:
    """Estimators of one path (one direction of arrival). Feed it every authenticated datagram and every probe."""

    def __init__(self, path: int, now_ns: int) -> None:
        self.path = path
        self.received = 0
        self.duplicates = 0
        self.reordered = 0
        self.bad = 0
        self.alive = False
        self.bursts: dict[int, int] = {}  # length of a run of missing counters -> how often
        #: When a list, every round trip (ns) is appended: for the line test, which looks at minutes.
        self.record: list[int] | None = None
        self._highest = 0
        self._first = 0
        self._last_rx: int | None = None
        self._streak = 0
        self._started = now_ns
        self._slices: deque[tuple[int, int, int]] = deque()  # (time, received, highest) every 100 ms
        self._gaps: deque[tuple[int, int, int]] = deque()  # (time, gap ns, missing) of the notable ones
        self._rtts: deque[tuple[int, int]] = deque()
        self._jitter_us = 0.0
        self._transit: int | None = None
        self._owd_min: deque[tuple[int, int]] = deque()  # monotone queue of (time, relative delay us)
        self._owd_us = 0
        self._clock: deque[tuple[int, int, int]] = deque(maxlen=8)  # (time, delay, offset)

    def datagram(self, now_ns: int, counter: int, sent_us: int) -> None:
        """An authenticated datagram that the replay window admitted."""
        self.received += 1
        if not self._first:
            self._first = counter
        missing = 0
        if counter > self._highest:
            missing = counter - self._highest - 1 if self._highest else 0
            if missing:
                self.bursts[missing] = self.bursts.get(missing, 0) + 1
            self._highest = counter
        else:
            self.reordered += 1
        if self._last_rx is not None:
            gap = now_ns - self._last_rx
            if missing or gap > 30_000_000:
                self._gaps.append((now_ns, gap, missing))
                if len(self._gaps) > 4096:
                    self._gaps.popleft()
        if self._last_rx is not None and now_ns - self._last_rx > DEAD_AFTER_NS:
            self._streak = 0
        self._last_rx = now_ns
        self._streak += 1
        if self._streak >= RETURN_AFTER:
            self.alive = True
        self._delay(now_ns, sent_us)
        if not self._slices or now_ns - self._slices[-1][0] >= _SLICE_NS:
            self._slices.append((now_ns, self.received, self._highest))
            while self._slices[0][0] < now_ns - _WINDOW_NS - _SLICE_NS:
                self._slices.popleft()

    def _delay(self, now_ns: int, sent_us: int) -> None:
        # Difference of two clocks modulo 2^32 us, unwrapped against the previous one.
        raw = (now_ns // 1000 - sent_us) & 0xFFFFFFFF
        if self._transit is None:
            transit = raw
        else:
            transit = self._transit + ((raw - self._transit + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            self._jitter_us += (abs(transit - self._transit) - self._jitter_us) / 16
        self._transit = transit
        while self._owd_min and self._owd_min[-1][1] >= transit:
            self._owd_min.pop()
        self._owd_min.append((now_ns, transit))
        while self._owd_min[0][0] < now_ns - _OWD_WINDOW_NS:
            self._owd_min.popleft()
        self._owd_us = transit - self._owd_min[0][1]

    def round_trip(self, now_ns: int, rtt_ns: int, offset_ns: int) -> None:
        """One four-stamp sample: round trip and offset (peer minus own). Nonsense (negative, > 60 s) is ignored."""
        if not 0 <= rtt_ns <= 60_000_000_000:
            return
        self._rtts.append((now_ns, rtt_ns))
        while self._rtts[0][0] < now_ns - _WINDOW_NS:
            self._rtts.popleft()
        self._clock.append((now_ns, rtt_ns, offset_ns))
        if self.record is not None:
            self.record.append(rtt_ns)

    @property
    def highest(self) -> int:
        """The highest counter seen."""
        return self._highest

    def silence_ns(self, now_ns: int) -> int:
        """Time since the last authenticated datagram (since the start, if there was none)."""
        return now_ns - (self._last_rx if self._last_rx is not None else self._started)

    def newest_round_trip_ns(self) -> int | None:
        """The newest round trip, None before the first."""
        return self._rtts[-1][1] if self._rtts else None

    def is_alive(self, now_ns: int) -> bool:
        """Alive: five datagrams since the last death, and none missing for more than 250 ms."""
        if self.alive and self.silence_ns(now_ns) > DEAD_AFTER_NS:
            self.alive = False
            self._streak = 0
        return self.alive

    def loss(self, now_ns: int, window_ns: int = _WINDOW_NS) -> float:
        """Fraction of the peer's datagrams of the last `window_ns` that have not arrived, 0 to 1.

        A silent path has lost everything for as long as it is silent, although no counter shows it yet.
        """
        base = None
        for t, received, highest in self._slices:
            if t >= now_ns - window_ns:
                base = (t, received, highest)
                break
        silence = self.silence_ns(now_ns)
        if base is None:
            return 1.0 if silence > DEAD_AFTER_NS else 0.0
        sent = self._highest - base[2]
        came = self.received - base[1]
        fraction = 1 - min(came, sent) / sent if sent > 0 else 0.0
        if silence > DEAD_AFTER_NS:
            quiet = min(1.0, silence / window_ns)
            fraction = quiet + (1 - quiet) * fraction
        return fraction

    def clock(self, now_ns: int) -> ClockEstimate | None:
        """Offset of the peer's clock from the sample with the least delay of the last eight."""
        if not self._clock:
            return None
        t, delay, offset = min(self._clock, key=lambda c: c[1])
        return ClockEstimate(offset, delay // 2 + int((now_ns - t) * _DRIFT))

    def stats(self, now_ns: int) -> PathStats:
        """Everything at once."""
        rtts = sorted(r for t, r in self._rtts if t >= now_ns - _WINDOW_NS)
        while self._gaps and self._gaps[0][0] < now_ns - _WINDOW_NS:
            self._gaps.popleft()
        silence = self.silence_ns(now_ns)
        gap = max([g for _, g, _ in self._gaps] + [silence if self._last_rx is not None else 0])
        return PathStats(
            path=self.path,
            alive=self.is_alive(now_ns),
            rtt_ms_p50=quantile(rtts, 0.5),
            rtt_ms_p99=quantile(rtts, 0.99),
            rtt_ms_last=self._rtts[-1][1] / 1e6 if self._rtts else None,
            jitter_ms=self._jitter_us / 1e3,
            queue_ms=self._owd_us / 1e3,
            loss=self.loss(now_ns),
            loss_1s=self.loss(now_ns, 1_000_000_000),
            longest_gap_ms=gap / 1e6,
            longest_burst=max([m for _, _, m in self._gaps], default=0),
            received=self.received,
            lost=max(0, self._highest - self._first + 1 - self.received) if self._first else 0,
            duplicates=self.duplicates,
            reordered=self.reordered,
            bad=self.bad,
            silence_ms=silence / 1e6,
        )


def quantile(sorted_ns: list[int], q: float) -> float | None:
    """Quantile (nearest rank) of sorted nanoseconds, in ms; None for no samples."""
    if not sorted_ns:
        return None
    return sorted_ns[min(len(sorted_ns) - 1, int(q * len(sorted_ns)))] / 1e6


def p50_p99(values: Sequence[float]) -> dict[str, float]:
    """{"p50", "p99"} (nearest rank) of values in any order, in their own unit; NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": float("nan"), "p99": float("nan")}
    return {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for name, q in (("p50", 0.5), ("p99", 0.99))}
