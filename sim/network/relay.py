"""The emulated WAN as a process: relays real datagrams and TCP connections through `Channel`s, one loop, no thread.

    python -m sim.network.relay --site-base 7400 --relay-base 7450 --profile beijing-tianjin --seed 1 --control relay.sock
    python -m sim.network.relay --config relay.json

A datagram is delayed, lost, reordered, duplicated, corrupted or dropped exactly as the model says. Of a TCP connection a relay can
only delay and stall the bytes: the kernels at both ends have their own perfect loopback, so a "lost" segment is played as
a wait of one retransmission time, with everything behind it waiting too. For real kernel TCP under loss see `sim.network.tun`.

Control (Unix SOCK_SEQPACKET, one msgpack map each way): {"t": "cut", "seconds": 2, "paths": [0, 1], "direction": "both"},
{"t": "heal"}, {"t": "set", "profile": "5g", "paths": [0]}, {"t": "drop_tcp", "paths": [0]}, {"t": "stats"}.
"""

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgpack

from sim.network.channel import Channel
from sim.network.profiles import PROFILES, Profile, channels, profile
from sim.network.relay_loop import RelayLoop
from sim.network.relay_tcp import TcpRoute
from sim.network.relay_udp import UdpRoute

#: Several lines in one process are served this often (s): a delay may come out longer by as much.
BEAT_S = 0.002


@dataclass(frozen=True, slots=True)
class Route:
    """One listening port: kind "udp" or "tcp", the path it stands for, and where the site listens."""

    kind: str
    path: int
    listen: tuple[str, int]
    to: tuple[str, int]


def site_routes(site_base: int, relay_base: int, host: str = "127.0.0.1") -> list[Route]:
    """The routes in front of a site's block of ports. Path 0: relay_base +0 +1 +2; path 1: +4 +5 +3."""
    table = [("tcp", 0, 0, 0), ("tcp", 0, 1, 1), ("udp", 0, 2, 2), ("udp", 1, 3, 3), ("tcp", 1, 4, 0), ("tcp", 1, 5, 1)]
    return [Route(kind, path, (host, relay_base + a), (host, site_base + b)) for kind, path, a, b in table]


class Relay:
    """All routes of one emulated WAN. Raises OSError when a port is taken, ValueError for a bad route."""

    def __init__(self, routes: list[Route], wan: Profile, seed: int, control: Path | None = None) -> None:
        self.wan = wan
        self._seed = seed
        start = time.monotonic_ns()
        self._channels = channels(wan, seed, start)
        self._routes: list[UdpRoute | TcpRoute] = []
        self._control: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._control_path = control
        self._next_seed = seed + 500
        self._loop: RelayLoop | None = None
        try:
            for r in routes:
                if r.kind not in ("udp", "tcp"):
                    raise ValueError(f"route kind {r.kind!r}: udp or tcp")
                if not 0 <= r.path < len(wan.paths):
                    raise ValueError(f"route on path {r.path}: profile {wan.name} has paths 0 to {len(wan.paths) - 1}")
                if r.kind == "udp":
                    self._routes.append(UdpRoute(r.path, r.listen, r.to, *self._channels[r.path]))
                else:
                    # Each direction of TCP has a channel of its own: its bytes must not disturb the datagrams' random numbers.
                    self._next_seed += 1
                    up, down = channels(wan, self._next_seed, start)[r.path]
                    self._routes.append(TcpRoute(r.path, r.listen, r.to, up, down))
            if control is not None:
                control.unlink(missing_ok=True)
                self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._control.setblocking(False)
                self._control.bind(str(control))
                os.chmod(control, 0o600)
                self._control.listen(4)
        except BaseException:
            self.close()
            raise

    def readers(self) -> dict[int, Callable[[], None]]:
        """What to call when a descriptor can be read."""
        out: dict[int, Callable[[], None]] = {}
        for route in self._routes:
            out.update(route.readers())
        if self._control is not None:
            out[self._control.fileno()] = self._accept_control
        for client in self._clients:
            out[client.fileno()] = lambda c=client: self._serve(c)  # type: ignore[misc]
        return out

    def writers(self) -> dict[int, Callable[[], None]]:
        """What to call when a descriptor can be written."""
        out: dict[int, Callable[[], None]] = {}
        for route in self._routes:
            out.update(route.writers())
        return out

    def next_due(self) -> int | None:
        """When the next byte arrives somewhere (monotonic ns), None while nothing is on its way."""
        return min((d for r in self._routes if (d := r.next_due()) is not None), default=None)

    def move(self, now: int) -> None:
        """Hand over what has arrived by `now`."""
        for route in self._routes:
            route.move(now)

    def turn(self, max_wait_s: float = 0.1) -> None:
        """One turn of a loop for this line alone."""
        if self._loop is None:
            self._loop = RelayLoop([self])
        self._loop.turn(max_wait_s)

    # --- faults ----------------------------------------------------------------------------------------------------
    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one control request; never raises for a bad one."""
        try:
            paths = request.get("paths")
            chosen = list(range(len(self.wan.paths))) if paths is None else [int(p) for p in paths]
            if any(not 0 <= p < len(self.wan.paths) for p in chosen):
                return {"ok": False, "reason": f"paths are 0 to {len(self.wan.paths) - 1}"}
            op = request.get("t")
            now = time.monotonic_ns()
            if op == "cut":
                until = now + int(float(request.get("seconds", 3600.0)) * 1e9)
                for c in self._lines(chosen, str(request.get("direction", "both"))):
                    c.cut(until)
            elif op == "heal":
                for c in self._lines(chosen, "both"):
                    c.heal()
            elif op == "set":
                wan = profile(str(request.get("profile")))
                for p in chosen:
                    for r in [r for r in self._routes if r.path == p]:
                        r.up.set_line(wan.paths[p % len(wan.paths)].up)
                        r.down.set_line(wan.paths[p % len(wan.paths)].down)
            elif op == "drop_tcp":
                n = sum(r.drop_all() for r in self._routes if isinstance(r, TcpRoute) and r.path in chosen)
                return {"ok": True, "dropped": n}
            elif op != "stats":
                return {"ok": False, "reason": f"{op!r}: cut, heal, set, drop_tcp or stats"}
            return {"ok": True, "t": now, "stats": self.stats()}
        except (ValueError, TypeError) as e:
            return {"ok": False, "reason": str(e)}

    def _lines(self, paths: list[int], direction: str) -> list[Channel]:
        if direction not in ("both", "up", "down"):
            raise ValueError(f"direction {direction!r}: both, up or down")
        out = []
        for r in self._routes:
            if r.path in paths:
                out += [r.up] if direction in ("both", "up") else []
                out += [r.down] if direction in ("both", "down") else []
        return out

    def stats(self) -> list[dict[str, Any]]:
        """Counters of every route, both ways."""
        return [
            {
                "kind": "udp" if isinstance(r, UdpRoute) else "tcp",
                "path": r.path,
                "port": r.port,
                "clients": r.clients(),
                "up": asdict(r.up.counts),
                "down": asdict(r.down.counts),
            }
            for r in self._routes
        ]

    def _accept_control(self) -> None:
        assert self._control is not None
        client, _ = self._control.accept()
        client.setblocking(False)
        if len(self._clients) >= 8:
            client.close()
        else:
            self._clients.append(client)

    def _serve(self, client: socket.socket) -> None:
        try:
            raw = client.recv(65536)
            if not raw:
                raise ConnectionError
            try:
                request = msgpack.unpackb(raw)
                answer = self.command(request) if isinstance(request, dict) else {"ok": False, "reason": "a map expected"}
            except (ValueError, msgpack.UnpackException) as e:
                answer = {"ok": False, "reason": f"not msgpack: {e}"}
            client.send(msgpack.packb(answer))
        except BlockingIOError:
            pass
        except OSError:
            self._clients.remove(client)
            client.close()

    def close(self) -> None:
        """Let go of every port and of the control socket."""
        if self._loop is not None:
            self._loop.close()
        for r in self._routes:
            r.close()
        for c in self._clients:
            c.close()
        if self._control is not None:
            self._control.close()
            if self._control_path is not None:
                self._control_path.unlink(missing_ok=True)


def ask(control: Path | str, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to a relay's control socket and return the answer. Raises OSError if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(timeout_s)
        s.connect(str(control))
        s.send(msgpack.packb(request))
        answer: dict[str, Any] = msgpack.unpackb(s.recv(262144))
        return answer


def _from_config(path: Path) -> tuple[list[Route], str, int, Path | None]:
    try:
        data = json.loads(path.read_text())
        if "routes" in data:
            routes = [Route(r["kind"], int(r["path"]), _address(r["listen"]), _address(r["to"])) for r in data["routes"]]
        else:
            routes = site_routes(int(data["forward"]), int(data["listen"]), data.get("host", "127.0.0.1"))
        control = data.get("control")
        return routes, data["profile"], int(data.get("seed", 0)), Path(control) if control else None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path}: not a relay configuration: {e!r}") from None


def _address(value: Any) -> tuple[str, int]:
    host, port = value
    return str(host), int(port)


def main(argv: list[str] | None = None) -> int:
    """Entry of `python -m sim.network.relay`."""
    parser = argparse.ArgumentParser(prog="python -m sim.network.relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append",
                        help="JSON: {profile, seed, control, forward: PORT, listen: PORT} or {..., routes: [{kind, path, listen, to}]}; "
                             "given again: one more line in the same process")
    parser.add_argument("--site-base", type=int)
    parser.add_argument("--relay-base", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--profile", default="perfect", help=", ".join(PROFILES) + ", trace:FILE.csv[.gz]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", type=Path, help="path of the Unix control socket")
    args = parser.parse_args(argv)
    relays: list[Relay] = []
    try:
        if args.config:
            given = [_from_config(file) for file in args.config]
        elif args.site_base is not None and args.relay_base is not None:
            given = [(site_routes(args.site_base, args.relay_base, args.host), args.profile, args.seed, args.control)]
        else:
            parser.error("either --config, or --site-base and --relay-base")
        for routes, name, seed, control in given:
            relays.append(Relay(routes, profile(name), seed, control))
    except (ValueError, OSError) as e:
        print(f"relay: {e}", file=sys.stderr)
        for relay in relays:
            relay.close()
        return 1
    ended: list[int] = []
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda number, _: ended.append(number))
    for relay, (routes, name, seed, _) in zip(relays, given, strict=True):
        ports = ", ".join(f"{r.kind}/{r.listen[1]}->{r.to[1]} (path {r.path})" for r in routes)
        print(f"relay: {name}: {relay.wan.about}; seed {seed}; {ports}", flush=True)
    print("relay: datagrams get the whole model; TCP can only be delayed and stalled here", flush=True)
    try:  # a network does not wait for the processor: without this, a busy machine adds outages that no profile has
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(4))
    except OSError:
        print("relay: SCHED_FIFO is not permitted: on a busy machine delays exceed the profile's", flush=True)
    loop = RelayLoop(relays, BEAT_S if len(relays) > 1 else 0.0)
    try:
        while not ended:
            loop.turn()
    finally:
        loop.close()
        for relay in relays:
            print("relay: " + json.dumps(relay.stats()), flush=True)
            relay.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
