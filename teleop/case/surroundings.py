"""What stands around the patient, as the site measured it: the envelope of the torso, the table, the drape that hangs from it, the floor.

Sizes are in `case.json` ("room"), relative to the registered images, because the patient lies where the registration says.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teleop.arm.clearance import Scene, box, plane
from teleop.geometry import matrix_to_pose

#: The sterile drape hangs from the table's edges: this far outside them and this deep (m). Not in the case file: every table here is draped.
DRAPE_OUT, DRAPE_DEPTH = 0.02, 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """torso_half, table_half: half extents (m) along the CT's L, P, S axes; middle_p: posterior offset (m) of the torso's
    middle from the CT origin; rounding (m) of the torso's edges; floor_z: height (m) of the floor in the arm's base frame."""

    torso_half: tuple[float, float, float]
    middle_p: float
    rounding: float
    table_half: tuple[float, float, float]
    floor_z: float

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "Surroundings":
        """Raises KeyError or TypeError for a missing or wrong field."""
        return Surroundings(
            tuple(float(x) for x in raw["torso_half"]), float(raw["middle_p"]), float(raw["rounding"]),  # type: ignore[arg-type]
            tuple(float(x) for x in raw["table_half"]), float(raw["floor_z"]),  # type: ignore[arg-type]
        )

    def scene(self, base_T_ct: NDArray[np.float64]) -> Scene:
        """Obstacles in the arm's base frame for a patient at base_T_ct (4,4), metres."""
        middle = base_T_ct.copy()
        middle[:3, 3] = base_T_ct[:3, 3] + base_T_ct[:3, 1] * self.middle_p
        table = base_T_ct.copy()
        below = self.middle_p - self.torso_half[1] - self.table_half[1]
        table[:3, 3] = base_T_ct[:3, 3] + base_T_ct[:3, 1] * below
        drape = base_T_ct.copy()
        drape[:3, 3] = base_T_ct[:3, 3] + base_T_ct[:3, 1] * (self.middle_p - self.torso_half[1] - DRAPE_DEPTH / 2.0)
        hanging = (self.table_half[0] + DRAPE_OUT, DRAPE_DEPTH / 2.0, self.table_half[2] + DRAPE_OUT)
        torso = tuple(h - self.rounding for h in self.torso_half)
        return Scene((
            plane("the floor", (0.0, 0.0, 1.0), self.floor_z),
            box("patient", matrix_to_pose(middle), torso, self.rounding),  # type: ignore[arg-type]
            box("the table", matrix_to_pose(table), self.table_half),
            box("the drape", matrix_to_pose(drape), hanging),
        ))

    def keepouts(self, base_T_ct: NDArray[np.float64]) -> list[dict[str, Any]]:
        """What the governor keeps the guide out of: everything below the table's top, and everything below the plane of the
        patient's back but for the corridor's cone (the canal lies behind the corridor's end, which the guide may not pass).
        """
        up = base_T_ct[:3, 1]
        middle = base_T_ct[:3, 3] + up * self.middle_p
        top, back = (float(up @ (middle + side * up * self.torso_half[1])) for side in (-1.0, 1.0))
        n = [float(x) for x in up]
        return [
            {"name": "table", "kind": "halfspace", "n": n, "d": top, "anatomical": False},
            {"name": "patient", "kind": "halfspace", "n": n, "d": back, "anatomical": True, "opened": True},
        ]
