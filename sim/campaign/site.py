"""The patient's site in virtual time: shipped governor step, shipped drive, kinematic arm; one loop, no sockets.

`Site` is a `Rig` (hands on every input) whose arm is real: leases and halts reach the drive at its next tick, reports come
back from it. A standing, granted site is made once per kind of motion and forked for each run.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.inputs import (
    ClearOut,
    FaultOut,
    ForgetOut,
    HaltOut,
    Input,
    LeaseOut,
    Output,
    PathOkIn,
    PathOut,
    ReportIn,
    TickIn,
)
from safety.lease import ArmReport, MotionLease, path_digest
from safety.params import MS
from sim.campaign.rig import GOOD_LINK, SURGEON, Rig
from sim.hidden import no_errors
from sim.kinematic_arm import KinematicArm
from teleop.arm import drive
from teleop.arm.drive import DriveParams, DriveState, drive_params
from teleop.arm.kinematics import Kinematics, warm
from teleop.arm.model import load_model
from teleop.geometry import pose_to_matrix

Array = NDArray[np.float64]
DRIVE_NS = 4 * MS
#: The driver's second of a kind: physics instead of perfect tracking.
DRIVERS = ("kinematic", "pybullet")


@functools.cache
def kinematics() -> Kinematics:
    """The demo arm, kernels compiled."""
    return warm(load_model("iiwa7"))


@functools.cache
def drive_limits(lease_enabled: bool = True) -> DriveParams:
    """Without leases the drive's own limit on a lease's reach has to go too, or it would refuse to move at all."""
    reach = {} if lease_enabled else {"lease_max_ns": 10**14}
    return drive_params(kinematics(), period_ns=DRIVE_NS, **reach)


@dataclass(frozen=True, slots=True)
class Halt:
    """What a governor may tell the drive besides a lease."""

    fault: str = ""
    clear: bool = False


class Site(Rig):
    """`tick()` advances the arm by one drive period; `elapse()` also ticks the governor. Travel is measured by the drive."""

    def __init__(self, **params: Any) -> None:
        super().__init__(guarded=True, require_rehearsal=False, **params)
        self.kin = kinematics()
        self.drive_on = True
        self.arm: Any = None
        self.state: DriveState | None = None
        self.inbox: list[MotionLease | Halt] = []
        self.last_report: ArmReport | None = None
        self.home = tuple(float(x) for x in self.kin.model.home)
        self.outs: list[Output] = []
        self.keep_log = False
        self.limits = drive_limits()

    def fork(self) -> "Site":
        other = super().fork()
        assert isinstance(other, Site)
        other.inbox = []
        other.outs = []
        return other

    def power_on(self, seed: int, *, driver: str = "kinematic", noise: float = 2e-6) -> None:
        """A fresh arm at its home posture with the paths that the governor knows."""
        model = self.kin.model
        if driver == "pybullet":
            from sim.arm import PyBulletArm  # physics only where it is asked for

            self.arm = PyBulletArm(model, seed, period_ns=DRIVE_NS, q0=np.array(self.home))
        else:
            self.arm = KinematicArm(model, seed, period_ns=DRIVE_NS, errors=no_errors(model.n), noise=noise)
        self.limits = drive_limits(self.params.lease_enabled)
        self.state = drive.initial(self.arm.read(self.now), self.limits)
        for path, _ in self.s.paths.values():
            self.state, ok, why = drive.accept_path(self.state, path, self.limits)
            assert ok, why

    # --- governor ----------------------------------------------------------------------------------------------------

    def do(self, i: Input) -> list[Output]:
        self.s, out = self.step(self.s, i, self.params)
        if self.keep_log:
            self.log.append((i, out))
        for o in out:
            if isinstance(o, LeaseOut):
                self.inbox.append(o.lease)
            elif isinstance(o, HaltOut):
                self.inbox.append(Halt())
            elif isinstance(o, FaultOut):
                self.inbox.append(Halt(fault=o.why))
            elif isinstance(o, ClearOut):
                self.inbox.append(Halt(clear=True))
            elif isinstance(o, PathOut):
                self._store(o)
            elif isinstance(o, ForgetOut) and self.state is not None:
                self.state = drive.clear_paths(self.state)
        self.outs.extend(out)
        return out

    def _store(self, o: PathOut) -> None:
        ok, why = True, ""
        if self.state is not None:
            self.state, ok, why = drive.accept_path(self.state, o.path, self.limits)
        self.do(PathOkIn(self.now, o.path.path_hash, ok, why))

    def report(self, **changes: Any) -> list[Output]:
        """Before power-on: a standing arm at home. Afterwards reports come from the drive."""
        if self.state is not None:
            return []
        pose = tuple(float(x) for x in self.kin.fk(np.array(self.home)))
        zero = (0.0,) * len(self.home)
        r = ArmReport(
            self.now, self.home, zero, zero, pose, pose, 0.0, 0.0, 0.0, b"", 0, "standstill", "", 0.0, 0, self.home
        )
        return self.do(ReportIn(self.now, r))

    # --- arm ---------------------------------------------------------------------------------------------------------

    def tick(self, *, send_report: bool) -> ArmReport | None:
        """One drive period. Leases and halts that arrived since the last one, in order; the newest of each counts."""
        if not self.drive_on or self.state is None or self.arm is None:
            return None
        lease: MotionLease | None = None
        halt, clear, fault = False, False, ""
        for item in self.inbox:
            if isinstance(item, MotionLease):
                lease, halt = item, False
            else:
                lease, halt = None, True
                clear = clear or item.clear
                fault = fault or item.fault
        self.inbox.clear()
        self.state, q, dq, report = drive.step(
            self.state, self.now, lease, self.arm.read(self.now), self.limits, halt=halt, clear=clear, fault=fault
        )
        self.arm.brakes(self.state.brakes)
        self.arm.write(q, dq)
        self.last_report = report
        if send_report:
            self.do(ReportIn(self.now, report))
        return report

    # --- motions -----------------------------------------------------------------------------------------------------

    def tip(self) -> Array:
        """base_T_tip at home."""
        return np.array(self.kin.fk(np.array(self.home)))

    def straight(self, kind: str, direction: Array, length: float, margin: float) -> bytes:
        """Store a straight tip line of `length` m from home; returns its hash."""
        rows = [np.array(self.home)]
        pose = self.tip()
        step = 0.0005
        for k in range(1, int(length / step) + 1):
            target = pose_to_matrix(pose)
            target[:3, 3] += direction * (k * step)
            q = rows[-1]
            for _ in range(4):
                q, _ = self.kin.follow(q, target)
            rows.append(np.array(q))
        table = np.array(rows)
        lengths, _ = self.kin.path_steps(table)
        s = [0.0, *np.cumsum(lengths * 1.0001 + 1e-7).tolist()]
        q_rows = [[float(x) for x in row] for row in rows]
        m = [margin] * len(s)
        digest = path_digest(kind, q_rows, s, m)
        self.must("path", path_hash=digest, kind=kind, q=q_rows, s=s, margin=m)
        return digest


def axis_of(pose: Array) -> Array:
    """z of the tip frame: the direction of the guide."""
    x, y, z, w = pose[3:7]
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])


@functools.cache
def standing(
    mode: str, lease_enabled: bool = True, params: tuple[tuple[str, Any], ...] = (), name: str = "a"
) -> tuple[Site, bytes]:
    """A granted, healthy site for this mode and the hash of its path (b"" for servo and jog). Fork it."""
    site = Site(lease_enabled=lease_enabled, name=name, **dict(params))
    site.ready()
    site.qualified()
    pose = site.tip()
    z = axis_of(pose)
    side = np.array([0.0, 1.0, 0.0])
    side = side - z * float(side @ z)
    side /= np.linalg.norm(side)
    entry = pose[:3] + 0.045 * z
    ball = pose[:3] + 0.060 * side
    site.scene(
        corridor={"entry": entry.tolist(), "axis": z.tolist(), "radius": 0.002},
        keepouts=[
            {"kind": "sphere", "c": ball.tolist(), "r": 0.020, "name": "ball", "anatomical": True},
            {"kind": "halfspace", "n": (-z).tolist(), "d": float(-z @ (entry + 0.02 * z)), "name": "canal"},
        ],
    )
    site.must("grant", holder=SURGEON)
    site.seq = 0
    for _ in range(42):
        site.pass_time(50 * MS, step_ns=50 * MS)
        site.send(press=0, key=SURGEON, echo_view=site.now - 40 * MS)
    path = b""
    if mode == "goal":
        path = site.straight("goal", side * -1.0, 0.12, 0.02)
    elif mode == "advance":
        path = site.straight("advance", z, 0.040, 0.002)
    return site, path


__all__ = ["DRIVE_NS", "GOOD_LINK", "Halt", "Site", "TickIn", "axis_of", "standing"]
