"""Marks in the IP header: set on every socket of the link, and seen on the wire."""

import socket
import struct
import time

import pytest
import zmq

from teleop.link.curve import client_socket, server_socket
from teleop.link.datagram import bound_socket, connected_socket
from teleop.link.keys import new_secret
from teleop.link.planes import Plane, mark


def test_every_plane_has_the_code_point_that_its_rfc_gives_it() -> None:
    assert [p.tos for p in (Plane.STREAM, Plane.VIDEO, Plane.ORDERS, Plane.BULK)] == [0xB8, 0x88, 0x68, 0x04]


def test_the_sockets_of_the_streams_are_marked_expedited() -> None:
    with bound_socket("127.0.0.1", 0) as site, connected_socket("127.0.0.1", 9) as console:
        for sock in (site, console):
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == Plane.STREAM.tos


def test_a_datagram_arrives_with_its_mark() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        for plane in (Plane.STREAM, Plane.VIDEO, Plane.BULK):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                assert mark(sender, plane)
                sender.sendto(b"x", receiver.getsockname())
                _, ancillary, _, _ = receiver.recvmsg(16, 64)
                marks = [data[0] for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS)]
                assert marks == [plane.tos]


def test_an_unmarked_datagram_arrives_without_one() -> None:
    """The test above can fail: an unmarked socket is seen as such."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sender.sendto(b"x", receiver.getsockname())
        assert receiver.recvmsg(16, 64)[1][0][2][0] == 0


def test_a_socket_of_another_kind_goes_unmarked_and_says_so() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert not mark(sock, Plane.STREAM)


@pytest.mark.parametrize("plane", [Plane.ORDERS, Plane.STREAM])
def test_the_segments_of_orders_and_stops_carry_their_mark(plane: Plane) -> None:
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    except (PermissionError, OSError):
        pytest.skip("looking at packets needs CAP_NET_RAW")
    context = zmq.Context()
    server_keys, client_keys = new_secret("a"), new_secret("lin")
    with tap:
        tap.bind(("lo", 0))
        tap.settimeout(0.2)
        server = server_socket(context, server_keys, "tcp://127.0.0.1:*", 1000, "orders", plane)
        address = server.getsockopt(zmq.LAST_ENDPOINT).decode()
        port = int(address.rsplit(":", 1)[1])
        client = client_socket(context, client_keys, server_keys.curve_public, address, 1000, plane)
        seen: dict[str, set[int]] = {"to": set(), "from": set()}
        end = time.monotonic() + 10
        while time.monotonic() < end and not (plane.tos in seen["to"] and plane.tos in seen["from"]):
            try:
                packet = tap.recv(2000)
            except TimeoutError:
                continue
            if packet[9] == socket.IPPROTO_TCP:
                head = (packet[0] & 15) * 4
                source, to, _, _, offset = struct.unpack_from("!HHIIB", packet, head)
                if len(packet) > head + (offset >> 4) * 4:  # carries data: the kernel answers SYNs before the mark is set
                    if to == port:
                        seen["to"].add(packet[1] & 0xFC)
                    elif source == port:
                        seen["from"].add(packet[1] & 0xFC)
        client.close(0)
        server.close(0)
        context.term()
    assert seen == {"to": {plane.tos}, "from": {plane.tos}}
