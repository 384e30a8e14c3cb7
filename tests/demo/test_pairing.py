"""Two machines agree on a demo: public keys only, under one phrase; whoever has another phrase learns and changes nothing."""

import socket
import struct
import threading

import pytest

from sim.demo import pairing
from sim.demo.pairing import PairingError
from teleop.link.keys import load_roles, load_secret, make_directory

PHRASE = "a phrase of many letters"


class Hospitals:
    """The hospitals' machine, in a thread."""

    def __init__(self, sites, phrase=PHRASE):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.sites, self.phrase = sites, phrase
        self.refused, self.got = [], None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with pairing.offered(self.sock, self.phrase, self.refused.append) as (console, first, answer):
            self.got = console, first
            answer(self.sites(console) if callable(self.sites) else self.sites)


def rows(keys_dir):
    roles = load_roles(keys_dir)
    return [
        {"name": n, "host": "192.0.2.20", "base": 7400 + 100 * k, "relay_base": 7450 + 100 * k, "curve": p.curve, "ed25519": p.ed25519}
        for k, (n, p) in enumerate(roles.principals.items()) if p.kind == "site"
    ]  # fmt: skip


def test_each_side_ends_up_with_the_others_public_keys_and_nobody_with_anybodys_secrets(tmp_path):
    there, here = tmp_path / "hospitals", tmp_path / "surgeon"
    make_directory(there, ["tianjin", "karamay"], [("beijing", "surgeon")])
    make_directory(here, [], [("beijing", "surgeon")])
    me = load_roles(here).principals["beijing"]
    h = Hospitals(lambda console: (pairing.welcome(there, console), rows(there))[1])
    sites = pairing.fetch("127.0.0.1", h.port, PHRASE, me, first=3)
    pairing.take_in(here, sites)
    h.thread.join(5)
    assert h.got == (me, 3)
    roles = load_roles(there)
    assert roles.principals["beijing"].curve == load_secret(here / "beijing").curve_public, "the surgeon's own key, made there"
    assert roles.role_of(me.curve, "tianjin", "arm1") == "surgeon"
    assert load_roles(here).site_key("karamay") == load_secret(there / "karamay").curve_public
    assert not (here / "karamay").exists()


def test_a_stranger_is_refused_and_the_right_machine_still_comes_in(tmp_path):
    make_directory(tmp_path, ["tianjin"], [("beijing", "surgeon")])
    me = load_roles(tmp_path).principals["beijing"]
    h = Hospitals(rows(tmp_path))
    with pytest.raises(PairingError, match="closed the connection: another phrase"):
        pairing.fetch("127.0.0.1", h.port, "a phrase nobody gave us", me, 0)
    for junk in (b"", b"GET / HTTP/1.1\r\n\r\n" * 4, bytes(16) + struct.pack(">I", 1 << 30), bytes(16) + struct.pack(">I", 60) + bytes(60)):
        with socket.create_connection(("127.0.0.1", h.port)) as s:
            s.sendall(junk)
    assert pairing.fetch("127.0.0.1", h.port, PHRASE, me, 0)[0]["name"] == "tianjin"
    h.thread.join(5)
    assert len(h.refused) == 5 and any("another phrase" in words for words in h.refused)


@pytest.mark.parametrize("answer", [[], [{"name": "x"}], "x", [{"name": "a", "host": 1}]])
def test_an_answer_without_hospitals_is_refused(tmp_path, answer):
    make_directory(tmp_path, [], [("beijing", "surgeon")])
    with pytest.raises(PairingError, match="names no hospitals"):
        pairing.fetch("127.0.0.1", Hospitals(answer).port, PHRASE, load_roles(tmp_path).principals["beijing"], 0)


def test_two_machines_with_one_hospitals_name_are_refused(tmp_path):
    make_directory(tmp_path / "a", ["tianjin"], [("beijing", "surgeon")])
    make_directory(tmp_path / "me", [], [("beijing", "surgeon")])
    pairing.take_in(tmp_path / "me", rows(tmp_path / "a"))
    with pytest.raises(PairingError, match="two machines offer a hospital 'tianjin'"):
        pairing.take_in(tmp_path / "me", rows(tmp_path / "a"))


def test_a_machine_that_is_not_there_is_named_with_what_to_do(tmp_path):
    make_directory(tmp_path, [], [("beijing", "surgeon")])
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    with pytest.raises(PairingError, match=f"127.0.0.1:{port}.*--serve"):
        pairing.fetch("127.0.0.1", port, PHRASE, load_roles(tmp_path).principals["beijing"], 0)


@pytest.mark.parametrize("text", ["", "host", "host:", ":7390", "host:0", "host:70000", "host:x"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(PairingError, match="host:port"):
        pairing.address(text)


def test_the_phrase_is_made_once_private_and_strong(tmp_path):
    file = tmp_path / "phrase"
    with pytest.raises(PairingError, match="copy the file"):
        pairing.phrase_of(file, make=False)
    made = pairing.phrase_of(file, make=True)
    assert pairing.phrase_of(file, make=True) == pairing.phrase_of(file, make=False) == made
    assert len(made) >= 20 and file.stat().st_mode & 0o777 == 0o600
    file.write_text("short")
    with pytest.raises(PairingError, match="at least 16"):
        pairing.phrase_of(file, make=False)
