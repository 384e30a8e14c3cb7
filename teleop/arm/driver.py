"""What a robot must offer to be driven: read encoders, write a reference, brakes. Everything above it is the same for
all arms.

Implemented by `sim.arm.PyBulletArm` (physics), `sim.kinematic_arm.KinematicArm` (no physics, for campaigns). A driver
is called by one thread, one `read` and one `write` per period; neither may block for more than a fraction of the
period.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EncoderSample:
    """What the arm's own sensors say. stamp: robot monotonic ns; q (n,) rad; dq (n,) rad/s; tau (n,) N m applied;
    force: N at the tool as the arm estimates it."""

    stamp: int
    q: Array
    dq: Array
    tau: Array
    force: float


class DriverError(RuntimeError):
    """The driver lost its robot, or was told something it cannot do."""


@runtime_checkable
class ArmDriver(Protocol):
    """One arm. `period_ns` is the servo period the driver wants to be called at."""

    joint_names: tuple[str, ...]
    lower: Array
    upper: Array
    v_max: Array
    period_ns: int

    def read(self, now_ns: int) -> EncoderSample:
        """Newest encoder sample; `now_ns` is the caller's clock, which a simulated arm stamps with."""
        ...

    def write(self, q_ref: Array, dq_ref: Array) -> None:
        """The posture to be reached at the end of the coming period (rad), and the speed there (rad/s) as
        feed-forward."""
        ...

    def brakes(self, on: bool) -> None:
        """Engage (no motion whatever is written) or release the brakes. Idempotent."""
        ...

    def close(self) -> None:
        """Release the hardware. Idempotent."""
        ...
