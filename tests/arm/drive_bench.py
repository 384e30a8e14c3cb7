"""A drive with a perfect arm under it, in virtual time: what the drive's tests share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from safety.lease import ArmReport, MotionLease, StoredPath, path_digest
from teleop.arm.drive import DriveParams, DriveState, accept_path, drive_params, initial, step
from teleop.arm.driver import EncoderSample
from teleop.arm.kinematics import Kinematics, warm
from teleop.arm.model import load_model

MS = 1_000_000
L_NS = 150 * MS
PERIOD = 2 * MS
HOME = np.array([0.23, 0.39, 0.16, -1.54, -0.6, 1.68, -0.84])


@cache
def kinematics() -> Kinematics:
    return warm(load_model("iiwa7"))


@cache
def params() -> DriveParams:
    return drive_params(kinematics())


@dataclass
class Bench:
    """now ns; rows of (now, worst-tool-point speed of the reference m/s, drive word, travel of the reference m)."""

    params: DriveParams = field(default_factory=params)
    q0: np.ndarray = field(default_factory=lambda: HOME.copy())

    def __post_init__(self) -> None:
        self.now = 1_000 * MS
        self.q, self.dq = self.q0.copy(), np.zeros(7)
        self.kin = self.params.kin
        self.state: DriveState = initial(self.sample(), self.params)
        self.ids = 0
        self.speeds: list[float] = []
        self.words: list[str] = []
        self.stamps: list[int] = []
        self.travel = [0.0]
        self.report: ArmReport | None = None
        self.bend: Callable[[EncoderSample], EncoderSample] = lambda s: s

    def sample(self) -> EncoderSample:
        return EncoderSample(self.now, self.q.copy(), self.dq.copy(), np.zeros(7), 0.0)

    def lease(self, **changes: object) -> MotionLease:
        self.ids += 1
        values: dict[str, object] = {
            "lease_id": self.ids, "epoch": 1, "seq": self.ids, "t_k": self.now, "expiry": self.now + L_NS,
            "mode": "servo", "kind": "pose", "target": None, "q_target": None, "path_hash": b"", "s_limit": None,
            "v_cap": 0.02, "w_cap": 0.3,
        }  # fmt: skip
        values.update(changes)
        return MotionLease(**values)  # type: ignore[arg-type]

    def tick(self, lease: MotionLease | None = None, late: int = 0, **flags: object) -> ArmReport:
        """One period; `late` ns of extra delay before it."""
        self.now += PERIOD + late
        before = self.state.pose_ref
        self.state, q, dq, report = step(
            self.state, self.now, lease, self.bend(self.sample()), self.params, **flags  # type: ignore[arg-type]
        )  # fmt: skip
        self.q, self.dq = q, dq
        self.report = report
        moved = self.kin.pose_difference(before, self.state.pose_ref)
        length = float(np.linalg.norm(moved[:3]) + np.linalg.norm(moved[3:]))
        self.travel.append(self.travel[-1] + length)
        self.speeds.append(length / self.params.dt)
        self.words.append(report.drive)
        self.stamps.append(self.now)
        return report

    def follow(self, ms: float, every: int = 5, **lease: object) -> None:
        """Renewed leases of the same content for so many milliseconds."""
        for i in range(int(ms / 2)):
            self.tick(self.lease(**lease) if i % every == 0 else None)

    def rest(self, limit_ms: float = 3000) -> None:
        """Ticks without leases until the drive has come to rest."""
        for _ in range(int(limit_ms / 2)):
            self.tick()
            if not self.state.moving:
                return
        raise AssertionError("the drive did not come to rest")

    def shifted(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> tuple[float, ...]:
        """The reference pose moved by metres."""
        p = self.state.pose_ref.tolist()
        return (p[0] + x, p[1] + y, p[2] + z, *p[3:])


def joint_path(kin: Kinematics, a: np.ndarray, b: np.ndarray, kind: str = "goal", margin: float = 0.02) -> StoredPath:
    """A straight joint path, sampled at about a millimetre."""
    count = 400
    rows = np.linspace(a, b, count)
    lengths, _ = kin.path_steps(rows)
    s = np.concatenate([[0.0], np.cumsum(lengths)])
    return stored(kind, rows.tolist(), s.tolist(), [margin] * count)


def stored(kind: str, q: list, s: list, margin: list) -> StoredPath:
    """A stored path with the right hash."""
    return StoredPath(path_digest(kind, q, s, margin), kind, tuple(tuple(row) for row in q), tuple(s), tuple(margin))


def with_path(bench: Bench, path: StoredPath) -> Bench:
    bench.state, ok, reason = accept_path(bench.state, path, bench.params)
    assert ok, reason
    return bench
