"""What a live picture is, and the names of a site's streams."""

import hashlib
from dataclasses import dataclass

#: A site's streams, in this order everywhere (state frames, menus, peer connections).
STREAMS = ("room", "guide", "ultrasound")
#: The stream that hand motion is steered by: its displayed capture time is what commands echo (`echo_view`).
VIEW_STREAM = "guide"


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """One picture. captured: robot monotonic ns. pose: lps_T_probe (16 numbers, mm) of an ultrasound picture, else ()."""

    stream: str
    id: int
    captured: int
    pose: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """A picture as H.264 (Annex B): `info`, the bytes, whether it can be decoded by itself, and its size in pixels."""

    info: FrameInfo
    data: bytes
    key: bool
    width: int
    height: int

    @property
    def sha256(self) -> bytes:
        """What the session log keeps: the hash of the coded picture, so that stored video cannot be exchanged."""
        return hashlib.sha256(self.data).digest()
