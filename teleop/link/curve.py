"""ZeroMQ sockets with CURVE, and the ZAP handler that admits pinned keys only. No thread: it is polled with the rest."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq
from zmq.utils import z85

from teleop.link.errors import LinkError, PortInUse, VersionTooOld
from teleop.link.keys import SecretKeys
from teleop.link.planes import Plane, mark_zmq

#: 4.3.2 and 4.3.3 closed the known holes (CVE-2019-13132, CVE-2020-15166); 4.3.5 is what was tested.
LIBZMQ_MIN = (4, 3, 5)
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
#: Kernel buffers of the orders channel: what is stuck in them is old when it arrives.
TCP_BUFFER = 128 * 1024


def require_libzmq(version: tuple[int, int, int] | None = None, has_curve: bool | None = None) -> None:
    """Refuse to start on an old libzmq, or one without CURVE. Raises VersionTooOld."""
    version = version or zmq.zmq_version_info()
    if tuple(version) < LIBZMQ_MIN:
        text = ".".join(map(str, version))
        raise VersionTooOld(f"libzmq {text} has known holes in CURVE; 4.3.5 or newer is needed (pip install -U pyzmq)")
    if not (zmq.has("curve") if has_curve is None else has_curve):
        raise VersionTooOld("this libzmq was built without CURVE; install pyzmq from its wheel")


def _common(sock: zmq.Socket, max_bytes: int) -> None:
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.MAXMSGSIZE, max_bytes)
    sock.setsockopt(zmq.SNDHWM, 256)
    sock.setsockopt(zmq.RCVHWM, 256)
    sock.setsockopt(zmq.SNDBUF, TCP_BUFFER)
    sock.setsockopt(zmq.RCVBUF, TCP_BUFFER)
    # A half-open connection is found in 1.5 s, not after the kernel's quarter of an hour.
    sock.setsockopt(zmq.HEARTBEAT_IVL, 500)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, 1500)
    sock.setsockopt(zmq.HEARTBEAT_TTL, 2000)
    sock.setsockopt(zmq.HANDSHAKE_IVL, 3000)


def server_socket(
    context: zmq.Context, keys: SecretKeys, address: str, max_bytes: int, domain: str, plane: Plane = Plane.ORDERS
) -> zmq.Socket:
    """A bound ROUTER that speaks CURVE only. Raises PortInUse, LinkError."""
    sock = context.socket(zmq.ROUTER)
    _common(sock, max_bytes)
    mark_zmq(sock, plane)
    sock.setsockopt(zmq.CURVE_SERVER, 1)
    sock.setsockopt(zmq.CURVE_SECRETKEY, keys.curve_secret.encode())
    sock.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    try:
        sock.bind(address)
    except zmq.ZMQError as e:
        sock.close(0)
        if e.errno == zmq.EADDRINUSE:
            raise PortInUse(f"{address} is in use{who_listens(address)}; stop it or choose other ports") from None
        raise LinkError(f"cannot listen on {address}: {e.strerror}") from None
    return sock


def client_socket(
    context: zmq.Context, keys: SecretKeys, server_key: str, address: str, max_bytes: int, plane: Plane = Plane.ORDERS
) -> zmq.Socket:
    """A DEALER on its way to a site whose key is pinned."""
    sock = context.socket(zmq.DEALER)
    _common(sock, max_bytes)
    mark_zmq(sock, plane)
    sock.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    sock.setsockopt(zmq.CURVE_PUBLICKEY, keys.curve_public.encode())
    sock.setsockopt(zmq.CURVE_SECRETKEY, keys.curve_secret.encode())
    sock.setsockopt(zmq.IMMEDIATE, 1)  # never queue for a connection that does not stand
    sock.setsockopt(zmq.RECONNECT_IVL, 100)
    sock.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    sock.setsockopt(zmq.CONNECT_TIMEOUT, 2000)
    try:
        sock.connect(address)
    except zmq.ZMQError as e:
        sock.close(0)
        raise LinkError(f"cannot connect to {address}: {e.strerror}") from None
    return sock


def readable(sock: zmq.Socket) -> bool:
    """Is a whole message waiting? Ten times cheaper than trying and catching."""
    return bool(int(sock.getsockopt(zmq.EVENTS)) & 1)  # POLLIN


def user_id(frame: zmq.Frame) -> str:
    """CURVE key of the sender as the ZAP handler wrote it, "" if there is none. Never the ROUTER identity: that is
    self-chosen by the peer."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


class ZapHandler:
    """Answers libzmq's question "may this key come in?" (RFC 27/ZAP) from an allow-list of pinned keys.

    `refused(key, address, text)` is called for everybody turned away.
    """

    def __init__(self, context: zmq.Context, allowed: Callable[[], Mapping[str, str]], refused: Callable[[str, str, str], None]):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ENDPOINT)
        self._allowed = allowed
        self._refused = refused

    def poll(self) -> None:
        """Answer all waiting questions (at most 64)."""
        for _ in range(64):
            if not readable(self.socket):
                return
            self._answer(self.socket.recv_multipart(zmq.NOBLOCK))

    def _answer(self, frames: list[bytes]) -> None:
        try:
            cut = frames.index(b"") + 1
        except ValueError:
            return
        envelope, body = frames[:cut], frames[cut:]
        if len(body) < 6:
            return
        version, request, _domain, address, _identity, mechanism, *credentials = body
        code, text, user = b"400", b"refused", b""
        key = ""
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32:
            key = z85.encode(credentials[0]).decode()
            if key in self._allowed():
                code, text, user = b"200", b"OK", key.encode()
        if code != b"200":
            why = "unknown or revoked key" if key else f"mechanism {mechanism!r}"
            self._refused(key, address.decode(errors="replace"), why)
        self.socket.send_multipart([*envelope, b"1.0", request, code, text, user, b""])

    def close(self) -> None:
        """Let go of the inproc endpoint."""
        self.socket.close(0)


def who_listens(address: str) -> str:
    """" by NAME (pid N)" of whoever holds the local port in `address` ("tcp://h:p" or "udp://h:p"), "" if unknown."""
    found = re.fullmatch(r"(tcp|udp)://.*:(\d+)", address)
    if not found:
        return ""
    import psutil

    try:
        for c in psutil.net_connections("tcp" if found[1] == "tcp" else "udp"):
            if c.laddr and c.laddr.port == int(found[2]) and c.pid and (found[1] == "udp" or c.status == psutil.CONN_LISTEN):
                return f" by {psutil.Process(c.pid).name()} (pid {c.pid})"
    except (psutil.Error, OSError):
        return ""
    return ""


class Waiter:
    """Waits for any of a fixed set of sockets (ZeroMQ's or plain), and of a few others that may change."""

    def __init__(self, sockets: Sequence[Any]) -> None:
        self._poller = zmq.Poller()
        for s in sockets:
            self._poller.register(s, zmq.POLLIN)
        self._others: tuple[int, ...] = ()

    def wait(self, timeout_ms: float, others: Sequence[Any] = ()) -> None:
        """Return when something can be read, or after `timeout_ms` (whole ms, rounded up)."""
        fds = tuple(o if isinstance(o, int) else o.fileno() for o in others)
        if fds != self._others:
            for fd in self._others:
                self._poller.unregister(fd)
            for fd in fds:
                self._poller.register(fd, zmq.POLLIN)
            self._others = fds
        self._poller.poll(math.ceil(timeout_ms))


#: What a socket monitor's events mean for a route: True connected (handshake done), False lost, None of no interest.
_MONITOR: dict[int, tuple[bool, str]] = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: (True, "connected"),
    zmq.EVENT_DISCONNECTED: (False, "disconnected"),
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: (False, "refused: the site does not know this key (or it was revoked)"),
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: (False, "the handshake failed: the other end does not speak CURVE"),
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: (False, "the handshake broke off: no answer, or a wrong server key"),
    zmq.EVENT_CONNECT_RETRIED: (False, "nobody answers; retrying"),
}


class Monitor:
    """The connection events of one socket, decoded."""

    def __init__(self, sock: zmq.Socket) -> None:
        mask = 0
        for event in _MONITOR:
            mask |= event
        self.socket = sock.get_monitor_socket(mask)
        self._watched = sock

    def poll(self) -> list[tuple[bool, str]]:
        """(connected, why) of each event since the last call."""
        out: list[tuple[bool, str]] = []
        while readable(self.socket):
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
            event = int.from_bytes(frames[0][:2], "little")
            if event in _MONITOR:
                out.append(_MONITOR[event])
        return out

    def close(self) -> None:
        """Stop watching."""
        self._watched.disable_monitor()
        self.socket.close(0)  # pyzmq leaves this to the garbage collector, and the context would wait for it
