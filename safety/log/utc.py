"""How far UTC is from the monotonic clock, how sure the kernel is of it, and whether somebody set the clock meanwhile.

For putting logs side by side and for people; no decision uses it.
"""

import ctypes
import os
import time
from dataclasses import dataclass
from typing import Any

CLOCK_TOPIC, CLOCK_TYPE = "clock", "longhand_msgs/msg/ClockEstimate"
#: Between two looks a second apart NTP's slewing moves UTC by at most 0.5 ms (500 ppm); more than this is a step.
STEP_NS = 10_000_000
PERIOD_NS = 1_000_000_000
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); the rest is room for the kernel to write to."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def utc_error() -> int:
    """The kernel's bound on the error of UTC, ns; -1 when the clock is not synchronised or the kernel does not tell."""
    if os.uname().sysname != "Linux":
        return -1
    buffer = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(buffer)) < 0 or buffer.status & _UNSYNCHRONISED:
            return -1
    except (OSError, AttributeError):
        return -1
    return int(buffer.maxerror) * 1000


@dataclass(slots=True)
class UtcWatch:
    """Gives the fields of a ClockEstimate once a second."""

    offset: int | None = None
    due: int = 0

    def look(self, mono: int, utc: int, error: int) -> dict[str, Any] | None:
        """mono, utc: read at the same instant (ns); error: `utc_error`. None until the next one is due."""
        if mono < self.due:
            return None
        self.due = mono + PERIOD_NS
        before, self.offset = self.offset, utc - mono
        step = before is not None and abs(self.offset - before) > STEP_NS
        return estimate(mono, "utc", self.offset, error, step)


def estimate(mono: int, clock: str, offset: int, error: int, step: bool = False) -> dict[str, Any]:
    """Fields of a ClockEstimate. clock: "utc" or "site:<name>"; offset: that clock minus this one's monotonic clock, ns."""
    return {
        "schema_version": 1, "stamp_mono": mono, "clock": clock, "offset": offset, "error": error, "step": step,
    }  # fmt: skip


def now() -> tuple[int, int, int]:
    """(mono, utc, error) of this instant, ns."""
    mono = time.monotonic_ns()
    return mono, time.time_ns(), utc_error()
