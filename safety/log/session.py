"""The session header: which session this is, under which limits it ran, and the chain of keys that vouches for the log.

The site key (long-lived, Ed25519, at the hospital) signs the public half of a key made for this one session. The private
half exists only in the writer's memory and is dropped at close, so nobody can continue or re-sign the log afterwards
without the site key; with another site key the header's signature names another key.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from safety.log.cdr import TypeStore

HEADER_TOPIC, HEADER_TYPE = "log/header", "longhand_msgs/msg/SessionHeader"
CHECKPOINT_TOPIC, CHECKPOINT_TYPE = "log/checkpoint", "longhand_msgs/msg/LogCheckpoint"
PEER_TOPIC, PEER_TYPE = "log/peer_checkpoint", "longhand_msgs/msg/LogPeerCheckpoint"
CLOSE_TOPIC, CLOSE_TYPE = "log/close", "longhand_msgs/msg/LogClose"
GAP_TOPIC, GAP_TYPE = "log/gap", "longhand_msgs/msg/LogGap"
HEADER_VERSION = 1


def log_path(folder: Path, session: bytes, site: str) -> Path:
    """<session>-<site>.mcap, with -2, -3 ... after a restart in the same session: logs are never overwritten."""
    base = f"{session.hex()}-{site}"
    path, number = folder / f"{base}.mcap", 1
    while path.exists():
        number += 1
        path = folder / f"{base}-{number}.mcap"
    return path


class HeaderError(ValueError):
    """The header is of another version, incomplete, or not signed by the key it names."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What whoever opens a log must state.

    session: 16 byte nonce, the same for every site of one session. case_id: pseudonym. params: canonical msgpack of the
    governor's thresholds (what `replay` starts from). details: JSON-able facts: versions, git and config hash, keys
    and roles, plan and registration hashes, inviting and invited institution, kind of service, operator ids,
    consent-form hash.
    """

    session: bytes
    site: str
    arm: str = "arm1"
    case_id: str = ""
    params: bytes = b""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.session) != 16:
            raise HeaderError(f"the session nonce must be 16 bytes, not {len(self.session)}")
        if not self.site or not all(c.isalnum() or c in "-_." for c in self.site):
            raise HeaderError(f"site name {self.site!r}: letters, digits, - _ . only (it stands in file and key names)")


def statement(session: str, site: str, session_public: bytes, unsigned_header: bytes) -> bytes:
    """What the site key signs. unsigned_header: CDR of the header with an empty signature."""
    return (
        f"longhand-log-session/1\n{session}\n{site}\n{b64encode(session_public).decode()}\n"
        f"{b64encode(sha256(unsigned_header).digest()).decode()}\n"
    ).encode()


def build_header(
    info: SessionInfo, site_key: Ed25519PrivateKey, session_public: bytes, mono: int, utc: int, utc_error: int,
    types: TypeStore,
) -> dict[str, Any]:  # fmt: skip
    """The signed header message."""
    header: dict[str, Any] = {
        "schema_version": HEADER_VERSION, "stamp_mono": mono, "utc": utc, "utc_error": utc_error,
        "session": info.session.hex(), "site": info.site, "arm": info.arm, "case_id": info.case_id,
        "details": json.dumps(info.details, sort_keys=True, ensure_ascii=False), "params": info.params,
        "site_public_key": site_key.public_key().public_bytes_raw(), "session_public_key": session_public,
        "site_signature": b"",
    }  # fmt: skip
    unsigned = types.encode(HEADER_TYPE, header)
    header["site_signature"] = site_key.sign(statement(header["session"], info.site, session_public, unsigned))
    return header


def check_header(header: Mapping[str, Any], types: TypeStore) -> None:
    """Raises HeaderError unless the header is of our version and its signature holds for the site key it names."""
    if header["schema_version"] != HEADER_VERSION:
        raise HeaderError(f"log header of version {header['schema_version']}, this program reads version {HEADER_VERSION}")
    unsigned = types.encode(HEADER_TYPE, {**header, "site_signature": b""})
    signed = statement(header["session"], header["site"], header["session_public_key"], unsigned)
    try:
        Ed25519PublicKey.from_public_bytes(header["site_public_key"]).verify(header["site_signature"], signed)
    except (InvalidSignature, ValueError) as error:
        raise HeaderError("the site key's signature over the session header does not hold") from error
