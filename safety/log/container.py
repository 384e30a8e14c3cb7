"""The MCAP records this log writes, as bytes (mcap.dev/spec, version 0), and how to take them apart again.

Why not `mcap.writer`: the verifier must be able to say of *every* byte of a file whether it is the one the writer would
have put there (chunk heads, message indexes, summary, footer). So these bytes are defined here, in one place, for
both; any other reader (mcap, rosbags, Foxglove) reads them as ordinary MCAP, which the tests check.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
CHUNK, MESSAGE_INDEX, CHUNK_INDEX = b"\x06", b"\x07", b"\x08"
STATISTICS, SUMMARY_OFFSET, DATA_END = b"\x0b", b"\x0e", b"\x0f"
PROFILE = "ros2"
LIBRARY = "longhand-log 1"
#: Largest record the writer accepts and the reader looks at, bytes. Bounds what a damaged length can make us read.
MAX_RECORD = 64 << 20

_HEAD = struct.Struct("<cQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")


class ContainerError(ValueError):
    """Bytes that are not the record they claim to be."""


def record(opcode: bytes, content: bytes | bytearray | memoryview) -> bytes:
    """Opcode, length, content."""
    return _HEAD.pack(opcode, len(content)) + content


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def header_content() -> bytes:
    return string(PROFILE) + string(LIBRARY)


def schema_content(schema_id: int, name: str, text: str) -> bytes:
    data = text.encode()
    return struct.pack("<H", schema_id) + string(name) + string("ros2msg") + struct.pack("<I", len(data)) + data


def channel_content(channel_id: int, schema_id: int, topic: str, metadata: Mapping[str, str]) -> bytes:
    pairs = b"".join(string(k) + string(v) for k, v in metadata.items())
    return struct.pack("<HH", channel_id, schema_id) + string(topic) + string("cdr") + struct.pack("<I", len(pairs)) + pairs


def message_content(channel_id: int, sequence: int, log_time: int, publish_time: int, data: bytes) -> bytes:
    return _MESSAGE.pack(channel_id, sequence & 0xFFFFFFFF, log_time, publish_time) + data


def chunk_content(
    start: int, end: int, records: bytes | bytearray | memoryview, compression: str, stored: bytes | bytearray | memoryview
) -> bytes:
    """records: the plain bytes; stored: what goes to the file (the same, or compressed)."""
    return (
        _CHUNK.pack(start, end, len(records), zlib.crc32(records))
        + string(compression)
        + struct.pack("<Q", len(stored))
        + stored
    )


def message_index_content(channel_id: int, entries: Iterable[tuple[int, int]]) -> bytes:
    data = b"".join(struct.pack("<QQ", t, o) for t, o in entries)
    return struct.pack("<HI", channel_id, len(data)) + data


@dataclass(slots=True)
class ChunkEntry:
    """What the summary says about one chunk. start, end: log time; index: channel id -> file offset of its MessageIndex."""

    start: int
    end: int
    offset: int
    length: int
    index: dict[int, int]
    index_length: int
    compression: str
    stored_size: int
    plain_size: int

    def content(self) -> bytes:
        table = b"".join(struct.pack("<HQ", c, o) for c, o in self.index.items())
        return (
            struct.pack("<QQQQ", self.start, self.end, self.offset, self.length)
            + struct.pack("<I", len(table)) + table
            + struct.pack("<Q", self.index_length) + string(self.compression)
            + struct.pack("<QQ", self.stored_size, self.plain_size)
        )  # fmt: skip


class ChunkTable:
    """The chunk entries of a log as bytes, older ones compressed: a log of an operation's length has a hundred thousand, which
    as objects would be some 13 MB more for every hour of the recorder's life."""

    BLOCK = 64 << 10

    def __init__(self) -> None:
        self._count = 0
        self._blocks: list[bytes] = []
        self._open = bytearray()

    def append(self, entry: ChunkEntry) -> None:
        content = entry.content()
        self._open += struct.pack("<I", len(content)) + content
        self._count += 1
        if len(self._open) >= self.BLOCK:
            self._blocks.append(zlib.compress(self._open, 1))
            self._open = bytearray()

    def __len__(self) -> int:
        return self._count

    def contents(self) -> Iterator[bytes]:
        """What stands in the summary, in order."""
        for block in (*map(zlib.decompress, self._blocks), bytes(self._open)):
            at = 0
            while at < len(block):
                (length,) = struct.unpack_from("<I", block, at)
                yield block[at + 4 : at + 4 + length]
                at += 4 + length


@dataclass(slots=True)
class Summary:
    """Everything behind the data section follows from this."""

    schemas: list[bytes] = field(default_factory=list)  # contents, in id order
    channels: list[bytes] = field(default_factory=list)
    chunks: ChunkTable = field(default_factory=ChunkTable)
    counts: dict[int, int] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def tail(self, position: int, data_crc: int) -> bytes:
        """DataEnd, summary, summary offsets, footer, magic for a data section that ends at `position`."""
        out = bytearray(record(DATA_END, struct.pack("<I", data_crc)))
        summary_start = position + len(out)
        groups: list[tuple[bytes, int, int]] = []

        def group(opcode: bytes, contents: Iterable[bytes]) -> None:
            begin = position + len(out)
            for content in contents:
                out.extend(record(opcode, content))
            if position + len(out) > begin:
                groups.append((opcode, begin, position + len(out) - begin))

        group(SCHEMA, self.schemas)
        group(CHANNEL, self.channels)
        counts = b"".join(struct.pack("<HQ", c, n) for c, n in sorted(self.counts.items()))
        statistics = struct.pack(
            "<QHIIIIQQI", sum(self.counts.values()), len(self.schemas), len(self.channels), 0, 0, len(self.chunks),
            self.start, self.end, len(counts),
        ) + counts  # fmt: skip
        group(STATISTICS, [statistics])
        group(CHUNK_INDEX, self.chunks.contents())
        offset_start = position + len(out)
        for opcode, begin, length in groups:
            out += record(SUMMARY_OFFSET, opcode + struct.pack("<QQ", begin, length))
        footer_head = _HEAD.pack(FOOTER, 20) + struct.pack("<QQ", summary_start, offset_start)
        crc = zlib.crc32(memoryview(out)[summary_start - position :])
        out += footer_head + struct.pack("<I", zlib.crc32(footer_head, crc)) + MAGIC
        return bytes(out)


class PlainChunk:
    """Records gathered for the next chunk, and the index of its messages."""

    __slots__ = ("end", "index", "records", "start")

    def __init__(self) -> None:
        self.records = bytearray()
        self.index: dict[int, list[tuple[int, int]]] = {}
        self.start = 0
        self.end = 0

    def add(self, opcode: bytes, content: bytes) -> None:
        """Append a Schema or Channel record."""
        self.records += _HEAD.pack(opcode, len(content))
        self.records += content

    def add_message(self, channel_id: int, log_time: int, content: bytes) -> None:
        """Append a Message record."""
        if not self.index:
            self.start = log_time
        self.end = log_time  # the writer's log time never runs backward
        self.index.setdefault(channel_id, []).append((log_time, len(self.records)))
        self.records += _HEAD.pack(MESSAGE, len(content))
        self.records += content

    def file_bytes(
        self, offset: int, compression: str, stored: bytes | bytearray | memoryview,
        plain: bytes | bytearray | memoryview | None = None,
    ) -> tuple[bytes, ChunkEntry]:  # fmt: skip
        """The Chunk record and its MessageIndex records as they stand in the file at `offset`, and the summary entry.

        plain: the records, where they were not gathered here (the verifier has them already)."""
        records = self.records if plain is None else plain
        chunk = record(CHUNK, chunk_content(self.start, self.end, records, compression, stored))
        out = bytearray(chunk)
        table: dict[int, int] = {}
        for channel_id, entries in self.index.items():
            table[channel_id] = offset + len(out)
            out += record(MESSAGE_INDEX, message_index_content(channel_id, entries))
        entry = ChunkEntry(
            self.start, self.end, offset, len(chunk), table, len(out) - len(chunk), compression, len(stored),
            len(records),
        )  # fmt: skip
        return bytes(out), entry


# Reading


def read_head(data: memoryview | bytes, position: int) -> tuple[bytes, int]:
    """Opcode and content length at `position`. Raises ContainerError when the head is cut or absurdly long."""
    if position + 9 > len(data):
        raise ContainerError("record head cut off")
    opcode, length = _HEAD.unpack_from(data, position)
    if length > MAX_RECORD:
        raise ContainerError(f"record of {length} bytes claimed, at most {MAX_RECORD} allowed")
    return opcode, length


def iterate(data: memoryview | bytes) -> Iterator[tuple[bytes, int, memoryview]]:
    """(opcode, offset, content) of the records in a plain chunk. Raises ContainerError."""
    view = memoryview(data)
    position, size, unpack = 0, len(view), _HEAD.unpack_from
    while position < size:
        if position + 9 > size:
            raise ContainerError(f"record head cut off at {position}")
        opcode, length = unpack(view, position)
        begin = position + 9
        if begin + length > size:
            raise ContainerError(f"record at {position} of {length} bytes runs over the end of its chunk")
        yield opcode, position, view[begin : begin + length]
        position = begin + length


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """Fields of a Chunk record. stored: view of the bytes in the file."""

    start: int
    end: int
    plain_size: int
    crc: int
    compression: str
    stored: memoryview


def parse_chunk(content: memoryview) -> ChunkHead:
    """Raises ContainerError on a malformed chunk head."""
    try:
        start, end, plain, crc = _CHUNK.unpack_from(content)
        compression, position = parse_string(content, _CHUNK.size)
        (length,) = struct.unpack_from("<Q", content, position)
    except struct.error as error:
        raise ContainerError(f"chunk head: {error}") from error
    stored = content[position + 8 :]
    if len(stored) != length:
        raise ContainerError(f"chunk holds {len(stored)} bytes, says {length}")
    if plain > MAX_RECORD:
        raise ContainerError(f"chunk claims {plain} plain bytes, at most {MAX_RECORD} allowed")
    return ChunkHead(start, end, plain, crc, compression, stored)


def parse_string(data: memoryview, position: int) -> tuple[str, int]:
    """String and the position behind it. Raises ContainerError."""
    if position + 4 > len(data):
        raise ContainerError("string cut off")
    (length,) = struct.unpack_from("<I", data, position)
    end = position + 4 + length
    if end > len(data):
        raise ContainerError("string cut off")
    try:
        return str(data[position + 4 : end], "utf-8"), end
    except UnicodeDecodeError as error:
        raise ContainerError("string is not UTF-8") from error


def parse_schema(content: memoryview) -> tuple[int, str, str]:
    """(id, name, text). Raises ContainerError."""
    if len(content) < 2:
        raise ContainerError("schema record too short")
    (schema_id,) = struct.unpack_from("<H", content)
    name, position = parse_string(content, 2)
    _encoding, position = parse_string(content, position)
    text, _ = parse_string(content, position)
    return schema_id, name, text


def parse_channel(content: memoryview) -> tuple[int, int, str]:
    """(id, schema id, topic). Raises ContainerError."""
    if len(content) < 4:
        raise ContainerError("channel record too short")
    channel_id, schema_id = struct.unpack_from("<HH", content)
    topic, _ = parse_string(content, 4)
    return channel_id, schema_id, topic


def parse_message(content: memoryview) -> tuple[int, int, int, int, memoryview]:
    """(channel id, sequence, log time, publish time, payload). Raises ContainerError."""
    if len(content) < _MESSAGE.size:
        raise ContainerError("message record too short")
    channel_id, sequence, log_time, publish_time = _MESSAGE.unpack_from(content)
    return channel_id, sequence, log_time, publish_time, content[_MESSAGE.size :]
