"""Missed deadlines, and whether each is accounted for. Pure; fed one wake-up at a time.

A loop that says at each wake-up how late it is has told the truth when (wake-up - lateness) - last wake-up is no longer than
its longest period: then every late wake-up is in the record with its lateness. A hole that no lateness explains is a miss that
nobody accounted for: a process that was away and does not know it, or a record that lost something.
"""

from dataclasses import dataclass, field

#: Clock reads and hand-overs between threads (ns): less than this is no hole.
TOLERANCE_NS = 2_000_000
KEPT = 20


@dataclass
class Deadlines:
    """period_ns: the longest interval the loop plans; late_ns: from when on a wake-up counts as a missed deadline."""

    period_ns: int
    late_ns: int
    wakes: int = 0
    missed: int = 0
    worst_ns: int = 0
    unaccounted: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)  # (where, ns), the first KEPT
    _last: int = -1

    def woke(self, now_ns: int, late_ns: int, watched: bool = True) -> None:
        """One wake-up, as recorded. watched False: nothing moves and the loop keeps no deadline there (a parked arm)."""
        if self._last >= 0 and watched:
            hole = (now_ns - late_ns) - self._last - self.period_ns
            if hole > TOLERANCE_NS:
                self._hole(hole)
        self.wakes += 1
        if watched and late_ns > self.late_ns:
            self.missed += 1
            self.worst_ns = max(self.worst_ns, late_ns)
        self._last = now_ns

    def _hole(self, ns: int) -> None:
        self.missed += 1
        self.unaccounted += 1
        self.worst_ns = max(self.worst_ns, ns)
        if len(self.holes) < KEPT:
            self.holes.append((self._last, ns))

    def to_json(self) -> dict[str, object]:
        return {
            "wakes": self.wakes, "missed": self.missed, "worst_ms": round(self.worst_ns / 1e6, 2),
            "unaccounted": self.unaccounted, "holes": [[t, ns] for t, ns in self.holes],
        }  # fmt: skip


#: As `safety.process`: 100 a second while anything moves, 20 otherwise; later than one tick of work is a miss.
def of_governor() -> Deadlines:
    return Deadlines(period_ns=50_000_000, late_ns=10_000_000)


#: As the arm reports: at least every 100 ms while its loop keeps a deadline; later than one servo period of 2 ms is a miss.
def of_arm(period_ns: int = 2_000_000) -> Deadlines:
    return Deadlines(period_ns=100_000_000, late_ns=period_ns)
