"""A site and consoles on the loopback, pumped in one loop until something has happened (never a sleep)."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from teleop.link.console import ConsoleLink
from teleop.link.endpoint import direct_endpoint
from teleop.link.keys import Roles, load_roles, load_secret, make_directory
from teleop.link.site import SiteLink

VERSIONS = {"command": 1, "state": 1}


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sites a and b; lin and mei are surgeons, zhao is a mentor, at both."""
    directory = tmp_path_factory.mktemp("keys") / "k"
    make_directory(directory, ["a", "b"], [("lin", "surgeon"), ("mei", "surgeon"), ("zhao", "mentor")])
    return directory


def free_base(n: int = 6) -> int:
    """A port such that it and the next n - 1 are free for TCP and UDP at this moment."""
    for base in range(21000, 29000, 10):
        held = []
        try:
            for port in range(base, base + n):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    s = socket.socket(socket.AF_INET, kind)
                    held.append(s)
                    s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise RuntimeError("no free ports")


class Bench:
    """One site and any number of consoles. `site_events`, `events[name]` keep everything that happened."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        self.roles: Roles = load_roles(keys)
        self.base = free_base()
        self.site: SiteLink | None = None
        self.consoles: dict[str, ConsoleLink] = {}
        self.site_events: list[Any] = []
        self.events: dict[str, list[Any]] = {}
        self.extra: list[Callable[[], None]] = []
        self.open_site()

    def open_site(self, **options: Any) -> SiteLink:
        self.site = SiteLink(
            "a", load_secret(self.keys / "a"), self.roles, orders_port=self.base, stop_port=self.base + 1,
            stream_ports=(self.base + 2, self.base + 3), versions=VERSIONS, **options,
        )  # fmt: skip
        return self.site

    def close_site(self) -> None:
        assert self.site is not None
        self.site.close()
        self.site = None

    def console(self, name: str = "lin", **options: Any) -> ConsoleLink:
        endpoint = options.pop("endpoint", None) or direct_endpoint("a", self.roles.site_key("a"), self.base)
        secret = options.pop("keys", None) or load_secret(self.keys / name)
        link = ConsoleLink(endpoint, secret, versions=options.pop("versions", VERSIONS), **options).start()
        self.consoles[name] = link
        self.events[name] = []
        return link

    def turn(self) -> None:
        for f in self.extra:
            f()
        if self.site is not None:
            self.site.wait(1)
            self.site_events += self.site.poll()
        for name, link in self.consoles.items():
            if self.site is None:
                link.wait(1)
            self.events[name] += link.poll()

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Pump until `condition()` is true; fail with `what` and everything seen otherwise."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()
            if value := condition():
                return value
        pytest.fail(f"did not happen: {what}; site saw {self.site_events[-10:]}, consoles saw "
                    f"{ {n: e[-10:] for n, e in self.events.items()} }")  # fmt: skip

    def turns(self, n: int) -> None:
        for _ in range(n):
            self.turn()

    def seen(self, kind: type, name: str | None = None) -> list[Any]:
        """Events of a kind at a console, or at the site."""
        return [e for e in (self.site_events if name is None else self.events[name]) if isinstance(e, kind)]

    def up(self, name: str = "lin") -> ConsoleLink:
        """Wait until this console has a session and both datagram paths are alive at both ends."""
        link = self.consoles[name]

        def ready() -> bool:
            assert self.site is not None
            mine = [s for s in self.site.stats()["sessions"] if s["key"] == load_secret(self.keys / name).curve_public]
            return bool(
                link.session
                and all(p["alive"] for p in link.stats()["paths"])
                and mine
                and all(p["alive"] for p in mine[0]["paths"])
                and all(r["connected"] for r in link.stats()["routes"])
            )

        self.until(ready, f"session of {name}")
        return link

    def close(self) -> None:
        for c in self.consoles.values():
            c.close()
        if self.site is not None:
            self.site.close()


@pytest.fixture
def bench(keys_dir: Path) -> Iterator[Bench]:
    b = Bench(keys_dir)
    yield b
    b.close()


@pytest.fixture
def ports() -> SimpleNamespace:
    """Free ports, for tests that open sockets of their own."""
    return SimpleNamespace(base=free_base(20))
