"""The hub joins pages, sites, plans and the consult room. One asyncio loop; every change is made here.

Pages send maps with key "t": hello, ack {n, drawn}, hand {...}, stop, call {id, call, args}. Pages get: welcome,
frame (newest wins, acknowledged), reply, and documents (`desk`, `room`, `note`) when they change. docs/console.md
has the table.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack

from teleop.console import hand as hands
from teleop.console.contracts import ConsoleError, Principal, SiteLink, SiteSnapshot
from teleop.console.desk import Desk, load_desks
from teleop.console.fanout import Outbox
from teleop.console.journal import Journal
from teleop.console.native import NativeHands
from teleop.console.pacing import wake_or
from teleop.console.planner_process import PlannerProcess
from teleop.console.pump import RATE_HZ, Ask, compose, stops_the_hand
from teleop.console.room import Room
from teleop.console.together import Together

#: Frames to pages at most this often (a page draws at 60 Hz); and at least this often, so that silence means trouble.
FRAME_S = 0.012
FRAME_IDLE_S = 0.1
#: Presses of STOP whose second copy is recognised.
STOPS_REMEMBERED = 256
#: How often the record is told how well the prediction came true.
HAND_LOG_NS = 1_000_000_000
#: Limits of what a page may ask of jog and servo, m/s and rad/s; the governor's own caps are below these anyway.
MAX_LINEAR, MAX_ANGULAR = 0.02, 0.2


@dataclass(slots=True)
class Page:
    """One open page. drawn: site -> robot stamp (ns) of the state that it last drew."""

    id: str
    who: Principal
    outbox: Outbox = field(default_factory=Outbox)
    drawn: dict[str, int] = field(default_factory=dict)
    opened: float = field(default_factory=time.monotonic)


class Hub:
    """Everything the console server knows. `calls` (teleop.console.calls) adds what pages may ask for."""

    def __init__(self, sites: list[SiteLink], planner: PlannerProcess, folder: Path | None, signer: Any = None) -> None:
        self.sites = {s.name: s for s in sites}
        self.planner = planner
        self.folder = folder
        self.signer = signer
        self.pages: dict[str, Page] = {}
        self.room = Room()
        self.desks: dict[str, Desk] = {}
        self.complaints: list[str] = []
        self.journal = Journal(folder / "journal.jsonl" if folder else None)
        self.together = Together(self, folder)
        self.hand = hands.HandState()
        self.ask = Ask()
        #: Master devices at this machine, None without any; set before `start`.
        self.native: NativeHands | None = None
        self._stops: dict[str, list[str]] = {}
        self._n = self._hand_logged_at = 0
        self._seen: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.events: list[dict[str, Any]] = []
        self.clock: Callable[[], int] = time.monotonic_ns
        if folder is not None:
            found, complaints = load_desks(folder / "plans")
            self.complaints += complaints
            self.desks = {d.id: d for d in found}
            for desk in found:
                if desk.transferred is not None:
                    self.bind_plan(desk.transferred["site"], desk.transferred["hash"])

    # -- life ---------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        for site in self.sites.values():
            site.on_change = self._changed.set
            if hasattr(site, "start"):
                site.start()
        self._tasks = [asyncio.create_task(self._frames()), asyncio.create_task(self._commands())]
        if self.native is not None:
            self.native.attach([site.hand for site in self.sites.values() if hasattr(site, "hand")])
            self._tasks.append(asyncio.create_task(self.native.run()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.together.close()
        for site in self.sites.values():
            await site.close()
        self.planner.close()
        self.journal.close()

    # -- pages --------------------------------------------------------------------------------------------------
    def enter(self, page_id: str, who: Principal) -> Page:
        page = Page(page_id, who)
        self.pages[page_id] = page
        self.room.enter(page_id, who)
        self.journal.write(who.name, "page.open", page=page_id, role=who.role.value)
        page.outbox.post(
            pack(
                {
                    "t": "welcome",
                    "page": page_id,
                    "name": who.name,
                    "role": who.role.value,
                    "sites": list(self.sites),
                    "titles": {n: s.snapshot().title or n for n, s in self.sites.items()},
                    "complaints": self.complaints,
                }
            )
        )
        page.outbox.post(pack(self.cases_message()))
        for row in self.events[-30:]:
            page.outbox.post(pack(row))
        self.together.enter(page_id, who)
        self.tell_room()
        return page

    def leave(self, page: Page) -> None:
        self.pages.pop(page.id, None)
        self._set_hand(hands.page_gone(self.hand, page.id))
        for link in self.sites.values():
            link.page_gone(page.id)
        self.room.leave(page.id)
        self.together.leave(page.id)
        self.journal.write(page.who.name, "page.close", page=page.id)
        self.tell_room()

    def acknowledge(self, page: Page, drawn: object) -> None:
        """The page drew a frame: its stamps are what the next commands echo."""
        if isinstance(drawn, dict):
            for name, stamp in drawn.items():
                # an old stamp came late, one of the future was never sent: neither is what was drawn
                if name in self.sites and isinstance(stamp, int) and page.drawn.get(name, 0) <= stamp <= self.sites[name].snapshot().stamp:
                    page.drawn[name] = stamp
        page.outbox.acknowledge()

    def broadcast(self, message: dict[str, Any]) -> None:
        packed = pack(message)
        for page in self.pages.values():
            page.outbox.post(packed)

    def tell_room(self) -> None:
        self.broadcast({"t": "room", **self.room.document()})

    def cases_message(self) -> dict[str, Any]:
        return {
            "t": "cases",
            "cases": [
                {
                    "id": d.id,
                    "title": d.title,
                    "site": d.site,
                    "rev": d.rev,
                    "screws": len(d.screws),
                    "approved": d.approval is not None,
                }
                for d in self.desks.values()
            ],
        }

    def tell_desk(self, desk: Desk, gesture: str = "") -> None:
        self.broadcast({"t": "desk", "gesture": gesture, **desk.document()})

    def event(self, kind: str, text: str, site: str = "", who: str = "", priority: str = "") -> None:
        """A line in the strip at the bottom of every page."""
        row = {
            "t": "event",
            "when": time.time(),
            "kind": kind,
            "text": text,
            "site": site,
            "who": who,
            "priority": priority,
        }
        self.events.append(row)
        del self.events[:-200]
        self.broadcast(row)

    # -- the hand -----------------------------------------------------------------------------------------------
    def hand_sample(self, page: Page, message: dict[str, Any]) -> None:
        """A look at a page's deadman. Malformed or foreign samples count as a release."""
        site, mode, press = message.get("site"), message.get("mode"), message.get("press")
        age = message.get("age_ms", 0)
        good = (
            isinstance(site, str)
            and site in self.sites
            and mode in ("servo", "jog", "goal", "advance", "rehearsal")
            and isinstance(press, int)
            and 0 <= press < 2**31
            and isinstance(age, (int, float))
            and 0 <= age < 1e6
        )
        if not good:
            self._set_hand(hands.release(self.hand, "malformed") if page.id == self.hand.seat else self.hand)
            return
        assert isinstance(site, str) and isinstance(mode, str) and isinstance(press, int)
        now = self.clock()
        before = self.hand
        # Hidden pages do not draw, and what nobody saw drawn is no ground for moving.
        self._set_hand(hands.sample(self.hand, hands.Sample(page.id, site, mode, press, int(age * 1e6)), now))
        if self.hand.seat == page.id and press and self.hand.press == press:
            self.ask = read_ask(message)
            if before.press != press:
                self.journal.write(page.who.name, "hand.press", site=site, mode=mode, ordinal=self.hand.ordinal)

    def master(self, page: Page, message: dict[str, Any]) -> None:
        """Readings of a page's devices while it shows servo. While one page presses, no other is listened to."""
        link = self.sites.get(str(message.get("site")))
        age = message.get("age_ms", 0)
        if link is None or (self.hand.press and self.hand.seat != page.id):
            return
        if isinstance(age, (int, float)) and 0 <= age < 1e6:
            link.master(page.id, message.get("samples"), int(age * 1e6), self.clock())

    def _set_hand(self, after: hands.HandState) -> None:
        before, self.hand = self.hand, after
        if before.press and not after.press:
            who = self.pages[before.seat].who.name if before.seat in self.pages else before.seat
            self.journal.write(who, "hand.release", site=before.site, why=after.why)
            self._send_now(before.site)  # do not wait for the next tick
        if (before.press, before.seat, before.why) != (after.press, after.seat, after.why):
            self._changed.set()

    def bind_plan(self, site: str, plan_hash: str) -> None:
        """The plan that the surgeon has in front of him for a site: commands carry it, the governor compares; its lines
        are what the hand's fixtures go by."""
        link = self.sites.get(site)
        if link is None:
            return
        desk = next((d for d in self.desks.values() if (d.approval or {}).get("hash") == plan_hash), None)
        lines = {s["id"]: (s["entry_lps_mm"], s["tip_lps_mm"]) for s in desk.screws if s.get("entry_lps_mm")} if desk else {}
        link.bind_plan(bytes.fromhex(plan_hash)[:8], lines)

    def stop(self, who: str, site: str | None, once: str = "") -> list[str]:
        """Stop: the named site, and every arm that this console holds or that is moving. once: a page's own name for this
        press of STOP, which comes through two doors; the second to arrive changes nothing."""
        if once and once in self._stops:
            return self._stops[once]
        stopped: list[str] = []
        if once:
            self._stops[once] = stopped
            while len(self._stops) > STOPS_REMEMBERED:
                self._stops.pop(next(iter(self._stops)))
        for name, link in self.sites.items():
            view = link.snapshot()
            moving = view.arm.get("drive") in ("moving", "stopping") or view.gov.get("state") in ("ACTIVE", "DEGRADED")
            if name == site or view.mine or moving or site is None:
                link.stop(who)
                stopped.append(name)
            self._set_hand(hands.interrupted(self.hand, name, "stop"))
        self.journal.write(who, "stop", sites=stopped)
        self.event("stop", f"STOP by {who}", site=",".join(stopped), who=who, priority="high")
        return stopped

    def _send_now(self, name: str) -> None:
        link = self.sites.get(name)
        if link is None:
            return
        view = link.snapshot()
        if not view.mine:
            return
        seat = self.pages.get(self.hand.seat)
        drawn = seat.drawn.get(name) if seat else self._any_drawn(name)
        view_shown = self.together.echo_view(seat.id, name) if seat else None
        link.send(replace(compose(self.hand, self.ask, view, drawn, self.clock()), echo_view=view_shown))

    def _any_drawn(self, name: str) -> int | None:
        """Without a seat: the newest stamp that a page with motion rights has drawn (renews authority only)."""
        stamps = [p.drawn[name] for p in self.pages.values() if name in p.drawn and p.who.role == "surgeon"]
        return max(stamps) if stamps else None

    async def _commands(self) -> None:
        """100 Hz: age the press, watch the governors, send one command to each arm in hand."""
        period = 1 / RATE_HZ
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._set_hand(hands.tick(self.hand, self.clock()))
            for name, link in self.sites.items():
                view = link.snapshot()
                before = self._seen.get(name, {})
                if before is not view.gov:
                    why = stops_the_hand(before, view.gov) if before else ""
                    if why:
                        self._set_hand(hands.interrupted(self.hand, name, why))
                    self._seen[name] = view.gov
                if view.mine:
                    self._send_now(name)
                for words in link.take_news():
                    self.journal.write(self._who(), "hand.device", site=name, text=words)
                    self.event("hand", words, site=name, who=self._who())
            self._log_hand()
            due = max(due + period, loop.time() - period)
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _who(self) -> str:
        seat = self.pages.get(self.hand.seat)
        return seat.who.name if seat else ""

    def _log_hand(self) -> None:
        now = self.clock()
        if now - self._hand_logged_at < HAND_LOG_NS:
            return
        self._hand_logged_at = now
        for name, link in self.sites.items():
            row = link.take_prediction()
            if row is not None:
                self.journal.write(self._who(), "hand.prediction", site=name, **row)
            for device, energies in link.energies().items():
                self.journal.write(self._who(), "hand.energy", site=name, device=device, **energies)

    # -- frames -------------------------------------------------------------------------------------------------
    async def _frames(self) -> None:
        while True:
            await wake_or(self._changed, FRAME_IDLE_S)
            if self.pages:
                packed = pack(self.frame())
                for page in self.pages.values():
                    page.outbox.offer_frame(packed)
            await asyncio.sleep(FRAME_S)

    def frame(self) -> dict[str, Any]:
        """The newest state of everything live, the same bytes for every page."""
        self._n += 1
        now = self.clock()
        seat = self.pages.get(self.hand.seat)
        return {
            "t": "frame",
            "n": self._n,
            "now": now,
            "sites": {name: site_message(link.snapshot(), now) for name, link in self.sites.items()},
            "hand": {
                "seat": self.hand.seat,
                "by": seat.who.name if seat else "",
                "site": self.hand.site,
                "mode": self.hand.mode,
                "pressed": bool(self.hand.press),
                "page_press": self.hand.press,
                "spent": self.hand.spent,
                "why": self.hand.why,
                "native": self.native.show() if self.native else [],
            },
            "pointers": list(self.room.pointers.values()),
            "media": self.together.fast(),
        }


def site_message(view: SiteSnapshot, now: int) -> dict[str, Any]:
    """A snapshot as pages get it: `age_ms` since reception on the console's clock, None before the first frame."""
    return {
        "title": view.title or view.name,
        "sim": view.simulated,
        "stamp": view.stamp,
        "mine": view.mine,
        "age_ms": (now - view.received) / 1e6 if view.received else None,
        "arm": view.arm,
        "gov": view.gov,
        "tracker": view.tracker,
        "link": view.link,
        "case": view.case,
        "hand": view.hand,
    }


def read_ask(message: dict[str, Any]) -> Ask:
    """What the pressed page asks for, bounded; nonsense becomes "nothing"."""
    jog = None
    raw = message.get("jog")
    if isinstance(raw, dict):
        linear, angular = vector(raw.get("linear"), MAX_LINEAR), vector(raw.get("angular"), MAX_ANGULAR)
        if linear and angular:
            jog = (*linear, *angular)
    path, limit = message.get("path"), message.get("s_limit")
    good = isinstance(path, bytes) and len(path) == 8 and isinstance(limit, (int, float)) and 0 <= limit < 10
    device = raw_device if isinstance(raw_device := message.get("device"), str) and len(raw_device) < 32 else ""
    if not good:
        return Ask(jog=jog, device=device)
    return Ask(path_hash=path, s_limit=float(limit), jog=jog, device=device)  # type: ignore[arg-type]


def vector(raw: object, limit: float) -> tuple[float, float, float] | None:
    """Three finite numbers scaled down to `limit`, or None."""
    if not isinstance(raw, list) or len(raw) != 3 or not all(isinstance(c, (int, float)) for c in raw):
        return None
    x, y, z = (float(c) for c in raw)
    length = (x * x + y * y + z * z) ** 0.5
    if not length < 1e6:
        return None
    k = limit / length if length > limit else 1.0
    return (x * k, y * k, z * k)


def pack(message: dict[str, Any]) -> bytes:
    return msgpack.packb(message, use_bin_type=True)


def require(condition: bool, words: str) -> None:
    """Raise ConsoleError with these words unless the condition holds."""
    if not condition:
        raise ConsoleError(words)
