"""Public halves of site keys on disk, to verify with."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class LogKeyError(ValueError):
    """A key file that is missing or no Ed25519 key. The message says what to do."""


def load_public(path: Path) -> bytes:
    """32 bytes of an Ed25519 public key from PEM, raw bytes or hex. Raises LogKeyError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogKeyError(f"public key {path}: {error.strerror}") from error
    try:
        if data.startswith(b"-----BEGIN"):
            key = load_pem_public_key(data)
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
            raise ValueError("another kind of key")
        return Ed25519PublicKey.from_public_bytes(_raw(data)).public_bytes_raw()
    except (ValueError, TypeError) as error:
        raise LogKeyError(f"{path} is no Ed25519 public key (PEM, 32 raw bytes, or 64 hex digits): {error}") from error


def _raw(data: bytes) -> bytes:
    return data if len(data) == 32 else bytes.fromhex(data.decode("ascii").strip())
