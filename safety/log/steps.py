"""The governor's steps as a log holds them, whatever its file: what replay, what-if and the questions read."""

from collections.abc import Iterator
from dataclasses import dataclass

from safety.log.reader import LogReader

EVENT_TOPIC, EVENT_TYPE = "governor/event", "longhand_msgs/msg/GovernorEvent"
#: The rare kinds have a channel of their own, so that a reader finds plans and grants without reading every tick.
ORDER_TOPIC = "governor/order"
RARE = frozenset({"boot", "snapshot", "order", "stop", "peer", "arm", "roles", "path_ok"})
#: Kinds that are no step: the beginning of the governor, and its whole memory when the recorder came later.
BOOT, SNAPSHOT = "boot", "snapshot"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. n: its ordinal, stamp: robot mono ns, record: ordinal of its record in the file; input and outputs are
    the canonical bytes of `safety.inputs` (of a snapshot, input is the situation of `safety.snapshot`)."""

    n: int
    stamp: int
    kind: str
    state: str
    summary: str
    input: bytes
    outputs: bytes
    record: int


def steps(
    log: LogReader, start: int | None = None, end: int | None = None, *, rare: bool = False
) -> Iterator[Step]:
    """All steps, in order; start, end: arrival stamps (mono ns); rare: only those on the channel of the rare kinds."""
    for message in log.messages((ORDER_TOPIC,) if rare else (EVENT_TOPIC, ORDER_TOPIC), start, end):
        f = log.decode(message)
        yield Step(
            f["n"], f["stamp_mono"], f["kind"], f["state"], f["summary"], f["input"], f["outputs"], message.index
        )
