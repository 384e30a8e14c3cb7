"""How much of the console's line each hospital's pictures may take: a rung of the ladder per hospital. Pure.

Control comes first: what commands, states and voice need at most is set aside before pictures get anything. The rest is shared by
weight, the hospital in hand eight parts, a watched one one (as `teleop.link.budget` does); what a hospital cannot use goes to the
others. The rung is a ceiling: the hospital's own ladder (`teleop.media.adapt`) goes below it by what it sees of the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from teleop.link.budget import IN_HAND, WATCHED
from teleop.media.adapt import LADDER

#: Bytes a second of control, sealed, on two paths: 100 commands and states a second in hand, 10 of each otherwise.
CONTROL_IN_HAND, CONTROL_WAITING = 100 * 2 * (512 + 1232), 10 * 2 * (512 + 1232)
#: Voice of one page, both ways.
VOICE = 2 * 6_000
#: Pictures get so much of what is left: bursts of key frames need the rest.
SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Wish:
    """streams: pictures of this hospital that somebody watches, 0 to 3."""

    in_hand: bool
    streams: int


def cost(rung: int, streams: int) -> float:
    """Bytes a second of so many streams on a rung."""
    return LADDER[rung].kbps * 125.0 * streams


def ceilings(rate: float, wishes: Mapping[str, Wish], pages: int = 1) -> dict[str, int]:
    """rate: bytes a second of the line, as measured. -> highest rung of each hospital; 0 (off) where nothing is left for it."""
    control = sum(CONTROL_IN_HAND if w.in_hand else CONTROL_WAITING for w in wishes.values()) + VOICE * pages
    left = max(0.0, SHARE * (rate - control))
    watched = {n: w for n, w in wishes.items() if w.streams > 0}
    out = dict.fromkeys(wishes, 0)
    total = sum(_weight(w) for w in watched.values())
    for name, w in watched.items():
        part = left * _weight(w) / total
        out[name] = max(k for k in range(len(LADDER)) if cost(k, w.streams) <= part)
    spare = left - sum(cost(out[n], w.streams) for n, w in watched.items())
    # What is over lifts a rung here and there: first the hospital in hand, then the worst seen.
    while True:
        able = [
            n for n, w in watched.items()
            if out[n] + 1 < len(LADDER) and cost(out[n] + 1, w.streams) - cost(out[n], w.streams) <= spare
        ]  # fmt: skip
        if not able:
            return out
        best = min(able, key=lambda n: (not watched[n].in_hand, out[n], n))
        spare -= cost(out[best] + 1, watched[best].streams) - cost(out[best], watched[best].streams)
        out[best] += 1


def _weight(w: Wish) -> float:
    return IN_HAND if w.in_hand else WATCHED
