"""A reviewer's notes: a side file beside the log, never in it. Each line is signed by the reviewer and chained to the one before.

    <log>.notes.jsonl, one JSON object a line:
    {"v": 1, "session", "site", "at", "text", "author", "written_utc", "checkpoint", "previous", "key", "signature"}

`checkpoint` is the digest of the log's last checkpoint when the note was made, so that it cannot be moved to another log.
The signature (Ed25519) is over the canonical JSON of all other fields.
"""

import json
import os
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_TEXT = 4000


class NoteError(ValueError):
    """The note cannot be kept, or the file of notes was changed."""


@dataclass(frozen=True, slots=True)
class Note:
    """One note as shown. at: robot mono ns of the log. good: signature and chain hold."""

    at: int
    text: str
    author: str
    written_utc: int
    key: str
    good: bool


def canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def reviewer_key(path: Path) -> Ed25519PrivateKey:
    """The reviewer's key; made at first use, readable by the owner alone."""
    if path.exists():
        if path.stat().st_mode & 0o077:
            raise NoteError(f"{path} is readable by others; run: chmod 600 {path}")
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
    return key


class Notes:
    """The notes of one log."""

    def __init__(self, log: Path, session: str, site: str, checkpoint: bytes) -> None:
        self.path = log.with_name(log.name + ".notes.jsonl")
        self._about = {"session": session, "site": site, "checkpoint": checkpoint.hex()}

    def read(self) -> list[Note]:
        """All notes in order; a line that was changed, moved or is of another log is shown as not good."""
        if not self.path.exists():
            return []
        out, previous = [], ""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                fields = json.loads(line)
                signature = b64decode(fields.pop("signature"))
                good = fields["previous"] == previous and fields["session"] == self._about["session"]
                good = good and fields["site"] == self._about["site"]
                try:
                    Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["key"])).verify(signature, canonical(fields))
                except InvalidSignature:
                    good = False
                out.append(
                    Note(int(fields["at"]), str(fields["text"]), str(fields["author"]), int(fields["written_utc"]),
                         str(fields["key"]), good)
                )  # fmt: skip
            except (ValueError, KeyError, TypeError) as error:
                out.append(Note(0, f"unreadable line: {error}", "", 0, "", False))
            previous = sha256(line.encode()).hexdigest()
        return out

    def add(self, at: int, text: str, author: str, key: Ed25519PrivateKey) -> None:
        """Append one note. Raises NoteError, OSError."""
        text, author = text.strip(), author.strip()
        if not text or len(text) > MAX_TEXT:
            raise NoteError(f"a note has 1 to {MAX_TEXT} characters, not {len(text)}")
        if not author or len(author) > 100:
            raise NoteError("say who writes the note (at most 100 characters)")
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        fields = {
            "v": 1, **self._about, "at": at, "text": text, "author": author, "written_utc": time.time_ns(),
            "previous": sha256(lines[-1].encode()).hexdigest() if lines else "",
            "key": key.public_key().public_bytes_raw().hex(),
        }  # fmt: skip
        fields["signature"] = b64encode(key.sign(canonical(fields))).decode()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
