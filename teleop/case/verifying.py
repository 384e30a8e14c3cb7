"""Verify before release: is the guide where the plan wants it, as far as the tracker can tell, and would the screw fit?"""

from __future__ import annotations

from dataclasses import dataclass
from math import degrees, sin
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from teleop.case.guide import GuideError

if TYPE_CHECKING:
    from teleop.case.planning_door import CaseImages
    from teleop.case.registering import Registered
    from teleop.case.stored_plan import StoredScrew


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Limits of the verification. Defaults: entry 0.5 mm, axis 0.5 deg, predicted tip 1.0 mm, stand-off +-1 mm, jitter
    0.6 mm in single frames (0.1 mm and 0.1 deg per body at 0.2 m from the reference frame give 0.4; their mean is
    known to 0.05). The field's robots verify 0.5-1.0 mm and 0.5-1.0 deg. A correction stops at a third of that."""

    lateral_m: float = 0.5e-3
    angle_deg: float = 0.5
    tip_m: float = 1.0e-3
    stand_off_m: float = 1.0e-3
    scatter_m: float = 0.6e-3
    correct_lateral_m: float = 0.12e-3
    correct_angle_deg: float = 0.10
    correct_stand_off_m: float = 0.6e-3
    coarse: float = 2.5

    def on_line(self, error: GuideError, stand_off_m: float, *, final: bool = True) -> bool:
        """True when another correction is not worth its motion. Before the advance (`final` False) `coarse` times as much
        may be left: the advance is aimed afresh by what was measured, and corrected at its end."""
        more = 1.0 if final else self.coarse
        return (
            error.lateral_m <= self.correct_lateral_m * more
            and degrees(error.angle_rad) <= self.correct_angle_deg * more
            and abs(error.stand_off_m - stand_off_m) <= self.correct_stand_off_m
        )

    def refusals(self, error: GuideError, scatter_m: float, length_m: float, stand_off_m: float) -> list[str]:
        """Every limit that is not met, with its number; empty when verified."""
        tip = error.lateral_m + length_m * sin(error.angle_rad)
        checks = (
            (error.lateral_m, self.lateral_m, 1e3, "mm at the entry"),
            (degrees(error.angle_rad), self.angle_deg, 1.0, "deg of axis"),
            (tip, self.tip_m, 1e3, "mm predicted at the tip"),
            (abs(error.stand_off_m - stand_off_m), self.stand_off_m, 1e3, "mm of stand-off"),
            (scatter_m, self.scatter_m, 1e3, "mm of scatter in the tracker"),
        )
        return [f"{value * unit:.2f} {what} (limit {limit * unit:.2f})" for value, limit, unit, what in checks if value > limit]


def regrade(
    images: CaseImages, screw: StoredScrew, ref_T_tip: NDArray[np.float64], registered: Registered
) -> dict[str, Any]:
    """Grade the screw as the guide would place it now, on the site's labels, by the independent verifier.

    The screw starts where the guide's axis meets the planned entry plane and runs its planned length along that axis.
    """
    entry, axis = registered.line(screw.entry_lps_mm, screw.tip_lps_mm)
    guide_axis = ref_T_tip[:3, 2]
    hit = ref_T_tip[:3, 3] + guide_axis * (((entry - ref_T_tip[:3, 3]) @ axis) / (guide_axis @ axis))
    ct_T_ref = np.linalg.inv(registered.ref_T_ct)
    entry_lps_mm = (ct_T_ref[:3, :3] @ hit + ct_T_ref[:3, 3]) * 1e3
    tip_lps_mm = entry_lps_mm + ct_T_ref[:3, :3] @ guide_axis * screw.length_mm
    return images.grade(screw, entry_lps_mm, tip_lps_mm)
