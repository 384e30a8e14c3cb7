"""A scripted doctor at the bedside of a simulated hospital: answers the desk's questions after a moment's thought.

    python -m sim.doctor --config site.toml [--config another.toml ...] [--think 0.3]

Speaks to the same `bedside.sock` as the bedside page. Simulation only: a scripted person agrees to everything that the
desk itself has already checked, and re-arms after a hold once the arm stands still.
"""

import argparse
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgpack

from teleop.case.site_config import load_site_config

#: How often an answer may have become due (s), and a desk that is not there is tried again (ns).
LOOK_S = 0.05
CONNECT_NS = 100_000_000


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


class Bedside:
    """The doctor's end of one desk: connects when the desk is there, and again when it came back."""

    def __init__(self, run_dir: Path, doctor: ScriptedDoctor) -> None:
        self.path = run_dir / "bedside.sock"
        self.doctor = doctor
        self.desk: socket.socket | None = None

    def connect(self) -> None:
        """Try to reach a desk that is not there yet."""
        if self.desk is None:
            desk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                desk.connect(str(self.path))
            except OSError:
                desk.close()
            else:
                desk.setblocking(False)
                self.desk = desk

    def hear(self) -> None:
        """Take what the desk says."""
        assert self.desk is not None
        try:
            data = self.desk.recv(1 << 16)
            if not data:
                raise ConnectionError
            self.doctor.hear(msgpack.unpackb(data, raw=False), time.monotonic_ns())
        except BlockingIOError:
            pass
        except OSError:
            self._lost()

    def answer(self, now_ns: int) -> None:
        """Send the answers that are due."""
        if self.desk is None:
            return
        try:
            for answer in self.doctor.answers(now_ns):
                self.desk.send(msgpack.packb(answer))
        except OSError:
            self._lost()

    def _lost(self) -> None:
        assert self.desk is not None
        print(f"{self.doctor.who}: the case desk is gone; waiting for it", file=sys.stderr)
        self.desk.close()
        self.desk = None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, action="append", required=True,
                        help="the site's TOML file; given again: one more hospital, in the same process")
    parser.add_argument("--think", type=float, default=0.3, help="seconds before each answer")
    args = parser.parse_args(argv)
    configs = [load_site_config(file) for file in args.config]
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    bedsides = [Bedside(c.run_dir, ScriptedDoctor(f"dr.{c.site}", int(args.think * 1e9))) for c in configs]
    next_connect = 0
    while not stop:
        now = time.monotonic_ns()
        if now >= next_connect:
            next_connect = now + CONNECT_NS
            for bedside in bedsides:
                bedside.connect()
        there = {b.desk.fileno(): b for b in bedsides if b.desk is not None}
        for fd in select.select(list(there), [], [], LOOK_S)[0]:
            there[fd].hear()
        for bedside in bedsides:
            bedside.answer(time.monotonic_ns())
    return 0


if __name__ == "__main__":
    sys.exit(main())
