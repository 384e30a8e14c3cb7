"""Who may send how much: one console's line shared by its sites, and a site's share by its planes. A pure token-bucket step.

Control is never asked: commands, states and stops are sent whatever the budget says, and what they used is *charged*, so the others get
what is left. Video and bulk must ask. Two rules give priority without starving anybody:

- between planes: bulk may not touch the last `reserve` of the bucket, video half of it; so when the line is short bulk
  stops first, then video, and control has room for a burst at any time;
- between sites: the line's rate is divided by `shares` of the sites that want to send (the site in hand by default has 8, the
  others 1), and what a site does not use flows to those that do.
"""

from dataclasses import dataclass, field, replace

from teleop.link.planes import Plane

#: Share of the bucket that a plane must leave untouched.
RESERVE = {Plane.STREAM: -1.0, Plane.ORDERS: 0.0, Plane.VIDEO: 0.25, Plane.BULK: 0.5}
#: What the bucket holds: so many seconds of the rate.
BURST_S = 0.25
IN_HAND, WATCHED = 8.0, 1.0


@dataclass(frozen=True, slots=True)
class SiteBudget:
    """tokens: bytes that may be sent now (below 0: control has overdrawn it). share: weight between the sites."""

    tokens: float
    share: float = WATCHED
    wanting: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """rate: bytes a second of the whole line, as measured by the line test. at: ns of the last step, -1 before the first."""

    rate: float
    sites: dict[str, SiteBudget] = field(default_factory=dict)
    at: int = -1


def with_site(b: Budget, site: str, share: float = WATCHED) -> Budget:
    """The budget with this site added (its bucket full) or its share changed. Raises ValueError for a share that is not positive."""
    if not share > 0.0:
        raise ValueError(f"site {site}: share {share} must be positive")
    old = b.sites.get(site)
    new = replace(old, share=share) if old else SiteBudget(b.rate * BURST_S, share)
    return replace(b, sites={**b.sites, site: new})


def step(b: Budget, now_ns: int, wanting: frozenset[str] = frozenset()) -> Budget:
    """Fill the buckets up to `now_ns`. `wanting`: sites with something waiting; what a full bucket does not take goes to them."""
    if b.at < 0 or now_ns <= b.at or not b.sites:
        return replace(b, at=max(b.at, now_ns))
    income = b.rate * min((now_ns - b.at) / 1e9, BURST_S)
    full = b.rate * BURST_S
    tokens = {n: s.tokens for n, s in b.sites.items()}
    takers = dict(b.sites)
    # At most one round per site: each round at least one bucket fills, or nothing is left.
    for _ in range(len(b.sites)):
        # Those who want come first: an idle site's bucket may fill from what they leave.
        group = {n: s for n, s in takers.items() if n in wanting and tokens[n] < full} or {
            n: s for n, s in takers.items() if tokens[n] < full
        }
        if not group or income <= 1e-9:
            break
        total = sum(s.share for s in group.values())
        left = 0.0
        for n, s in group.items():
            part = income * s.share / total
            room = full - tokens[n]
            tokens[n] += min(part, room)
            left += max(0.0, part - room)
        income = left
    return Budget(b.rate, {n: SiteBudget(tokens[n], s.share, n in wanting) for n, s in b.sites.items()}, now_ns)


def ask(b: Budget, site: str, plane: Plane, size: int) -> tuple[Budget, bool]:
    """May `size` bytes go now? (budget charged if so, yes or no). Control may always; the others leave their reserve.

    A packet larger than a whole bucket passes when the bucket is full: it would wait for ever otherwise.
    """
    s = b.sites[site]
    full = b.rate * BURST_S
    if plane is not Plane.STREAM:
        keep = RESERVE[plane] * full
        if s.tokens - min(size, full - keep) < keep:
            return b, False
    after = s.tokens - size
    if plane is Plane.STREAM:
        # Control may overdraw by one bucket at most: a flood of it must not shut the others out for minutes. The others pay in full.
        after = max(min(-full, s.tokens), after)
    return replace(b, sites={**b.sites, site: replace(s, tokens=after)}), True
