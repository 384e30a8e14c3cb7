"""`CommandMaker`: what the operator wants + what the robot last said -> the command frame of this tick (100 Hz).

    maker = CommandMaker(me=my_curve_key)
    wish = Intention(mode=Mode.GOAL, pressed=True, path_hash=h, s_goal=0.31, plan_hash=p, registration_epoch=r)
    command = maker.step(now_ns, newest_state_frame, wish)
    if command is not None:
        link.send(encode(command))
    show(maker.phase, maker.why)

Pure: time and frames come in, a `Command` goes out; the maker holds only counters. The rules, in the order in which
they bite:

1. No frame of the robot, no session, or somebody else holds the arm: no command (a stop has its own socket and does
   not wait for this).
2. An older state frame than the newest is ignored (UDP reorders); `echo_state` never goes back.
3. A new epoch restarts `seq`; a running epoch continues after the robot's `last_seq`, so a console that restarts is
   heard.
4. A press is an ordinal, and it belongs to one `(epoch, rebase, mode)`. When any of these changes while the operator
   holds the deadman, when the arm goes where no press helps (STOP, FAULT, LOCAL, INIT), when the operator stops, or
   when the state frames cease, the press is over: the maker sends press 0 and *waits for the release*. A held button
   never resumes motion.
5. After a release the arm pauses and increments its rebase. A press that comes before that news is not sent with the
   old rebase (it would be refused) and not lost either: it is *settling* until the arm has confirmed the pause and
   stands.
6. A pause of the line (kind "lease") may resume softly: the arm stands, the same press goes on from there under the new
   rebase. Off by default (`soft_resume`); the governor permits it three times a minute within 500 ms.
7. servo and jog start where the arm stands: a servo target further than `start_jump` from the set-point is not sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from safety.command import COMMAND_VERSION, Command
from safety.states import Mode, State
from teleop.geometry import Pose, check_pose, norm, pose_error
from teleop.master.jog import JogLimits, jog_step
from teleop.master.robot_view import ASKING_STATES, MOTION_STATES, RobotView, robot_view

PATH_MODES = frozenset({Mode.GOAL, Mode.ADVANCE, Mode.REHEARSAL})


@dataclass(frozen=True, slots=True)
class Intention:
    """What the operator wants now.

    mode, pressed: the chosen mode; whether the deadman is physically held.
    target: servo: base_T_target (m, unit quaternion). jog: twist in the guide frame, (m/s x 3, rad/s x 3), +z along
        the guide.
    path_hash, s_goal, horizon: goal, advance, rehearsal: the stored path, how far along it (m), and how far ahead of
        the arm's reported progress permission is given at most (m; None: all of it at once).
    plan_hash, registration_epoch: what the surgeon has in front of him; the robot compares, so do not copy them from
        its status.
    echo_state: stamp of the state frame that the page last drew; None: the newest received (headless).
    echo_view: robot stamp of the video frame shown, None without video. stop: the operator stops.
    """

    mode: Mode = Mode.GOAL
    pressed: bool = False
    target: Pose | None = None
    jog: tuple[float, ...] | None = None
    path_hash: bytes = b""
    s_goal: float | None = None
    horizon: float | None = 0.05
    plan_hash: bytes = b""
    registration_epoch: int = 0
    echo_state: int | None = None
    echo_view: int | None = None
    peer_checkpoint: bytes = b""
    stop: bool = False


class Phase(StrEnum):
    """Where the press stands, for the operator's eyes."""

    NO_ROBOT = "no robot"
    NOT_HOLDER = "not holder"
    RELEASED = "released"
    SETTLING = "settling"  # pressed, waiting for the arm to confirm the last release and stand still
    PRESSED = "pressed"  # the press goes out; the governor decides what moves
    WAITING_FOR_RELEASE = "waiting for release"


@dataclass(frozen=True, slots=True)
class MakerParams:
    """stale: without a new state frame for so long (ns, console clock) a press is over. start_jump m, start_turn rad:
    see rule 6."""

    stale: int = 500_000_000
    start_jump: float = 0.002
    start_turn: float = 0.05
    soft_resume: bool = False
    jog: JogLimits = field(default_factory=JogLimits)


class CommandMaker:
    """See the module. One maker per arm and console; `step` is called at the command rate, normally 100 Hz."""

    def __init__(self, me: str | None = None, params: MakerParams = MakerParams(), first_press: int = 1) -> None:
        """me: the key under which this console holds the arm; None: do not compare (tests, local tools)."""
        self._me, self._params = me, params
        self._ordinal = first_press - 1
        self._seq = 0
        self._view: RobotView | None = None
        self._view_at = 0
        self._echo = 0
        self._pressed_in: tuple[int, int, Mode] | None = None  # (epoch, rebase, mode) of the press that goes out
        self._moved_in: tuple[int, int] | None = None  # (epoch, rebase) in which a press of ours may have moved the arm
        self._waiting = ""
        self._resuming = False
        self._target: Pose | None = None
        self._s_limit: float | None = None
        self._last_now: int | None = None
        self.phase, self.why = Phase.NO_ROBOT, "no state frame of the robot yet"

    @property
    def view(self) -> RobotView | None:
        """The newest state frame, as understood."""
        return self._view

    def step(self, now_ns: int, robot: Mapping[str, Any] | RobotView | None, intention: Intention) -> Command | None:
        """The command of this tick, or None while there is nothing to say (rule 1).

        now_ns: console monotonic clock. robot: the newest state frame (dict or RobotView), the same one again when
        none is new. Raises ValueError for a frame or an intention that cannot be understood.
        """
        dt = 0.0 if self._last_now is None else (now_ns - self._last_now) * 1e-9
        self._last_now = now_ns
        self._take(now_ns, robot)
        view = self._view
        if view is None or not view.session:
            self._fall_silent(Phase.NO_ROBOT, "no session with the robot yet", intention)
            return None
        if self._me is not None and view.holder != self._me:
            self._fall_silent(Phase.NOT_HOLDER, f"{view.holder or 'nobody'} holds the arm: ask for control", intention)
            return None
        was_pressed = self._pressed_in is not None
        self._judge(now_ns, view, intention)
        pressed = self._pressed_in is not None
        if self._resuming:
            return None  # saying nothing keeps the press; press 0 would be a release
        if pressed and not was_pressed:
            self._ordinal = max(self._ordinal, view.press_floor) + 1
            self._target, self._s_limit = view.setpoint, None
        fields = self._motion(view, intention, dt) if pressed else {}
        if intention.echo_state is not None:
            self._echo = max(self._echo, min(intention.echo_state, view.t))
        else:
            self._echo = max(self._echo, view.t)
        self._seq += 1
        return Command(
            v=COMMAND_VERSION,
            session=view.session,
            site=view.site,
            arm=view.arm,
            epoch=view.epoch,
            seq=self._seq,
            rebase=view.rebase,
            t_console=now_ns,
            echo_state=self._echo,
            echo_view=intention.echo_view,
            mode=str(intention.mode),
            press=self._ordinal if pressed else 0,
            stop=intention.stop,
            plan_hash=intention.plan_hash,
            path_hash=intention.path_hash if intention.mode in PATH_MODES else b"",
            registration_epoch=intention.registration_epoch,
            peer_checkpoint=intention.peer_checkpoint,
            target=fields.get("target"),
            q_target=None,
            s_limit=fields.get("s_limit"),
        )

    def _take(self, now_ns: int, robot: Mapping[str, Any] | RobotView | None) -> None:
        if robot is None:
            return
        new = robot if isinstance(robot, RobotView) else robot_view(robot)
        old = self._view
        if old is not None and new.session == old.session and new.t <= old.t:
            return  # the same frame again, or one that was overtaken
        if old is None or (new.session, new.epoch) != (old.session, old.epoch):
            self._seq = new.last_seq
            self._echo = 0 if old is None or new.session != old.session else self._echo
        self._view, self._view_at = new, now_ns

    def _fall_silent(self, phase: Phase, why: str, intention: Intention) -> None:
        self._pressed_in = None
        self._waiting = "release the deadman first" if intention.pressed else ""
        self.phase, self.why = phase, why

    def _judge(self, now_ns: int, view: RobotView, intention: Intention) -> None:
        """Decide whether a press goes out in this tick; sets `_pressed_in`, `phase` and `why`."""
        mine = (view.epoch, view.rebase, intention.mode)
        if self._pressed_in is not None and view.state in MOTION_STATES:
            self._moved_in = (view.epoch, view.rebase)
        self._resuming = self._resumes(now_ns, view, intention, mine)
        if self._resuming:
            self.phase, self.why = Phase.SETTLING, "the line paused: going on when the arm stands"
            return
        over = self._over(now_ns, view, intention, mine)
        if not intention.pressed:
            self._pressed_in, self._waiting = None, ""
            self.phase, self.why = Phase.RELEASED, over if intention.stop else ""
            return
        if over and (self._pressed_in is not None or self._waiting or intention.stop):
            self._waiting = self._waiting or over
        if self._waiting:
            self._pressed_in = None
            self.phase, self.why = Phase.WAITING_FOR_RELEASE, f"{self._waiting}: release the deadman, then press again"
            return
        if self._pressed_in is None:
            unsettled = over or self._unsettled(view, intention)
            if unsettled:
                self.phase, self.why = Phase.SETTLING, unsettled
                return
        self._pressed_in = mine
        self.phase = Phase.PRESSED
        self.why = (
            "" if view.state in MOTION_STATES else f"the arm is in {view.state}: {view.reason or 'asking to move'}"
        )

    def _resumes(self, now_ns: int, view: RobotView, intention: Intention, mine: tuple[int, int, Mode]) -> bool:
        """True while a press waits for its soft resume; takes the new rebase once the arm stands."""
        held = self._pressed_in
        softly = (
            self._params.soft_resume and held is not None and intention.pressed and not intention.stop
            and view.state == State.PAUSE and view.pause_kind == "lease"
            and held != mine and (held[0], held[2]) == (mine[0], mine[2])
            and now_ns - self._view_at <= self._params.stale
        )  # fmt: skip
        if softly and view.standing:
            self._pressed_in, self._target = mine, view.setpoint
            return False
        return softly

    def _over(self, now_ns: int, view: RobotView, intention: Intention, mine: tuple[int, int, Mode]) -> str:
        """Why a press is over, or cannot begin, in this tick; "" when nothing speaks against it."""
        if intention.stop:
            return "stopped by the operator"
        if now_ns - self._view_at > self._params.stale:
            return "no fresh state from the robot"
        if view.state not in ASKING_STATES:
            return f"the arm is in {view.state}"
        held = self._pressed_in
        if held is not None and held != mine:
            if held[0] != mine[0]:
                return "control was granted anew"
            return "the arm paused" if held[1] != mine[1] else f"the mode changed to {intention.mode}"
        return ""

    def _unsettled(self, view: RobotView, intention: Intention) -> str:
        """Why a fresh press is kept back for the moment."""
        if view.state in MOTION_STATES and self._moved_in == (view.epoch, view.rebase):
            return "waiting for the arm to confirm the last release"
        if intention.mode in PATH_MODES:
            return ""
        if not view.standing:
            return "waiting for the arm to stand still"
        if intention.mode == Mode.SERVO and (intention.target is not None or intention.jog is None):
            if intention.target is None:
                return "no target from the master yet"
            d, turn = pose_error(view.setpoint, intention.target)
            if norm(d) > self._params.start_jump or norm(turn) > self._params.start_turn:
                return f"the master's target is {norm(d) * 1e3:.1f} mm and {norm(turn):.2f} rad away from the arm"
        return ""

    def _motion(self, view: RobotView, intention: Intention, dt: float) -> dict[str, Any]:
        """The one field of the command that asks for motion."""
        if intention.mode in PATH_MODES:
            if intention.s_goal is None:
                raise ValueError(f"mode {intention.mode} needs s_goal, the distance along the stored path in metres")
            progress = view.s if view.path_hash == intention.path_hash else 0.0
            limit = (
                intention.s_goal if intention.horizon is None else min(intention.s_goal, progress + intention.horizon)
            )
            # never taken back within a press: progress is measured and trembles
            self._s_limit = min(intention.s_goal, max(limit, self._s_limit or 0.0))
            return {"s_limit": self._s_limit}
        if intention.mode == Mode.JOG or intention.target is None:
            if self._target is None or view.state not in MOTION_STATES:
                self._target = view.setpoint
            else:
                self._target = jog_step(self._target, view.setpoint, intention.jog or (0.0,) * 6, dt, self._params.jog)
            return {"target": self._target}
        return {"target": check_pose(intention.target)}
