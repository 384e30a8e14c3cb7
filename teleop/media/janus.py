"""Many viewers: a Janus server (GPL, its own process) carries the pictures on, and this console only signals for it.

    python -m teleop.media.janus config DIR     writes the configuration for `launch/janus.launch.yaml`: loopback only, fresh secrets
    JanusRoom(url, secret)                      asyncio: publish a site's feeds once, hand out offers for viewers

The console publishes each hospital's three pictures once into a video room; a viewer's page talks WebRTC to Janus and everything
else to the console, so tokens, roles and the record stay where they are. Janus has no rights: it sees pictures, nothing more.
"""

import asyncio
import contextlib
import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription

from teleop.media import rtc
from teleop.media.frames import STREAMS
from teleop.media.rtc import Feed
from teleop.media.switch import Switch

PORT = 8088
POLL_S = 25.0
#: Parts of Janus that are not wanted here.
PLUGINS = ("audiobridge", "echotest", "recordplay", "sip", "nosip", "streaming", "textroom", "videocall", "voicemail", "duktape", "lua")
TRANSPORTS = ("rabbitmq", "mqtt", "nanomsg", "pfunix", "websockets")


class JanusError(RuntimeError):
    """Janus refused or does not answer; the text says what."""


def write_config(folder: Path, port: int = PORT, address: str = "127.0.0.1") -> Path:
    """Janus configuration: video room and HTTP on `address` only, media there too, no STUN, an API secret in a 0600 file."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = folder / "secret"
    if not secret.exists():
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(24))
    word = secret.read_text()
    files = {
        "janus.jcfg": f'''general: {{ api_secret = "{word}" debug_level = 3 server_name = "longhand" session_timeout = 60 }}
nat: {{ full_trickle = false ice_enforce_list = "{address}" ignore_unreachable_ice_server = true ice_nomination = "regular" }}
media: {{ ipv6 = false rtp_port_range = "20000-20400" }}
plugins: {{ disable = "{unused(PLUGINS)}" }}
transports: {{ disable = "{unused(TRANSPORTS)}" }}
''',
        "janus.transport.http.jcfg": f'''general: {{ json = "compact" base_path = "/janus" http = true port = {port} ip = "{address}" https = false }}
admin: {{ admin_http = false admin_https = false }}
''',
        "janus.plugin.videoroom.jcfg": "general: { }\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def unused(names: tuple[str, ...]) -> str:
    """As Janus' configuration lists what not to load."""
    return ",".join(f"libjanus_{name}.so" for name in names)


class JanusRoom:
    """One console's session at Janus. Raises JanusError."""

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = url.rstrip("/"), secret
        self._session = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._connections: list[RTCPeerConnection] = []
        self._closed = False

    async def _post(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        message = {**message, "transaction": secrets.token_hex(8), "apisecret": self._secret}

        def send() -> dict[str, Any]:
            request = urllib.request.Request(self._url + path, json.dumps(message).encode(), {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as reply:
                found: dict[str, Any] = json.load(reply)
                return found

        waiting: asyncio.Future[dict[str, Any]] | None = None
        if message["janus"] == "message":
            waiting = self._waiting[message["transaction"]] = asyncio.get_running_loop().create_future()
        try:
            reply = await asyncio.to_thread(send)
        except OSError as error:
            raise JanusError(f"Janus at {self._url} does not answer: {error}") from None
        if reply.get("janus") == "error":
            raise JanusError(str(reply["error"].get("reason", reply["error"])))
        if waiting is not None and reply.get("janus") == "ack":
            reply = await asyncio.wait_for(waiting, 15)
        data = (reply.get("plugindata") or {}).get("data") or {}
        if "error" in data:
            raise JanusError(str(data["error"]))
        return reply

    async def open(self) -> "JanusRoom":
        """Begin a session and listen for its events."""
        self._session = int((await self._post("", {"janus": "create"}))["data"]["id"])
        self._tasks.append(asyncio.create_task(self._listen()))
        return self

    async def _listen(self) -> None:
        def poll() -> list[dict[str, Any]]:
            url = f"{self._url}/{self._session}?maxev=10&apisecret={self._secret}"
            with urllib.request.urlopen(url, timeout=POLL_S + 10) as reply:
                found = json.load(reply)
                return found if isinstance(found, list) else [found]

        while not self._closed:
            try:
                events = await asyncio.to_thread(poll)
            except OSError:
                await asyncio.sleep(1.0)
                continue
            for event in events:
                future = self._waiting.pop(str(event.get("transaction")), None)
                if future is not None and not future.done():
                    future.set_result(event)

    async def _handle(self) -> str:
        reply = await self._post(f"/{self._session}", {"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return f"/{self._session}/{reply['data']['id']}"

    async def publish(self, room: int, switch: Switch) -> int:
        """Put a hospital's three pictures into a room of that number; gives the publisher's id."""
        handle = await self._handle()
        with contextlib.suppress(JanusError):  # it is there already
            create = {"request": "create", "room": room, "publishers": 1, "videocodec": "h264", "audiocodec": "opus", "bitrate": 3_000_000}
            await self._post(handle, {"janus": "message", "body": create})
        publisher = secrets.randbelow(2**40) + 1
        await self._post(handle, {"janus": "message", "body": {"request": "join", "ptype": "publisher", "room": room, "id": publisher}})
        connection = rtc.peer()
        self._connections.append(connection)
        for stream in STREAMS:
            feed = Feed(lambda: None)
            transceiver = connection.addTransceiver(feed, direction="sendonly")
            want: Callable[[], None] = lambda f=feed: f.want_key()  # type: ignore[misc]  # noqa: E731
            rtc.hook_key_requests(transceiver.sender, want)
            switch.join(stream, feed)
        rtc.only_h264(connection)
        await connection.setLocalDescription(await connection.createOffer())
        jsep = {"type": "offer", "sdp": connection.localDescription.sdp}
        reply = await self._post(handle, {"janus": "message", "body": {"request": "publish"}, "jsep": jsep})
        await connection.setRemoteDescription(RTCSessionDescription(reply["jsep"]["sdp"], "answer"))
        for _ in range(500):  # before the media are there, Janus knows no such feed
            if connection.connectionState == "connected":
                break
            if connection.connectionState == "failed":
                raise JanusError("the pictures did not reach Janus: is UDP between this process and Janus open?")
            await asyncio.sleep(0.02)
        return publisher

    async def view(self, room: int, publisher: int) -> tuple[str, str]:
        """An offer for a viewer's page: (handle to answer on, SDP)."""
        handle = await self._handle()
        body = {"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": publisher}]}
        for attempt in range(20):  # Janus knows a feed only some milliseconds after its media have begun
            try:
                reply = await self._post(handle, {"janus": "message", "body": body})
                break
            except JanusError as error:
                if "No such feed" not in str(error) or attempt == 19:
                    raise
                await asyncio.sleep(0.1)
        return handle, str(reply["jsep"]["sdp"])

    async def start(self, handle: str, answer: str) -> None:
        """The viewer's answer."""
        await self._post(handle, {"janus": "message", "body": {"request": "start"}, "jsep": {"type": "answer", "sdp": answer}})

    async def close(self) -> None:
        self._closed = True
        for connection in self._connections:
            await connection.close()
        with contextlib.suppress(JanusError):
            await self._post(f"/{self._session}", {"janus": "destroy"})
        for task in self._tasks:
            task.cancel()


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[0] != "config":
        print("usage: python -m teleop.media.janus config DIR", file=sys.stderr)
        return 2
    print(write_config(Path(argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
