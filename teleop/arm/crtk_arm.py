"""`CrtkArmDriver`: any external arm that speaks CRTK as an `ArmDriver`, without ROS in it.

Read: `measured_js` (and `measured_cf` where it exists). Write: `servo_jp`, once per period.
`longhand_ros.crtk_arm_driver` is the ROS end; it
calls the `on_*` methods with what arrived and implements `CrtkArmLink`. What a controller must guarantee so that our
travel bound holds
behind it is written in docs/arm-guarantees.md; what can be checked from here is checked, and a failed check is a
`DriverError`, which
ends the motion and is a FAULT:

- joints by name, all of them, finite; a stamp of 0 says that the data are not valid, and is no reading;
- `measured_js` not older than `silence`; positions must follow what was sent: not more than `lag` behind it;
- ENABLED and homed whenever a reference is written; any other state ends it;
- a reference is refused here, before the arm sees it, when it is not finite, outside the limits, or further from the
last one than the
  joint speed allows. `servo_jp` is sent only with the brakes off; with the brakes on the arm was told to `hold` and
  nothing is sent.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from teleop.arm.driver import Array, DriverError, EncoderSample

#: A speed limit is a limit, not a target: references may differ from it by rounding and one period of jitter.
SPEED_SLACK = 1.5


class CrtkArmLink(Protocol):
    """What goes to the arm."""

    def servo_jp(self, q: Sequence[float]) -> None:
        """One joint set-point, rad, in the order of `joint_names`."""

    def state_command(self, command: str) -> None:
        """enable, disable, home, pause, resume."""

    def hold(self) -> None:
        """Stop where you are."""


class CrtkArmDriver:
    """See the module. lag rad: how far the arm may be behind its reference; silence ns."""

    def __init__(
        self,
        link: CrtkArmLink,
        joint_names: Sequence[str],
        lower: Array,
        upper: Array,
        v_max: Array,
        period_ns: int = 4_000_000,
        silence_ns: int = 100_000_000,
        lag: float = 0.10,
    ) -> None:
        n = len(joint_names)
        self.joint_names = tuple(joint_names)
        self.lower, self.upper, self.v_max = (np.asarray(x, dtype=np.float64) for x in (lower, upper, v_max))
        for name, limits in (("lower", self.lower), ("upper", self.upper), ("v_max", self.v_max)):
            if limits.shape != (n,):
                raise DriverError(f"CRTK arm: {name} has {limits.size} values for {n} joints")
        self.period_ns = period_ns
        self._link, self._silence, self._lag = link, silence_ns, lag
        self._q = np.zeros(n)
        self._dq = np.zeros(n)
        self._tau = np.zeros(n)
        self._force = 0.0
        self._heard: int | None = None
        self._stamp = 0
        self._wrong = ""
        self._sent: Array | None = None
        self._sent_ns = 0
        self._now = 0
        self._brakes = True
        self.state, self.homed = "", False

    # --- from the ROS end

    def on_measured_js(
        self,
        names: Sequence[str],
        position: Sequence[float],
        velocity: Sequence[float],
        effort: Sequence[float],
        stamp_ns: int,
        now_ns: int,
    ) -> None:
        """A measured_js. Vectors other than position may be empty. Wrong ones are remembered and raised by `read`."""
        if stamp_ns == 0:
            return  # CRTK: not valid
        n = len(self.joint_names)
        if sorted(names) != sorted(self.joint_names):
            self._wrong = f"its joints are {', '.join(names)}; the model has {', '.join(self.joint_names)}"
            return
        order = [list(names).index(j) for j in self.joint_names]
        for what, values in (("position", position), ("velocity", velocity), ("effort", effort)):
            if (what == "position" or len(values)) and len(values) != n:
                self._wrong = f"measured_js has {len(values)} values of {what} for {n} joints"
                return
        q = np.array(position, dtype=np.float64)[order]
        if not np.isfinite(q).all():
            self._wrong = f"measured_js has a position that is not finite: {q.tolist()}"
            return
        if self._heard is not None and stamp_ns <= self._stamp:
            return  # an older or repeated one: silence goes on
        dt = (stamp_ns - self._stamp) * 1e-9
        if len(velocity):
            self._dq = np.array(velocity, dtype=np.float64)[order]
        elif self._heard is not None and dt > 0.0:
            self._dq = (q - self._q) / dt
        if len(effort):
            self._tau = np.array(effort, dtype=np.float64)[order]
        self._q, self._heard, self._stamp, self._wrong = q, now_ns, stamp_ns, ""

    def on_measured_cf(self, force: Sequence[float]) -> None:
        """Force at the tool, N (x, y, z)."""
        self._force = float(np.linalg.norm(np.array(force[:3], dtype=np.float64)))

    def on_operating_state(self, state: str, is_homed: bool) -> None:
        self.state, self.homed = state, is_homed

    # --- before the loop

    def wake(self) -> str:
        """Ask the arm towards ENABLED and homed, as CRTK's table of transitions allows; returns what is still
        missing, "" when ready.
        Call it a few times a second until it returns "", and give up when you lose patience."""
        if not self.state:
            return "no operating_state yet"
        if self.state == "FAULT":
            return "the arm is in FAULT: look at it, then enable it by hand"
        if self.state == "DISABLED":
            self._link.state_command("enable")
            return "enabling"
        if self.state == "PAUSED":
            self._link.state_command("resume")
            return "resuming"
        if not self.homed:
            self._link.state_command("home")
            return "homing"
        return "" if self._heard is not None else self._wrong or "no valid measured_js yet"

    # --- ArmDriver

    def read(self, now_ns: int) -> EncoderSample:
        """Stamped with the arrival on our own clock: the arm's clock is not ours. Raises DriverError."""
        self._now = now_ns
        if self._wrong:
            raise DriverError(f"CRTK arm: {self._wrong}")
        if self._heard is None:
            raise DriverError("CRTK arm: nothing measured yet: is its node running, in our domain and namespace?")
        silent = now_ns - self._heard
        if silent > self._silence:
            raise DriverError(f"CRTK arm: silent for {silent / 1e6:.0f} ms")
        if self._sent is not None and not self._brakes:
            behind = float(np.abs(self._sent - self._q).max())
            if behind > self._lag:
                raise DriverError(f"CRTK arm: {behind:.3f} rad behind its reference: it refuses or cannot follow")
        return EncoderSample(self._heard, self._q.copy(), self._dq.copy(), self._tau.copy(), self._force)

    def write(self, q_ref: Array, dq_ref: Array) -> None:
        """One set-point. Raises DriverError instead of sending one that is not safe to send."""
        if self._brakes:
            return
        if self.state != "ENABLED" or not self.homed:
            raise DriverError(
                f"CRTK arm: it is {self.state or 'silent about its state'}{'' if self.homed else ', not homed'}"
            )
        if not np.isfinite(q_ref).all():
            raise DriverError(f"CRTK arm: reference {q_ref.tolist()} is not finite")
        if (q_ref < self.lower - 1e-9).any() or (q_ref > self.upper + 1e-9).any():
            raise DriverError(f"CRTK arm: reference {q_ref.tolist()} is outside the joint limits")
        last = self._q if self._sent is None else self._sent
        allowed = SPEED_SLACK * self.v_max * max(self.period_ns, self._now - self._sent_ns) * 1e-9
        if (np.abs(q_ref - last) > allowed).any():
            joint = self.joint_names[int(np.argmax(np.abs(q_ref - last) / allowed))]
            raise DriverError(f"CRTK arm: the reference of {joint} jumps faster than its speed limit")
        self._link.servo_jp(q_ref.tolist())
        self._sent, self._sent_ns = q_ref.copy(), self._now

    def brakes(self, on: bool) -> None:
        """On: hold, and no set-points any more. Off: the next reference starts from where the arm is."""
        if on and not self._brakes:
            self._link.hold()
        if on != self._brakes:
            self._sent, self._sent_ns = None, self._now
        self._brakes = on

    def close(self) -> None:
        if not self._brakes:
            self._link.hold()
        self._brakes = True
