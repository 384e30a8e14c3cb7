"""The console's list of sites (`list.json`): who they are, where they are, and a started session with each.

    {"keys_dir": ..., "console": NAME, "sites": [{"name": ..., "host": ..., "base": PORT, "relay_base": PORT or 0}, ...]}
"""

from pathlib import Path
from typing import Any

from teleop.case.console_session import ConsoleSession
from teleop.link.console import ConsoleLink
from teleop.link.endpoint import direct_endpoint, relay_endpoint
from teleop.link.keys import SecretKeys, load_roles, load_secret
from teleop.wire import VERSIONS


def sessions_of(listed: dict[str, Any]) -> tuple[list[ConsoleSession], SecretKeys]:
    """One started session per site of the list, and the console's own keys.

    Raises KeyError (a field is missing), OSError, ValueError, LinkError (keys that cannot be used)."""
    keys = load_secret(Path(listed["keys_dir"]) / listed["console"])
    roles = load_roles(Path(listed["keys_dir"]))
    out = []
    for site in listed["sites"]:
        pinned = roles.site_key(site["name"])
        if site.get("relay_base"):
            endpoint = relay_endpoint(site["name"], pinned, site["relay_base"], site["host"])
        else:
            endpoint = direct_endpoint(site["name"], pinned, site["base"], site["host"])
        link = ConsoleLink(endpoint, keys, versions=VERSIONS).start()
        out.append(ConsoleSession(site["name"], link, keys.curve_public))
    return out, keys
