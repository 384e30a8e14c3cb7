"""The relay with real sockets, in this process and as a process."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from sim.network.profiles import profile
from sim.network.relay import Relay, Route, ask, site_routes


def port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def until(condition: Callable[[], Any], turn: Callable[[], None], what: str) -> Any:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        turn()
        if value := condition():
            return value
    pytest.fail(f"did not happen: {what}")


@pytest.fixture
def udp() -> Iterator[Any]:
    """An echo-less site socket, a client, and a relay between them."""
    site = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    site.bind(("127.0.0.1", 0))
    listen = port()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", listen))
    for s in (site, client):
        s.setblocking(False)
    made: list[Relay] = []

    def start(name: str, seed: int = 1) -> Relay:
        made.append(Relay([Route("udp", 0, ("127.0.0.1", listen), site.getsockname())], profile(name), seed))
        return made[0]

    yield SimpleNamespace(site=site, client=client, start=start)
    for s in (site, client):
        s.close()
    for r in made:
        r.close()


def drain(sock: socket.socket) -> list[tuple[bytes, Any]]:
    out = []
    while True:
        try:
            out.append(sock.recvfrom(65536))
        except OSError:
            return out


def test_datagrams_pass_both_ways(udp: Any) -> None:
    relay = udp.start("perfect")
    udp.client.send(b"there")
    [(data, source)] = until(lambda: drain(udp.site), lambda: relay.turn(0.01), "there")
    assert data == b"there"
    udp.site.sendto(b"back", source)
    assert until(lambda: drain(udp.client), lambda: relay.turn(0.01), "back")[0][0] == b"back"


def test_the_counters_prove_that_the_impairment_struck(udp: Any) -> None:
    relay = udp.start("bad")
    got: list[bytes] = []

    def turn() -> None:
        relay.turn(0.001)
        got.extend(d for d, _ in drain(udp.site))

    for i in range(1000):
        udp.client.send(i.to_bytes(2, "big") * 20)
        if i % 20 == 0:
            turn()
    up = relay.stats()[0]["up"]
    until(lambda: (relay._routes[0].next_due() is None and up["entered"]) or (relay.stats()[0]["up"]["entered"] == 1000
          and relay._routes[0].next_due() is None), turn, "all through")  # fmt: skip
    turn()
    up = relay.stats()[0]["up"]
    assert min(up["lost"], up["reordered"], up["duplicated"]) > 0
    assert len(got) == up["delivered"] == 1000 - up["lost"] + up["duplicated"]
    order = [int.from_bytes(d[:2], "big") for d in got]
    assert order != sorted(order)


def test_a_cut_path_passes_nothing_in_the_direction_that_is_cut(udp: Any) -> None:
    relay = udp.start("perfect")
    udp.client.send(b"hello")
    [(_, source)] = until(lambda: drain(udp.site), lambda: relay.turn(0.01), "hello")
    assert relay.command({"t": "cut", "seconds": 60, "direction": "up"})["ok"]
    udp.client.send(b"lost")
    udp.site.sendto(b"feedback", source)
    assert until(lambda: drain(udp.client), lambda: relay.turn(0.01), "feedback")[0][0] == b"feedback"
    until(lambda: relay.stats()[0]["up"]["cut"] == 1, lambda: relay.turn(0.01), "counted")
    assert drain(udp.site) == []
    relay.command({"t": "heal"})
    udp.client.send(b"again")
    assert until(lambda: drain(udp.site), lambda: relay.turn(0.01), "healed")[0][0] == b"again"


def test_the_line_can_be_changed_while_it_runs(udp: Any) -> None:
    relay = udp.start("perfect")
    assert relay.command({"t": "set", "profile": "satellite", "paths": [0]})["ok"]
    start = time.monotonic_ns()
    udp.client.send(b"far")
    until(lambda: drain(udp.site), lambda: relay.turn(0.01), "arrived")
    assert time.monotonic_ns() - start > 270_000_000


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"t": "explode"}, "cut, heal, set"),
        ({"t": "cut", "paths": [2]}, "paths are 0 to 1"),
        ({"t": "cut", "seconds": "long"}, "could not convert"),
        ({"t": "cut", "direction": "sideways"}, "both, up or down"),
        ({"t": "set", "profile": "moon"}, "no network profile"),
        ({}, "cut, heal, set"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(udp: Any, request_: dict[str, Any], says: str) -> None:
    answer = udp.start("perfect").command(request_)
    assert not answer["ok"] and says in answer["reason"]


def test_tcp_is_stalled_but_loses_nothing() -> None:
    site = socket.create_server(("127.0.0.1", 0))
    site.setblocking(False)
    listen = port(socket.SOCK_STREAM)
    relay = Relay([Route("tcp", 0, ("127.0.0.1", listen), site.getsockname())], profile("bad"), 1)
    client = socket.create_connection(("127.0.0.1", listen))
    client.setblocking(False)
    try:
        def accept() -> Any:
            try:
                return site.accept()
            except BlockingIOError:
                return None

        server, _ = until(accept, lambda: relay.turn(0.01), "the connection")
        server.setblocking(False)
        data = bytes(range(256)) * 1600
        sent, got = 0, bytearray()

        def turn() -> None:
            nonlocal sent
            if sent < len(data):
                with contextlib.suppress(BlockingIOError):
                    sent += client.send(data[sent : sent + 1000])
            relay.turn(0.002)
            with contextlib.suppress(BlockingIOError):
                got.extend(server.recv(65536))

        until(lambda: len(got) > 10_000, turn, "bytes flow")
        relay.command({"t": "cut", "seconds": 60})
        until(lambda: sent == len(data), turn, "the client's kernel takes the rest")
        n = len(got)
        for _ in range(50):
            turn()
        assert len(got) == n, "an outage stalls"
        relay.command({"t": "heal"})
        until(lambda: len(got) == len(data), turn, "the rest")
        assert bytes(got) == data
        assert relay.stats()[0]["up"]["lost"] > 0, "the loss struck, as waits"
        server.close()
        assert relay.command({"t": "drop_tcp"})["dropped"] == 1
    finally:
        client.close()
        site.close()
        relay.close()


def test_the_process_relays_obeys_its_control_socket_and_leaves_nothing(tmp_path: Path) -> None:
    site = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    site.bind(("127.0.0.1", 0))
    site.settimeout(20)
    listen, control = port(), tmp_path / "relay.sock"
    config = tmp_path / "relay.json"
    config.write_text(json.dumps({
        "profile": "perfect", "seed": 2, "control": str(control),
        "routes": [{"kind": "udp", "path": 1, "listen": ["127.0.0.1", listen], "to": list(site.getsockname())}],
    }))  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "sim.network.relay", "--config", str(config)],
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        assert process.stdout and "TCP can only be delayed and stalled" in process.stdout.readline() + process.stdout.readline()
        client.connect(("127.0.0.1", listen))
        client.send(b"x")
        assert site.recv(10) == b"x"
        assert control.stat().st_mode & 0o077 == 0
        assert ask(control, {"t": "cut", "seconds": 30, "paths": [1]})["ok"]
        client.send(b"y")
        deadline = time.monotonic() + 20
        while ask(control, {"t": "stats"})["stats"][0]["up"]["cut"] != 1:
            assert time.monotonic() < deadline
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(20)
            s.connect(str(control))
            for junk, says in ((b"\xc1", "not msgpack"), (msgpack.packb([1]), "a map expected")):
                s.send(junk)
                assert says in msgpack.unpackb(s.recv(9999))["reason"]
        process.terminate()
        assert process.wait(20) == 0
        assert not control.exists()
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", listen))
    finally:
        process.kill()
        process.wait()
        site.close()
        client.close()
        if process.stdout:
            process.stdout.close()


def test_a_port_in_use_and_a_bad_configuration_are_named(tmp_path: Path) -> None:
    def run(*args: str) -> str:
        done = subprocess.run([sys.executable, "-m", "sim.network.relay", *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        return done.stderr

    config = tmp_path / "c.json"
    config.write_text("{}")
    assert str(config) in run("--config", str(config))
    assert "no network profile" in run("--site-base", "30000", "--relay-base", "30050", "--profile", "moon")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        taken = held.getsockname()[1]
        config.write_text(json.dumps({"profile": "perfect", "routes": [
            {"kind": "udp", "path": 0, "listen": ["127.0.0.1", taken], "to": ["127.0.0.1", 9]}]}))  # fmt: skip
        assert f"udp port {taken}" in run("--config", str(config))


def test_the_routes_of_a_site_give_every_path_its_orders_stop_and_stream() -> None:
    routes = site_routes(7400, 7450)
    by_path = {p: sorted((r.kind, r.to[1]) for r in routes if r.path == p) for p in (0, 1)}
    assert by_path == {
        0: [("tcp", 7400), ("tcp", 7401), ("udp", 7402)],
        1: [("tcp", 7400), ("tcp", 7401), ("udp", 7403)],
    }
    assert len({r.listen[1] for r in routes}) == 6
