"""Reading a session log, whole or cut: messages by topic and time, without loading what is not asked for.

Uses the summary at the end when it is there and sound, else walks the chunks once. Reads; `verify` judges: who reports to
people verifies first.
"""

import mmap
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from safety.log import container, session
from safety.log.cdr import TypeStore
from safety.log.compress import CompressError, decompress
from safety.log.walk import PREFIX, NotALog


@dataclass(frozen=True, slots=True)
class Message:
    """One message. mono: arrival at the recorder, publish_mono: when its source made it (ns, robot monotonic clock);
    index: ordinal of the record in the file."""

    topic: str
    msg_type: str
    mono: int
    publish_mono: int
    index: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class _Chunk:
    offset: int  # of the Chunk record
    length: int
    start: int  # log time
    end: int
    channels: frozenset[int]


class LogReader:
    """Open log. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Raises NotALog (empty, foreign, cut inside its header, another version), OSError."""
        self.path = Path(path)
        self.types = TypeStore()
        self.schemas: dict[int, str] = {}
        self.channels: dict[int, tuple[str, str]] = {}  # id -> topic, type
        self._chunks: list[_Chunk] = []
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                raise NotALog(f"{path}: the file is empty")
            self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        try:
            if self._data[: len(PREFIX)] != PREFIX:
                raise NotALog(f"{path}: does not begin like a Longhand session log (MCAP, profile ros2)")
            self.complete = self._read_summary()
            if not self.complete:
                self._scan()
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise
        self._shift = int(self.header["utc"]) - int(self.header["stamp_mono"])  # log time minus mono

    def close(self) -> None:
        """Let go of the file. Payloads handed out stay readable until they are dropped."""
        self._data = memoryview(b"")

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def start(self) -> int:
        """First instant, mono ns."""
        return int(self.header["stamp_mono"])

    @property
    def end(self) -> int:
        """Last instant, mono ns."""
        return max((c.end for c in self._chunks), default=0) - self._shift

    @property
    def topics(self) -> dict[str, str]:
        """topic -> message type."""
        return dict(self.channels.values())

    def utc(self, mono: int) -> int:
        """UTC estimate (ns) of an instant: the clock at opening carried on by the monotonic clock."""
        return mono + self._shift

    def decode(self, message: Message) -> dict[str, Any]:
        """Fields of a message, by the definition stored in the file. Raises CdrError."""
        return self.types.decode(message.msg_type, message.payload)

    def messages(
        self, topics: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[Message]:
        """Messages of `topics` (None: all) with start <= mono < end, in the order they were recorded.

        Raises ContainerError, CompressError on a damaged chunk."""
        wanted = {c for c, (topic, _) in self.channels.items() if topics is None or topic in topics}
        low = None if start is None else start + self._shift
        high = None if end is None else end + self._shift
        first = 0 if low is None else bisect_left(self._ends(), low)
        for chunk in self._chunks[first:]:
            if high is not None and chunk.start >= high and chunk.channels:
                break
            if wanted.isdisjoint(chunk.channels):
                continue
            for opcode, _, content in container.iterate(self._plain(chunk)):
                if opcode != container.MESSAGE:
                    continue
                channel_id, sequence, log_time, publish_time, payload = container.parse_message(content)
                if channel_id not in wanted or (low is not None and log_time < low):
                    continue
                if high is not None and log_time >= high:
                    break
                topic, msg_type = self.channels[channel_id]
                yield Message(
                    topic, msg_type, log_time - self._shift, publish_time - self._shift, sequence, payload
                )

    def last_before(self, topic: str, mono: int) -> Message | None:
        """The newest message of a topic at or before an instant."""
        wanted = {c for c, (t, _) in self.channels.items() if t == topic}
        limit = mono + self._shift
        for index in range(min(bisect_right(self._ends(), limit), len(self._chunks) - 1), -1, -1):
            chunk = self._chunks[index]
            if chunk.start > limit or wanted.isdisjoint(chunk.channels):
                continue
            found: Message | None = None
            for opcode, _, content in container.iterate(self._plain(chunk)):
                if opcode == container.MESSAGE:
                    channel_id, sequence, log_time, publish_time, payload = container.parse_message(content)
                    if channel_id in wanted and log_time <= limit:
                        found = Message(*self.channels[channel_id], log_time - self._shift,
                                        publish_time - self._shift, sequence, payload)  # fmt: skip
            if found is not None:
                return found
        return None

    def _ends(self) -> list[int]:
        ends = getattr(self, "_ends_cache", None)
        if ends is None:
            # A chunk without messages says 0; it must not break the order that bisect needs.
            ends, newest = [], 0
            for chunk in self._chunks:
                newest = max(newest, chunk.end)
                ends.append(newest)
            self._ends_cache: list[int] = ends
        return ends

    def _plain(self, chunk: _Chunk) -> memoryview | bytes:
        head = container.parse_chunk(self._data[chunk.offset + 9 : chunk.offset + chunk.length])
        return decompress(head.stored, head.compression, head.plain_size)

    def _read_header(self) -> dict[str, Any]:
        wanted = {c for c, (topic, _) in self.channels.items() if topic == session.HEADER_TOPIC}
        for chunk in self._chunks[:4]:
            for opcode, _, content in container.iterate(self._plain(chunk)):
                if opcode == container.MESSAGE:
                    channel_id, _, _, _, payload = container.parse_message(content)
                    if channel_id in wanted:
                        header = self.types.decode(session.HEADER_TYPE, payload)
                        if header["schema_version"] != session.HEADER_VERSION:
                            raise NotALog(
                                f"{self.path}: log header of version {header['schema_version']}; "
                                f"this program reads version {session.HEADER_VERSION}"
                            )
                        return header
        raise NotALog(f"{self.path}: holds no session header: nothing was recorded, or it is no log of this project")

    def _learn(self, opcode: bytes, content: memoryview) -> None:
        if opcode == container.SCHEMA:
            schema_id, name, text = container.parse_schema(content)
            self.schemas[schema_id] = name
            self.types.add_bundle(name, text)
        elif opcode == container.CHANNEL:
            channel_id, schema_id, topic = container.parse_channel(content)
            self.channels[channel_id] = (topic, self.schemas.get(schema_id, ""))

    def _read_summary(self) -> bool:
        """True when the summary was there and read."""
        data = self._data
        foot = len(data) - len(container.MAGIC) - 29
        if foot < len(PREFIX) or data[-len(container.MAGIC) :] != container.MAGIC:
            return False
        opcode, length, start, offsets, _ = struct.unpack_from("<cQQQI", data, foot)
        if opcode != container.FOOTER or length != 20 or not len(PREFIX) <= start <= offsets <= foot:
            return False
        try:
            for kind, _, content in container.iterate(data[start:offsets]):
                if kind == container.CHUNK_INDEX:
                    begin, end, offset, size, table = struct.unpack_from("<QQQQI", content)
                    if offset + size > start:
                        raise container.ContainerError("chunk index points behind the data")
                    ids = frozenset(struct.unpack("<" + "H8x" * (table // 10), content[36 : 36 + table]))
                    self._chunks.append(_Chunk(offset, size, begin, end, ids))
                else:
                    self._learn(kind, content)
        except (container.ContainerError, struct.error):
            self._chunks.clear()
            return False
        return True

    def _scan(self) -> None:
        """Find chunks by walking; stops at the first thing that is none (the cut)."""
        data, position = self._data, len(PREFIX)
        self.schemas.clear()
        self.channels.clear()
        while position + 9 <= len(data):
            try:
                opcode, length = container.read_head(data, position)
                if position + 9 + length > len(data):
                    break
                if opcode == container.CHUNK:
                    self._scan_chunk(position, 9 + length)
                elif opcode != container.MESSAGE_INDEX:
                    break
            except (container.ContainerError, CompressError):
                break
            position += 9 + length

    def _scan_chunk(self, offset: int, length: int) -> None:
        head = container.parse_chunk(self._data[offset + 9 : offset + length])
        ids: set[int] = set()
        for opcode, _, content in container.iterate(decompress(head.stored, head.compression, head.plain_size)):
            if opcode == container.MESSAGE:
                ids.add(container.parse_message(content)[0])
            else:
                self._learn(opcode, content)
        self._chunks.append(_Chunk(offset, length, head.start, head.end, frozenset(ids)))
