"""A copy of a log for sharing: plain MCAP without people in it.

Left out: sealed and free texts, the header's configuration, keys and roles, screen actions, clock estimates. Replaced: holder
names and keys by letters, the case id by nothing, UTC by a clock that begins at zero, in ROS headers too.
It proves nothing by itself; the digest of the original's
last checkpoint is in its metadata, so that its owner can show what it was made from.
"""

from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from safety.log.reader import LogReader
from safety.log.session import CHECKPOINT_TOPIC

#: What may be shared, and the text fields that go.
TOPICS = {
    "arm_state": (), "arm_state_block": (), "link/stats": (), "tracker": (), "log/second": ("holder",),
    "log/gap": (), "governor/alarm": ("who",), "governor/change": (), "case/events": ("detail",),
}  # fmt: skip
_PEOPLE = ("holder", "holder_name", "who", "by")


def export(log: LogReader, out: Path) -> int:
    """Write `out` (must not exist); returns the number of messages. Raises OSError."""
    letters: dict[str, str] = {}

    def letter(name: str) -> str:
        return letters.setdefault(name, f"person {chr(65 + len(letters) % 26)}") if name else ""

    count = 0
    last = log.last_before(CHECKPOINT_TOPIC, log.end)
    with open(out, "xb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start("ros2", "longhand export")
        channels: dict[str, int] = {}
        for message in log.messages([t for t in TOPICS if t in log.topics]):
            channel = channels.get(message.topic)
            if channel is None:
                schema = writer.register_schema(message.msg_type, "ros2msg", log.types.bundle(message.msg_type).encode())
                channel = channels[message.topic] = writer.register_channel(message.topic, "cdr", schema)
            data = bytes(message.payload)
            fields = log.decode(message)
            at = message.mono - log.start
            if any(name in fields for name in ("header", *_PEOPLE, *TOPICS[message.topic])):
                clean: dict[str, Any] = {**fields, **{n: letter(str(fields[n])) for n in _PEOPLE if n in fields}}
                clean.update({n: "" for n in TOPICS[message.topic] if n not in _PEOPLE})
                if "header" in fields:
                    clean["header"] = {**fields["header"], "stamp": {"sec": at // 10**9, "nanosec": at % 10**9}}
                data = log.types.encode(message.msg_type, clean)
            writer.add_message(channel, at, data, at, count & 0xFFFFFFFF)
            count += 1
        note = log.decode(last)["note"] if last is not None else ""
        writer.add_metadata("longhand-export", {
            "session": log.header["session"], "site": log.header["site"], "last_checkpoint": note.partition("\n\n")[0],
            "what": "pseudonymised copy; the original's signatures do not cover it",
        })  # fmt: skip
        writer.finish()
    return count
