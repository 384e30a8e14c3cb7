"""A presence record: what a site says of itself to whoever asks the directory, signed with the site's own Ed25519 key.

The directory's servers are not trusted: they can withhold a record, not make or change one. Nothing of a patient is in it. An address in a
record is a hint where to knock; who answers there is decided by the pinned CURVE key, as always.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature

from teleop.link.keys import Roles, SecretKeys

VERSION = 1
SIGNED_PREFIX = b"longhand presence 1\n"
#: A record is small: 1,000 of them are a megabyte.
MAX_BYTES = 1024
MAX_PATHS = 4
STATES = ("free", "case", "closed")


class RecordError(ValueError):
    """Not a record, or not one of a site we know; the text says which."""


@dataclass(frozen=True, slots=True)
class Presence:
    """since: UTC ns of the site's start; seq: counts up from it, so (since, seq) orders all records of a site. ttl_s: how long it holds
    without a newer one. paths: [host, orders, stop, stream] each. doing: one of STATES. release, protocol: for people and for the console."""

    site: str
    since: int
    seq: int
    ttl_s: float
    paths: tuple[tuple[str, int, int, int], ...]
    doing: str = "free"
    release: str = ""
    protocol: int = 1

    @property
    def order(self) -> tuple[int, int]:
        return self.since, self.seq


def seal(p: Presence, keys: SecretKeys) -> bytes:
    """The record as bytes. Raises RecordError when it is too large or names another site than the keys."""
    if p.site != keys.name:
        raise RecordError(f"a record of {p.site!r} with the keys of {keys.name!r}")
    body = json.dumps({"v": VERSION, **asdict(p)}, separators=(",", ":"), sort_keys=True)
    signature = keys.signer().sign(SIGNED_PREFIX + body.encode()).hex()
    raw = json.dumps({"body": body, "sig": signature}, separators=(",", ":")).encode()
    if len(raw) > MAX_BYTES:
        raise RecordError(f"a record of {len(raw)} B, at most {MAX_BYTES}")
    return raw


def unseal(raw: bytes, roles: Roles) -> Presence:
    """The record, if a site of the role table signed it and is not revoked. Raises RecordError, never anything else."""
    if len(raw) > MAX_BYTES:
        raise RecordError(f"{len(raw)} B, at most {MAX_BYTES}")
    try:
        outer = json.loads(raw)
        body, signature = outer["body"], bytes.fromhex(outer["sig"])
        m: dict[str, Any] = json.loads(body)
        if m.pop("v") != VERSION:
            raise RecordError("a record of another version")
        m["paths"] = tuple((str(h), int(a), int(b), int(c)) for h, a, b, c in m["paths"])
        p = Presence(**m)
        good = (
            isinstance(p.site, str) and type(p.since) is int and type(p.seq) is int and 0 <= p.seq < 2**63 and 0 <= p.since < 2**63
            and 1.0 <= p.ttl_s <= 600.0 and len(p.paths) <= MAX_PATHS and p.doing in STATES and isinstance(p.release, str) and len(p.release) <= 32
            and all(0 < n < 65536 for _, *ports in p.paths for n in ports) and type(p.protocol) is int
        )  # fmt: skip
        if not good:
            raise RecordError("a field is out of its range")
    except RecordError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RecordError(f"not a presence record: {type(error).__name__}") from None
    known = roles.principals.get(p.site)
    if known is None or known.kind != "site":
        raise RecordError(f"{p.site[:32]!r} is no site of the role table")
    if known.curve in roles.revoked:
        raise RecordError(f"site {p.site!r} has been revoked")
    try:
        known.verifier().verify(signature, SIGNED_PREFIX + body.encode())
    except InvalidSignature:
        raise RecordError(f"not signed by site {p.site!r}") from None
    return p
