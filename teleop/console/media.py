"""Live pictures in the console server: one trunk per hospital, one connection per watching page, and who may watch.

A picture is coded once, at the hospital, and passed on as it is (`teleop.media.rtc`). Places are few, for this process also
carries commands: `seat` decides purely who gets one; more viewers go to a video room of their own (docs/consult.md).
"""

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiortc import RTCPeerConnection

from teleop.console.contracts import ConsoleError, Role
from teleop.media import rtc
from teleop.media.adapt import LADDER
from teleop.media.allowance import Wish, ceilings
from teleop.media.encode import Decoder, info_of, is_key
from teleop.media.frames import STREAMS, VIEW_STREAM, CodedFrame
from teleop.media.janus import PORT, JanusError, JanusRoom
from teleop.media.rtc import Feed
from teleop.media.studio import Source, Studio
from teleop.media.switch import Switch
from teleop.media.voices import VoiceRoom

log = logging.getLogger("longhand.media")
#: Pages that may have live pictures from this process at once.
PLACES = 8
#: Whose need is greater; a full house lets the least needed one go for somebody above it.
RANK = {Role.SURGEON: 3, Role.MENTOR: 2, Role.BEDSIDE: 2, Role.EXPERT: 2, Role.REVIEWER: 1, Role.OBSERVER: 0, Role.VIEWER: 0}
THUMBNAIL_S = 20.0


def seat(present: dict[str, tuple[int, int]], newcomer: int, places: int = PLACES) -> tuple[bool, str]:
    """Does a newcomer of this rank get a place? present: page -> (rank, ordinal of arrival). -> (yes, page to let go or "").

    The surgeon always sees: with the house full, the latest of the lowest rank below the newcomer's makes room.
    """
    if len(present) < places:
        return True, ""
    lowest = min(present, key=lambda page: (present[page][0], -present[page][1]))
    return (True, lowest) if present[lowest][0] < newcomer else (False, "")


class Full(ConsoleError):
    """All places for live pictures are taken."""


class Trunk(Protocol):
    """The pictures of one hospital, here."""

    switch: Switch

    async def close(self) -> None: ...

    def rung(self) -> int: ...


class LocalTrunk:
    """Cameras in this very process: a studio without a network between (simulated sites, tests)."""

    def __init__(self, source: Source) -> None:
        loop = asyncio.get_running_loop()

        def emit(coded: CodedFrame, digest: bytes) -> None:
            loop.call_soon_threadsafe(self.switch.push, coded, digest)

        self.studio = Studio(source, emit)
        self.switch = Switch(self.studio.want, self.studio.want_key)
        self.level = len(LADDER) - 1
        self.set_rung(self.level)
        self.studio.start()

    def set_rung(self, number: int) -> None:
        self.level = number
        self.studio.rung(number)

    def rung(self) -> int:
        return self.level

    async def close(self) -> None:
        await asyncio.to_thread(self.studio.close)


class RemoteTrunk:
    """The pictures of a real hospital over WebRTC; the offer and the answer travel as orders on the authenticated link."""

    def __init__(self, name: str, offer: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
        self.name, self._offer = name, offer
        self.switch = Switch(self._want, self._key)
        self.why = ""
        self._connection: RTCPeerConnection | None = None
        self._channel: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()
        self._told: dict[str, Any] = {}
        self._closed = False
        self._ceiling: int | None = None
        #: Bytes of pictures received so far.
        self.received = 0

    def allow(self, rung: int) -> None:
        """No more than this rung from now on: it is what our own line bears."""
        if rung != self._ceiling:
            self._ceiling = rung
            self._say({"ceiling": rung})

    def rung(self) -> int:
        return int(self._told.get("rung", 0))

    def _want(self, streams: frozenset[str]) -> None:
        if streams and not self._closed:
            self._tasks.append(asyncio.get_running_loop().create_task(self._ensure()))
        self._say({"want": sorted(streams)})

    def _key(self, stream: str) -> None:
        self._say({"key": stream})

    def _say(self, words: dict[str, Any]) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            import json

            self._channel.send(json.dumps(words))

    async def _ensure(self) -> None:
        """Connect, and again after a break, while anybody watches."""
        async with self._lock:
            wait = 1.0
            while self.switch.wanted and not self._closed and (self._connection is None or self._connection.connectionState in ("failed", "closed")):
                try:
                    await self._connect()
                    return
                except (ConsoleError, OSError, ConnectionError, ValueError) as error:
                    self.why = str(error)
                    log.warning("no pictures of %s: %s", self.name, error)
                    await self._drop()
                    await asyncio.sleep(wait)
                    wait = min(15.0, wait * 2)

    async def _connect(self) -> None:
        import json

        connection = rtc.peer()
        self._connection = connection
        lines = [connection.addTransceiver("video", direction="recvonly") for _ in STREAMS]
        rtc.only_h264(connection)

        @connection.on("track")
        def arrived(track: Any) -> None:
            stream = next(s for s, line in zip(STREAMS, lines, strict=True) if line.receiver.track is track)
            self._tasks.append(asyncio.get_running_loop().create_task(self._receive(track, stream)))

        channel = connection.createDataChannel("control")

        @channel.on("open")
        def opened() -> None:
            self._channel = channel
            self._say({"want": sorted(self.switch.wanted)})
            if self._ceiling is not None:
                self._say({"ceiling": self._ceiling})

        @channel.on("message")
        def told(text: str) -> None:
            self._told = json.loads(text)

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState == "failed" and connection is self._connection:
                self._want(self.switch.wanted)

        await connection.setLocalDescription(await connection.createOffer())
        reply = await self._offer(connection.localDescription.sdp)
        if not reply.get("ok"):
            raise ConsoleError(str(reply.get("reason") or "the hospital gives no pictures"))
        from aiortc import RTCSessionDescription

        await connection.setRemoteDescription(RTCSessionDescription(str(reply["answer"]), "answer"))
        self.why = ""

    async def _receive(self, track: Any, stream: str) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                data = (await track.recv()).data
                self.received += len(data)
                info = info_of(data)
                if info is None or info.stream != stream:
                    continue  # not ours, or damaged: without an identity a picture is not shown
                self.switch.push(CodedFrame(info, data, is_key(data), *self._told.get("size", {}).get(stream, (0, 0))))
        except MediaStreamError:
            pass

    async def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._drop()


@dataclass
class Viewer:
    """One page's connection: its feeds by stream, what it watches, and what it says it shows."""

    page: str
    name: str
    rank: int
    ordinal: int
    connection: RTCPeerConnection
    opened: float = field(default_factory=time.monotonic)
    feeds: dict[str, Feed] = field(default_factory=dict)
    site: str = ""
    streams: frozenset[str] = frozenset()


class MediaDesk:
    """See the module. say: (page, message) to one page; journal: (who, what, **details)."""

    def __init__(self, say: Callable[[str, dict[str, Any]], None], journal: Callable[..., None], places: int = PLACES) -> None:
        self._say, self._journal = say, journal
        self.places = places
        self.trunks: dict[str, Trunk] = {}
        self.viewers: dict[str, Viewer] = {}
        self.voices = VoiceRoom()
        #: (page, site) -> capture time of the view stream's picture that the page last displayed, robot ns.
        self.displayed: dict[tuple[str, str], int] = {}
        self._ordinal = 0
        #: A video room for those who find no place here: where its configuration lies (`launch/janus.launch.yaml`).
        self.janus: Path | None = None
        self._room: JanusRoom | None = None
        self._published: dict[str, int] = {}
        self._handles: set[str] = set()
        self._thumbnails: dict[str, tuple[float, bytes]] = {}
        self._charged: dict[str, int] = {}

    def share(self, rate: float, in_hand: frozenset[str], charge: Callable[[str, int], None]) -> None:
        """Once a second: which rung each hospital's pictures may have on a line of `rate` bytes a second; charge(site, bytes)
        is told what they used."""
        wishes = {n: Wish(n in in_hand, len(t.switch.wanted)) for n, t in self.trunks.items()}
        for name, rung in ceilings(rate, wishes, max(1, len(self.viewers))).items():
            trunk = self.trunks[name]
            if isinstance(trunk, RemoteTrunk):
                trunk.allow(rung)
                used, self._charged[name] = trunk.received - self._charged.get(name, 0), trunk.received
                if used > 0:
                    charge(name, used)

    # -- a page's connection --------------------------------------------------------------------------------------
    async def open(self, page: str, name: str, role: Role, offer: str, host: str) -> str:
        """Answer a page's offer. Raises ConsoleError when there is no place, or the offer cannot be used."""
        if page in self.viewers:
            await self.leave(page)
        rank = RANK.get(role, 0)
        yes, go = seat({p: (v.rank, v.ordinal) for p, v in self.viewers.items()}, rank, self.places)
        if not yes:
            self._journal(name, "media.full", places=self.places)
            raise Full(
                f"{self.places} people see the live pictures already, which is all this console carries: ask one of them to close"
            )
        if go:
            self._say(go, {"t": "media", "closed": f"{name} ({role.value}) needed the place for live pictures"})
            self._journal(self.viewers[go].name, "media.made_room", by=name)
            await self.leave(go)
        self._ordinal += 1
        connection = rtc.peer()
        viewer = Viewer(page, name, rank, self._ordinal, connection)
        self.viewers[page] = viewer

        def attach() -> None:
            streams = iter(STREAMS)
            for transceiver in connection.getTransceivers():
                if transceiver.kind == "video":
                    stream = next(streams, None)
                    if stream is None:
                        continue
                    feed = viewer.feeds[stream] = Feed(lambda: None)
                    transceiver.sender.replaceTrack(feed)
                    transceiver.direction = "sendonly"
                    rtc.hook_key_requests(transceiver.sender, lambda feed=feed: feed.want_key())  # type: ignore[misc]
                else:
                    self.voices.enter(page, name, transceiver)

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState in ("failed", "closed") and self.viewers.get(page) is viewer:
                await self.leave(page)

        try:
            answer = await rtc.answer(connection, rtc.known_host(offer, host), attach)
        except Exception as error:
            await self.leave(page)
            raise ConsoleError(f"live pictures could not be agreed with this browser ({type(error).__name__}: {error})") from None
        self._journal(name, "media.open", page=page)
        return answer

    async def room_offer(self, site: str, name: str) -> dict[str, str]:
        """A place in the video room: {handle, offer}. Raises ConsoleError."""
        trunk = self.trunks.get(site)
        if self.janus is None or trunk is None:
            raise ConsoleError(f"{site} has no video room here")
        try:
            if self._room is None:
                secret = (self.janus / "secret").read_text()
                self._room = await JanusRoom(f"http://127.0.0.1:{PORT}/janus", secret).open()
            number = sorted(self.trunks).index(site) + 1
            if site not in self._published:
                self._published[site] = await self._room.publish(number, trunk.switch)
            handle, offer = await self._room.view(number, self._published[site])
        except (JanusError, OSError) as error:
            raise ConsoleError(f"the video room cannot be used: {error}") from None
        self._handles.add(handle)
        self._journal(name, "media.room", site=site)
        return {"handle": handle, "offer": offer}

    async def room_answer(self, handle: str, answer: str) -> None:
        """A page's answer to an offer of the video room."""
        if self._room is None or handle not in self._handles:
            raise ConsoleError("this place in the video room is not known: open the live pictures again")
        self._handles.discard(handle)
        try:
            await self._room.start(handle, answer)
        except JanusError as error:
            raise ConsoleError(f"the video room cannot be used: {error}") from None

    def watch(self, page: str, site: str, streams: Iterable[str]) -> None:
        """Show a page these streams of a hospital. Raises ConsoleError."""
        viewer = self.viewers.get(page)
        if viewer is None:
            raise ConsoleError("open the live pictures first")
        trunk = self.trunks.get(site)
        if trunk is None:
            raise ConsoleError(f"{site} has no cameras here")
        wanted = frozenset(streams) & frozenset(STREAMS)
        before = self.trunks.get(viewer.site)
        for stream, feed in viewer.feeds.items():
            same = viewer.site == site and (stream in wanted) == (stream in viewer.streams)
            if same:
                continue
            if before is not None:
                before.switch.leave(feed)
            if stream in wanted:
                trunk.switch.join(stream, feed)
        if viewer.site != site or VIEW_STREAM not in wanted:
            self.displayed.pop((page, viewer.site), None)
        viewer.site, viewer.streams = site, wanted

    def show(self, page: str, views: object) -> None:
        """What the page says it displays: {site: capture time of the view stream, robot ns}; never newer than what we sent."""
        if not isinstance(views, dict):
            return
        viewer = self.viewers.get(page)
        for site, captured in views.items():
            trunk = self.trunks.get(site)
            if viewer is None or trunk is None or viewer.site != site or VIEW_STREAM not in viewer.streams:
                continue
            last = trunk.switch.last.get(VIEW_STREAM)
            if isinstance(captured, int) and last is not None and self.displayed.get((page, site), 0) <= captured <= last.captured:
                self.displayed[page, site] = captured

    def echo(self, page: str, site: str) -> int | None:
        """What a command of this page echoes as `echo_view`: None while the view stream is not shown there."""
        return self.displayed.get((page, site))

    async def leave(self, page: str) -> None:
        """The page closed, or its place was needed."""
        viewer = self.viewers.pop(page, None)
        self.displayed = {k: v for k, v in self.displayed.items() if k[0] != page}
        if viewer is None:
            return
        for trunk in self.trunks.values():
            for feed in viewer.feeds.values():
                trunk.switch.leave(feed)
        self.voices.leave(page)
        await viewer.connection.close()

    # -- for everybody --------------------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        """{site: {rung, why, streams: {stream: {state, id, captured, size}}}}: rides in every frame, hence short."""
        out = {}
        for site, trunk in self.trunks.items():
            s = trunk.switch
            streams = {
                n: {"state": s.state(n), "id": s.last[n].id if n in s.last else 0, "captured": s.last[n].captured if n in s.last else 0}
                for n in STREAMS
                if n in s.wanted
            }
            out[site] = {"rung": LADDER[trunk.rung()].name, "why": getattr(trunk, "why", ""), "streams": streams}
        return out

    def people(self) -> dict[str, dict[str, Any]]:
        """Who watches and who speaks, by page."""
        return {p: {"name": v.name, "site": v.site} for p, v in self.viewers.items()}

    def pose_of(self, site: str, stream: str) -> tuple[float, ...]:
        """lps_T_probe of the newest picture of a stream, () when it has none."""
        trunk = self.trunks.get(site)
        last = trunk.switch.last.get(stream) if trunk else None
        return last.pose if last else ()

    async def thumbnail(self, site: str) -> bytes:
        """A small JPEG of the room, at most 20 s old. Raises ConsoleError when there is none within 3 s."""
        trunk = self.trunks.get(site)
        if trunk is None:
            raise ConsoleError(f"{site} has no cameras here")
        made, data = self._thumbnails.get(site, (0.0, b""))
        if time.monotonic() - made < THUMBNAIL_S:
            return data
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def tap(coded: CodedFrame) -> None:
            if coded.info.stream == "room" and coded.key and not got.done():
                got.set_result(coded.data)

        switch = trunk.switch
        switch.taps.append(tap)
        feed = Feed(lambda: None)
        switch.join("room", feed)
        try:
            coded = await asyncio.wait_for(got, 3.0)
        except TimeoutError:
            raise ConsoleError(f"{site} sent no picture in 3 s") from None
        finally:
            switch.taps.remove(tap)
            switch.leave(feed)
        data = await asyncio.to_thread(_jpeg, coded)
        self._thumbnails[site] = (time.monotonic(), data)
        return data

    async def close(self) -> None:
        for page in list(self.viewers):
            await self.leave(page)
        if self._room is not None:
            await self._room.close()
        for trunk in self.trunks.values():
            await trunk.close()


def _jpeg(coded: bytes) -> bytes:
    from PIL import Image

    from teleop.media.stamp import STRIP

    pixels = Decoder().decode(coded)
    if pixels is None:
        raise ConsoleError("the picture could not be decoded")
    image = Image.fromarray(pixels[:-STRIP])
    image.thumbnail((240, 180))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=70)
    return out.getvalue()
