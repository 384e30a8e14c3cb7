"""Several machines for one demo: a machine that offers hospitals, and one whose surgeon treats them, agree over one short
exchange, sealed with a phrase that both have in a file. Only public keys and addresses cross the network; secrets are made where
they are used.

    surgeon's machine -> {"v": 1, "console": {name, curve, ed25519}, "first": hospitals before these}
    hospitals' machine -> {"v": 1, "sites": [{name, host, base, relay_base, curve, ed25519}, ...]}

Each message: length (4 bytes), nonce (12), AES-256-GCM under scrypt(phrase, salt); the salt (16) stands before the first one.
"""

import json
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from teleop.link.errors import LinkError
from teleop.link.keys import (
    ROLES_FILE,
    Grant,
    Principal,
    Roles,
    load_roles,
    require_curve_key,
    require_ed25519_key,
    write_roles,
)

VERSION = 1
MAX_MESSAGE = 64 << 10
#: A stranger who connects and says nothing is let go after so long; laying out thirty hospitals takes minutes (s).
PATIENCE_S, LAID_OUT_S = 10.0, 900.0
_SENT, _ANSWERED = b"longhand demo, console", b"longhand demo, hospitals"


class PairingError(ConnectionError):
    """The two machines could not agree; the text says why and what to do."""


def address(text: str) -> tuple[str, int]:
    """(host, port) of "host:port". Raises PairingError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise PairingError(f"{text!r}: write an address as host:port, for example 192.0.2.20:7390")
    return host, int(port)


def phrase_of(file: Path, *, make: bool) -> str:
    """The phrase in the file; a new one (128 random bits, 0600) where there is none and `make`. Raises PairingError."""
    if make and not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(16) + "\n")
    try:
        phrase = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PairingError(f"{file}: the phrase cannot be read ({error}): copy the file from the other machine") from None
    if len(phrase) < 16:
        raise PairingError(f"{file}: a phrase has at least 16 letters; delete the file and let the hospitals' machine make one")
    return phrase


class Sealed:
    """Messages on a connected socket."""

    def __init__(self, sock: socket.socket, phrase: str, salt: bytes) -> None:
        self._sock = sock
        self._key = AESGCM(Scrypt(salt=salt, length=32, n=1 << 14, r=8, p=1).derive(phrase.encode()))

    def send(self, message: dict[str, Any], what: bytes) -> None:
        nonce = secrets.token_bytes(12)
        data = nonce + self._key.encrypt(nonce, json.dumps(message).encode(), what)
        self._sock.sendall(struct.pack(">I", len(data)) + data)

    def receive(self, what: bytes) -> dict[str, Any]:
        """Raises PairingError: closed, too long, not sealed with our phrase, another version."""
        (length,) = struct.unpack(">I", read(self._sock, 4))
        if not 28 <= length <= MAX_MESSAGE:
            raise PairingError(f"the other machine says something else (a message of {length} bytes)")
        data = read(self._sock, length)
        try:
            message = json.loads(self._key.decrypt(data[:12], data[12:], what))
        except (InvalidTag, ValueError):
            raise PairingError("the other machine has another phrase: copy the phrase file") from None
        if not isinstance(message, dict) or message.get("v") != VERSION:
            raise PairingError(f"the other machine speaks version {message.get('v')!r} of this exchange, we {VERSION}")
        return message


def read(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes. Raises PairingError."""
    out = b""
    while len(out) < size:
        try:
            part = sock.recv(size - len(out))
        except OSError as error:
            raise PairingError(f"the other machine does not answer ({error})") from None
        if not part:
            raise PairingError("the other machine closed the connection: another phrase, or it was ended")
        out += part
    return out


def fetch(host: str, port: int, phrase: str, me: Principal, first: int, timeout_s: float = LAID_OUT_S) -> list[dict[str, Any]]:
    """The surgeon's side: the hospitals of one machine. Raises PairingError."""
    salt = secrets.token_bytes(16)
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as sock:
            sealed = Sealed(sock, phrase, salt)
            sock.sendall(salt)
            sealed.send({"v": VERSION, "console": public(me), "first": first}, _SENT)
            sock.settimeout(timeout_s)
            sites = sealed.receive(_ANSWERED).get("sites")
    except PairingError as error:
        raise PairingError(f"{host}:{port}: {error}") from None
    except OSError as error:
        raise PairingError(f"{host}:{port}: {error}; is `longhand demo --serve` running there, and the port open?") from None
    keys = {"name", "host", "base", "relay_base", "curve", "ed25519"}
    if not isinstance(sites, list) or not sites or not all(isinstance(s, dict) and set(s) == keys for s in sites):
        raise PairingError(f"{host}:{port}: it names no hospitals")
    return sites


@contextmanager
def offered(sock: socket.socket, phrase: str, refused: Callable[[str], None]) -> Iterator[tuple[Principal, int, Callable[[list[dict[str, Any]]], None]]]:
    """The hospitals' side, on a listening socket: waits for a surgeon's machine with our phrase; strangers are told of and let go.
    Yields (its console, hospitals before ours, answer)."""
    while True:
        connection, peer = sock.accept()
        connection.settimeout(PATIENCE_S)
        try:
            sealed = Sealed(connection, phrase, read(connection, 16))
            asked = sealed.receive(_SENT)
            console, first = principal(asked["console"]), int(asked["first"])
        except (PairingError, LinkError, KeyError, TypeError, ValueError) as error:
            refused(f"{peer[0]}: {error}")
            connection.close()
            continue
        try:
            yield console, first, partial(_answer, sealed)
        finally:
            connection.close()
        return


def _answer(sealed: Sealed, sites: list[dict[str, Any]]) -> None:
    sealed.send({"v": VERSION, "sites": sites}, _ANSWERED)


def public(p: Principal) -> dict[str, str]:
    return {"name": p.name, "curve": p.curve, "ed25519": p.ed25519}


def principal(raw: dict[str, Any], kind: str = "person") -> Principal:
    """Raises KeyError, TypeError, ValueError, KeyRefused."""
    name = raw["name"]
    if not isinstance(name, str) or not name.isidentifier() or len(name) > 40:
        raise ValueError(f"{name!r} is no name of a machine")
    return Principal(name, kind, require_curve_key(raw["curve"], "curve"), require_ed25519_key(raw["ed25519"], "ed25519"))


def welcome(keys_dir: Path, console: Principal) -> None:
    """On the hospitals' machine: this console's public keys take the place of the one that was made with the hospitals'."""
    roles = load_roles(keys_dir)
    people = {n: p for n, p in roles.principals.items() if p.kind == "site"}
    sites = list(people)
    people[console.name] = console
    grants = tuple(Grant(console.name, "surgeon", site, "*") for site in sites)
    write_roles(keys_dir / ROLES_FILE, Roles(people, grants, roles.revoked))


def take_in(keys_dir: Path, sites: list[dict[str, Any]]) -> None:
    """On the surgeon's machine: the hospitals' public keys into the role table. Raises PairingError for a name that is there already."""
    roles = load_roles(keys_dir)
    people = dict(roles.principals)
    for raw in sites:
        try:
            site = principal(raw, "site")
        except (LinkError, KeyError, TypeError, ValueError) as error:
            raise PairingError(f"a hospital's keys cannot be used: {error}") from None
        if site.name in people:
            raise PairingError(f"two machines offer a hospital {site.name!r}")
        people[site.name] = site
    consoles = [n for n, p in people.items() if p.kind == "person"]
    grants = tuple(Grant(c, "surgeon", n, "*") for c in consoles for n, p in people.items() if p.kind == "site")
    write_roles(keys_dir / ROLES_FILE, Roles(people, grants, roles.revoked))
