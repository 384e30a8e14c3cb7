"""Cameras and ultrasound of the simulated room: pictures agree with where things are."""

import numpy as np
import pytest

from sim import layout
from sim.pictures.acoustics import acoustic_map
from sim.pictures.cameras import ROOM_EYE, ROOM_TARGET, RoomCameras, View, guide_camera, nominal_view
from sim.pictures.furniture import arm_links, link_poses
from sim.pictures.probe import probe_pose, skin_below
from sim.pictures.raster import Canvas, Lens, Mesh, look_at
from sim.pictures.ultrasound import Probe, bmode, mm_per_pixel, probe_T_pixel
from teleop.arm.kinematics import Kinematics
from teleop.arm.model import load_model
from teleop.geometry import pose_to_matrix


def block(bone_y_mm: float | None = -20.0, side_mm: float = 90.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A block of muscle under skin at y = 0 (air behind), with a plate of bone at depth -bone_y, 20 mm wide, 4 mm thick."""
    n, spacing = int(side_mm), 1.0
    hu = np.full((n, n + 10, 40), 55, dtype=np.int16)
    m = np.eye(4)
    m[:3, 3] = (-side_mm / 2, -side_mm, -20.0)
    y = m[1, 3] + np.arange(n + 10) * spacing
    hu[:, y > 0, :] = -1000
    labels = np.zeros(hu.shape, dtype=np.uint8)
    if bone_y_mm is not None:
        rows = (y <= bone_y_mm) & (y > bone_y_mm - 4)
        columns = np.abs(m[0, 3] + np.arange(n)) <= 10
        hu[np.ix_(columns, rows)] = 1200
        labels[np.ix_(columns, rows)] = 28
    return hu, labels, m


def straight(y: float = 0.0) -> np.ndarray:
    p = np.eye(4)
    p[:3, 1], p[:3, 2], p[:3, 3] = (0, 0, 1), (0, -1, 0), (0, y, 0)
    return p


def row_of(p: Probe, depth_mm: float) -> int:
    return round(float((np.linalg.inv(probe_T_pixel(p)) @ np.array([0, 0, depth_mm, 1.0]))[1]))


@pytest.mark.parametrize("depth", [12.0, 20.0, 31.0])
def test_a_plate_of_bone_appears_at_its_depth_and_is_dark_behind(depth):
    p = Probe(depth_mm=60.0)
    picture = bmode(acoustic_map(*block(-depth)), straight(), p).astype(float)
    c = p.width // 2
    column = picture[:, c - 6 : c + 7].mean(axis=1)
    skip = row_of(p, 4.0)
    bright = skip + int(np.argmax(column[skip:]))
    assert abs(bright - row_of(p, depth)) * mm_per_pixel(p) < 1.0
    behind = picture[row_of(p, depth + 8) : row_of(p, depth + 24), c - 6 : c + 7].mean()
    beside = picture[row_of(p, depth + 8) : row_of(p, depth + 24), c + 75 : c + 95].mean()
    assert behind < 0.35 * beside, f"no shadow: {behind:.0f} behind the bone, {beside:.0f} beside it"


def test_without_bone_there_is_no_shadow_and_the_depth_gain_keeps_muscle_as_bright_below():
    p = Probe(depth_mm=60.0)
    picture = bmode(acoustic_map(*block(None)), straight(), p).astype(float)
    c = p.width // 2
    near, far = (picture[row_of(p, a) : row_of(p, b), c - 40 : c + 41].mean() for a, b in ((10, 20), (35, 45)))
    assert 0.6 < far / near < 1.7
    without = bmode(acoustic_map(*block(None)), straight(), Probe(depth_mm=60.0, tgc_db_cm_mhz=0.0)).astype(float)
    assert without[row_of(p, 35) : row_of(p, 45), c - 40 : c + 41].mean() < 0.5 * far, "depth gain does nothing"


def test_speckle_is_rayleigh_like_stays_with_the_tissue_and_the_picture_is_reproducible():
    p = Probe(depth_mm=60.0)
    maps = acoustic_map(*block(None))
    a, again = bmode(maps, straight(), p, 3), bmode(maps, straight(), p, 3)
    assert np.array_equal(a, again)
    moved = straight()
    moved[2, 3] = 6.0
    assert np.mean(np.abs(bmode(maps, moved, p, 3).astype(float) - a)) > 5, "another slice looks the same"
    c, size = p.width // 2, mm_per_pixel(p)
    step_px = 10
    shifted = straight()
    shifted[0, 3] = step_px * size
    b = bmode(maps, shifted, p, 3).astype(float)
    rows = slice(row_of(p, 15), row_of(p, 40))
    left, right = a[rows, c - 30 + step_px : c + 30 + step_px].astype(float), b[rows, c - 30 : c + 30]
    stay = np.corrcoef(left.ravel(), right.ravel())[0, 1]
    other = np.corrcoef(a[rows, c - 30 : c + 30].astype(float).ravel(), right.ravel())[0, 1]
    assert stay > other + 0.2, f"speckle does not move with the tissue ({stay:.2f} against {other:.2f})"


def test_images_of_different_grids_are_refused():
    hu, labels, m = block()
    with pytest.raises(ValueError, match="same grid"):
        acoustic_map(hu, labels[1:], m)


def test_the_probe_lies_on_the_skin_and_looks_into_the_body():
    hu, _, m = block()
    skin = skin_below(hu, m, 0.0, 0.0)
    assert abs(skin) <= 1.0
    for t in np.linspace(0, 60, 50):
        p = probe_pose(t, np.array([0.0, 0.0, 0.0]), 15.0, skin)
        assert np.allclose(p[:3, :3] @ p[:3, :3].T, np.eye(3), atol=1e-9) and np.linalg.det(p[:3, :3]) > 0
        assert p[1, 2] < -0.98 and abs(p[1, 3] - skin) < 1.0 and abs(p[2, 3]) < 16.0


def test_a_known_point_is_drawn_where_the_pinhole_says():
    lens = Lens(320, 240, 300.0)
    at = np.array([0.10, -0.05, 1.0])
    d = 0.004
    v = (at + d * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])).astype(np.float32)
    c = Canvas(lens)
    c.clear((0, 0, 0), (0, 0, 0))
    c.draw(Mesh(v, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32), np.full((2, 3), 255, np.float32)), np.eye(4), np.zeros(3))
    ys, xs = np.nonzero(c.image[..., 0])
    assert abs(xs.mean() + 0.5 - (160 + 30)) < 0.6 and abs(ys.mean() + 0.5 - (120 - 15)) < 0.6


def test_what_is_nearer_hides_what_is_farther():
    v = np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2], [-1, -1, 1], [1, -1, 1], [0, 1, 1]], dtype=np.float32)
    near_red = np.array([[0, 0, 255], [255, 0, 0]], dtype=np.float32)
    for order in ([0, 1], [1, 0]):
        c = Canvas(Lens(64, 64, 20.0))
        c.clear((0, 0, 0), (0, 0, 0))
        faces = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32)[order]
        c.draw(Mesh(v, faces, near_red[order], 0.0), np.eye(4), np.zeros(3))
        assert c.image[32, 32, 0] > 0 and c.image[32, 32, 2] == 0


def test_the_drawn_arm_stands_where_the_arm_is():
    model = load_model()
    links = arm_links(model)
    kinematics = Kinematics(model)
    rng = np.random.default_rng(1)
    for _ in range(5):
        q = rng.uniform(model.lower, model.upper) * 0.6
        poses = link_poses(links, dict(zip(model.joint_names, q.tolist(), strict=True)))
        assert np.allclose(poses["guide_tip"], pose_to_matrix(kinematics.fk(q)), atol=1e-6)


@pytest.fixture(scope="module")
def cameras() -> RoomCameras:
    return RoomCameras(load_model())


def test_both_cameras_show_the_patient_and_see_the_arm_move(cameras):
    model = load_model()
    view = nominal_view(model)
    room = cameras.room(view, 320, 232, 1)
    assert np.array_equal(room, cameras.room(view, 320, 232, 1)) and room.std() > 15
    lens_focal = 1.25 * 232
    world_T_camera = look_at(ROOM_EYE, ROOM_TARGET)
    p = np.linalg.inv(world_T_camera) @ np.array([*layout.CT_ORIGIN, 1.0])
    x, y = p[0] / p[2] * lens_focal + 160, p[1] / p[2] * lens_focal + 116
    assert 20 < x < 300 and 20 < y < 212, "the patient is outside the room camera's picture"
    q = {**view.joints, model.joint_names[0]: view.joints[model.joint_names[0]] + 0.5}
    tip = Kinematics(model).fk(list(q.values()))
    other = cameras.room(View(q, tip, view.base_T_ct), 320, 232, 1)
    assert (np.abs(other.astype(int) - room).sum(axis=2) > 60).mean() > 0.02
    assert not np.array_equal(cameras.guide(view, 240, 232, 1), cameras.guide(view, 240, 232, 2)), "no sensor noise"


def test_the_guide_camera_has_the_guides_tip_in_its_middle():
    model = load_model()
    view = nominal_view(model)
    tip = pose_to_matrix(view.base_T_tip)
    for ahead in (0.0, 0.05, 0.1):
        p = np.linalg.inv(guide_camera(view.base_T_tip)) @ np.array([*(tip[:3, 3] + ahead * tip[:3, 2]), 1.0])
        assert p[2] > 0 and np.hypot(p[0], p[1]) / p[2] < 0.45
