"""Meshes for the physics and points a probe can touch, from the implicit geometry."""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
import trimesh
from skimage.measure import marching_cubes

from sim.phantom.phantom import Phantom
from sim.phantom.vertebra import SIDES
from sim.phantom.volume import _vertebra_field, vertebra_bounds

MAX_TRIANGLES = 5000


def join(parts: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Several closed meshes as one."""
    whole = trimesh.util.concatenate(parts)
    assert isinstance(whole, trimesh.Trimesh)
    return whole


def vertebra_mesh(
    phantom: Phantom, level: str, step_mm: float = 1.2, max_triangles: int = MAX_TRIANGLES
) -> trimesh.Trimesh:
    """A watertight mesh of one vertebra, LPS mm, outward normals, at most `max_triangles`."""
    index = phantom.levels.index(level)
    v = phantom.vertebrae[index]
    corners = vertebra_bounds(v)
    low, high = corners.min(axis=0) - 2.0 * step_mm, corners.max(axis=0) + 2.0 * step_mm
    shape = np.ceil((high - low) / step_mm).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = v.lps_T_local[:3, :3] * step_mm
    matrix[:3, 3] = v.to_lps(low[None])[0]
    field = _vertebra_field(phantom, index, matrix, np.zeros(3, dtype=int), shape)
    vertices, faces, _, _ = marching_cubes(np.pad(field, 1, constant_values=10.0), 0.0)
    vertices = (vertices - 1.0) @ matrix[:3, :3].T + matrix[:3, 3]
    mesh = trimesh.Trimesh(vertices, faces, process=True)
    parts = mesh.split(only_watertight=True)
    if len(parts) > 1:  # crumbs left where joints were cut
        mesh = join([p for p in parts if abs(p.volume) > 0.02 * max(abs(q.volume) for q in parts)])
    if len(mesh.faces) > max_triangles:
        points, triangles = fast_simplification.simplify(
            mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), target_count=max_triangles
        )
        simple = trimesh.Trimesh(points, triangles, process=True)
        if simple.is_watertight:
            mesh = simple
    if mesh.volume < 0:
        mesh.invert()
    return mesh


@dataclass(frozen=True)
class Landmark:
    """A point on the dorsal bone a probe can touch, and the outward normal there. LPS mm."""

    name: str
    level: str
    lps_mm: np.ndarray
    normal: np.ndarray


def dorsal_point(phantom: Phantom, level: str, x: float, z: float) -> tuple[np.ndarray, np.ndarray] | None:
    """First bone met from behind at local (x, z): (LPS mm, unit outward normal), or None when the ray misses the bone."""
    v = phantom[level]
    y = np.arange(v.canal_back + 48.0, v.canal_front, -0.25)
    points = v.to_lps(np.column_stack([np.full_like(y, x), y, np.full_like(y, z)]))
    hit = np.flatnonzero(phantom.bone(level, points) <= 0.0)
    if not len(hit) or hit[0] == 0:
        return None
    a, b = points[hit[0] - 1], points[hit[0]]
    for _ in range(12):
        middle = (a + b) / 2.0
        a, b = (a, middle) if phantom.bone(level, middle[None])[0] <= 0.0 else (middle, b)
    h = 0.05
    steps = h * np.eye(3)
    gradient = phantom.bone(level, b + steps) - phantom.bone(level, b - steps)
    return b, gradient / np.linalg.norm(gradient)


def landmarks(phantom: Phantom, level: str) -> list[Landmark]:
    """Dorsal landmarks of one level: spinous process (tip, base), laminae, superior articular and transverse processes. Missing ones
    (laminectomy) are left out."""
    v = phantom[level]
    result = []
    z = float(np.mean([v.pedicles[s].centre[2] for s in SIDES]))
    wanted: list[tuple[str, float, float]] = [("spinous_upper", 0.0, z - 8.0), ("spinous_lower", 0.0, z - 20.0)]
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        p = v.pedicles[side]
        span = v.size.transverse_span / 2.0
        wanted += [
            (f"lamina_{side}", sign * 8.0, z - 9.0),
            (f"pars_{side}", p.entry[0] - sign * 3.0, p.entry[2] - 8.0),
            (f"articular_{side}", p.entry[0] + sign * 1.5, p.centre[2] + p.height / 2.0 + 5.0),
            (f"transverse_{side}", sign * 0.82 * span, p.entry[2] + 1.0),
        ]
    for name, x, height in wanted:
        found = dorsal_point(phantom, level, x, height)
        if found is not None:
            result.append(Landmark(f"{level}_{name}", level, *found))
    return result


def surface_points(phantom: Phantom, level: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) LPS mm: random dorsal surface points a probe could slide over (laminae, articular and spinous base), for surface registration."""
    v = phantom[level]
    points: list[np.ndarray] = []
    reach = abs(v.pedicles["left"].entry[0]) + 4.0
    while len(points) < count:
        found = dorsal_point(phantom, level, float(rng.uniform(-reach, reach)), float(rng.uniform(-22.0, 14.0)))
        if found is not None and float(found[1] @ v.lps_T_local[:3, 1]) > 0.3:
            points.append(found[0])
    return np.array(points)
