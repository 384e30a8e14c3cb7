"""Keys and roles: who is who, and who may do what at which arm.

Every principal (a site, a console, a reviewer ...) owns two key pairs:

* CURVE25519 (z85, 40 characters) for the ZeroMQ channels. Public halves are pinned: nobody is trusted on first use.
* Ed25519 (hex) for what must stay provable after the session: plans, approvals, log checkpoints.

Layout of a key directory, made by `longhand keys make DIR`:

    DIR/roles.toml              public: everybody's public keys, the grants, the revocations (0644)
    DIR/<principal>/            0700: copy this one, and only this one, to the principal's machine
    DIR/<principal>/secret.toml 0600: the two secret keys

A key that is revoked in roles.toml is refused even if a grant still names it.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from zmq.utils import z85

from teleop.link.errors import KeyRefused

ROLES_VERSION = 1
ROLES_FILE = "roles.toml"
SECRET_FILE = "secret.toml"
#: What a principal may be at an arm. Only `surgeon` may ever hold authority over the WAN; `bedside` is the site's own.
ROLES = ("surgeon", "mentor", "observer", "bedside", "reviewer")
KINDS = ("site", "person")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ANY_ARM = "*"


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """Both secret keys of one principal. `repr` shows no secret."""

    name: str
    curve_public: str
    curve_secret: str = field(repr=False)
    ed25519_public: str
    ed25519_secret: str = field(repr=False)

    def signer(self) -> Ed25519PrivateKey:
        """The Ed25519 key as an object that signs."""
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.ed25519_secret))


@dataclass(frozen=True, slots=True)
class Principal:
    """Public side of somebody: name, kind ("site" or "person"), CURVE key (z85), Ed25519 key (hex)."""

    name: str
    kind: str
    curve: str
    ed25519: str

    def verifier(self) -> Ed25519PublicKey:
        """The Ed25519 key as an object that verifies."""
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.ed25519))


@dataclass(frozen=True, slots=True)
class Grant:
    """`who` (name of a principal) has `role` at `site`, for `arm` ("*": every arm of that site)."""

    who: str
    role: str
    site: str
    arm: str = _ANY_ARM


@dataclass(frozen=True)
class Roles:
    """The role table: principals by name, grants, revoked CURVE keys (z85)."""

    principals: Mapping[str, Principal]
    grants: tuple[Grant, ...]
    revoked: frozenset[str] = frozenset()

    def by_key(self, curve: str) -> Principal | None:
        """The principal that owns this CURVE public key, or None (also when revoked)."""
        if curve in self.revoked:
            return None
        for p in self.principals.values():
            if p.curve == curve:
                return p
        return None

    def role_of(self, curve: str, site: str, arm: str) -> str | None:
        """Role of a CURVE key at an arm, or None. A grant for this very arm wins over one for all arms."""
        p = self.by_key(curve)
        if p is None:
            return None
        wide: str | None = None
        for g in self.grants:
            if g.who == p.name and g.site == site:
                if g.arm == arm:
                    return g.role
                if g.arm == _ANY_ARM:
                    wide = g.role
        return wide

    def allowed_at(self, site: str) -> dict[str, str]:
        """CURVE keys that may connect to `site` at all, with the owner's name. What the ZAP handler asks."""
        names = {g.who for g in self.grants if g.site == site}
        return {
            p.curve: p.name
            for p in self.principals.values()
            if p.name in names and p.kind == "person" and p.curve not in self.revoked
        }

    def site_key(self, site: str) -> str:
        """The pinned CURVE public key of a site. Raises KeyRefused if unknown or revoked."""
        p = self.principals.get(site)
        if p is None or p.kind != "site":
            known = ", ".join(sorted(n for n, q in self.principals.items() if q.kind == "site")) or "none"
            raise KeyRefused(f"no site called {site!r} in the role table; sites known: {known}")
        if p.curve in self.revoked:
            raise KeyRefused(f"the key of site {site!r} has been revoked: get a new roles.toml from the site")
        return p.curve


def require_curve_key(text: object, what: str) -> str:
    """`text` if it is a CURVE key in z85 (40 characters, 32 bytes). Raises KeyRefused, naming a likely mix-up."""
    if not isinstance(text, str):
        raise KeyRefused(f"{what}: a CURVE key is a string of 40 z85 characters, this is a {type(text).__name__}")
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise KeyRefused(f"{what}: this is 64 hex digits, an Ed25519 key; a CURVE key (40 z85 characters) belongs here")
    if len(text) != 40:
        raise KeyRefused(f"{what}: a CURVE key has 40 z85 characters, this has {len(text)}")
    try:
        raw = z85.decode(text.encode("ascii"))
    except (ValueError, KeyError, UnicodeEncodeError) as e:
        raise KeyRefused(f"{what}: not z85 ({e})") from None
    if len(raw) != 32 or z85.encode(raw) != text.encode("ascii"):
        raise KeyRefused(f"{what}: not a z85 text of 32 bytes")
    return text


def require_ed25519_key(text: object, what: str) -> str:
    """`text` if it is an Ed25519 key in hex (64 digits). Raises KeyRefused."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{64}", text):
        hint = "; this looks like a CURVE key" if isinstance(text, str) and len(text) == 40 else ""
        raise KeyRefused(f"{what}: an Ed25519 key is 64 lower-case hex digits{hint}")
    return text


def new_secret(name: str) -> SecretKeys:
    """Fresh key pairs from the system's random source."""
    if not _NAME.fullmatch(name):
        raise KeyRefused(f"{name!r}: a principal's name is a-z first, then up to 31 of a-z 0-9 _ -")
    public, secret = zmq.curve_keypair()
    ed = Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    return SecretKeys(
        name,
        public.decode(),
        secret.decode(),
        ed.public_key().public_bytes(raw, serialization.PublicFormat.Raw).hex(),
        ed.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()).hex(),
    )


def principal_of(keys: SecretKeys, kind: str) -> Principal:
    """The public half."""
    return Principal(keys.name, kind, keys.curve_public, keys.ed25519_public)


def write_secret(directory: Path, keys: SecretKeys) -> Path:
    """Write DIR/<name>/secret.toml, 0600 in a 0700 directory. Never overwrites: raises KeyRefused if it exists."""
    home = directory / keys.name
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(home, 0o700)
    path = home / SECRET_FILE
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyRefused(f"{path} exists: keys are never overwritten; revoke the old one and choose another directory") from None
    with os.fdopen(fd, "w") as f:
        f.write(
            f'version = {ROLES_VERSION}\nname = "{keys.name}"\n'
            f'curve_public = "{keys.curve_public}"\ncurve_secret = "{keys.curve_secret}"\n'
            f'ed25519_public = "{keys.ed25519_public}"\ned25519_secret = "{keys.ed25519_secret}"\n'
        )
    return path


def load_secret(path: Path | str) -> SecretKeys:
    """Read one principal's secrets from its directory or its secret.toml.

    Raises KeyRefused when there is no key, when anybody but the owner could read it, when it belongs to another user,
    or when the key in it is not the kind it should be or its halves do not match.
    """
    path = Path(path)
    if path.is_dir():
        path = path / SECRET_FILE
    fd = _open_private(path)
    with os.fdopen(fd, "rb") as f:
        data = _toml(f.read(), path)
    name = _text(data, "name", path)
    keys = SecretKeys(
        name,
        require_curve_key(data.get("curve_public"), f"{path}: curve_public"),
        require_curve_key(data.get("curve_secret"), f"{path}: curve_secret"),
        require_ed25519_key(data.get("ed25519_public"), f"{path}: ed25519_public"),
        require_ed25519_key(data.get("ed25519_secret"), f"{path}: ed25519_secret"),
    )
    if zmq.curve_public(keys.curve_secret.encode()).decode() != keys.curve_public:
        raise KeyRefused(f"{path}: curve_public does not belong to curve_secret; are the two swapped?")
    derived = keys.signer().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
    if derived != keys.ed25519_public:
        raise KeyRefused(f"{path}: ed25519_public does not belong to ed25519_secret")
    return keys


def _open_private(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise KeyRefused(f"no key at {path}: make one with `longhand keys make DIR`; nothing starts without keys") from None
    except OSError as e:
        raise KeyRefused(f"cannot read the key {path}: {e.strerror}") from None
    st = os.fstat(fd)
    problem = ""
    if not stat.S_ISREG(st.st_mode):
        problem = "it is not a regular file"
    elif st.st_uid != os.geteuid():
        problem = f"it belongs to user {st.st_uid}, this process runs as {os.geteuid()}"
    elif stat.S_IMODE(st.st_mode) & 0o077:
        problem = f"others can read it (mode {stat.S_IMODE(st.st_mode):04o}); run: chmod 600 {path}"
    elif stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        problem = f"its directory is open to others; run: chmod 700 {path.parent}"
    if problem:
        os.close(fd)
        raise KeyRefused(f"refusing the key {path}: {problem}")
    return fd


def write_roles(path: Path, roles: Roles) -> None:
    """Write the role table (public, 0644), atomically."""
    lines = [
        "# Who is who, and who may do what where. Public; guard it against change, not against reading.",
        f"version = {ROLES_VERSION}",
        "# CURVE keys that are no longer good, whatever the grants say:",
        "revoked = [" + ", ".join(f'"{k}"' for k in sorted(roles.revoked)) + "]",
    ]
    for p in roles.principals.values():
        lines += ["", f"[principal.{p.name}]", f'kind = "{p.kind}"', f'curve = "{p.curve}"', f'ed25519 = "{p.ed25519}"']
    for g in roles.grants:
        lines += ["", "[[grant]]", f'who = "{g.who}"', f'role = "{g.role}"', f'site = "{g.site}"', f'arm = "{g.arm}"']
    tmp = path.with_name(path.name + ".new")
    tmp.write_text("\n".join(lines) + "\n")
    os.chmod(tmp, 0o644)
    os.replace(tmp, path)


def load_roles(path: Path | str) -> Roles:
    """Read and check roles.toml (or the directory it is in). Raises KeyRefused, naming the entry."""
    path = Path(path)
    if path.is_dir():
        path = path / ROLES_FILE
    try:
        raw = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        raise KeyRefused(f"no role table at {path}: make one with `longhand keys make DIR`") from None
    if mode & 0o022:
        raise KeyRefused(f"refusing the role table {path}: others can change it (mode {mode:04o}); run: chmod 644 {path}")
    data = _toml(raw, path)
    if data.get("version") != ROLES_VERSION:
        raise KeyRefused(f"{path}: version {data.get('version')!r}, this program reads version {ROLES_VERSION}")
    principals: dict[str, Principal] = {}
    seen: dict[str, str] = {}
    for name, entry in _table(data, "principal", path).items():
        where = f"{path}: principal.{name}"
        if not isinstance(entry, dict) or entry.get("kind") not in KINDS:
            raise KeyRefused(f"{where}: kind must be one of {', '.join(KINDS)}")
        curve = require_curve_key(entry.get("curve"), f"{where}.curve")
        if curve in seen:
            raise KeyRefused(f"{where}: has the same CURVE key as {seen[curve]}; every principal needs its own")
        seen[curve] = name
        principals[name] = Principal(name, entry["kind"], curve, require_ed25519_key(entry.get("ed25519"), f"{where}.ed25519"))
    grants = []
    for i, entry in enumerate(_list(data, "grant", path)):
        where = f"{path}: grant {i + 1}"
        g = Grant(_text(entry, "who", where), _text(entry, "role", where), _text(entry, "site", where), str(entry.get("arm", _ANY_ARM)))
        if g.who not in principals:
            raise KeyRefused(f"{where}: who = {g.who!r} is no principal of this table")
        if g.role not in ROLES:
            raise KeyRefused(f"{where}: role = {g.role!r}; roles are {', '.join(ROLES)}")
        if g.site not in principals or principals[g.site].kind != "site":
            raise KeyRefused(f"{where}: site = {g.site!r} is no site of this table")
        grants.append(g)
    revoked = frozenset(require_curve_key(k, f"{path}: revoked") for k in _list(data, "revoked", path))
    return Roles(principals, tuple(grants), revoked)


def make_directory(
    directory: Path, sites: Iterable[str], people: Iterable[tuple[str, str]], arm: str = _ANY_ARM
) -> Roles:
    """Make keys for `sites` and for `people` (name, role), each person with that role at every site; write roles.toml.

    Adds to a directory that exists already: principals it has keep their keys. Raises KeyRefused on a bad or double name.
    """
    sites, people = list(sites), list(people)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
    old = load_roles(directory) if (directory / ROLES_FILE).exists() else Roles({}, ())
    names = [*sites, *(n for n, _ in people)]
    for name in names:
        if names.count(name) > 1 or name in old.principals:
            raise KeyRefused(f"{name!r} is named twice, or already in {directory / ROLES_FILE}")
    for name, role in people:
        if role not in ROLES:
            raise KeyRefused(f"{name}: role {role!r}; roles are {', '.join(ROLES)}")
    made = {n: new_secret(n) for n in names}
    principals = dict(old.principals)
    for n in names:
        write_secret(directory, made[n])
        principals[n] = principal_of(made[n], "site" if n in sites else "person")
    all_sites = [n for n, p in principals.items() if p.kind == "site"]
    grants = list(old.grants)
    old_roles = {(g.who, g.role) for g in old.grants}
    for name, role in people:
        grants += [Grant(name, role, s, arm) for s in all_sites]
    for who, role in sorted(old_roles):
        grants += [Grant(who, role, s, arm) for s in sites]
    roles = Roles(principals, tuple(grants), old.revoked)
    write_roles(directory / ROLES_FILE, roles)
    return roles


def revoke(directory: Path, name: str) -> Roles:
    """Put a principal's CURVE key on the revocation list. Raises KeyRefused if there is no such principal."""
    roles = load_roles(directory)
    if name not in roles.principals:
        raise KeyRefused(f"no principal {name!r} in {directory}; known: {', '.join(sorted(roles.principals))}")
    roles = Roles(roles.principals, roles.grants, roles.revoked | {roles.principals[name].curve})
    write_roles(directory / ROLES_FILE, roles)
    return roles


def _toml(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise KeyRefused(f"{path}: not TOML: {e}") from None


def _text(data: object, key: str, where: object) -> str:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, str) or not value:
        raise KeyRefused(f"{where}: {key} is missing or not a text")
    return value


def _list(data: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise KeyRefused(f"{path}: {key} must be a list")
    return value


def _table(data: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise KeyRefused(f"{path}: [{key}.NAME] tables expected")
    return value
