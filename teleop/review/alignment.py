"""Putting two sites' logs on one line of time, with the error of doing so stated.

The clocks of two hospitals have nothing in common. A console measures each hospital's clock by four time stamps, half the
round trip wide; its log has these estimates. Checkpoints that crossed bound the difference as well: one site's checkpoint
cannot have reached the other before it was made. Without either in both directions the UTC estimates of the two headers are
used, and the error is what the headers state (often: unknown).
"""

from dataclasses import dataclass
from hashlib import sha256

from safety.log.reader import LogReader
from safety.log.session import CHECKPOINT_TOPIC, PEER_TOPIC
from safety.log.utc import CLOCK_TOPIC


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


def measured(log: LogReader, site: str) -> tuple[int, int] | None:
    """(lowest, highest) site clock minus this log's clock, ns, by the estimates in it; None without any. Clocks that drift
    apart over hours make early and late estimates contradict each other: then the range holds all of them."""
    if CLOCK_TOPIC not in log.topics:
        return None
    found = [f for f in (log.decode(m) for m in log.messages((CLOCK_TOPIC,))) if f["clock"] == f"site:{site}" and f["error"] >= 0]
    if not found:
        return None
    lows, highs = [f["offset"] - f["error"] for f in found], [f["offset"] + f["error"] for f in found]
    return (max(lows), min(highs)) if max(lows) <= min(highs) else (min(lows), max(highs))


def align(reference: LogReader, other: LogReader) -> Alignment:
    """Where the other log stands on the reference's clock."""
    there, back = measured(reference, other.header["site"]), measured(other, reference.header["site"])
    bounds = there or (None if back is None else (-back[1], -back[0]))
    if bounds is not None:
        return Alignment(sum(bounds) // 2, (bounds[1] - bounds[0] + 1) // 2, "the console's measurements of the site's clock")
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
