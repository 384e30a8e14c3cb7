"""Both ends of the streams over emulated paths, in virtual time: no sockets, no clock, one seed one run."""

from dataclasses import replace

import pytest

from sim.network.channel import Channel, Line
from sim.network.models import GilbertElliott, Normal
from sim.network.profiles import profile
from teleop.link.seal import Kind
from teleop.link.stream import StreamEnd

MS = 1_000_000


class Virtual:
    """A console end and a site end joined by (up, down) channels; 1 ms steps; 100 Hz commands and states."""

    def __init__(self, channels: list[tuple[Channel, Channel]]) -> None:
        self.channels = channels
        args = (bytes(32), bytes(range(16)), 9, len(channels))
        self.console = StreamEnd(*args, site=False, now_ns=0)
        self.site = StreamEnd(*args, site=True, now_ns=0)
        self.now = 0
        self.sent: list[int] = []
        self.commands: list[tuple[int, int]] = []  # (time of arrival, ordinal)
        self.states: list[int] = []

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.now += MS
            if self.now // MS % 10 == 0:
                ordinal = len(self.sent)
                self.sent.append(self.now)
                self._out(self.console.seal_all(Kind.COMMAND, ordinal.to_bytes(8, "big"), self.now), up=True)
                self._out(self.site.seal_all(Kind.STATE, ordinal.to_bytes(8, "big"), self.now), up=False)
            self._out(self.console.probes(self.now), up=True)
            self._out(self.site.probes(self.now), up=False)
            for path, (up, down) in enumerate(self.channels):
                for d in up.due(self.now):
                    opened = self.site.open(path, d, self.now)
                    if opened is not None:
                        self.commands.append((self.now, int.from_bytes(opened.payload, "big")))
                for d in down.due(self.now):
                    opened = self.console.open(path, d, self.now)
                    if opened is not None:
                        self.states.append(int.from_bytes(opened.payload, "big"))

    def _out(self, datagrams: list[bytes], *, up: bool) -> None:
        for path, d in enumerate(datagrams):
            self.channels[path][0 if up else 1].push(self.now, d)


def paths(*lines: Line, seed: int = 1) -> list[tuple[Channel, Channel]]:
    return [(Channel(line, seed + 2 * i), Channel(line, seed + 2 * i + 1)) for i, line in enumerate(lines)]


LINE = Line(Normal(30.0, 0.0))


def test_round_trip_offset_and_loss_are_those_of_the_line() -> None:
    v = Virtual(paths(LINE, replace(LINE, delay=Normal(50.0, 0.0), loss=GilbertElliott(0.1))))
    v.run(10_000)
    for end in (v.console, v.site):
        fast, slow = end.stats(v.now)
        assert fast.rtt_ms_p50 == pytest.approx(60, abs=2) and slow.rtt_ms_p50 == pytest.approx(100, abs=2)
        assert fast.loss == 0.0 and 0.05 < slow.loss < 0.2
        clock = end.health[0].clock(v.now)
        assert clock is not None and abs(clock.offset_ns) <= clock.error_ns
    assert v.site.counts["late"] + v.site.counts["copies"] > 800, "the second copies came and were dropped"


def test_with_two_paths_and_one_cut_nothing_is_lost() -> None:
    v = Virtual(paths(LINE, LINE))
    v.run(1000)
    v.channels[0][0].cut(10**18)
    v.channels[0][1].cut(10**18)
    v.run(2000)
    assert v.channels[0][0].counts.cut > 100, "the cut really struck"
    ordinals = [o for _, o in v.commands]
    assert ordinals == list(range(len(ordinals))) and len(ordinals) >= len(v.sent) - 4
    assert [p.alive for p in v.site.stats(v.now)] == [False, True]


def test_a_path_that_died_is_noticed_within_300_ms_and_returns() -> None:
    v = Virtual(paths(LINE, LINE))
    v.run(1000)
    v.channels[1][0].cut(v.now + 1000 * MS)
    v.run(300)
    assert [h.is_alive(v.now) for h in v.site.health] == [True, False]
    v.run(1200)
    assert [h.is_alive(v.now) for h in v.site.health] == [True, True]


def test_independent_losses_of_two_paths_do_not_add_up() -> None:
    lossy = replace(LINE, loss=GilbertElliott(0.1))
    v = Virtual(paths(lossy, lossy))
    v.run(20_000)
    arrived = len(v.commands) / len(v.sent)
    assert arrived > 0.98, f"{arrived:.3f} of the commands arrived"
    assert v.site.stats(v.now)[0].loss > 0.05


def test_commands_never_arrive_twice_nor_backwards_on_a_wild_network() -> None:
    bad = profile("bad")
    v = Virtual([(Channel(p.up, 5 + i), Channel(p.down, 15 + i)) for i, p in enumerate(bad.paths)])
    v.run(20_000)
    ordinals = [o for _, o in v.commands]
    assert ordinals == sorted(set(ordinals)) and len(ordinals) > 1000
    counts = [c.counts for pair in v.channels for c in pair]
    assert all(min(c.lost, c.reordered, c.duplicated) > 0 for c in counts) and sum(c.corrupted for c in counts) > 0
    assert v.site.counts["bad"] > 0 and v.site.counts["replayed"] > 0, "corrupted and duplicated were told apart"


def test_slow_probes_are_counted_too() -> None:
    """A probe that was overtaken is still echoed: else the tail of the round trips would be missing."""
    v = Virtual([(Channel(p.up, 3 + i), Channel(p.down, 13 + i)) for i, p in enumerate(profile("4g").paths)])
    v.run(30_000)
    stats = v.console.stats(v.now)[0]
    assert stats.rtt_ms_p99 is not None and stats.rtt_ms_p99 > 300


def test_a_command_does_not_pass_for_a_state_nor_come_back_as_one() -> None:
    v = Virtual(paths(LINE))
    [datagram] = v.console.seal_all(Kind.COMMAND, b"x", 0)
    assert v.console.open(0, datagram, 0) is None, "reflected to its sender"
    [datagram] = v.console.seal_all(Kind.STATE, b"x", 0)
    assert v.site.open(0, datagram, 0) is None, "a console sends no states"
    assert v.site.counts["delivered"] == 0


def test_a_stalled_loop_does_not_answer_with_a_volley_of_probes() -> None:
    end = StreamEnd(bytes(32), bytes(16), 1, 1, site=True, now_ns=0)
    assert end.probes(0)
    assert end.probes(5_000 * MS)
    assert not end.probes(5_001 * MS)
