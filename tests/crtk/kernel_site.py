"""A site in one process and virtual time: the real kernel, a kinematic stand-in for the arm, and a local session."""

import numpy as np

from safety.governor import boot, step
from safety.inputs import (
    ArmIn,
    BeatIn,
    BootIn,
    CommandIn,
    HaltOut,
    LeaseOut,
    OrderIn,
    PathOkIn,
    PathOut,
    PeerIn,
    ReplyOut,
    ReportIn,
    TickIn,
    VerdictOut,
)
from safety.lease import ArmReport
from safety.params import Params
from safety.status import status_of
from teleop.arm.clearance import ClearanceChecker, Scene
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import load_model
from teleop.crtk.moves import plan_joint_move, plan_pose_move
from teleop.crtk.session import ArmView, LocalSession

MS = 1_000_000
KIN = Kinematics(load_model())
CHECKER = ClearanceChecker(KIN, Scene())


def plan(kind, q_now, goal):
    return (plan_joint_move if kind == "jp" else plan_pose_move)(KIN, CHECKER, q_now, goal)


class Site:
    """`run(ms)` lets time pass in steps of 10 ms. The arm goes to each leased target at once, and along paths at 0.1 m/s."""

    def __init__(self, *, local_control=True, recorder=True):
        self.p = Params()
        self.now = 1_000_000_000
        self.s, _ = boot(BootIn(self.now, "a", "arm1", bytes(range(16)), 1, 4096, "", self.p.to_dict(), (),
                                local_control, False))
        self.session = LocalSession("a", "arm1", KIN.n, plan)
        self.q = tuple(KIN.model.home.tolist())
        self.drive, self.lease, self.paths, self.at, self.path_hash = "standstill", None, {}, 0.0, b""
        self.notes, self.states, self.leases = [], [], []
        self.peers = ["adapter", "recorder"] if recorder else ["adapter"]
        for role in self.peers:
            self.give(PeerIn(self.now, role, True))
        self.give(ArmIn(self.now, True))
        self.run(50)

    def give(self, i):
        self.s, out = step(self.s, i, self.p)
        for o in out:
            if isinstance(o, LeaseOut):
                self.lease = o.lease
                self.leases.append(o.lease)
            elif isinstance(o, HaltOut):
                self.lease = None
            elif isinstance(o, PathOut):
                self.paths[o.path.path_hash] = o.path
                self.give(PathOkIn(self.now, o.path.path_hash, True, ""))
            elif isinstance(o, ReplyOut) and o.peer == "adapter":
                self.session.on_reply({"id": o.id, "ok": o.ok, "reason": o.reason, **o.extra}, self.now)
            elif isinstance(o, VerdictOut):
                self.session.on_verdict({"seq": o.seq, "reason": o.reason, "text": o.text}, self.now)

    def flush(self):
        session = self.session
        self.notes += session.notes
        session.notes.clear()
        while session.outbox:
            m = session.outbox.pop(0)
            if m["t"] == "cmd":
                self.give(CommandIn(self.now, "adapter", m["key"], m["path"], m["data"]))
            else:
                self.give(OrderIn(self.now, "adapter", m["key"], m["id"], m["order"]))
            session.on_status(status_of(self.s, self.p), self.now)
        if session.changed:
            self.states.append(session.shown())

    def run(self, ms, every=lambda: None):
        for _ in range(ms // 10):
            self.now += 10 * MS
            self._arm()
            for role in self.peers:
                self.give(BeatIn(self.now, role, ""))
            self.give(TickIn(self.now, 0, 0))
            self.session.on_status(status_of(self.s, self.p), self.now)
            self.session.tick(self.now)
            every()
            self.flush()

    def _arm(self):
        lease = self.lease
        moved = False
        if lease is not None and self.now <= lease.expiry:
            before = self.q
            if lease.kind == "joints":
                self.q = lease.q_target
            elif lease.kind == "pose":
                self.q = tuple(KIN.solve(lease.target, self.q, restarts=0).q.tolist())
            else:
                path = self.paths[lease.path_hash]
                if self.path_hash != lease.path_hash:
                    self.path_hash, self.at = lease.path_hash, 0.0
                self.at = min(self.at + min(lease.v_cap, 0.1) * 0.01, lease.s_limit)
                self.q = tuple(float(np.interp(self.at, path.s, column)) for column in zip(*path.q, strict=True))
            moved = before != self.q
        else:
            self.lease = None
        self.drive = "moving" if moved else "standstill"
        pose = KIN.fk(self.q)
        r = ArmReport(self.now, self.q, (0.0,) * KIN.n, (0.0,) * KIN.n, pose, pose, 0.0, 0.0, self.at, self.path_hash,
                      lease.lease_id if lease else 0, self.drive, "", 0.0, 0, self.q, 0.0)
        self.give(ReportIn(self.now, r))
        self.session.on_arm(ArmView(self.now, r.q, r.dq, r.q_ref, pose, pose, r.s, r.path_hash, r.drive), self.now)
        self.flush()

    def ask(self, word):
        self.session.state_command(word, self.now)
        self.flush()
        self.run(20)

    def servo(self, kind, value):
        self.session.servo(kind, value, self.now)
        self.flush()

    def move(self, kind, goal, clients=frozenset()):
        self.session.move(kind, goal, clients, self.now)
        self.flush()

