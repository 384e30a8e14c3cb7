"""Everything the governor may see and say, as types, and as canonical msgpack for the log.

Canonical: a step's input is `[kind, field, field, ...]` in the order of the class, its outputs a list of the same form.
The same object always gives the same bytes (positional, shortest integers, float64, maps in the order they came), so a
replay may compare bytes. `now` is the robot's monotonic clock (ns) at dequeue: the only clock a decision sees.
"""

from dataclasses import dataclass, fields
from typing import Any

import msgpack

from safety.lease import ArmReport, MotionLease, StoredPath


@dataclass(frozen=True, slots=True)
class BootIn:
    """The first input: who we are, which epochs are ours, all parameters. fault: left by a former run, to be
    acknowledged.
    """

    now: int
    site: str
    arm: str
    session: bytes
    epoch_first: int
    epoch_last: int
    fault: str
    params: dict[str, Any]
    roles: tuple[tuple[str, str, tuple[str, ...]], ...]
    local_control: bool
    demo_qualification: bool


@dataclass(frozen=True, slots=True)
class CommandIn:
    """A command frame as received. key: authenticated CURVE key, or "local" from the adapter. path: 0 or 1."""

    now: int
    peer: str
    key: str
    path: int
    data: bytes


@dataclass(frozen=True, slots=True)
class OrderIn:
    """An order (docs/orders.md)."""

    now: int
    peer: str
    key: str
    id: int
    order: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StopIn:
    """A stop: from anybody, without id and without authority."""

    now: int
    peer: str
    key: str


@dataclass(frozen=True, slots=True)
class LinkIn:
    """The gateway's view of its paths, 10 Hz: maps with alive, rtt_ms, loss."""

    now: int
    paths: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PeerIn:
    """A peer of governor.sock came or went."""

    now: int
    role: str
    up: bool


@dataclass(frozen=True, slots=True)
class BeatIn:
    """A heartbeat. note: "" or, from the recorder, "gap", "disk_low", "disk_full"."""

    now: int
    role: str
    note: str


@dataclass(frozen=True, slots=True)
class ReportIn:
    """What the arm says of itself."""

    now: int
    report: ArmReport


@dataclass(frozen=True, slots=True)
class PathOkIn:
    """The arm took (or refused) a stored path."""

    now: int
    path_hash: bytes
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ArmIn:
    """The arm's socket came or went."""

    now: int
    up: bool


@dataclass(frozen=True, slots=True)
class RolesIn:
    """The role table was read again."""

    now: int
    entries: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class TickIn:
    """Time passes. late_ns: how late the governor woke. wall_step_ns: by how much the wall clock left the monotonic
    one.
    """

    now: int
    late_ns: int
    wall_step_ns: int


Input = (
    BootIn | CommandIn | OrderIn | StopIn | LinkIn | PeerIn | BeatIn | ReportIn | PathOkIn | ArmIn | RolesIn | TickIn
)


@dataclass(frozen=True, slots=True)
class LeaseOut:
    """To the arm: motion is permitted. why: what limits v_cap."""

    lease: MotionLease
    why: str


@dataclass(frozen=True, slots=True)
class PathOut:
    """To the arm: store this path."""

    path: StoredPath


@dataclass(frozen=True, slots=True)
class ForgetOut:
    """To the arm: forget every stored path."""


@dataclass(frozen=True, slots=True)
class HaltOut:
    """To the arm: decelerate now."""

    why: str


@dataclass(frozen=True, slots=True)
class FaultOut:
    """To the arm: decelerate, brakes, stay so until the restart."""

    why: str


@dataclass(frozen=True, slots=True)
class ClearOut:
    """To the arm: a person on site (or the holder, after a force hold) asks the drive to forget its latched fault."""


@dataclass(frozen=True, slots=True)
class VerdictOut:
    """To the bringer of a command."""

    peer: str
    key: str
    seq: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplyOut:
    """To the orderer."""

    peer: str
    key: str
    id: int
    ok: bool
    reason: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChangeOut:
    """The state changed. by: the key, or the input, that caused it."""

    old: str
    new: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class PersistOut:
    """Keep a fault ("" forgets it) across a restart."""

    fault: str


Output = LeaseOut | PathOut | ForgetOut | HaltOut | FaultOut | ClearOut | VerdictOut | ReplyOut | ChangeOut | PersistOut

_INPUTS: dict[str, type] = {
    "boot": BootIn, "command": CommandIn, "order": OrderIn, "stop": StopIn, "link": LinkIn, "peer": PeerIn,
    "beat": BeatIn, "report": ReportIn, "path_ok": PathOkIn, "arm": ArmIn, "roles": RolesIn, "tick": TickIn,
}  # fmt: skip
_OUTPUTS: dict[str, type] = {
    "lease": LeaseOut, "path": PathOut, "forget": ForgetOut, "halt": HaltOut, "fault": FaultOut, "clear": ClearOut,
    "verdict": VerdictOut, "reply": ReplyOut, "change": ChangeOut, "persist": PersistOut,
}  # fmt: skip
KIND_OF: dict[type, str] = {cls: kind for table in (_INPUTS, _OUTPUTS) for kind, cls in table.items()}
_FIELDS: dict[type, tuple[str, ...]] = {cls: tuple(f.name for f in fields(cls)) for cls in KIND_OF}
_NESTED: dict[str, type] = {"report": ArmReport, "lease": MotionLease, "path": StoredPath}
_packer = msgpack.Packer(use_bin_type=True)


def _row(item: Any) -> list[Any]:
    cls = type(item)
    values = [getattr(item, name) for name in _FIELDS[cls]]
    kind = KIND_OF[cls]
    if kind in _NESTED:
        values = [_flat(v) if type(v) is _NESTED[kind] else v for v in values]
    return [kind, *values]


def _flat(item: Any) -> list[Any]:
    """Fields of one flat record, without the deep copies of `dataclasses.astuple`."""
    return [getattr(item, f) for f in item.__slots__]


def encode_input(item: Input) -> bytes:
    """Canonical bytes of one input."""
    return bytes(_packer.pack(_row(item)))


def encode_outputs(items: list[Output]) -> bytes:
    """Canonical bytes of all outputs of one step."""
    return bytes(_packer.pack([_row(item) for item in items]))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if type(value) is list else value


def decode_input(data: bytes) -> Input:
    """Back from `encode_input`. Raises ValueError, KeyError or TypeError on anything else."""
    row = msgpack.unpackb(data, raw=False, strict_map_key=False)
    kind, *values = row
    cls = _INPUTS[kind]
    if kind == "report":
        return ReportIn(values[0], ArmReport(*(_tuples(v) for v in values[1])))
    if kind == "boot":
        values[8] = _tuples(values[8])
    elif kind == "roles":
        values[1] = _tuples(values[1])
    return cls(*values)  # type: ignore[no-any-return]


def decode_outputs(data: bytes) -> list[Output]:
    """Back from `encode_outputs`."""
    out: list[Output] = []
    for kind, *values in msgpack.unpackb(data, raw=False, strict_map_key=False):
        if kind in _NESTED:
            values[0] = _NESTED[kind](*(_tuples(v) for v in values[0]))
        out.append(_OUTPUTS[kind](*values))
    return out
