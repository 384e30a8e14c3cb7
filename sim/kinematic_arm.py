"""An arm without physics: joints follow the reference with an injectable lag (none by default). For campaigns and
hospitals by the dozen.

Same `ArmDriver` protocol, same hidden errors as the PyBullet arm; nothing about it is torque-limited or elastic.
Faults can
be injected: `lag` (periods), `stuck` (joints stop following), `freeze` (encoders repeat their last reading), `offset`
added
to the readings, `force` reported.
"""

import copy
from collections import deque

import numpy as np
from numpy.typing import NDArray

from sim.hidden import ENCODER_NOISE, HiddenErrors, TrueArm, draw_errors
from teleop.arm.driver import EncoderSample
from teleop.arm.model import ArmModel
from teleop.geometry import Pose

Array = NDArray[np.float64]


class KinematicArm:
    """See the module. `errors` None: drawn from the seed."""

    def __init__(
        self,
        model: ArmModel,
        seed: int = 0,
        *,
        period_ns: int = 2_000_000,
        q0: Array | None = None,
        errors: HiddenErrors | None = None,
        lag: int = 0,
        noise: float = ENCODER_NOISE,
    ) -> None:
        self.joint_names = model.joint_names
        self.lower, self.upper, self.v_max = model.lower, model.upper, model.v_max
        self.period_ns = period_ns
        self.true = TrueArm(model, errors if errors is not None else draw_errors(model, seed))
        start = np.array(model.home if q0 is None else q0)
        self._q = self.true.joints_for(start, start)
        self._dq = np.zeros(model.n)
        self._queue: deque[tuple[Array, Array]] = deque([(start.copy(), np.zeros(model.n))] * lag)
        self._rng = np.random.default_rng([seed, 40])
        self._noise = noise
        self._brakes = True
        self._last: EncoderSample | None = None
        self.stuck = False
        self.freeze = False
        self.offset = np.zeros(model.n)
        self.force = 0.0

    def read(self, now_ns: int) -> EncoderSample:
        if self.freeze and self._last is not None:
            return self._last
        noise = self._rng.normal(0.0, self._noise, len(self._q)) if self._noise else 0.0
        q = self.true.encoders(self._q) + self.offset + noise
        self._last = EncoderSample(now_ns, q, self._dq.copy(), np.zeros(len(self._q)), self.force)
        return self._last

    def write(self, q_ref: Array, dq_ref: Array) -> None:
        if self._brakes:
            self._dq = np.zeros_like(self._dq)
            return
        self._queue.append((q_ref.copy(), dq_ref.copy()))
        q, dq = self._queue.popleft()
        if self.stuck:
            self._dq = np.zeros_like(self._dq)
            return
        self._q = self.true.joints_for(q, self._q)
        self._dq = dq

    def brakes(self, on: bool) -> None:
        self._brakes = on

    def close(self) -> None:
        pass

    def fork(self) -> "KinematicArm":
        """The same moment once more; arrays are replaced here, never written to, so they are shared."""
        other = copy.copy(self)
        other.true = copy.copy(self.true)
        other._queue = deque(self._queue)
        other._rng = copy.deepcopy(self._rng)
        other.offset = self.offset.copy()
        return other

    # --- the simulator's truth: for the tracker's model and the judge ------------------------------------------------

    def tip(self) -> Pose:
        """True base_T_tip."""
        return self.true.tip(self._q)
