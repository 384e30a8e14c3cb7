"""The processes of one small site and its console, without ROS: arm, gateway, recorder, console. Each is the shipped code in a loop.

    python -m sim.campaign.processes.parts arm | gateway | recorder | console  FOLDER ...

The governor is `python -m safety.process` itself. The arm is the shipped loop, drive and door over the kinematic arm (simulated);
gateway and console are the shipped link over loopback UDP and CURVE. The arm writes every tick and every lease it got into two
memory-mapped tables, which outlive any kill: the judge reads those and nothing else.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from sim.campaign.hand import Frame, Hand, pack

#: Columns of the arm's tables. Times ns (exact in float64: the machine has been up for less than 2^53 ns), lengths m.
TICK = ("now", "travel", "speed", "moving", "q0", "q1", "q2", "q3", "q4", "q5", "q6")
LEASE = ("arrived", "t_k", "v_cap", "seq", "epoch")
TICKS, LEASES = 400_000, 200_000
SITE = "a"


@dataclass
class Table:
    """Rows of float64 in a file shared by memory; column 0 is the time, 0 where nothing was written yet."""

    rows: np.ndarray
    n: int = 0

    @classmethod
    def open(cls, file: Path, columns: tuple[str, ...], size: int, *, new: bool) -> "Table":
        return cls(np.memmap(file, dtype="<f8", mode="w+" if new else "r", shape=(size, len(columns))))

    def add(self, *row: float) -> None:
        if self.n < len(self.rows):
            self.rows[self.n, 1:] = row[1:]
            self.rows[self.n, 0] = row[0]  # last: a row is there when its time is
            self.n += 1

    def written(self) -> np.ndarray:
        """The rows so far (of another process, too)."""
        self.n = int(np.searchsorted(self.rows[:, 0] == 0.0, True))
        return self.rows[: self.n]


class Tap:
    """The arm's door, with what comes in written down."""

    def __init__(self, door: Any, leases: Table) -> None:
        self.door, self.leases = door, leases

    def poll(self, *, accept: bool = True) -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = self.door.poll(accept=accept)
        for m in got:
            if m.get("t") == "lease":
                self.leases.add(time.monotonic_ns(), m["t_k"], m["v_cap"], m["seq"], m["epoch"])
        return got

    def send(self, packet: bytes) -> bool:
        return bool(self.door.send(packet))


def arm(folder: Path) -> None:
    from sim.campaign.site import DRIVE_NS, drive_limits, kinematics
    from sim.hidden import no_errors
    from sim.kinematic_arm import KinematicArm
    from teleop.arm.arm_loop import ArmLoop
    from teleop.arm.governor_door import GovernorDoor
    from teleop.arm.pacing import Pacer, calm_memory, real_time
    from teleop.wire.state import ARM_KEYS

    model = kinematics().model
    driver = KinematicArm(model, 1, period_ns=DRIVE_NS, errors=no_errors(model.n), noise=2e-6)
    ticks = Table.open(folder / "ticks", TICK, TICKS, new=True)
    leases = Table.open(folder / "leases", LEASE, LEASES, new=True)
    loop = ArmLoop(driver, drive_limits(), Tap(GovernorDoor(folder / "arm.sock"), leases), time.monotonic_ns())
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    calm_memory()
    print("arm:", real_time(), flush=True)
    pacer, next_state = Pacer(), 0
    while not ended:
        now = pacer.wait(loop.period_ns)
        r = loop.tick(now)
        ticks.add(now, r.travel, r.speed, loop.state.moving, *r.q_ref)
        if now >= next_state:
            next_state = now + 10_000_000
            with contextlib.suppress(OSError):  # the gateway is not there, or does not read
                out.sendto(
                    msgpack.packb({k: getattr(r, k) for k in ARM_KEYS}), socket.MSG_DONTWAIT, str(folder / "state.sock")
                )


def gateway(folder: Path, base: int) -> None:
    from teleop.link.endpoint import site_ports
    from teleop.link.keys import load_roles, load_secret
    from teleop.link.site import SiteLink
    from teleop.site.gateway import Gateway
    from teleop.site.governor_client import GovernorClient
    from teleop.wire import VERSIONS

    keys = folder / "keys"
    orders, stop, streams = site_ports(base)
    link = SiteLink(SITE, load_secret(keys / SITE), load_roles(keys), orders_port=orders, stop_port=stop, stream_ports=streams,
                    versions=VERSIONS)  # fmt: skip
    made = Gateway(link, lambda: GovernorClient.connect(folder / "governor.sock", "gateway"))
    states = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    (folder / "state.sock").unlink(missing_ok=True)
    states.bind(str(folder / "state.sock"))
    states.setblocking(False)
    _priority(5)
    table = (keys / "roles.toml").stat().st_mtime_ns
    next_table = 0
    while not ended:
        link.wait(2.0, [made.governor] if made.governor is not None else [])
        now = time.monotonic_ns()
        with contextlib.suppress(BlockingIOError):
            while True:
                made.feed_arm(msgpack.unpackb(states.recv(4096)))
        made.turn(now)
        while made.log:
            print(made.log.popleft(), flush=True)
        if now >= next_table:
            next_table = now + 1_000_000_000
            seen = (keys / "roles.toml").stat().st_mtime_ns
            if seen != table:
                table = seen
                link.set_roles(load_roles(keys))
    link.close()


def recorder(folder: Path) -> None:
    from safety.log.disk import FULL
    from safety.log.recording import Recording
    from safety.log.session import SessionInfo
    from safety.log.steps import EVENT_TOPIC, EVENT_TYPE
    from safety.log.writer import SessionLog
    from teleop.link.keys import load_secret
    from teleop.site.governor_client import GovernorClient, GovernorGoneError, GovernorProtocolError

    file = folder / "disk" / f"{time.time_ns()}.mcap"
    log = SessionLog(file, load_secret(folder / "keys" / SITE).signer(), SessionInfo(os.urandom(16), SITE),
                     mono=time.monotonic_ns(), utc=time.time_ns())  # fmt: skip
    recording = Recording(log, time.monotonic_ns).start()
    governor: GovernorClient | None = None
    next_beat = 0
    while not ended:
        now = time.monotonic_ns()
        try:
            if governor is None:
                governor = GovernorClient.connect(folder / "governor.sock", "recorder", wait_s=0.05)
            governor.wait(0.02)
            for m in governor.poll():
                if m["t"] == "ev":
                    recording.put(EVENT_TOPIC, EVENT_TYPE, {
                        "schema_version": 1, "n": m["n"], "stamp_mono": m["stamp"], "kind": m["kind"], "state": m["state"],
                        "summary": m["summary"], "input": m["input"], "outputs": m["outputs"]}, now)  # fmt: skip
            if now >= next_beat:
                next_beat = now + 50_000_000
                full = recording.state.disk.policy == FULL or not recording.alive
                governor.send({"t": "hb", "note": "disk_full" if full else ""})
        except (GovernorGoneError, GovernorProtocolError, PermissionError):
            governor = None
    recording.close("end", 2.0)


def console(folder: Path, base: int, who: str, attack: bool) -> None:
    """who: the principal whose keys it has. Commands are read from standard input: `press MODE PATH_HASH WAY`, `release`;
    an attacker (`attack`) waits for `go`."""
    from teleop.link.console import ConsoleLink
    from teleop.link.endpoint import direct_endpoint
    from teleop.link.events import StateFrame
    from teleop.link.keys import load_roles, load_secret
    from teleop.wire import VERSIONS
    from teleop.wire.state import StateError, decode_state

    keys = folder / "keys"
    endpoint = direct_endpoint(SITE, load_roles(keys).site_key(SITE), base)
    link = ConsoleLink(endpoint, load_secret(keys / who), versions=VERSIONS, tcp_fallback=False).start()
    rng = random.Random(os.getpid())
    hand: _PatientHand | None = None
    attacking = False
    frame: Frame | None = None
    newest: dict[str, Any] = {}
    epoch, last_seq = -1, 0
    os.set_blocking(0, False)
    _priority(5)
    next_send = time.monotonic_ns()
    while not ended:
        now = time.monotonic_ns()
        link.wait(max(0.0, min(5.0, (next_send - now) / 1e6)) if frame is not None else 5.0)
        for event in link.poll():
            if isinstance(event, StateFrame):
                with contextlib.suppress(StateError):
                    if not newest:
                        print("state frames arrive", flush=True)
                    newest = decode_state(event.data)
                    frame = _frame(newest)
        words = _words()
        if words[:1] == ["press"] and frame is not None:
            way = np.array([float(x) for x in words[3].split(",")])
            ordinal = hand.ordinal if hand is not None else 10
            hand = _PatientHand(words[1], bytes.fromhex(words[2].strip("-")), np.zeros(7), way, rng, 0)
            hand.seq, hand.ordinal = last_seq, ordinal
        elif words[:1] == ["release"] and hand is not None:
            hand.wants = False
        elif words[:1] == ["go"]:
            attacking = True
        now = time.monotonic_ns()
        if now < next_send or frame is None:
            continue
        next_send = max(next_send + 10_000_000, now)
        if frame.epoch != epoch:  # seq restarts with each grant
            epoch, last_seq = frame.epoch, 0
            if hand is not None:
                hand.seq = 0
        if hand is None:
            hand = _PatientHand("servo", b"", np.zeros(7), np.array([0.0, 0.0, 1.0]), rng, 1 << 62)
            hand.seq = last_seq
        hand.receive(frame)
        command = hand.command(now)
        if command is None:
            continue
        last_seq = hand.seq
        if attack and not attacking:
            continue
        if attack:
            to = [float(x) for x in frame.setpoint]
            to[2] += 0.004
            command = replace(
                command, seq=int(newest["gov"]["last_seq"]) + ATTACK_SEQ, press=1000, mode="servo", target=tuple(to), s_limit=None,
                path_hash=b"")  # fmt: skip
        link.send_command(pack(command))
    link.close()


#: An attacker's frames are told apart by their sequence numbers: this far ahead of the holder's (inside the allowed jump).
ATTACK_SEQ = 600


class _PatientHand(Hand):
    """On a loaded machine a press may have to wait for the line to be healthy: until then it follows the standing tool."""

    def _target(self, f: Frame) -> tuple[float, ...]:
        if f.state not in ("ACTIVE", "DEGRADED"):
            self.base, self.moved = f.setpoint, 0.0
        return super()._target(f)


def _frame(state: dict[str, Any]) -> Frame:
    gov, of = state["gov"], state["arm"]
    stamp = int(state["t"])
    pause = "lease" if "valid command" in str(gov.get("reason", "")) else "operator"
    return Frame(stamp, gov["session"], gov["epoch"], gov["rebase"], gov["state"], pause, tuple(of["setpoint"]), stamp)


_typed = ""


def _words() -> list[str]:
    """A line from standard input, split; [] when there is none."""
    global _typed
    with contextlib.suppress(BlockingIOError):
        _typed += os.read(0, 4096).decode()
    line, newline, rest = _typed.partition("\n")
    if not newline:
        return []
    _typed = rest
    return line.split()


def _priority(n: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(n))


ended: list[int] = []


def main() -> None:
    a = argparse.ArgumentParser(description="One process of the process-level campaign.")
    a.add_argument("part", choices=["arm", "gateway", "recorder", "console"])
    a.add_argument("folder", type=Path)
    a.add_argument("--base", type=int, default=0)
    a.add_argument("--who", default="sam")
    a.add_argument("--attack", action="store_true")
    args = a.parse_args()
    signal.signal(signal.SIGTERM, lambda n, _: ended.append(n))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if args.part == "arm":
        arm(args.folder)
    elif args.part == "gateway":
        gateway(args.folder, args.base)
    elif args.part == "recorder":
        recorder(args.folder)
    else:
        console(args.folder, args.base, args.who, args.attack)


if __name__ == "__main__":
    main()
