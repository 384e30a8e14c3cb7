"""One-way latency of a 400-byte command at 100 Hz between two processes of this machine: our link beside bare transports.

    .venv/bin/python bench/command_path.py                      # about a minute; prints a table
    .venv/bin/python bench/command_path.py --json out.json --seconds 10

In the same run, interleaved in rounds so that a noisy neighbour hits all alike: bare UDP, bare pyzmq (DEALER/ROUTER), pyzmq with
CURVE, bare rclpy publish-subscribe (best effort, events executor), and Longhand's link (sealed, two paths, pinned keys, sieve). Sender and
receiver share CLOCK_MONOTONIC, so the latency is true one-way time, from before the send call to after the take.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIZE = 400
PERIOD_NS = 10_000_000
TRANSPORTS = ("udp", "zmq", "zmq-curve", "rclpy", "link")
NAMES = {
    "udp": "bare UDP", "zmq": "bare pyzmq DEALER/ROUTER", "zmq-curve": "pyzmq + CURVE",
    "rclpy": "bare rclpy publish-subscribe", "link": "Longhand link (sealed, 2 paths)",
}  # fmt: skip
DOMAIN = "97"


def stamp() -> bytes:
    return time.monotonic_ns().to_bytes(8, "big") + bytes(SIZE - 8)


def since(data: bytes) -> int:
    return time.monotonic_ns() - int.from_bytes(data[:8], "big")


def paced(send: Callable[[bytes], Any], n: int, between: Callable[[float], Any] = time.sleep) -> None:
    """n frames on a 10 ms grid; `between(seconds)` waits (and may work)."""
    due = time.monotonic_ns()
    for _ in range(n):
        due += PERIOD_NS
        while (left := due - time.monotonic_ns()) > 0:
            between(left / 1e9)
        send(stamp())


# --- senders (this process) and receivers (a child that prints its latencies) ------------------------------------------


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def receive_udp(port: int, keys: Path, end: float) -> list[int]:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    s.settimeout(0.2)
    print("ready", flush=True)
    out = []
    while time.monotonic() < end:
        try:
            data = s.recv(2048)
        except TimeoutError:
            continue
        if data == b"end":
            break
        out.append(since(data))
    return out


def send_udp(port: int, keys: Path, n: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", port))
        paced(s.send, n)
        s.send(b"end")


def receive_zmq(port: int, keys: Path, end: float, curve: bool = False) -> list[int]:
    import zmq

    context = zmq.Context()
    s = context.socket(zmq.ROUTER)
    if curve:
        from teleop.link.keys import load_secret

        s.curve_server = True
        s.curve_secretkey = load_secret(keys / "a").curve_secret.encode()
    s.bind(f"tcp://127.0.0.1:{port}")
    s.rcvtimeo = 200
    print("ready", flush=True)
    out = []
    while time.monotonic() < end:
        try:
            _, data = s.recv_multipart()
        except zmq.Again:
            continue
        if data == b"end":
            break
        out.append(since(data))
    return out


def send_zmq(port: int, keys: Path, n: int, curve: bool = False) -> None:
    import zmq

    context = zmq.Context()
    s = context.socket(zmq.DEALER)
    if curve:
        from teleop.link.keys import load_roles, load_secret

        mine = load_secret(keys / "lin")
        s.curve_serverkey = load_roles(keys).site_key("a").encode()
        s.curve_publickey, s.curve_secretkey = mine.curve_public.encode(), mine.curve_secret.encode()
    s.connect(f"tcp://127.0.0.1:{port}")
    paced(s.send, n)
    s.send(b"end")
    s.close()
    context.term()


def receive_rclpy(port: int, keys: Path, end: float) -> list[int]:
    import rclpy
    from rclpy.experimental.events_executor import EventsExecutor
    from rclpy.task import Future
    from std_msgs.msg import UInt8MultiArray

    rclpy.init()
    node = rclpy.create_node("bench_receiver")
    out: list[int] = []
    done = False

    def take(message: Any) -> None:
        nonlocal done
        data = bytes(message.data)
        if data == b"end":
            done = True
        else:
            out.append(since(data))

    node.create_subscription(UInt8MultiArray, "bench", take, _best_effort())
    executor = EventsExecutor()
    executor.add_node(node)
    print("ready", flush=True)
    while not done and time.monotonic() < end:  # a finite deadline: the wheels' own spin() hangs
        executor.spin_until_future_complete(Future(), timeout_sec=0.5)
    node.destroy_node()
    rclpy.shutdown()
    return out


def send_rclpy(port: int, keys: Path, n: int) -> None:
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'bench')!r}]; import command_path as c; c.publish({n})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"ROS_DOMAIN_ID": DOMAIN})


def publish(n: int) -> None:
    """The rclpy sender, in a process of its own because DDS must start and end cleanly each round."""
    import rclpy
    from std_msgs.msg import UInt8MultiArray

    rclpy.init()
    node = rclpy.create_node("bench_sender")
    pub = node.create_publisher(UInt8MultiArray, "bench", _best_effort())
    end = time.monotonic() + 10
    while pub.get_subscription_count() == 0 and time.monotonic() < end:
        time.sleep(0.05)
    message = UInt8MultiArray()

    def send(data: bytes) -> None:
        message.data = data
        pub.publish(message)

    paced(send, n)
    for _ in range(5):
        send(b"end")
        time.sleep(0.02)
    node.destroy_node()
    rclpy.shutdown()


def _best_effort() -> Any:
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def receive_link(port: int, keys: Path, end: float) -> list[int]:
    from teleop.link.events import CommandFrame, Order
    from teleop.link.keys import load_roles, load_secret
    from teleop.link.site import SiteLink

    link = SiteLink(
        "a", load_secret(keys / "a"), load_roles(keys), orders_port=port, stop_port=port + 1, stream_ports=(port + 2, port + 3)
    )
    print("ready", flush=True)
    out, done = [], False
    while not done and time.monotonic() < end:
        link.wait(10)
        for e in link.poll():
            if isinstance(e, CommandFrame):
                out.append(since(e.data))
            elif isinstance(e, Order):
                done = True
    link.close()
    return out


def send_link(port: int, keys: Path, n: int) -> None:
    from teleop.link.console import ConsoleLink
    from teleop.link.endpoint import direct_endpoint
    from teleop.link.keys import load_roles, load_secret

    link = ConsoleLink(direct_endpoint("a", load_roles(keys).site_key("a"), port), load_secret(keys / "lin")).start()

    def between(seconds: float) -> None:
        link.wait(seconds * 1e3 - 1 if seconds > 0.0015 else 0)
        link.poll()
        if seconds <= 0.0015:
            time.sleep(seconds / 2)

    while not (link.session and all(p["alive"] for p in link.stats()["paths"])):
        between(0.005)
    paced(link.send_command, n, between)
    link.order({"op": "end"})
    for _ in range(20):
        between(0.005)
    link.close()


RECEIVE: dict[str, Callable[..., list[int]]] = {
    "udp": receive_udp, "zmq": receive_zmq, "zmq-curve": lambda *a: receive_zmq(*a, curve=True),
    "rclpy": receive_rclpy, "link": receive_link,
}  # fmt: skip
SEND: dict[str, Callable[..., None]] = {
    "udp": send_udp, "zmq": send_zmq, "zmq-curve": lambda *a: send_zmq(*a, curve=True),
    "rclpy": send_rclpy, "link": send_link,
}  # fmt: skip


def measure(transport: str, keys: Path, n: int) -> list[int]:
    """n frames over one transport; latencies in ns."""
    port = free_port() if transport != "link" else 24100
    child = subprocess.Popen(
        [sys.executable, __file__, "--receive", transport, str(port), str(keys), str(n * 0.01 + 30)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"ROS_DOMAIN_ID": DOMAIN, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
    )  # fmt: skip
    assert child.stdout
    try:
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"{transport}: the receiver did not start")
        SEND[transport](port, keys, n)
        out = child.communicate(timeout=60)[0]
    finally:
        child.kill()
        child.wait()
    return list(json.loads(out))


def summary(latencies: list[int], sent: int) -> dict[str, float]:
    """Microseconds. The first tenth of a second (connections, caches) is left in: a command is a command."""
    v = sorted(latencies)
    at = lambda q: v[min(len(v) - 1, int(q * len(v)))] / 1e3 if v else float("nan")  # noqa: E731
    return {"sent": sent, "received": len(v), "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0)}


def machine() -> dict[str, Any]:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    return {
        "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "load": os.getloadavg(),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=9.0, help="per transport, over all rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fifo", action="store_true", help="SCHED_FIFO for both ends of every transport, as the gateway has it")
    parser.add_argument("--only", choices=TRANSPORTS, action="append")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--receive", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))  # children inherit it
    if args.receive:
        transport, port, keys, seconds = args.receive
        print(json.dumps(RECEIVE[transport](int(port), Path(keys), time.monotonic() + float(seconds))))
        return 0
    from teleop.link.keys import make_directory

    n = int(args.seconds * 100 / args.rounds)
    before = machine()
    found: dict[str, list[int]] = {t: [] for t in args.only or TRANSPORTS}
    with tempfile.TemporaryDirectory() as d:
        make_directory(Path(d) / "k", ["a"], [("lin", "surgeon")])
        for _ in range(args.rounds):
            for t in found:
                found[t] += measure(t, Path(d) / "k", n)
    rows = {t: summary(v, n * args.rounds) for t, v in found.items()}
    print(f"one-way latency of {SIZE} B at 100 Hz, us ({before['cpu']}, {before['cores']} cores, load {before['load'][0]:.1f}"
          f"{', SCHED_FIFO' if args.fifo else ''}):")
    print(f"{'':34} {'p50':>7} {'p99':>7} {'p99.9':>8} {'max':>8}  received")
    for t, r in rows.items():
        print(f"{NAMES[t]:34} {r['p50_us']:7.0f} {r['p99_us']:7.0f} {r['p999_us']:8.0f} {r['max_us']:8.0f}  {r['received']}/{r['sent']}")
    if args.json:
        args.json.write_text(json.dumps({"machine": before, "rows": rows, "fifo": args.fifo, "command": " ".join(sys.argv)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
