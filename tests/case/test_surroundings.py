"""What the case tells the governor to keep the guide out of: table, patient, and no way in but the corridor."""

import numpy as np
import pytest

from safety.fixtures import clearance, scene_from
from sim import layout
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import load_model
from teleop.case.scene_order import scene_order
from teleop.case.surroundings import Surroundings
from teleop.geometry import matrix_to_pose, pose_to_matrix

ROOM = Surroundings(layout.TORSO_HALF, layout.TORSO_MIDDLE_Y, 0.10, layout.TABLE_HALF, layout.FLOOR_Z)
BASE_T_CT = pose_to_matrix(np.array(layout.nominal_ct()))
ENTRY = BASE_T_CT[:3, 3] + np.array([0.02, 0.0, 0.04])
AXIS = np.array([-0.17, 0.0, -1.0]) / np.hypot(0.17, 1.0)
SCENE = scene_from(scene_order(
    plan_hash=b"12345678", registration_epoch=1, confirmed=True, sigma_reg_m=0.0003, entry=ENTRY, axis=AXIS,
    keepouts=ROOM.keepouts(BASE_T_CT),
))  # fmt: skip


def along_axis(at: np.ndarray) -> tuple[float, ...]:
    """A tip pose at `at`, the guide parallel to the corridor."""
    m = np.eye(4)
    y = np.cross(AXIS, [1.0, 0.0, 0.0])
    y /= np.linalg.norm(y)
    m[:3, 0], m[:3, 1], m[:3, 2], m[:3, 3] = np.cross(y, AXIS), y, AXIS, at
    return tuple(matrix_to_pose(m))


def test_the_corridor_leads_from_above_the_back_to_the_entry() -> None:
    for back in np.linspace(0.001, 0.25, 60):
        clear, name = clearance(SCENE, along_axis(ENTRY - AXIS * back), 0.1, 0.006)
        assert clear > 0.0, (back, name)


@pytest.mark.parametrize("aside", [0.04, 0.08, 0.12, -0.12])
def test_beside_the_corridor_the_back_is_closed(aside: float) -> None:
    at = ENTRY - AXIS * 0.02 + np.array([0.0, aside, 0.0])
    clear, name = clearance(SCENE, along_axis(at), 0.1, 0.006)
    assert clear < 0.0 and name in ("patient", "corridor")
    assert clearance(SCENE, along_axis(at + np.array([0.0, 0.0, 0.2])), 0.1, 0.006)[0] > 0.0


def test_the_arm_at_home_is_clear_of_everything() -> None:
    model = load_model("iiwa7")
    clear, _ = clearance(SCENE, Kinematics(model).fk(model.home), 0.1, 0.006)
    assert clear > 0.05
