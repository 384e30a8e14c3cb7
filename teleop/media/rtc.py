"""WebRTC ends by aiortc: coded pictures in and out without coding them again, and nothing that leaves the host by itself.

Three things are set differently from the library's defaults:

* **no STUN**: aiortc would ask a public server for our address. Candidates are this machine's own addresses, loopback
  included (`addresses`); whoever needs TURN names one.
* **coded pictures pass through**: a picture is coded once, where the camera is. Relays take it from one connection and put
  it into others, so ten viewers cost ten times the sending, not ten times the coding. aiortc sends `av.Packet`s as they are; for
  receiving, `Passthrough` stands in the place of its H.264 decoder (process-wide, hence whoever needs a decoded picture
  uses `encode.Decoder`).
* **a lost picture asks for a key frame** at the source: the sender's hook is led to `Feed.want_key`.
"""

import asyncio
import fractions
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import aioice.ice
import aiortc.rtcrtpreceiver
import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from teleop.link import planes
from teleop.media.encode import is_key

#: Pictures that may wait in one feed before it is emptied and begins anew with a key frame.
FEED_MAX = 3
#: A unit of filler data (ITU-T H.264 7.3.2.7): decoders skip it, and it names no picture.
FILLER = b"\x00\x00\x00\x01\x0c\xff\x80"
_CLOCK = fractions.Fraction(1, 90_000)
_host_addresses = aioice.ice.get_host_addresses
_own_addresses: list[str] | None = None


def addresses(only: list[str] | None) -> None:
    """Offer media at these addresses of this machine only; None: all of them and loopback. Holds for the process."""
    global _own_addresses
    _own_addresses = only


def _addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    if _own_addresses is not None:
        return list(_own_addresses)
    return ["127.0.0.1", *_host_addresses(use_ipv4, False)]


aioice.ice.get_host_addresses = _addresses  # type: ignore[assignment]


class Coded:
    """A coded picture as it came off the wire."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Passthrough:
    """Stands for a decoder and hands the coded picture on. Until a key frame has come it asks for one (by failing)."""

    def __init__(self) -> None:
        self.started = False

    def decode(self, encoded_frame: Any) -> list[Any]:
        data: bytes = encoded_frame.data
        if not self.started:
            if not is_key(data):
                raise av.FFmpegError(0, "no key frame yet")
            self.started = True
        return [Coded(data)]


_get_decoder = aiortc.rtcrtpreceiver.get_decoder


def _decoder(codec: Any) -> Any:
    return Passthrough() if codec.name == "H264" else _get_decoder(codec)


aiortc.rtcrtpreceiver.get_decoder = _decoder  # type: ignore[assignment]


class Feed(MediaStreamTrack):
    """One viewer's picture: takes coded pictures, drops to the newest key frame when the viewer does not keep up."""

    kind = "video"

    def __init__(self, want_key: Callable[[], None], flush: bool = False) -> None:
        """flush: the other end is aiortc, which hands a picture on only when a packet of the next one has come, a whole
        picture's time later; a packet of filler data behind each picture is that packet."""
        super().__init__()
        self._flush, self._filler_due = flush, False
        self.want_key = want_key
        self.dropped = 0
        self._pictures: deque[bytes] = deque()
        self._need_key = True
        self._wake = asyncio.Event()
        self._zero = time.monotonic_ns()
        self._last_pts = -1

    def begin(self) -> None:
        """The source changed: nothing but a key frame makes sense now."""
        self._pictures.clear()
        self._need_key = True
        self.want_key()

    def offer(self, data: bytes, key: bool) -> None:
        """A picture of the source."""
        if self._need_key and not key:
            self.dropped += 1
            return
        if len(self._pictures) >= FEED_MAX:
            self.dropped += len(self._pictures)
            self.begin()
            if not key:
                return
        self._need_key = False
        self._pictures.append(data)
        self._wake.set()

    async def recv(self) -> Any:
        if self._filler_due:
            self._filler_due = False
            self._last_pts += 1
            filler = av.Packet(FILLER)
            filler.pts, filler.time_base = self._last_pts, _CLOCK
            return filler
        self._filler_due = self._flush
        while not self._pictures:
            self._wake.clear()
            await self._wake.wait()
        packet = av.Packet(self._pictures.popleft())
        # Times of arrival: a relay does not know the page's play-out clock, and the source may change its clock.
        pts = max(self._last_pts + 1, (time.monotonic_ns() - self._zero) * 9 // 100_000)
        packet.pts, packet.time_base = pts, _CLOCK
        self._last_pts = pts
        return packet


def peer() -> RTCPeerConnection:
    """A connection that asks nobody outside."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


def only_h264(connection: RTCPeerConnection) -> None:
    """For the offering end: pictures are H.264 and nothing else, for what is coded once must fit everybody."""
    wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name in ("H264", "rtx")]
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(wanted)


def mark(connection: RTCPeerConnection) -> int:
    """Mark what this connection sends as video (DSCP AF41), after its candidates are gathered. How many sockets took it."""
    done = set()
    for transceiver in connection.getTransceivers():
        ice = transceiver.sender.transport.transport.iceGatherer._connection
        for protocol in ice._protocols:
            sock = protocol.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() not in done:
                # asyncio shows its socket behind a face without setsockopt on some systems
                real = socket.socket(fileno=os.dup(sock.fileno()))
                if planes.mark(real, planes.Plane.VIDEO):
                    done.add(sock.fileno())
                real.close()
    return len(done)


def hook_key_requests(sender: RTCRtpSender, want_key: Callable[[], None]) -> None:
    """Lead the viewer's "picture lost" to the source."""
    sender._send_keyframe = want_key  # type: ignore[method-assign]


_MDNS = re.compile(r"^(a=candidate:\S+ \d+ \S+ \d+ )(\S+\.local)( .*)$", re.M)


def known_host(sdp: str, host: str) -> str:
    """Browsers hide their addresses behind mDNS names, which would be asked for on the network: the page's connection
    has already told where it is."""
    return _MDNS.sub(lambda m: m.group(1) + host + m.group(3), sdp)


async def answer(connection: RTCPeerConnection, offer_sdp: str, prepare: Callable[[], None]) -> str:
    """Take an offer, let `prepare` attach tracks to the transceivers it made, and give the answer's SDP."""
    await connection.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
    for transceiver in connection.getTransceivers():
        # Preferences of an answering end come too late in aiortc: the codecs were settled by the line above.
        if transceiver.kind == "video":
            kept = [c for c in transceiver._codecs if c.name == "H264"]
            if not kept:
                raise ValueError("the other end has no H.264")
            numbers = {c.payloadType for c in kept}
            transceiver._codecs = kept + [c for c in transceiver._codecs if c.name == "rtx" and c.parameters.get("apt") in numbers]
    prepare()
    await connection.setLocalDescription(await connection.createAnswer())
    mark(connection)
    return connection.localDescription.sdp


async def path_quality(sender: RTCRtpSender) -> tuple[float | None, float | None]:
    """(share lost, round trip in ms) of the last receiver report; None each before there is one."""
    for row in (await sender.getStats()).values():
        if row.type == "remote-inbound-rtp":
            rtt = row.roundTripTime
            return row.fractionLost / 256.0, None if rtt is None else rtt * 1e3
    return None, None
