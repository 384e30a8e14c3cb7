"""The disk policy: what the site may still do while space for its log runs out.

    free space lasts      policy
    >= 10 min             OK
    <  10 min             LOW       alarm (amber); everything goes on
    <   2 min             NO_GRANT  no new grant of control; who holds control finishes
    nothing written       FULL      controlled HOLD within 60 s, never in the middle of a feed

Before a session twice the planned length must fit. Pure: the caller measures.
"""

from dataclasses import dataclass

OK, LOW, NO_GRANT, FULL = "ok", "low", "no_grant", "full"
LOW_S = 600.0
NO_GRANT_S = 120.0
#: Kept free for the close record, the summary and everybody else on the machine, bytes.
RESERVE = 16 << 20
#: Bytes a second taken as rate before there is a measured one: full rate of one arm (docs/results/log.md), rounded up.
EXPECTED_RATE = 250_000.0


class DiskError(OSError):
    """Not enough space to begin a session."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """policy: one of OK LOW NO_GRANT FULL. seconds: how long the free space lasts at the present rate."""

    policy: str
    seconds: float
    free: int
    rate: float


def assess(free: int, rate: float, writing_fails: bool) -> DiskState:
    """free: bytes; rate: bytes/s written lately (0 or less: the expected rate); writing_fails: the last write did."""
    rate = rate if rate > 0 else EXPECTED_RATE
    seconds = max(0, free - RESERVE) / rate
    if writing_fails:
        policy = FULL
    elif seconds < NO_GRANT_S:
        policy = NO_GRANT
    elif seconds < LOW_S:
        policy = LOW
    else:
        policy = OK
    return DiskState(policy, seconds, free, rate)


def require_space(free: int, planned_s: float, where: str) -> None:
    """Raises DiskError unless twice the planned session fits."""
    need = int(2 * planned_s * EXPECTED_RATE) + RESERVE
    if free < need:
        raise DiskError(
            f"{where} has {free / 1e6:.0f} MB free; a session of {planned_s / 60:.0f} min needs {need / 1e6:.0f} MB "
            "(twice its length): free some space, choose another log_dir, or plan a shorter session"
        )
