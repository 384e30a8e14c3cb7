"""Phantoms for needles and electrodes: a torso with a liver lesion, a head with a deep target. Spheres, ellipsoids and tubes, so that truth is a formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teleop.planning.corridors import Forbidden, Scene
from teleop.planning.images import Volume


@dataclass(frozen=True)
class Tube:
    """A vessel or rib: polyline points (n, 3) LPS mm and a radius."""

    name: str
    points: np.ndarray
    radius_mm: float

    def distance(self, p: np.ndarray) -> np.ndarray:
        """(N,) distance of points to the tube's surface, negative inside."""
        best = np.full(len(p), np.inf)
        for a, b in zip(self.points[:-1], self.points[1:], strict=True):
            d = b - a
            t = np.clip((p - a) @ d / float(d @ d), 0.0, 1.0)
            best = np.minimum(best, np.linalg.norm(p - a - t[:, None] * d, axis=1))
        return best - self.radius_mm


@dataclass(frozen=True)
class OrganPhantom:
    """scene: what a planner gets. body: solid under the entry surface. target_centre, target_radius: truth. tubes: truth of the forbidden structures."""

    scene: Scene
    body: np.ndarray
    target_centre: np.ndarray
    target_radius_mm: float
    tubes: tuple[Tube, ...]
    ct: Volume

    def true_clearance_mm(
        self, entry: np.ndarray, tip: np.ndarray, diameter_mm: float, skip_mm: float = 4.0
    ) -> dict[str, float]:
        """Analytic distance of a line's surface to each structure."""
        length = float(np.linalg.norm(tip - entry))
        s = np.arange(skip_mm, length, 0.1)
        points = entry + s[:, None] * (tip - entry) / length
        return {t.name: float(t.distance(points).min()) - diameter_mm / 2.0 for t in self.tubes}


def _grid(half: tuple[float, float, float], step: float) -> tuple[Volume, np.ndarray]:
    shape = tuple(int(2 * h / step) + 1 for h in half)
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = -np.array(half)
    volume = Volume(np.zeros(shape, dtype=np.int16), matrix, source="phantom")
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    return volume, volume.to_lps(ijk.astype(float))


def liver(seed: int = 0, radius_mm: float = 12.0, step_mm: float = 2.0, walled_in: bool = False) -> OrganPhantom:
    """A torso (ellipsoid) with ribs, portal vessels and a spherical lesion on the patient's right. walled_in: the lesion lies in a closed
    shell of vessel: no safe path."""
    rng = np.random.default_rng(seed)
    grid, p = _grid((170.0, 120.0, 110.0), step_mm)
    r = np.sqrt((p[:, 0] / 160.0) ** 2 + (p[:, 1] / 110.0) ** 2)
    body = (r < 1.0).reshape(grid.data.shape)
    skin = ((r < 1.0) & (r > 1.0 - 1.4 * step_mm / 110.0) & (p[:, 0] < -30.0) & (np.abs(p[:, 2]) < 90.0)).reshape(
        grid.data.shape
    )
    centre = np.array([-75.0, -5.0, 5.0]) + rng.uniform(-12.0, 12.0, 3)
    tubes = []
    for n, z in enumerate(np.arange(-80.0, 81.0, 24.0)):
        phi = np.linspace(np.pi / 2 + 0.2, 3 * np.pi / 2 - 0.2, 14)
        tubes.append(
            Tube(f"rib{n}", np.column_stack([148.0 * np.cos(phi), 99.0 * np.sin(phi), np.full(14, z + 4.0)]), 5.0)
        )
    trunk = np.array([[10.0, 10.0, -20.0], [-30.0, 8.0, 0.0], [-60.0, 22.0, 16.0]]) + rng.uniform(-4, 4, (3, 3))
    tubes.append(Tube("portal vein", trunk, 6.0))
    tubes.append(Tube("vena cava", np.array([[-15.0, 45.0, -110.0], [-15.0, 45.0, 110.0]]), 12.0))
    masks = [
        Forbidden(t.name, (t.distance(p) < 0.0).reshape(grid.data.shape), 3.0 if "rib" in t.name else 5.0)
        for t in tubes
    ]
    if walled_in:
        d = np.linalg.norm(p - centre, axis=1)
        masks.append(Forbidden("shell", ((d > radius_mm + 6.0) & (d < radius_mm + 14.0)).reshape(grid.data.shape), 3.0))
    target = (np.linalg.norm(p - centre, axis=1) < radius_mm).reshape(grid.data.shape)
    hu = np.where(body, 60, -1000).astype(np.int16)
    for f in masks:
        hu[f.mask] = 700 if "rib" in f.name else 180
    hu[target] = 30
    ct = Volume(hu, grid.lps_T_ijk, source=f"liver phantom {seed}")
    return OrganPhantom(Scene(ct, skin, target, tuple(masks)), body, centre, radius_mm, tuple(tubes), ct)


def head(seed: int = 0, step_mm: float = 1.5, blocked: bool = False) -> OrganPhantom:
    """A head (ellipsoid) with ventricles, cortical and sylvian vessels and a deep target on the left. Entry window: the frontal left
    skull. blocked: a plate of vessel under the whole window."""
    rng = np.random.default_rng(seed)
    grid, p = _grid((78.0, 96.0, 84.0), step_mm)
    r = np.sqrt((p[:, 0] / 72.0) ** 2 + (p[:, 1] / 90.0) ** 2 + (p[:, 2] / 78.0) ** 2)
    body = (r < 1.0).reshape(grid.data.shape)
    window = (
        (r < 1.0) & (r > 1.0 - 1.4 * step_mm / 78.0) & (p[:, 0] > 12.0) & (p[:, 1] < -5.0) & (p[:, 2] > 20.0)
    ).reshape(grid.data.shape)
    centre = np.array([12.0, 2.0, -4.0]) + rng.uniform(-1.5, 1.5, 3)
    tubes = [
        Tube(
            "ventricle",
            np.array([[8.0, -32.0, 14.0], [10.0, -8.0, 19.0], [16.0, 20.0, 16.0]]) + rng.uniform(-1.0, 1.0, (3, 3)),
            5.0,
        ),
        Tube(
            "sagittal sinus",
            np.array([[0.0, -80.0, 20.0], [0.0, -40.0, 66.0], [0.0, 20.0, 72.0], [0.0, 70.0, 40.0]]),
            4.0,
        ),
        Tube(
            "sylvian artery",
            np.array([[15.0, -10.0, -20.0], [40.0, -10.0, -10.0], [55.0, 10.0, 10.0]]) + rng.uniform(-2, 2, (3, 3)),
            2.0,
        ),
    ]
    for n in range(6):
        start = np.array([rng.uniform(16.0, 45.0), rng.uniform(-60.0, -10.0), 0.0])
        start[2] = 70.0 * np.sqrt(max(0.05, 1.0 - (start[0] / 66.0) ** 2 - (start[1] / 84.0) ** 2))
        end = start + np.array([rng.uniform(-10, 10), rng.uniform(10, 25), rng.uniform(-8, 4)])
        tubes.append(Tube(f"cortical vein {n}", np.array([start, end]), 1.2))
    masks = [
        Forbidden(
            t.name,
            (t.distance(p) < 0.0).reshape(grid.data.shape),
            2.5 if "vein" in t.name or "artery" in t.name else 2.0,
        )
        for t in tubes
    ]
    if blocked:
        masks.append(Forbidden("plate", ((r < 0.85) & (r > 0.75)).reshape(grid.data.shape), 2.0))
    target = (np.linalg.norm(p - centre, axis=1) < 3.0).reshape(grid.data.shape)
    hu = np.where(body, 35, -1000).astype(np.int16)
    hu[(r < 1.0).reshape(hu.shape) & (r > 0.94).reshape(hu.shape)] = 1100
    ct = Volume(hu, grid.lps_T_ijk, source=f"head phantom {seed}")
    return OrganPhantom(Scene(ct, window, target, tuple(masks)), body, centre, 3.0, tuple(tubes), ct)
