"""A hand over a line, closed loop, in virtual time: device, `HandLoop`, channel, the real governor step, the real
drive, a kinematic arm.

One process, one virtual clock, nothing waits; a seed is a run. The operator is simulated where a recording cannot
answer: when the press
is over he releases after `reaction` seconds, presses again after `pause`, acknowledges a HOLD; after a STOP the
bedside re-arms and
grants again. Everything else is what a site and a console run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import thread_time_ns
from typing import Any

import msgpack
import numpy as np

from safety.inputs import BeatIn, CommandIn, HaltOut, LeaseOut, LinkIn, ReportIn, TickIn, VerdictOut
from safety.states import Mode, State
from safety.status import status_of
from sim.campaign.rig import PLAN, SURGEON, Rig
from sim.kinematic_arm import KinematicArm
from sim.network.channel import Channel, Line
from teleop.arm.arm_loop import ArmLoop
from teleop.arm.drive import drive_params
from teleop.arm.kinematics import warm
from teleop.arm.model import load_model
from teleop.geometry import Pose, norm, pose_error
from teleop.master.command_maker import Intention, MakerParams, Phase
from teleop.master.device import MasterDevice
from teleop.master.fixtures import Fixture
from teleop.master.hand import HandSettings, HandState
from teleop.master.hand_loop import HandLoop
from teleop.master.prediction import Predictor
from teleop.master.robot_view import MOTION_STATES
from teleop.master.sample import DEADMAN, MasterSample
from teleop.master.shaping import ShapingParams
from teleop.master.user_scale import UserScale

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the hand is set up in a trial."""

    name: str
    tremor: str = "normal"
    scale: UserScale = field(default_factory=UserScale)
    soft_resume: bool = False
    fixtures: tuple[Fixture, ...] = ()


@dataclass(slots=True)
class Trace:
    """What was seen, one row per command period (10 ms): times s, positions m. wish: what the hand asked for; target:
    what was commanded; arm:
    the drive's reference at the same instant. engaged: rows in which all three mean something."""

    t: list[float] = field(default_factory=list)
    wish: list[tuple[float, ...]] = field(default_factory=list)
    target: list[tuple[float, ...]] = field(default_factory=list)
    arm: list[tuple[float, ...]] = field(default_factory=list)
    engaged: list[bool] = field(default_factory=list)
    pedal: list[bool] = field(default_factory=list)
    moving: list[bool] = field(default_factory=list)
    capped: list[bool] = field(default_factory=list)
    presses: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """The trace and the counts of a trial. jumps: metres, at every transition; feel_us: processing time of each hand
    step, microseconds."""

    trace: Trace
    jumps: list[float]
    feel_us: list[float]
    prediction_mm: list[float]
    pauses: int
    holds: int
    stops: int
    accepted: int
    rejected: dict[str, int]
    rtt_ms: list[float]


class _ListDoor:
    """arm.sock without a socket."""

    def __init__(self) -> None:
        self.to_arm: list[dict[str, Any]] = []

    def poll(self, *, accept: bool = True) -> Sequence[dict[str, Any]]:
        waiting, self.to_arm = self.to_arm, []
        return waiting

    def send(self, packet: bytes) -> bool:
        return True


class HandTrial:
    """See the module. `run` goes on for so many seconds; `close` gives the outcome."""

    def __init__(
        self,
        device: MasterDevice,
        line: Line,
        scheme: Scheme,
        *,
        seed: int = 1,
        settings: HandSettings | None = None,
        reaction: float = 0.5,
        pause: float = 0.3,
        model: str = "iiwa7",
        second: MasterDevice | None = None,
    ) -> None:
        """second: another device at the same console."""
        self.rig = Rig(require_rehearsal=False)
        arm_model = load_model(model)
        kin = warm(arm_model)
        self.door = _ListDoor()
        self.arm = ArmLoop(KinematicArm(arm_model, seed), drive_params(kin), self.door, self.rig.now)
        self.rig.report = self._report  # type: ignore[assignment]
        self.device, self.name = device, device.capabilities.name
        self.second = second
        self.events: list[str] = []
        others = {second.capabilities.name: second.capabilities} if second else {}
        self.loop = HandLoop(
            {self.name: device.capabilities, **others},
            me=SURGEON,
            settings=settings or HandSettings(),
            scale=scheme.scale,
            shaping=ShapingParams(tremor=scheme.tremor),
            maker_params=MakerParams(soft_resume=scheme.soft_resume),
        )
        self.loop.shaper.set_fixtures(scheme.fixtures)
        self.predictor = Predictor()
        self._reaction, self._pause = int(reaction * 1e9), int(pause * 1e9)
        self._let_go_at: int | None = None
        self._let_go_until = 0
        self._held_since = 0
        self._stopped_at: int | None = None
        self._frame: dict[str, Any] | None = None
        self._granted()
        start = self.rig.now
        self.up, self.down = Channel(line, seed, start), Channel(line, seed + 1, start)
        self.out = Outcome(Trace(), [], [], [], 0, 0, 0, 0, {}, [])
        self._start = start
        self._pedal = False
        self._last: tuple[Pose, Pose, float] | None = None

    # --- the site

    def _report(self, **_: Any) -> list[Any]:
        if self.arm.report is None:
            self.arm.tick(self.rig.now)
        assert self.arm.report is not None
        return self.rig.do(ReportIn(self.rig.now, replace(self.arm.report, stamp=self.rig.now)))

    def _granted(self) -> None:
        """READY with our surgeon as holder; the two seconds of a healthy line pass on a quiet one."""
        self.rig.ready()
        self.rig.qualified()
        self.rig.scene()
        self.rig.must("grant", holder=SURGEON)
        for _ in range(250):
            self.rig.pass_time(10 * MS)
            self.rig.send(press=0)

    def _deliver(self, outputs: list[Any]) -> None:
        for o in outputs:
            if isinstance(o, LeaseOut):
                lease = {"t": "lease", **{k: getattr(o.lease, k) for k in o.lease.__slots__}}
                self.door.to_arm.append(msgpack.unpackb(msgpack.packb(lease)))
            elif isinstance(o, HaltOut):
                self.door.to_arm.append({"t": "halt", "why": o.why})
            elif isinstance(o, VerdictOut):
                self.out.rejected[o.reason] = self.out.rejected.get(o.reason, 0) + 1

    def _do(self, i: Any) -> None:
        before = self.rig.s.state
        self._deliver(self.rig.do(i))
        after = self.rig.s.state
        if after is not before:
            self.out.pauses += after is State.PAUSE
            self.out.holds += after is State.HOLD
            if after is State.STOP:
                self.out.stops += 1
                self._stopped_at = self.rig.now

    def _site_tick(self, now: int) -> None:
        assert self.arm.report is not None
        self._do(ReportIn(now, self.arm.report))
        for role in ("gateway", "recorder", "case"):
            self._do(BeatIn(now, role, ""))
        if now // MS % 100 == 0:
            rtt = 2e-6 * self.up.line.delay.draw(now - self._start, self.up._rng)
            self.out.rtt_ms.append(rtt)
            self._do(LinkIn(now, [{"alive": True, "rtt_ms": rtt, "loss": 0.0}] * 2))
        self._do(TickIn(now, 0, 0))
        report = self.arm.report
        status = status_of(self.rig.s, self.rig.params)
        arm = {k: getattr(report, k) for k in ("pose", "setpoint", "speed", "force", "s", "path_hash", "drive")}
        self.down.push(now, msgpack.packb({"t": now, "arm": arm, "gov": status, "tracker": None, "video": None}))
        self._bedside(now)

    def _bedside(self, now: int) -> None:
        s = self.rig.s
        if s.state is State.HOLD and not s.acked and now - s.since > self._reaction * 2:
            self.rig.order("ack", key=SURGEON)
        if self._stopped_at is not None and now - self._stopped_at > 10_000 * MS and s.state is State.STOP:
            self._stopped_at = None
            self.rig.order("rearm")
            self.rig.order("request", key=SURGEON)
            self.rig.order("grant", holder=SURGEON)

    # --- the surgeon

    def _operator(self, now: int, sample: MasterSample | None) -> MasterSample | None:
        """The recording's hand; its deadman is let go and pressed again where a person would."""
        hand = self.loop.last.hand
        waits = self.loop.maker.phase is Phase.WAITING_FOR_RELEASE or (
            hand is not None and hand.state is HandState.WAITING_FOR_RELEASE
        )
        if self._let_go_at is None and waits and now >= self._let_go_until:
            self._let_go_at = now + self._reaction
        if self._let_go_at is not None and now >= self._let_go_at:
            self._let_go_until, self._let_go_at = now + self._pause, None
        if sample is None:
            return None
        self._pedal = sample.deadman
        if now < self._let_go_until:
            return replace(sample, buttons=sample.buttons - {DEADMAN})
        return sample

    def run(self, seconds: float) -> "HandTrial":
        """Go on for so many seconds of virtual time."""
        end = self.rig.now + int(seconds * 1e9)
        wish = Intention(mode=Mode.SERVO, plan_hash=PLAN, registration_epoch=1)
        while self.rig.now < end:
            now = self.rig.now = self.rig.now + MS
            sample = self._operator(now, self.device.read(now))
            if sample is not None or now // MS % 10 == 0:
                self._feel(now, sample)
                self.events += self.loop.last.events
            for packet in self.down.due(now):
                frame = msgpack.unpackb(packet)
                if self._frame is None or frame["t"] > self._frame["t"]:
                    self._frame = frame
            if now // MS % 10 == 5:
                self._command(now, wish)
            for packet in self.up.due(now):
                self._do(CommandIn(now, "gateway", SURGEON, 0, packet))
            if now // MS % 2 == 0:
                self.arm.tick(now)
            if now // MS % 10 == 0:
                self._site_tick(now)
        return self

    def _feel(self, now: int, sample: MasterSample | None) -> None:
        hand, view = self.loop.hand, self.loop.maker.view
        state, settings = hand.state, hand.settings
        begin = thread_time_ns()
        samples = {self.name: sample}
        if self.second is not None:
            samples[self.second.capabilities.name] = self.second.read(now)
        report = self.loop.feel(now, samples)
        self.out.feel_us.append(1e-3 * (thread_time_ns() - begin))
        out = report.hand
        if out is None or out.target is None:
            self._last = None
            return
        grip = self.loop._channels[self.name].pose
        assert grip is not None and view is not None
        if out.state is HandState.ENGAGED and state is not HandState.ENGAGED:
            d, turn = pose_error(view.setpoint, out.target)
            self.out.jumps.append(norm(d) + norm(turn))
        elif out.state is HandState.ENGAGED and self._last is not None and hand.settings != settings:
            # in the step of a change the target may move by what the hand moved, not more
            moved, was = norm(pose_error(self._last[1], grip)[0]), self._last[0]
            reach = max(settings.scale, hand.settings.scale) * moved
            self.out.jumps.append(max(0.0, norm(pose_error(was, out.target)[0]) - reach))
        assert report.shaped is not None
        slip = report.shaped.slip
        shifted = tuple(a + b for a, b in zip(out.target[:3], slip, strict=True))
        self._last = ((*shifted, *out.target[3:]), grip, now * 1e-9) if out.pressed else None

    def _command(self, now: int, wish: Intention) -> None:
        command = self.loop.command(now, self._frame, wish)
        view = self.loop.maker.view
        if view is not None and (error := self.predictor.answered(view)) is not None:
            self.out.prediction_mm.append(1e3 * error.distance)
        if command is not None:
            self.predictor.sent(command.seq, command.press, command.target)
            self.up.push(now, msgpack.packb(command.to_wire()))
        last, tr, report = self.loop.last, self.out.trace, self.arm.report
        assert report is not None
        hand, shaped = last.hand, last.shaped
        engaged = hand is not None and hand.state is HandState.ENGAGED and shaped is not None and command is not None
        tr.t.append((now - self._start) * 1e-9)
        tr.engaged.append(engaged and command is not None and command.press > 0)
        tr.wish.append(hand.target[:3] if engaged and hand is not None and hand.target is not None else (np.nan,) * 3)
        tr.target.append(shaped.target[:3] if engaged and shaped is not None else (np.nan,) * 3)
        tr.arm.append(report.setpoint[:3])
        tr.pedal.append(self._pedal)
        tr.moving.append(self.rig.s.state in MOTION_STATES and command is not None and command.press > 0)
        tr.capped.append(shaped is not None and shaped.slip != (0.0, 0.0, 0.0))
        tr.presses.append(command.press if command is not None else 0)

    def close(self) -> Outcome:
        self.out.accepted = self.rig.s.accepted
        return self.out
