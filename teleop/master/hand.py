"""The hand: from where the master is to where the guide shall be. Engage, clutch, scale, alignment; no jump, ever.

    p_target = p_arm0 + s B (p_master - p_master0)
    R_target = (B R_master) (B R_master0)^-1 R_arm0          (scaled about its axis by `turn_scale`)

p_arm0, R_arm0 (the arm's set-point) and p_master0, R_master0 (the grip) are the *anchor*, taken together in one step;
B turns the master's axes into the arm's base (camera or table alignment); s is the motion scale. Each half is needed:
an anchor that remembers only the master jumps when the arm has moved meanwhile, one that remembers only the arm jumps
when the hand has. Everything is absolute: a lost or late reading loses nothing, because the next one says it all
again.

| state | the target | leaves when |
|---|---|---|
| DISABLED | none | enabled, the device alive, the arm known |
| ALIGNING | the arm's set-point | orientation within tolerance, operator present, deadman held and the governor lets
the arm move | | ENGAGED | the law above | deadman released, clutch, or the press is over |
| CLUTCHED | the last one, not sent | clutch released (the presence gesture is not asked again) |
| WAITING_FOR_RELEASE | none | the deadman is seen released by a living device |

The anchor is taken again, at the current target and the current grip, when scale, locks or alignment change: the
motion goes on from where it is. The alignment offset (<= tolerance at engage) is bled in proportion to how far the
hand itself turns, never by time: a hand at rest moves nothing.

Deliberately not here: filters, limits and fixtures (`teleop.master.shaping`); press ordinals and rebases
(`command_maker`, whose phase is an input). Do not re-anchor on a gap of readings: absolute poses do not need it, and
it would turn loss into drift.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import radians

from teleop.geometry import (
    Pose,
    Quat,
    norm,
    quat_angle,
    quat_conjugate,
    quat_multiply,
    quat_normalize,
    quat_rotate,
    quat_to_rotvec,
    rotvec_to_quat,
)
from teleop.master.command_maker import Phase
from teleop.master.guard import Reading
from teleop.master.presence import PresenceGesture
from teleop.master.robot_view import MOTION_STATES, RobotView
from teleop.master.sample import CLUTCH
from teleop.master.vectors import add, scaled, sub


class HandState(StrEnum):
    DISABLED = "disabled"
    ALIGNING = "aligning"
    ENGAGED = "engaged"
    CLUTCHED = "clutched"
    WAITING_FOR_RELEASE = "waiting for release"


@dataclass(frozen=True, slots=True)
class HandSettings:
    """scale: 0.05..1, metres of the guide per metre of the hand. turn_scale: 0..1, 1 as the field does it.
    base_q_master: turns master axes into the arm's base. lock_*: the guide keeps its position / orientation.
    align: compare orientations before engaging (devices with orientation only), within `tolerance` rad (dVRK: 5 deg).
    bleed: rad of offset taken away per rad of hand rotation. gesture: ask for the presence gesture (gripper
        devices)."""

    scale: float = 0.3
    turn_scale: float = 1.0
    base_q_master: Quat = (0.0, 0.0, 0.0, 1.0)
    lock_translation: bool = False
    lock_rotation: bool = False
    align: bool = False
    tolerance: float = radians(5.0)
    bleed: float = 0.1
    gesture: bool = False

    def __post_init__(self) -> None:
        if not 0.05 <= self.scale <= 1.0:
            raise ValueError(f"motion scale {self.scale} is outside 0.05 .. 1")
        if not 0.0 <= self.turn_scale <= 1.0:
            raise ValueError(f"rotation scale {self.turn_scale} is outside 0 .. 1")
        if not 0.0 < self.tolerance <= radians(45.0):
            raise ValueError(f"alignment tolerance {self.tolerance} rad is outside 0 .. 45 deg")
        if not 0.0 <= self.bleed <= 0.5:
            raise ValueError(f"bleed {self.bleed} is outside 0 .. 0.5")
        if abs(norm(self.base_q_master) - 1.0) > 1e-6:
            raise ValueError(f"base_q_master {self.base_q_master} is not a unit quaternion")


@dataclass(frozen=True, slots=True)
class HandOut:
    """target: base_T_target or None. pressed: the operator asks for motion now. anchored: the anchor was taken at the
    arm in this step, so whatever follows (filters, limits) starts at `target`. misaligned: rad between grip and
    guide. why: for the operator."""

    state: HandState
    pressed: bool
    target: Pose | None
    anchored: bool
    misaligned: float
    why: str


class Hand:
    """See the module. `step` may be called at any rate."""

    def __init__(self, settings: HandSettings | None = None) -> None:
        self._settings = settings or HandSettings()
        self.state = HandState.DISABLED
        self._presence = PresenceGesture()
        self._grip0: Pose | None = None
        self._arm0: Pose | None = None
        self._target: Pose | None = None
        self._bled: Quat = (0.0, 0.0, 0.0, 1.0)  # what has been taken out of the alignment offset so far
        self._last_q: Quat | None = None
        self._why_waiting = ""

    @property
    def settings(self) -> HandSettings:
        return self._settings

    def step(
        self,
        reading: Reading,
        grip: Pose | None,
        view: RobotView | None,
        phase: Phase,
        settings: HandSettings | None = None,
        enabled: bool = True,
    ) -> HandOut:
        """One step. grip: master_T_grip now (of a pose device its sample, of a rate device its virtual grip); phase:
        of the command maker in its last step; settings: new ones, None keeps the old; enabled: the operator wants
        this hand at all."""
        self._change(settings, grip)
        held = reading.deadman
        if not enabled or view is None or grip is None or not reading.alive:
            if self.state is HandState.ENGAGED or self.state is HandState.WAITING_FOR_RELEASE:
                self._wait("the device is gone" if not reading.alive else "the hand was switched off")
            elif self.state is not HandState.DISABLED:
                self._set(HandState.DISABLED)
            why = self._missing(enabled, view, reading)
            return HandOut(self.state, False, None, False, 0.0, why)
        wrong = self._misaligned(grip, view)
        if self.state is HandState.DISABLED and not held:
            self._presence.reset()
        self._presence.step(reading.sample)
        if self.state is HandState.WAITING_FOR_RELEASE:
            if held:
                return HandOut(self.state, False, None, False, wrong, f"{self._why_waiting}: release the deadman")
            self._set(HandState.ALIGNING)
        if self.state is HandState.DISABLED:
            if held:
                # a button that was down before anybody looked is not a press
                self._wait("the deadman was down already")
                return HandOut(self.state, False, None, False, wrong, f"{self._why_waiting}: release the deadman")
            self._set(HandState.ALIGNING)
        if self.state is HandState.ENGAGED and phase is not Phase.PRESSED:
            if held and phase is not Phase.SETTLING and not reading.holds(CLUTCH):
                self._wait("the press is over")
                return HandOut(self.state, False, None, False, wrong, f"{self._why_waiting}: release the deadman")
            self._set(HandState.ALIGNING)
        if reading.holds(CLUTCH):
            if self.state is HandState.ENGAGED or self.state is HandState.ALIGNING:
                self._set(HandState.CLUTCHED)
        elif self.state is HandState.CLUTCHED:
            self._set(HandState.ALIGNING)
        if self.state is HandState.CLUTCHED:
            return HandOut(self.state, False, self._target, False, wrong, "clutched: the hand moves, the arm does not")
        if not held:
            self._set(HandState.ALIGNING)
            self._target = None
            return HandOut(self.state, False, view.setpoint, False, wrong, self._obstacle(wrong))
        if self.state is HandState.ALIGNING:
            why = self._obstacle(wrong)
            if why:
                return HandOut(self.state, False, view.setpoint, False, wrong, why)
            self._anchor(grip, view.setpoint)
            moving = phase is Phase.PRESSED and view.state in MOTION_STATES
            if moving:
                self._set(HandState.ENGAGED)
            return HandOut(self.state, True, self._target, True, wrong, "" if moving else "asking the arm")
        self._target = self._law(grip)
        return HandOut(self.state, True, self._target, False, wrong, "")

    def slip(self, by: tuple[float, float, float]) -> None:
        """Move the anchor by `by` (m, base frame): the part of the hand's way that the arm was not allowed to
        follow."""
        if self._arm0 is not None and self._target is not None:
            self._arm0 = (*add(self._arm0, by), *self._arm0[3:])
            self._target = (*add(self._target, by), *self._target[3:])

    def lay_down(self, trusted: bool = True) -> None:
        """Another device is in the hand now: whatever was engaged is not. trusted: that device was seen released; if not,
        a deadman that is down now does not count until it was."""
        if self.state is HandState.ENGAGED or self.state is HandState.CLUTCHED:
            self.state, self._target = HandState.ALIGNING, None
        if not trusted and self.state is HandState.ALIGNING:
            self.state = HandState.DISABLED
        self._presence.reset()

    # --- the law

    def _anchor(self, grip: Pose, arm: Pose) -> None:
        self._grip0, self._arm0, self._target = grip, arm, arm
        self._bled, self._last_q = (0.0, 0.0, 0.0, 1.0), None

    def _law(self, grip: Pose) -> Pose:
        s = self._settings
        assert self._grip0 is not None and self._arm0 is not None
        p = self._arm0[:3]
        if not s.lock_translation:
            p = add(p, scaled(quat_rotate(s.base_q_master, sub(grip, self._grip0)), s.scale))
        q: tuple[float, ...] = self._arm0[3:]
        if not s.lock_rotation:
            turn = quat_multiply(grip[3:], quat_conjugate(self._grip0[3:]))
            rv = scaled(quat_rotate(s.base_q_master, quat_to_rotvec(turn)), s.turn_scale)
            q = quat_normalize(quat_multiply(self._bled, quat_multiply(rotvec_to_quat(rv), q)))
            if s.align and s.turn_scale == 1.0:
                q = self._bleed(grip, q)
        return (*p, *q)

    def _bleed(self, grip: Pose, q: Quat) -> Quat:
        """q turned toward the grip's own orientation, by `bleed` times what the hand has turned since the last
        step."""
        b_q = quat_normalize(quat_multiply(self._settings.base_q_master, grip[3:]))
        if self._last_q is not None:
            offset = quat_to_rotvec(quat_multiply(b_q, quat_conjugate(q)))
            left = norm(offset)
            if left > 1e-9:
                step = min(left, self._settings.bleed * quat_angle(b_q, self._last_q))
                turn = rotvec_to_quat(scaled(offset, step / left))
                self._bled, q = quat_normalize(quat_multiply(turn, self._bled)), quat_normalize(quat_multiply(turn, q))
        self._last_q = b_q
        return q

    # --- the states

    def _change(self, settings: HandSettings | None, grip: Pose | None) -> None:
        """Take new settings; in mid-motion re-anchor at the current target, so that nothing jumps."""
        if settings is None or settings == self._settings:
            return
        unlocked = self._settings.lock_rotation and not settings.lock_rotation
        self._settings = settings
        if self.state is not HandState.ENGAGED or grip is None or self._target is None:
            return
        if unlocked and settings.align:
            self._wait("the orientation was unlocked, align again")
            return
        self._anchor(grip, self._target)

    def _set(self, state: HandState) -> None:
        self.state = state

    def _wait(self, why: str) -> None:
        if self.state is not HandState.WAITING_FOR_RELEASE:
            self._why_waiting = why
        self.state, self._target = HandState.WAITING_FOR_RELEASE, None

    def _misaligned(self, grip: Pose, view: RobotView) -> float:
        if not self._settings.align:
            return 0.0
        return quat_angle(quat_multiply(self._settings.base_q_master, grip[3:]), view.setpoint[3:])

    def _obstacle(self, wrong: float) -> str:
        s = self._settings
        if s.align and wrong > s.tolerance:
            return (
                f"turn the grip by {wrong * 57.29578:.0f} deg to match the guide (within {s.tolerance * 57.29578:.0f})"
            )
        if s.gesture and not self._presence.seen:
            return "pinch or twist the grip a little, to show that you are there"
        return ""

    @staticmethod
    def _missing(enabled: bool, view: RobotView | None, reading: Reading) -> str:
        if not enabled:
            return "the hand is switched off"
        if not reading.alive:
            return "no master device, or it is silent"
        return "no state from the robot" if view is None else "no pose from the master"
