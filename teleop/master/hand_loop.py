"""`HandLoop`: everything between a device and the link, in the order in which it happens. Two calls:

    loop.feel(now_ns, samples)                    # at the device's rate, 100-1000 Hz
    command = loop.command(now_ns, frame, wish)   # at 100 Hz, with the newest state frame of the robot

    sample ─► guard ─► (rate grip) ─► hand ─► shaper ─► command maker ─► Command

Pure: no clock, no socket. `last` holds what a console shows: states, reasons, changes, events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from safety.command import Command
from safety.states import Mode
from teleop.geometry import Pose, pose_error, quat_conjugate, quat_rotate
from teleop.master.command_maker import CommandMaker, Intention, MakerParams
from teleop.master.device import Capabilities
from teleop.master.guard import GuardParams, Reading, SampleGuard
from teleop.master.hand import Hand, HandOut, HandSettings, HandState
from teleop.master.rate_grip import RateGrip, RateParams, shaped_twist
from teleop.master.robot_view import RobotView
from teleop.master.sample import MasterSample
from teleop.master.selector import DeviceSelector
from teleop.master.shaping import Shaped, Shaper, ShapingParams
from teleop.master.user_scale import ScaleLadder, UserScale

#: A pose device in jog mode is a joystick: this displacement from the press is full deflection, m and rad.
JOG_FULL, JOG_FULL_TURN = 0.03, 0.5
#: Pages can stall, so a browser device may ask for less, m/s and rad/s.
BROWSER_SPEED, BROWSER_TURN = 0.010, 0.10


@dataclass(frozen=True, slots=True)
class Report:
    """What the console shows of the hand after a step."""

    device: str | None
    reading: Reading | None
    hand: HandOut | None
    shaped: Shaped | None
    scale: float
    events: tuple[str, ...] = ()


@dataclass(slots=True)
class _Channel:
    """One device at this console."""

    capabilities: Capabilities
    guard: SampleGuard
    grip: RateGrip
    reading: Reading | None = None
    pose: Pose | None = None
    press_pose: Pose | None = None


@dataclass
class HandLoop:
    """See the module.

    devices: capabilities of every device that may be used. settings: alignment and locks; its `scale` is replaced by
    `scale`, the surgeon's own with its latency ladder."""

    devices: Mapping[str, Capabilities]
    me: str | None = None
    settings: HandSettings = field(default_factory=HandSettings)
    scale: UserScale = field(default_factory=UserScale)
    shaping: ShapingParams = field(default_factory=ShapingParams)
    rate: RateParams = field(default_factory=RateParams)
    guard: GuardParams = field(default_factory=GuardParams)
    maker_params: MakerParams = field(default_factory=MakerParams)

    def __post_init__(self) -> None:
        self.maker = CommandMaker(self.me, self.maker_params)
        self.hand, self.shaper = Hand(), Shaper(self.shaping)
        self.selector, self._ladder = DeviceSelector(), ScaleLadder(self.scale)
        self._channels: dict[str, _Channel] = {}
        for name, c in self.devices.items():
            self.announce(name, c)
        self._scale = self.scale.scale
        self._released = True  # somebody let go since the last command
        self._active: str | None = None
        self._rested: set[str] = set()  # devices that are there and were seen released since they came
        self.last = Report(None, None, None, None, self._scale)

    def feel(self, now_ns: int, samples: Mapping[str, MasterSample | None], enabled: bool = True) -> Report:
        """One step of the hand. samples: by device name what each device's `read` gave; not to be named is to say nothing.

        Raises KeyError for a device that was not announced."""
        events: list[str] = []
        if unknown := samples.keys() - self._channels.keys():
            raise KeyError(f"devices that were not announced: {', '.join(sorted(unknown))}")
        for name, c in self._channels.items():
            if name not in samples and c.reading is None:
                continue
            # a device that is not mentioned has said nothing: it ages, and falls silent
            sample = samples.get(name)
            c.reading = c.guard.step(now_ns, sample)
            events += c.reading.events
            self._grip(now_ns, c)
        readings = {n: c.reading for n, c in self._channels.items() if c.reading is not None}
        for name, r in readings.items():
            if not r.alive:
                self._rested.discard(name)
            elif not r.deadman:
                self._rested.add(name)
        active, said = self.selector.step(readings)
        events += said
        if active is not None and active != self._active:
            # a device that nobody has seen released yet (plugged in, or back, with its button down) is no press
            self.hand.lay_down(trusted=active in self._rested)
            self._released = True
        self._active = active or self._waiting_one(readings)
        channel = self._channels.get(self._active or "")
        if channel is None or channel.reading is None:
            self._released = True
            self.last = Report(self._active, None, None, None, self._scale, tuple(events))
            return self.last
        view, reading = self.maker.view, channel.reading
        align = self.settings.align and channel.capabilities.orientation
        settings = replace(self.settings, scale=self._scale, align=align)
        out = self.hand.step(reading, channel.pose, view, self.maker.phase, settings, enabled)
        shaped = None
        if out.target is not None and view is not None:
            if out.anchored or not out.pressed:
                self.shaper.reset(now_ns, out.target)
            speed, turn = self._caps(channel.capabilities, view)
            shaped = self.shaper.step(now_ns, out.target, speed, turn, self._push(reading))
            if shaped.slip != (0.0, 0.0, 0.0):
                self.hand.slip(shaped.slip)
        self._released = self._released or not reading.deadman
        self.last = Report(self._active, reading, out, shaped, self._scale, tuple(events))
        return self.last

    def announce(self, name: str, capabilities: Capabilities) -> None:
        """One more device that may be used. Raises ValueError for a name that is taken."""
        if name in self._channels:
            raise ValueError(f"there is a device {name!r} already")
        self._channels[name] = _Channel(capabilities, SampleGuard(capabilities, self.guard), RateGrip(self.rate))

    @property
    def active(self) -> str | None:
        """Name of the device in use: the one whose deadman is held, or was last."""
        return self._active

    def last_samples(self) -> dict[str, MasterSample | None]:
        """By device: its newest good reading, None before the first."""
        return {name: c.reading.sample if c.reading else None for name, c in self._channels.items()}

    def use_scale(self, scale: UserScale) -> None:
        """The surgeon chose another scale or ladder; in mid-motion the hand takes its anchor again, without a jump."""
        self.scale, self._ladder = scale, ScaleLadder(scale)
        self._scale = self._ladder.step(self.maker.view.loop_age if self.maker.view else 0.0)

    def use_shaping(self, shaping: ShapingParams) -> bool:
        """Another tremor filter or other limits. False, and nothing changes, while the hand moves the arm: a filter's
        memory cannot be exchanged without a step."""
        if shaping == self.shaping:
            return True
        if self.hand.state is HandState.ENGAGED:
            return False
        fixtures, admittance = self.shaper.fixtures
        self.shaping, self.shaper = shaping, Shaper(shaping)
        self.shaper.set_fixtures(fixtures, admittance)
        return True

    def _waiting_one(self, readings: Mapping[str, Reading]) -> str | None:
        """Whose readings the hand goes by while nobody holds a deadman: the last device, or one that is there."""
        now = self._active or next(iter(self._channels), None)
        gone = now is None or now not in readings or not readings[now].alive
        if gone and self.hand.state is HandState.DISABLED:
            return next((n for n, r in readings.items() if r.alive), now)
        return now

    def command(
        self, now_ns: int, frame: Mapping[str, Any] | RobotView | None, wish: Intention, permitted: bool = True
    ) -> Command | None:
        """The command of this tick. wish: mode, path, plan, echoes, stop; its `pressed`, `target`, `jog` come from
        the hand. permitted: False withdraws the press whatever the device says (a console has rules of its own: which
        page, which hospital, how old); the hand then waits for a release.

        A deadman that was let go between two commands counts as released in this one, however short it was."""
        out, channel = self.last.hand, self._channels.get(self._active or "")
        reading = None if channel is None else channel.reading
        held = permitted and reading is not None and reading.deadman and not self._released and out is not None
        if wish.mode == Mode.SERVO:
            held = held and out is not None and out.pressed
        self._released = False
        target = None if self.last.shaped is None else self.last.shaped.target
        jog = None if channel is None else self._jog(channel, held)
        command = self.maker.step(now_ns, frame, replace(wish, pressed=held, target=target, jog=jog))
        if self.maker.view is not None:
            self._scale = self._ladder.step(self.maker.view.loop_age)
        return command

    def _grip(self, now_ns: int, c: _Channel) -> None:
        r = c.reading
        if r is None or r.sample is None or not r.alive:
            c.pose = None if c.capabilities.kind == "pose" else c.pose
            c.grip.step(now_ns, (0.0,) * 6, False)
            return
        if r.sample.pose is not None:
            c.pose = r.sample.pose
        elif r.sample.twist is not None:
            c.pose = c.grip.step(now_ns, r.sample.twist, r.deadman)

    def _jog(self, c: _Channel, held: bool) -> tuple[float, ...]:
        r = c.reading
        if not held or r is None or r.sample is None:
            c.press_pose = None
            return (0.0,) * 6
        twist = r.sample.twist
        if twist is None and c.pose is not None:
            c.press_pose = c.press_pose or c.pose
            d, turn = pose_error(c.press_pose, c.pose)
            # the grip as it was at the press is the joystick's frame
            back = quat_conjugate(c.press_pose[3:])
            d, turn = quat_rotate(back, d), quat_rotate(back, turn)
            twist = tuple(x / JOG_FULL for x in d) + tuple(x / JOG_FULL_TURN for x in turn)
        params = self.rate
        if c.capabilities.grade == "browser":
            params = replace(params, speed=min(params.speed, BROWSER_SPEED), turn=min(params.turn, BROWSER_TURN))
        return shaped_twist(twist or (0.0,) * 6, params)

    def _push(self, reading: Reading) -> tuple[float, ...] | None:
        """The operator's wrench in the arm's base frame, where the device measures one."""
        if reading.sample is None or reading.sample.wrench is None:
            return None
        w, q = reading.sample.wrench, self.settings.base_q_master
        return (*quat_rotate(q, w[:3]), *quat_rotate(q, w[3:]))

    @staticmethod
    def _caps(c: Capabilities, view: RobotView) -> tuple[float, float]:
        if c.grade == "browser":
            return min(view.v_cap, BROWSER_SPEED), min(view.w_cap, BROWSER_TURN)
        return view.v_cap, view.w_cap
