"""A peer that was written from docs/wire.md alone talks with a real site's link."""

import ast
import importlib.util
import subprocess
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import pytest

from teleop.link.events import CommandFrame, Order, SessionOpened, Stop
from teleop.link.keys import load_roles, load_secret, make_directory
from teleop.link.site import SiteLink
from tests.link.conftest import free_base

ROOT = Path(__file__).resolve().parents[2]
STRANGER = ROOT / "examples" / "stranger_peer.py"


@pytest.fixture(scope="module")
def stranger() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stranger_peer", STRANGER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Site:
    """A site's link in a thread: sends states, echoes stops, answers orders."""

    def __init__(self, keys: Path, **options: Any) -> None:
        self.base = free_base()
        b = self.base
        versions = options.pop("versions", {"command": 1, "state": 1})
        self.link = SiteLink(
            "a", load_secret(keys / "a"), load_roles(keys), orders_port=b, stop_port=b + 1, stream_ports=(b + 2, b + 3),
            versions=versions, **options,
        )  # fmt: skip
        self.events: list[Any] = []
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        stamp = 0
        while not self.end.is_set():
            self.link.wait(5.0)
            for event in self.link.poll():
                self.events.append(event)
                if isinstance(event, Stop):
                    self.link.echo_stop(event.key, event.ordinal)
                elif isinstance(event, Order):
                    self.link.reply(event.key, event.id, {"ok": False, "reason": "unknown order"})
            stamp += 1
            self.link.send_state(msgpack.packb({"v": 1, "t": stamp, "arm": {}, "gov": {}, "tracker": None, "video": []}))
        self.link.close()

    def close(self) -> None:
        self.end.set()
        self.thread.join(10)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_directory(tmp_path / "keys", ["a"], [("lin", "surgeon")])
    return tmp_path / "keys"


def ask(stranger: ModuleType, keys: Path, base: int, seconds: float = 3.0) -> dict[str, Any]:
    return dict(stranger.talk(Namespace(keys=keys / "lin", roles=keys / "roles.toml", site="a", host="127.0.0.1", base=base, seconds=seconds)))


def test_the_stranger_imports_nothing_of_ours() -> None:
    names = {n for node in ast.walk(ast.parse(STRANGER.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
             for n in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])}  # fmt: skip
    assert not any(n.split(".")[0] in ("teleop", "safety", "sim", "longhand_ros") for n in names)


def test_it_joins_reads_states_is_answered_and_its_stop_is_echoed(stranger: ModuleType, keys: Path) -> None:
    site = Site(keys)
    try:
        got = ask(stranger, keys, site.base)
    finally:
        site.close()
    assert got["site"] == "a" and got["paths"] == 2 and got["release"]
    assert got["states"] > 20 and got["stamp"] > 20 and got["foreign"] == 0
    assert got["reply"] == {"ok": False, "reason": "unknown order"} and got["stop_echoed"]
    kinds = {type(e) for e in site.events}
    assert {SessionOpened, Order, Stop, CommandFrame} <= kinds
    assert [e.data for e in site.events if isinstance(e, CommandFrame)] == [b"\x80"], "two copies came, one was handed on"


def test_a_site_from_the_future_refuses_it_in_words(stranger: ModuleType, keys: Path) -> None:
    site = Site(keys, versions={"command": 2, "state": 1}, release="9.0.0")
    try:
        got = ask(stranger, keys, site.base, 10.0)
    finally:
        site.close()
    assert got["refused"] == "version" and "command: console 1, site a 2" in got["text"] and "9.0.0" in got["text"]
    assert "at the console, which is the older" in got["text"]


def test_a_key_that_the_site_does_not_know_gets_nothing(stranger: ModuleType, keys: Path, tmp_path: Path) -> None:
    make_directory(tmp_path / "other", ["a"], [("lin", "surgeon")])
    site = Site(keys)
    try:
        args = Namespace(keys=tmp_path / "other" / "lin", roles=keys / "roles.toml", site="a", host="127.0.0.1", base=site.base, seconds=1.5)
        got = stranger.talk(args)
    finally:
        site.close()
    assert got["states"] == 0 and got["reply"] is None and "site" not in got and not got["stop_echoed"]


def test_the_test_vector_of_the_page_is_what_the_stranger_seals(stranger: ModuleType) -> None:
    sealed = stranger.seal(bytes(range(32)), bytes(range(16)), 7, 1, stranger.COMMAND, 258, 5_000_000, b"longhand")
    assert sealed.hex() in (ROOT / "docs" / "wire.md").read_text()


def test_it_runs_as_a_command(keys: Path) -> None:
    site = Site(keys)
    try:
        began = time.monotonic()
        words = [sys.executable, str(STRANGER), "--keys", str(keys / "lin"), "--roles", str(keys / "roles.toml"), "--base", str(site.base), "--seconds", "2"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    finally:
        site.close()
    assert done.returncode == 0 and '"site": "a"' in done.stdout, done.stderr
    assert time.monotonic() - began < 60
