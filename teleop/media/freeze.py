"""Has a camera frozen? Pure. A dead camera sends no new pictures; a hung one sends the same picture with new times.

The second kind is the dangerous one: it looks alive. No sensor delivers the same bytes twice, so equal contents are a fault.
"""

from dataclasses import dataclass, replace

#: No new picture for so long (ns), or so many equal ones in a row.
SILENT_NS = 700_000_000
EQUAL_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Watch:
    """last: when a new picture came (ns, receiver's clock), 0 = none yet. digest: of its contents. equal: in a row."""

    last: int = 0
    captured: int = 0
    digest: bytes = b""
    equal: int = 0


def seen(w: Watch, now: int, captured: int, digest: bytes) -> Watch:
    """A picture arrived; an old or repeated capture time does not count as one."""
    if captured <= w.captured:
        return w
    return Watch(now, captured, digest, w.equal + 1 if digest == w.digest else 0)


def verdict(w: Watch, now: int, expected: bool = True) -> str:
    """"" (alive), "waiting" (nothing yet), "silent" or "hung". expected: False while the stream is switched off."""
    if not expected:
        return ""
    if w.last == 0:
        return "waiting"
    if now - w.last > SILENT_NS:
        return "silent"
    return "hung" if w.equal >= EQUAL_FRAMES else ""


def restarted(w: Watch, now: int) -> Watch:
    """The stream was switched on again: its silence begins now."""
    return replace(w, last=now, equal=0)
