"""`ConsoleLink`: the surgeon's end of the link to one site. One object, no thread; wait on `fds()`, call `poll`."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import zmq

from teleop.link import messages
from teleop.link.curve import Monitor, Waiter, client_socket, readable, require_libzmq
from teleop.link.datagram import MAX_PER_POLL, connected_socket
from teleop.link.endpoint import SiteEndpoint
from teleop.link.errors import BadMessage
from teleop.link.estimators import ClockEstimate
from teleop.link.events import (
    TCP_PATH,
    Counters,
    Down,
    Fallback,
    Note,
    OrderLost,
    PathChange,
    Refused,
    Reply,
    RouteChange,
    StateFrame,
    StopEchoed,
    Up,
)
from teleop.link.keys import SecretKeys
from teleop.link.messages import PROTOCOL_VERSION, field
from teleop.link.orders import ORDER_TIMEOUT_NS, OrderBook, StopRepeater
from teleop.link.planes import Plane
from teleop.link.seal import DATAGRAM_MAX_BYTES, Kind
from teleop.link.session import Mailbox
from teleop.link.stream import STOP, StreamEnd
from teleop.link.versions import own_release, release_in

HELLO_PERIOD_NS = 500_000_000
KEEPALIVE_NS = 1_000_000_000
DOWN_AFTER_NS = 2_000_000_000
#: No datagram path for this long, while the orders channel stands: fall back to TCP. Back after as long a good time.
FALLBACK_AFTER_NS = 2_000_000_000

ConsoleEvent = (
    Up | Down | Refused | StateFrame | Reply | OrderLost | Note | StopEchoed | PathChange | RouteChange | Fallback
)


class ConsoleLink:
    """A console's link to one site. `start()` opens the sockets; the session follows as `Up` from `poll`.

    `tcp_fallback`: may the streams go by TCP when no datagram path passes? It is said in an event when they do.
    """

    def __init__(
        self,
        endpoint: SiteEndpoint,
        keys: SecretKeys,
        *,
        versions: dict[str, int] | None = None,
        tcp_fallback: bool = True,
        release: str | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        require_libzmq()
        self.endpoint = endpoint
        self.site = endpoint.site
        self._keys = keys
        self._versions = dict(versions or {})
        self._release = own_release() if release is None else release
        self.site_release = ""
        self._clock = clock
        self._may_fall_back = tcp_fallback
        self.session: bytes | None = None
        self.refused: Refused | None = None
        self.fallback = False
        self.counters = Counters()
        self._orders = OrderBook()
        self._stop = StopRepeater()
        self._instance = secrets.token_bytes(messages.INSTANCE_BYTES)
        self._stream: StreamEnd | None = None
        self._mailbox = Mailbox()
        self._tcp_received = 0
        self._events: list[ConsoleEvent] = []
        self._alive: list[bool] = []
        self._connected = [False] * len(endpoint.paths)
        self._why = [""] * len(endpoint.paths)
        self._heard = 0
        self._up = False
        self._next_hello = self._next_keepalive = 0
        self._welcomed: list[bool] = [False] * len(endpoint.paths)
        self._udp_good_since: int | None = None
        self._udp_bad_since: int | None = None
        self._newest_note = 0
        self._tcp_rtt_ns: int | None = None
        self._state: StateFrame | None = None
        self._more = False
        self._context: zmq.Context | None = None
        self._poller: Waiter | None = None
        self._dealers: list[zmq.Socket] = []
        self._stops: list[zmq.Socket] = []
        self._monitors: list[Monitor] = []
        self._udp: list[Any] = []

    # --- for the loop ----------------------------------------------------------------------------------------------
    def start(self) -> "ConsoleLink":
        """Open the sockets and begin to knock. Raises LinkError for an address that cannot be."""
        self._context = zmq.Context(1)
        try:
            for p in self.endpoint.paths:
                tcp = f"tcp://{p.host}:"
                key, ctx = self.endpoint.server_key, self._context
                dealer = client_socket(ctx, self._keys, key, f"{tcp}{p.orders}", messages.ORDER_MAX_BYTES)
                self._dealers.append(dealer)
                self._monitors.append(Monitor(dealer))
                stop = client_socket(ctx, self._keys, key, f"{tcp}{p.stop}", messages.STOP_MAX_BYTES, Plane.STREAM)
                self._stops.append(stop)
                self._udp.append(connected_socket(p.host, p.stream))
        except BaseException:
            self.close()
            raise
        self._poller = Waiter([*self._udp, *self._zmq_sockets()])
        return self

    def fds(self) -> list[int]:
        """File descriptors to wait on for reading. Call `poll` after every wake and at least every 10 ms."""
        return [u.fileno() for u in self._udp] + [int(s.getsockopt(zmq.FD)) for s in self._zmq_sockets()]

    def wait(self, timeout_ms: float, others: Sequence[Any] = ()) -> None:
        """Wait for something to do here or on `others` (anything with a fileno), at most `timeout_ms`."""
        if not self._more and self._poller is not None:
            self._poller.wait(timeout_ms, others)

    def _zmq_sockets(self) -> list[zmq.Socket]:
        return [*self._dealers, *self._stops, *(m.socket for m in self._monitors)]

    def poll(self, now_ns: int | None = None) -> list[ConsoleEvent]:
        """Everything that happened since the last call. Never blocks, never raises for what the network brings."""
        self._more = False
        for path, sock in enumerate(self._udp):
            self._receive_udp(path, sock)
        for path in range(len(self._dealers)):
            self._receive_zmq(path, self._dealers[path])
            self._receive_zmq(path, self._stops[path])
        self._watch_routes()
        now = self._clock() if now_ns is None else now_ns
        if self._stop.pending:  # also by a console that was refused a session: a good key may always stop
            self._say_stop(now)
        if self.refused is None:
            self._upkeep(now)
        events, self._events = self._events, []
        if self._state is not None:
            events.append(self._state)
            self._state = None
        return events

    # --- what the console says -------------------------------------------------------------------------------------
    def send_command(self, frame: bytes) -> bool:
        """One command frame on every path. False if there is no session yet. Raises ValueError if it is too long."""
        if self._stream is None:
            return False
        if self.fallback:
            self._mailbox.put(self._stream.next_counter(), frame)
            self._pump_tcp()
        else:
            self._send_all(self._stream.seal_all(Kind.COMMAND, frame, self._clock()))
        return True

    def order(self, order: dict[str, Any], timeout_s: float = ORDER_TIMEOUT_NS / 1e9) -> int:
        """Ask the site for something; returns the id that the `Reply` (or `OrderLost`) will carry.

        Raises BadMessage if it is too large, ValueError if too many are open.
        """
        messages.pack({"t": "order", "s": bytes(16), "id": 2**62, "o": order})
        return self._orders.ask(order, self._clock(), int(timeout_s * 1e9))

    def stop(self) -> int:
        """Ask for a stop, now, on everything, until it is echoed. Works without a session. Returns its ordinal."""
        now = self._clock()
        ordinal = self._stop.ask(now)
        self._say_stop(now)
        return ordinal

    def clock(self) -> ClockEstimate | None:
        """Site clock minus console clock, from the best path; None before the first round trip. Display and logs only."""
        if self._stream is None:
            return None
        now = self._clock()
        found = [c for c in (h.clock(now) for h in self._stream.health) if c is not None]
        return min(found, key=lambda c: c.error_ns, default=None)

    def run_test(self, ms: int, hz: int, size_up: int, size_down: int) -> None:
        """Line test: probes at `hz` with payloads of these sizes on every path, both ways, for `ms`."""
        if self._stream is None:
            return
        now = self._clock()
        self._stream.set_test(hz, size_up, now + ms * 1_000_000, now)
        self._send_any({"t": "test", "s": self.session, "ms": ms, "hz": hz, "size": size_down})

    def ask_load(self, path: int, ms: int, bits_per_second: int) -> None:
        """Line test: let the site send filler on one path; `stream.load_bytes` counts what arrives."""
        self._send_any({"t": "test", "s": self.session, "ms": ms, "path": path, "bps": bits_per_second})

    @property
    def stream(self) -> StreamEnd | None:
        """The streams' end of the present session, for the line test; None without a session."""
        return self._stream

    def line_age_ns(self, now_ns: int | None = None) -> int | None:
        """How old a command would be now by the line alone: the quickest path's newest round trip + the silence on all paths.

        Cheap enough for 30 sites at 20 Hz; the early warning's food, also for sites that nobody holds. None before the first round trip.
        """
        if self._stream is None:
            return None
        now = self._clock() if now_ns is None else now_ns
        trips = [r for r in (h.newest_round_trip_ns() for h in self._stream.health) if r is not None]
        return min(trips) + self._stream.combined.silence_ns(now) if trips else None

    def stats(self) -> dict[str, Any]:
        """Health of the paths as this console receives them, as plain data."""
        now = self._clock()
        return {
            "site": self.site,
            "up": self._up,
            "release": self.site_release,
            "transport": "tcp" if self.fallback else "udp",
            "paths": [asdict(p) for p in self._stream.stats(now)] if self._stream is not None else [],
            "combined": asdict(self._stream.combined.stats(now)) if self._stream is not None else None,
            "routes": [{"path": i, "connected": c, "why": w} for i, (c, w) in enumerate(zip(self._connected, self._why, strict=True))],
            "tcp_rtt_ms": None if self._tcp_rtt_ns is None else self._tcp_rtt_ns / 1e6,
            "stream": dict(self._stream.counts) if self._stream is not None else {},
            "counters": dict(self.counters.n),
        }

    def close(self) -> None:
        """Say goodbye and let go of the sockets."""
        if self.session is not None:
            self._send_any({"t": "bye", "s": self.session})
        for m in self._monitors:
            m.close()
        for u in self._udp:
            u.close()
        for s in [*self._dealers, *self._stops]:
            s.close(100)
        self._dealers, self._stops, self._monitors, self._udp = [], [], [], []
        self._stream, self.session = None, None
        if self._context is not None:
            self._context.term()
            self._context = None

    # --- datagrams -------------------------------------------------------------------------------------------------
    def _receive_udp(self, path: int, sock: Any) -> None:
        for _ in range(MAX_PER_POLL):
            try:
                data = sock.recv(DATAGRAM_MAX_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:  # "connection refused": nobody listens there at the moment
                self.counters.add("udp_refused")
                continue
            now = self._clock()
            if self._stream is None:
                self.counters.add("datagram_no_session")
                continue
            bad = self._stream.counts["bad"]
            opened = self._stream.open(path, data, now)
            if self._stream.counts["bad"] == bad:
                self._heard = now
            if opened is None:
                continue
            if opened.kind == Kind.STOP_ECHO:
                if len(opened.payload) == STOP.size:
                    self._on_echo(STOP.unpack(opened.payload)[0], now)
            elif opened.kind == Kind.STATE:
                if self._state is not None:
                    self.counters.add("state_superseded")
                self._state = StateFrame(opened.path, opened.payload, now)
        self._more = True

    def _send_all(self, datagrams: list[bytes]) -> None:
        for path, datagram in enumerate(datagrams[: len(self._udp)]):
            try:
                self._udp[path].send(datagram)
            except OSError:
                self.counters.add("udp_send_error")

    # --- orders ----------------------------------------------------------------------------------------------------
    def _receive_zmq(self, path: int, sock: zmq.Socket) -> None:
        for _ in range(MAX_PER_POLL):
            if not readable(sock):
                return
            frames = sock.recv_multipart(zmq.NOBLOCK)
            now = self._clock()
            if len(frames) != 1:
                self.counters.add("message_parts")
                continue
            try:
                self._on_message(path, messages.unpack(frames[0]), now)
            except BadMessage:
                self.counters.add("message_bad")
        self._more = True

    def _on_message(self, path: int, m: dict[str, Any], now: int) -> None:
        kind = m["t"]
        if kind == "welcome":
            self._on_welcome(path, m, now)
            return
        if kind == "refused":
            if m.get("i", self._instance) == self._instance:
                self._refuse(str(m.get("why", "?"))[:32], str(m.get("text", ""))[:1000], now)
            return
        if kind == "stop_echo":
            self._on_echo(field(m, "ord", int), now)
            return
        if kind == "unknown":
            if self.session is not None and m.get("s") == self.session:
                self._lose_session("the site has restarted its link", now)
            return
        if self.session is None or m.get("s") != self.session:
            self.counters.add("message_of_other_session")
            return
        self._heard = now
        if kind == "reply":
            number = field(m, "id", int)
            if self._orders.answered(number):
                self._events.append(Reply(number, field(m, "r", dict), now))
        elif kind == "note":
            n = field(m, "n", int)
            if n > self._newest_note:  # the same note comes on every route
                self._newest_note = n
                self._events.append(Note(field(m, "note", dict), now))
        elif kind == "ka":
            t1, t2, t3 = field(m, "t1", int), field(m, "t2", int), field(m, "t3", int)
            self._tcp_rtt_ns = max(0, (now - t1) - (t3 - t2))
        elif kind == "stream":
            self._on_tcp_frame(m, now)
        elif kind == "bye":
            self._lose_session(str(m.get("why", "the site said goodbye"))[:200], now)
        else:
            raise BadMessage("unknown message")

    def _on_welcome(self, path: int, m: dict[str, Any], now: int) -> None:
        if m.get("i") != self._instance:
            return
        nonce, secret = field(m, "s", bytes, 16), field(m, "k", bytes, 32)
        number, t1, t2, t3 = (field(m, k, int) for k in ("n", "t1", "t2", "t3"))
        if m.get("v") != PROTOCOL_VERSION or m.get("site") != self.site or number > 65535:
            text = f"{self.endpoint.site}: the other end is site {m.get('site')!r}, protocol {m.get('v')!r}"
            text += f", release {release_in(m) or 'unknown'}; we speak protocol {PROTOCOL_VERSION}, release {self._release}"
            self._refuse("version" if m.get("site") == self.site else "site", text, now)
            return
        self._heard = now
        self._welcomed[path] = True
        if self.session == nonce:
            return
        if self.session is not None:
            self._forget_session("the site has restarted its link", now)
            self._welcomed[path] = True
        self.session = nonce
        self.site_release = release_in(m)
        paths = min(field(m, "paths", int), len(self.endpoint.paths))
        self._stream = StreamEnd(secret, nonce, number, paths, site=False, now_ns=now)
        self._alive = [False] * paths
        self._newest_note = 0
        self._udp_bad_since, self._udp_good_since = now, None
        self.fallback = False
        self._mailbox, self._tcp_received = Mailbox(), 0
        self._up = True
        rtt = max(0, (now - t1) - (t3 - t2))
        offset = ((t2 - t1) + (t3 - now)) // 2
        self._events.append(Up(self.site, nonce, offset, rtt // 2, now, self.site_release))
        self._orders.resend_all(now)

    def _refuse(self, why: str, text: str, now: int) -> None:
        self._drop_session()
        self.refused = Refused(self.site, why, text, now)
        self._events.append(self.refused)
        self._events += [OrderLost(n, f"refused: {text}", now) for n in self._orders.drop_all()]

    def _lose_session(self, why: str, now: int) -> None:
        self._forget_session(why, now)
        self._instance = secrets.token_bytes(messages.INSTANCE_BYTES)
        self._next_hello = now

    def _forget_session(self, why: str, now: int) -> None:
        self._drop_session()
        self._events.append(Down(self.site, why, now))
        # The site's memory of order ids went with the session: an order asked again could be carried out twice.
        self._events += [OrderLost(n, why, now) for n in self._orders.drop_all()]

    def _drop_session(self) -> None:
        self.session, self._stream, self._up, self.fallback = None, None, False, False
        self._welcomed = [False] * len(self._welcomed)

    def _send_any(self, message: dict[str, Any], paths: list[int] | None = None) -> bool:
        """On every route that takes it at once; True if at least one did."""
        raw = messages.pack(message)
        sent = False
        for path in range(len(self._dealers)) if paths is None else paths:
            try:
                self._dealers[path].send(raw, zmq.NOBLOCK)
                sent = True
            except zmq.ZMQError:
                self.counters.add("route_not_ready")
        return sent

    # --- stop ------------------------------------------------------------------------------------------------------
    def _say_stop(self, now: int) -> None:
        udp, tcp = self._stop.due(now)
        if udp and self._stream is not None:
            self._send_all(self._stream.seal_all(Kind.STOP, STOP.pack(self._stop.ordinal), now))
        if tcp:
            message = {"t": "stop", "i": self._instance, "ord": self._stop.ordinal}
            raw = messages.pack(message)
            for sock in self._stops:
                try:
                    sock.send(raw, zmq.NOBLOCK)
                except zmq.ZMQError:
                    self.counters.add("route_not_ready")
            self._send_any(message)

    def _on_echo(self, ordinal: int, now: int) -> None:
        after = self._stop.echo(ordinal, now)
        if after is not None:
            self._events.append(StopEchoed(ordinal, after, now))

    # --- TCP fall-back ---------------------------------------------------------------------------------------------
    def _on_tcp_frame(self, m: dict[str, Any], now: int) -> None:
        self._mailbox.ack(field(m, "a", int))
        data = field(m, "d", bytes)
        self._tcp_received += 1
        if self._stream is not None:
            opened = self._stream.sieve(Kind.STATE, TCP_PATH, field(m, "c", int), data)
            if opened is not None:
                self._state = StateFrame(TCP_PATH, data, now)
        if self.fallback:
            self._pump_tcp(ack=True)

    def _pump_tcp(self, ack: bool = False) -> None:
        frame = self._mailbox.take() or ((0, b"") if ack else None)
        if frame is not None:
            m = {"t": "stream", "s": self.session, "c": frame[0], "d": frame[1], "a": self._tcp_received}
            route = self._connected.index(True) if True in self._connected else 0
            self._send_any(m, [route])

    def _consider_fallback(self, now: int) -> None:
        assert self._stream is not None
        if self._stream.any_alive(now):
            self._udp_bad_since = None
            self._udp_good_since = now if self._udp_good_since is None else self._udp_good_since
            change = self.fallback and now - self._udp_good_since > FALLBACK_AFTER_NS
        else:
            self._udp_good_since = None
            self._udp_bad_since = now if self._udp_bad_since is None else self._udp_bad_since
            bad_for = now - self._udp_bad_since
            change = self._may_fall_back and not self.fallback and bad_for > FALLBACK_AFTER_NS and any(self._connected)
        if change:
            self.fallback = not self.fallback
            self._send_any({"t": "fallback", "s": self.session, "on": self.fallback})
            text = "streams by TCP: no datagram path passes; TCP stalls where UDP does not" if self.fallback else "streams by UDP again"
            self._events.append(Fallback(self.fallback, text, now))

    # --- upkeep ----------------------------------------------------------------------------------------------------
    def _upkeep(self, now: int) -> None:
        if not all(self._welcomed) and now >= self._next_hello:
            self._next_hello = now + HELLO_PERIOD_NS
            for path in (p for p, done in enumerate(self._welcomed) if not done):
                hello = {"t": "hello", "v": PROTOCOL_VERSION, "i": self._instance, "path": path, "t1": now}
                self._send_any(hello | {"versions": self._versions, "release": self._release}, [path])
        for number in self._orders.lost(now):
            self._events.append(OrderLost(number, "no answer in time", now))
        if self._stream is None or self.session is None:
            return
        for number, order in self._orders.due(now):
            self._send_any({"t": "order", "s": self.session, "id": number, "o": order})
        if now >= self._next_keepalive:
            self._next_keepalive = now + KEEPALIVE_NS
            self._send_any({"t": "ka", "s": self.session, "t1": now})
        self._send_all(self._stream.probes(now))
        for path, health in enumerate(self._stream.health):
            alive = health.is_alive(now)
            if alive != self._alive[path]:
                self._alive[path] = alive
                self._events.append(PathChange(path, alive, now))
        self._consider_fallback(now)
        if self._up and now - self._heard > DOWN_AFTER_NS:
            self._up = False
            self._events.append(Down(self.site, "nothing authentic heard for 2 s", now))
        elif not self._up and now - self._heard < DOWN_AFTER_NS:
            self._up = True
            est = self.clock()
            offset, error = (est.offset_ns, est.error_ns) if est else (0, 0)
            self._events.append(Up(self.site, self.session, offset, error, now, self.site_release))

    def _watch_routes(self) -> None:
        for path, monitor in enumerate(self._monitors):
            for connected, why in monitor.poll():
                now = self._clock()
                if why.startswith("refused") and self.refused is None and self.session is None:
                    self._refuse("key", f"{self.site}: {why}", now)
                if connected and not self._connected[path]:
                    self._next_hello = min(self._next_hello, now)
                    self._welcomed[path] = False  # the site knows a connection by its hello
                    self._orders.resend_all(now)
                if connected != self._connected[path] or (not connected and why != self._why[path]):
                    if connected != self._connected[path] or why.startswith(("refused", "the handshake")):
                        self._events.append(RouteChange(path, connected, why, now))
                    self._connected[path], self._why[path] = connected, why
