"""Ring 1: the drive. It executes motion leases, and nothing else ever moves the arm.

`step(state, now, lease, sample, params)` is pure: the same arguments give the same reference, on the servo loop's
clock or a test's. Rules, in the order in which a tick applies them:

1. *Watch.* Encoders finite and fresh, joints and speeds inside their limits, the measured tool within `e_track` of
   the reference, force under its limit, standstill really still. Anything else is a fault: decelerate, stay, say why.
   A fault is latched until `clear` at rest.
2. *Lease.* A new lease replaces the one in force only if its (epoch, lease_id) is larger than any seen, it has not
   expired, it does not reach further into the future than `lease_max_ns`, and its contents can be followed; otherwise
   it is ignored with a word in `state.ignored`. Caps are clamped to the drive's own.
3. *Follow or stop.* The lease may be followed while the whole coming period lies before its expiry; from then on the
   drive decelerates along the path it is on and is at rest by expiry + `t_stop`. A tick that comes late advances the
   reference by one period, never more: lateness eats the lease and is not caught up.
4. A lease of another kind, or of another path, takes effect at rest; until then the present motion decelerates.

Kinds: "pose" follows a target pose in 6 degrees of freedom (`teleop.arm.leash`), "joints" likewise in joint space,
"path" runs along a stored path up to `s_limit`. A path is followed forwards only: an `s_limit` behind the arm is
answered by a stop, there is no permission to go back; a retreat is a path of its own. A path is taken up at its
beginning, where the reference must lie within `start_tolerance` of it (what is left is blended out over the first
`blend` metres), or where it was left if nothing else has moved the arm since.

All lengths of travel are arc lengths of the worst tool point, |dp| + r |dphi|, r the tool radius. Units SI, time
integer ns.
"""

from dataclasses import dataclass, field, fields, replace
from math import isfinite, sqrt
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from safety.lease import ArmReport, MotionLease, StoredPath
from teleop.arm import kernels, stopping
from teleop.arm.driver import EncoderSample
from teleop.arm.kinematics import Kinematics
from teleop.arm.leash import Leash, Limits, Rail, TrajectoryError
from teleop.arm.paths import CompiledPath, PathRefused, compile_path
from teleop.geometry import check_pose

Array = NDArray[np.float64]

PATHS_KEPT = 16


@dataclass(frozen=True, slots=True)
class DriveParams:
    """Limits of the drive. They belong to the site; nothing received changes them.

    a, j: deceleration (m/s^2) and jerk (m/s^3) of the worst tool point, the pair the travel bound is computed with.
    v_ceiling / w_ceiling: largest caps a lease can ask for. e_track: m. f_max: N. workspace: (low xyz, high xyz) m,
    base frame.
    """

    kin: Kinematics
    period_ns: int = 2_000_000
    a: float = 0.2
    j: float = 2.0
    v_ceiling: float = 0.25
    w_ceiling: float = 1.0
    joint_acceleration: float = 10.0
    joint_speed_share: float = 0.8
    limit_margin: float = 0.02
    e_track: float = 0.0002
    f_max: float = 30.0
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] = ((-1.2, -1.2, -0.4), (1.2, 1.2, 1.5))
    lease_max_ns: int = 250_000_000
    frozen_after_ns: int = 50_000_000
    still_speed: float = 0.005
    still_after_ns: int = 100_000_000
    park_after_ns: int = 2_000_000_000
    start_tolerance: float = 2e-3
    blend: float = 0.005
    travel_grain: float = 2e-5
    leash6: Leash = field(default_factory=lambda: Leash(6))
    leash_n: Leash = field(default_factory=lambda: Leash(7))
    rail: Rail = field(default_factory=Rail)

    dt: float = field(init=False)
    slowest_joint: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dt", self.period_ns * 1e-9)
        object.__setattr__(self, "slowest_joint", float(self.kin.model.v_max.min()) * self.joint_speed_share)

    def t_stop(self, v_cap: float) -> float:
        """Time (s) after the expiry of a lease with cap v_cap by which the reference is at rest."""
        return stopping.t_stop(v_cap, self.a, self.j) + self.dt

    def d_stop(self, v_cap: float) -> float:
        """Longest way (m) from the expiry of a lease with cap v_cap to rest."""
        return stopping.d_stop(v_cap, self.a, self.j)


def drive_params(kin: Kinematics, **changes: object) -> DriveParams:
    """DriveParams for an arm, with work space of its number of joints."""
    return DriveParams(kin=kin, leash_n=Leash(kin.n), **changes)  # type: ignore[arg-type]


@dataclass(slots=True)
class DriveState:
    """What the drive remembers between ticks. Treat as immutable: `step` returns a new one."""

    q_ref: Array
    dq_ref: Array
    pose_ref: Array
    kind: str = ""  # motion in progress: "", "pose", "joints" or "path"
    v: Array = field(default_factory=lambda: np.zeros(6))
    a: Array = field(default_factory=lambda: np.zeros(6))
    path: CompiledPath | None = None
    s: float = 0.0
    ds: float = 0.0
    dds: float = 0.0
    offset: Array | None = None  # reference minus path at its start, blended out
    lease: MotionLease | None = None
    target: Array | None = None  # of a pose lease, checked and normalised
    last_key: tuple[int, int] = (-1, -1)
    paths: dict[bytes, CompiledPath] = field(default_factory=dict)
    fault: str = ""
    blocked: str = ""
    ignored: str = ""
    ignored_count: int = 0
    parked: bool = True
    started: bool = False
    rest_since: int = 0
    last_now: int = 0
    last_stamp: int = 0
    last_q: Array | None = None
    fresh_at: int = 0
    anchor: Array = field(default_factory=lambda: np.array([0, 0, 0, 0, 0, 0, 1.0]))
    travel: float = 0.0
    still_bad_since: int = 0

    @property
    def moving(self) -> bool:
        """The reference moves, or is still decelerating."""
        return self.kind != ""

    @property
    def brakes(self) -> bool:
        """Whether the brakes should be engaged: parked, or at rest in a fault."""
        return self.parked or (self.fault != "" and not self.moving)


_FIELDS = tuple(f.name for f in fields(DriveState))
_VALUES = attrgetter(*_FIELDS)


def _copy(state: DriveState) -> DriveState:
    """A shallow copy (arrays are never written to in place, so they can be shared); 3 us cheaper than
    dataclasses.replace."""
    return DriveState(*_VALUES(state))


def initial(sample: EncoderSample, params: DriveParams) -> DriveState:
    """State of a drive that has just been switched on: reference = measured joints, parked. Raises ValueError if the
    encoders say nothing usable."""
    if not np.all(np.isfinite(sample.q)):
        raise ValueError(f"encoders give {sample.q.tolist()}: cannot start")
    pose = np.array(params.kin.fk(sample.q))
    return DriveState(
        q_ref=sample.q.copy(),
        dq_ref=np.zeros(params.kin.n),
        pose_ref=pose,
        anchor=pose.copy(),
        rest_since=sample.stamp,
    )


def accept_path(state: DriveState, path: StoredPath, params: DriveParams) -> tuple[DriveState, bool, str]:
    """Check and keep a stored path: (state, accepted, reason). Moves nothing. The oldest of more than 16 is
    forgotten, never the one being followed."""
    try:
        compiled = compile_path(
            path, params.kin, limit_margin=params.limit_margin, joint_acceleration=params.joint_acceleration
        )
    except PathRefused as refusal:
        return state, False, str(refusal)
    paths = dict(state.paths)
    paths.pop(path.path_hash, None)
    paths[path.path_hash] = compiled
    for old in list(paths):
        if len(paths) <= PATHS_KEPT:
            break
        if state.path is None or old != state.path.path_hash:
            del paths[old]
    return replace(state, paths=paths), True, ""


def clear_paths(state: DriveState) -> DriveState:
    """Forget all stored paths but the one being followed."""
    kept = {} if state.path is None or not state.moving else {state.path.path_hash: state.path}
    return replace(state, paths=kept)


def refusal(state: DriveState, lease: MotionLease, now: int, params: DriveParams) -> str:
    """Why a lease is not taken, "" if it is."""
    if (lease.epoch, lease.lease_id) <= state.last_key:
        return f"lease {lease.epoch}.{lease.lease_id} is not newer than {state.last_key[0]}.{state.last_key[1]}"
    if lease.expiry <= now:
        return f"lease {lease.lease_id} expired {(now - lease.expiry) / 1e6:.1f} ms ago"
    if lease.expiry - now > params.lease_max_ns:
        return (
            f"lease {lease.lease_id} reaches {(lease.expiry - now) / 1e6:.0f} ms ahead, over the "
            f"{params.lease_max_ns / 1e6:.0f} ms allowed"
        )
    if not (isfinite(lease.v_cap) and isfinite(lease.w_cap) and lease.v_cap > 0.0 and lease.w_cap > 0.0):
        return f"caps {lease.v_cap}, {lease.w_cap} are not positive numbers"
    if state.fault:
        return f"fault: {state.fault}"
    if lease.kind == "pose":
        try:
            target = check_pose(lease.target or (), "target")
        except ValueError as error:
            return str(error)
        low, high = params.workspace
        for k in range(3):
            if not low[k] <= target[k] <= high[k]:
                return f"target {'xyz'[k]} = {target[k]:.3f} m lies outside the workspace"
    elif lease.kind == "joints":
        q = lease.q_target or ()
        m = params.kin.model
        if len(q) != m.n or not all(isfinite(x) for x in q):
            return f"q_target needs {m.n} finite numbers"
        for k in range(m.n):
            if not m.lower[k] + params.limit_margin <= q[k] <= m.upper[k] - params.limit_margin:
                return f"q_target: joint {m.joint_names[k]} at {q[k]:.3f} rad lies outside its limits"
    elif lease.kind == "path":
        path = state.paths.get(lease.path_hash)
        if path is None:
            return f"no stored path {lease.path_hash.hex()}"
        if lease.s_limit is None or not isfinite(lease.s_limit):
            return "s_limit is not a number"
        if not _on_path(state, path):
            gap = float(np.max(np.abs(path.q[0] - state.q_ref)))
            if gap > params.start_tolerance:
                return f"the arm is not at the start of path {lease.path_hash.hex()}: {gap:.4f} rad away"
    else:
        return f"kind {lease.kind!r} is not pose, joints or path"
    return ""


def step(
    state: DriveState,
    now: int,
    lease: MotionLease | None,
    sample: EncoderSample,
    params: DriveParams,
    *,
    halt: bool = False,
    clear: bool = False,
    fault: str = "",
) -> tuple[DriveState, Array, Array, ArmReport]:
    """One period: (state, q_ref rad, dq_ref rad/s, report). `lease`: one that arrived since the last tick. `halt`:
    drop the lease in force. `clear`: forget a latched fault, at rest only. `fault`: a fault declared by the
    governor."""
    kin = params.kin
    s = _copy(state)
    late = now - s.last_now - params.period_ns if s.started and not s.parked else 0
    pose, err, report_speed = _watch(s, now, sample, params)
    if fault and not s.fault:
        s.fault = fault
    if clear and s.fault and not s.moving and not fault:
        s = _cleared(s, sample, now, params)
    if halt or s.fault:
        s.lease = None
    if lease is not None:
        why = refusal(s, lease, now, params)
        if why:
            s.ignored, s.ignored_count = why, s.ignored_count + 1
        else:
            s.lease, s.last_key, s.blocked = lease, (lease.epoch, lease.lease_id), ""
            if lease.kind == "pose" and lease.target is not None:
                s.target = np.array(check_pose(lease.target))
            s.parked = False
    if s.lease is not None and now + params.period_ns > s.lease.expiry:
        s.lease = None
    stopping_now = s.lease is None
    _move(s, params)
    if s.moving or s.lease is not None:
        s.rest_since = now
    elif now - s.rest_since > params.park_after_ns:
        s.parked = True
    s.started, s.last_now = True, now
    if s.fault:
        drive = "fault"
    elif s.moving:
        drive = "stopping" if stopping_now else "moving"
    else:
        drive = "parked" if s.parked else "standstill"
    report = ArmReport(
        stamp=now,
        q=tuple(sample.q.tolist()),
        dq=tuple(sample.dq.tolist()),
        tau=tuple(sample.tau.tolist()),
        pose=tuple(pose.tolist()),
        setpoint=tuple(s.pose_ref.tolist()),
        speed=report_speed,
        force=sample.force,
        s=s.s if s.path is not None else 0.0,
        path_hash=s.path.path_hash if s.path is not None else b"",
        lease_id=s.lease.lease_id if s.lease is not None else 0,
        drive=drive,
        fault=s.fault,
        tracking_error=err,
        late_ns=max(0, late),
        q_ref=tuple(s.q_ref.tolist()),
        travel=s.travel,
    )
    assert kin.n == len(s.q_ref)
    return s, s.q_ref, s.dq_ref, report


# --- watching
# --------------------------------------------------------------------------------------------------------


def _watch(s: DriveState, now: int, sample: EncoderSample, params: DriveParams) -> tuple[Array, float, float]:
    """Supervision. Sets s.fault, advances the measured travel; returns (measured pose, tracking error m, speed
    m/s)."""
    kin, model = params.kin, params.kin.model
    if not (kernels.all_finite(sample.q) and kernels.all_finite(sample.dq) and isfinite(sample.force)):
        s.fault = s.fault or "encoder: non-finite reading"
        return s.anchor.copy(), 0.0, 0.0
    pose, speed, err, moved = kin.monitor(sample.q, sample.dq, s.q_ref, s.anchor)
    if moved > params.travel_grain:
        # smaller steps wait, so that encoder noise at rest does not add up to a journey
        s.travel += moved
        s.anchor = pose
    if sample.stamp != s.last_stamp:
        s.fresh_at = now
    elif s.started and now - s.fresh_at > params.frozen_after_ns:
        s.fault = s.fault or f"encoder: no new reading for {(now - s.fresh_at) / 1e6:.0f} ms"
    if s.last_q is not None and sample.stamp > s.last_stamp:
        dt = min((sample.stamp - s.last_stamp) * 1e-9, 0.1)
        k = kernels.first_jump(sample.q, s.last_q, model.v_max, 1.5 * dt, 0.005)
        if k >= 0:
            s.fault = s.fault or f"encoder: joint {model.joint_names[k]} jumped {sample.q[k] - s.last_q[k]:.4f} rad"
    s.last_q, s.last_stamp = sample.q, sample.stamp
    if s.fault:
        return pose, err, speed
    if err > params.e_track:
        s.fault = f"tracking error {err * 1000:.2f} mm over {params.e_track * 1000:.2f} mm"
    elif sample.force > params.f_max:
        s.fault = f"force {sample.force:.1f} N over {params.f_max:.1f} N"
    elif (k := kernels.first_outside(sample.q, model.lower, model.upper)) >= 0:
        s.fault = f"joint {model.joint_names[k]} at {sample.q[k]:.3f} rad is outside its limits"
    elif (k := kernels.first_outside(sample.dq, -model.v_max, model.v_max)) >= 0:
        s.fault = f"joint {model.joint_names[k]} runs at {sample.dq[k]:.2f} rad/s, over {model.v_max[k]:.2f}"
    elif _outside(pose.tolist(), params, 0.01):
        s.fault = f"the tip left the workspace: {pose[:3].round(3).tolist()}"
    elif not s.moving and speed > params.still_speed:
        s.still_bad_since = s.still_bad_since or now
        if now - s.still_bad_since > params.still_after_ns:
            s.fault = f"the arm moves at {speed * 1000:.1f} mm/s while it should stand"
    else:
        s.still_bad_since = 0
    return pose, err, speed


def _outside(pose: list[float], params: DriveParams, slack: float) -> bool:
    low, high = params.workspace
    return any(pose[k] < low[k] - slack or pose[k] > high[k] + slack for k in range(3))


def _cleared(s: DriveState, sample: EncoderSample, now: int, params: DriveParams) -> DriveState:
    """Fault forgotten; the reference starts again from the measured joints, the path in progress is forgotten."""
    if not np.isfinite(sample.q).all():
        return s
    q = sample.q.copy()
    pose = np.array(params.kin.fk(q))
    return replace(
        s,
        fault="",
        blocked="",
        q_ref=q,
        pose_ref=pose,
        path=None,
        s=0.0,
        offset=None,
        rest_since=now,
        still_bad_since=0,
    )


# --- moving
# ----------------------------------------------------------------------------------------------------------


def _on_path(s: DriveState, path: CompiledPath) -> bool:
    """Whether the reference stands or moves on this very path already."""
    return s.path is not None and s.path.path_hash == path.path_hash


def _move(s: DriveState, params: DriveParams) -> None:
    """Advance the reference by one period (in place, on the copy that `step` made)."""
    if s.lease is not None and s.kind in ("pose", "joints"):
        near = _near_limit(s, params)
        if near:
            s.blocked, s.lease = near, None
    lease = s.lease
    wanted = lease.kind if lease is not None else ""
    if s.kind == "" and lease is not None:
        _begin(s, lease, params)
    s.dq_ref = np.zeros_like(s.q_ref)
    if s.kind == "":
        return
    same = wanted == s.kind and (
        wanted != "path" or (s.path is not None and lease is not None and lease.path_hash == s.path.path_hash)
    )
    follow = lease if same else None
    try:
        if s.kind == "path":
            _move_path(s, follow, params)
        elif s.kind == "pose":
            _move_pose(s, follow, params)
        else:
            _move_joints(s, follow, params)
    except TrajectoryError as error:
        # nothing sensible can be computed: the reference stands where it is
        s.fault = s.fault or f"trajectory: {error}"
        s.kind, s.lease = "", None
        s.v, s.a = np.zeros_like(s.v), np.zeros_like(s.a)
        s.ds = s.dds = 0.0


def _begin(s: DriveState, lease: MotionLease, params: DriveParams) -> None:
    """From rest into a motion of the lease's kind."""
    s.kind = lease.kind
    if lease.kind == "path":
        path = s.paths[lease.path_hash]
        if not _on_path(s, path):
            s.path, s.s = path, 0.0
            s.offset = s.q_ref - path.q[0]
        s.ds = s.dds = 0.0
        return
    s.path, s.s, s.offset = None, 0.0, None
    d = 6 if lease.kind == "pose" else params.kin.n
    s.v, s.a = np.zeros(d), np.zeros(d)


def _caps(lease: MotionLease, params: DriveParams) -> tuple[float, float]:
    return min(lease.v_cap, params.v_ceiling), min(lease.w_cap, params.w_ceiling)


def _move_path(s: DriveState, lease: MotionLease | None, params: DriveParams) -> None:
    path = s.path
    assert path is not None
    dt = params.dt
    if lease is None or lease.s_limit is None:
        d, s.ds, s.dds = params.rail.stop(s.ds, s.dds, Limits(params.v_ceiling, params.a, params.j), dt)
    else:
        v_cap, w_cap = _caps(lease, params)
        ahead = stopping.d_steady(max(s.ds, 1e-3), params.a, params.j) + s.ds * dt
        v_cap = min(v_cap, path.ceiling_ahead(s.s, ahead, w_cap))
        end = min(lease.s_limit, path.length)
        d, s.ds, s.dds = params.rail.track(end - s.s, s.ds, s.dds, Limits(v_cap, params.a, params.j), dt)
    s.s = min(s.s + max(d, 0.0), path.length)
    q, _slope = path.at(s.s)
    if s.offset is not None:
        share = 1.0 - min(s.s / params.blend, 1.0)
        if share > 0.0:
            q = q + s.offset * (share * share * (3.0 - 2.0 * share))
        else:
            s.offset = None
    s.dq_ref = (q - s.q_ref) / dt
    s.q_ref = q
    s.pose_ref = params.kin.fk_fast(q)
    if s.ds == 0.0 and s.dds == 0.0 and (lease is None or d <= 1e-9):
        s.kind = ""
        s.dq_ref = np.zeros_like(q)


def _pose_gain(ratio: float):  # type: ignore[no-untyped-def]
    def gain(u: Array) -> float:
        t = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
        r = sqrt(u[3] * u[3] + u[4] * u[4] + u[5] * u[5])
        return max(t + r, r * ratio)

    return gain


def _move_pose(s: DriveState, lease: MotionLease | None, params: DriveParams) -> None:
    kin, dt, r = params.kin, params.dt, params.kin.radius
    if lease is None or s.target is None:
        limits = Limits(params.v_ceiling, params.a, params.j)
        dy, s.v, s.a = params.leash6.stop(s.v, s.a, limits, dt)
        rest = True
    else:
        v_cap, w_cap = _caps(lease, params)
        ratio = v_cap / (w_cap * r)
        error = kin.pose_difference(s.pose_ref, s.target)
        limits = Limits(v_cap, params.a, params.j)
        dy, s.v, s.a = params.leash6.track(error, s.v, s.a, limits, _pose_gain(ratio), max(1.4143, ratio), dt)
        rest = float(error @ error) < 1e-16
    pose, matrix = kin.move_pose(s.pose_ref, dy)
    q, _ = kin.follow(s.q_ref, matrix)
    if _take_joints(s, q, params):
        s.pose_ref = pose
    else:
        # the joints cannot follow: the reference is where they are, not where the pose would be
        s.pose_ref = kin.fk_fast(s.q_ref)
    if rest and not s.v.any() and not s.a.any():
        s.kind, s.dq_ref = "", np.zeros_like(s.q_ref)


def _move_joints(s: DriveState, lease: MotionLease | None, params: DriveParams) -> None:
    """In joint space the tool moves `g` metres per radian in the worst direction; speed, acceleration and jerk are the
    drive's divided by g in *every* direction, so that a stop from anywhere stays inside the bound."""
    kin, dt = params.kin, params.dt
    v_cap, w_cap = _caps(lease, params) if lease is not None else (params.v_ceiling, params.w_ceiling)
    g, turn = kin.largest_gain(s.q_ref)
    # 0.9: g grows on the way, and braking takes longer by as much
    v_cap = 0.9 * min(v_cap, w_cap * g / turn)
    slowest = params.slowest_joint
    if lease is None or lease.q_target is None:
        dq, s.v, s.a = params.leash_n.stop(s.v, s.a, Limits(v_cap, params.a / g, params.j / g, slowest), dt)
        rest = True
    else:
        error = np.array(lease.q_target) - s.q_ref
        limits = Limits(v_cap, params.a / g, params.j / g, slowest)
        dq, s.v, s.a = params.leash_n.track(error, s.v, s.a, limits, lambda _: g, g, dt)
        rest = float(error @ error) < 1e-16
    _take_joints(s, s.q_ref + dq, params)
    s.pose_ref = kin.fk_fast(s.q_ref)
    if rest and not s.v.any() and not s.a.any():
        s.kind, s.dq_ref = "", np.zeros_like(s.q_ref)


def _near_limit(s: DriveState, params: DriveParams) -> str:
    """Which joint would come to rest past its limit if the reference began to stop only now; "" if none. So a motion brakes
    in time for a limit, smoothly, instead of running into it."""
    speed = float(params.kin.measure(s.q_ref, s.dq_ref)[1])
    if speed < 1e-6:
        return ""
    model = params.kin.model
    # it may be speeding up as hard as it can: then it peaks this much higher
    peak = speed + params.a * params.a / (2.0 * params.j)
    coasting = stopping.d_stop(peak, params.a, params.j) / speed + params.dt
    k = kernels.stops_outside(s.q_ref, s.dq_ref, coasting, model.lower, model.upper, params.limit_margin)
    return f"joint {model.joint_names[k]} is near its limit ({s.q_ref[k]:.3f} rad)" if k >= 0 else ""


def _take_joints(s: DriveState, q: Array, params: DriveParams) -> bool:
    """Make q the reference if every joint stays inside its limits and speed and the tip inside the workspace;
    otherwise go no further, drop the lease and say which joint. Returns whether q was taken as it is."""
    model, dt = params.kin.model, params.dt
    why = ""
    taken = np.empty_like(q)
    code, k = kernels.limit_step(
        s.q_ref, q, model.v_max * (params.joint_speed_share * dt), model.lower, model.upper, params.limit_margin, taken
    )
    if code == 1:
        why = "the posture is not finite"
    elif code == 2:
        why = f"joint {model.joint_names[k]} would have to run at {(q[k] - s.q_ref[k]) / dt:.2f} rad/s (singularity)"
    elif code == 3:
        why = f"joint {model.joint_names[k]} is at its limit ({s.q_ref[k]:.3f} rad)"
    elif _outside(s.pose_ref.tolist(), params, 0.0):
        why = "the tip is at the border of the workspace"
    q = taken
    s.dq_ref = (q - s.q_ref) / dt
    s.q_ref = q
    if why:
        s.blocked, s.lease = why, None
        return why.startswith("the tip")
    return True
