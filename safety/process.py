"""The governor's process: `python -m safety.process --site a --arm arm1 --run-dir D --state-dir S [...]`.

One thread, one poll loop, no ROS, no ZeroMQ. It listens on D/governor.sock (SOCK_SEQPACKET, peers of our own uid only),
keeps connected to D/arm.sock, stamps each message when it takes it from its socket, calls the pure step, and sends what
comes out: first to the arm, then to the recorder, then to everybody else. It never waits for anybody: a peer that does
not read loses its messages (and the recorder's loss is told), a partner that is missing is reported, not awaited.
Its own death needs no handling: the arm's lease runs out.
"""

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgpack

from safety.decode import Refusal, unpack_limited
from safety.epochs import EpochBlock, EpochFileError, keep_fault, take_block
from safety.governor import boot, step
from safety.inputs import (
    KIND_OF,
    ArmIn,
    BeatIn,
    BootIn,
    ChangeOut,
    ClearOut,
    CommandIn,
    FaultOut,
    ForgetOut,
    HaltOut,
    Input,
    LeaseOut,
    LinkIn,
    OrderIn,
    Output,
    PathOkIn,
    PathOut,
    PeerIn,
    PersistOut,
    ReplyOut,
    ReportIn,
    RolesIn,
    StopIn,
    TickIn,
    VerdictOut,
    encode_input,
    encode_outputs,
)  # fmt: skip
from safety.lease import ArmReport
from safety.params import ParamError, Params
from safety.roles import Roles, RolesError, read_roles
from safety.snapshot import encode_situation
from safety.states import State
from safety.status import change_key, status_of
from safety.transitions import MOVING

PROTOCOL_VERSION = 1
PEER_ROLES = frozenset({"gateway", "adapter", "case", "recorder", "probe"})
SINGLE = frozenset({"gateway", "adapter", "case", "recorder"})
MAX_PACKET = 1 << 20
BURST = 32
TICK_NS = 10_000_000
IDLE_TICK_NS = 50_000_000
STATUS_NS = 10_000_000
IDLE_STATUS_NS = 100_000_000
#: Steps kept for a recorder that does not read just now: some 8 s at full rate, at most a few MB.
BACKLOG = 3000
RETRY_NS = 100_000_000
ROLES_NS = 1_000_000_000
_REPORT_FIELDS = tuple(ArmReport.__slots__)
_TUPLES = frozenset({"q", "dq", "tau", "pose", "setpoint", "q_ref"})


def say(site: str, text: str) -> None:
    """One plain line for the launcher's log; a process may host the governors of several sites."""
    print(f"governor of {site}: {text}", file=sys.stderr, flush=True)


def report_from(m: dict[str, Any]) -> ArmReport:
    """From the arm's message; raises KeyError, TypeError or ValueError."""
    values: dict[str, Any] = {}
    for name in _REPORT_FIELDS:
        if name in m:
            v = m[name]
            values[name] = tuple(float(x) for x in v) if name in _TUPLES else v
    r = ArmReport(**values)
    numbers = (*r.q, *r.dq, *r.tau, *r.pose, *r.setpoint, *r.q_ref, r.speed, r.force, r.s, r.tracking_error, r.travel)
    if (
        len(r.pose) != 7
        or len(r.setpoint) != 7
        or type(r.stamp) is not int
        or any(x != x or abs(x) > 1e9 for x in numbers)
    ):
        raise ValueError("pose needs 7 numbers, everything finite")
    return r


def lease_map(o: LeaseOut) -> dict[str, Any]:
    return {"t": "lease", **{f: getattr(o.lease, f) for f in o.lease.__slots__}}


class Connection:
    """One peer of governor.sock. role "" until its hello."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.role = ""
        self.shed = 0

    def send(self, data: bytes) -> bool:
        """False when the packet had to be shed or the peer is gone."""
        try:
            self.sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_EOR)
            return True
        except BlockingIOError:
            self.shed += 1
        except OSError:
            pass  # its end shows up in the next poll
        return False


class GovernorProcess:
    """Sockets and clocks round the pure step."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.run_dir = Path(args.run_dir)
        self.params = Params.from_words(args.param)
        if not self.params.lease_enabled:
            raise ParamError("lease_enabled=0 is for the campaign only; this process always uses leases")
        self.roles_file = Path(args.roles) if args.roles else None
        self.roles_seen = 0.0
        roles = self._read_roles()
        self.epoch_file = Path(args.state_dir) / f"{args.site}-{args.arm}.epoch.json"
        self.block: EpochBlock = take_block(self.epoch_file)
        now = time.monotonic_ns()
        self.boot_input = BootIn(
            now, args.site, args.arm, os.urandom(16), self.block.first, self.block.last, self.block.fault,
            self.params.to_dict(), roles.entries, args.local_control, args.demo_qualification,
        )  # fmt: skip
        self.s, _ = boot(self.boot_input)
        self.peers: dict[int, Connection] = {}
        self.by_role: dict[str, Connection] = {}
        self.arm: socket.socket | None = None
        self.poll = select.poll()
        self.pack = msgpack.Packer(use_bin_type=True).pack
        self.buffer = bytearray(MAX_PACKET)
        self.running = True
        self.next_tick = now
        self.next_status = self.next_arm = self.next_roles = now
        self.wall_offset = time.time_ns() - now
        self.status_key: tuple[object, ...] = ()
        self.recorder_gap = 0
        self.backlog: deque[bytes] = deque()
        self.listener = self._listen()

    # --- set-up -------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        say(self.args.site, text)

    def _read_roles(self) -> Roles:
        if self.roles_file is None:
            self._say("no --roles: no key may command, every authenticated key may stop")
            return Roles()
        self.roles_seen = self.roles_file.stat().st_mtime
        return read_roles(self.roles_file, self.args.site, self.args.arm)

    def _listen(self) -> socket.socket:
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.run_dir / "governor.sock"
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            probe.connect(str(path))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        else:
            raise OSError(f"another governor already listens on {path}: stop it first")
        finally:
            probe.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        old = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        listener.listen(16)
        listener.setblocking(False)
        self.poll.register(listener, select.POLLIN)
        return listener

    def close(self) -> None:
        """Idempotent; removes the socket file."""
        for c in list(self.peers.values()):
            c.sock.close()
        if self.arm is not None:
            self.arm.close()
        self.listener.close()
        with contextlib.suppress(OSError):
            (self.run_dir / "governor.sock").unlink()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `running` is False."""
        while self.running:
            self.turn()

    def turn(self, *, wait: bool = True) -> None:
        """One wake-up: whatever arrived, then what is due. Without `wait` it returns at once when nothing is."""
        now = time.monotonic_ns()
        pause = max(0, min(self.next_tick, self.next_status) - now) if wait else 0
        for fd, event in self.poll.poll(-(-pause // 1_000_000)):
            if fd == self.listener.fileno():
                self._accept()
            elif self.arm is not None and fd == self.arm.fileno():
                self._read_arm()
            elif fd in self.peers:
                self._read_peer(self.peers[fd], event)
        now = time.monotonic_ns()
        if now >= self.next_tick:
            late = now - self.next_tick
            self.do(TickIn(now, late, self._wall_step(now)))
            self.next_tick = now + (TICK_NS if self.busy else IDLE_TICK_NS)
            if now >= self.next_arm and self.arm is None:
                self._connect_arm(now)
            if now >= self.next_roles:
                self.next_roles = now + ROLES_NS
                self._reread_roles(now)
        if now >= self.next_status:
            self._send_status(now)

    @property
    def busy(self) -> bool:
        """A lease is out, something moves, or somebody has to act on a pause or a hold."""
        return self.s.lease is not None or self.s.state in MOVING or self.s.state in (State.PAUSE, State.HOLD)

    def _wall_step(self, now: int) -> int:
        """ns by which the wall clock left the monotonic one since the last tick, 0 below half a second."""
        offset = time.time_ns() - now
        jump = offset - self.wall_offset
        self.wall_offset = offset
        return jump if abs(jump) > 500_000_000 else 0

    def _reread_roles(self, now: int) -> None:
        if self.roles_file is None:
            return
        try:
            if self.roles_file.stat().st_mtime != self.roles_seen:
                self.do(RolesIn(now, self._read_roles().entries))
                self._say("role table read again")
        except (OSError, RolesError) as error:
            if self.s.roles.entries:
                self.do(RolesIn(now, ()))
                self._say(f"role table unreadable, nobody may command any more: {error}")

    # --- in -----------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid != os.getuid():
            self._say(f"refused a peer of uid {uid}")
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET)
        self.peers[sock.fileno()] = Connection(sock)
        self.poll.register(sock, select.POLLIN)

    def _read_peer(self, c: Connection, event: int) -> None:
        for _ in range(BURST):
            try:
                n, _, flags, _ = c.sock.recvmsg_into([self.buffer])
            except BlockingIOError:
                return
            except OSError:
                n, flags = 0, 0
            if n == 0:
                self._drop(c, "")
                return
            now = time.monotonic_ns()
            if flags & socket.MSG_TRUNC:
                self._drop(c, "packet too large")
                return
            try:
                self._peer_message(c, now, bytes(self.buffer[:n]))
            except (Refusal, KeyError, TypeError, ValueError, AttributeError) as error:
                self._drop(c, f"malformed message: {type(error).__name__}: {error}")
                return
            if c.sock.fileno() < 0:
                return

    def _drop(self, c: Connection, why: str) -> None:
        if why:
            self._say(f"{c.role or 'peer'}: {why}; connection closed")
        fd = c.sock.fileno()
        if fd >= 0:
            with contextlib.suppress(KeyError, ValueError):
                self.poll.unregister(fd)
            self.peers.pop(fd, None)
            c.sock.close()
        if c.role and self.by_role.get(c.role) is c:
            del self.by_role[c.role]
            self._say(f"{c.role} is gone")
            self.do(PeerIn(time.monotonic_ns(), c.role, False))

    def _peer_message(self, c: Connection, now: int, data: bytes) -> None:
        m = unpack_limited(data, text=65536, binary=65536, array=4096, keys=256)
        kind = m["t"]
        if not c.role:
            self._hello(c, now, m)
            return
        if kind == "cmd":
            if c.role not in ("gateway", "adapter", "case"):
                raise ValueError(f"a {c.role} brings no commands")
            self.do(CommandIn(now, c.role, _text(m, "key"), _int(m.get("path", 0)), _bytes(m, "data")))
        elif kind == "hb":
            self.do(BeatIn(now, c.role, str(m.get("note", ""))[:64]))
        elif kind == "link":
            if c.role != "gateway":
                raise ValueError(f"a {c.role} has no link report")
            self.do(LinkIn(now, [q for q in m["paths"] if type(q) is dict]))
        elif kind == "stop":
            self.do(StopIn(now, c.role, _text(m, "key")))
        elif kind == "order":
            order = m["order"]
            if type(order) is not dict:
                raise ValueError("order is no map")
            if c.role in ("recorder", "probe") and order.get("op") not in ("stop", "status", "note"):
                raise ValueError(f"a {c.role} gives no orders")
            if order.get("op") == "status":
                self._reply_status(c, m)
            else:
                self.do(OrderIn(now, c.role, _text(m, "key"), _int(m["id"]), order))
        else:
            raise ValueError(f"unknown message {kind!r}")

    def _reply_status(self, c: Connection, m: dict[str, Any]) -> None:
        c.send(self.pack({"t": "reply", "id": _int(m["id"]), "key": _text(m, "key"), "ok": True, "reason": "",
                          "status": status_of(self.s, self.params)}))  # fmt: skip

    def _hello(self, c: Connection, now: int, m: dict[str, Any]) -> None:
        role = m.get("role")
        if m["t"] != "hello" or role not in PEER_ROLES or m.get("v") != PROTOCOL_VERSION:
            raise ValueError(f"expected hello with v {PROTOCOL_VERSION} and a role of {sorted(PEER_ROLES)}")
        if role in SINGLE and role in self.by_role:
            raise ValueError(f"there already is a {role}")
        c.role = role
        if role in SINGLE:
            self.by_role[role] = c
        if role == "recorder":
            self.backlog.clear()  # of the one before; what follows begins with the boot and the whole memory
            self._record(0, now, "boot", encode_input(self.boot_input), b"\x90", "boot", status_of(self.s, self.params))
            self._record_snapshot(now)
        self.do(PeerIn(now, role, True))
        self._say(f"{role} is here")
        c.send(self.pack(status_of(self.s, self.params)))

    # --- the arm ------------------------------------------------------------------------------------------------------

    def _connect_arm(self, now: int) -> None:
        self.next_arm = now + RETRY_NS
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            sock.connect(str(self.run_dir / "arm.sock"))
            uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if uid != os.getuid():
                self._say(f"arm.sock is served by uid {uid}, not by us: refused")
                sock.close()
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET)
            sock.send(self.pack({"t": "hello", "role": "governor", "v": PROTOCOL_VERSION}), socket.MSG_EOR)
        except OSError:
            sock.close()
            return
        self.arm = sock
        self.poll.register(sock, select.POLLIN)
        self._say("arm is here")
        self.do(ArmIn(now, True))

    def _read_arm(self) -> None:
        for _ in range(BURST):
            sock = self.arm
            if sock is None:
                return
            try:
                n = sock.recv_into(self.buffer)
            except BlockingIOError:
                return
            except OSError:
                n = 0
            now = time.monotonic_ns()
            if n == 0:
                self._lose_arm(now, "the arm process closed its socket")
                return
            try:
                m = unpack_limited(bytes(self.buffer[:n]), text=1024, binary=64, array=64, keys=64)
                if m["t"] == "report":
                    self.do(ReportIn(now, report_from(m)))
                elif m["t"] == "path_ok":
                    self.do(PathOkIn(now, _bytes(m, "path_hash"), m["ok"] is True, str(m.get("reason", ""))[:200]))
            except (Refusal, KeyError, TypeError, ValueError, AttributeError) as error:
                self._lose_arm(now, f"malformed message of the arm: {type(error).__name__}: {error}")
                return

    def _lose_arm(self, now: int, why: str) -> None:
        if self.arm is None:
            return
        self._say(why)
        with contextlib.suppress(KeyError, ValueError):
            self.poll.unregister(self.arm)
        self.arm.close()
        self.arm = None
        self.do(ArmIn(now, False))

    def _to_arm(self, message: dict[str, Any]) -> None:
        if self.arm is None:
            return
        try:
            self.arm.send(self.pack(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_EOR)
        except BlockingIOError:
            self._say(f"the arm does not read: {message['t']} shed")
        except OSError as error:
            self._lose_arm(time.monotonic_ns(), f"the arm's socket broke: {error}")

    # --- out ----------------------------------------------------------------------------------------------------------

    def do(self, i: Input) -> None:
        """One step and everything that follows from it."""
        before = self.s.state
        self.s, out = step(self.s, i, self.params)
        changed = False
        for o in out:
            changed = self._emit(o) or changed
        summary = ""
        if changed:
            for o in out:
                if type(o) is ChangeOut:
                    summary = f"{o.old} -> {o.new}: {o.reason}"
                    self._say(summary)
        self._record(self.s.n, self.s.now, KIND_OF[type(i)], encode_input(i), encode_outputs(out), summary, None)
        key = change_key(self.s)
        if key != self.status_key:
            self.status_key = key
            self._send_status(time.monotonic_ns())
        if self.s.state is not before and self.busy:
            self.next_tick = min(self.next_tick, time.monotonic_ns() + TICK_NS)
        elif type(i) is CommandIn:
            self.next_tick = min(self.next_tick, i.now + TICK_NS)

    def _emit(self, o: Output) -> bool:
        """True for a change of state. To the arm at once; the rest as it comes."""
        if type(o) is LeaseOut:
            self._to_arm(lease_map(o))
        elif type(o) is HaltOut:
            self._to_arm({"t": "halt", "why": o.why})
        elif type(o) is PathOut:
            path = o.path
            self._to_arm({"t": "path", "path_hash": path.path_hash, "kind": path.kind, "q": path.q, "s": path.s,
                          "margin": path.margin})  # fmt: skip
        elif type(o) is ForgetOut:
            self._to_arm({"t": "clear_paths"})
        elif type(o) is FaultOut:
            self._to_arm({"t": "fault", "why": o.why})
        elif type(o) is ClearOut:
            self._to_arm({"t": "clear"})
        elif type(o) is VerdictOut:
            self._to_role(o.peer, {"t": "verdict", "key": o.key, "seq": o.seq, "reason": o.reason, "text": o.text})
        elif type(o) is ReplyOut:
            self._to_role(o.peer, {"t": "reply", "id": o.id, "key": o.key, "ok": o.ok, "reason": o.reason, **o.extra})
        elif type(o) is PersistOut:
            try:
                keep_fault(self.epoch_file, self.block.last, o.fault)
            except EpochFileError as error:
                self._say(str(error))
        elif type(o) is ChangeOut:
            return True
        return False

    def _to_role(self, role: str, message: dict[str, Any]) -> None:
        c = self.by_role.get(role)
        targets = [c] if c is not None else [q for q in self.peers.values() if q.role == role]
        for t in targets:
            t.send(self.pack(message))

    def _record(self, n: int, now: int, kind: str, data: bytes, outputs: bytes, summary: str, extra: Any) -> None:
        c = self.by_role.get("recorder")
        if c is None:
            return
        m = {"t": "ev", "n": n, "stamp": now, "kind": kind, "state": str(self.s.state), "summary": summary,
             "input": data, "outputs": outputs}  # fmt: skip
        if self.recorder_gap:
            m["gap"] = self.recorder_gap
        self._drain_backlog(c)
        data_out = self.pack(m)
        if not self.backlog and c.send(data_out):
            if self.recorder_gap:
                self.recorder_gap = 0
                self._record_snapshot(now)
        elif len(self.backlog) < BACKLOG:
            self.backlog.append(data_out)
        else:
            self.recorder_gap += 1

    def _drain_backlog(self, c: Connection) -> None:
        """The kernel's buffer holds less than a second of steps; a recorder that stalls for some seconds loses none."""
        for _ in range(min(BURST, len(self.backlog))):
            if not c.send(self.backlog[0]):
                break
            self.backlog.popleft()

    def _record_snapshot(self, now: int) -> None:
        """The whole memory, so that a replay can begin here: the recorder came after the boot, or missed steps."""
        if self.s.n:
            self._record(self.s.n, now, "snapshot", encode_situation(self.s), b"\x90", "snapshot", None)

    def _send_status(self, now: int) -> None:
        fast = self.busy or self.s.auth.holder != "" or self.s.auth.bedside_has_it
        self.next_status = now + (STATUS_NS if fast else IDLE_STATUS_NS)
        if not self.peers:
            return
        data = self.pack(status_of(self.s, self.params))
        for c in list(self.peers.values()):
            if c.role:
                c.send(data)


def _text(m: dict[str, Any], name: str) -> str:
    v = m[name]
    if type(v) is not str or len(v) > 64:
        raise ValueError(f"{name} needs text of at most 64 characters")
    return v


def _bytes(m: dict[str, Any], name: str) -> bytes:
    v = m[name]
    if type(v) is not bytes:
        raise ValueError(f"{name} needs bytes")
    return v


def _int(v: Any) -> int:
    if type(v) is not int:
        raise ValueError("an integer is missing")
    return v


def be_realtime() -> str:
    """SCHED_FIFO and locked memory where permitted; a plain word otherwise."""
    gc.collect()
    gc.freeze()
    gc.disable()  # reference counting frees what a step makes; cycles only come from errors
    words = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(70))
        words.append("SCHED_FIFO 70")
    except (OSError, AttributeError):
        words.append("ordinary priority (SCHED_FIFO is not permitted here): expect more pauses under load")
    try:
        import ctypes

        if ctypes.CDLL(None, use_errno=True).mlockall(3) == 0:
            words.append("memory locked")
    except OSError:
        pass
    return ", ".join(words)


def parser() -> argparse.ArgumentParser:
    a = argparse.ArgumentParser(prog="python -m safety.process", description="The governor of one arm.")
    a.add_argument("--site", required=True)
    a.add_argument("--arm", default="arm1")
    a.add_argument("--run-dir", required=True, help="directory of governor.sock and arm.sock, mode 0700")
    a.add_argument("--state-dir", required=True, help="directory of the persisted epoch; must survive a reboot")
    a.add_argument("--roles", default="", help="role table (TOML); without it no key may command")
    a.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter within its envelope")
    a.add_argument(
        "--local-control", action="store_true", help="local CRTK clients may enable the arm (never in a case)"
    )
    a.add_argument("--demo-qualification", action="store_true", help="accept line qualifications marked demo")
    return a


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended, 1 cannot start (the reason is printed), 2 usage."""
    args = parser().parse_args(argv)
    try:
        process = GovernorProcess(args)
    except (ParamError, RolesError, EpochFileError, OSError) as error:
        say(args.site, str(error))
        return 1

    def end(*_: object) -> None:
        process.running = False

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    say(args.site, f"arm {args.arm}, epochs {process.block.first}.., {be_realtime()}")
    try:
        process.run()
    finally:
        process.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
