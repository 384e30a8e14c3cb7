"""A real governor process with a fake arm and fake partners on real sockets."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from safety.command import COMMAND_VERSION, Command
from sim.campaign.rig import GOOD_LINK, HOME, OBSERVER, OTHER, PLAN, SURGEON

ROOT = Path(__file__).resolve().parents[2]


class Peer:
    """One packet socket to the governor, or the arm's end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.closed = False

    def send(self, **m: Any) -> None:
        self.raw(msgpack.packb(m))

    def raw(self, data: bytes) -> None:
        try:
            self.sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True
        except BlockingIOError:
            pass

    def poll(self) -> list[dict[str, Any]]:
        out = []
        while not self.closed:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                self.closed = True
                break
            if not data:
                self.closed = True
                break
            out.append(msgpack.unpackb(data))
        return out


class Bench:
    """The process and everybody round it. `until` keeps all hearts beating while it waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)
        self.roles = folder / "roles.toml"
        self.roles.write_text("".join(
            f'[[key]]\nkey = "{k}"\nname = "{n}"\nroles = ["{r}"]\n'
            for k, n, r in ((SURGEON, "Sam", "surgeon"), (OTHER, "Tess", "surgeon"), (OBSERVER, "Olga", "observer"))
        ))  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.peers: dict[str, Peer] = {}
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.listener: socket.socket | None = None
        self.arm: Peer | None = None
        self.arm_got: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {}
        self.silent: set[str] = set()
        self.report: dict[str, Any] = {}
        self.orders = 0
        self.seq = 0
        self.replies: dict[int, dict[str, Any]] = {}

    def start(self, *words: str) -> "Bench":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "safety.process", "--site", "a", "--arm", "arm1", "--run-dir", str(self.run),
             "--state-dir", str(self.folder / "state"), "--roles", str(self.roles), "--param", "require_rehearsal=0",
             "--param", "late_degraded_ms=100", "--param", "arm_silent_ms=1000", *words],
            cwd=ROOT, stderr=(self.folder / "stderr.txt").open("ab"), env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return self

    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def open_arm(self) -> None:
        path = self.run / "arm.sock"
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(2)
        self.listener.setblocking(False)

    def join(self, *roles: str) -> None:
        for role in roles:
            self.until(lambda: (self.run / "governor.sock").exists(), "the governor listens")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.until(lambda s=sock: s.connect_ex(str(self.run / "governor.sock")) == 0, "connected")  # type: ignore[misc]
            self.peers[role] = Peer(sock)
            self.peers[role].send(t="hello", role=role, v=1)
            self.seen[role] = []

    def beat(self) -> None:
        """One round: reports, heartbeats, link, and whatever arrived."""
        if self.listener is not None and self.arm is None:
            with contextlib.suppress(BlockingIOError):
                self.arm = Peer(self.listener.accept()[0])
        if self.arm is not None and "arm" not in self.silent:
            stamp = time.monotonic_ns()
            base = {"stamp": stamp, "q": [0.1, 0.2], "dq": [0.0, 0.0], "tau": [0.0, 0.0], "pose": list(HOME), "setpoint": list(HOME),
                    "speed": 0.0, "force": 0.0, "s": 0.0, "path_hash": b"", "lease_id": 0, "drive": "standstill", "fault": "",
                    "tracking_error": 0.0, "late_ns": 0, "q_ref": [0.1, 0.2], "travel": 0.0}  # fmt: skip
            self.arm.send(t="report", **(base | self.report))
        for role, peer in self.peers.items():
            if role not in self.silent:
                peer.send(t="hb", note="")
                if role == "gateway":
                    peer.send(t="link", paths=GOOD_LINK)
        if self.arm is not None:
            for m in self.arm.poll():
                self.arm_got.append(m)
                if m["t"] == "path":
                    self.arm.send(t="path_ok", path_hash=m["path_hash"], ok=True, reason="")
        for role, peer in self.peers.items():
            for m in peer.poll():
                self.seen[role].append(m)
                if m["t"] == "status":
                    self.status = m
                elif m["t"] == "reply":
                    self.replies[m["id"]] = m

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
        end = time.monotonic() + timeout
        while True:
            self.beat()
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited until {what}; status {self.status.get('state')} {self.status.get('reason')}\n{self.said()}")
            time.sleep(0.005)

    def order(self, op: str, *, role: str = "case", key: str = "bedside", **fields: Any) -> dict[str, Any]:
        self.orders += 1
        number = self.orders
        self.peers[role].send(t="order", key=key, id=number, order={"op": op, **fields})
        self.until(lambda: number in self.replies, f"{op} is answered")
        return self.replies[number]

    def state(self, state: str, timeout: float = 20.0) -> None:
        self.until(lambda: self.status.get("state") == state, f"state {state}", timeout)

    def frame(self, **changes: Any) -> bytes:
        self.seq += 1
        s = self.status
        base = Command(
            v=COMMAND_VERSION, session=s["session"], site="a", arm="arm1", epoch=s["epoch"], seq=self.seq, rebase=s["rebase"],
            t_console=5, echo_state=time.monotonic_ns() - 1_000_000, echo_view=None, mode="servo", press=0, stop=False,
            plan_hash=PLAN, path_hash=b"", registration_epoch=1, peer_checkpoint=b"", target=None, q_target=None, s_limit=None,
        ).to_wire()  # fmt: skip
        if changes.get("press"):
            base["target"] = HOME
        return msgpack.packb(base | changes)

    def command(self, key: str = SURGEON, **changes: Any) -> None:
        self.peers["gateway"].send(t="cmd", key=key, path=0, data=self.frame(**changes))

    def everybody(self) -> "Bench":
        """READY, with every partner."""
        self.open_arm()
        self.join("recorder", "case", "gateway")
        self.state("READY")
        return self

    def active(self) -> "Bench":
        """ACTIVE under a press, leases arriving."""
        self.everybody()
        assert self.order("qualify", result={"passed": True})["ok"]
        assert self.order("scene", plan_hash=PLAN, registration_epoch=1, confirmed=True, corridor=None, keepouts=[])["ok"]
        assert self.order("grant", holder=SURGEON)["ok"]
        self.seq = 0

        def cleared() -> bool:
            self.command(press=0)
            return not self.status["blockers"]

        self.until(cleared, "nothing blocks")
        self.arm_got.clear()

        def moving() -> bool:
            self.command(press=1)
            return any(m["t"] == "lease" for m in self.arm_got) and self.status["state"] in ("ACTIVE", "DEGRADED")

        self.until(moving, "a lease")
        return self

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)
        for peer in self.peers.values():
            peer.sock.close()
        for sock in (self.listener, self.arm.sock if self.arm else None):
            if sock is not None:
                sock.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    b = Bench(tmp_path)
    try:
        yield b
    finally:
        b.close()
