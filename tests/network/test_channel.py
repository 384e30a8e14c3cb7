"""The emulated lines in virtual time: what a profile promises is what packets meet."""

import gzip
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.network.channel import PERFECT, Channel, Line
from sim.network.models import GilbertElliott, HyperExponential, Normal, Ramp, read_trace
from sim.network.profiles import PROFILES, channels, profile

MS = 1_000_000
DATA = Path(__file__).parents[3] / "shared/data/net"


def run(channel: Channel, n: int, period_ms: int = 10) -> list[tuple[int, int]]:
    """n packets at a period; (ordinal, delay ns) of everything that arrived, in order of arrival (1 ms steps)."""
    out, now, sent = [], 0, 0
    while sent < n or channel.next_due() is not None:
        packet = None
        if sent < n and now % (period_ms * MS) == 0:
            packet = sent.to_bytes(4, "big") + now.to_bytes(8, "big") + bytes(300)
            sent += 1
        for p in channel.step(now, packet):
            out.append((int.from_bytes(p[:4], "big"), now - int.from_bytes(p[4:12], "big")))
        now += MS
    return out


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_same_seed_gives_the_same_run_and_another_seed_another(name: str) -> None:
    p = profile(name)
    runs = [run(channels(p, seed)[1][0], 300) for seed in (4, 4, 5)]
    assert runs[0] == runs[1]
    if name != "perfect":
        assert runs[0] != runs[2]


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {"perfect"}))
def test_paths_and_directions_do_not_share_their_fate(name: str) -> None:
    (up0, down0), (up1, down1) = channels(profile(name), 1)
    fates = [tuple(run(c, 200)) for c in (up0, down0, up1, down1)]
    assert len(set(fates)) == 4


@pytest.mark.parametrize(("name", "base", "mean"), [("5g", 7.5, 7.5 + 0.8 * 5 + 0.2 * 50), ("4g", 15.0, 15 + 0.8 * 10 + 0.2 * 150)])
def test_the_published_models_have_their_published_moments(name: str, base: float, mean: float) -> None:
    line = replace(profile(name).paths[0].up, loss=GilbertElliott(0.0), rate_bps=0.0)
    delays = [d / MS for _, d in run(Channel(line, 1), 8000)]
    assert min(delays) >= base
    assert statistics.mean(delays) == pytest.approx(mean, rel=0.08)


@pytest.mark.parametrize(("mean", "burst"), [(0.01, 1.0), (0.02, 5.0), (0.2, 3.0)])
def test_burst_loss_has_its_mean_and_its_burst_length(mean: float, burst: float) -> None:
    c = Channel(replace(PERFECT, loss=GilbertElliott(mean, burst)), 2)
    came = {o for o, _ in run(c, 40_000, 1)}
    lost = [i not in came for i in range(40_000)]
    assert sum(lost) / len(lost) == pytest.approx(mean, rel=0.25)
    starts = sum(1 for a, b in zip([False, *lost], lost, strict=False) if b and not a)
    assert sum(lost) / starts == pytest.approx(burst, rel=0.25)
    assert c.counts.lost == sum(lost)


def test_a_first_in_first_out_line_keeps_the_order_and_the_other_kind_does_not() -> None:
    line = Line(HyperExponential(5.0, ((0.5, 5.0), (0.5, 60.0))))
    kept, mixed = Channel(line, 1), Channel(replace(line, fifo=False), 1)
    in_order = [o for o, _ in run(kept, 500)]
    assert in_order == sorted(in_order) and kept.counts.reordered == 0
    order = [o for o, _ in run(mixed, 500)]
    assert order != sorted(order) and mixed.counts.reordered > 50


def test_a_bottleneck_paces_and_its_queue_overflows() -> None:
    c = Channel(replace(PERFECT, rate_bps=312 * 8 * 50, queue_ms=100), 1)  # 50 packets a second fit
    arrived = run(c, 300)  # 100 a second are sent
    assert c.counts.queue_dropped > 100
    assert max(d for _, d in arrived) <= 125 * MS
    assert len(arrived) + c.counts.queue_dropped == 300


def test_an_outage_loses_what_is_under_way_and_what_comes_and_then_ends() -> None:
    c = Channel(Line(Normal(50.0, 0.0)), 1)
    for i in range(10):
        c.push(i * 10 * MS, b"%d" % i)
    c.cut(200 * MS)
    assert c.is_cut(150 * MS) and c.next_due() is None
    c.push(150 * MS, b"in the outage")
    assert c.step(1000 * MS) == [] and c.counts.cut == 11
    c.push(1000 * MS, b"after")
    assert c.step(1050 * MS) == [b"after"]


def test_an_outage_does_not_change_the_fate_of_later_packets() -> None:
    line = replace(profile("bad").paths[0].up, corrupt=0.0, reorder=0.0, duplicate=0.0, delay=Normal(1.0, 0.0))
    plain, cut = Channel(line, 7), Channel(line, 7)
    fates = []
    for c in (plain, cut):
        came = []
        for i in range(1000):
            if c is cut and i == 300:
                c.cut(i * 10 * MS + 500 * MS)
            came += [int(p) for p in c.step(i * 10 * MS, b"%d" % i)]
        fates.append({o for o in came if o > 360})
    assert fates[0] == fates[1] and cut.counts.cut == 51, "fifty that came, and one that was under way"


def test_duplicates_and_flipped_bits_are_made_and_counted() -> None:
    c = Channel(replace(PERFECT, duplicate=0.1, corrupt=0.1), 1)
    packet = bytes(50)
    out = [p for i in range(1000) for p in c.step(i * 10 * MS, packet)]
    assert len(out) >= 1000 + c.counts.duplicated - 1 and c.counts.duplicated > 50
    wrong = [p for p in out if p != packet]
    assert len(wrong) >= c.counts.corrupted > 50
    assert all(sum(b.bit_count() for b in p) == 1 for p in wrong)


def test_bufferbloat_ramps_up_and_ends() -> None:
    c = Channel(Line(Ramp(Normal(20.0, 0.0), 1.0, 3.0, 2000.0), fifo=False), 1)
    delays = dict(run(c, 500))
    assert delays[50] <= 21 * MS and delays[290] > 1800 * MS and delays[320] <= 21 * MS


@given(st.integers(0, 1000), st.floats(0, 0.5), st.floats(1, 20))
def test_every_packet_is_delivered_or_accounted_for(seed: int, loss: float, burst: float) -> None:
    line = Line(Normal(20, 10), GilbertElliott(loss, burst), fifo=False, rate_bps=3e5, queue_ms=30, reorder=0.1, duplicate=0.05)
    c = Channel(line, seed)
    run(c, 200, 5)
    n = c.counts
    assert n.entered + n.duplicated == n.delivered + n.lost + n.cut + n.queue_dropped


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="beijing-tianjin"):
        profile("moon")


# --- traces ----------------------------------------------------------------------------------------------------------


def test_a_trace_is_played_at_half_its_round_trips(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("t_s,rtt_ms\n0.0,100\n1.0,200\n1.9,200\n")
    delays = dict(run(Channel(profile(f"trace:{file}").paths[0].up, 1), 100))
    assert delays[0] == 50 * MS and 74 * MS <= delays[50] <= 76 * MS


def test_a_gap_in_a_trace_is_cut_out(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("t_s,rtt_ms\n0,10\n1,10\n500,10\n501,10\n")
    trace, _ = read_trace(file)
    assert trace.times_ns[-1] < 3 * 10**9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rows"),
        ("a,b\n1,2\n", "has the columns"),
        ("t_s,rtt_ms\n0,10\n", "two samples"),
        ("t_s,rtt_ms\n0,10\n1,ten\n", "line 3"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=says) as e:
        profile(f"trace:{file}")
    assert str(file) in str(e.value)


def test_a_trace_that_is_not_there_or_not_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    for name in ("nowhere.csv", "t.csv.gz"):
        with pytest.raises(ValueError, match="cannot read"):
            profile(f"trace:{tmp_path / name}")
    (tmp_path / "t2.csv.gz").write_bytes(gzip.compress(b"t_s,rtt_ms\n0,10\n1,10\n")[:20])
    with pytest.raises(ValueError, match="cannot read"):
        profile(f"trace:{tmp_path / 't2.csv.gz'}")


@pytest.mark.parametrize("file", sorted(DATA.glob("*.csv.gz")) or [None], ids=lambda f: f.name if f else "absent")
def test_measured_traces_play(file: Path | None) -> None:
    if file is None:
        pytest.skip("the measured traces are not here (../shared/data/net)")
    (up0, _), (up1, _) = channels(profile(f"trace:{file}"), 1)
    a, b = run(up0, 2000), run(up1, 2000)
    assert len(a) > 1000 and a != b, "path 1 plays another part of the trace"
    assert 2 < statistics.median(d for _, d in a) / MS < 100
