"""Versions of neighbours: which console and which site work together, and what is said when they do not (docs/deploy.md).

Two kinds of numbers travel in hello and welcome. *Protocol numbers* (the link's, the command's, the state frame's) decide: they change only
when the bytes change their meaning, and must be equal. The *release* is for people: releases with equal numbers work together,
whatever they are called. Keys that a reader does not know are ignored in hello and welcome, so that a later release may add some.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

LINK_PROTOCOL = "link protocol"


@cache
def own_release() -> str:
    """The release of Longhand that runs here, "unknown" where it was not installed as a package."""
    try:
        return version("longhand")
    except PackageNotFoundError:
        return "unknown"


def release_in(message: Mapping[str, Any]) -> str:
    """The peer's release as it says it: for people only, never decided by. "" where it says none."""
    text = message.get("release")
    return text[:32] if isinstance(text, str) and text.isprintable() else ""


def skew(site: str, console: Mapping[str, Any], ours: Mapping[str, int], their_release: str, our_release: str) -> str:
    """Why a console cannot work with this site, for people; "" if it can. Only numbers that the site has are compared."""
    wrong = [(name, console.get(name), v) for name, v in ours.items() if console.get(name) != v or type(console.get(name)) is not int]
    if not wrong:
        return ""
    what = "; ".join(f"{name}: console {repr(a)[:20]}, site {site} {b!r}" for name, a, b in wrong)
    newer = {type(a) is int and a > b for _, a, b in wrong}
    who = "at both ends"
    if newer == {True}:
        who = f"at site {site}, which is the older one"
    elif newer == {False}:
        who = "at the console, which is the older one"
    releases = f"console release {their_release or 'unknown'}, site release {our_release}"
    return f"versions differ: {what} ({releases}). Install the newer release {who}."
