"""Requests that hospitals open at their bedside, taken into the consultation, and what became of them told back.

`take` and `facts` are pure; `SiteRequests` carries them between the hospitals' lines and the consultation, once a second.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from teleop.console import consultation as c

#: A request that was asked longer ago is old news after a restart of the console: shown, nobody is rung up for it (ms).
OLD_MS = 15 * 60_000.0


class Asking(Protocol):
    """A hospital that may ask: `LinkSite`, or a test's."""

    requests: list[dict[str, Any]]

    async def tell_request(self, number: int, facts: dict[str, Any]) -> dict[str, Any]: ...


Known = dict[tuple[str, int], int]


def take(s: c.State, site: str, rows: list[dict[str, Any]], known: Known, now: c.Now) -> tuple[c.State, list[c.Effect], Known]:
    """New requests of a hospital become requests here; those it took back are closed. known: (site, its number) -> ours.

    Rows of another shape are left out: a hospital of another release must not end the console."""
    effects: list[c.Effect] = []
    known = dict(known)
    for row in rows:
        try:
            key, state = (site, int(row["id"])), str(row["state"])
            age_ms, by, question = float(row["age_ms"]), str(row["by"])[:40], str(row["question"])
        except (KeyError, TypeError, ValueError):
            continue
        if key not in known and state == "open" and 0.0 <= age_ms < OLD_MS:
            s, more = c.asked_at_bedside(s, by, site, question, age_ms, now)
            known[key] = s.serial
            effects += more
        elif key in known and state == "withdrawn" and any(r.id == known[key] for r in s.requests):
            s, more = c.withdrawn(s, known[key], now)
            effects += more
    return s, effects, known


def facts(s: c.State, serial: int) -> dict[str, Any]:
    """What the hospital is told of its request; {} once it is forgotten here."""
    r = next((r for r in s.requests if r.id == serial), None)
    if r is None:
        return {}
    told = {"told": dict(r.told), "seen": dict(r.seen), "opened": dict(r.opened)}
    return told | ({"state": "closed", "answer": r.answer} if r.state == "closed" else {})


class SiteRequests:
    """console: the name the hospital sees."""

    def __init__(self, console: str) -> None:
        self.console = console
        self.known: Known = {}
        self._told: dict[tuple[str, int], dict[str, Any]] = {}

    def hear(self, sites: Mapping[str, Any], state: Callable[[], c.State], do: Callable[[c.Result], None], now: Callable[[], c.Now]) -> None:
        """Take what is new."""
        for name, site in sites.items():
            if rows := getattr(site, "requests", None):
                after, effects, self.known = take(state(), name, rows, self.known, now())
                if effects:
                    do((after, effects))

    async def tell(self, sites: Mapping[str, Any], s: c.State) -> None:
        """Tell each hospital what changed; told again until it has answered."""
        for (name, number), serial in self.known.items():
            site, new = sites.get(name), facts(s, serial)
            if site is None or not new or self._told.get((name, number)) == new:
                continue
            reply = await site.tell_request(number, {"console": self.console, **new})
            if reply.get("ok"):
                self._told[name, number] = new
