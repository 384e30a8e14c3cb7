"""Encoding of command frames. The only decoder is the gate's own (`safety.decode`): one reader, one meaning."""

import msgpack

from safety.command import COMMAND_MAX_BYTES, Command


def encode_command(command: Command) -> bytes:
    """The msgpack map of a command. Raises ValueError if it exceeds COMMAND_MAX_BYTES (a name or hash is too long)."""
    raw: bytes = msgpack.packb(command.to_wire())
    if len(raw) > COMMAND_MAX_BYTES:
        raise ValueError(f"command frame of {len(raw)} B, at most {COMMAND_MAX_BYTES} B: shorten site or arm name")
    return raw
