"""`Situation`: the whole memory of the governor. A step works on a copy; everything inside is immutable or replaced,
never edited.

So a step is pure at the price of one shallow copy (some microseconds), and a test may keep any former situation.
"""

from dataclasses import dataclass, field, fields
from operator import attrgetter

from safety.alarms import Alarms
from safety.authority import Authority
from safety.estimators import Estimates
from safety.fixtures import Scene
from safety.lease import ArmReport, MotionLease, StoredPath
from safety.roles import Roles
from safety.states import State


@dataclass(frozen=True, slots=True)
class Peer:
    """up: connected. beat: last message (ns). note: the recorder's word on its disk."""

    up: bool
    beat: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """A stop or take-over rehearsal being measured: since when, from which travel (m), under which cap, at which measured
    speed (m/s).
    """

    kind: str
    t0: int
    travel0: float
    v: float
    speed0: float


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a rehearsal measured: time to standstill (ns), travel and bound (m), passed, valid until. react: what of the travel
    the braking itself does not explain, as a time (ns): the measured Td + Ta; 0 where the arm was not at its steady speed.
    """

    kind: str
    took: int
    travel: float
    bound: float
    passed: bool
    until: int
    react: int = 0


@dataclass(slots=True)
class Situation:
    """Times are robot monotonic ns, 0 = never. Lengths m."""

    site: str
    arm: str
    session: bytes
    local_control: bool
    demo_qualification: bool
    roles: Roles
    auth: Authority
    now: int = 0
    n: int = 0
    state: State = State.INIT
    reason: str = "starting"
    pause_kind: str = ""
    since: int = 0
    fault_to_ack: str = ""
    # partners
    peers: dict[str, Peer] = field(default_factory=dict)
    arm_up: bool = False
    report: ArmReport | None = None
    report_at: int = 0
    frozen_q: tuple[float, ...] = ()
    frozen_setpoint: tuple[float, ...] = ()
    # the case
    scene: Scene | None = None
    paths: dict[bytes, tuple[StoredPath, bool]] = field(default_factory=dict)  # True: the arm took it
    line_until: int = 0
    line_demo: bool = False
    rehearsal_on: bool = False
    drill: Drill | None = None
    drills: dict[str, DrillResult] = field(default_factory=dict)
    user_cap: float = 0.0  # 0: none
    extra_react: int = 0  # ns by which the rehearsals saw the arm begin to brake later than Td + Ta: in every bound
    extra_track: float = 0.0  # m by which the rehearsals saw the arm track worse than e_track: added to every bound
    # the line
    link_at: int = 0
    link_alive: tuple[bool, ...] = ()
    link_ok: bool = False
    healthy_since: int = 0
    path_lost: bool = False
    est: Estimates = field(default_factory=Estimates)
    age: int = 0
    late_until: int = 0
    late_ns: int = 0
    calm_since: int = 0
    # the command stream of this epoch
    last_valid: int = 0
    last_heard: int = 0
    last_seq: int = 0
    seq_seen: int = 0
    last_echo: int = 0
    last_view: int = 0
    press: int = 0  # newest press seen
    press_floor: int = -1  # motion needs a larger one; -1: no frame of this epoch yet
    press_since: int = 0
    press_mode: str = ""
    press_path: bytes = b""
    rebase: int = 1
    fresh: bool = True  # the next target is the first one after a rebase
    last_target: tuple[float, ...] = ()
    changed_at: int = 0
    former_holder: str = ""
    former_until: int = 0
    # motion in force
    lease: MotionLease | None = None
    next_lease: int = 1
    halted_at: int = 0
    v_cap: float = 0.0
    w_cap: float = 0.0
    v_why: str = ""
    margin: float = 0.0
    bound: float = 0.0
    mode: str = ""
    # latches and counts
    acked: bool = False
    hold_times: tuple[int, ...] = ()
    resume_times: tuple[int, ...] = ()
    reject_times: tuple[int, ...] = ()
    buckets: dict[str, tuple[float, int]] = field(default_factory=dict)
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    last_reject: str = ""
    pauses: int = 0
    holds: int = 0
    stop_ordinal: int = 0
    stop_by: str = ""
    local_stop: str = ""  # a stop while the bedside has the arm: it moves nothing until re-armed at the table
    log_deadline: int = 0
    clear_until: int = 0  # the drive was asked to clear its fault: until then its old fault is no new one
    caps: tuple[tuple[int, float], ...] = ()  # (until, cap), falling: caps that may still be in the arm's motion
    still_target: tuple[float, ...] = ()  # what the hand is compared with: it counts as stuck while it stays near this
    alarms: Alarms = ()

    def clone(self) -> "Situation":
        """A copy that may be changed field by field."""
        return Situation(*_VALUES(self))

    @property
    def peak_v(self) -> float:
        """The highest speed cap that may still be in the arm's motion, m/s; 0 without one."""
        return self.caps[0][1] if self.caps else 0.0

    @property
    def remote(self) -> bool:
        """Does a remote principal hold the arm?"""
        return self.auth.holder not in ("", "local")


_VALUES = attrgetter(*(f.name for f in fields(Situation)))
