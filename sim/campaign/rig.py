"""`Rig`: the shipped governor step with hands on every input, in virtual time. Tests and the campaign drive it.

Everything passes as the same inputs and bytes as in the live process; nothing here reaches into the situation.
"""

import copy
from dataclasses import replace
from typing import Any

import msgpack

from safety.command import COMMAND_VERSION, Command
from safety.governor import boot, step, step_unguarded
from safety.inputs import (
    ArmIn,
    BeatIn,
    BootIn,
    CommandIn,
    Input,
    LeaseOut,
    LinkIn,
    OrderIn,
    Output,
    PathOkIn,
    PathOut,
    PeerIn,
    ReplyOut,
    ReportIn,
    StopIn,
    TickIn,
    VerdictOut,
)
from safety.lease import ArmReport, path_digest
from safety.params import MS, Params
from safety.situation import Situation
from safety.states import State

SURGEON = "S" * 40
OTHER = "T" * 40
OBSERVER = "O" * 40
STRANGER = "X" * 40
ROLES = (
    (OBSERVER, "Olga", ("observer",)),
    (SURGEON, "Sam", ("surgeon",)),
    (OTHER, "Tess", ("surgeon",)),
)
HOME = (0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)  # tool axis straight down
PLAN = b"plan0123"
GOOD_LINK = [{"alive": True, "rtt_ms": 40.0, "loss": 0.0}, {"alive": True, "rtt_ms": 50.0, "loss": 0.0}]


def still_report(stamp: int, **changes: Any) -> ArmReport:
    """A standing arm at HOME with two joints."""
    base = ArmReport(
        stamp, (0.1, 0.2), (0.0, 0.0), (0.0, 0.0), HOME, HOME, 0.0, 0.0, 0.0, b"", 0, "standstill", "", 0.0, 0,
        (0.1, 0.2), 0.0,
    )  # fmt: skip
    return replace(base, **changes)


class Rig:
    """now: virtual ns. Every helper returns the outputs of its last step."""

    def __init__(
        self, *, local_control: bool = False, demo: bool = False, fault: str = "", guarded: bool = False, name: str = "a", **params: Any
    ) -> None:
        self.now = 1_000 * MS
        self.name = name
        self.params = Params(**params)
        self.boot_input = BootIn(
            self.now, name, "arm1", b"N" * 16, 1, 4096, fault, self.params.to_dict(), ROLES, local_control, demo
        )
        self.s: Situation
        self.s, self.params = boot(self.boot_input)
        self.step = step if guarded else step_unguarded
        self.seq = 0
        self.ids = 0
        self.alive = True  # partners send heartbeats and reports while time passes
        self.report_changes: dict[str, Any] = {}
        self.log: list[tuple[Input, list[Output]]] = []

    def fork(self) -> "Rig":
        """The same moment once more; the situation is copied, so both may go on."""
        other = copy.copy(self)
        other.s = self.s.clone()
        other.s.paths = dict(self.s.paths)
        other.report_changes = dict(self.report_changes)
        other.log = list(self.log)
        return other

    # --- raw ---------------------------------------------------------------------------------------------------------

    def do(self, i: Input) -> list[Output]:
        self.s, out = self.step(self.s, i, self.params)
        self.log.append((i, out))
        for o in out:
            if isinstance(o, PathOut):
                self.do(PathOkIn(self.now, o.path.path_hash, True, ""))
        return out

    def pass_time(self, ns: int, *, beats: bool | None = None, step_ns: int = 10 * MS) -> None:
        """Ticks, with reports, heartbeats and link reports where `beats` (default: self.alive)."""
        end = self.now + ns
        while self.now < end:
            self.now = min(end, self.now + step_ns)
            if self.alive if beats is None else beats:
                self.partners()
            self.do(TickIn(self.now, 0, 0))

    def partners(self) -> None:
        self.report()
        for role in ("gateway", "recorder", "case"):
            peer = self.s.peers.get(role)
            if peer is not None and peer.up:
                self.do(BeatIn(self.now, role, ""))
        if self.s.peers.get("gateway") is not None and self.s.peers["gateway"].up:
            self.do(LinkIn(self.now, GOOD_LINK))

    def report(self, **changes: Any) -> list[Output]:
        fields = {"stamp": self.now, **self.report_changes, **changes}
        return self.do(ReportIn(self.now, still_report(fields.pop("stamp"), **fields)))

    def order(self, op: str, *, key: str = "bedside", peer: str = "", **fields: Any) -> tuple[bool, str]:
        peer = peer or {"bedside": "case", "local": "adapter"}.get(key, "gateway")
        self.ids += 1
        out = self.do(OrderIn(self.now, peer, key, self.ids, {"op": op, **fields}))
        reply = next(o for o in out if isinstance(o, ReplyOut))
        return reply.ok, reply.reason

    def must(self, op: str, **fields: Any) -> None:
        ok, reason = self.order(op, **fields)
        assert ok, f"{op}: {reason}"

    def stop(self, key: str = STRANGER) -> list[Output]:
        return self.do(StopIn(self.now, "gateway", key))

    # --- commands ----------------------------------------------------------------------------------------------------

    def make(self, **changes: Any) -> Command:
        """A good servo command of the holder for this moment; `changes` spoil it."""
        s = self.s
        self.seq += 1
        base = Command(
            v=COMMAND_VERSION, session=s.session, site=self.name, arm="arm1", epoch=s.auth.epoch, seq=self.seq,
            rebase=s.rebase, t_console=5, echo_state=self.now - 40 * MS, echo_view=None, mode="servo", press=0,
            stop=False, plan_hash=PLAN, path_hash=b"", registration_epoch=1, peer_checkpoint=b"", target=None,
            q_target=None, s_limit=None,
        )  # fmt: skip
        if changes.get("press", 0) > 0 and not {"target", "q_target", "s_limit"} & set(changes):
            changes["target"] = HOME
        return replace(base, **changes)

    def send(
        self, command: Command | bytes | None = None, *, key: str = SURGEON, path: int = 0, **changes: Any
    ) -> list[Output]:
        if command is None:
            command = self.make(**changes)
        data = command if isinstance(command, bytes) else msgpack.packb(command.to_wire())
        return self.do(CommandIn(self.now, "adapter" if key == "local" else "gateway", key, path, data))

    @staticmethod
    def leases(out: list[Output]) -> list[LeaseOut]:
        return [o for o in out if isinstance(o, LeaseOut)]

    @staticmethod
    def verdict(out: list[Output]) -> str:
        """ "ok" unless refused."""
        return next((o.reason for o in out if isinstance(o, VerdictOut)), "ok")

    # --- the way to motion -------------------------------------------------------------------------------------------

    def ready(self) -> "Rig":
        """Partners there, arm reporting: INIT -> READY."""
        self.do(ArmIn(self.now, True))
        for role in ("recorder", "case", "gateway", "adapter"):
            self.do(PeerIn(self.now, role, True))
        self.pass_time(20 * MS)
        assert self.s.state is State.READY, self.s.reason
        return self

    def scene(self, **changes: Any) -> None:
        order = {"plan_hash": PLAN, "registration_epoch": 1, "confirmed": True, "sigma_reg": 0.0003,
                 "corridor": None, "keepouts": []} | changes  # fmt: skip
        self.must("scene", **order)

    def qualified(self) -> "Rig":
        self.must("qualify", result={"passed": True})
        return self

    def granted(self, key: str = SURGEON) -> "Rig":
        """READY with a holder, everything but the press done (rehearsal waived unless params require it)."""
        if self.s.state is State.INIT:
            self.ready()
        self.qualified()
        self.scene()
        self.must("grant", holder=key)
        self.seq = 0
        for _ in range(44):
            self.pass_time(50 * MS, step_ns=50 * MS)
            self.send(press=0, key=key)
        return self

    def active(self, press: int = 1) -> "Rig":
        """ACTIVE with a lease in force, by a press."""
        self.granted()
        self.pass_time(10 * MS)
        out = self.send(press=press)
        assert self.s.state is State.ACTIVE, (self.verdict(out), out, self.s.reason)
        return self

    def stored_path(self, kind: str = "goal", n: int = 51, length: float = 0.1, margin: float = 0.02) -> bytes:
        """A straight path from where the arm stands, accepted by the arm."""
        q = [[0.1 + 0.1 * i / (n - 1), 0.2] for i in range(n)]
        s = [length * i / (n - 1) for i in range(n)]
        m = [margin] * n
        digest = path_digest(kind, q, s, m)
        self.must("path", path_hash=digest, kind=kind, q=q, s=s, margin=m)
        return digest
