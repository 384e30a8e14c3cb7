"""Free text in a log is encrypted with a key of its case, so that destroying the key erases it and the chain still holds.

A log never holds a patient's name: cases have pseudonyms, and the mapping stays in the hospital. But people write: notes,
reasons, answers. Such texts are stored as `enc1:<key id>:<base64 of nonce and AES-256-GCM>`; the key lies beside the site's
keys (`<keys>/cases/<case>.key`, 0600) and never in the log. `longhand erase` destroys it.
"""

import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc1:"
#: Names of fields (in the JSON of case events, screen actions and notes) whose text a person wrote.
FREE_TEXT = frozenset({"note", "text", "question", "comment", "why", "say", "answer", "message", "free_text"})


class PrivacyError(ValueError):
    """A case key that is missing, readable by others, damaged, or another one."""


class CaseKey:
    """The key of one case."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise PrivacyError(f"a case key has 32 bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self.key_id = sha256(b"longhand-case-key" + key).hexdigest()[:12]

    def seal(self, text: str) -> str:
        """Text -> sealed text. Sealed text is left as it is."""
        if text.startswith(PREFIX) or not text:
            return text
        nonce = os.urandom(12)
        return f"{PREFIX}{self.key_id}:{b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), None)).decode()}"

    def open(self, sealed: str) -> str:
        """Sealed text -> text; text that is not sealed is returned as it is. Raises PrivacyError."""
        if not sealed.startswith(PREFIX):
            return sealed
        _, key_id, blob = sealed.split(":", 2)
        if key_id != self.key_id:
            raise PrivacyError(f"sealed with the key {key_id}, this is {self.key_id}")
        try:
            raw = b64decode(blob, validate=True)
            return self._cipher.decrypt(raw[:12], raw[12:], None).decode()
        except (InvalidTag, ValueError) as error:
            raise PrivacyError("the sealed text is damaged") from error


def key_file(keys_dir: Path, case_id: str) -> Path:
    """Where a case's key lies. Raises PrivacyError on a case id that is no plain name."""
    if not case_id or not all(c.isalnum() or c in "-_." for c in case_id) or case_id.startswith("."):
        raise PrivacyError(f"case id {case_id!r}: letters, digits, - _ . only")
    return keys_dir / "cases" / f"{case_id}.key"


def load_or_make(path: Path) -> CaseKey:
    """The key at `path`, made when there is none. Raises PrivacyError, OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(os.urandom(32).hex() + "\n")
    return load(path)


def load(path: Path) -> CaseKey:
    """Raises PrivacyError, OSError."""
    if path.stat().st_mode & 0o077:
        raise PrivacyError(f"{path} is readable by others; run: chmod 600 {path}")
    try:
        return CaseKey(bytes.fromhex(path.read_text().strip()))
    except ValueError as error:
        raise PrivacyError(f"{path} is no case key: {error}") from error


def destroy(path: Path, case_id: str) -> dict[str, Any]:
    """Overwrite and remove a case key; the receipt is appended to `erased.jsonl` beside it and returned.

    Copies and backups of the key are beyond its reach, and the receipt says so. Raises PrivacyError, OSError."""
    key = load(path)
    size = path.stat().st_size
    with open(path, "r+b", buffering=0) as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())
    path.unlink()
    receipt = {
        "case_id": case_id, "key_id": key.key_id, "erased_utc": time.time_ns(), "file": path.name,
        "note": "texts sealed with this key can no longer be read; copies and backups of the key must be destroyed too",
    }  # fmt: skip
    with open(path.parent / "erased.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(receipt) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return receipt


def seal_fields(value: Any, key: CaseKey, names: Iterable[str] = FREE_TEXT) -> Any:
    """A copy of a JSON-like value with every free text sealed (a field of such a name, at any depth)."""
    wanted = frozenset(names)
    if isinstance(value, dict):
        return {
            k: key.seal(v) if k in wanted and isinstance(v, str) else seal_fields(v, key, wanted) for k, v in value.items()
        }
    if isinstance(value, list):
        return [seal_fields(v, key, wanted) for v in value]
    return value


def open_fields(value: Any, key: CaseKey | None) -> Any:
    """A copy with sealed texts opened; without the key, or with another, they become "[sealed]"."""
    if isinstance(value, dict):
        return {k: open_fields(v, key) for k, v in value.items()}
    if isinstance(value, list):
        return [open_fields(v, key) for v in value]
    if isinstance(value, str) and value.startswith(PREFIX):
        try:
            return key.open(value) if key is not None else "[sealed]"
        except PrivacyError:
            return "[sealed]"
    return value
