"""How often a line alone would pause or hold the arm: the arrival process only, so that hours take seconds.

Commands leave each 10 ms on one or two paths; a frame counts when it is newer than all before it (first arrival, newest
wins). A gap longer than the lease is a pause, longer than 500 ms a hold. UDP: as the channel delivers. TCP: the same channel,
but nothing is lost and nothing overtakes: a lost segment comes after a retransmission (at least 200 ms, Linux' minimum RTO; or,
with `fast`, one round trip and three more frames, if fast retransmit works), and everything behind it waits.
The loop age is not in it: a line whose age alone forbids the hand holds more often than this says.
"""

import copy
import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from safety.params import MS
from sim.campaign.world import network
from sim.network.channel import Channel, Line

PERIOD = 10 * MS
HOLD_GAP = 500 * MS
MIN_RTO = 200 * MS


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Counts over `hours`, and the gaps themselves sorted (ns, those above 50 ms)."""

    profile: str
    paths: int
    transport: str
    hours: float
    gaps: tuple[int, ...]

    def per_hour(self, longer_than: int) -> float:
        return (len(self.gaps) - bisect_left(self.gaps, longer_than + 1)) / self.hours


def _udp(line: Line, seed: int, frames: int) -> list[tuple[int, int]]:
    """(arrival ns, seq) of every frame that arrives."""
    channel = Channel(line, seed)
    out = []
    for k in range(frames):
        now = k * PERIOD
        channel.push(now, b"c" * 300, k)
        if k % 64 == 0 or k == frames - 1:
            out += _drain(channel)
    return out + _drain(channel)


def _drain(channel: Channel) -> list[tuple[int, int]]:
    out = []
    while (due := channel.next_due()) is not None:
        out += [(due, tag) for _, tag in channel.due_tagged(due)]
    return out


def _tcp(line: Line, seed: int, frames: int, fast: bool) -> Iterator[tuple[int, int]]:
    rng = random.Random(seed)
    loss = copy.copy(line.loss)
    last = 0
    for k in range(frames):
        now = k * PERIOD
        delay = line.delay.draw(now, rng)
        wait = 0
        while loss.lost(now, rng):
            wait += 2 * delay + 3 * PERIOD if fast and wait == 0 else max(MIN_RTO, 2 * delay) * (2 if wait else 1)
        last = max(last, now + delay + wait)
        yield last, k


def measure(profile: str, paths: int, transport: str, seconds: float, seed: int = 1) -> Nuisance:
    """transport: "udp", "tcp" or "tcp-fast". Raises ValueError for another word or profile."""
    if transport not in ("udp", "tcp", "tcp-fast"):
        raise ValueError(f"transport {transport!r}: udp, tcp or tcp-fast")
    of = network(profile)
    frames = int(seconds * 1e9) // PERIOD
    arrivals: list[tuple[int, int]] = []
    for i, path in enumerate(of.paths[:paths]):
        if transport == "udp":
            arrivals += _udp(path.up, seed * 1000 + i, frames)
        else:
            arrivals += _tcp(path.up, seed * 1000 + i, frames, transport == "tcp-fast")
    arrivals.sort()
    newest, last, gaps = -1, 0, []
    for at, seq in arrivals:
        if seq > newest:
            if newest >= 0 and at - last > 50 * MS:
                gaps.append(at - last)
            newest, last = seq, at
    return Nuisance(profile, paths, transport, seconds / 3600.0, tuple(sorted(gaps)))
