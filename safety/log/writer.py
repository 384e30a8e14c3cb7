"""`SessionLog`: one site's record of a session, an MCAP file that survives `kill -9` and cannot be changed unnoticed.

File: MCAP magic and header, then per second at least: data chunks (64 KiB plain, zstd, each followed by its message
indexes) and one small plain chunk with a signed checkpoint. Unbuffered: what `flush` wrote is in the kernel. At close:
a LogClose record, a last checkpoint, and MCAP's summary, which follows from the rest.

Times are integer nanoseconds. `mono` is the robot's monotonic clock; MCAP's log time is `utc at opening + (mono - mono
at opening)`: readable in any tool, never running backward, untouched by clock steps (those are ClockEstimate records).
"""

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.log import container, session
from safety.log.cdr import TypeStore
from safety.log.chain import RecordChain
from safety.log.checkpoint import Checkpoint, key_name, parse, sign, signature_line
from safety.log.compress import compress
from safety.log.session import SessionInfo

CHUNK_BYTES = 64 << 10
#: Three a second, so that a cut loses less than one second even when the machine is late (of 92 kills one lost 1.0005 s with two).
CHECKPOINT_PERIOD_NS = 333_000_000
#: Larger messages are refused: they would make a reader of a damaged file allocate what the damage says.
MAX_MESSAGE = 16 << 20


class LogError(RuntimeError):
    """The log cannot be written: it is closed, the disk is full, the message is not what its type says."""


class LogFull(LogError):
    """The disk took no more. Nothing is lost yet: the bytes wait, and the next `flush` tries again."""


class SessionLog:
    """Append-only writer. Not thread-safe: one thread owns it."""

    def __init__(
        self, path: Path, site_key: Ed25519PrivateKey, info: SessionInfo, *, mono: int, utc: int, utc_error: int = -1,
        types: TypeStore | None = None, compression: bool = True,
    ) -> None:  # fmt: skip
        """Create `path` (never overwrites) and write the signed header. Raises FileExistsError, OSError."""
        self.path = path
        self.info = info
        self.types = types or TypeStore()
        self.newest: Checkpoint | None = None
        self.newest_note = ""
        self.messages = 0
        self.dropped = 0
        self._compression = compression
        self._session_key: Ed25519PrivateKey | None = Ed25519PrivateKey.generate()
        self._mono0, self._utc0, self._last_log_time = mono, utc, utc
        self._chain = RecordChain()
        self._chunk = container.PlainChunk()
        self._summary = container.Summary()
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, str], int] = {}
        self._hash = sha256()
        self._crc = 0
        self._offset = 0  # of the next byte, waiting bytes included
        self._waiting = bytearray()
        self._last_checkpoint = mono
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        self._append_file(container.MAGIC + container.record(container.HEADER, container.header_content()))
        public = self._session_key.public_key().public_bytes_raw()
        header = session.build_header(info, site_key, public, mono, utc, utc_error, self.types)
        self.write(session.HEADER_TOPIC, session.HEADER_TYPE, header, mono)
        self._end_chunk(False)  # plain: whoever opens the file in an editor sees what it is
        self.checkpoint(mono)

    @property
    def closed(self) -> bool:
        return self._session_key is None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, those still gathering in the open chunk not counted."""
        return self._offset

    @property
    def records(self) -> int:
        return self._chain.size

    def write(
        self, topic: str, msg_type: str, message: Mapping[str, Any] | bytes, mono: int, *, publish_mono: int | None = None
    ) -> None:
        """Record one message. message: field dict, or CDR bytes as they came off the wire. mono: arrival, robot clock;
        publish_mono: when its source made it, same clock. Raises CdrError, LogError."""
        if self._session_key is None:
            raise LogError(f"{self.path} is closed")
        data = message if isinstance(message, bytes) else self.types.encode(msg_type, message)
        if len(data) > MAX_MESSAGE:
            raise LogError(f"{topic}: a message of {len(data)} bytes; at most {MAX_MESSAGE} are recorded")
        channel_id = self._channels.get((topic, msg_type))
        if channel_id is None:
            channel_id = self._open_channel(topic, msg_type)
        log_time = max(self._utc0 + mono - self._mono0, self._last_log_time)
        self._last_log_time = log_time
        publish_time = log_time if publish_mono is None else max(0, self._utc0 + publish_mono - self._mono0)
        content = container.message_content(channel_id, self._chain.size, log_time, publish_time, data)
        self._chain.append(container.MESSAGE, content)
        self._chunk.add_message(channel_id, log_time, content)
        if not self.messages:
            self._summary.start = log_time
        self._summary.end = log_time
        self._summary.counts[channel_id] = self._summary.counts.get(channel_id, 0) + 1
        self.messages += 1
        if len(self._chunk.records) >= CHUNK_BYTES:
            self._end_chunk(self._compression)

    def write_alone(self, topic: str, msg_type: str, message: Mapping[str, Any] | bytes, mono: int) -> None:
        """As `write`, in a small plain chunk of its own: for overview records, which a reader wants without the rest."""
        if (topic, msg_type) not in self._channels:
            self._open_channel(topic, msg_type)
        if self._chunk.records:
            self._end_chunk(self._compression)
        self.write(topic, msg_type, message, mono)
        if self._chunk.records:
            self._end_chunk(False)

    def gap(self, stream: str, dropped: int, from_mono: int, until_mono: int, cause: str, mono: int) -> None:
        """Record that messages are missing here."""
        self.dropped += dropped
        fields = {
            "schema_version": 1, "stamp_mono": mono, "from_mono": from_mono, "until_mono": until_mono,
            "stream": stream, "dropped": dropped, "cause": cause,
        }  # fmt: skip
        self.write(session.GAP_TOPIC, session.GAP_TYPE, fields, mono)

    def peer_checkpoint(self, site: str, mono: int, *, note: str = "", digest: bytes = b"") -> str:
        """Take in the newest checkpoint of another site: its signed note (co-signed here) or the hash alone.

        Returns the co-signature line ("" for a hash). The note's own signature is checked by whoever holds that site's
        log; here only its form. Raises CheckpointError, LogError."""
        if self._session_key is None:
            raise LogError(f"{self.path} is closed")
        line = ""
        if note:
            foreign, _ = parse(note)
            if foreign.site != site:
                raise LogError(f"a checkpoint of site {foreign.site!r} was handed over as one of {site!r}")
            if foreign.session != self.info.session.hex():
                raise LogError(f"a checkpoint of another session ({foreign.session[:16]}) was handed over")
            digest = foreign.digest()
            line = signature_line(foreign.text(), key_name(self.info.session.hex(), self.info.site), self._session_key)
        fields = {
            "schema_version": 1, "stamp_mono": mono, "site": site, "checkpoint_hash": digest, "note": note,
            "cosignature": line,
        }  # fmt: skip
        self.write(session.PEER_TOPIC, session.PEER_TYPE, fields, mono)
        return line

    def tick(self, mono: int) -> bool:
        """Call often: makes a checkpoint when one is due. True when it did. Raises LogFull."""
        if mono - self._last_checkpoint < CHECKPOINT_PERIOD_NS:
            return False
        self.checkpoint(mono)
        return True

    def checkpoint(self, mono: int, *, closing: bool = False) -> Checkpoint:
        """Flush everything recorded so far and sign it. Raises LogError, LogFull."""
        if self._session_key is None:
            raise LogError(f"{self.path} is closed")
        self._last_checkpoint = mono
        mono = max(mono, self.newest.mono) if self.newest else mono  # like log times, never backward
        if self._chunk.records:
            self._end_chunk(self._compression)
        # The channel's own Schema and Channel records must be inside what is signed, not beside the note.
        key = (session.CHECKPOINT_TOPIC, session.CHECKPOINT_TYPE)
        if key not in self._channels:
            self._open_channel(*key)
            self._end_chunk(False)
        made = Checkpoint(
            session=self.info.session.hex(), site=self.info.site, size=self._chain.size, root=self._chain.tree.root(),
            chain=self._chain.head, file_bytes=self._offset, file_hash=self._hash.copy().digest(), mono=mono,
            prev=self.newest.digest() if self.newest else b"", closed=closing,
        )  # fmt: skip
        note = sign(made, self._session_key)
        fields = {"schema_version": 1, "stamp_mono": mono, "size": made.size, "note": note}
        self.write(*key, fields, mono)
        self._end_chunk(False)  # plain, so that every byte of it follows from its content
        self.newest, self.newest_note = made, note
        self.flush()
        return made

    def flush(self) -> None:
        """Hand waiting bytes to the kernel. Raises LogFull (and keeps them) when the disk takes no more."""
        while self._waiting:
            try:
                written = os.write(self._file, self._waiting)
            except OSError as error:
                raise LogFull(f"{self.path}: {error.strerror}; {len(self._waiting)} bytes wait") from error
            del self._waiting[:written]

    def fileno(self) -> int:
        """For os.fdatasync, which the recorder does in a thread of its own."""
        return self._file

    def close(self, mono: int, reason: str) -> None:
        """Clean end: LogClose, last checkpoint, summary. The session key is gone afterwards. Raises LogFull."""
        if self._session_key is None:
            return
        fields = {
            "schema_version": 1, "stamp_mono": mono, "reason": reason, "messages": self.messages, "dropped": self.dropped,
        }  # fmt: skip
        self.write(session.CLOSE_TOPIC, session.CLOSE_TYPE, fields, mono)
        self.checkpoint(mono, closing=True)
        self._session_key = None
        self._append_file(self._summary.tail(self._offset, self._crc))
        self.flush()
        os.fsync(self._file)
        os.close(self._file)

    def _open_channel(self, topic: str, msg_type: str) -> int:
        schema_id = self._schemas.get(msg_type)
        if schema_id is None:
            content = container.schema_content(len(self._schemas) + 1, msg_type, self.types.bundle(msg_type))
            schema_id = self._schemas[msg_type] = len(self._schemas) + 1
            self._summary.schemas.append(content)
            self._chain.append(container.SCHEMA, content)
            self._chunk.add(container.SCHEMA, content)
        channel_id = self._channels[(topic, msg_type)] = len(self._channels) + 1
        content = container.channel_content(channel_id, schema_id, topic, {"offered_qos_profiles": ""})
        self._summary.channels.append(content)
        self._chain.append(container.CHANNEL, content)
        self._chunk.add(container.CHANNEL, content)
        return channel_id

    def _end_chunk(self, compressed: bool) -> None:
        plain = self._chunk.records
        stored: bytes | bytearray = plain
        compression = ""
        if compressed:
            stored, compression = compress(plain), "zstd"
        data, entry = self._chunk.file_bytes(self._offset, compression, stored)
        self._summary.chunks.append(entry)
        self._append_file(data)
        self._chunk = container.PlainChunk()

    def _append_file(self, data: bytes) -> None:
        self._hash.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._offset += len(data)
        self._waiting += data
        with suppress(LogFull):  # the bytes wait; checkpoint(), flush() and close() are where the caller hears of it
            self.flush()
