"""UDP sockets of the streams: non-blocking, with kernel buffers so small that nothing old can queue in them."""

import errno
import socket

from teleop.link.curve import who_listens
from teleop.link.errors import LinkError, PortInUse
from teleop.link.planes import Plane, mark

#: About 50 datagrams of a stream, half a second at 100 Hz; the kernel doubles it for its own book-keeping.
UDP_BUFFER = 64 * 1024
#: Datagrams taken from one socket per poll, so that a flood on one path cannot keep the loop from the others.
MAX_PER_POLL = 64


def bound_socket(host: str, port: int) -> socket.socket:
    """A UDP socket listening on host:port. Raises PortInUse naming the holder, LinkError."""
    sock = _udp()
    try:
        sock.bind((host, port))
    except OSError as e:
        sock.close()
        if e.errno == errno.EADDRINUSE:
            address = f"udp://{host}:{port}"
            raise PortInUse(f"{address} is in use{who_listens(address)}; stop it or choose other ports") from None
        raise LinkError(f"cannot listen on udp://{host}:{port}: {e.strerror}") from None
    return sock


def connected_socket(host: str, port: int) -> socket.socket:
    """A UDP socket that hears host:port only."""
    sock = _udp()
    try:
        sock.connect((host, port))
    except OSError as e:
        sock.close()
        raise LinkError(f"cannot reach udp://{host}:{port}: {e.strerror}") from None
    return sock


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER)
    mark(sock, Plane.STREAM)
    return sock
