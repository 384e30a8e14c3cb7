"""H.264 by PyAV (libx264, no B-frames, no delay), with the frame's identity inside the bit stream and in the picture.

The identity travels twice: for pages in the picture (`stamp`), for machines as SEI user data in front of the coded
picture, so that a relay or a recorder knows every frame without decoding it.
"""

import fractions
from collections.abc import Iterator

import av
import msgpack
import numpy as np
from numpy.typing import NDArray

from teleop.media import stamp
from teleop.media.adapt import Rung
from teleop.media.frames import CodedFrame, FrameInfo

CLOCK = fractions.Fraction(1, 90_000)
#: A key frame at least this often (s): what a late joiner waits at most without asking.
KEY_EVERY_S = 4.0
#: And not more often than this, whoever asks (s).
KEY_LEAST_S = 0.3
#: Ours, for user_data_unregistered (ITU-T H.264 D.1.7): SHA-256("longhand frame 1")[:16].
UUID = bytes.fromhex("6f1c2a7e0b934d58a4e9d26c8b7f3015")


class Encoder:
    """One stream's encoder; a new rung opens a new one (and so begins with a key frame)."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._codec: av.VideoCodecContext | None = None
        self._set: tuple[int, int, int, int] | None = None
        self._last_key = 0
        self._wanted = True

    def want_key(self) -> None:
        """The next picture stands by itself (somebody joined, or lost one)."""
        self._wanted = True

    def encode(self, picture: NDArray[np.uint8], info: FrameInfo, rung: Rung) -> CodedFrame:
        """picture: (h, w, 3) RGB, even sides, the last STRIP rows free for the stamp. Raises ValueError for odd sizes."""
        h, w = picture.shape[:2]
        if h % 2 or w % 2:
            raise ValueError(f"{w} x {h}: H.264 with 4:2:0 needs even sides")
        stamp.write(picture, info.id, info.captured)
        setting = (w, h, rung.kbps, round(rung.fps))
        fresh = setting != self._set
        if fresh:
            self._open(*setting)
            self._wanted = True
        assert self._codec is not None
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = info.captured * 9 // 100_000, CLOCK
        if info.captured - self._last_key > KEY_EVERY_S * 1e9:
            self._wanted = True
        # Asked for by many at once, or by a viewer that asks without end: still only so many, for each costs everybody.
        now = self._wanted and (self._last_key == 0 or fresh or info.captured - self._last_key >= KEY_LEAST_S * 1e9)
        frame.pict_type = av.video.frame.PictureType.I if now else av.video.frame.PictureType.NONE
        packets = self._codec.encode(frame.reformat(format="yuv420p"))
        if not packets:
            raise ValueError("the encoder kept a picture back: it must be set to no delay")
        key = any(p.is_keyframe for p in packets)
        if key:
            self._last_key, self._wanted = info.captured, False
        data = _with_sei(b"".join(bytes(p) for p in packets), info)
        return CodedFrame(info, data, key, w, h)

    def _open(self, w: int, h: int, kbps: int, fps: int) -> None:
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = w, h, "yuv420p"
        codec.time_base, codec.framerate = CLOCK, fractions.Fraction(max(1, fps), 1)
        codec.bit_rate = kbps * 1000
        codec.profile = "Baseline"
        codec.options = {
            "tune": "zerolatency", "preset": "superfast", "level": "31", "threads": "1", "forced-idr": "1",
            "x264-params": f"keyint=1000:scenecut=0:vbv-maxrate={kbps}:vbv-bufsize={max(60, kbps // 3)}:sliced-threads=0:repeat-headers=1",
        }  # fmt: skip
        self._codec, self._set = codec, (w, h, kbps, fps)


def _with_sei(data: bytes, info: FrameInfo) -> bytes:
    """The coded picture with our SEI in front (after parameter sets would be nicer; decoders take it anywhere before)."""
    payload = UUID + msgpack.packb([info.stream, info.id, info.captured, list(info.pose)])
    body = bytearray([5])
    size = len(payload)
    while size >= 255:
        body.append(255)
        size -= 255
    body.append(size)
    body += payload
    body.append(0x80)
    units, placed = [], False
    starts = [at for at, _ in nal_units(data)] + [len(data)]
    for (at, kind), after in zip(nal_units(data), starts[1:], strict=True):
        if kind in (1, 5) and not placed:  # behind the parameter sets, before the first slice
            units.append(b"\x06" + _escape(bytes(body)))
            placed = True
        end = after - 1 if after < len(data) and data[after - 1] == 0 else after
        units.append(data[at + 3 : end])
    # Start codes of four bytes throughout, as an RTP receiver writes them: the bytes, and so the hash, are the same on both ends.
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


def _escape(raw: bytes) -> bytes:
    """Emulation prevention: no start code may arise inside a unit."""
    out, zeros = bytearray(), 0
    for byte in raw:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def nal_units(data: bytes) -> Iterator[tuple[int, int]]:
    """(offset of the three-byte start code, type) of every unit."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        yield at, data[at + 3] & 0x1F
        at = data.find(b"\x00\x00\x01", at + 3)


def is_key(data: bytes) -> bool:
    """Whether a coded picture stands by itself (an IDR slice)."""
    return any(kind == 5 for _, kind in nal_units(data))


def info_of(data: bytes) -> FrameInfo | None:
    """The identity inside a coded picture, None when there is none or it is damaged."""
    at = data.find(UUID[:8])
    if at < 0:
        return None
    raw, out, zeros = data[at : at + 400], bytearray(), 0
    for byte in raw:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    if bytes(out[:16]) != UUID:
        return None
    try:
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1000)
        unpacker.feed(bytes(out[16:]))
        stream, number, captured, pose = unpacker.unpack()
        return FrameInfo(str(stream), int(number), int(captured), tuple(float(v) for v in pose))
    except (ValueError, TypeError, msgpack.UnpackException):
        return None


class Decoder:
    """Coded pictures back to RGB (replay, tests)."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("h264", "r")
        self._codec.thread_count = 1
        self._codec.flags |= av.codec.context.Flags.low_delay

    def decode(self, data: bytes) -> NDArray[np.uint8] | None:
        """(h, w, 3), or None when nothing can be shown yet (no key frame so far)."""
        try:
            frames = self._codec.decode(av.Packet(data))
        except av.FFmpegError:
            return None
        return np.asarray(frames[-1].to_ndarray(format="rgb24"), dtype=np.uint8) if frames else None
