"""Small logs for the tests: deterministic times, made-up but well-formed content."""

import random
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.log import SessionInfo, SessionLog

SESSION = bytes(range(16))
SITE_KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
PUBLIC = SITE_KEY.public_key().public_bytes_raw()
OTHER_PUBLIC = OTHER_KEY.public_key().public_bytes_raw()
EVENT = "longhand_msgs/msg/GovernorEvent"
START = 1_000_000_000_000
MS = 1_000_000


def open_log(path: Path, site: str = "a", key: Ed25519PrivateKey = SITE_KEY, session: bytes = SESSION, **info) -> SessionLog:
    return SessionLog(
        path, key, SessionInfo(session=session, site=site, **info), mono=START, utc=1_700_000_000_000_000_000
    )


def event(n: int, rng: random.Random, size: int = 60) -> dict:
    return {
        "schema_version": 1, "n": n, "stamp_mono": START + n * 10 * MS, "kind": "command", "state": "ACTIVE",
        "summary": f"step {n}", "input": rng.randbytes(size), "outputs": rng.randbytes(size),
    }  # fmt: skip


def write_events(log: SessionLog, count: int, first: int = 0, seed: int = 7) -> int:
    """`count` steps 10 ms apart; returns the stamp of the last."""
    rng = random.Random(seed)
    stamp = START
    for n in range(first, first + count):
        stamp = START + n * 10 * MS
        log.write("governor/event", EVENT, event(n, rng), stamp)
        log.tick(stamp)
    return stamp


def short_log(path: Path, count: int = 120, **options) -> Path:
    """A closed log of `count` steps."""
    log = open_log(path, **options)
    stamp = write_events(log, count)
    log.close(stamp + MS, "test over")
    return path
