"""What stands in the simulated room, as meshes: the arm's links, the guide, the table, the draped patient with an open field.

Metres. Link meshes come from the arm's own URDF (pybullet_data at run time); bones from the phantom's folder where there
is one, else simple shapes.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import fast_simplification
import numpy as np
import trimesh
from numpy.typing import NDArray

from sim import layout
from sim.pictures.raster import Mesh
from teleop.arm.model import ArmModel

Matrix = NDArray[np.float64]
#: Triangles of one link, of one vertebra: enough at 640 pixels.
LINK_TRIANGLES, BONE_TRIANGLES = 700, 1500
SKIN, DRAPE, MUSCLE, BONE = (205.0, 160.0, 135.0), (58.0, 122.0, 132.0), (140.0, 46.0, 42.0), (232.0, 222.0, 196.0)
#: The open field: half width across, half length along the spine (m), about the CT origin.
FIELD_HALF = (0.055, 0.105)


@dataclass(frozen=True)
class Link:
    """One moving part: name, mesh, and the joint that carries it (parent link, fixed origin, axis or None)."""

    name: str
    parent: str
    origin: Matrix
    axis: NDArray[np.float64] | None
    joint: str
    meshes: tuple[tuple[Mesh, Matrix], ...]


def to_mesh(shape: trimesh.Trimesh, colour: tuple[float, ...], limit: int, shine: float = 0.2) -> Mesh:
    """A trimesh as `Mesh`, simplified to about `limit` triangles."""
    v, f = np.asarray(shape.vertices, dtype=np.float32), np.asarray(shape.faces, dtype=np.int32)
    if len(f) > limit:
        v, f = fast_simplification.simplify(v, f, target_count=limit)
    return Mesh(np.ascontiguousarray(v, dtype=np.float32), np.ascontiguousarray(f, dtype=np.int32),
                np.tile(np.array(colour, dtype=np.float32), (len(f), 1)), shine)  # fmt: skip


def _origin(element: ET.Element | None) -> Matrix:
    m = np.eye(4)
    if element is not None:
        r, p, y = (float(v) for v in element.get("rpy", "0 0 0").split())
        cr, sr, cp, sp, cy, sy = np.cos(r), np.sin(r), np.cos(p), np.sin(p), np.cos(y), np.sin(y)
        m[:3, :3] = np.array([
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr], [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr], [-sp, cp * sr, cp * cr],
        ])  # fmt: skip
        m[:3, 3] = [float(v) for v in element.get("xyz", "0 0 0").split()]
    return m


def _shapes(link: ET.Element, folder: Path, colour: tuple[float, ...]) -> tuple[tuple[Mesh, Matrix], ...]:
    out = []
    for visual in link.findall("visual"):
        geometry = visual.find("geometry")
        assert geometry is not None
        mesh, box, tube = geometry.find("mesh"), geometry.find("box"), geometry.find("cylinder")
        if mesh is not None:
            name = mesh.get("filename", "").split("://")[-1]
            shape = trimesh.load_mesh(str((folder / name).with_suffix(".stl")))
        elif box is not None:
            shape = trimesh.creation.box([float(v) for v in box.get("size", "").split()])
        elif tube is not None:
            shape = trimesh.creation.cylinder(float(tube.get("radius", "0")), float(tube.get("length", "0")), sections=20)
        else:
            continue
        out.append((to_mesh(shape, colour, LINK_TRIANGLES, 0.5), _origin(visual.find("origin"))))
    return tuple(out)


def arm_links(model: ArmModel) -> list[Link]:
    """The arm's links in the order parent first, the guide's last."""
    out: list[Link] = []
    arm, tool = ET.parse(model.urdf).getroot(), ET.parse(model.tool_urdf).getroot()
    colours = {"odd": (226.0, 118.0, 34.0), "even": (208.0, 212.0, 216.0)}
    links = {e.get("name", ""): e for e in arm.findall("link")}
    carried = {j.find("child").get("link"): j for j in arm.findall("joint")}  # type: ignore[union-attr]
    root = next(n for n in links if n not in carried)
    todo = [root]
    while todo:
        name = todo.pop(0)
        joint = carried.get(name)
        shapes = _shapes(links[name], model.urdf.parent, colours["even" if len(out) % 2 else "odd"])
        if joint is None:
            out.append(Link(name, "", np.eye(4), None, "", shapes))
        else:
            axis = joint.find("axis")
            moving = joint.get("type") in ("revolute", "continuous")
            direction = np.array([float(v) for v in axis.get("xyz", "0 0 1").split()]) if moving and axis is not None else None
            parent = joint.find("parent")
            assert parent is not None
            out.append(Link(name, parent.get("link", ""), _origin(joint.find("origin")), direction, joint.get("name", ""), shapes))
        todo += [j.find("child").get("link", "") for j in arm.findall("joint") if j.find("parent").get("link") == name]  # type: ignore[union-attr]
    tool_links = {e.get("name", ""): e for e in tool.findall("link")}
    tool_joints = {j.find("child").get("link"): j for j in tool.findall("joint")}  # type: ignore[union-attr]
    from teleop.geometry import pose_to_matrix

    for name, element in tool_links.items():
        joint = tool_joints.get(name)
        shapes = _shapes(element, model.tool_urdf.parent, (178.0, 186.0, 194.0))
        if joint is None:
            out.append(Link(name, model.flange_link, pose_to_matrix(model.last_link_T_flange), None, "", shapes))
        else:
            parent = joint.find("parent")
            assert parent is not None
            out.append(Link(name, parent.get("link", ""), _origin(joint.find("origin")), None, "", shapes))
    return out


def link_poses(links: list[Link], joints: dict[str, float]) -> dict[str, Matrix]:
    """base_T_link of every link for joint positions (rad) by name."""
    poses: dict[str, Matrix] = {}
    for link in links:
        m = link.origin
        if link.axis is not None:
            m = m @ _turn(link.axis, joints.get(link.joint, 0.0))
        poses[link.name] = poses[link.parent] @ m if link.parent else m
    return poses


def _turn(axis: NDArray[np.float64], angle: float) -> Matrix:
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    m = np.eye(4)
    m[:3, :3] = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    return m


def patient(bones: Path | None) -> list[tuple[Mesh, Matrix]]:
    """The prone patient in CT axes (LPS directions, metres, CT origin): drape with an open field, muscle in it, bones."""
    a, b = layout.TORSO_HALF[0], layout.TORSO_HALF[1]
    cy = layout.TORSO_MIDDLE_Y
    across, along = np.linspace(0, 2 * np.pi, 49), np.linspace(-layout.TORSO_HALF[2], layout.TORSO_HALF[2], 41)
    grid = np.array([[(a * np.cos(t), cy + b * np.sin(t), z) for t in across] for z in along], dtype=np.float32)
    vertices, faces, colours = grid.reshape(-1, 3), [], []
    for r in range(len(along) - 1):
        for c in range(len(across) - 1):
            q = [r * 49 + c, r * 49 + c + 1, (r + 1) * 49 + c + 1, (r + 1) * 49 + c]
            m = vertices[q].mean(axis=0)
            dorsal = m[1] > cy
            if dorsal and abs(m[0]) < FIELD_HALF[0] and abs(m[2]) < FIELD_HALF[1]:
                continue
            skin = dorsal and abs(m[0]) < FIELD_HALF[0] + 0.03 and abs(m[2]) < FIELD_HALF[1] + 0.035
            faces += [[q[0], q[1], q[2]], [q[0], q[2], q[3]]]
            colours += [SKIN if skin else DRAPE] * 2
    for r in (0, len(along) - 1):  # head and foot end of the drape
        ring = [r * 49 + c for c in range(49)]
        for c in range(1, 47):
            faces.append([ring[0], ring[c], ring[c + 1]])
            colours.append(DRAPE)
    body = Mesh(vertices, np.array(faces, dtype=np.int32), np.array(colours, dtype=np.float32), 0.05)
    out = [(body, np.eye(4))]
    # The floor of the field: muscle, a little wavy, below the spinous processes.
    n = 24
    xs, zs = np.linspace(-FIELD_HALF[0] - 0.01, FIELD_HALF[0] + 0.01, n), np.linspace(-FIELD_HALF[1] - 0.01, FIELD_HALF[1] + 0.01, n)
    rng = np.random.default_rng(3)
    floor = np.array([[(x, 0.045 + 0.02 * (abs(x) / 0.06) + rng.normal(0, 0.0015), z) for x in xs] for z in zs], dtype=np.float32).reshape(-1, 3)
    tiles = [(r * n + c, r * n + c + 1, (r + 1) * n + c + 1, (r + 1) * n + c) for r in range(n - 1) for c in range(n - 1)]
    flat = np.array([t for q in tiles for t in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))], dtype=np.int32)
    red = np.clip(np.array(MUSCLE) + rng.normal(0, 10, (len(flat), 3)), 0, 255).astype(np.float32)
    out.append((Mesh(floor, flat, red, 0.5), np.eye(4)))
    files = sorted(bones.glob("*.stl")) if bones is not None and bones.is_dir() else []
    for file in files:
        out.append((to_mesh(trimesh.load_mesh(str(file)), BONE, BONE_TRIANGLES, 0.3), np.eye(4)))
    if not files:
        for k in range(5):
            m = np.eye(4)
            m[:3, 3] = (0.0, 0.0, 0.08 - 0.04 * k)
            out.append((to_mesh(trimesh.creation.box((0.048, 0.06, 0.028)), BONE, 50), m))
    return out


def surroundings() -> list[tuple[Mesh, Matrix]]:
    """Table, floor, and the arm's pedestal, in the base frame."""
    ct = np.eye(4)
    ct[:3, 0], ct[:3, 1], ct[:3, 2], ct[:3, 3] = (-1, 0, 0), (0, 0, 1), (0, 1, 0), layout.CT_ORIGIN
    table = np.eye(4)
    table[:3, 3] = (0.0, layout.TORSO_MIDDLE_Y - layout.TORSO_HALF[1] - layout.TABLE_HALF[1], 0.0)
    top = to_mesh(trimesh.creation.box(2 * np.array(layout.TABLE_HALF)), (92.0, 100.0, 110.0), 100)
    n = 14
    xs = np.linspace(-1.6, 2.2, n)
    floor = np.array([[(x, y, layout.FLOOR_Z) for x in xs] for y in np.linspace(-2.2, 2.6, n)], dtype=np.float32).reshape(-1, 3)
    faces, colours = [], []
    for r in range(n - 1):
        for c in range(n - 1):
            q = (r * n + c, r * n + c + 1, (r + 1) * n + c + 1, (r + 1) * n + c)
            faces += [(q[0], q[1], q[2]), (q[0], q[2], q[3])]
            colours += [(150.0, 158.0, 160.0) if (r + c) % 2 else (138.0, 147.0, 150.0)] * 2
    ground = Mesh(floor, np.array(faces, dtype=np.int32), np.array(colours, dtype=np.float32), 0.0)
    post = np.eye(4)
    post[2, 3] = layout.FLOOR_Z / 2
    pedestal = to_mesh(trimesh.creation.cylinder(0.12, -layout.FLOOR_Z, sections=24), (70.0, 76.0, 84.0), 200)
    return [(ground, np.eye(4)), (top, ct @ table), (pedestal, post)]
