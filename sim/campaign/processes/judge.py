"""What the arm's two tables say of one run: travel and time after every lease, against the bound. Real time, real lateness.

The bound is the published one, for the highest cap of the last lease and stop. To the time bound is added what the arm's own ticks
came late by after that command (a late tick advances the reference by one period only: it costs time, never way) and one tick.
"""

from dataclasses import dataclass

import numpy as np

from safety.params import MS, Params
from safety.speed_law import rest_bound_ns, travel_bound
from sim.campaign.processes.parts import ATTACK_SEQ
from sim.campaign.site import DRIVE_NS

#: No lease for this long: the arm has to come to rest by itself.
SILENCE_NS = 400 * MS


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ratios measured / bound, worst of the run. late_ms: the arm's worst tick. foreign: leases of an attacker's command."""

    leases: int
    travel_ratio: float
    travel_mm: float
    time_ratio: float
    rest_ms: float
    late_ms: float
    foreign: int
    last_t_k: int


def judge(ticks: np.ndarray, leases: np.ndarray, p: Params) -> Verdict:
    """ticks, leases: rows of one run in the columns of `parts.TICK` and `parts.LEASE`."""
    now, travel, moving = ticks[:, 0], ticks[:, 1], ticks[:, 3]
    late = np.maximum(0.0, np.diff(now, prepend=now[0]) - DRIVE_NS)
    caps: list[tuple[int, float]] = []
    worst, worst_mm, time_ratio, rest_ms, foreign, seq = 0.0, 0.0, 0.0, 0.0, 0, -1.0
    for k, (arrived, t_k, v, s, _) in enumerate(leases):
        foreign += int(s >= seq + ATTACK_SEQ // 2 and seq >= 0.0)
        seq = s
        caps = [(until, cap) for until, cap in caps if until > t_k and cap > v] + [(int(t_k) + rest_bound_ns(v, p), v)]
        peak = caps[0][1]
        bound = travel_bound(peak, p)
        last = k + 1 == len(leases)
        begin, end = int(np.searchsorted(now, t_k)), len(now) if last else int(np.searchsorted(now, leases[k + 1][0]))
        if begin >= end:
            continue
        gone = float(travel[end - 1] - np.interp(t_k, now, travel))
        if gone / bound > worst:
            worst, worst_mm = gone / bound, gone * 1e3
        if not last and leases[k + 1][1] - t_k < SILENCE_NS:
            continue
        still = np.nonzero((moving[begin:end] == 0.0) & (now[begin:end] > arrived + DRIVE_NS))[0]
        if not len(still):
            time_ratio = max(time_ratio, 9.9 if last else 0.0)  # never at rest; a later lease may end an earlier motion
            continue
        at = begin + int(still[0])
        took = float(now[at] - t_k)
        allowed = rest_bound_ns(peak, p) + DRIVE_NS + float(late[begin : at + 1].sum())
        time_ratio, rest_ms = max(time_ratio, took / allowed), max(rest_ms, took / MS)
    return Verdict(
        len(leases), worst, worst_mm, time_ratio, rest_ms, float(late.max()) / MS, foreign, int(leases[-1][1])
    )
