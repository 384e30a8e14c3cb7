"""The hospital's end of live pictures: a studio, WebRTC to each console that asks, adaptation, recording. asyncio.

It is a process of its own beside the gateway (`media.sock`, SEQPACKET, msgpack maps, same user only), which authenticates
consoles and knows how control is doing:

    gateway -> us   {"t": "offer", "id": n, "key": K, "sdp": offer}
                    {"t": "control", "loss", "queue_ms", "loop_age_ms", "state"}      five times a second
    us -> gateway   {"t": "answer", "id": n, "ok": bool, "answer": sdp | "reason": text}
                    {"t": "frames", "rows": [[stream, id, captured, sha256], ...]}    for the session log and the state frame

Killing it stops pictures and nothing else.
"""

import asyncio
import json
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

from aiortc import RTCPeerConnection, RTCRtpSender

from teleop.media import adapt, rtc
from teleop.media.adapt import LADDER, Measured
from teleop.media.frames import STREAMS, CodedFrame
from teleop.media.rtc import Feed
from teleop.media.store import Writer
from teleop.media.studio import Source, Studio, size_at
from teleop.media.switch import Switch
from teleop.site.packet_server import PacketServer

log = logging.getLogger("longhand.media")
STEP_S = 0.2
#: Consoles at once; each costs sending only.
MAX_CONSOLES = 4
#: What is recorded while an arm is in use and nobody watches: the two cameras, on a low rung.
RECORDED, RECORD_RUNG = ("room", "guide"), 2
#: A loop age counts against video only when it has grown by so much over its own floor of the last half minute (ms).
AGE_RISE_MS, FLOOR_S = 60.0, 30.0
CONTROL_OLD_S = 1.0


class SiteEnd:
    """See the module. ceiling: highest rung the site's bandwidth budget allows."""

    def __init__(self, source: Source, door: Path, store: Path | None, ceiling: int = len(LADDER) - 1) -> None:
        self._loop = asyncio.get_running_loop()
        self.door = PacketServer(door)
        self.writer = Writer(store) if store is not None else None
        self.studio = Studio(source, self._emit, self.writer)
        self.switch = Switch(self.studio.want, self.studio.want_key)
        self.ceiling = ceiling
        self.level = adapt.State()
        self._consoles: dict[str, tuple[RTCPeerConnection, list[RTCRtpSender], dict[str, Feed]]] = {}
        self._channels: dict[str, Any] = {}
        #: What each console's own line bears (it tells with {"ceiling": rung}); the lowest holds, for all see one rung.
        self._ceilings: dict[str, int] = {}
        self._control: dict[str, Any] = {}
        self._control_at = 0.0
        self._rows: deque[list[Any]] = deque(maxlen=500)
        self._ages: deque[tuple[float, float]] = deque()
        self._rtt_floor: dict[int, float] = {}
        self.studio.rung(self.level.rung)
        self.studio.start()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        fresh = 0.0
        try:
            while not stop.is_set():
                await asyncio.sleep(0.02)
                for peer, message in self.door.poll():
                    if message is not None:
                        self._take(peer, message)
                now = time.monotonic()
                if now - fresh >= STEP_S:
                    fresh = now
                    await self._step()
        finally:
            for key in list(self._consoles):
                await self._drop(key)
            await asyncio.to_thread(self.studio.close)
            self.door.close()

    def _emit(self, coded: CodedFrame, digest: bytes) -> None:
        """In the studio's thread."""
        if self.writer is not None and not self.writer.full:
            self._rows.append([coded.info.stream, coded.info.id, coded.info.captured, coded.sha256])
        self._loop.call_soon_threadsafe(self.switch.push, coded, digest)

    # -- from the gateway -----------------------------------------------------------------------------------------
    def _take(self, peer: int, message: dict[str, Any]) -> None:
        if message["t"] == "offer":
            self._loop.create_task(self._offer(peer, message))
        elif message["t"] == "control":
            self._control, self._control_at = message, time.monotonic()
            moving = message.get("state") in ("ACTIVE", "DEGRADED")
            self.switch.set_extra(RECORDED if moving and self.writer is not None else ())

    async def _offer(self, peer: int, message: dict[str, Any]) -> None:
        key, reply = str(message.get("key", "")), {"t": "answer", "id": message.get("id")}
        try:
            await self._drop(key)  # one connection per console: a new one replaces the old
            if len(self._consoles) >= MAX_CONSOLES:
                raise ConnectionError(f"{MAX_CONSOLES} consoles have this hospital's pictures already")
            sdp = await self._connect(key, str(message.get("sdp", "")))
            self.door.send(peer, reply | {"ok": True, "answer": sdp})
        except Exception as error:  # whatever a stranger's SDP makes the engine say
            log.warning("no pictures for %s: %s", key[:8], error)
            await self._drop(key)
            self.door.send(peer, reply | {"ok": False, "reason": f"no pictures: {error}"[:300]})

    async def _connect(self, key: str, offer: str) -> str:
        connection = rtc.peer()
        senders: list[RTCRtpSender] = []
        feeds: dict[str, Feed] = {}
        self._consoles[key] = (connection, senders, feeds)

        @connection.on("datachannel")
        def channel(c: Any) -> None:
            self._channels[key] = c

            @c.on("message")
            def said(text: str) -> None:
                words = json.loads(text)
                if "want" in words:
                    self._want(feeds, frozenset(words["want"]))
                if words.get("key") in feeds:
                    self.studio.want_key(words["key"])
                if isinstance(words.get("ceiling"), int):
                    self._ceilings[key] = max(0, min(len(LADDER) - 1, words["ceiling"]))

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState in ("failed", "closed") and self._consoles.get(key, (None,))[0] is connection:
                await self._drop(key)

        def attach() -> None:
            lines = [t for t in connection.getTransceivers() if t.kind == "video"]
            for stream, transceiver in zip(STREAMS, lines, strict=False):
                feed = feeds[stream] = Feed(lambda: None, flush=True)
                transceiver.sender.replaceTrack(feed)
                transceiver.direction = "sendonly"
                rtc.hook_key_requests(transceiver.sender, lambda s=stream: self.studio.want_key(s))  # type: ignore[misc]
                senders.append(transceiver.sender)

        return await rtc.answer(connection, offer, attach)

    def _want(self, feeds: dict[str, Feed], wanted: frozenset[str]) -> None:
        for stream, feed in feeds.items():
            if stream in wanted and feed not in self.switch.feeds[stream]:
                self.switch.join(stream, feed)
            elif stream not in wanted and feed in self.switch.feeds[stream]:
                self.switch.feeds[stream].discard(feed)
        self.switch.set_extra(self.switch.extra)

    async def _drop(self, key: str) -> None:
        found = self._consoles.pop(key, None)
        self._channels.pop(key, None)
        self._ceilings.pop(key, None)
        if found is not None:
            for feed in found[2].values():
                self.switch.leave(feed)
            await found[0].close()

    # -- adaptation -----------------------------------------------------------------------------------------------
    async def _step(self) -> None:
        self.level = adapt.step(self.level, await self._measure(), time.monotonic_ns(), ceiling=self._ceiling())
        self.studio.rung(self.level.rung)
        rung = LADDER[self.level.rung]
        told = json.dumps({"rung": self.level.rung, "why": self.level.why, "size": {s: size_at(s, rung) for s in STREAMS} if rung.fps else {}})
        for channel in self._channels.values():
            if channel.readyState == "open" and channel.bufferedAmount < 4096:
                channel.send(told)
        if self._rows:
            rows, self._rows = list(self._rows), deque(maxlen=500)
            self.door.broadcast({"t": "frames", "rows": rows})

    def _ceiling(self) -> int:
        watched = any(self.switch.feeds.values())
        ceiling = min([self.ceiling, *self._ceilings.values()])
        return ceiling if watched else min(RECORD_RUNG, self.ceiling)

    async def _measure(self) -> Measured:
        """The worst of the consoles that watch, and how control is."""
        losses, queues = [], []
        for _, senders, feeds in list(self._consoles.values()):
            for sender, feed in zip(senders, feeds.values(), strict=False):
                if not any(feed in f for f in self.switch.feeds.values()):
                    continue
                loss, rtt = await rtc.path_quality(sender)
                if loss is not None:
                    losses.append(loss)
                if rtt is not None:
                    floor = self._rtt_floor[id(sender)] = min(self._rtt_floor.get(id(sender), rtt) + 0.05, rtt)
                    queues.append(rtt - floor)
        now = time.monotonic()
        if now - self._control_at > CONTROL_OLD_S:
            return Measured(max(losses, default=None), max(queues, default=None))
        c = self._control
        return Measured(max(losses, default=None), max(queues, default=None), c.get("loss"), c.get("queue_ms"), self._risen(c.get("loop_age_ms"), now))

    def _risen(self, age_ms: float | None, now: float) -> float | None:
        """The loop age where it has risen over its own floor: a long line is no reason to have no pictures."""
        if age_ms is None:
            return None
        self._ages.append((now, age_ms))
        while self._ages and now - self._ages[0][0] > FLOOR_S:
            self._ages.popleft()
        return age_ms if age_ms > min(a for _, a in self._ages) + AGE_RISE_MS else None
