"""`SampleGuard`: what a device says, judged before anything believes it. Pure; one guard per device.

| what the device does | what happens |
|---|---|
| NaN, infinity, a quaternion off unit length | the reading is dropped and counted; the last good one goes on until
`silence` | | no new reading for `silence` | not alive: the hand lets go (freeze, hot-unplug, stalled page) |
| new sequence numbers with an old device time | a repeated reading is not a new one: same as no reading |
| `connected` false | not alive at once |
| device clock steps | noted; nothing is timed by the device's clock |
| rate far from the announced one | noted; nothing counts samples, so nothing changes |
| an axis at its end | noted, used as it is |
| pose jumps faster than a hand moves | not alive until the deadman is seen released: a tracker that lost and found
its target |
"""

from dataclasses import dataclass, replace
from math import isfinite

from teleop.geometry import check_pose, norm, quat_angle
from teleop.master.device import Capabilities
from teleop.master.sample import DEADMAN, MasterSample
from teleop.master.vectors import sub

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class GuardParams:
    """silence ns; clock_step ns; hand_speed m/s and hand_turn rad/s: faster than a hand at an instrument moves (peak
    hand speeds in free reaching are 1-2 m/s); slack m, rad: noise allowed at any rate; rate_off: factor."""

    silence: int = 100 * MS
    clock_step: int = 50 * MS
    hand_speed: float = 3.0
    hand_turn: float = 30.0
    slack: float = 0.005
    slack_turn: float = 0.1
    rate_off: float = 1.5


@dataclass(frozen=True, slots=True)
class Reading:
    """A judged reading. `sample`: the newest good one or None; `alive`: it may be believed now; `fresh`: it came in
    this step; `events`: what was noticed in this step, in words."""

    sample: MasterSample | None
    alive: bool
    fresh: bool
    events: tuple[str, ...] = ()

    @property
    def deadman(self) -> bool:
        """The operator holds the deadman, as far as a device that is there says."""
        return self.alive and self.sample is not None and self.sample.deadman

    def holds(self, button: str) -> bool:
        """`button` is held on a device that is there."""
        return self.alive and self.sample is not None and button in self.sample.buttons


class SampleGuard:
    """See the module. `counts` says how often each thing was seen."""

    def __init__(self, capabilities: Capabilities, params: GuardParams | None = None) -> None:
        self._caps, self._params = capabilities, params or GuardParams()
        self._last: MasterSample | None = None
        self._offset: int | None = None
        self._interval: float | None = None
        self._rate_said = False
        self._jumped = False
        self._was_alive = False
        self.counts: dict[str, int] = {}

    def step(self, now_ns: int, sample: MasterSample | None) -> Reading:
        """Judge what was read at `now_ns` (console monotonic); None when the device had nothing new."""
        events: list[str] = []
        fresh = False
        if sample is not None:
            if not self._caps.deadman and DEADMAN in sample.buttons:
                # a press on a device whose loss would go unnoticed is no press
                sample = replace(sample, buttons=sample.buttons - {DEADMAN})
            wrong = self._wrong(sample)
            if wrong:
                self._note(events, "dropped", wrong)
            elif not sample.connected:
                self._note(events, "gone", sample.note or "the device is gone")
                self._last = replace(self._last or sample, connected=False, buttons=frozenset())
            elif self._repeats(sample):
                self._note(events, "repeated", f"reading {sample.seq} came again")
            else:
                fresh = self._accept(sample, events)
        last, p = self._last, self._params
        alive = last is not None and last.connected and not self._jumped
        if alive and last is not None and now_ns - max(last.t_host, 0) > p.silence:
            alive = False
        if self._was_alive and not alive and last is not None and last.connected and not self._jumped:
            self._note(events, "silent", f"no new reading for {p.silence // MS} ms")
        self._was_alive = alive
        return Reading(last, alive, fresh, tuple(events))

    def _note(self, events: list[str], kind: str, words: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        events.append(f"{self._caps.name}: {words}")

    def _repeats(self, s: MasterSample) -> bool:
        """An old number, unless the device was gone or silent before: then it counts anew (a page that was
        reloaded)."""
        last = self._last
        return (
            last is not None and last.connected and s.seq <= last.seq and s.t_host - last.t_host <= self._params.silence
        )

    def _wrong(self, s: MasterSample) -> str:
        for name in ("twist", "wrench"):
            v = getattr(s, name)
            if v is not None and (len(v) != 6 or not all(map(isfinite, v))):
                return f"{name} {v} is not six finite numbers"
        if s.gripper is not None and not isfinite(s.gripper):
            return f"gripper angle {s.gripper} is not finite"
        if s.pose is not None:
            try:
                check_pose(s.pose)
            except ValueError as e:
                return str(e)
        if s.connected and self._caps.kind == "pose" and s.pose is None:
            return "a pose device sent no pose"
        if s.connected and self._caps.kind == "rate" and s.twist is None:
            return "a rate device sent no deflection"
        return ""

    def _accept(self, s: MasterSample, events: list[str]) -> bool:
        last, p = self._last, self._params
        returned = last is None or not last.connected or s.t_host - last.t_host > p.silence
        if s.t_device is not None:
            offset = s.t_host - s.t_device
            if last is not None and last.connected and s.t_device == last.t_device:
                self._note(events, "repeated", "a new number on an old reading: the device is frozen")
                self._last = replace(last, seq=s.seq)
                return False
            if self._offset is not None and not returned and abs(offset - self._offset) > p.clock_step:
                ms = (self._offset - offset) / MS
                self._note(events, "clock_step", f"its clock stepped by {ms:.0f} ms; it is not used for timing")
            self._offset = offset
        if s.saturated and (last is None or s.saturated != last.saturated):
            self._note(events, "saturated", f"axis {', '.join(s.saturated)} at its end")
        if last is not None and not returned:
            self._rate(s.t_host - last.t_host, events)
            dt = (s.t_host - last.t_host) * 1e-9
            if s.pose is not None and last.pose is not None and dt <= p.silence * 1e-9:
                moved, turned = norm(sub(s.pose[:3], last.pose[:3])), quat_angle(s.pose[3:], last.pose[3:])
                if moved > p.slack + p.hand_speed * dt or turned > p.slack_turn + p.hand_turn * dt:
                    self._note(events, "jump", f"the pose jumped by {moved * 1e3:.1f} mm, {turned:.2f} rad: let go")
                    self._jumped = True
        if not s.deadman:
            self._jumped = False
        self._last = s
        return True

    def _rate(self, interval_ns: int, events: list[str]) -> None:
        if interval_ns <= 0:
            return
        # about 50 readings of memory: bursts pass, a changed rate does not
        self._interval = interval_ns if self._interval is None else 0.98 * self._interval + 0.02 * interval_ns
        factor = 1e9 / self._interval / self._caps.rate_hz
        off = factor > self._params.rate_off or factor < 1.0 / self._params.rate_off
        if off and not self._rate_said:
            self._note(
                events, "rate", f"delivers {factor * self._caps.rate_hz:.0f} Hz, not {self._caps.rate_hz:.0f} Hz"
            )
        self._rate_said = off
