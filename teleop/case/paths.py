"""The desk's paths: approach, line along the axis, corrections, rehearsal; for one arm, as stored paths."""

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety.lease import StoredPath
from teleop.arm.clearance import Scene, box, plane
from teleop.arm.kinematics import Kinematics, Unreachable, warm
from teleop.arm.model import load_model
from teleop.case.site_config import SiteConfig
from teleop.geometry import along_axis, axis_of, matrix_to_pose
from teleop.planning.approach import Blocked, plan_approach, plan_correction, plan_line

#: How far the rehearsal lifts the guide in free air (m): a second and a half of motion at 10 mm/s each way to a stop.
REHEARSAL_M = 0.06

Matrix = NDArray[np.float64]
Joints = tuple[float, ...]


class PathRefused(ValueError):
    """No path: unreachable, blocked, or not small; the text says by what and what to do."""


@dataclass
class SitePaths:
    """Path planning for the arm of one site. Poses (4,4) and points (3,) in the arm's base frame, metres."""

    kin: Kinematics

    @staticmethod
    def for_site(config: SiteConfig | None = None) -> "SitePaths":
        """Loads and warms the kinematics: every kernel a path needs is compiled now (seconds once, then cached), not
        while a surgeon waits for an approach."""
        kin = warm(load_model(config.arm_model if config else "iiwa7"))
        paths = SitePaths(kin)
        home = tuple(float(x) for x in kin.model.home)
        ahead = along_axis(kin.fk(home), 0.05)
        with contextlib.suppress(PathRefused):
            paths.approach(home, np.asarray(ahead[:3]), np.asarray(axis_of(ahead)), 0.10, 0.01, Scene())
        with contextlib.suppress(PathRefused):
            paths.rehearsal(home, Scene((plane("the floor", (0.0, 0.0, 1.0), -2.0), box("patient", (9.0, 9.0, 9.0, 0, 0, 0, 1), (0.1, 0.1, 0.1)))))
        return paths

    def approach(
        self, q: Joints, entry: NDArray[np.float64], axis: NDArray[np.float64], stand_off_m: float, stop_m: float, scene: Scene
    ) -> StoredPath:
        """Joint path in free air to the stand-off on the axis, from which the straight advance to `stop_m` is possible."""
        try:
            return plan_approach(
                self.kin, scene, q, tuple(entry), tuple(axis), stand_off=stand_off_m, advance_to=stop_m
            ).to_stand_off
        except (Blocked, Unreachable) as error:
            raise PathRefused(str(error)) from None

    def line(self, q: Joints, goal: Matrix, scene: Scene) -> StoredPath:
        """Straight line of the guide to `goal`, which may be inside the patient."""
        try:
            return plan_line(self.kin, scene, q, matrix_to_pose(goal))
        except (Blocked, Unreachable) as error:
            raise PathRefused(str(error)) from None

    def correction(self, kind: str, q: Joints, goal: Matrix, scene: Scene) -> StoredPath:
        """A small straight correction onto `goal`; kind "goal" in free air, "advance" near bone."""
        try:
            return plan_correction(self.kin, scene, q, matrix_to_pose(goal), kind=kind)
        except (Blocked, Unreachable) as error:
            raise PathRefused(str(error)) from None

    def rehearsal(self, q: Joints, scene: Scene) -> StoredPath:
        """A short straight way backwards along the guide, in free air."""
        back = along_axis(self.kin.fk(q), -REHEARSAL_M)
        try:
            return plan_line(self.kin, scene, q, back, kind="rehearsal", enter=False)
        except (Blocked, Unreachable) as error:
            raise PathRefused(str(error)) from None
