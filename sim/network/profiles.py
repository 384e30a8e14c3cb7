"""Named networks. A profile is a list of paths, a path has a line each way.

Delays are the published models (see `models`); the loss rates are ours, set near what the field measured: 0.37 % on a
standing 5G modem, 1.06 % driving; bursts of a few packets. Fibre: 5 us/km along the route. Simulated, not measured there.
"""

from dataclasses import dataclass
from pathlib import Path

from sim.network.channel import PERFECT, Channel, Line
from sim.network.models import Delay, GilbertElliott, HyperExponential, Normal, read_trace


@dataclass(frozen=True, slots=True)
class PathProfile:
    """up: console to site; down: site to console."""

    up: Line
    down: Line


@dataclass(frozen=True, slots=True)
class Profile:
    """A named WAN with its paths."""

    name: str
    about: str
    paths: tuple[PathProfile, ...]


def _both(line: Line) -> PathProfile:
    return PathProfile(line, line)


def _line(delay: Delay, loss: float, burst: float = 1.0, *, fifo: bool = True, rate_mbps: float = 0.0, queue_ms: float = 200.0) -> Line:
    return Line(delay, GilbertElliott(loss, burst), fifo=fifo, rate_bps=rate_mbps * 1e6, queue_ms=queue_ms)


def _netfi_5g(extra_ms: float = 0.0) -> HyperExponential:
    return HyperExponential(7.5 + extra_ms, ((0.8, 5.0), (0.2, 50.0)))


def _netfi_4g(extra_ms: float = 0.0) -> HyperExponential:
    return HyperExponential(15.0 + extra_ms, ((0.8, 10.0), (0.2, 150.0)))


def _fibre(km: float, jitter_ms: float = 0.3) -> Normal:
    return Normal(1.0 + km * 0.005, jitter_ms)


_5G = _line(_netfi_5g(), 0.004, 3.0, fifo=False, rate_mbps=40.0)
_4G = _line(_netfi_4g(), 0.010, 4.0, fifo=False, rate_mbps=12.0)
_METRO = _line(_fibre(60.0), 0.0001)

PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        Profile("perfect", "no network at all: the machine's loopback", (_both(PERFECT), _both(PERFECT))),
        Profile("metro-fibre", "two fibre lines inside one city, 60 km of route", (_both(_METRO), _both(_METRO))),
        Profile("5g", "published 5G model on both paths, 0.4 % loss in bursts of 3", (_both(_5G), _both(_5G))),
        Profile("4g", "published 4G model on both paths, 1 % loss in bursts of 4", (_both(_4G), _both(_4G))),
        Profile(
            "satellite",
            "geostationary satellite on path 0 (about 560 ms round trip), low orbit on path 1",
            (
                _both(_line(Normal(275.0, 4.0), 0.005, 4.0, rate_mbps=10.0, queue_ms=500.0)),
                _both(_line(Normal(22.0, 6.0), 0.006, 8.0, rate_mbps=20.0)),
            ),
        ),
        Profile(
            "beijing-tianjin",
            "140 km: leased fibre on path 0, 5G on path 1",
            (_both(_line(_fibre(200.0), 0.0002)), _both(_line(_netfi_5g(1.0), 0.004, 3.0, fifo=False, rate_mbps=40.0))),
        ),
        Profile(
            "beijing-zhangjiakou",
            "200 km: 5G of two providers",
            (
                _both(_line(_netfi_5g(1.4), 0.004, 3.0, fifo=False, rate_mbps=40.0)),
                _both(_line(_netfi_5g(2.0), 0.008, 3.0, fifo=False, rate_mbps=40.0)),
            ),
        ),
        Profile(
            "beijing-karamay",
            "3600 km of route: leased fibre on path 0, 4G behind the same distance on path 1",
            (_both(_line(_fibre(3600.0, 0.8), 0.001, 2.0)), _both(_line(_netfi_4g(18.0), 0.010, 4.0, fifo=False, rate_mbps=12.0))),
        ),
        Profile(
            "bad",
            "for tests: 5 % loss in bursts of 5, 40 ms and jitter, 1 % reordered, duplicated; 0.2 % corrupted",
            (
                _both(
                    Line(
                        Normal(40.0, 15.0),
                        GilbertElliott(0.05, 5.0),
                        fifo=False,
                        reorder=0.01,
                        duplicate=0.01,
                        corrupt=0.002,
                    )
                ),
            )
            * 2,
        ),
    )
}


def profile(name: str) -> Profile:
    """A profile by name, or from measured round trips: `trace:FILE.csv[.gz]` (both paths; path 1 starts half-way through).

    Raises ValueError, listing the names.
    """
    if name.startswith("trace:"):
        path = Path(name.removeprefix("trace:"))
        trace, loss = read_trace(path)
        half = len(trace.times_ns) // 2
        order = [*range(half, len(trace.times_ns)), *range(half)]
        steps = [b - a for a, b in zip(trace.times_ns, trace.times_ns[1:], strict=False)] + [50_000_000]
        times, t = [], 0
        for i in order:
            times.append(t)
            t += steps[i]
        other = type(trace)(trace.name, times, [trace.rtts_ns[i] for i in order])
        lines = [Line(d, loss) if loss is not None else Line(d, GilbertElliott(0.0)) for d in (trace, other)]
        return Profile(name, f"measured round trips of {path.name}, halved", (_both(lines[0]), _both(lines[1])))
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"no network profile {name!r}; there are {', '.join(PROFILES)} and trace:FILE.csv") from None


def channels(of: Profile, seed: int, start_ns: int = 0) -> list[tuple[Channel, Channel]]:
    """(up, down) of every path, each with its own stream of random numbers."""
    return [
        (Channel(p.up, seed * 1000 + 2 * i, start_ns), Channel(p.down, seed * 1000 + 2 * i + 1, start_ns))
        for i, p in enumerate(of.paths)
    ]
