"""Checkpoints: once a second the writer signs what it has written so far, in a text that standard tools verify.

The note is a C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) in a C2SP signed note (c2sp.org/signed-note):

    longhand-log/<session hex>/<site>     origin
    <records>                             tree size
    <base64 root>                         RFC 6962 root over all records before this one
    chain <base64>                        chain head at that size
    bytes <n> <base64>                    SHA-256 of the first n bytes of the file: chunks, indexes, everything
    mono <ns>                             robot monotonic clock
    prev <base64>                         SHA-256 of the previous note's text ("-" for the first)
    state open|closed
                                          (an empty line parts text and signatures)
    — <key name> <base64(4 byte key id || Ed25519 signature)>

The text that is signed is everything up to and including the newline before the empty line. A co-signature is one more
signature line, of another site's session key, over the same text.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ORIGIN = "longhand-log"
ED25519_NOTE_ALGORITHM = b"\x01"  # c2sp.org/signed-note, "Signature types"


class CheckpointError(ValueError):
    """The text is no checkpoint, or its signature does not hold. The message says which."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint states. root, chain, file_hash, prev: 32 bytes (prev b"" for the first). mono: ns."""

    session: str
    site: str
    size: int
    root: bytes
    chain: bytes
    file_bytes: int
    file_hash: bytes
    mono: int
    prev: bytes
    closed: bool

    def text(self) -> str:
        """The text that is signed."""
        return (
            f"{ORIGIN}/{self.session}/{self.site}\n{self.size}\n{_b64(self.root)}\n"
            f"chain {_b64(self.chain)}\nbytes {self.file_bytes} {_b64(self.file_hash)}\nmono {self.mono}\n"
            f"prev {_b64(self.prev) if self.prev else '-'}\nstate {'closed' if self.closed else 'open'}\n"
        )

    def digest(self) -> bytes:
        """SHA-256 of the text: what the other site carries."""
        return sha256(self.text().encode()).digest()


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _unb64(text: str, length: int) -> bytes:
    data = b64decode(text, validate=True)
    if len(data) != length or _b64(data) != text:
        raise ValueError(f"{length} bytes of base64 wanted")
    return data


def key_id(name: str, public: bytes) -> bytes:
    """The 4-byte key id of the signed-note format."""
    return sha256(name.encode() + b"\n" + ED25519_NOTE_ALGORITHM + public).digest()[:4]


def signature_line(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """One signature line (without newline) of `key` over `text`. name: no spaces, no plus sign."""
    public = key.public_key().public_bytes_raw()
    return f"— {name} {_b64(key_id(name, public) + key.sign(text.encode()))}"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The whole signed note."""
    text = checkpoint.text()
    return f"{text}\n{signature_line(text, key_name(checkpoint.session, checkpoint.site), key)}\n"


def key_name(session: str, site: str) -> str:
    """Name of a session key in signature lines."""
    return f"{ORIGIN}/{session}/{site}"


def check_signature_line(line: str, text: str, name: str, public: bytes) -> None:
    """Raises CheckpointError unless `line` is the signature of the key `public`, named `name`, over `text`."""
    try:
        dash, found, blob = line.split(" ")
        raw = _unb64(blob, 68)
    except ValueError as error:
        raise CheckpointError(f"malformed signature line {line[:60]!r}") from error
    if dash != "—" or found != name:
        raise CheckpointError(f"signed by {found!r}, expected {name!r}")
    if raw[:4] != key_id(name, public):
        raise CheckpointError(f"signed with another key than the session key of {name!r}")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
    except InvalidSignature as error:
        raise CheckpointError(f"the signature of {name!r} does not hold") from error


def parse(note: str) -> tuple[Checkpoint, list[str]]:
    """Signed note -> checkpoint and its signature lines. Only the canonical form is taken. Raises CheckpointError."""
    text, gap, tail = note.partition("\n\n")
    text += "\n"
    if not gap or not tail.endswith("\n"):
        raise CheckpointError("not a signed note: no empty line before the signatures")
    lines = text.split("\n")
    try:
        origin, size, root, chain, file_line, mono, prev, state, _ = lines
        prefix, session, site = origin.split("/")
        word_chain, chain_b64 = chain.split(" ")
        word_bytes, count, hash_b64 = file_line.split(" ")
        words = (prefix, word_chain, word_bytes)
        if words != (ORIGIN, "chain", "bytes") or state not in ("state open", "state closed"):
            raise ValueError("unknown lines")
        previous = prev.removeprefix("prev ")
        checkpoint = Checkpoint(
            session=session, site=site, size=int(size), root=_unb64(root, 32), chain=_unb64(chain_b64, 32),
            file_bytes=int(count), file_hash=_unb64(hash_b64, 32), mono=int(mono.removeprefix("mono ")),
            prev=b"" if previous == "-" else _unb64(previous, 32), closed=state == "state closed",
        )  # fmt: skip
    except ValueError as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    if checkpoint.text() != text:
        raise CheckpointError("not in canonical form")
    return checkpoint, tail[:-1].split("\n")


def check(note: str, public: bytes) -> Checkpoint:
    """Parse a note and check its first signature against the session key `public`. Raises CheckpointError."""
    checkpoint, lines = parse(note)
    check_signature_line(lines[0], checkpoint.text(), key_name(checkpoint.session, checkpoint.site), public)
    return checkpoint
