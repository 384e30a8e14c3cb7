"""One pass over one log file that rebuilds, byte by byte, what the writer must have written, and stops where it differs.

Every byte is accounted for: records pass the hash chain, each checkpoint signs the hash of the file up to itself; checkpoint
chunks, message indexes, summary and footer must be the bytes that follow from the records.
"""

import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from safety.log import container, session
from safety.log.cdr import CdrError, TypeStore
from safety.log.chain import RecordChain
from safety.log.checkpoint import Checkpoint, CheckpointError, check, check_signature_line, key_name, parse
from safety.log.compress import CompressError, decompress

PREFIX = container.MAGIC + container.record(container.HEADER, container.header_content())
_OWN = {
    session.HEADER_TOPIC: session.HEADER_TYPE,
    session.CHECKPOINT_TOPIC: session.CHECKPOINT_TYPE,
    session.PEER_TOPIC: session.PEER_TYPE,
    session.CLOSE_TOPIC: session.CLOSE_TYPE,
    session.GAP_TOPIC: session.GAP_TYPE,
}


#: An Ed25519 public key (32 bytes) that may sign any log, or one that may sign the logs of one site: (site, key).
Trusted = bytes | tuple[str, bytes]


class NotALog(ValueError):
    """The file is no session log of this version: nothing can be said about tampering. The message says why."""


class Bad(Exception):
    """The first byte that is not as written. cut: as far as this byte alone tells, the file merely ends."""

    def __init__(self, byte: int, what: str, *, cut: bool = False) -> None:
        super().__init__(what)
        self.byte, self.what, self.cut = byte, what, cut


@dataclass(slots=True)
class PeerSeen:
    """A checkpoint of another site as this log recorded it. digest: 32 bytes, or the first 8; note: its signed text, "" when
    only the hash was carried."""

    site: str
    digest: bytes
    mono: int
    record: int
    note: str = ""


class Walk:
    """State of the pass; after `run` (or the Bad it raised) the attributes hold what was found good."""

    def __init__(self, data: memoryview, trusted: frozenset[Trusted] = frozenset()) -> None:
        """data: the whole file. trusted: keys to accept (empty: any, which proves less)."""
        self.data = data
        self.trusted = trusted
        self.types = TypeStore()
        self.chain = RecordChain()
        self.header: dict[str, Any] | None = None
        self.schemas: dict[int, str] = {}
        self.channels: dict[int, str] = {}  # id -> topic
        self.summary = container.Summary()
        self.messages = 0
        self.first_mono = self.last_mono = 0
        self.checkpoints = 0
        self.newest: Checkpoint | None = None
        self.digests: dict[bytes, int] = {}  # checkpoint digest -> records it vouches for
        self.peers: list[PeerSeen] = []
        self.gaps = self.dropped = 0
        self.close: dict[str, Any] | None = None
        self._own: dict[int, str] = {}  # channel id -> topic of a record this log writes about itself
        self._last_log_time = 0
        self._hash = sha256()
        self._hashed = 0
        self._before_checkpoint: tuple[int, bytes, bytes] | None = None
        self._note: dict[str, Any] | None = None

    def run(self) -> None:
        """Walk to the end. Raises Bad at the first byte that is not as written, NotALog."""
        data = self.data
        if bytes(data[: len(PREFIX)]) != PREFIX:
            raise NotALog("does not begin like a Longhand session log (MCAP, profile ros2, longhand-log 1)")
        position = len(PREFIX)
        while self.newest is None or not self.newest.closed:
            position = self._chunk(position)
        expected = self.summary.tail(position, zlib.crc32(data[:position]))
        rest = data[position:]
        if rest != expected:
            at = _first_difference(rest, expected)
            if at == len(rest):
                raise Bad(position + at, "cut off behind the closing checkpoint: the records are complete", cut=True)
            raise Bad(position + at, "index and summary at the end of the file are not those of its records")

    def _need(self, begin: int, count: int, what: str) -> None:
        if begin + count > len(self.data):
            raise Bad(begin, f"{what} cut off", cut=True)

    def _chunk(self, begin: int) -> int:
        """Check the chunk at `begin` and its message indexes; returns the position behind them."""
        data = self.data
        self._need(begin, 9, "record")
        try:
            opcode, length = container.read_head(data, begin)
            if opcode != container.CHUNK:
                raise Bad(begin, f"a record of kind 0x{opcode.hex()} where a chunk belongs")
            self._need(begin, 9 + length, "chunk")
            head = container.parse_chunk(data[begin + 9 : begin + 9 + length])
            plain = decompress(head.stored, head.compression, head.plain_size)
            if zlib.crc32(plain) != head.crc:
                raise Bad(begin, "the checksum of a chunk does not hold")
            chunk = self._records(plain, begin)
        except (container.ContainerError, CompressError, CdrError) as error:
            raise Bad(begin, str(error)) from error
        expected, entry = chunk.file_bytes(begin, head.compression, head.stored, plain)
        found = data[begin : begin + len(expected)]
        if found != expected:
            at = _first_difference(found, expected)
            raise Bad(
                begin + at, "a chunk head or message index is not that of its records", cut=begin + at == len(data)
            )
        self.summary.chunks.append(entry)
        if self._note is not None:
            if head.compression or self.messages_in_chunk != 1:
                raise Bad(begin, "a checkpoint must stand alone in a plain chunk")
            self._checkpoint(begin)
        return begin + len(expected)

    def _records(self, plain: bytes | memoryview, begin: int) -> container.PlainChunk:
        chunk = container.PlainChunk()
        index, counts = chunk.index, self.summary.counts
        chain, own, channels = self.chain, self._own, self.channels
        messages = 0
        for opcode, offset, content in container.iterate(plain):
            if opcode == container.MESSAGE:
                channel_id, sequence, log_time, _, payload = container.parse_message(content)
                if channel_id not in channels:
                    raise Bad(begin, f"record {chain.size}: its channel {channel_id} was never opened")
                if sequence != chain.size & 0xFFFFFFFF:
                    raise Bad(begin, f"record {chain.size} carries the number {sequence}: deleted, inserted or moved")
                if log_time < self._last_log_time:
                    raise Bad(begin, f"record {chain.size}: the clock runs backward")
                self._last_log_time = log_time
                entries = index.get(channel_id)
                if entries is None:
                    if not index:
                        chunk.start = log_time
                    entries = index[channel_id] = []
                entries.append((log_time, offset))
                chunk.end = log_time
                counts[channel_id] = counts.get(channel_id, 0) + 1
                messages += 1
                topic = own.get(channel_id)
                if self.header is None and topic != session.HEADER_TOPIC:
                    raise NotALog("its first message is not a session header")
                if self.close is not None and topic != session.CHECKPOINT_TOPIC:
                    raise Bad(begin, f"record {chain.size}: a message behind the close record")
                if topic is not None:
                    self._own_record(topic, payload, begin)
            elif opcode == container.SCHEMA:
                self._schema(content, begin)
            elif opcode == container.CHANNEL:
                self._channel(content, begin)
            else:
                raise Bad(begin, f"a record of kind 0x{opcode.hex()} inside a chunk")
            chain.append(opcode, content)
        if messages:
            if not self.messages:
                self.summary.start = chunk.start
            self.summary.end = chunk.end
        self.messages += messages
        self.messages_in_chunk = messages
        return chunk

    messages_in_chunk: int = 0

    def _schema(self, content: memoryview, begin: int) -> None:
        schema_id, name, text = container.parse_schema(content)
        if schema_id != len(self.schemas) + 1:
            raise Bad(begin, f"schema number {schema_id} out of order")
        self.schemas[schema_id] = name
        self.types.add_bundle(name, text)  # the file's own texts: an older log explains itself
        self.summary.schemas.append(bytes(content))

    def _channel(self, content: memoryview, begin: int) -> None:
        channel_id, schema_id, topic = container.parse_channel(content)
        if channel_id != len(self.channels) + 1 or schema_id not in self.schemas:
            raise Bad(begin, f"channel number {channel_id} out of order")
        self.channels[channel_id] = topic
        if topic in _OWN:
            if self.schemas[schema_id] != _OWN[topic] or topic in self._own.values():
                raise Bad(begin, f"channel {topic} opened twice or with type {self.schemas[schema_id]}")
            self._own[channel_id] = topic
        self.summary.channels.append(bytes(content))

    def _own_record(self, topic: str, payload: memoryview, begin: int) -> None:
        fields = self.types.decode(_OWN[topic], payload)
        self.last_mono = fields["stamp_mono"]
        if topic == session.CHECKPOINT_TOPIC:
            self._note = fields
            self._before_checkpoint = (self.chain.size, self.chain.tree.root(), self.chain.head)
        elif topic == session.HEADER_TOPIC:
            self._start(fields, begin)
        elif topic == session.GAP_TOPIC:
            self.gaps += 1
            self.dropped += fields["dropped"]
        elif topic == session.CLOSE_TOPIC:
            self.close = fields
        elif topic == session.PEER_TOPIC:
            self._peer(fields, begin)

    def _start(self, header: dict[str, Any], begin: int) -> None:
        if self.header is not None:
            raise Bad(begin, f"record {self.chain.size}: a second session header")
        if header["schema_version"] != session.HEADER_VERSION:
            raise NotALog(
                f"log header of version {header['schema_version']}; this program reads version {session.HEADER_VERSION}"
            )
        self.header = header
        self.first_mono = header["stamp_mono"]
        try:
            session.check_header(header, self.types)
        except session.HeaderError as error:
            raise Bad(begin, str(error)) from error
        own = header["site_public_key"]
        if self.trusted and own not in self.trusted and (header["site"], own) not in self.trusted:
            key = header["site_public_key"].hex()
            raise Bad(begin, f"signed by site key {key[:16]}..., which is not one of the keys to be trusted for {header['site']}")

    def _peer(self, fields: dict[str, Any], begin: int) -> None:
        assert self.header is not None
        self.peers.append(PeerSeen(fields["site"], fields["checkpoint_hash"], fields["stamp_mono"], self.chain.size, fields["note"]))
        if not fields["note"]:
            return
        try:
            foreign, _ = parse(fields["note"])
            name = key_name(self.header["session"], self.header["site"])
            check_signature_line(fields["cosignature"], foreign.text(), name, self.header["session_public_key"])
        except CheckpointError as error:
            raise Bad(begin, f"record {self.chain.size}, co-signature of a peer's checkpoint: {error}") from error

    def _checkpoint(self, begin: int) -> None:
        assert self.header is not None and self._note is not None and self._before_checkpoint is not None
        previous = self.newest
        try:
            made = check(self._note["note"], self.header["session_public_key"])
        except CheckpointError as error:
            raise Bad(begin, f"checkpoint: {error}") from error
        self._hash.update(self.data[self._hashed : begin])
        self._hashed = begin
        size, root, chain = self._before_checkpoint
        what = ""
        if (made.session, made.site) != (self.header["session"], self.header["site"]):
            what = f"a checkpoint of another log (session {made.session[:8]}, site {made.site})"
        elif made.prev != (previous.digest() if previous else b""):
            what = "a checkpoint does not follow the one before it"
        elif made.size != size or self._note["size"] != size:
            what = f"a checkpoint vouches for {made.size} records where {size} precede it"
        elif made.mono != self._note["stamp_mono"] or (previous is not None and made.mono < previous.mono):
            what = "the clock of the checkpoints runs backward"
        elif (made.root, made.chain) != (root, chain):
            what = "the records before this checkpoint are not those that were signed"
        elif (made.file_bytes, made.file_hash) != (begin, self._hash.copy().digest()):
            what = "the bytes before this checkpoint are not those that were signed"
        elif made.closed != (self.close is not None):
            what = "close record and closing checkpoint do not belong together"
        if what:
            since = previous.file_bytes if previous else 0
            raise Bad(since, f"{what} (between byte {since} and {begin})")
        self.checkpoints += 1
        self.digests[made.digest()] = made.size
        self.newest, self._note = made, None


def _first_difference(a: memoryview, b: bytes) -> int:
    """Index of the first differing byte, or the length of the shorter."""
    size = min(len(a), len(b))
    low, high = 0, size  # bisect on equality of prefixes: the summary of a long log is megabytes
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
