"""Add a master device: a class with five methods, and the whole hand works with it. Runs by itself, simulated, in
virtual time.

    .venv/bin/python examples/add_a_device.py

The "device" here is a knob box that reports three angles. What a device must do: say its capabilities before it is
opened, give at `read` what
was really read (None when nothing is new), never block, never raise, and say `connected=False` when it has gone.
Everything else (guards,
clutch, scale, tremor filter, fixtures, rules about presses) is done by `HandLoop`.
"""

from math import sin

from safety.states import Mode
from sim.hand_trial import HandTrial, Scheme
from sim.network.channel import Line
from sim.network.models import Normal
from teleop.geometry import norm, pose_error
from teleop.master.device import Capabilities
from teleop.master.guard import SampleGuard
from teleop.master.sample import DEADMAN, MasterSample


class KnobBox:
    """Three knobs that move the guide along x, y, z; a foot switch is the deadman."""

    # known before `connect`: a rate device of three axes, read 50 times a second by a process of its own
    capabilities = Capabilities("knob box", "rate", (True, True, True, False, False, False), 50.0)

    def __init__(self) -> None:
        self._seq, self._next = -1, 0

    def connect(self) -> None:
        """Open the port here; raise OSError with a sentence that says what to do when it is not there."""

    def read(self, now_ns: int) -> MasterSample | None:
        if now_ns < self._next:
            return None  # nothing new
        self._next = now_ns + 20_000_000
        self._seq += 1
        t = now_ns * 1e-9
        knobs = (0.6 * sin(t), 0.0, -0.4)  # here: ask the hardware
        foot_switch = self._seq > 25
        return MasterSample(
            "knob box",
            self._seq,
            None,
            now_ns,
            twist=(*knobs, 0.0, 0.0, 0.0),
            buttons=frozenset({DEADMAN} if foot_switch else ()),
        )

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return False  # it cannot

    def disconnect(self) -> None:
        """Close the port."""


def main() -> None:
    # 1. alone: what does the guard think of it?
    box, guard = KnobBox(), SampleGuard(KnobBox.capabilities)
    box.connect()
    readings = [guard.step(t, box.read(t)) for t in range(0, 1_000_000_000, 5_000_000)]
    print(f"guard: alive {readings[-1].alive}, deadman {readings[-1].deadman}, noticed {guard.counts or 'nothing'}")

    # 2. in the loop: device -> hand -> line of 40 ms each way -> governor -> drive -> simulated arm
    trial = HandTrial(KnobBox(), Line(Normal(40.0, 3.0)), Scheme("knobs"))
    start = trial.arm.report.setpoint if trial.arm.report else None
    trial.run(4.0)
    report = trial.arm.report
    assert start is not None and report is not None
    moved, _ = pose_error(start, report.setpoint)
    out = trial.close()
    print(
        f"{Mode.SERVO}: state {trial.rig.s.state}, {out.accepted} commands accepted, the guide moved {norm(moved) * 1e3:.1f} mm"
    )
    assert norm(moved) > 1e-3, "the knobs should have moved the guide"


if __name__ == "__main__":
    main()
