"""Room camera and guide camera of a simulated operating room: poses in, pictures out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim import layout
from sim.pictures.furniture import arm_links, link_poses, patient, surroundings
from sim.pictures.raster import Canvas, Lens, look_at
from teleop.arm.model import ArmModel
from teleop.geometry import Pose, pose_to_matrix

#: The room camera stands at the foot end, on the patient's right, over the doctor's shoulder.
ROOM_EYE, ROOM_TARGET = (1.75, -1.15, 1.05), (0.38, 0.0, 0.28)
#: The guide camera sits on the guide's tube: back from the tip, beside the axis, and looks at a point before the tip (m).
GUIDE_BACK, GUIDE_SIDE, GUIDE_AHEAD = 0.075, 0.030, 0.045


@dataclass(frozen=True)
class View:
    """What the cameras see: joint positions (rad) by name, base_T_tip as it truly is, base_T_ct of the breathing patient."""

    joints: dict[str, float]
    base_T_tip: Pose
    base_T_ct: Pose


class RoomCameras:
    """Renders both cameras at any size. Pure but for its buffers: same view, size and seed, same picture."""

    def __init__(self, model: ArmModel, bones: Path | None = None) -> None:
        self.links = arm_links(model)
        self.patient = patient(bones)
        self.things = surroundings()
        self._canvas: dict[tuple[str, int, int], Canvas] = {}

    def _get(self, name: str, width: int, height: int, focal: float, lamp: bool) -> Canvas:
        key = (name, width, height)
        if key not in self._canvas:
            self._canvas[key] = Canvas(Lens(width, height, focal, lamp))
        return self._canvas[key]

    def room(self, view: View, width: int, height: int, seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of the camera in the room."""
        c = self._get("room", width, height, 1.25 * height, False)
        c.clear((52, 60, 68), (96, 104, 108))
        world_T_camera = look_at(ROOM_EYE, ROOM_TARGET)
        return self._draw(c, world_T_camera, view, (0.4, -0.1, 2.4), 4.0, seed)

    def guide(self, view: View, width: int, height: int, seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of the camera on the guide, round like an endoscope's."""
        c = self._get("guide", width, height, 0.72 * height, True)
        c.clear((8, 6, 6), (8, 6, 6))
        picture = self._draw(c, guide_camera(view.base_T_tip), view, (0.0, 0.0, 0.0), 6.0, seed)
        picture[_outside(height, width)] = 4
        return picture

    def _draw(
        self, c: Canvas, world_T_camera: NDArray[np.float64], view: View, lamp: tuple[float, float, float], noise: float, seed: int
    ) -> NDArray[np.uint8]:
        inverse = np.linalg.inv(world_T_camera)
        light = inverse[:3, :3] @ np.array(lamp) + inverse[:3, 3]
        if not c.lens.lamp_at_camera:
            for mesh, at in self.things:
                c.draw(mesh, inverse @ at, light)
        base_T_ct = pose_to_matrix(view.base_T_ct)
        for mesh, at in self.patient:
            c.draw(mesh, inverse @ base_T_ct @ at, light)
        poses = link_poses(self.links, view.joints)
        # The last links are placed by the true tip: the guide's picture must not lie by the arm's calibration error.
        tip = poses.get("guide_tip")
        fix = pose_to_matrix(view.base_T_tip) @ np.linalg.inv(tip) if tip is not None else np.eye(4)
        for link in self.links:
            base = fix @ poses[link.name] if link.name.startswith("guide") else poses[link.name]
            for mesh, at in link.meshes:
                c.draw(mesh, inverse @ base @ at, light)
        return c.finish(noise, seed)


def guide_camera(base_T_tip: Pose) -> NDArray[np.float64]:
    """world_T_camera of the camera on the guide."""
    m = pose_to_matrix(base_T_tip)
    x, z, p = m[:3, 0], m[:3, 2], m[:3, 3]
    eye, target = p - GUIDE_BACK * z + GUIDE_SIDE * x, p + GUIDE_AHEAD * z
    up = np.cross(z, x)
    return look_at(tuple(eye), tuple(target), tuple(up))


def _outside(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[:height, :width]
    return np.asarray((x - width / 2 + 0.5) ** 2 + (y - height / 2 + 0.5) ** 2 > (0.49 * height) ** 2)


def nominal_view(model: ArmModel) -> View:
    """The arm at home and the patient where the plan of the room puts them (before anything is known)."""
    from teleop.arm.kinematics import Kinematics

    q = [float(v) for v in model.home]
    return View(dict(zip(model.joint_names, q, strict=True)), Kinematics(model).fk(q), layout.nominal_ct())
