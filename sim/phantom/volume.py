"""Render a phantom as CT and label map, with partial volume, noise, and the scanner's grid.

Thick slices and coarse pixels are rendered fine and averaged, as a scanner does, so that the partial-volume effect is the real one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sim.phantom import implicit
from sim.phantom.dimensions import TOTALSEGMENTATOR
from sim.phantom.phantom import Phantom, _rotation
from sim.phantom.vertebra import SIDES, Vertebra
from teleop.planning.images import Volume

CORTEX_MM = 0.9
"""Thickness of the cortical shell; the L3 histology has 0.6 to 1.6 by wall, one value keeps the truth simple."""
FINE_MM = 0.9
SUBREGION = {"canal": 61, "corpus": 49, "facet_left": 45, "facet_right": 46}
"""SPINEPS sub-region values of the extra map."""


@dataclass(frozen=True)
class Rendered:
    """ct: int16 HU. labels: uint8, TotalSegmentator values. structures: uint8, SPINEPS sub-region values."""

    ct: Volume
    labels: Volume
    structures: Volume


def vertebra_bounds(vertebra: Vertebra) -> np.ndarray:
    """(8, 3) corners in local mm of a box that holds the whole bone."""
    s = vertebra.size
    lateral = s.transverse_span / 2.0 + 5.0
    front = -max(s.depth_upper, s.depth_lower) / 2.0 - 4.0
    back = vertebra.canal_back + (42.0 if not vertebra.level.startswith("T") else 48.0)
    low = -s.height / 2.0 - (24.0 if not vertebra.level.startswith("T") else 34.0)
    high = s.height / 2.0 + 18.0
    return np.array([[x, y, z] for x in (-lateral, lateral) for y in (front, back) for z in (low, high)])


def default_grid(
    phantom: Phantom,
    spacing_mm: tuple[float, float, float],
    rotation_deg: tuple[float, float, float],
    margin_mm: float,
    skin: bool,
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """lps_T_ijk and shape of a grid around all vertebrae; with `skin` it reaches 12 mm of air behind the back."""
    direction = _rotation(*rotation_deg)
    points = np.concatenate([v.to_lps(vertebra_bounds(v)) for v in phantom.vertebrae]) @ direction
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    if skin:
        high[1] += 30.0
    shape = tuple(int(n) for n in np.ceil((high - low) / np.array(spacing_mm)).astype(int) + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.array(spacing_mm)
    matrix[:3, 3] = direction @ low
    return matrix, shape  # type: ignore[return-value]


def _background(phantom: Phantom, matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Soft tissue: muscle, a fat layer, air behind the skin. The skin is an ellipse about the patient's axis, 25 mm behind the spinous tips."""
    t = phantom.tissue
    upright = bool(np.abs(matrix[:2, 2]).max() < 1e-9)  # then every slice along k is the same
    i, j, k = (np.arange(n, dtype=np.float32) for n in (shape[0], shape[1], 1 if upright else shape[2]))
    m = matrix.astype(np.float32)
    grid = [
        m[a, 0] * i[:, None, None] + m[a, 1] * j[None, :, None] + m[a, 2] * k[None, None, :] + m[a, 3] for a in range(2)
    ]
    depth = skin_depth(phantom, grid[0], grid[1])
    hu = np.full(depth.shape, t.muscle, dtype=np.float32)
    hu[depth < 14.0] = t.fat
    hu[depth < 0.0] = t.air
    return np.repeat(hu, shape[2], axis=2) if upright else hu


def skin_depth(phantom: Phantom, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth under the skin, mm (negative in air), first order. The body's cross-section is an ellipse, 340 x 250 mm, the same at every height."""
    back = max(v.canal_back + 40.0 for v in phantom.vertebrae) + 22.0
    cy = phantom.skin_lps[1] + back - 125.0
    u, v = (x - phantom.skin_lps[0]) / 170.0, (y - cy) / 125.0
    rho = np.sqrt(u * u + v * v)
    slope = np.sqrt((u / 170.0) ** 2 + (v / 125.0) ** 2) / np.maximum(rho, 1e-3)
    return (1.0 - rho) / np.maximum(slope, 1e-4)


def _index_box(vertebra: Vertebra, inverse: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    corners = vertebra.to_lps(vertebra_bounds(vertebra))
    ijk = corners @ inverse[:3, :3].T + inverse[:3, 3]
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, np.array(shape))
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, np.array(shape))
    return low, high


def _vertebra_field(phantom: Phantom, index: int, matrix: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """f (joints and defects cut) on the sub-grid [low, high)."""
    v = phantom.vertebrae[index]
    step = matrix[:3, :3].T @ v.lps_T_local[:3, :3]
    corner = matrix[:3, :3] @ low + matrix[:3, 3]
    size = tuple(int(n) for n in high - low)
    f = implicit.shape_grid(v.rows, v.to_local(corner[None])[0], step[0], step[1], step[2], size, 4)
    near = np.flatnonzero(
        (f < 1.5).ravel() & (f > -4.0).ravel()
    )  # carving only takes bone away, and nothing beyond 1 mm is drawn
    ijk = np.stack(np.unravel_index(near, size), axis=1) + low
    points = ijk @ matrix[:3, :3].T + matrix[:3, 3]
    flat = f.ravel()
    flat[near] = phantom._carve(index, points, flat[near].astype(float))
    return flat.reshape(size)


def render(
    phantom: Phantom,
    spacing_mm: float | tuple[float, float, float] = 0.7,
    *,
    noise_hu: float = 25.0,
    grid_rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    margin_mm: float = 6.0,
    skin: bool = True,
    crop_mm: float = 0.0,
    noise_seed: int = 0,
    with_structures: bool = True,
    fine_mm: float = FINE_MM,
) -> Rendered:
    """Render CT and labels.

    spacing_mm: voxel size (i, j, k). noise_hu: SD of the noise in the image, slightly correlated as after a reconstruction kernel.
    fine_mm: voxels larger than this are rendered fine and averaged (partial volume).
    grid_rotation_deg: oblique acquisition. skin: include the back's skin and air. crop_mm: cut this much off the cranial end (a vertebra cut by the border).
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,)).copy()
    matrix, shape = default_grid(phantom, tuple(spacing), grid_rotation_deg, margin_mm, skin)  # type: ignore[arg-type]
    if crop_mm > 0.0:
        shape = (shape[0], shape[1], max(2, shape[2] - round(crop_mm / spacing[2])))
    sub = np.maximum(1, np.ceil(spacing / fine_mm - 1e-6).astype(int))
    fine = matrix.copy()
    fine[:3, :3] = matrix[:3, :3] / sub
    fine[:3, 3] = matrix[:3, 3] - matrix[:3, :3] @ ((sub - 1) / (2.0 * sub))
    fine_shape = tuple(int(n) for n in np.array(shape) * sub)
    ct, labels, regions = _render_fine(phantom, fine, fine_shape, with_structures, skin)  # type: ignore[arg-type]
    if (sub > 1).any():
        ct, labels, regions = _average(ct, sub), _majority(labels, sub), _majority(regions, sub)
    if noise_hu > 0.0:
        rng = np.random.default_rng((phantom.seed, noise_seed, 7))
        noise = rng.standard_normal(ct.shape, dtype=np.float32)
        noise = ndimage.uniform_filter(noise, 2, mode="wrap")  # 2 x 2 x 2 box: SD falls by sqrt(8)
        ct = ct + noise * np.float32(noise_hu * np.sqrt(8.0))
    hu = np.clip(np.rint(ct), -1024, 3071).astype(np.int16)
    return Rendered(
        Volume(hu, matrix, source=f"phantom seed {phantom.seed}"),
        Volume(labels, matrix, source=f"phantom seed {phantom.seed}"),
        Volume(regions, matrix, source=f"phantom seed {phantom.seed}"),
    )


def _average(data: np.ndarray, sub: np.ndarray) -> np.ndarray:
    n = np.array(data.shape) // sub
    return data.reshape(n[0], sub[0], n[1], sub[1], n[2], sub[2]).mean(axis=(1, 3, 5), dtype=np.float32)


def _majority(labels: np.ndarray, sub: np.ndarray) -> np.ndarray:
    n = np.array(labels.shape) // sub
    best = np.zeros(tuple(n), dtype=np.float32) + 0.5
    out = np.zeros(tuple(n), dtype=np.uint8)
    for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)):
        if value:
            share = _average((labels == value).astype(np.float32), sub)
            out[share > best] = value
            best = np.maximum(best, share)
            # a label needs half of the voxel, as when a segmentation is resampled by occupancy
    return out


def _render_fine(
    phantom: Phantom, matrix: np.ndarray, shape: tuple[int, int, int], with_structures: bool, skin: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    t = phantom.tissue
    inverse = np.linalg.inv(matrix)
    ct = _background(phantom, matrix, shape) if skin else np.full(shape, t.muscle, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    regions = np.zeros(shape if with_structures else (1, 1, 1), dtype=np.uint8)
    blur = float(np.clip(np.linalg.norm(matrix[:3, :3], axis=0).max(), 0.4, 1.0))
    for index, v in enumerate(phantom.vertebrae):
        low, high = _index_box(v, inverse, shape)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        f = _vertebra_field(phantom, index, matrix, low, high)
        near = f < blur
        d = f[near]
        bone = np.clip(0.5 - d / blur, 0.0, 1.0)
        core = np.clip(0.5 - (d + CORTEX_MM) / blur, 0.0, 1.0)
        inside = t.cortical + (t.cancellous - t.cortical) * core
        view = ct[box]
        view[near] = np.maximum(view[near], view[near] * (1.0 - bone) + inside * bone)
        labels[box][f < 0.0] = TOTALSEGMENTATOR[v.level]
        if with_structures:
            _mark_structures(phantom, v, matrix, low, high, f, regions[box], labels[box])
    for centre, radius in phantom.cement:
        _ball(ct, matrix, inverse, centre, radius, 1800.0)
    for screw in phantom.metal:
        _cylinder(ct, matrix, inverse, screw.start_lps_mm, screw.end_lps_mm, screw.radius_mm, screw.hu)
    return ct, labels, regions


def _mark_structures(
    phantom: Phantom,
    v: Vertebra,
    matrix: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    f: np.ndarray,
    regions: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Write canal, corpus and facet values into the sub-region map."""
    size = tuple(int(n) for n in high - low)
    step = matrix[:3, :3].T @ v.lps_T_local[:3, :3]
    corner = v.to_local((matrix[:3, :3] @ low + matrix[:3, 3])[None])[0]
    i, j, k = (np.arange(n, dtype=np.float32) for n in size)
    local = [
        corner[a] + step[0, a] * i[:, None, None] + step[1, a] * j[None, :, None] + step[2, a] * k[None, None, :]
        for a in range(3)
    ]
    half = v.size.height * v.size.collapse / 2.0
    body_row = v.rows[0]
    inside_body = (
        (local[1] < v.canal_front - 0.5)
        & (np.abs(local[0]) < max(body_row[2], body_row[3]) / 2.0)
        & (np.abs(local[2]) < half + 4.0)
    )
    regions[(f < 0.0) & inside_body] = SUBREGION["corpus"]
    c = v.rows[-1]
    tube = (np.abs(local[0]) / c[3]) ** c[6] + (np.abs(local[1] - c[2]) / c[4]) ** c[6] < 1.0
    regions[tube & (np.abs(local[2]) < half + v.size.disc_below / 2.0) & (f > 0.0) & (labels == 0)] = SUBREGION["canal"]
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        p = v.pedicles[side]
        zone = (
            (f < 0.0)
            & (local[2] > p.centre[2] + p.height / 2.0 + 2.0)
            & (local[1] > v.canal_front + 2.0)
            & (sign * local[0] > 4.0)
        )
        regions[zone] = SUBREGION[f"facet_{side}"]


def _ball(
    ct: np.ndarray, matrix: np.ndarray, inverse: np.ndarray, centre: np.ndarray, radius: float, hu: float
) -> None:
    _cylinder(ct, matrix, inverse, centre, centre + np.array([0.0, 0.0, 1e-3]), radius, hu)


def _cylinder(
    ct: np.ndarray, matrix: np.ndarray, inverse: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float, hu: float
) -> None:
    """Paint a round-ended cylinder."""
    ends = np.array([a, b]) @ inverse[:3, :3].T + inverse[:3, 3]
    reach = radius / np.linalg.norm(matrix[:3, :3], axis=0) + 2
    low = np.clip(np.floor(ends.min(axis=0) - reach).astype(int), 0, np.array(ct.shape))
    high = np.clip(np.ceil(ends.max(axis=0) + reach).astype(int), 0, np.array(ct.shape))
    if (high <= low).any():
        return
    box = tuple(slice(p, q) for p, q in zip(low, high, strict=True))
    ijk = np.stack(np.meshgrid(*[np.arange(p, q) for p, q in zip(low, high, strict=True)], indexing="ij"), axis=-1)
    points = ijk @ matrix[:3, :3].T + matrix[:3, 3]
    axis = b - a
    s = np.clip(((points - a) @ axis) / max(float(axis @ axis), 1e-9), 0.0, 1.0)
    distance = np.linalg.norm(points - a - s[..., None] * axis, axis=-1)
    ct[box][distance < radius] = hu
