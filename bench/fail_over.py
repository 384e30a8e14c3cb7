"""Fail-over on real sockets: a site's link and a console's, a forwarder per path with a switch; how long is nothing new heard?

.venv/bin/python bench/fail_over.py                # 20 cuts, half a minute
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from teleop.link.console import ConsoleLink
from teleop.link.endpoint import direct_endpoint
from teleop.link.events import CommandFrame, PathChange
from teleop.link.keys import load_roles, load_secret, make_directory
from teleop.link.site import SiteLink
from tests.link.conftest import free_base

COMMAND_S, CUT_S, REST_S = 0.010, 0.5, 0.6


class Path_:
    """Forwards datagrams to a port and back, unless cut. `delay_s` each way."""

    def __init__(self, to: int, delay_s: float) -> None:
        self.front, self.back = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.front.bind(("127.0.0.1", 0))
        self.back.connect(("127.0.0.1", to))
        for s in (self.front, self.back):
            s.setblocking(False)
        self.port, self.cut, self.delay, self.client = self.front.getsockname()[1], False, delay_s, None
        self.queue: list[tuple[float, bool, bytes]] = []

    def turn(self, now: float) -> None:
        for sock, up in ((self.front, True), (self.back, False)):
            while True:
                try:
                    data, who = sock.recvfrom(2000)
                except OSError:
                    break
                if up:
                    self.client = who
                if not self.cut:
                    self.queue.append((now + self.delay, up, data))
        while self.queue and self.queue[0][0] <= now:
            _, up, data = self.queue.pop(0)
            if up:
                self.back.send(data)
            elif self.client:
                self.front.sendto(data, self.client)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--cuts", type=int, default=20)
    a.add_argument("--json", default="")
    args = a.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="longhand-fail-over-"))
    make_directory(folder / "k", ["a"], [("lin", "surgeon")])
    roles, base = load_roles(folder / "k"), free_base()
    site = SiteLink("a", load_secret(folder / "k/a"), roles, orders_port=base, stop_port=base + 1, stream_ports=(base + 2, base + 3))
    paths = [Path_(base + 2, 0.008), Path_(base + 3, 0.020)]
    endpoint = direct_endpoint("a", roles.site_key("a"), base)
    endpoint = replace(endpoint, paths=tuple(replace(p, stream=x.port) for p, x in zip(endpoint.paths, paths, strict=True)))
    console = ConsoleLink(endpoint, load_secret(folder / "k/lin")).start()
    end, heard, seen = threading.Event(), [], []

    def site_loop() -> None:
        while not end.is_set():
            site.wait(1.0)
            for e in site.poll():
                if isinstance(e, CommandFrame):
                    heard.append(time.monotonic())
                elif isinstance(e, PathChange) and not e.alive:
                    seen.append(time.monotonic())

    def lines() -> None:
        while not end.is_set():
            now = time.monotonic()
            for p in paths:
                p.turn(now)
            time.sleep(0.0005)

    for work in (site_loop, lines):
        threading.Thread(target=work, daemon=True).start()
    rng, rows, due = random.Random(1), [], time.monotonic()

    def run(seconds: float) -> None:
        nonlocal due
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            console.poll()
            if time.monotonic() >= due:
                due = max(due + COMMAND_S, time.monotonic() - COMMAND_S)
                console.send_command(b"\x80")
            console.wait(1.0)

    run(2.0)
    before = max(b - c for c, b in pairwise(heard[20:]))
    for k in range(args.cuts):
        path = k % 2
        run(REST_S + rng.random() * 0.1)
        at = time.monotonic()
        n, m = len(heard), len(seen)
        paths[path].cut = True
        run(CUT_S)
        paths[path].cut = False
        stamps = heard[max(0, n - 1) :]
        rows.append({
            "path": path, "longest_silence_ms": max(b - c for c, b in pairwise(stamps)) * 1e3,
            "noticed_ms": (seen[m] - at) * 1e3 if len(seen) > m else None,
        })  # fmt: skip
    end.set()
    worst = {p: sorted(r["longest_silence_ms"] for r in rows if r["path"] == p) for p in (0, 1)}
    noticed = sorted(r["noticed_ms"] for r in rows if r["noticed_ms"] is not None)
    print(f"{args.cuts} cuts of {CUT_S * 1e3:.0f} ms, paths of 8 and 20 ms each way, commands every 10 ms; longest gap without a cut {before * 1e3:.1f} ms")
    for p, name in ((0, "quicker"), (1, "slower")):
        print(f"cut of the {name} path: longest silence p50 {worst[p][len(worst[p]) // 2]:.1f} ms, max {worst[p][-1]:.1f} ms (lease 150 ms)")
    print(f"the site noticed after p50 {noticed[len(noticed) // 2]:.0f} ms, max {noticed[-1]:.0f} ms ({len(noticed)} of {len(rows)})")
    if args.json:
        Path(args.json).write_text(json.dumps({"without_cut_ms": before * 1e3, "rows": rows}, indent=1))
    console.close()


if __name__ == "__main__":
    main()
