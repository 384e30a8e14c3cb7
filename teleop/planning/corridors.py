"""Needles and electrodes: the screw engine with its zones inverted. The corridor runs *outside* forbidden structures, from an entry window to a target.

One clearance field: distance to the nearest forbidden structure minus that structure's own margin (1-Lipschitz, as for screws), so one
march along the axis checks every structure.
Hard rules remove lines (clearance, length, entry angle, other needles); what is left is ranked by clearance (capped), depth and angle. All coordinates LPS mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from scipy import ndimage

from teleop.planning.distance import sample
from teleop.planning.images import ImageError, Volume
from teleop.planning.plan import LinearTrajectory, trajectory
from teleop.planning.screws import segment_distance


@dataclass(frozen=True)
class Forbidden:
    """A structure no tool may touch. mask: bool on the scene's grid. margin_mm: to be kept from its surface."""

    name: str
    mask: np.ndarray
    margin_mm: float = 3.0


@dataclass(frozen=True)
class Scene:
    """grid: any Volume with the geometry of all masks. entry: bool mask of allowed entry voxels (skin or skull window). target: bool mask."""

    grid: Volume
    entry: np.ndarray
    target: np.ndarray
    forbidden: tuple[Forbidden, ...]
    cache: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, mask in (("entry", self.entry), ("target", self.target), *((f.name, f.mask) for f in self.forbidden)):
            if mask.shape != self.grid.data.shape:
                raise ImageError(f"mask {name!r} has shape {mask.shape}, the image {self.grid.data.shape}")
        if not self.target.any():
            raise ImageError("the target mask is empty")
        if not self.entry.any():
            raise ImageError("the entry window is empty")


@dataclass(frozen=True)
class Rules:
    """Hard limits. angle: between the axis and the inward normal at the entry surface. gap: between two tools' surfaces."""

    diameter_mm: float = 1.8
    max_length_mm: float = 150.0
    min_length_mm: float = 15.0
    max_angle_deg: float = 60.0
    gap_mm: float = 5.0
    kind: str = "needle"


ELECTRODE = Rules(diameter_mm=1.3, max_length_mm=90.0, max_angle_deg=35.0, kind="electrode")


@dataclass(frozen=True)
class Ablation:
    """A zone of cell death: ellipsoid, semi-axes along and across the needle, mm, `tip_offset_mm` of it beyond the tip. margin_mm: healthy
    rim to be covered around the target."""

    along_mm: float = 21.0
    across_mm: float = 18.0
    tip_offset_mm: float = 4.0
    margin_mm: float = 5.0
    coverage: float = 0.99


@dataclass
class Corridor:
    """One answer: line, least clearance beyond the margins, the structure that limits it, depth, angle."""

    entry: np.ndarray
    tip: np.ndarray
    clearance_mm: float
    nearest: str
    length_mm: float
    angle_deg: float
    score: float
    metrics: dict[str, Any] = field(default_factory=dict)


@njit(cache=True)
def _clearances(margin_field, index_T_mm, entries, tip, radius, near_entry_mm, step_mm):
    """(N,) least value of the margin field minus radius over each line entry -> tip, ignoring the first `near_entry_mm` (the window itself
    may touch bone or skin)."""
    out = np.empty(entries.shape[0])
    for n in range(entries.shape[0]):
        dx, dy, dz = tip[0] - entries[n, 0], tip[1] - entries[n, 1], tip[2] - entries[n, 2]
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        best = 1e9
        s = near_entry_mm
        while s <= length:
            f = s / length
            x, y, z = entries[n, 0] + f * dx, entries[n, 1] + f * dy, entries[n, 2] + f * dz
            i = index_T_mm[0, 0] * x + index_T_mm[0, 1] * y + index_T_mm[0, 2] * z + index_T_mm[0, 3]
            j = index_T_mm[1, 0] * x + index_T_mm[1, 1] * y + index_T_mm[1, 2] * z + index_T_mm[1, 3]
            k = index_T_mm[2, 0] * x + index_T_mm[2, 1] * y + index_T_mm[2, 2] * z + index_T_mm[2, 3]
            value = sample(margin_field, i, j, k)
            if value < best:
                best = value
            s += max(step_mm, value - best)
        out[n] = best - radius
    return out


def margin_field(scene: Scene) -> np.ndarray:
    """float32: min over structures of (distance to it, negative inside) - margin. The half voxel of the staircase is taken off, on the safe side.

    Structures with the same margin share one transform. Computed once per scene.
    """
    cached = scene.cache.get("margin")
    if cached is not None:
        return np.asarray(cached)
    half = 0.5 * float(scene.grid.spacing_mm.max())
    result = np.full(scene.grid.data.shape, 1e3, dtype=np.float32)
    for margin in sorted({f.margin_mm for f in scene.forbidden}):
        union = np.logical_or.reduce([f.mask for f in scene.forbidden if f.margin_mm == margin])
        if union.any():
            outside = ndimage.distance_transform_edt(~union, sampling=scene.grid.spacing_mm)
            result = np.minimum(result, np.where(union, -half, outside - half) - margin).astype(np.float32)
    scene.cache["margin"] = result
    return result


def _normals(scene: Scene, points: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """(N, 3) inward unit normals of the entry surface: gradient of the smoothed body."""
    if "body" not in scene.cache:
        scene.cache["body"] = ndimage.gaussian_filter(
            solid.astype(np.float32), 3.0 / scene.grid.spacing_mm, truncate=2.5
        )
    smooth = scene.cache["body"]
    ijk = scene.grid.to_ijk(points)
    gradient = np.empty((len(points), 3))
    for axis in range(3):
        e = np.zeros(3)
        e[axis] = 1.0
        gradient[:, axis] = ndimage.map_coordinates(
            smooth, (ijk + e).T, order=1, mode="nearest"
        ) - ndimage.map_coordinates(smooth, (ijk - e).T, order=1, mode="nearest")
    lps = (gradient / scene.grid.spacing_mm) @ scene.grid.direction.T
    return lps / np.maximum(np.linalg.norm(lps, axis=1), 1e-9)[:, None]


def find_corridors(
    scene: Scene,
    tip_lps_mm: np.ndarray,
    rules: Rules,
    *,
    body: np.ndarray | None = None,
    others: Sequence[Corridor] = (),
    near_entry_mm: float = 4.0,
    count: int = 5,
    entries: int = 6000,
) -> tuple[list[Corridor], dict[str, int]]:
    """Ranked corridors to one tip position, and how many entries each rule removed.

    body: mask of the solid under the entry surface, for the entry angle; without it the angle is not judged. Results are at least 8 mm apart at the entry.
    """
    tip = np.asarray(tip_lps_mm, dtype=float)
    ijk = np.argwhere(scene.entry)
    ijk = ijk[:: max(1, len(ijk) // entries)]
    points = scene.grid.to_lps(ijk.astype(float))
    removed = {"length": 0, "angle": 0, "clearance": 0, "conflict": 0}
    length = np.linalg.norm(points - tip, axis=1)
    keep = (length <= rules.max_length_mm) & (length >= rules.min_length_mm)
    removed["length"] = int((~keep).sum())
    points, length = points[keep], length[keep]
    angle = np.zeros(len(points))
    if body is not None and len(points):
        axis = (tip - points) / length[:, None]
        angle = np.degrees(np.arccos(np.clip((axis * _normals(scene, points, body)).sum(axis=1), -1.0, 1.0)))
        keep = angle <= rules.max_angle_deg
        removed["angle"] = int((~keep).sum())
        points, length, angle = points[keep], length[keep], angle[keep]
    if not len(points):
        return [], removed
    fields = margin_field(scene)
    to_index = np.linalg.inv(scene.grid.lps_T_ijk)
    clearance = _clearances(
        fields, to_index, np.ascontiguousarray(points), tip, rules.diameter_mm / 2.0, near_entry_mm, 0.4
    )
    keep = clearance >= 0.0
    removed["clearance"] = int((~keep).sum())
    points, length, angle, clearance = points[keep], length[keep], angle[keep], clearance[keep]
    score = np.minimum(clearance, 6.0) / 6.0 - 0.6 * length / rules.max_length_mm - 0.3 * angle / 90.0
    found: list[Corridor] = []
    for n in np.argsort(-score):
        p = points[n]
        if any(segment_distance(p, tip, o.entry, o.tip) < rules.gap_mm + rules.diameter_mm for o in others):
            removed["conflict"] += 1
            continue
        if any(np.linalg.norm(p - c.entry) < 8.0 for c in found):
            continue
        name = _limiting(scene, p, tip, near_entry_mm)
        found.append(Corridor(p, tip, float(clearance[n]), name, float(length[n]), float(angle[n]), float(score[n])))
        if len(found) == count:
            break
    return found, removed


def _limiting(scene: Scene, entry: np.ndarray, tip: np.ndarray, near_entry_mm: float) -> str:
    """Name of the structure the line passes closest (beyond its margin), at the line's worst point."""
    length = float(np.linalg.norm(tip - entry))
    s = np.arange(near_entry_mm, length, 0.5)
    points = entry + s[:, None] * (tip - entry) / length
    values = ndimage.map_coordinates(margin_field(scene), scene.grid.to_ijk(points).T, order=1, mode="nearest")
    worst = points[int(values.argmin())]
    best, name = math.inf, ""
    for item in scene.forbidden:
        cloud = _cloud(scene, item)
        if len(cloud):
            d = float(np.linalg.norm(cloud - worst, axis=1).min()) - item.margin_mm
            if d < best:
                best, name = d, item.name
    return name


def _cloud(scene: Scene, item: Forbidden) -> np.ndarray:
    """(n, 3) LPS mm of a structure's voxels, kept with the scene."""
    key = f"cloud:{item.name}"
    if key not in scene.cache:
        scene.cache[key] = (
            scene.grid.to_lps(np.argwhere(item.mask).astype(float)) if item.mask.any() else np.zeros((0, 3))
        )
    return scene.cache[key]


def _grown_target(scene: Scene, margin_mm: float) -> np.ndarray:
    """(n, 3) LPS mm of the target's voxels and of those within the margin, on a crop."""
    spacing = scene.grid.spacing_mm
    box = ndimage.find_objects(scene.target.astype(np.uint8))[0]
    pad = np.ceil(margin_mm / spacing).astype(int) + 1
    low = np.maximum([b.start for b in box] - pad, 0)
    high = np.minimum([b.stop for b in box] + pad, scene.target.shape)
    crop = scene.target[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    grown = ndimage.distance_transform_edt(~crop, sampling=spacing) <= margin_mm
    return scene.grid.to_lps(np.argwhere(grown).astype(float) + low)


def covered(points: np.ndarray, corridor: Corridor, zone: Ablation) -> np.ndarray:
    """(N,) bool: which points lie inside the ablation ellipsoid of a needle."""
    axis = (corridor.tip - corridor.entry) / np.linalg.norm(corridor.tip - corridor.entry)
    centre = corridor.tip + axis * (zone.tip_offset_mm - zone.along_mm)
    r = points - centre
    s = r @ axis
    q = np.linalg.norm(r - s[:, None] * axis, axis=1)
    return np.asarray((s / zone.along_mm) ** 2 + (q / zone.across_mm) ** 2 <= 1.0)


def plan_ablation(
    scene: Scene,
    zone: Ablation | None = None,
    rules: Rules | None = None,
    *,
    body: np.ndarray | None = None,
    max_needles: int = 3,
    case_id: str = "needle",
) -> list[LinearTrajectory]:
    """Needles whose zones cover the target plus its margin, added greedily without conflict. A refusal is one trajectory NO_SAFE_PATH with the numbers."""
    zone, rules = zone or Ablation(), rules or Rules()
    wanted = _grown_target(scene, zone.margin_mm)
    wanted = wanted[:: max(1, len(wanted) // 4000)]
    open_points = np.ones(len(wanted), dtype=bool)
    chosen: list[Corridor] = []
    removed: dict[str, int] = {}
    for _ in range(max_needles):
        middle = wanted[open_points].mean(axis=0)
        if chosen:
            # pull the next zone towards what is missing, but keep it inside the lesion's reach
            away = wanted[open_points]
            middle = away[np.argmin(np.linalg.norm(away - away.mean(axis=0), axis=1))]
        best: Corridor | None = None
        gain = 0
        first, removed = find_corridors(scene, middle, rules, body=body, others=chosen, count=6)
        for c in first:
            axis = (c.tip - c.entry) / np.linalg.norm(c.tip - c.entry)
            tip = middle + axis * (
                zone.along_mm - zone.tip_offset_mm
            )  # the zone's centre, not the tip, belongs in the middle
            moved = Corridor(
                c.entry, tip, c.clearance_mm, c.nearest, float(np.linalg.norm(tip - c.entry)), c.angle_deg, c.score
            )
            value = float(
                _clearances(
                    margin_field(scene),
                    np.linalg.inv(scene.grid.lps_T_ijk),
                    c.entry[None],
                    tip,
                    rules.diameter_mm / 2.0,
                    4.0,
                    0.4,
                )[0]
            )
            if (
                value < 0.0
                or moved.length_mm > rules.max_length_mm
                or any(
                    segment_distance(moved.entry, moved.tip, o.entry, o.tip) < rules.gap_mm + rules.diameter_mm
                    for o in chosen
                )
            ):
                continue
            moved.clearance_mm = value
            new = int((covered(wanted, moved, zone) & open_points).sum())
            if new > gain:
                best, gain = moved, new
        if best is None:
            break
        chosen.append(best)
        open_points &= ~covered(wanted, best, zone)
        if 1.0 - open_points.mean() >= zone.coverage:
            break
    share = 1.0 - float(open_points.mean())
    if not chosen or share < zone.coverage:
        text = (
            f"{len(chosen)} needle(s) cover {100 * share:.1f} % of the target with its {zone.margin_mm:.0f} mm margin, "
            f"wanted {100 * zone.coverage:.0f} %; entries removed by rule: {removed}"
        )
        return [
            LinearTrajectory(
                case_id,
                rules.kind,
                status="NO_SAFE_PATH",
                reasons=(text,),
                metrics={"coverage": share, "removed": removed},
            )
        ]
    return [_as_trajectory(f"{case_id}_{n + 1}", c, rules, {"coverage": share}) for n, c in enumerate(chosen)]


def plan_electrode(
    scene: Scene,
    target_lps_mm: np.ndarray,
    rules: Rules = ELECTRODE,
    *,
    body: np.ndarray | None = None,
    id: str = "electrode",
) -> LinearTrajectory:
    """The best electrode to a target point, with alternatives and stereotactic angles; NO_SAFE_PATH with numbers when every entry is removed."""
    found, removed = find_corridors(scene, target_lps_mm, rules, body=body)
    if not found:
        text = "no entry of the window gives a safe line; removed by rule: " + ", ".join(
            f"{k} {v}" for k, v in removed.items()
        )
        return LinearTrajectory(id, rules.kind, status="NO_SAFE_PATH", reasons=(text,), metrics={"removed": removed})
    best = found[0]
    ring, arc = arc_angles(best.tip, best.entry)
    others = tuple(
        {
            "entry_lps_mm": c.entry.round(3).tolist(),
            "tip_lps_mm": c.tip.round(3).tolist(),
            "clearance_mm": c.clearance_mm,
            "nearest": c.nearest,
        }
        for c in found[1:]
    )
    return _as_trajectory(id, best, rules, {"ring_deg": ring, "arc_deg": arc}, others)


def _as_trajectory(
    id: str, c: Corridor, rules: Rules, more: dict[str, Any], alternatives: tuple[dict[str, Any], ...] = ()
) -> LinearTrajectory:
    metrics = {"min_clearance_mm": c.clearance_mm, "nearest": c.nearest, "angle_deg": c.angle_deg, **more}
    return trajectory(
        id,
        rules.kind,
        c.entry,
        c.tip - c.entry,
        c.length_mm,
        rules.diameter_mm,
        status="OK",
        metrics=metrics,
        alternatives=alternatives,
    )


def arc_angles(
    target_lps_mm: np.ndarray, entry_lps_mm: np.ndarray, frame_T_lps: np.ndarray | None = None
) -> tuple[float, float]:
    """(ring, arc) in degrees of a centre-of-arc frame whose axes run with LPS (or after frame_T_lps, 3 x 3).

    Seen from the target, ring turns about the left-right axis: 0 anterior, 90 superior, 180 posterior. arc leaves the sagittal plane: 90
    in it, below 90 towards the patient's right, above towards the left.
    """
    d = np.asarray(entry_lps_mm, dtype=float) - np.asarray(target_lps_mm, dtype=float)
    if frame_T_lps is not None:
        d = frame_T_lps @ d
    d = d / np.linalg.norm(d)
    arc = math.degrees(math.acos(float(np.clip(-d[0], -1.0, 1.0))))
    ring = math.degrees(math.atan2(float(d[2]), float(-d[1])))
    return ring, arc


def arc_direction(ring_deg: float, arc_deg: float) -> np.ndarray:
    """Unit vector target -> entry (LPS) of ring and arc angles; inverse of `arc_angles`."""
    r, a = math.radians(ring_deg), math.radians(arc_deg)
    return np.array([-math.cos(a), -math.sin(a) * math.cos(r), math.sin(a) * math.sin(r)])


def grade_corridor(scene: Scene, item: LinearTrajectory, near_entry_mm: float = 4.0) -> dict[str, Any]:
    """Independent check of a needle or electrode: brute distance from 24 surface lines to the voxels of every forbidden structure, no
    distance field. -> {name: clearance_mm}, worst, in_target."""
    entry, tip = item.line()
    s = np.arange(near_entry_mm, item.length_mm + 1e-9, 0.5)
    axis = item.axis
    e1 = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [0.0, 1.0, 0.0])
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(axis, e1)
    theta = np.deg2rad(np.arange(0.0, 360.0, 15.0))
    ring = (np.cos(theta)[:, None] * e1 + np.sin(theta)[:, None] * e2) * item.diameter_mm / 2.0
    surface = (entry + s[:, None, None] * axis + ring[None]).reshape(-1, 3)
    from scipy.spatial import cKDTree

    result: dict[str, Any] = {}
    for f in scene.forbidden:
        cloud = _cloud(scene, f)
        if len(cloud):
            result[f.name] = float(cKDTree(cloud).query(surface)[0].min()) - 0.5 * float(scene.grid.spacing_mm.max())
    tip_voxel = tuple(np.rint(scene.grid.to_ijk(tip)[0]).astype(int))
    worst = min(result, key=lambda k: result[k], default="")
    return {"clearance_mm": result, "worst": worst, "in_target": bool(scene.target[tip_voxel])}
