"""People who look and talk during a soak: two pages (the surgeon's and a mentor's) with real WebRTC connections to the console's
own media desk, in a thread with a loop of its own beside the sessions. Each shows a hospital's three pictures and speaks a
tone, which the other hears. Counts what arrives; draws and plays nothing.
"""

import asyncio
import fractions
import math
import queue
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

import numpy as np

RATE, BLOCK = 48_000, 960
#: A mixed block louder than this is somebody's voice (RMS of 16-bit samples).
HEARD = 100.0
PEOPLE = ("surgeon", "mentor")
#: Half seconds at each hospital in the beginning.
FIRST_LOOKS = 8
#: A connection that could not be agreed is tried again after so long (s).
AGAIN_S = 3.0


class Watchers:
    """`asked` holds (site, offer, future) for whoever owns the sessions; `watch` chooses the surgeon's hospital."""

    def __init__(self, sites: list[str]) -> None:
        self.sites = sites
        self.asked: queue.Queue[tuple[str, str, Future[dict[str, Any]]]] = queue.Queue()
        self.pictures: Counter[str] = Counter()  # site -> coded pictures that reached the console
        self.shown: Counter[str] = Counter()  # person -> pictures received
        self.heard: Counter[str] = Counter()  # person -> blocks of 20 ms with a voice in them
        self.problems: Counter[str] = Counter()
        self._in_hand = sites[0]
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="watchers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, site: str) -> None:
        """The surgeon looks at this hospital from now on, the mentor at the one after it."""
        self._in_hand = site

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10.0)

    # -- in the thread ------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._live())

    async def _live(self) -> None:
        from teleop.console.media import MediaDesk, RemoteTrunk
        from teleop.media.voices import Line

        desk = MediaDesk(lambda page, message: None, lambda who, what, **details: None)
        for site in self.sites:
            trunk = RemoteTrunk(site, lambda offer, site=site: self._offer(site, offer))  # type: ignore[misc]
            push = trunk.switch.push

            def counted(coded: Any, digest: bytes = b"", site: str = site, push: Any = push) -> None:
                self.pictures[site] += 1
                push(coded, digest)

            trunk.switch.push = counted  # type: ignore[method-assign, assignment]
            desk.trunks[site] = trunk
        for name in PEOPLE:
            desk.voices.set(name, Line(muted=False))
        pages = [asyncio.create_task(self._page(desk, name, number)) for number, name in enumerate(PEOPLE)]
        await self._over.wait()
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)
        await desk.close()

    async def _offer(self, site: str, offer: str) -> dict[str, Any]:
        answer: Future[dict[str, Any]] = Future()
        self.asked.put((site, offer, answer))
        return await asyncio.wrap_future(answer)

    async def _page(self, desk: Any, name: str, number: int) -> None:
        while True:
            try:
                await self._one_connection(desk, name, number)
            except Exception as error:  # whatever the media engine says: the page tries again, as a browser's does
                self.problems[f"{name}: {type(error).__name__}: {error}"[:200]] += 1
            await asyncio.sleep(AGAIN_S)

    async def _one_connection(self, desk: Any, name: str, number: int) -> None:
        from aiortc import RTCSessionDescription

        from teleop.console.contracts import Role
        from teleop.media import rtc
        from teleop.media.frames import STREAMS

        connection = rtc.peer()
        tasks: list[asyncio.Task[None]] = []
        try:
            connection.addTrack(_tone(300.0 + 140.0 * number))
            for _ in STREAMS:
                connection.addTransceiver("video", direction="recvonly")
            rtc.only_h264(connection)

            @connection.on("track")
            def arrived(track: Any) -> None:
                tasks.append(asyncio.create_task(self._take(track, name)))

            await connection.setLocalDescription(await connection.createOffer())
            role = Role.SURGEON if number == 0 else Role.MENTOR
            answer = await desk.open(name, name, role, connection.localDescription.sdp, "127.0.0.1")
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            looks = 0
            while connection.connectionState not in ("failed", "closed"):
                # at first every hospital in turn: cameras load their scene when somebody first looks, which is warm-up
                shown = looks // FIRST_LOOKS
                at = ((shown if shown < len(self.sites) else self.sites.index(self._in_hand)) + number) % len(self.sites)
                looks += 1
                desk.watch(name, self.sites[at], STREAMS)
                await asyncio.sleep(0.5)
        finally:
            for task in tasks:
                task.cancel()
            await desk.leave(name)
            await connection.close()

    async def _take(self, track: Any, name: str) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.shown[name] += 1
                else:
                    samples = frame.to_ndarray().astype(np.float32)
                    self.heard[name] += bool(math.sqrt(float(np.mean(samples * samples))) > HEARD)
        except MediaStreamError:
            pass


def _tone(hertz: float) -> Any:
    """A microphone that hears a tone: a block of 20 ms at a time."""
    import time

    import av
    from aiortc.mediastreams import MediaStreamTrack

    class Tone(MediaStreamTrack):
        kind = "audio"

        def __init__(self) -> None:
            super().__init__()
            self._n, self._start = 0, time.monotonic()
            phase = 2.0 * np.pi * hertz * np.arange(RATE) / RATE
            self._second = (4000.0 * np.sin(phase)).astype(np.int16)  # whole hertz: seconds join without a click

        async def recv(self) -> Any:
            await asyncio.sleep(max(0.0, self._start + self._n * BLOCK / RATE - time.monotonic()))
            at = self._n * BLOCK % RATE
            frame = av.AudioFrame.from_ndarray(self._second[at : at + BLOCK][None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self._n * BLOCK, fractions.Fraction(1, RATE)
            self._n += 1
            return frame

    return Tone()
