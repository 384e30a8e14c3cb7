"""Kernel TCP and the link itself over an emulated line between network namespaces, where the system permits it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sim.network.channel import Line
from sim.network.models import GilbertElliott, Normal
from sim.network.profiles import PathProfile
from sim.network.tun import CONSOLE, SITE, TunLine, why_not
from teleop.link.keys import make_directory

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no TUN between namespaces: {REASON}")

SERVER = """
import socket, sys
s = socket.create_server((sys.argv[1], 5000)); print("ready", flush=True)
c, _ = s.accept()
n = 0
while d := c.recv(65536): n += len(d)
c.close()
print(n)
"""
CLIENT = """
import socket, sys, re, time
s = socket.create_connection((sys.argv[1], 5000))
s.sendall(bytes(400_000)); s.shutdown(socket.SHUT_WR); s.recv(1)
head, row = [l.split() for l in open("/proc/net/snmp") if l.startswith("Tcp:")]
print(row[head.index("RetransSegs")])
"""


def lossy(loss: float) -> PathProfile:
    line = Line(Normal(10.0, 0.0), GilbertElliott(loss))
    return PathProfile(line, line)


@pytest.fixture
def line() -> Iterator[TunLine]:
    with TunLine(lossy(0.05), seed=1) as made:
        yield made


def finish(line: TunLine, *processes: "subprocess.Popen[str]") -> list[str]:
    end = time.monotonic() + 60
    while any(p.poll() is None for p in processes):
        line.turn(0.005)
        if time.monotonic() > end:
            for p in processes:
                p.kill()
            pytest.fail("not finished in a minute")
    return [p.communicate()[0] for p in processes]


def test_kernel_tcp_really_retransmits_over_the_lossy_line(line: TunLine) -> None:
    pipe = {"stdout": subprocess.PIPE, "text": True}
    server = line.popen("site", [sys.executable, "-c", SERVER, SITE], **pipe)
    assert server.stdout and server.stdout.readline() == "ready\n"
    client = line.popen("console", [sys.executable, "-c", CLIENT, SITE], **pipe)
    received, retransmitted = finish(line, server, client)
    assert int(received) == 400_000
    assert line.up.counts.lost > 0 and int(retransmitted) > 0


def test_the_namespaces_see_each_other_and_nothing_else(line: TunLine) -> None:
    code = """
import socket
names = sorted(n for _, n in socket.if_nameindex())
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    s.connect(("198.51.100.1", 9)); way = "a way out"
except OSError:
    way = "no way out"
print(names, way)
"""
    outs = finish(line, *(line.popen(e, [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for e in ("console", "site")))
    assert [o.strip() for o in outs] == ["['lh0', 'lo'] no way out"] * 2


SITE_END = """
import sys, time
from pathlib import Path
from teleop.link.events import CommandFrame, Order
from teleop.link.keys import load_roles, load_secret
from teleop.link.site import SiteLink
d = Path(sys.argv[1])
link = SiteLink("a", load_secret(d / "a"), load_roles(d), orders_port=7400, stop_port=7401, stream_ports=(7402, 7403), host=sys.argv[2])
print("ready", flush=True)
got, end = 0, time.monotonic() + 60
while time.monotonic() < end:
    link.wait(2)
    for e in link.poll():
        if isinstance(e, CommandFrame): got += 1
        if isinstance(e, Order):
            link.reply(e.key, e.id, {"ok": True, "got": got})
            if e.order["op"] == "end": end = min(end, time.monotonic() + 1.0)
print("done")
"""
CONSOLE_END = """
import json, sys, time
from pathlib import Path
from teleop.link.console import ConsoleLink
from teleop.link.endpoint import direct_endpoint
from teleop.link.events import Reply
from teleop.link.keys import load_roles, load_secret
d = Path(sys.argv[1])
link = ConsoleLink(direct_endpoint("a", load_roles(d).site_key("a"), 7400, sys.argv[2]), load_secret(d / "lin")).start()
sent, next_, asked, reply, end = 0, 0, False, None, time.monotonic() + 60
while reply is None and time.monotonic() < end:
    link.wait(2)
    for e in link.poll():
        if isinstance(e, Reply): reply = e.reply
    if link.session and sent < 300 and time.monotonic_ns() >= next_:
        next_ = time.monotonic_ns() + 10_000_000
        sent += link.send_command(b"x" * 400)
    if sent == 300 and not asked:
        asked = True
        link.order({"op": "end"})
print(json.dumps({"reply": reply, "paths": link.stats()["paths"]}))
"""


@pytest.mark.slow
def test_the_link_works_over_kernel_sockets_and_a_lossy_line(line: TunLine, tmp_path: Path) -> None:
    make_directory(tmp_path / "k", ["a"], [("lin", "surgeon")])
    args = [str(tmp_path / "k"), SITE]
    site = line.popen("site", [sys.executable, "-c", SITE_END, *args], stdout=subprocess.PIPE, text=True)
    assert site.stdout
    while "ready" not in site.stdout.readline():
        assert site.poll() is None
    console = line.popen("console", [sys.executable, "-c", CONSOLE_END, *args], stdout=subprocess.PIPE, text=True)
    _, said = finish(line, site, console)
    result = json.loads(said)
    assert result["reply"]["ok"] and result["reply"]["got"] > 200, "commands on two paths through 5 % loss"
    assert all(p["rtt_ms_p50"] >= 20 for p in result["paths"])
    assert any(p["lost"] > 0 for p in result["paths"]) and line.up.counts.lost > 0


def test_a_line_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    made = TunLine(replace(lossy(0.0)), seed=1)
    pids = [h.pid for h in made._holders]
    made.close()
    assert not [p for p in pids if Path(f"/proc/{p}").exists()]
    assert CONSOLE != SITE
