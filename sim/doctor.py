"""A scripted doctor at the bedside of a simulated hospital: answers the desk's questions after a moment's thought.

    python -m sim.doctor --run-dir RUN [--who dr.bedside] [--think 0.3]

Speaks to the same `bedside.sock` as the bedside page. Simulation only: a scripted person agrees to everything that the
desk itself has already checked, and re-arms after a hold once the arm stands still.
"""

import argparse
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgpack

from teleop.case.site_config import load_site_config


class ScriptedDoctor:
    """Pure part: which answers are due at `now_ns`. A question is answered `think_ns` after it was first seen."""

    def __init__(self, who: str, think_ns: int) -> None:
        self.who = who
        self.think_ns = think_ns
        self._due: dict[int, int] = {}

    def hear(self, message: dict[str, Any], now_ns: int) -> None:
        if message.get("t") == "question":
            self._due.setdefault(int(message["id"]), now_ns + self.think_ns)

    def answers(self, now_ns: int) -> list[dict[str, Any]]:
        ready = [id_ for id_, due in self._due.items() if due <= now_ns]
        for id_ in ready:
            del self._due[id_]
        return [{"t": "answer", "id": id_, "ok": True, "who": self.who, "why": ""} for id_ in ready]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.doctor", description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--run-dir", type=Path, help="the site's folder of sockets")
    where.add_argument("--config", type=Path, help="the site's TOML file, which names that folder")
    parser.add_argument("--who", default="dr.bedside")
    parser.add_argument("--think", type=float, default=0.3, help="seconds before each answer")
    args = parser.parse_args(argv)
    run_dir = args.run_dir or load_site_config(args.config).run_dir
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    doctor = ScriptedDoctor(args.who, int(args.think * 1e9))
    desk = None
    while not stop:
        if desk is None:
            desk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            desk.settimeout(0.05)
            try:
                desk.connect(str(run_dir / "bedside.sock"))
            except OSError:
                desk.close()
                desk = None
                time.sleep(0.1)
                continue
        try:
            data = desk.recv(1 << 16)
            if not data:
                raise ConnectionError
            doctor.hear(msgpack.unpackb(data, raw=False), time.monotonic_ns())
        except TimeoutError:
            pass
        except OSError:
            print("the case desk is gone; waiting for it", file=sys.stderr)
            desk.close()
            desk = None
            continue
        for answer in doctor.answers(time.monotonic_ns()):
            desk.send(msgpack.packb(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
