"""Which key may do what: a table keyed by CURVE public keys, from `roles.toml`. Everything not listed may only stop.

    [[key]]
    key = "<40 characters of z85>"
    name = "Dr A. Example"
    roles = ["surgeon"]            # surgeon: may ask for control and hold it. observer: may look and stop.
    arms = ["*"]                   # or ["a/arm1", ...]

The table that `longhand keys` writes is read as well: `[principal.NAME]` with `kind` and `curve`, `[[grant]]` with
`who`, `role`, `site`, `arm`, and the list `revoked`, whose keys are nobody here. A mentor is an observer here.

Raises `RolesError` on a file that cannot be read as that: a broken table is never guessed at.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLE_NAMES = ("surgeon", "observer")


class RolesError(ValueError):
    """The role table is malformed; the text names the entry."""


@dataclass(frozen=True, slots=True)
class Roles:
    """entries: (key, name, roles) of the keys that concern this arm, sorted by key."""

    entries: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def has(self, key: str, role: str) -> bool:
        return any(k == key and role in roles for k, _, roles in self.entries)

    def name(self, key: str) -> str:
        """The person, or the begin of the key."""
        for k, name, _ in self.entries:
            if k == key:
                return name
        return key if len(key) < 12 else key[:8] + "…"


def roles_from(text: str, site: str, arm: str, where: str = "roles.toml") -> Roles:
    """Parse the table for one arm. Raises `RolesError`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RolesError(f"{where}: not TOML: {error}") from error
    if "principal" in table:
        return _from_grants(table, site, arm, where)
    entries = []
    unknown = set(table) - {"key"}
    if unknown or type(table.get("key", [])) is not list:
        raise RolesError(f"{where}: expected [[key]] tables only, found {sorted(unknown) or 'another kind of key'}")
    for i, entry in enumerate(table.get("key", []), 1):
        at = f"{where}, entry {i}"
        if (
            type(entry) is not dict
            or set(entry) - {"key", "name", "roles", "arms"}
            or not {"key", "roles"} <= set(entry)
        ):
            raise RolesError(f"{at}: needs key and roles, allows name and arms, nothing else")
        key, name = entry["key"], entry.get("name", "")
        roles, arms = entry["roles"], entry.get("arms", ["*"])
        if type(key) is not str or len(key) != 40:
            raise RolesError(f"{at}: key needs 40 characters of z85")
        if type(name) is not str or type(roles) is not list or type(arms) is not list:
            raise RolesError(f"{at}: name is text, roles and arms are lists")
        wrong = [r for r in roles if r not in ROLE_NAMES]
        if wrong:
            raise RolesError(f"{at}: unknown role {wrong[0]!r}; known: {', '.join(ROLE_NAMES)}")
        if "*" in arms or f"{site}/{arm}" in arms:
            entries.append((key, name, tuple(roles)))
    if len({k for k, _, _ in entries}) != len(entries):
        raise RolesError(f"{where}: a key is listed twice")
    return Roles(tuple(sorted(entries)))


#: What a role of the key directory means to the governor; reviewer and bedside hold nothing over the link.
_GRANTED = {"surgeon": ("surgeon",), "mentor": ("observer",), "observer": ("observer",), "reviewer": (), "bedside": ()}


def _from_grants(table: dict[str, Any], site: str, arm: str, where: str) -> Roles:
    principals, grants, revoked = table["principal"], table.get("grant", []), table.get("revoked", [])
    if type(principals) is not dict or type(grants) is not list or type(revoked) is not list:
        raise RolesError(f"{where}: expected [principal.NAME], [[grant]] and a list revoked")
    entries: dict[str, tuple[str, set[str]]] = {}
    for i, grant in enumerate(grants, 1):
        at = f"{where}, grant {i}"
        if type(grant) is not dict or not all(type(grant.get(k)) is str for k in ("who", "role", "site")):
            raise RolesError(f"{at}: needs the texts who, role and site")
        if grant["role"] not in _GRANTED:
            raise RolesError(f"{at}: unknown role {grant['role']!r}; known: {', '.join(_GRANTED)}")
        who = principals.get(grant["who"])
        key = who.get("curve") if type(who) is dict else None
        if type(key) is not str or len(key) != 40:
            raise RolesError(f"{at}: {grant['who']!r} is no principal with a CURVE key of 40 characters")
        if grant["site"] == site and grant.get("arm", "*") in ("*", arm) and key not in revoked:
            entries.setdefault(key, (grant["who"], set()))[1].update(_GRANTED[grant["role"]])
    return Roles(tuple(sorted((k, n, tuple(sorted(r))) for k, (n, r) in entries.items() if r)))


def read_roles(path: Path, site: str, arm: str) -> Roles:
    """Raises `RolesError` or OSError."""
    return roles_from(path.read_text(encoding="utf-8"), site, arm, str(path))
