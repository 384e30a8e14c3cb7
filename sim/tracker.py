"""The simulated optical tracker: 50 frames a second of two marked bodies, with noise, drop-outs and a hidden
calibration error.

It reports the pose of the guide's tip (the marker on the guide was pivot-calibrated, with a residual of its own that
nobody
knows) and of the reference frame on the patient, both in the tracker's frame. Noise per frame 0.1 mm and 0.1 deg per
axis,
the class of the cameras in the field (optoelectronic review: <= 0.1 mm / 0.1 deg). SI, ns.
"""

from dataclasses import dataclass

import numpy as np

from sim.layout import nominal_tracker
from teleop.geometry import Pose, compose, invert, pose_from, rotvec_to_quat

PERIOD_NS = 20_000_000
NOISE_P, NOISE_R = 1e-4, np.deg2rad(0.1)
#: Residual of the tip calibration: 1 sigma per axis.
CALIBRATION_P, CALIBRATION_R = 3e-5, np.deg2rad(0.03)
#: A body is lost about every ten seconds for one to five frames.
LOSS_PER_FRAME, LOSS_FRAMES = 0.002, 5
#: The stand is never where the plan of the room has it: 1 sigma, m and rad.
STAND_P, STAND_R = 0.05, 0.05


@dataclass(frozen=True, slots=True)
class TrackerFrame:
    """stamp: robot ns. A pose is None while its body is not seen."""

    stamp: int
    tracker_T_guide: Pose | None
    tracker_T_reference: Pose | None


class Tracker:
    """Call `frame` whenever one is due; deterministic in the seed and the order of calls."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 30])
        where = np.random.default_rng([seed, 31])
        slip = pose_from(where.normal(0.0, STAND_P, 3), rotvec_to_quat(where.normal(0.0, STAND_R, 3)))
        self.world_T_tracker = compose(nominal_tracker(), slip)
        self._tracker_T_world = invert(self.world_T_tracker)
        self._tip_T_seen = pose_from(
            where.normal(0.0, CALIBRATION_P, 3), rotvec_to_quat(where.normal(0.0, CALIBRATION_R, 3))
        )
        self._lost = [0, 0]
        self._dark_until = 0
        self._next = 0

    def due(self, now: int, period_ns: int = PERIOD_NS) -> bool:
        """Whether a frame is due, at the camera's rate or a slower one."""
        if now < self._next:
            return False
        self._next = now + period_ns - (now - self._next if now - self._next < period_ns else 0)
        return True

    def dropout(self, until: int) -> None:
        """Nothing is seen until the robot time `until` (somebody stands in the way)."""
        self._dark_until = until

    def frame(self, now: int, world_T_tip: Pose, world_T_ref: Pose) -> TrackerFrame:
        """One frame of the true poses."""
        seen: list[Pose | None] = []
        for body, true in enumerate((compose(world_T_tip, self._tip_T_seen), world_T_ref)):
            noise = self._rng.normal(size=6)
            lose, length = self._rng.random(), int(self._rng.integers(1, LOSS_FRAMES + 1))
            if self._lost[body] > 0:
                self._lost[body] -= 1
            elif lose < LOSS_PER_FRAME:
                self._lost[body] = length
            if self._lost[body] > 0 or now < self._dark_until:
                seen.append(None)
                continue
            pose = compose(self._tracker_T_world, true)
            turned = compose(pose, pose_from((0.0, 0.0, 0.0), rotvec_to_quat(noise[3:] * NOISE_R)))
            seen.append(
                (
                    turned[0] + float(noise[0]) * NOISE_P,
                    turned[1] + float(noise[1]) * NOISE_P,
                    turned[2] + float(noise[2]) * NOISE_P,
                    *turned[3:],
                )
            )
        return TrackerFrame(now, seen[0], seen[1])
