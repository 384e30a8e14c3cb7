"""The planes of the traffic and their mark in the IP header (DSCP), so that a router that serves by class serves control first.

| plane     | what                                        | DSCP | why                                                       |
|-----------|---------------------------------------------|------|-----------------------------------------------------------|
| STREAM    | commands, states, probes; stops also by TCP | EF 46 | small, steady, worthless when late (RFC 3246)             |
| ORDERS    | grants, plans, replies, notes               | AF31 26 | must arrive, may wait (RFC 4594: call signalling's neighbour) |
| VIDEO     | pictures and voice                          | AF41 34 | adaptive real time (RFC 4594, multimedia conferencing)    |
| BULK      | images before a case, logs after it         | LE 1  | lower than best effort: yields to everything (RFC 8622)   |

A mark is a wish. The public internet often clears or ignores it, some lines rewrite it; on leased lines and in hospitals' own
networks it is agreed. `longhand check-network` measures what a line does, not what it was asked to do.
"""

import contextlib
import socket
from enum import IntEnum
from typing import Any

import zmq


class Plane(IntEnum):
    """DSCP code points; the byte in the header is this value times four (the low two bits are ECN's)."""

    STREAM = 46
    ORDERS = 26
    VIDEO = 34
    BULK = 1

    @property
    def tos(self) -> int:
        """The byte for IP_TOS, IPV6_TCLASS and ZMQ_TOS."""
        return self.value << 2


def mark(sock: socket.socket, plane: Plane) -> bool:
    """Mark everything this socket sends. False where the system does not allow it: then it goes unmarked."""
    level, option = (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if sock.family == socket.AF_INET6 else (socket.IPPROTO_IP, socket.IP_TOS)
    )
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, plane.tos)
        return True
    return False


def mark_zmq(sock: Any, plane: Plane) -> None:
    """Mark a ZeroMQ socket's connections; before bind or connect."""
    sock.setsockopt(zmq.TOS, plane.tos)
