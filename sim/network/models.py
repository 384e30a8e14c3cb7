"""Delay and loss, one packet at a time. Pure: randomness comes from the `random.Random` that the caller seeds.

Sources:
* 5G and 4G delay: the published NetFI models of the UVA telesurgery study: 5G = 7.5 ms + hyper-exponential
  (0.8: mean 5 ms, 0.2: mean 50 ms); 4G = 15 ms + (0.8: mean 10 ms, 0.2: mean 150 ms). We take them as one-way delays of
  single datagrams, drawn independently, which reorders: the harder reading.
* Burst loss: Gilbert-Elliott (Gilbert 1960, Elliott 1963), two states, everything lost in the bad one.
* Traces: measured round trips; half of each is taken as the one-way delay.
"""

import csv
import gzip
import lzma
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

MS = 1_000_000


class Delay(Protocol):
    """One-way delay (ns) of a packet that enters at `now_ns`, ns since the start of the channel."""

    def draw(self, now_ns: int, rng: random.Random) -> int: ...


class Loss(Protocol):
    """Is the packet that enters now lost on the way?"""

    def lost(self, now_ns: int, rng: random.Random) -> bool: ...


@dataclass(frozen=True, slots=True)
class HyperExponential:
    """base + one of several exponentials, chosen by weight. Times in ms."""

    base_ms: float
    parts: tuple[tuple[float, float], ...]  # (weight, mean ms), weights add to 1

    def draw(self, now_ns: int, rng: random.Random) -> int:
        u, chosen = rng.random(), self.parts[-1][1]
        for weight, mean in self.parts:
            if u < weight:
                chosen = mean
                break
            u -= weight
        return int((self.base_ms + rng.expovariate(1 / chosen)) * MS)


@dataclass(frozen=True, slots=True)
class Normal:
    """base + |normal| jitter, ms: a good line."""

    base_ms: float
    jitter_ms: float

    def draw(self, now_ns: int, rng: random.Random) -> int:
        return int((self.base_ms + abs(rng.gauss(0.0, self.jitter_ms))) * MS)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A queue that fills: `extra_ms` more, growing from `start_s` to `end_s`, then gone (bufferbloat)."""

    base: Delay
    start_s: float
    end_s: float
    extra_ms: float

    def draw(self, now_ns: int, rng: random.Random) -> int:
        t = now_ns / 1e9
        share = (t - self.start_s) / (self.end_s - self.start_s) if self.start_s <= t < self.end_s else 0.0
        return self.base.draw(now_ns, rng) + int(share * self.extra_ms * MS)


@dataclass(frozen=True, slots=True)
class Trace:
    """Measured round trips, halved, linearly interpolated, repeated from the start when they are over.

    times_ns ascending from 0; rtts_ns beside them. Gaps of the measurement longer than a second are cut out.
    """

    name: str
    times_ns: Sequence[int]
    rtts_ns: Sequence[int]

    def draw(self, now_ns: int, rng: random.Random) -> int:
        span = self.times_ns[-1]
        t = now_ns % span
        i = bisect_right(self.times_ns, t)
        t0, t1 = self.times_ns[i - 1], self.times_ns[i]
        r0, r1 = self.rtts_ns[i - 1], self.rtts_ns[i]
        return int(r0 + (r1 - r0) * (t - t0) / (t1 - t0)) // 2


@dataclass(slots=True)
class GilbertElliott:
    """Two-state loss. `mean` is the fraction lost overall, `burst` the mean length of a burst in packets."""

    mean: float
    burst: float = 1.0
    _bad: bool = field(default=False, repr=False)

    def lost(self, now_ns: int, rng: random.Random) -> bool:
        if self.mean <= 0.0:
            return False
        leave_bad = 1.0 / max(self.burst, 1.0)
        enter_bad = min(1.0, self.mean * leave_bad / max(1e-9, 1.0 - self.mean))
        self._bad = rng.random() >= leave_bad if self._bad else rng.random() < enter_bad
        return self._bad


@dataclass(frozen=True, slots=True)
class TraceLoss:
    """Loss that follows a measured drop rate over time (fraction, 0 to 1), constant between samples."""

    times_ns: Sequence[int]
    rates: Sequence[float]

    def lost(self, now_ns: int, rng: random.Random) -> bool:
        i = bisect_right(self.times_ns, now_ns % max(1, self.times_ns[-1]))
        return rng.random() < self.rates[max(0, i - 1)]


_COLUMNS = {"rtt_ms": None, "pop_ping_latency_ms": "pop_ping_drop_rate"}


def read_trace(path: Path | str) -> tuple[Trace, TraceLoss | None]:
    """A CSV (also .gz, .xz) of measured round trips: `t_s` and `rtt_ms`, or Starlink's `pop_ping_latency_ms` with its drop rate.

    Raises ValueError naming the file and what is wrong with it.
    """
    path = Path(path)
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opener(path, "rt", newline="") as f:
            rows = list(csv.DictReader(f))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as e:
        raise ValueError(f"{path}: cannot read this trace: {e}") from None
    column = next((c for c in _COLUMNS if rows and c in rows[0]), None)
    if column is None or "t_s" not in rows[0]:
        raise ValueError(f"{path}: a trace has the columns t_s and one of {', '.join(_COLUMNS)}; this has {list(rows[0]) if rows else 'no rows'}")
    drop = _COLUMNS[column]
    times: list[int] = []
    rtts: list[int] = []
    rates: list[float] = []
    t = 0
    last: float | None = None
    for n, row in enumerate(rows, 2):
        try:
            at, rtt = float(row["t_s"]), float(row[column] or "nan")
            rate = float(row[drop]) if drop else 0.0
        except (TypeError, ValueError):
            raise ValueError(f"{path}: line {n}: not a number") from None
        if not rtt > 0:  # also NaN: no answer at all
            rate, rtt = 1.0, rtts[-1] / MS if rtts else 100.0
        # Laps of a measurement are glued together; a step back or a long pause counts as one ordinary sample.
        step = at - last if last is not None else 0.0
        t += int((step if 0 < step <= 1.5 else 0.05) * 1e9) if last is not None else 0
        last = at
        times.append(t)
        rtts.append(int(rtt * MS))
        rates.append(min(1.0, max(0.0, rate)))
    if len(times) < 2:
        raise ValueError(f"{path}: a trace needs at least two samples")
    loss = TraceLoss(times, rates) if any(rates) else None
    return Trace(path.name, times, rtts), loss
