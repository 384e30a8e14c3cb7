"""The view that a console keeps of all sites, from their records: who joined, changed, moved, left. A pure step; time is an input.

Times to live run on the reader's own clock from the arrival of a record, so no clocks are compared; a record that is older than the
newest seen of its site (a replay, a late copy) changes nothing.
"""

from dataclasses import dataclass, field

from teleop.directory.record import Presence


@dataclass(frozen=True, slots=True)
class Seen:
    """record, and when it ends on the reader's monotonic clock (ns). `here`: not yet ended."""

    record: Presence
    until: int
    here: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """what: "joined", "left", "moved" (other addresses), "changed" (doing, release), "restarted"."""

    what: str
    site: str


@dataclass(slots=True)
class View:
    """site -> what was seen last. Sites that left are remembered, so that an old record cannot bring them back."""

    sites: dict[str, Seen] = field(default_factory=dict)
    replays: int = 0

    def take(self, now_ns: int, record: Presence) -> list[Change]:
        """A verified record has arrived."""
        old = self.sites.get(record.site)
        if old is not None and record.order <= old.record.order:
            self.replays += 1
            return []
        self.sites[record.site] = Seen(record, now_ns + int(record.ttl_s * 1e9), record.doing != "closed")
        if record.doing == "closed":
            return [Change("left", record.site)] if old is not None and old.here else []
        if old is None or not old.here:
            return [Change("joined", record.site)]
        out = []
        if record.since != old.record.since:
            out.append(Change("restarted", record.site))
        if record.paths != old.record.paths:
            out.append(Change("moved", record.site))
        if (record.doing, record.release) != (old.record.doing, old.record.release):
            out.append(Change("changed", record.site))
        return out

    def expire(self, now_ns: int) -> list[Change]:
        """Whose time is over. Call it once a second."""
        out = []
        for name, seen in self.sites.items():
            if seen.here and now_ns >= seen.until:
                self.sites[name] = Seen(seen.record, seen.until, False)
                out.append(Change("left", name))
        return out

    def here(self) -> list[Presence]:
        """Records of the sites that are there."""
        return [s.record for s in self.sites.values() if s.here]
