"""Where things stand in a simulated operating room: the nominal layout that everybody at a site may know.

World frame = the arm's base frame as installed: x towards the table, z up. The patient lies prone, head towards +y, so the
CT's axes (LPS: left, posterior, superior) point to -x, +z, +y. The CT origin (in the body of L3) is placed so that the axes
of all ten pedicles L1-L5 with a 100 mm stand-off can be reached away from joint limits and singularities
(tests/planning/test_approach.py). A real patient never lies exactly there: `sim.patient` adds a seeded centimetre and degrees.
"""

from pathlib import Path

import numpy as np

from teleop.arm.clearance import Scene, box, plane
from teleop.geometry import Pose, compose, matrix_to_pose

#: base_T_ct of the plan of the room: CT origin in the base frame, metres.
CT_ORIGIN = (0.55, 0.0, 0.10)
#: Half thickness of the prone torso (m), its half width, and how far ventral of the CT origin its middle lies; the
#: phantom's
#: body is an ellipse of 340 x 250 mm whose back is 25 mm behind the spinous processes.
TORSO_HALF = (0.17, 0.125, 0.40)
TORSO_MIDDLE_Y = -0.03
TABLE_HALF = (0.26, 0.04, 1.0)
#: The drape hangs from the table's edges: how far outside them, how deep (m).
DRAPE_OUT, DRAPE_DEPTH = 0.02, 0.5
FLOOR_Z = -0.75


def truth_folder(case_dir: Path | None) -> Path | None:
    """Where the simulated patient of a case lies: `truth` beside the case's folder, None where there is none."""
    folder = case_dir.parent / "truth" if case_dir is not None else None
    return folder if folder is not None and folder.is_dir() else None


def nominal_ct() -> Pose:
    """base_T_ct by the plan of the room."""
    m = np.eye(4)
    m[:3, 0] = (-1.0, 0.0, 0.0)
    m[:3, 1] = (0.0, 0.0, 1.0)
    m[:3, 2] = (0.0, 1.0, 0.0)
    m[:3, 3] = CT_ORIGIN
    return matrix_to_pose(m)


def nominal_tracker() -> Pose:
    """base_T_tracker: the camera on its stand at the foot end, 1.6 m away, looking at the CT origin along its +z."""
    eye = np.array([0.9, -1.3, 1.0])
    z = np.array(CT_ORIGIN) - eye
    z /= np.linalg.norm(z)
    x = np.cross((0.0, 0.0, 1.0), z)
    x /= np.linalg.norm(x)
    m = np.eye(4)
    m[:3, 0], m[:3, 1], m[:3, 2], m[:3, 3] = x, np.cross(z, x), z, eye
    return matrix_to_pose(m)


def room_scene(base_T_ct: Pose) -> Scene:
    """What the arm must keep clear of, for a patient at base_T_ct: envelope of the torso, table, drape, floor. Metres, base
    frame.
    The envelope is a box with 0.1 m of rounding that contains the torso's ellipse."""
    middle = compose(base_T_ct, (0.0, TORSO_MIDDLE_Y, 0.0, 0.0, 0.0, 0.0, 1.0))
    table = compose(base_T_ct, (0.0, TORSO_MIDDLE_Y - TORSO_HALF[1] - TABLE_HALF[1], 0.0, 0.0, 0.0, 0.0, 1.0))
    drape = compose(base_T_ct, (0.0, TORSO_MIDDLE_Y - TORSO_HALF[1] - DRAPE_DEPTH / 2.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    hanging = (TABLE_HALF[0] + DRAPE_OUT, DRAPE_DEPTH / 2.0, TABLE_HALF[2] + DRAPE_OUT)
    torso = (TORSO_HALF[0] - 0.10, TORSO_HALF[1] - 0.10, TORSO_HALF[2] - 0.10)
    return Scene(
        (
            plane("the floor", (0.0, 0.0, 1.0), FLOOR_Z),
            box("patient", middle, torso, 0.10),
            box("the table", table, TABLE_HALF),
            box("the drape", drape, hanging),
        )
    )
