"""The shared client of governor.sock, against a socket pair's other end and against a killed process."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from teleop.site.governor_client import GovernorClient, GovernorGoneError, GovernorProtocolError


@pytest.fixture
def ends(tmp_path):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = GovernorClient(here, tmp_path / "governor.sock", "probe")
    assert msgpack.unpackb(there.recv(1000)) == {"t": "hello", "role": "probe", "v": 1}
    yield client, there
    client.close()
    there.close()


def test_messages_cross_whole_and_in_order(ends):
    client, there = ends
    assert client.poll() == []
    for i in range(5):
        there.send(msgpack.packb({"t": "status", "n": i, "data": b"\x00\xff"}))
    assert [m["n"] for m in client.poll()] == [0, 1, 2, 3, 4]
    assert client.send({"t": "hb", "note": "x"})
    assert msgpack.unpackb(there.recv(1000)) == {"t": "hb", "note": "x"}


def test_last_words_of_a_dead_governor_are_handed_out_before_the_end_is_told(ends):
    client, there = ends
    there.send(msgpack.packb({"t": "status", "n": 1}))
    there.close()
    assert [m["n"] for m in client.poll()] == [1]
    with pytest.raises(GovernorGoneError):
        client.poll()
    with pytest.raises(GovernorGoneError):
        client.send({"t": "hb", "note": ""})


def test_a_governor_that_does_not_read_makes_us_shed_and_count_not_wait(ends):
    client, _there = ends
    sent = [client.send({"t": "cmd", "data": bytes(4000)}) for _ in range(2000)]
    assert sent[0] and not sent[-1]
    assert client.dropped == sent.count(False)


@pytest.mark.parametrize("packet", [b"\xc1", msgpack.packb([1, 2]), msgpack.packb({"x": 1}), msgpack.packb({"t": 3})])
def test_a_packet_that_is_no_message_ends_the_connection_with_a_reason(ends, packet):
    client, there = ends
    there.send(packet)
    with pytest.raises(GovernorProtocolError):
        client.poll()
    assert not client.alive


def test_a_message_too_large_for_a_packet_is_refused_by_name(ends):
    client, _ = ends
    with pytest.raises(ValueError, match="'path' of .* too large"):
        client.send({"t": "path", "data": bytes(5_000_000)})
    assert client.alive


def test_a_message_without_kind_and_a_role_nobody_knows_are_refused(ends, tmp_path):
    client, _ = ends
    with pytest.raises(ValueError, match='"t"'):
        client.send({"note": "x"})
    with pytest.raises(ValueError, match="role 'surgeon'"):
        GovernorClient.connect(tmp_path / "g.sock", "surgeon")


def test_connecting_to_nobody_says_so(tmp_path):
    with pytest.raises(GovernorGoneError, match="no such socket"):
        GovernorClient.connect(tmp_path / "governor.sock", "case")
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(tmp_path / "governor.sock"))
    stale.close()
    with pytest.raises(GovernorGoneError, match="nobody listens"):
        GovernorClient.connect(tmp_path / "governor.sock", "case")


SERVER = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen(1)
c, _ = s.accept(); c.recv(1000); c.send(b'\\x81\\xa1t\\xa2ok'); c.recv(1000)
"""


def test_a_governor_killed_without_warning_is_noticed_at_once(tmp_path: Path):
    path = tmp_path / "governor.sock"
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(path)])
    try:
        with GovernorClient.connect(path, "gateway", wait_s=20.0) as client:
            assert client.wait(20.0)
            assert client.poll() == [{"t": "ok"}]
            os.kill(server.pid, signal.SIGKILL)
            assert client.wait(20.0)
            with pytest.raises(GovernorGoneError):
                client.poll()
    finally:
        server.kill()
        server.wait()
