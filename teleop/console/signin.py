"""Tokens: who a page is. A token is bound to one person, one role and one signing key.

The token travels in the URL's fragment (never sent to a server, never in a log) and then in the first websocket message
and the Authorization header. The file holds only SHA-256 digests, so reading it gives nobody a seat.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from teleop.console.contracts import ConsoleError, Principal, Role


def digest(token: str) -> str:
    """Hex SHA-256 of a token (tokens are 192 random bits, so no salt or stretching is needed)."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens of this server. `issue` makes one, `who` looks one up, `load`/`save` keep digests in a 0600 file."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Principal] = {}
        #: Who came by invitation (`teleop.console.together`), asked when a token is none of ours.
        self.guests: Callable[[str], Principal | None] | None = None

    def issue(self, principal: Principal) -> str:
        """Make a new token for a person; it is shown once."""
        token = secrets.token_urlsafe(24)
        self._by_digest[digest(token)] = principal
        return token

    def who(self, token: object) -> Principal | None:
        """The person behind a token, or None. Constant-time per entry."""
        if not isinstance(token, str) or not 8 <= len(token) <= 128:
            return None
        wanted = digest(token)
        found = None
        for known, principal in self._by_digest.items():
            if hmac.compare_digest(known, wanted):
                found = principal
        return found or (self.guests(token) if self.guests is not None else None)

    def save(self, path: Path) -> None:
        """Write digests, names and roles, readable by the owner alone."""
        rows = [{"sha256": d, "name": p.name, "role": p.role.value, "key": p.key} for d, p in self._by_digest.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"v": 1, "tokens": rows}, file, indent=1)

    def load(self, path: Path) -> None:
        """Read a token file. Raises ConsoleError when others can read it or it is malformed."""
        if path.stat().st_mode & 0o077:
            raise ConsoleError(f"{path} can be read by others: chmod 600 {path}")
        try:
            for row in json.loads(path.read_text())["tokens"]:
                self._by_digest[str(row["sha256"])] = Principal(str(row["name"]), Role(row["role"]), str(row["key"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConsoleError(f"{path} is not a token file ({error}): delete it and issue new tokens") from None
