"""The surgeon's signature under a plan: Ed25519 over the plan's hash, by the key that the console's person is bound to."""

from dataclasses import dataclass
from typing import Any

from teleop.case.stored_plan import SIGNED_PREFIX
from teleop.console.contracts import ConsoleError, Principal
from teleop.link.keys import SecretKeys


@dataclass(frozen=True)
class Signer:
    """`keys`: name of a key -> secret keys of this console."""

    keys: dict[str, SecretKeys]

    def sign(self, who: Principal, plan_hash: str) -> dict[str, Any]:
        """{"key": public key (hex), "signature": hex}. Raises ConsoleError when this person has no key here."""
        secret = self.keys.get(who.key)
        if secret is None:
            raise ConsoleError(
                f"{who.name} has no signing key on this console: sign in with a token that is bound to one"
            )
        return {
            "key": secret.ed25519_public,
            "signature": secret.signer().sign(SIGNED_PREFIX + plan_hash.encode()).hex(),
        }
