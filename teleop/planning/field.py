"""The working fields of one vertebra, on an isotropic grid in its own frame.

`Anatomy` is what the screw planner and the editor work on: signed distance to the bone surface (inside positive), the same with safety margins by wall,
frame, isthmus of each pedicle, cranial facet points. Everything in millimetres; grid index = (v - low) / step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from teleop.planning import distance
from teleop.planning.frame import FrameError, VertebraFrame, core_points, find_frame
from teleop.planning.images import Volume
from teleop.planning.levels import SIDES, Labels

STEP_MM = 0.7
DORSAL_NORMAL = 0.6
"""A surface behind the canal's front whose outward normal has a larger posterior component is the dorsal cortex. It is not kept as a wall: a screw enters
through it, and a ball 4 mm under it would forbid every radius above 3 mm. Steeper surfaces (beyond 53 deg, where a drill skives) stay walls."""
FACET_JOINT_MM = 2.2
"""Bone of the level above closer than this (plus half a voxel) is the other half of a facet joint."""
FINE_SLICE_MM = 0.6
"""Slices at least twice as thick as this and as the pixels are interpolated by shape before they are smoothed."""
SMOOTH_MM, SMOOTH_VOXELS = 0.85, (0.8, 1.2)
"""Gaussian on the label before it is read as a level set: about 0.85 mm, between 0.8 and 1.2 voxels. Less leaves the staircase of the voxels,
whose worst point decides a clearance (a 6.8 mm pedicle at 0.7 mm seemed 6.4 to 6.6 mm wide at 0.8 voxels); more takes bone off thin bars."""


TYPICAL_CONVERGENCE_DEG: dict[str, float] = {
    **{f"T{i}": 33.0 - 30.0 * (i - 1) / 11.0 for i in range(1, 13)}, "L1": 10.0, "L2": 12.5, "L3": 14.0, "L4": 17.0, "L5": 27.0, "S1": 33.0,
}  # fmt: skip
"""Published transverse pedicle angles (1512 thoracic pedicles: 33 deg at T1 to 3 at T12; lumbar CT of 100 adults, rounded). A lean, never a limit."""


@dataclass(frozen=True)
class Margins:
    """Bone that must remain between shank and wall, mm. Dura and root lie 1.5 mm from the medial and inferior wall (Ebraheim), hence those two."""

    medial: float = 1.5
    caudal: float = 1.5
    lateral: float = 1.0
    cranial: float = 1.0
    body: float = 1.0
    canal: float = 1.5
    facet: float = 1.0
    anterior: float = 5.0


@dataclass(frozen=True)
class Isthmus:
    """The narrowest section of a pedicle, v coordinates. width: diameter of the largest inscribed circle, mm. axis: towards the body."""

    side: str
    centre: np.ndarray
    axis: np.ndarray
    width: float
    height: float
    sections: np.ndarray
    """(n, 5): y, best distance in that section, x, z of its centre, upper bound of the margin field over the section."""


@dataclass(frozen=True)
class Anatomy:
    """One vertebra, ready to be planned on."""

    level: str
    frame: VertebraFrame
    low: np.ndarray
    step: float
    solid: np.ndarray
    """(ni, nj, nk) float32: smoothed occupancy, bone where > 0.5."""
    bone: np.ndarray
    """Distance to the walls, inside positive, mm. The dorsal cortex, which every screw pierces, is no wall (see `DORSAL_NORMAL`)."""
    guarded: np.ndarray
    """The same minus the margin of the nearest-by-margin wall: a shank of radius r is allowed where guarded >= r."""
    margins: Margins
    isthmus: dict[str, Isthmus]
    facet: dict[str, np.ndarray]
    """Points (v, mm) of the own cranial facet surface per side; may be empty."""
    status: str = "OK"
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    uncertainty_mm: float = 0.2

    def index(self, v_mm: np.ndarray) -> np.ndarray:
        return (np.atleast_2d(v_mm) - self.low) / self.step

    def sample(self, grid: np.ndarray, v_mm: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(grid, self.index(v_mm).T, order=1, mode="nearest")


def crop_label(labels: Labels, level: str, box: tuple[slice, ...], margin_mm: float = 3.0) -> tuple[np.ndarray, Volume]:
    """Boolean mask of one level, cropped with a margin, and the crop as a Volume."""
    spacing = labels.volume.spacing_mm
    pad = np.ceil(margin_mm / spacing).astype(int) + 2
    low = np.array([b.start for b in box]) - pad
    high = np.array([b.stop for b in box]) + pad
    crop = labels.volume.crop(low, high)
    return crop.data == labels.value(level), crop


def build(
    labels: Labels,
    level: str,
    box: tuple[slice, ...],
    margins: Margins,
    up_hint: np.ndarray | None = None,
    canal_hint: np.ndarray | None = None,
    neighbour_above: int | None = None,
    step: float = STEP_MM,
    depth: np.ndarray | None = None,
) -> Anatomy:
    """All fields of one level. box: its bounding box in the label volume. depth: what `check_label` gave. Raises FrameError with a status."""
    mask, crop = crop_label(labels, level, box)
    spacing = crop.spacing_mm
    stride = np.maximum(1, np.round(1.5 / spacing)).astype(int)
    coarse = mask[:: stride[0], :: stride[1], :: stride[2]]
    matrix = crop.lps_T_ijk.copy()
    matrix[:3, :3] = matrix[:3, :3] * stride
    ijk = np.argwhere(coarse)
    if len(ijk) < 200:
        raise FrameError("BAD_GEOMETRY", f"{level}: the label holds only {int(mask.sum())} voxels")
    points = ijk @ matrix[:3, :3].T + matrix[:3, 3]
    core = core_points(coarse, spacing * stride, matrix, depth)
    corpus = structure_points(labels, "corpus", box, level, spacing)
    canal = structure_points(labels, "canal", box, None, spacing)
    try:
        frame = find_frame(points, corpus if len(corpus) > 60 else core, up_hint, canal_hint)
    except FrameError:
        if len(canal) < 60:
            raise
        frame = find_frame(points, corpus if len(corpus) > 60 else core, up_hint, canal)
    low = np.array([-35.0, frame.body_front - 4.0, -frame.body_height / 2.0 - 8.0])
    high = np.array([35.0, frame.canal_front + 27.0, frame.body_height / 2.0 + 12.0])
    shape = tuple(int(n) for n in np.ceil((high - low) / step).astype(int) + 1)
    grid = np.eye(4)
    grid[:3, :3] = frame.lps_T_v[:3, :3] * step
    grid[:3, 3] = frame.to_lps(low)[0]
    soft, soft_T = occupancy(mask, crop.lps_T_ijk, grid, shape)
    g = distance.resample(soft, (np.linalg.inv(soft_T) @ grid)[:3], shape, 0.0)
    points_i, normals, owner = distance.surface_seeds(g, 1.2)
    if len(points_i) < 100:
        raise FrameError("BAD_GEOMETRY", f"{level}: no bone surface found around the body")
    active = distance.band_of(g, 3)
    inside = g > 0.5
    everything, all_normals = points_i * step + low, normals
    wall = ~((normals[:, 1] > DORSAL_NORMAL) & (everything[:, 1] > frame.canal_front + 4.0))
    points_i, normals, owner = points_i[wall], normals[wall], owner[wall]
    zero = np.zeros(len(points_i), dtype=np.float32)
    value, _ = distance.propagate(points_i, owner, zero, active, 2)
    bone = np.where(inside, value, -np.minimum(value, np.float32(1e3))).astype(np.float32) * np.float32(step)
    bone = np.clip(bone, np.float32(-50.0), np.float32(40.0))  # 40: bone beyond the grid's edge
    walls = points_i * step + low
    isthmus = {
        side: found for side in SIDES if (found := find_isthmus(bone, frame, low, step, side, level)) is not None
    }
    margin = wall_margins(walls, normals, frame, isthmus, margins)
    marked = {side: frame.to_v(structure_points(labels, f"facet_{side}", box, level, spacing)) for side in SIDES}
    facet = facet_points(labels, crop, frame, everything, all_normals, isthmus, neighbour_above, marked)
    guarded_value, _ = distance.propagate(points_i, owner, (margin / step).astype(np.float32), active & inside, 2)
    guarded = np.where(
        inside, guarded_value * np.float32(step), bone - np.float32(max(margins.medial, margins.caudal))
    ).astype(np.float32)
    guarded = np.clip(guarded, np.float32(-50.0), np.float32(40.0))
    measures = {
        "body_height_mm": frame.body_height,
        "body_width_mm": frame.body_width,
        "body_depth_mm": frame.body_depth,
        "canal_depth_mm": frame.canal_back - frame.canal_front,
        "canal_width_mm": 2.0 * frame.canal_half_width,
        "endplate_tilt_deg": frame.endplate_tilt_deg,
    }
    uncertainty = 0.1 + 0.2 * float(spacing.max())
    return Anatomy(level, frame, low, step, g, bone, guarded, margins, isthmus, facet, "OK", (), measures, uncertainty)


def structure_points(
    labels: Labels, name: str, box: tuple[slice, ...], level: str | None, spacing: np.ndarray
) -> np.ndarray:
    """(N, 3) LPS mm of a labelled structure ('canal', 'corpus', 'facet_left' ...) around a level's box, thinned to about 1.5 mm; empty without that
    label. level: only what also carries this level's label."""
    mask = labels.structures.get(name)
    if mask is None:
        return np.zeros((0, 3))
    low = np.maximum(np.array([b.start for b in box]) - 3, 0)
    high = np.minimum(np.array([b.stop for b in box]) + 3, mask.shape)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = np.asarray(mask[cut])
    if level is not None:
        part = part & (labels.volume.data[cut] == labels.value(level))
    stride = np.maximum(1, np.round(1.5 / spacing)).astype(int)
    ijk = np.argwhere(part[:: stride[0], :: stride[1], :: stride[2]]) * stride + low
    return labels.volume.to_lps(ijk.astype(float))


def smoothed(field_in: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The occupancy after the Gaussian of SMOOTH_MM. spacing: (3,) mm."""
    sigma = np.clip(SMOOTH_MM / spacing, *SMOOTH_VOXELS)
    return ndimage.gaussian_filter(field_in.astype(np.float32), sigma, truncate=2.5)


def occupancy(
    mask: np.ndarray, lps_T_ijk: np.ndarray, lps_T_grid: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The label as a smooth occupancy (bone where > 0.5), cut to what the working grid covers. -> (float32 field, its lps_T_ijk).

    Thick slices are first interpolated by shape (signed distance within each slice, linear between slices; Raya and Udupa 1990):
    a smoothing as wide as a 2.4 mm slice would take 0.8 mm off a pedicle.
    """
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*(np.array(shape) - 1), 1.0]
    ijk = corners @ (np.linalg.inv(lps_T_ijk) @ lps_T_grid)[:3].T
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int) - 3, 0, np.array(mask.shape) - 1)
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 4, low + 1, mask.shape)
    part = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    matrix = lps_T_ijk.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axis = int(np.argmax(spacing))
    rest = np.delete(spacing, axis)
    pieces = round(float(spacing[axis]) / max(float(rest.max()), FINE_SLICE_MM))
    if pieces < 2:
        return smoothed(part, spacing), matrix
    slices = np.moveaxis(part, axis, 0)
    reach = float(spacing[axis])
    signed = np.full(slices.shape, -reach, dtype=np.float32)
    for n, plane in enumerate(slices):
        if plane.any():
            distance_mm = ndimage.distance_transform_edt(plane, sampling=rest) - ndimage.distance_transform_edt(
                ~plane, sampling=rest
            )
            # voxel centres beside the border are half a voxel from it
            signed[n] = np.clip(distance_mm - 0.5 * rest.min() * np.sign(distance_mm), -reach, reach)
    at = np.clip((np.arange(pieces * len(slices)) + 0.5) / pieces - 0.5, 0.0, len(slices) - 1.0)
    base = np.minimum(at.astype(int), max(len(slices) - 2, 0))
    share = (at - base).astype(np.float32)[:, None, None]
    between = signed[base] * (1.0 - share) + signed[np.minimum(base + 1, len(slices) - 1)] * share
    soft = np.clip(0.5 + between / np.float32(rest.max()), 0.0, 1.0)
    matrix[:3, 3] -= matrix[:3, axis] * (0.5 - 0.5 / pieces)
    matrix[:3, axis] /= pieces
    soft = np.moveaxis(soft, 0, axis)
    return smoothed(soft, np.linalg.norm(matrix[:3, :3], axis=0)), matrix


def find_isthmus(
    bone: np.ndarray, frame: VertebraFrame, low: np.ndarray, step: float, side: str, level: str
) -> Isthmus | None:
    """Narrowest of the pedicle's coronal sections (v planes of constant y just behind the body's back wall), by largest inscribed circle.

    Its axis leans to the level's published convergence, because five sections alone turn by 10 deg with a voxel's noise.

    None when there is no section with bone.
    """
    sign = 1.0 if side == "left" else -1.0
    x = low[0] + step * np.arange(bone.shape[0])
    z = low[2] + step * np.arange(bone.shape[2])
    inner = max(3.0, 0.55 * frame.canal_half_width)
    lateral = np.flatnonzero((sign * x > inner) & (sign * x < frame.canal_half_width + 24.0))
    span = np.flatnonzero(np.abs(z) < frame.body_height / 2.0 + 4.0)
    rows: list[tuple[float, float, float, float]] = []
    seat: tuple[float, float] | None = None
    # From just inside the body backwards
    for y in np.arange(frame.canal_front - 1.5, frame.canal_front + 6.0, step):
        j = round((y - low[1]) / step)
        if not 0 < j < bone.shape[1] - 1:
            continue
        section = bone[np.ix_(lateral, [j], span)][:, 0, :]
        if seat is not None:  # follow the same bar of bone: its centre moves little from section to section
            near = (np.abs(x[lateral] - seat[0]) < 2.5)[:, None] & (np.abs(z[span] - seat[1]) < 2.5)[None, :]
            section = np.where(near, section, -9.0)
        else:
            section = np.where((z[span] > -0.1 * frame.body_height)[None, :], section, -9.0)
        best = float(section.max())
        if best <= 0.0:
            rows.append((low[1] + j * step, best, np.nan, np.nan))
            continue
        core = section > best - 0.35
        weight = core * np.maximum(section, 0.0)
        xs = float((weight.sum(axis=1) * x[lateral]).sum() / weight.sum())
        zs = float((weight.sum(axis=0) * z[span]).sum() / weight.sum())
        if y >= frame.canal_front:
            seat = (xs, zs)
        rows.append((low[1] + j * step, best, xs, zs))
    if not rows:
        return None
    table = np.array(rows)
    behind = table[:, 0] >= frame.canal_front - 0.5 * step
    at = int(np.argmin(np.where(behind, table[:, 1], np.inf)))
    if table[at, 1] <= 0.0:
        return Isthmus(
            side,
            np.array([sign * (frame.canal_half_width + 5.0), table[at, 0], 3.0]),
            np.array([0.0, -1.0, 0.0]),
            0.0,
            0.0,
            table,
        )
    good = np.isfinite(table[:, 2]) & behind
    centre = np.array([table[at, 2], table[at, 0], table[at, 3]])
    slope_x = np.polyfit(table[good, 0], table[good, 2], 1)[0] if good.sum() >= 4 else 0.0
    converge = 0.4 * float(np.arctan(np.clip(sign * slope_x, -0.2, 0.9))) + 0.6 * np.deg2rad(
        TYPICAL_CONVERGENCE_DEG.get(level, 10.0)
    )
    axis = np.array([-sign * np.sin(converge), -np.cos(converge), 0.0])
    k = round((centre[2] - low[2]) / step)
    i, j = round((centre[0] - low[0]) / step), round((centre[1] - low[1]) / step)
    column = bone[i, j, :] > 0
    up, down = k, k
    while up + 1 < len(column) and column[up + 1]:
        up += 1
    while down - 1 >= 0 and column[down - 1]:
        down -= 1
    return Isthmus(side, centre, axis, 2.0 * float(table[at, 1]), float((up - down + 1) * step), table)


def wall_margins(
    walls: np.ndarray, normals: np.ndarray, frame: VertebraFrame, isthmus: dict[str, Isthmus], m: Margins
) -> np.ndarray:
    """(N,) margin in mm of each wall point by what lies behind it. walls, normals: v coordinates, normals outward."""
    margin = np.full(len(walls), m.body)
    pedicle_zone = walls[:, 1] > frame.canal_front - 1.0
    margin[pedicle_zone] = m.lateral
    for side, item in isthmus.items():
        sign = 1.0 if side == "left" else -1.0
        own = sign * walls[:, 0] > 0.0
        facing_in = sign * normals[:, 0] < -0.35
        medial = (
            own
            & pedicle_zone
            & facing_in
            & (sign * walls[:, 0] < sign * item.centre[0] + 1.0)
            & (walls[:, 1] < frame.canal_back + 2.0)
        )
        caudal = (
            own
            & pedicle_zone
            & (normals[:, 2] < -0.5)
            & (walls[:, 2] < item.centre[2])
            & (walls[:, 1] < frame.canal_back - 2.0)
        )
        cranial = own & pedicle_zone & (normals[:, 2] > 0.5) & (walls[:, 2] > item.centre[2])
        margin[cranial] = m.cranial
        margin[caudal] = np.maximum(margin[caudal], m.caudal)
        margin[medial] = np.maximum(margin[medial], m.medial)
    facing_canal = (
        (np.abs(walls[:, 0]) < frame.canal_half_width)
        & (normals[:, 1] > 0.5)
        & (walls[:, 1] > frame.canal_front - 3.0)
        & (walls[:, 1] < frame.canal_front + 3.0)
    )
    margin[facing_canal] = np.maximum(margin[facing_canal], m.canal)
    return margin


def facet_points(
    labels: Labels,
    crop: Volume,
    frame: VertebraFrame,
    walls: np.ndarray,
    normals: np.ndarray,
    isthmus: dict[str, Isthmus],
    neighbour_above: int | None,
    marked: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Surface points of the own cranial facet: where the level above comes within a joint space; without that label, the upper dorsal wall
    of the superior articular process (of the labelled one, `marked` (N, 3) v mm per side, where there is such a label)."""
    result: dict[str, np.ndarray] = {}
    other: np.ndarray | None = None
    if neighbour_above is not None:
        pad = crop.data == neighbour_above
        if pad.any():
            other = crop.to_lps(np.argwhere(pad).astype(float))
    for side, item in isthmus.items():
        sign = 1.0 if side == "left" else -1.0
        dorsal = (sign * walls[:, 0] > 4.0) & (walls[:, 1] > frame.canal_front + 3.0)
        if other is not None and len(other):
            from scipy.spatial import cKDTree

            mine = walls[dorsal]
            distance_to, _ = cKDTree(frame.to_v(other)).query(
                mine, distance_upper_bound=FACET_JOINT_MM + 0.5 * float(crop.spacing_mm.max())
            )
            close = mine[np.isfinite(distance_to) & (mine[:, 2] > item.centre[2])]
            if len(close) >= 10:
                result[side] = close[:: max(1, len(close) // 150)].astype(np.float64)
                continue
        top = item.centre[2] + item.height / 2.0 + 3.0
        own = marked.get(side, np.zeros((0, 3)))
        if len(own) >= 20:
            from scipy.spatial import cKDTree

            near, _ = cKDTree(own).query(walls, distance_upper_bound=2.5)
            dorsal &= np.isfinite(near)
            top = item.centre[2] + item.height / 2.0
        chosen = walls[dorsal & (walls[:, 2] > top) & (normals[:, 1] > 0.2)]
        result[side] = chosen[:: max(1, len(chosen) // 150)].astype(np.float64)
    return result
