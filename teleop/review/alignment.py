"""Putting two sites' logs on one line of time, with the error of doing so stated.

The robot clocks of two hospitals have nothing in common. Checkpoints that crossed bound their difference rigorously: one
site's checkpoint cannot have reached the other before it was made. Without crossings in both directions the UTC estimates
of the two headers are used, and the error is what the headers state (often: unknown).
"""

from dataclasses import dataclass
from hashlib import sha256

from safety.log.reader import LogReader
from safety.log.session import CHECKPOINT_TOPIC, PEER_TOPIC


@dataclass(frozen=True, slots=True)
class Alignment:
    """offset: the other log's robot clock minus the reference's, ns. error: half width of what is possible, ns, or None
    when it cannot be stated. how: in words."""

    offset: int
    error: int | None
    how: str


def checkpoint_stamps(log: LogReader) -> dict[bytes, int]:
    """First 8 bytes of each checkpoint's digest -> when it was made (mono ns)."""
    out: dict[bytes, int] = {}
    for message in log.messages((CHECKPOINT_TOPIC,)):
        fields = log.decode(message)
        text = fields["note"].partition("\n\n")[0] + "\n"
        out[sha256(text.encode()).digest()[:8]] = fields["stamp_mono"]
    return out


def _seen(log: LogReader, site: str) -> list[tuple[int, bytes]]:
    """(arrival mono, first 8 bytes of the digest) of another site's checkpoints."""
    return [
        (f["stamp_mono"], f["checkpoint_hash"][:8])
        for f in map(log.decode, log.messages((PEER_TOPIC,)))
        if f["site"] == site
    ]


def align(reference: LogReader, other: LogReader) -> Alignment:
    """Where the other log stands on the reference's clock."""
    at_reference = _seen(reference, other.header["site"])
    at_other = _seen(other, reference.header["site"])
    low: int | None = None
    high: int | None = None
    if at_reference:
        made = checkpoint_stamps(other)
        low = max((made[d] - arrived for arrived, d in at_reference if d in made), default=None)
    if at_other:
        made = checkpoint_stamps(reference)
        high = min((arrived - made[d] for arrived, d in at_other if d in made), default=None)
    if low is not None and high is not None and low <= high:
        return Alignment((low + high) // 2, (high - low + 1) // 2, "checkpoints that crossed in both directions")
    by_utc = reference.utc(0) - other.utc(0)
    errors = (reference.header["utc_error"], other.header["utc_error"])
    error = sum(errors) if min(errors) >= 0 else None
    bound = by_utc if low is None else max(by_utc, low)
    bound = bound if high is None or (low is not None and low > high) else min(bound, high)
    return Alignment(bound, error, "each site's own UTC at opening" + ("" if bound == by_utc else ", within what checkpoints allow"))
