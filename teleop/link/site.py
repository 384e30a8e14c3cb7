"""`SiteLink`: the arm's end of the link. One object, no thread; the gateway's loop waits on `fds()` and calls `poll`.

It authenticates, drops copies and floods, and hands on; it decides nothing about motion. What a key may do is the
governor's business: every frame comes out with the CURVE key that sent it.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import zmq

from teleop.link import messages
from teleop.link.curve import Monitor, Waiter, ZapHandler, readable, require_libzmq, server_socket, user_id
from teleop.link.datagram import MAX_PER_POLL, bound_socket
from teleop.link.errors import BadMessage, KeyRefused
from teleop.link.events import (
    TCP_PATH,
    CommandFrame,
    Counters,
    Fallback,
    Intruder,
    Order,
    PathChange,
    SessionClosed,
    SessionOpened,
    Stop,
)
from teleop.link.keys import Roles, SecretKeys
from teleop.link.messages import PROTOCOL_VERSION, field
from teleop.link.planes import Plane
from teleop.link.seal import DATAGRAM_MAX_BYTES, Kind, Unsealed, parse_header
from teleop.link.session import SiteSession
from teleop.link.stream import STOP, StreamEnd
from teleop.link.versions import LINK_PROTOCOL, own_release, release_in, skew

#: A console that says nothing authentic on any channel for this long is gone.
SESSION_SILENT_NS = 10_000_000_000
_ROUTE_SILENT_NS = 5_000_000_000
_STOP_REPEAT_NS = 100_000_000
MAX_SESSIONS = 32

SiteEvent = CommandFrame | Order | Stop | SessionOpened | SessionClosed | PathChange | Fallback | Intruder


class SiteLink:
    """Listens on the ports of one site.

    `versions`: what must match at both ends, e.g. {"command": 1, "state": 1}; a console that differs is refused by name.
    Raises at construction: VersionTooOld, KeyRefused (keys that are not this site's), PortInUse, LinkError.
    """

    def __init__(
        self,
        site: str,
        keys: SecretKeys,
        roles: Roles,
        *,
        orders_port: int,
        stop_port: int,
        stream_ports: tuple[int, ...],
        host: str = "127.0.0.1",
        versions: dict[str, int] | None = None,
        release: str | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        require_libzmq()
        self._release = own_release() if release is None else release
        if roles.site_key(site) != keys.curve_public:
            raise KeyRefused(f"the secret key is {keys.name}'s, the role table pins another one for site {site!r}")
        self.site = site
        self._versions = dict(versions or {})
        self._clock = clock
        self._sessions: dict[str, SiteSession] = {}
        self._numbers: dict[int, SiteSession] = {}
        self._number = secrets.randbelow(65536)
        self._events: list[SiteEvent] = []
        self._newest: dict[str, CommandFrame] = {}
        self._stops: dict[tuple[str, bytes], list[int]] = {}  # (key, instance) -> [ordinal, last handed on, echoed]
        self._stop_routes: dict[tuple[str, bytes], dict[bytes, None]] = {}
        self._more = False
        self._hurried = False
        self.counters = Counters()
        self._allowed: dict[str, str] = {}
        self._context = zmq.Context(1)
        self._udp = []
        opened: list[Any] = []
        try:
            self._zap = ZapHandler(self._context, lambda: self._allowed, self._refused)
            opened.append(self._zap)
            self._orders = server_socket(
                self._context, keys, f"tcp://{host}:{orders_port}", messages.ORDER_MAX_BYTES, "orders"
            )
            opened.append(self._orders)
            self._stop = server_socket(
                self._context, keys, f"tcp://{host}:{stop_port}", messages.STOP_MAX_BYTES, "stop", Plane.STREAM
            )
            opened.append(self._stop)
            for port in stream_ports:
                self._udp.append(bound_socket(host, port))
        except BaseException:
            for thing in [*opened, *self._udp]:
                thing.close()
            self._context.term()
            raise
        self._monitors = [Monitor(self._orders), Monitor(self._stop)]
        self._poller = Waiter([*self._udp, *self._zmq_sockets()])
        self.set_roles(roles)

    # --- for the loop ----------------------------------------------------------------------------------------------
    def fds(self) -> list[int]:
        """File descriptors to wait on for reading. Call `poll` after every wake and at least every 10 ms: ZeroMQ's
        descriptors are edge-triggered, and probes are due."""
        zmq_fds = [int(s.getsockopt(zmq.FD)) for s in self._zmq_sockets()]
        return [u.fileno() for u in self._udp] + zmq_fds

    def wait(self, timeout_ms: float, others: Sequence[Any] = ()) -> None:
        """Wait for something to do here or on `others` (anything with a fileno), at most `timeout_ms`."""
        if not self._more:
            self._poller.wait(timeout_ms, others)

    def _zmq_sockets(self) -> list[zmq.Socket]:
        return [self._zap.socket, self._stop, self._orders, *(m.socket for m in self._monitors)]

    def poll(self, now_ns: int | None = None) -> list[SiteEvent]:
        """What arrived since the last call. Never blocks, never raises for what a peer sends.

        A command or a stop that came by datagram is returned at once; everything else is done in the next call, which
        `wait` does not delay.
        """
        self._more = False
        for path, sock in enumerate(self._udp):
            self._receive_udp(path, sock)
            if not self._hurried and (self._newest or self._events):
                self._hurried = self._more = True
                return self._taken()
        self._hurried = False
        self._zap.poll()
        self._receive_zmq(self._stop, self._on_stop_message)
        self._receive_zmq(self._orders, self._on_message)
        self._watch_handshakes()
        now = self._clock() if now_ns is None else now_ns
        self._upkeep(now)
        return self._taken()

    def _taken(self) -> list[SiteEvent]:
        events, self._events = self._events, []
        if self._newest:
            events.extend(self._newest.values())
            self._newest.clear()
        return events

    # --- what the site says ----------------------------------------------------------------------------------------
    def send_state(self, frame: bytes) -> None:
        """One state frame to every session, on every path (or by TCP, where a session had to fall back).

        Raises ValueError if it does not fit a datagram.
        """
        now = self._clock()
        for session in self._sessions.values():
            if session.fallback:
                session.mailbox.put(session.stream.next_counter(), frame)
                self._pump_tcp(session)
            else:
                self._send_all(session, session.stream.seal_all(Kind.STATE, frame, now))

    def reply(self, key: str, order: int, answer: dict[str, Any]) -> None:
        """Answer an order. The answer is kept for a while, should the console have to ask again.

        Raises BadMessage if it is too large.
        """
        session = self._sessions.get(key)
        if session is None:
            self.counters.add("reply_without_session")
            return
        raw = messages.pack({"t": "reply", "s": session.nonce, "id": order, "r": answer})
        for route in session.keep_reply(order, raw, self._clock()):
            self._send_raw(self._orders, route, raw)

    def notify(self, note: dict[str, Any], key: str | None = None) -> None:
        """Tell every console (or one) something on the orders channel, at most once, in order. For long or rare things."""
        for session in list(self._sessions.values()):
            if key is None or session.key == key:
                session.notes += 1
                self._send_routes(session, {"t": "note", "s": session.nonce, "n": session.notes, "note": note})

    def echo_stop(self, key: str, ordinal: int) -> None:
        """The governor has seen stop `ordinal` of `key`: tell the console on everything, so that it stops repeating."""
        for (k, instance), record in self._stops.items():
            if k == key and record[0] >= ordinal:
                record[2] = max(record[2], ordinal)
                self._say_echo(k, instance, record[2])

    def set_roles(self, roles: Roles) -> None:
        """Use this role table from now on; sessions of keys that are no longer good end at once ("revoked")."""
        self._allowed = roles.allowed_at(self.site)
        now = self._clock()
        for key in [k for k in self._sessions if k not in self._allowed]:
            self._send_routes(self._sessions[key], _refusal("revoked", "this key has been revoked"))
            self._close_session(key, "revoked", now)

    def sessions(self) -> dict[str, bytes]:
        """CURVE key -> session nonce of every console that is here."""
        return {k: s.nonce for k, s in self._sessions.items()}

    def stats(self) -> dict[str, Any]:
        """Health of every session's paths, and what was shed, as plain data."""
        now = self._clock()
        return {
            "sessions": [
                {
                    "key": s.key,
                    "name": s.name,
                    "session": s.nonce,
                    "transport": "tcp" if s.fallback else "udp",
                    "paths": [asdict(p) for p in s.stream.stats(now)],
                    "combined": asdict(s.stream.combined.stats(now)),
                    "stream": dict(s.stream.counts),
                }
                for s in self._sessions.values()
            ],
            "counters": dict(self.counters.n),
        }

    def close(self) -> None:
        """Say goodbye and let go of every port."""
        for session in list(self._sessions.values()):
            self._send_routes(session, {"t": "bye", "s": session.nonce, "why": "the site's link closes"})
        for m in self._monitors:
            m.close()
        for s in self._udp:
            s.close()
        for sock in (self._orders, self._stop):
            sock.close(100)  # ms for the goodbye to leave
        self._zap.close()
        self._context.term()

    # --- datagrams -------------------------------------------------------------------------------------------------
    def _receive_udp(self, path: int, sock: Any) -> None:
        for _ in range(MAX_PER_POLL):
            try:
                data, address = sock.recvfrom(DATAGRAM_MAX_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self.counters.add("udp_receive_error")
                continue
            now = self._clock()
            try:
                head = parse_header(data)
            except Unsealed as e:
                self.counters.add(f"datagram_{e.reason}")
                continue
            session = self._numbers.get(head.session)
            if session is None:
                self.counters.add("datagram_no_session")
                continue
            bad = session.stream.counts["bad"]
            opened = session.stream.open(path, data, now)
            if session.stream.counts["bad"] != bad:
                self.counters.add("datagram_not_genuine")
                continue
            session.heard = now
            # Follow the console when its address changes, but only forwards: a delayed old datagram must not turn us back.
            if head.counter > session.address_counter[path]:
                session.address_counter[path] = head.counter
                session.addresses[path] = address
            if opened is None:
                continue
            if opened.kind == Kind.STOP:
                if len(opened.payload) == STOP.size:
                    self._on_stop(session.key, session.instance, STOP.unpack(opened.payload)[0], path, now, None)
            else:
                self._on_command(session, opened.path, opened.payload, now)
        self._more = True

    def _on_command(self, session: SiteSession, path: int, data: bytes, now: int) -> None:
        if not session.commands.take(now):
            self.counters.add("command_flood")
            return
        if session.key in self._newest:
            self.counters.add("command_superseded")
        # Only the newest of a backlog is handed on: commands are absolute, an older one is worth nothing.
        self._newest[session.key] = CommandFrame(session.key, path, data, now, session.nonce)

    def _send_all(self, session: SiteSession, datagrams: list[bytes]) -> None:
        for path, datagram in enumerate(datagrams):
            self._send_udp(session, path, datagram)

    def _send_udp(self, session: SiteSession, path: int, datagram: bytes) -> None:
        address = session.addresses[path]
        if address is None:
            return
        try:
            self._udp[path].sendto(datagram, address)
        except OSError:
            self.counters.add("udp_send_error")

    # --- orders ----------------------------------------------------------------------------------------------------
    def _receive_zmq(self, sock: zmq.Socket, handle: Callable[[str, bytes, bytes, int], None]) -> None:
        for _ in range(MAX_PER_POLL):
            if not readable(sock):
                return
            frames = sock.recv_multipart(zmq.NOBLOCK, copy=False)
            now = self._clock()
            key = user_id(frames[-1])
            if key not in self._allowed:
                self.counters.add("message_of_revoked_key")
                continue
            if len(frames) != 2:
                self.counters.add("message_parts")
                continue
            try:
                handle(key, frames[0].bytes, frames[1].bytes, now)
            except BadMessage as e:
                self.counters.add("message_bad")
                self._events.append(Intruder(f"bad message: {e}", key, "", now))
        self._more = True

    def _on_message(self, key: str, route: bytes, raw: bytes, now: int) -> None:
        m = messages.unpack(raw)
        if m["t"] == "hello":
            self._on_hello(key, route, m, now)
            return
        if m["t"] == "stop":
            self._on_stop(key, field(m, "i", bytes, 16), field(m, "ord", int), TCP_PATH, now, None)
            return
        session = self._sessions.get(key)
        if session is None or m.get("s") != session.nonce:
            self._send(route, {"t": "unknown", "s": m.get("s") if isinstance(m.get("s"), bytes) else b""})
            return
        session.heard = now
        path = session.routes.get(route, (0, 0))[0]
        session.routes[route] = (path, now)
        kind = m["t"]
        if kind == "order":
            self._on_order(session, route, m, now)
        elif kind == "ka":
            self._send(route, {"t": "ka", "s": session.nonce, "t1": field(m, "t1", int), "t2": now, "t3": self._clock()})
        elif kind == "stream":
            self._on_tcp_frame(session, m, now)
        elif kind == "fallback":
            self._set_fallback(session, bool(m.get("on")), now)
        elif kind == "test":
            self._on_test(session, m, now)
        elif kind == "bye":
            self._close_session(key, "bye", now)
        else:
            raise BadMessage(f"unknown message {kind[:32]!r}")

    def _on_hello(self, key: str, route: bytes, m: dict[str, Any], now: int) -> None:
        instance = field(m, "i", bytes, messages.INSTANCE_BYTES)
        path, t1 = field(m, "path", int), field(m, "t1", int)
        skew = self._version_skew(m)
        if skew:
            self.counters.add("refused_version")
            self._send(route, _refusal("version", skew))
            return
        session = self._sessions.get(key)
        if session is None or session.instance != instance:
            if session is not None:
                refusal = _refusal("superseded", "another console has connected with the same key")
                self._send_routes(session, refusal | {"i": session.instance})
                self._close_session(key, "superseded", now)
            if len(self._sessions) >= MAX_SESSIONS:
                self._send(route, _refusal("full", f"{MAX_SESSIONS} consoles are connected already"))
                return
            session = self._open_session(key, instance, now, release_in(m))
        session.heard = now
        session.routes[route] = (min(path, 15), now)
        self._send(
            route,
            {
                "t": "welcome",
                "v": PROTOCOL_VERSION,
                "i": instance,
                "s": session.nonce,
                "n": session.number,
                "k": session.secret,
                "paths": len(self._udp),
                "site": self.site,
                "versions": self._versions,
                "release": self._release,
                "t1": t1,
                "t2": now,
                "t3": self._clock(),
            },
        )

    def _version_skew(self, m: dict[str, Any]) -> str:
        theirs = m.get("versions")
        theirs = theirs if isinstance(theirs, dict) else {}
        ours = {LINK_PROTOCOL: PROTOCOL_VERSION, **self._versions}
        return skew(self.site, {**theirs, LINK_PROTOCOL: m.get("v")}, ours, release_in(m), self._release)

    def _open_session(self, key: str, instance: bytes, now: int, release: str) -> SiteSession:
        while True:
            self._number = (self._number + 1) % 65536
            if self._number not in self._numbers:
                break
        nonce, secret, n = secrets.token_bytes(16), secrets.token_bytes(32), len(self._udp)
        stream = StreamEnd(secret, nonce, self._number, n, site=True, now_ns=now)
        session = SiteSession(key, self._allowed[key], instance, nonce, self._number, secret, stream, now, now)
        session.addresses, session.address_counter, session.alive = [None] * n, [0] * n, [False] * n
        self._sessions[key] = self._numbers[self._number] = session
        self._events.append(SessionOpened(key, session.name, nonce, now, release))
        return session

    def _close_session(self, key: str, why: str, now: int) -> None:
        session = self._sessions.pop(key)
        del self._numbers[session.number]
        self._newest.pop(key, None)
        for record in [r for r in self._stops if r == (key, session.instance)]:
            self._stops.pop(record), self._stop_routes.pop(record, None)
        self._events.append(SessionClosed(key, session.nonce, why, now))

    def _on_order(self, session: SiteSession, route: bytes, m: dict[str, Any], now: int) -> None:
        number, order = field(m, "id", int), field(m, "o", dict)
        if not session.orders.take(now):
            self.counters.add("order_flood")
            return  # the console asks again
        if session.remember_order(number, route):
            self._events.append(Order(session.key, number, order, now, session.nonce))
            return
        self.counters.add("order_repeated")
        raw = session.asked_again(number, now)
        if raw == b"":
            gone = {"ok": False, "reason": "this order was answered long ago; the answer is no longer kept"}
            raw = messages.pack({"t": "reply", "s": session.nonce, "id": number, "r": gone})
        if raw is not None:
            self._send_raw(self._orders, route, raw)

    def _send_routes(self, session: SiteSession, message: dict[str, Any]) -> None:
        raw = messages.pack(message)
        for route in session.routes:
            self._send_raw(self._orders, route, raw)

    def _send(self, route: bytes, message: dict[str, Any]) -> None:
        self._send_raw(self._orders, route, messages.pack(message))

    def _send_raw(self, sock: zmq.Socket, route: bytes, raw: bytes) -> None:
        try:
            sock.send_multipart([route, raw], zmq.NOBLOCK)
        except zmq.ZMQError:
            self.counters.add("zmq_send_error")

    # --- stop ------------------------------------------------------------------------------------------------------
    def _on_stop_message(self, key: str, route: bytes, raw: bytes, now: int) -> None:
        m = messages.unpack(raw, messages.STOP_MAX_BYTES)
        if m["t"] != "stop":
            raise BadMessage("only stops belong on the stop socket")
        self._on_stop(key, field(m, "i", bytes, 16), field(m, "ord", int), TCP_PATH, now, route)

    def _on_stop(self, key: str, instance: bytes, ordinal: int, path: int, now: int, route: bytes | None) -> None:
        # A stop needs no session and no authority, only a key that is good here.
        who = (key, instance)
        if who not in self._stops and len(self._stops) >= 4 * MAX_SESSIONS:
            self._stops.pop(next(iter(self._stops)))
        record = self._stops.setdefault(who, [0, 0, 0])
        if route is not None:
            routes = self._stop_routes.setdefault(who, {})
            routes[route] = None
            while len(routes) > 4:
                routes.pop(next(iter(routes)))
        if ordinal <= record[2]:
            self._say_echo(key, instance, record[2])
        elif ordinal > record[0] or now - record[1] >= _STOP_REPEAT_NS:
            record[0], record[1] = max(record[0], ordinal), now
            self._events.append(Stop(key, record[0], path, now))

    def _say_echo(self, key: str, instance: bytes, ordinal: int) -> None:
        raw = messages.pack({"t": "stop_echo", "ord": ordinal})
        for route in self._stop_routes.get((key, instance), ()):
            self._send_raw(self._stop, route, raw)
        session = self._sessions.get(key)
        if session is not None and session.instance == instance:
            self._send_all(session, session.stream.seal_all(Kind.STOP_ECHO, STOP.pack(ordinal), self._clock()))
            self._send_routes(session, {"t": "stop_echo", "ord": ordinal})

    # --- TCP fall-back and line test -------------------------------------------------------------------------------
    def _set_fallback(self, session: SiteSession, on: bool, now: int) -> None:
        if on != session.fallback:
            session.fallback = on
            text = "streams by TCP: no datagram path passes" if on else "streams by UDP again"
            self._events.append(Fallback(on, text, now, session.key))

    def _on_tcp_frame(self, session: SiteSession, m: dict[str, Any], now: int) -> None:
        session.mailbox.ack(field(m, "a", int))
        data = field(m, "d", bytes)
        if data:
            session.tcp_received += 1
            opened = session.stream.sieve(Kind.COMMAND, TCP_PATH, field(m, "c", int), data)
            if opened is not None and len(data) <= DATAGRAM_MAX_BYTES:
                self._on_command(session, TCP_PATH, data, now)
        self._pump_tcp(session)

    def _pump_tcp(self, session: SiteSession) -> None:
        frame = session.mailbox.take()
        route = max(session.routes, key=lambda r: session.routes[r][1], default=None)
        if frame is not None and route is not None:
            m = {"t": "stream", "s": session.nonce, "c": frame[0], "d": frame[1], "a": session.tcp_received}
            self._send(route, m)

    def _on_test(self, session: SiteSession, m: dict[str, Any], now: int) -> None:
        until = now + min(field(m, "ms", int), 600_000) * 1_000_000
        if "path" in m:
            path = field(m, "path", int)
            if path < len(self._udp):
                rate = min(field(m, "bps", int), 50_000_000) / 8
                session.test_load[path] = (rate, min(until, now + 10_000_000_000), now)
        else:
            session.stream.set_test(min(field(m, "hz", int), 500), field(m, "size", int), until, now)

    def _pump_load(self, session: SiteSession, now: int) -> None:
        for path, (rate, until, due) in list(session.test_load.items()):
            sent = 0
            while due <= now and sent < 64:
                self._send_udp(session, path, session.stream.load(path, DATAGRAM_MAX_BYTES, now))
                due += int(DATAGRAM_MAX_BYTES * 1e9 / max(rate, 1000.0))
                sent += 1
            session.test_load[path] = (rate, until, max(due, now - 5_000_000))
            if now >= until:
                del session.test_load[path]

    # --- upkeep ----------------------------------------------------------------------------------------------------
    def _upkeep(self, now: int) -> None:
        for key, session in list(self._sessions.items()):
            self._send_all(session, session.stream.probes(now))
            if session.test_load:
                self._pump_load(session, now)
            if session.fallback:
                self._pump_tcp(session)
            for path, health in enumerate(session.stream.health):
                alive = health.is_alive(now)
                if alive != session.alive[path]:
                    session.alive[path] = alive
                    self._events.append(PathChange(path, alive, now, key))
            for route in [r for r, (_, t) in session.routes.items() if now - t > _ROUTE_SILENT_NS]:
                del session.routes[route]
            if now - session.heard > SESSION_SILENT_NS:
                self._close_session(key, "silent", now)

    def _refused(self, key: str, address: str, why: str) -> None:
        self.counters.add("handshake_refused")
        self._events.append(Intruder(why, key, address, self._clock()))

    def _watch_handshakes(self) -> None:
        for m in self._monitors:
            for connected, why in m.poll():
                if not connected and "handshake" in why:
                    self.counters.add("handshake_failed")
                    self._events.append(Intruder(why, "", "", self._clock()))


def _refusal(why: str, text: str) -> dict[str, Any]:
    return {"t": "refused", "why": why, "text": text}
