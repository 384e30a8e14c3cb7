"""A console in a hundred lines, written from docs/wire.md alone: no import of Longhand. It joins, reads states, sends a released command, stops.

    python examples/stranger_peer.py --keys DIR/lin --roles DIR/roles.toml --site a --host 127.0.0.1 --base 7400 --seconds 3

It shows that the page is enough to write a peer in another language; `tests/docs` runs it against a real site's link.
"""

import argparse
import contextlib
import json
import os
import socket
import struct
import time
import tomllib
from pathlib import Path

import msgpack
import zmq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COMMAND, STATE, PROBE, STOP, STOP_ECHO = 1, 2, 3, 4, 5  # section 4
HEADER = struct.Struct(">BBHIQ")


def cipher(secret: bytes, nonce: bytes, byte1: int) -> tuple[AESGCM, bytes]:
    """Key and salt of one (direction, channel, path)."""
    raw = HKDF(SHA256(), 36, nonce, b"longhand stream 1" + bytes([byte1])).derive(secret)
    return AESGCM(raw[:32]), raw[32:]


def seal(secret: bytes, nonce: bytes, number: int, path: int, kind: int, counter: int, now_ns: int, payload: bytes) -> bytes:
    head = HEADER.pack(1 << 4 | kind, path, number, now_ns // 1000 % 2**32, counter)
    aead, salt = cipher(secret, nonce, path)
    return head + aead.encrypt(salt + struct.pack(">Q", counter), payload, head + nonce)


def unseal(secret: bytes, nonce: bytes, number: int, datagram: bytes) -> tuple[int, int, bytes] | None:
    """(kind, counter, payload), None if it is not genuine or not from the site's stream channel."""
    if len(datagram) < HEADER.size + 16:
        return None
    byte0, byte1, n, _, counter = HEADER.unpack_from(datagram)
    if byte0 >> 4 != 1 or n != number or byte1 & 0x80 == 0 or byte1 >> 4 & 7 != 0:
        return None
    aead, salt = cipher(secret, nonce, byte1)
    try:
        return byte0 & 15, counter, aead.decrypt(salt + struct.pack(">Q", counter), datagram[16:], datagram[:16] + nonce)
    except InvalidTag:
        return None


def talk(args: argparse.Namespace) -> dict[str, object]:
    """What happened, for people and for the test."""
    mine = tomllib.loads((args.keys / "secret.toml").read_text())  # section 2
    site_key = tomllib.loads(args.roles.read_text())["principal"][args.site]["curve"]
    context = zmq.Context()

    def dealer(port: int) -> zmq.Socket:
        s = context.socket(zmq.DEALER)
        s.curve_serverkey, s.curve_publickey, s.curve_secretkey = site_key.encode(), mine["curve_public"].encode(), mine["curve_secret"].encode()
        s.linger = 0
        s.connect(f"tcp://{args.host}:{port}")
        return s

    orders, stops = dealer(args.base), dealer(args.base + 1)
    udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for path, s in enumerate(udp):
        s.connect((args.host, args.base + 2 + path))
        s.setblocking(False)
    poller = zmq.Poller()
    for s in (orders, stops, *udp):
        poller.register(s, zmq.POLLIN)

    instance, welcome, refused = os.urandom(16), None, None
    out: dict[str, object] = {"states": 0, "foreign": 0, "stop_echoed": False, "reply": None, "notes": 0}
    counter, newest, next_hello, next_send, began = 0, 0, 0, 0, time.monotonic_ns()
    while time.monotonic_ns() - began < args.seconds * 1e9 and refused is None:
        now = time.monotonic_ns()
        if welcome is None and now >= next_hello:  # every 500 ms until answered
            next_hello = now + 500_000_000
            hello = {"t": "hello", "v": 1, "i": instance, "path": 0, "t1": now, "versions": {"command": 1, "state": 1}}
            with contextlib.suppress(zmq.Again):  # no connection stands yet
                orders.send(msgpack.packb(hello), zmq.NOBLOCK)
        if welcome is not None and now >= next_send:  # 20 probes a second keep the paths alive
            next_send = now + 50_000_000
            counter += 1
            probe = struct.pack(">QQQB", now, 0, 0, 0)
            for path, s in enumerate(udp):
                s.send(seal(welcome["k"], welcome["s"], welcome["n"], path, PROBE, counter, now, probe))
            if counter == 5:
                orders.send(msgpack.packb({"t": "order", "s": welcome["s"], "id": 1, "o": {"op": "site.hello"}}))
            if counter == 10:
                counter += 1  # a frame has the same counter on every path
                for path, s in enumerate(udp):
                    s.send(seal(welcome["k"], welcome["s"], welcome["n"], path, COMMAND, counter, now, b"\x80"))  # no command: the gate says so
            if counter >= 20 and not out["stop_echoed"]:
                stops.send(msgpack.packb({"t": "stop", "i": instance, "ord": 1}))
        for ready, _ in poller.poll(10):
            if ready in (orders, stops):
                m = msgpack.unpackb(ready.recv())
                if m["t"] == "welcome" and m["i"] == instance:
                    welcome = m
                elif m["t"] == "refused":
                    refused = m
                elif m["t"] == "stop_echo":
                    out["stop_echoed"] = True
                elif m["t"] == "reply":
                    out["reply"] = m["r"]
                elif m["t"] == "note":
                    out["notes"] = int(str(out["notes"])) + 1
            elif welcome is not None:
                path = next(s for s in udp if s.fileno() == ready)
                opened = unseal(welcome["k"], welcome["s"], welcome["n"], path.recv(1500))
                if opened is None:
                    out["foreign"] = int(str(out["foreign"])) + 1
                elif opened[0] == STATE and opened[1] > newest:  # first arrival wins, newest wins
                    newest = opened[1]
                    out["states"] = int(str(out["states"])) + 1
                    out["stamp"] = msgpack.unpackb(opened[2], raw=False)["t"]
                elif opened[0] == STOP_ECHO:
                    out["stop_echoed"] = True
    if welcome is not None:
        orders.send(msgpack.packb({"t": "bye", "s": welcome["s"]}))
        out |= {"site": welcome["site"], "release": welcome.get("release", ""), "paths": welcome["paths"]}
    if refused is not None:
        out |= {"refused": refused["why"], "text": refused["text"]}
    orders.close(100)
    stops.close(0)
    context.term()
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--roles", type=Path, required=True)
    parser.add_argument("--site", default="a")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--base", type=int, default=7400)
    parser.add_argument("--seconds", type=float, default=3.0)
    print(json.dumps(talk(parser.parse_args())))
