"""Sealed datagrams: one UDP datagram = a 16-byte header in the clear + AES-256-GCM over the payload + a 16-byte tag.

    byte  0     version (high 4 bits) and kind (low 4 bits)
    byte  1     direction (0x80: from the site), channel (0x70), path (0x0f)
    bytes 2-3   session number, given by the site in its welcome: finds the keys, proves nothing
    bytes 4-7   send time, microseconds of the sender's monotonic clock modulo 2^32 (jitter, relative delay)
    bytes 8-15  counter, starts at 1; the same frame has the same counter on every path
    then        ciphertext and tag

All integers big-endian. Nonce (96 bit) = 4-byte salt + counter. Associated data = header + the session's 16-byte nonce,
so a datagram of another session, path, direction, kind or send time does not open. Every (direction, channel, path) has its own
key and salt, derived with HKDF-SHA256 from the secret of the welcome (which travelled inside CURVE, hence forward secrecy).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DATAGRAM_VERSION = 1
HEADER = struct.Struct(">BBHIQ")
OVERHEAD = HEADER.size + 16
#: Largest datagram sealed, bytes: fits the 1280-byte minimum MTU of IPv6 with its headers (40 + 8).
DATAGRAM_MAX_BYTES = 1232
PAYLOAD_MAX_BYTES = DATAGRAM_MAX_BYTES - OVERHEAD
_COUNTER_MAX = 2**63


class Kind(IntEnum):
    """What a datagram carries."""

    COMMAND = 1  # console -> site: one command frame (msgpack)
    STATE = 2  # site -> console: one state frame (msgpack)
    PROBE = 3  # both: stamps and reception report
    STOP = 4  # console -> site: a stop request, repeated until echoed
    STOP_ECHO = 5  # site -> console: the stop has reached the governor
    LOAD = 6  # both: filler of the line test


class Channel(IntEnum):
    """Counter spaces. Loss is counted per channel, so test filler does not look like lost commands."""

    STREAM = 0
    LOAD = 1
    VIDEO = 2  # reserved


@dataclass(frozen=True, slots=True)
class Header:
    """The clear part of a datagram. `sent_us`: sender's clock, microseconds modulo 2^32."""

    kind: int
    from_site: bool
    channel: int
    path: int
    session: int
    sent_us: int
    counter: int


class Unsealed(Exception):
    """A datagram that does not open; `reason` is "short", "oversize", "version", "kind", "direction" or "tag"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_header(data: bytes) -> Header:
    """Header of a datagram, nothing proved yet. Raises Unsealed."""
    if len(data) < OVERHEAD:
        raise Unsealed("short")
    if len(data) > DATAGRAM_MAX_BYTES:
        raise Unsealed("oversize")
    b0, b1, session, sent_us, counter = HEADER.unpack_from(data)
    if b0 >> 4 != DATAGRAM_VERSION:
        raise Unsealed("version")
    if not 1 <= b0 & 15 <= 6:
        raise Unsealed("kind")
    return Header(b0 & 15, bool(b1 & 0x80), (b1 >> 4) & 7, b1 & 15, session, sent_us, counter)


class StreamCipher:
    """Seals or opens the datagrams of one (direction, channel, path) of one session. Stateless but for its key:
    the caller owns the counter and must never use one twice for sealing."""

    def __init__(self, secret: bytes, nonce: bytes, number: int, *, from_site: bool, channel: int, path: int) -> None:
        if len(secret) != 32 or len(nonce) != 16:
            raise ValueError("the session secret has 32 bytes, the session nonce 16")
        if not (0 <= path < 16 and 0 <= channel < 8 and 0 <= number < 65536):
            raise ValueError(f"path {path}, channel {channel} or session number {number} out of range")
        self._b1 = (0x80 if from_site else 0) | channel << 4 | path
        info = b"longhand stream 1" + bytes([self._b1])
        okm = HKDF(algorithm=SHA256(), length=36, salt=nonce, info=info).derive(secret)
        self._aead = AESGCM(okm[:32])
        self._salt = okm[32:]
        self._nonce16 = nonce
        self._number = number

    def seal(self, kind: int, counter: int, now_ns: int, payload: bytes) -> bytes:
        """One datagram. Raises ValueError if the payload does not fit or the counter is out of range."""
        if len(payload) > PAYLOAD_MAX_BYTES:
            raise ValueError(f"payload of {len(payload)} B: at most {PAYLOAD_MAX_BYTES} B fit a datagram")
        if not 1 <= counter < _COUNTER_MAX:
            raise ValueError(f"counter {counter} out of range")
        head = HEADER.pack(DATAGRAM_VERSION << 4 | kind, self._b1, self._number, now_ns // 1000 & 0xFFFFFFFF, counter)
        return head + self._aead.encrypt(self._salt + counter.to_bytes(8, "big"), payload, head + self._nonce16)

    def open(self, data: bytes) -> bytes:
        """The payload of a datagram of this stream. Raises Unsealed."""
        if not OVERHEAD <= len(data) <= DATAGRAM_MAX_BYTES:
            raise Unsealed("short" if len(data) < OVERHEAD else "oversize")
        if data[1] != self._b1:
            raise Unsealed("direction")
        head = data[:16]
        try:
            return self._aead.decrypt(self._salt + data[8:16], data[16:], head + self._nonce16)
        except InvalidTag:
            raise Unsealed("tag") from None
