"""A stand-in for the governor's side of `governor.sock` in recorder tests: sends numbered steps to whoever says hello.

    python governor_stub.py SOCKET RATE_HZ BYTES      until killed; prints every heartbeat note it gets
"""

import os
import select
import socket
import sys
import time

import msgpack


def main(path: str, rate: float, size: int) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(1)
    print("listening", flush=True)
    n = 0
    while True:
        peer, _ = listener.accept()
        peer.setblocking(False)
        period = int(1e9 / rate)
        due = time.monotonic_ns()
        gone = False
        while not gone:
            readable, _, _ = select.select([peer], [], [], max(0.0, (due - time.monotonic_ns()) / 1e9))
            if readable:
                try:
                    data = peer.recv(1 << 16)
                except ConnectionResetError:
                    data = b""
                gone = not data
                if data:
                    message = msgpack.unpackb(data)
                    if message["t"] == "hb" and message["note"]:
                        print(message["note"], flush=True)
                continue
            due += period
            n += 1
            step = {
                "t": "ev", "n": n, "stamp": time.monotonic_ns(), "kind": "command", "state": "ACTIVE",
                "summary": f"step {n}", "input": os.urandom(size), "outputs": os.urandom(size),
            }  # fmt: skip
            try:
                peer.send(msgpack.packb(step))
            except BlockingIOError:
                pass  # shed, as the governor does: the recorder sees the numbers jump
            except OSError:
                gone = True


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
