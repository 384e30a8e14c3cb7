"""Console and site over real sockets on the loopback, the network's and other people's misdeeds included."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from sim.network.profiles import profile
from sim.network.relay import Relay, site_routes
from teleop.link import messages
from teleop.link.curve import client_socket
from teleop.link.endpoint import SiteEndpoint, direct_endpoint, relay_endpoint
from teleop.link.errors import BadMessage, KeyRefused, PortInUse
from teleop.link.events import (
    TCP_PATH,
    CommandFrame,
    Down,
    Fallback,
    Intruder,
    Note,
    Order,
    OrderLost,
    PathChange,
    Refused,
    Reply,
    RouteChange,
    SessionClosed,
    SessionOpened,
    StateFrame,
    Stop,
    StopEchoed,
    Up,
)
from teleop.link.keys import Roles, load_secret, make_directory, new_secret
from teleop.link.seal import DATAGRAM_MAX_BYTES
from teleop.link.site import SiteLink


def key_of(bench: Any, name: str) -> str:
    return str(bench.roles.principals[name].curve)


# --- the good case ---------------------------------------------------------------------------------------------------


def test_commands_and_states_arrive_once_with_the_key_that_sent_them(bench: Any) -> None:
    bench.console()
    link = bench.up()
    assert link.send_command(b"hello")
    got = bench.until(lambda: bench.seen(CommandFrame), "the command")
    assert got[0].data == b"hello" and got[0].key == key_of(bench, "lin") and got[0].session == link.session
    bench.site.send_state(b"state")
    state = bench.until(lambda: bench.seen(StateFrame, "lin"), "the state")
    assert state[0].data == b"state"
    bench.until(lambda: link.stats()["stream"]["copies"] == 1, "the second copy of the state")
    bench.turns(5)
    assert len(bench.seen(CommandFrame)) == 1 and len(bench.seen(StateFrame, "lin")) == 1


def test_an_order_is_delivered_once_and_answered(bench: Any) -> None:
    bench.console()
    link = bench.up()
    number = link.order({"op": "request", "x": [1, 2.5, b"z"]})
    order = bench.until(lambda: bench.seen(Order), "the order")[0]
    assert (order.key, order.id, order.order) == (key_of(bench, "lin"), number, {"op": "request", "x": [1, 2.5, b"z"]})
    bench.until(lambda: bench.site.counters.n.get("order_repeated"), "its copy by the other route")
    bench.site.reply(order.key, order.id, {"ok": True})
    reply = bench.until(lambda: bench.seen(Reply, "lin"), "the reply")
    assert reply[0].reply == {"ok": True}
    bench.turns(5)
    assert len(bench.seen(Order)) == 1 and len(bench.seen(Reply, "lin")) == 1


def test_notes_reach_every_console_or_the_one_that_is_meant(bench: Any) -> None:
    bench.console("lin"), bench.console("zhao")
    bench.up("lin"), bench.up("zhao")
    bench.site.notify({"n": 1})
    bench.site.notify({"n": 2}, key_of(bench, "zhao"))
    bench.until(lambda: len(bench.seen(Note, "zhao")) == 2 and bench.seen(Note, "lin"), "notes")
    bench.turns(5)
    assert [n.note["n"] for n in bench.seen(Note, "lin")] == [1]
    assert [n.note["n"] for n in bench.seen(Note, "zhao")] == [1, 2]


def test_a_stop_is_repeated_until_it_is_echoed(bench: Any) -> None:
    bench.console()
    link = bench.up()
    ordinal = link.stop()
    bench.until(lambda: len(bench.seen(Stop)) >= 3, "a stop handed on again while nobody echoes it")
    assert {(s.key, s.ordinal) for s in bench.seen(Stop)} == {(key_of(bench, "lin"), ordinal)}
    assert not bench.seen(StopEchoed, "lin")
    bench.site.echo_stop(key_of(bench, "lin"), ordinal)
    bench.until(lambda: bench.seen(StopEchoed, "lin"), "the echo")
    bench.turns(20)
    n = len(bench.seen(Stop))
    bench.turns(50)
    assert len(bench.seen(Stop)) == n, "said no more"


def test_a_stop_needs_no_session(bench: Any) -> None:
    """Only the stop port is reachable: the stop still arrives, with its key."""
    address = direct_endpoint("a", bench.roles.site_key("a"), bench.base).paths[0]
    nowhere = replace(address, orders=bench.base + 4, stream=bench.base + 4)
    link = bench.console(endpoint=SiteEndpoint("a", bench.roles.site_key("a"), (nowhere,)))
    link.stop()
    stop = bench.until(lambda: bench.seen(Stop), "the stop")[0]
    assert stop.key == key_of(bench, "lin") and link.session is None
    bench.site.echo_stop(stop.key, stop.ordinal)
    bench.until(lambda: bench.seen(StopEchoed, "lin"), "the echo, by the stop socket alone")


def test_of_a_backlog_only_the_newest_command_is_handed_on(bench: Any) -> None:
    bench.console()
    link = bench.up()
    for i in range(20):
        link.send_command(str(i).encode())
    bench.until(lambda: bench.seen(CommandFrame), "a command")
    assert [f.data for f in bench.seen(CommandFrame)] == [b"19"]
    assert bench.site.counters.n["command_superseded"] == 19


def test_goodbye_closes_the_session_at_once(bench: Any) -> None:
    bench.console()
    bench.up()
    bench.consoles.pop("lin").close()
    closed = bench.until(lambda: bench.seen(SessionClosed), "the goodbye")
    assert closed[0].why == "bye"


# --- who may not come in ----------------------------------------------------------------------------------------------


def test_an_unknown_key_gets_nothing_and_is_told_why(bench: Any) -> None:
    link = bench.console("mallory", keys=new_secret("mallory"))
    refused = bench.until(lambda: bench.seen(Refused, "mallory"), "the refusal")
    assert refused[0].why == "key" and "does not know this key" in refused[0].text
    link.stop()
    bench.turns(200)
    assert not bench.seen(SessionOpened) and not bench.seen(Stop) and link.session is None
    assert any("unknown or revoked key" in e.what for e in bench.seen(Intruder))


def test_a_key_of_another_site_only_gets_nothing_here(bench: Any, tmp_path: Path) -> None:
    other = make_directory(tmp_path, ["c"], [("wang", "surgeon")])
    bench.roles = Roles(bench.roles.principals | {"wang": other.principals["wang"]}, bench.roles.grants)
    bench.site.set_roles(bench.roles)
    bench.console("wang", keys=load_secret(tmp_path / "wang"))
    bench.until(lambda: bench.seen(Refused, "wang"), "the refusal: in the table, but not for this site")
    assert not bench.seen(SessionOpened)


def test_a_wrong_server_key_gets_no_session(bench: Any) -> None:
    link = bench.console(endpoint=direct_endpoint("a", bench.roles.site_key("b"), bench.base))
    bench.until(lambda: [e for e in bench.seen(RouteChange, "lin") if "wrong server key" in e.why], "a broken handshake")
    assert link.session is None and not bench.seen(SessionOpened)


@pytest.mark.parametrize("mechanism", ["null", "plain"])
def test_a_peer_without_curve_gets_nothing(bench: Any, mechanism: str) -> None:
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    raw.setsockopt(zmq.LINGER, 0)
    if mechanism == "plain":
        raw.plain_username, raw.plain_password = b"lin", b"x"
    try:
        raw.connect(f"tcp://127.0.0.1:{bench.base}")
        raw.connect(f"tcp://127.0.0.1:{bench.base + 1}")
        for _ in range(4):
            raw.send(messages.pack({"t": "stop", "i": bytes(16), "ord": 1}), zmq.NOBLOCK)
        bench.until(lambda: bench.site.counters.n.get("handshake_failed"), "the handshake that failed")
        bench.turns(50)
        assert not bench.seen(Stop) and not bench.seen(SessionOpened)
        assert raw.poll(0) == 0
    finally:
        raw.close(0)
        context.term()


def test_a_revoked_key_loses_its_session_and_says_nothing_more(bench: Any) -> None:
    bench.console("lin"), bench.console("mei")
    lin = bench.up("lin")
    mei = bench.up("mei")
    key = key_of(bench, "lin")
    bench.site.set_roles(replace(bench.roles, revoked=frozenset({key})))
    bench.until(lambda: [e for e in bench.seen(Refused, "lin") if e.why == "revoked"], "the refusal")
    assert [e.why for e in bench.seen(SessionClosed)] == ["revoked"]
    bench.site_events.clear()
    lin.send_command(b"x"), lin.stop()
    mei.send_command(b"y")
    bench.until(lambda: bench.seen(CommandFrame), "the command of the key that is still good")
    bench.turns(100)
    assert {e.key for e in bench.seen(CommandFrame)} == {key_of(bench, "mei")} and not bench.seen(Stop)


def test_the_identity_a_peer_gives_itself_counts_for_nothing(bench: Any) -> None:
    """A good key of an observer that calls itself by another's key stays the observer."""
    context = zmq.Context()
    secret = load_secret(bench.keys / "zhao")
    raw = client_socket(context, secret, bench.roles.site_key("a"), f"tcp://127.0.0.1:{bench.base + 1}", 512)
    raw.disconnect(f"tcp://127.0.0.1:{bench.base + 1}")
    raw.setsockopt(zmq.ROUTING_ID, key_of(bench, "lin").encode())
    raw.connect(f"tcp://127.0.0.1:{bench.base + 1}")
    try:
        sent: list[bool] = []

        def say() -> bool:
            if not sent:
                try:
                    raw.send(messages.pack({"t": "stop", "i": bytes(16), "ord": 1}), zmq.NOBLOCK)
                    sent.append(True)
                except zmq.Again:
                    pass
            return bool(bench.seen(Stop))

        bench.until(say, "the stop")
        assert bench.seen(Stop)[0].key == key_of(bench, "zhao")
    finally:
        raw.close(0)
        context.term()


def test_a_site_refuses_to_start_with_a_key_that_is_not_its_own(bench: Any, ports: SimpleNamespace) -> None:
    b = ports.base
    with pytest.raises(KeyRefused, match="pins another one for site 'a'"):
        SiteLink("a", load_secret(bench.keys / "b"), bench.roles, orders_port=b, stop_port=b + 1, stream_ports=(b + 2,))


@pytest.mark.parametrize("which", [0, 1, 2, 3], ids=["orders", "stop", "path 0", "path 1"])
def test_a_port_in_use_is_named_with_its_holder(bench: Any, ports: SimpleNamespace, which: int) -> None:
    kind = "tcp" if which < 2 else "udp"
    port = ports.base + which
    code = (
        f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_{'STREAM' if kind == 'tcp' else 'DGRAM'});"
        f"s.bind(('127.0.0.1', {port})); {'s.listen();' if kind == 'tcp' else ''} print('ready', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin and holder.stdout
    try:
        assert holder.stdout.readline() == b"ready\n"
        b = ports.base
        with pytest.raises(PortInUse, match=rf"{kind}://127.0.0.1:{port} is in use by python.* \(pid \d+\)") as e:
            SiteLink(
                "a", load_secret(bench.keys / "a"), bench.roles, orders_port=b, stop_port=b + 1, stream_ports=(b + 2, b + 3)
            )
        assert f"(pid {holder.pid})" in str(e.value)
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    # Nothing was left open by the attempt that failed.
    SiteLink(
        "a", load_secret(bench.keys / "a"), bench.roles, orders_port=b, stop_port=b + 1, stream_ports=(b + 2, b + 3)
    ).close()


# --- what the network may bring ---------------------------------------------------------------------------------------


class Tap:
    """A datagram relay for one path that keeps copies and can send anything to either end."""

    def __init__(self, bench: Any, listen: int, to: int) -> None:
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", listen))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.connect(("127.0.0.1", to))
        for s in (self.front, self.back):
            s.setblocking(False)
        self.client: Any = None
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        bench.extra.append(self.turn)

    def turn(self) -> None:
        while True:
            try:
                data, self.client = self.front.recvfrom(2048)
            except OSError:
                break
            self.up.append(data)
            self.back.send(data)
        while True:
            try:
                data = self.back.recv(2048)
            except OSError:
                break
            self.down.append(data)
            if self.client:
                self.front.sendto(data, self.client)

    def close(self) -> None:
        self.front.close()
        self.back.close()


@pytest.fixture
def tapped(bench: Any, ports: SimpleNamespace) -> Any:
    """lin's console, path 0 of whose streams runs through a tap."""
    tap = Tap(bench, ports.base + 10, bench.base + 2)
    direct = direct_endpoint("a", bench.roles.site_key("a"), bench.base)
    paths = (replace(direct.paths[0], stream=ports.base + 10), direct.paths[1])
    bench.console(endpoint=replace(direct, paths=paths))
    bench.up()
    bench.tap = tap
    yield bench
    tap.close()


def test_a_replayed_datagram_is_dropped(tapped: Any) -> None:
    tapped.consoles["lin"].send_command(b"move")
    tapped.until(lambda: tapped.seen(CommandFrame), "the command")
    old = [d for d in tapped.tap.up if d[0] & 15 == 1]
    assert old
    before = tapped.site.stats()["sessions"][0]["stream"]["replayed"]
    for d in old * 5:
        tapped.tap.back.send(d)
    tapped.until(
        lambda: tapped.site.stats()["sessions"][0]["stream"]["replayed"] == before + 5 * len(old), "the replays counted"
    )
    assert len(tapped.seen(CommandFrame)) == 1


def test_a_datagram_of_a_former_session_is_dropped(tapped: Any) -> None:
    link = tapped.consoles["lin"]
    link.send_command(b"move")
    tapped.until(lambda: tapped.seen(CommandFrame), "the command")
    old = [d for d in tapped.tap.up if d[0] & 15 == 1]
    first = link.session
    tapped.close_site()
    tapped.open_site()
    tapped.until(lambda: link.session not in (None, first), "a new session after the site's restart")
    tapped.up()
    tapped.site_events.clear()
    renumbered = [d[:2] + tapped.tap.up[-1][2:4] + d[4:] for d in old]  # even with the new session's number on it
    for d in [*old, *renumbered]:
        tapped.tap.back.send(d)
    tapped.until(lambda: tapped.site.counters.n.get("datagram_not_genuine", 0) >= len(renumbered), "refused")
    assert not tapped.seen(CommandFrame)


def test_corrupted_oversize_and_foreign_datagrams_are_dropped_and_counted(tapped: Any) -> None:
    tapped.consoles["lin"].send_command(b"move")
    tapped.until(lambda: tapped.seen(CommandFrame), "the command")
    good = next(d for d in tapped.tap.up if d[0] & 15 == 1)
    send = tapped.tap.back.send
    for i in range(len(good)):
        send(good[:i] + bytes([good[i] ^ 0x10]) + good[i + 1 :])
        tapped.turn()
    send(b""), send(b"x" * 31), send(bytes(DATAGRAM_MAX_BYTES + 1)), send(os.urandom(200))
    tapped.until(lambda: tapped.site.counters.n.get("datagram_oversize"), "the oversize one counted")
    tapped.until(lambda: tapped.site.counters.n.get("datagram_short", 0) >= 2, "the short ones counted")
    assert tapped.site.counters.n["datagram_not_genuine"] >= len(good) - 4  # version and session bytes count elsewhere
    assert len(tapped.seen(CommandFrame)) == 1
    assert tapped.up() is not None, "and the session goes on"


def test_a_site_follows_a_console_whose_address_changes_but_not_a_replay_from_elsewhere(tapped: Any) -> None:
    tapped.tap.back.close()
    thief = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    thief.setblocking(False)
    thief.connect(("127.0.0.1", tapped.base + 2))
    tapped.tap.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tapped.tap.back.setblocking(False)
    tapped.tap.back.connect(("127.0.0.1", tapped.base + 2))
    n = len(tapped.tap.down)
    tapped.until(lambda: len(tapped.tap.down) > n, "datagrams to the new address")
    old = tapped.tap.up[-20:]
    for d in old:
        thief.send(d)
    tapped.until(lambda: tapped.site.stats()["sessions"][0]["stream"]["replayed"] >= len(old), "the replays")
    tapped.turns(50)
    with pytest.raises(BlockingIOError):
        thief.recv(2048)
    thief.close()


def test_an_oversize_order_is_refused_before_it_is_sent(bench: Any) -> None:
    bench.console()
    link = bench.up()
    with pytest.raises(BadMessage, match="send it in parts"):
        link.order({"op": "x", "data": bytes(300_000)})
    with pytest.raises(ValueError, match="at most 1200 B"):
        link.send_command(bytes(1300))


def test_an_oversize_message_ends_that_connection_only(bench: Any) -> None:
    bench.console("lin"), bench.console("mei")
    bench.up("lin"), bench.up("mei")
    link = bench.consoles["lin"]
    link._dealers[0].send(bytes(400_000))  # past our own check: what a hostile peer would do
    bench.until(lambda: [e for e in bench.seen(RouteChange, "lin") if not e.connected], "the connection ended")
    bench.up("lin")
    assert not bench.seen(SessionClosed) and not [e for e in bench.seen(RouteChange, "mei") if not e.connected]


def test_malformed_messages_of_a_good_key_are_counted_and_hurt_nobody(bench: Any) -> None:
    bench.console()
    link = bench.up()
    for raw in (b"", b"\xc1", b"\x81\xa1t\xa5orde", messages.pack({"t": "order", "s": link.session, "id": "x", "o": {}}),
                messages.pack({"t": "hello"}), messages.pack({"t": "??", "s": link.session})):  # fmt: skip
        link._dealers[0].send(raw)
    link._dealers[0].send_multipart([b"a", b"b"])
    n = bench.site.counters.n
    bench.until(lambda: n.get("message_bad", 0) == 6 and n.get("message_parts", 0) == 1, "all counted")
    assert not bench.seen(Order)
    link.order({"op": "x"})
    bench.until(lambda: bench.seen(Order), "a good order after them")


def test_a_flood_of_commands_is_shed_and_the_other_console_is_heard(bench: Any) -> None:
    bench.console("lin"), bench.console("mei")
    lin, mei = bench.up("lin"), bench.up("mei")
    heard = 0

    def flood() -> bool:
        nonlocal heard
        for i in range(40):
            lin.send_command(b"%d" % i)
        mei.send_command(b"me")
        heard = len([e for e in bench.seen(CommandFrame) if e.key == key_of(bench, "mei")])
        return heard >= 20 and bool(bench.site.counters.n.get("command_flood"))

    bench.until(flood, "shed, while the other is heard")


# --- paths that come and go -------------------------------------------------------------------------------------------


@pytest.fixture
def relayed(bench: Any, ports: SimpleNamespace) -> Any:
    """lin's console behind an emulated WAN of 2 x (10 ms) in this process."""
    relay = Relay(site_routes(bench.base, ports.base + 10), profile("metro-fibre"), seed=1)
    bench.extra.append(lambda: relay.turn(0.0))
    bench.relay = relay
    bench.relay_base = ports.base + 10
    bench.console(endpoint=relay_endpoint("a", bench.roles.site_key("a"), ports.base + 10))
    bench.up()
    yield bench
    relay.close()


def test_with_one_path_cut_no_command_is_lost_and_the_cut_really_struck(relayed: Any) -> None:
    link = relayed.consoles["lin"]
    assert relayed.relay.command({"t": "cut", "seconds": 60, "paths": [0]})["ok"]
    relayed.until(lambda: [e for e in relayed.seen(PathChange) if not e.alive and e.path == 0], "path 0 silent at the site")
    relayed.until(lambda: [e for e in relayed.seen(PathChange, "lin") if not e.alive], "and at the console")
    relayed.site_events.clear()
    for i in range(50):
        link.send_command(b"%d" % i)
        relayed.until(lambda: bench_last(relayed) == b"%d" % i, f"command {i}")  # noqa: B023
    cut = [r["up"]["cut"] for r in relayed.relay.stats() if r["kind"] == "udp" and r["path"] == 0]
    assert cut[0] >= 50
    order = link.order({"op": "still here"})
    relayed.until(lambda: [o for o in relayed.seen(Order) if o.id == order], "an order by the other route")
    relayed.relay.command({"t": "heal"})
    relayed.until(lambda: link.stats()["paths"][0]["alive"], "path 0 back")


def bench_last(bench: Any) -> bytes:
    frames = bench.seen(CommandFrame)
    return frames[-1].data if frames else b""


def test_with_both_paths_cut_the_console_goes_down_and_returns_by_itself_in_the_same_session(relayed: Any) -> None:
    link = relayed.consoles["lin"]
    session = link.session
    relayed.relay.command({"t": "cut", "seconds": 60})
    relayed.until(lambda: relayed.seen(Down, "lin"), "down")
    relayed.relay.command({"t": "heal"})
    relayed.until(lambda: len(relayed.seen(Up, "lin")) == 2, "up again")
    assert link.session == session


def test_when_only_tcp_passes_the_streams_fall_back_and_say_so(relayed: Any) -> None:
    link = relayed.consoles["lin"]
    udp = [r for r in relayed.relay._routes if type(r).__name__ == "UdpRoute"]
    for r in udp:
        r.up.cut(10**19), r.down.cut(10**19)
    said = relayed.until(lambda: relayed.seen(Fallback, "lin"), "the fall-back")[0]
    assert said.on and "TCP" in said.text and link.stats()["transport"] == "tcp"
    relayed.until(lambda: relayed.seen(Fallback), "the site knows")
    assert relayed.site.stats()["sessions"][0]["transport"] == "tcp"
    relayed.site_events.clear()
    for i in range(60):  # more than the credit: acknowledgements must flow
        link.send_command(b"%d" % i)
        relayed.site.send_state(b"s%d" % i)
        relayed.until(lambda: bench_last(relayed) == b"%d" % i, f"command {i}")  # noqa: B023
    assert {f.path for f in relayed.seen(CommandFrame)} == {TCP_PATH}
    relayed.until(lambda: relayed.seen(StateFrame, "lin")[-1].data == b"s59", "the newest state")
    for r in udp:
        r.up.heal(), r.down.heal()
    relayed.until(lambda: not relayed.seen(Fallback, "lin")[-1].on, "back to datagrams")
    link.send_command(b"udp")
    relayed.until(lambda: bench_last(relayed) == b"udp", "a command")
    assert relayed.seen(CommandFrame)[-1].path in (0, 1)


def test_an_order_survives_the_loss_of_its_connections(relayed: Any) -> None:
    link = relayed.consoles["lin"]
    relayed.relay.command({"t": "cut", "seconds": 60})
    number = link.order({"op": "late"})
    relayed.turns(30)
    assert relayed.relay.command({"t": "drop_tcp"})["dropped"] >= 2
    relayed.relay.command({"t": "heal"})
    relayed.until(lambda: relayed.seen(Order), "the order, asked again")
    relayed.site.reply(key_of(relayed, "lin"), number, {"ok": True})
    relayed.until(lambda: relayed.seen(Reply, "lin"), "the reply")
    assert len(relayed.seen(Order)) == 1


def test_an_order_nobody_answers_is_reported_as_lost(bench: Any) -> None:
    bench.console()
    link = bench.up()
    number = link.order({"op": "x"}, timeout_s=0.2)
    lost = bench.until(lambda: bench.seen(OrderLost, "lin"), "the loss")
    assert lost[0].id == number and len(bench.seen(Order)) == 1


def test_a_restarted_site_is_joined_again_under_a_new_session(bench: Any) -> None:
    bench.console()
    link = bench.up()
    first = link.session
    open_order = link.order({"op": "x"}, timeout_s=60)
    bench.until(lambda: bench.seen(Order), "the order")
    bench.close_site()
    bench.until(lambda: bench.seen(Down, "lin"), "down")
    bench.open_site()
    bench.until(lambda: link.session not in (None, first), "a new session")
    assert [e.id for e in bench.seen(OrderLost, "lin")] == [open_order], "an old id must not be carried out twice"


def test_a_second_console_with_the_same_key_supersedes_the_first(bench: Any) -> None:
    bench.console("lin")
    first = bench.up("lin")
    other = bench.console("mei", keys=load_secret(bench.keys / "lin"))  # same key, other process
    refused = bench.until(lambda: bench.seen(Refused, "lin"), "the first is told")
    assert refused[0].why == "superseded" and first.session is None
    bench.until(lambda: other.session, "the second is in")
    session = other.session
    bench.turns(300)
    assert other.session == session and len(bench.seen(SessionOpened)) == 2, "no tug of war"
    first.stop()
    bench.until(lambda: bench.seen(Stop), "a stop of the console that was sent away: its key is good")


def test_another_version_is_refused_by_name(bench: Any) -> None:
    link = bench.console(versions={"command": 2, "state": 1})
    refused = bench.until(lambda: bench.seen(Refused, "lin"), "the refusal")
    assert refused[0].why == "version" and "command: console 2, site a 1" in refused[0].text
    assert link.session is None and not bench.seen(SessionOpened)


def test_nothing_is_left_behind(keys_dir: Path, bench: Any) -> None:
    bench.console()
    bench.up()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        bench.consoles.pop("lin").close()
        bench.close_site()
        bench.open_site()
        bench.console()
        bench.up()
    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_the_clock_of_the_site_is_known_within_its_bound(bench: Any) -> None:
    bench.close_site()
    ahead = 10**15
    bench.open_site(clock=lambda: time.monotonic_ns() + ahead)
    bench.console()
    link = bench.up()
    clock = bench.until(link.clock, "an estimate")
    assert abs(clock.offset_ns - ahead) <= clock.error_ns < 10**9

