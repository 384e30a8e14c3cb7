"""The consultation's thin edge: clocks, random numbers, files and sockets round the pure machine, and the live pictures.

The hub owns one. Pages come and go here, `consult_calls` brings what they ask for, effects become messages, records, closed pages.
"""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from teleop.console import consultation as c
from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.roster import Roster, RosterError, on_call, read_roster
from teleop.console.site_requests import SiteRequests

if TYPE_CHECKING:  # the media engine is 100 MB of library: loaded when somebody first wants pictures
    from teleop.console.media import MediaDesk

log = logging.getLogger("longhand.console")
TICK_S = 1.0
#: Pages at once, of all people and of one: a flood is turned away with words, at the door.
MAX_PAGES, MAX_PAGES_EACH = 64, 6


class Together:
    """See the module. notify: called with (name, text) when somebody on call is wanted (an outside pager; None: pages only)."""

    def __init__(self, hub: Any, folder: Path | None, notify: Callable[[str, str], None] | None = None) -> None:
        self._hub = hub
        self._file = folder / "invitations.json" if folder else None
        self.notify = notify
        self.state = c.State()
        self.hosts: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.site_requests = SiteRequests("console")
        self._roster_file: Path | None = None
        self._roster: Roster | None = None
        self._roster_read = (0, 0)
        self._media: MediaDesk | None = None
        #: Called with the media desk when it is first wanted, to bring the hospitals' trunks.
        self.bring_trunks: Callable[[MediaDesk], None] | None = None
        self._load()

    def equip(self, links: list[Any], on_call: list[str], pager: str | None, janus: Path | None = None) -> None:
        """Bring the hospitals' cameras, who is on call (kept over restarts when none is named) and the outside pager."""
        if on_call:
            self.state = replace(self.state, on_call=tuple(on_call))
        if pager is not None:
            self.notify = lambda name, text: self._page(pager, name, text)

        def bring(desk: "MediaDesk") -> None:
            from teleop.console.media import RemoteTrunk

            desk.janus = janus
            desk.trunks |= {link.name: RemoteTrunk(link.name, link.video) for link in links if hasattr(link, "video")}

        self.bring_trunks = bring

    @staticmethod
    def _page(program: str, name: str, text: str) -> None:
        """Run the pager beside us; it must not hold up the console."""
        try:
            subprocess.Popen([program, name, text[:400]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except OSError as error:
            log.error("the pager %s could not be run: %s", program, error)

    # -- the machine ----------------------------------------------------------------------------------------------
    @staticmethod
    def now() -> c.Now:
        return c.Now(time.monotonic_ns(), time.time())

    def do(self, result: c.Result) -> None:
        """Take the machine's new state and carry out its effects."""
        before, (self.state, effects) = self.state, result
        for e in effects:
            match e:
                case c.Log(who, what, details):
                    self._hub.journal.write(who, what, **details)
                case c.Tell(names):
                    self.tell(names)
                case c.Alert(name, text, request):
                    self._alert(name, text, request)
                case c.Close(invitation, words):
                    self._close_pages(invitation, words)
                case c.Speak(name, voice):
                    if self._media is not None:
                        from teleop.media.voices import Line

                        self._media.voices.set(name, Line(voice.muted, frozenset(voice.to)))
        if self.state.invitations is not before.invitations:
            self._save()

    def tell(self, names: frozenset[str] | None = None) -> None:
        """Send the document to these people's pages (None: all), to each what it may see."""
        utc = time.time()
        for page in self._hub.pages.values():
            if names is None or page.who.name in names:
                page.outbox.post(_pack({"t": "consult", **c.document(self.state, page.who.name, page.who.role, utc)}))

    def _alert(self, name: str, text: str, request: int) -> None:
        for page in self._hub.pages.values():
            if page.who.name == name:
                page.outbox.post(_pack({"t": "wanted", "request": request, "text": text}))
        if self.notify is not None:
            self.notify(name, text)

    def _close_pages(self, invitation: str, words: str) -> None:
        for page_id, person in list(self.state.people.items()):
            page = self._hub.pages.get(page_id)
            if person.invitation == invitation and page is not None:
                page.outbox.end(4403, words)

    # -- pages ----------------------------------------------------------------------------------------------------
    def door(self, who: Principal) -> str:
        """"" when one more page of this person may come in, else the words."""
        pages = self._hub.pages.values()
        if sum(p.who.name == who.name for p in pages) >= MAX_PAGES_EACH:
            return f"{who.name} has {MAX_PAGES_EACH} pages open: close one first"
        if len(pages) >= MAX_PAGES and who.role is not Role.SURGEON:
            return f"{MAX_PAGES} pages are open here: come back later, or ask the surgeon"
        return ""

    def enter(self, page_id: str, who: Principal) -> None:
        self.start()
        person = c.Person(who.name, who.role, who.key.removeprefix("inv:") if who.key.startswith("inv:") else "")
        self.do(c.joined(self.state, page_id, person, self.now()))

    def leave(self, page_id: str) -> None:
        self.hosts.pop(page_id, None)
        self.do(c.left(self.state, page_id, self.now()))
        if self._media is not None and page_id in self._media.viewers:
            asyncio.get_running_loop().create_task(self._media.leave(page_id))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._media is not None:
            await self._media.close()

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.change_shift()
            self.do(c.tick(self.state, self.now()))
            self.site_requests.hear(self._hub.sites, lambda: self.state, self.do, self.now)
            await self.site_requests.tell(self._hub.sites, self.state)
            self.share_line()

    def share_line(self) -> None:
        """Where the console's line is known (list.json, `line_mbps`): pictures get what control leaves, the hospital in hand first."""
        line = next((site.line for site in self._hub.sites.values() if getattr(site, "line", None) is not None), None)
        if line is None or self._media is None:
            return
        in_hand = frozenset(n for n, site in self._hub.sites.items() if site.snapshot().mine)
        self._media.share(line.rate, in_hand, lambda site, size: line.used(site, size, site in in_hand))

    def start(self) -> None:
        """Begin to look at hospitals' requests and at the clock, also while no page is open. Call inside the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ticks())

    # -- who is on call -------------------------------------------------------------------------------------------
    def use_roster(self, file: Path) -> None:
        """From now on the roster says who is on call. Raises RosterError."""
        self._roster_file, self._roster = file, read_roster(file)
        self._roster_read = _stamp(file)
        self.change_shift()

    def change_shift(self) -> None:
        """Follow the roster: whoever comes on call hears of open requests. A changed file is read again; one that cannot be
        used leaves the old roster in force, and says so."""
        file = self._roster_file
        if file is None or self._roster is None:
            return
        if (stamp := _stamp(file)) != self._roster_read:
            self._roster_read = stamp
            try:
                self._roster = read_roster(file)
                self._hub.journal.write("server", "roster.read", file=str(file), revision=self._roster.revision)
            except RosterError as error:
                self._hub.event("roster", f"{error}; revision {self._roster.revision} stays in force", priority="medium")
        names = on_call(self._roster, time.time())
        if names != self.state.on_call:
            self.do(c.duty(self.state, c.Person("roster", Role.SURGEON), list(names), self.now()))

    # -- invitations ----------------------------------------------------------------------------------------------
    def invite(self, who: c.Person, name: str, role: Role, seconds: float, case: str) -> str:
        """Make an invitation; its token is told once. Raises ConsoleError."""
        token = secrets.token_urlsafe(24)
        self.do(c.invite(self.state, who, _token_id(token), name, role, seconds, case, self.now()))
        return token

    def guest(self, token: str) -> Principal | None:
        """The person behind an invitation's token, while it is good."""
        token_id = _token_id(token)
        if c.admit(self.state, token_id, time.time()):
            return None
        i = self.state.invitations[token_id]
        return Principal(i.name, i.role, f"inv:{token_id}")

    def why_not(self, token: object) -> str:
        """Why a token that was an invitation is not good any more; "" for one that never was."""
        token_id = _token_id(token) if isinstance(token, str) else ""
        return c.admit(self.state, token_id, time.time()) if token_id in self.state.invitations else ""

    def _save(self) -> None:
        if self._file is None:
            return
        rows = [{**asdict(i), "role": i.role.value} for i in self.state.invitations.values() if i.state(time.time() - 86400) == "valid" or i.revoked]
        partial = self._file.with_suffix(".new")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump({"v": 1, "on_call": list(self.state.on_call), "invitations": rows}, out)
        partial.replace(self._file)

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        try:
            data = json.loads(self._file.read_text())
            found = {r["id"]: c.Invitation(**{**r, "role": Role(r["role"])}) for r in data["invitations"]}
            self.state = c.State(invitations=found, on_call=tuple(data.get("on_call", ())))
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Without the register nobody who was invited comes in: the safe side.
            self._hub.complaints.append(f"{self._file} cannot be read ({error}): invitations made before are void")

    # -- live pictures --------------------------------------------------------------------------------------------
    def media(self) -> "MediaDesk":
        """The media desk, made when first wanted. Raises ConsoleError when the engine is not installed."""
        if self._media is None:
            try:
                from teleop.console.media import MediaDesk
            except ImportError as error:
                raise ConsoleError(f"live pictures need the aiortc package, which is not installed here ({error})") from None

            def say(page_id: str, message: dict[str, Any]) -> None:
                page = self._hub.pages.get(page_id)
                if page is not None:
                    page.outbox.post(_pack(message))

            self._media = MediaDesk(say, self._hub.journal.write)
            if self.bring_trunks is not None:
                self.bring_trunks(self._media)
        return self._media

    def shown(self, page_id: str, views: object) -> None:
        """The page displayed pictures of the view stream: {site: capture time, robot ns}."""
        if self._media is not None and views:
            self._media.show(page_id, views)

    def echo_view(self, page_id: str, site: str) -> int | None:
        """Capture time of the picture that the commanding page displays, for its commands."""
        return self._media.echo(page_id, site) if self._media is not None else None

    def fast(self) -> dict[str, Any]:
        """What rides in every frame: pictures' state, pointers on them, who speaks."""
        return {
            "sites": self._media.status() if self._media is not None else {},
            "pointers": c.pointer_rows(self.state, time.time()),
            "speaking": {n: list(to) for n, to in self._media.voices.speaking().items()} if self._media is not None else {},
        }


def _stamp(file: Path) -> tuple[int, int]:
    """When the file changed and how long it is; (0, 0) while it is not there."""
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _token_id(token: str) -> str:
    """Invitations are known by the hash of their token: the register gives nobody a seat."""
    return hashlib.sha256(token.encode()).hexdigest()


def _pack(message: dict[str, Any]) -> bytes:
    return msgpack.packb(message, use_bin_type=True)
