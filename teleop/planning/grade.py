"""The independent verifier: what a screw does to the labelled bone, measured another way than the planner searched.

It shares no distance field with the planner: the label itself is sampled (tri-linear, half level) on rays from the screw's axis, 36 around
and every 0.5 mm along, outwards in
0.1 mm steps. Gertzbein-Robbins (modified A to E) is the letter of the *pedicle zone*: from 4 mm under the dorsal cortex (every screw
pierces that) to the posterior wall of the body.
Anterior, endplate and lateral body wall, canal, facet (Babu) and Heary are reported apart. It grades any line from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from teleop.planning.frame import FrameError, VertebraFrame, core_points, find_frame
from teleop.planning.images import Volume
from teleop.planning.levels import LEVELS, Labels
from teleop.planning.plan import LinearTrajectory

ENTRY_EXCLUDED_MM = 4.0
RAYS = 36
STEP_MM, RADIAL_MM, BEYOND_MM = 0.5, 0.1, 6.0


def gertzbein_robbins(breach_mm: float) -> str:
    """A none, B < 2, C < 4, D < 6, E >= 6 mm."""
    for letter, limit in (("A", 1e-9), ("B", 2.0), ("C", 4.0), ("D", 6.0)):
        if breach_mm < limit or (letter == "A" and breach_mm <= 0.0):
            return letter
    return "E"


@dataclass(frozen=True)
class GradeReport:
    """Millimetres. clearance: least bone left around the shank in the pedicle zone (negative: breach). contradictions: claims of the plan
    this grader denies."""

    level: str
    side: str
    grade: str
    breach_mm: float
    breach_side: str
    clearance_mm: float
    clearance_by_side: dict[str, float]
    body_clearance_mm: float
    anterior_mm: float
    canal_mm: float
    facet_mm: float
    babu: int
    heary: int
    tip_share: float
    crosses_midline: bool
    entry_angle_deg: float
    hu_mean: float
    in_bone_share: float
    contradictions: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """JSON-ready metrics under the names plan.json uses."""
        return {
            "grade": self.grade,
            "breach_mm": self.breach_mm,
            "breach_side": self.breach_side,
            "min_clearance_mm": self.clearance_mm,
            **{f"clearance_{k}_mm": v for k, v in self.clearance_by_side.items()},
            "body_clearance_mm": self.body_clearance_mm,
            "anterior_mm": self.anterior_mm,
            "canal_mm": self.canal_mm,
            "facet_mm": self.facet_mm,
            "neck_mm": self.extra.get("neck_mm", float("nan")),
            "babu": self.babu,
            "heary": self.heary,
            "tip_share": self.tip_share,
            "crosses_midline": self.crosses_midline,
            "entry_angle_deg": self.entry_angle_deg,
            "hu_mean": self.hu_mean,
        }


class GradeError(ValueError):
    """The screw cannot be graded on these labels; the message says why."""


def nearest_level(labels: Labels, entry: np.ndarray, tip: np.ndarray) -> str:
    """The level most of the line runs in. Raises GradeError when the line meets no labelled vertebra."""
    points = entry + np.linspace(0.0, 1.0, 60)[:, None] * (tip - entry)
    ijk = np.rint(labels.volume.to_ijk(points)).astype(int)
    ok = ((ijk >= 0) & (ijk < labels.volume.data.shape)).all(axis=1)
    values = labels.volume.data[tuple(ijk[ok].T)]
    counts = {name: int((values == value).sum()) for value, name in labels.names.items()}
    best = max(counts, key=lambda name: counts[name], default="")
    if not best or counts[best] == 0:
        raise GradeError(
            "the line passes through no labelled vertebra; wrong coordinate system (LPS/RAS) or wrong image?"
        )
    return best


def frame_of(labels: Labels, level: str) -> VertebraFrame:
    """Frame of a level from its label alone. Raises FrameError."""
    from teleop.planning.field import crop_label
    from teleop.planning.screws import bounding_boxes, up_hint

    boxes = bounding_boxes(labels)
    mask, crop = crop_label(labels, level, boxes[level])
    stride = np.maximum(1, np.round(1.5 / crop.spacing_mm)).astype(int)
    coarse = mask[:: stride[0], :: stride[1], :: stride[2]]
    matrix = crop.lps_T_ijk.copy()
    matrix[:3, :3] = matrix[:3, :3] * stride
    points = np.argwhere(coarse) @ matrix[:3, :3].T + matrix[:3, 3]
    return find_frame(points, core_points(coarse, crop.spacing_mm * stride, matrix), up_hint(labels, boxes, level))


def grade_screw(
    labels: Labels, item: LinearTrajectory, ct: Volume | None = None, frame: VertebraFrame | None = None
) -> GradeReport:
    """Grade one trajectory. Raises GradeError (outside the image, no vertebra), FrameError (no anatomy), PlanError (no line)."""
    entry, tip = item.line()
    radius, length, axis = item.diameter_mm / 2.0, float(np.linalg.norm(tip - entry)), item.axis
    level = item.level if item.level in labels.levels else nearest_level(labels, entry, tip)
    value = labels.value(level)
    ends = labels.volume.to_ijk(np.array([entry, tip]))
    if (ends < -1.0).any() or (ends > np.array(labels.volume.data.shape)).any():
        raise GradeError(f"{item.id}: the line leaves the image; wrong coordinate system (LPS/RAS) or wrong image?")
    frame = frame or frame_of(labels, level)
    pad = np.ceil((radius + BEYOND_MM + 14.0) / labels.volume.spacing_mm).astype(int) + 2
    low = np.floor(ends.min(axis=0)).astype(int) - pad
    high = np.ceil(ends.max(axis=0)).astype(int) + pad
    crop = labels.volume.crop(low, high)
    bone = (crop.data == value).astype(np.float32)
    local_axis = frame.lps_T_v[:3, :3].T @ axis
    side_sign = 1.0 if float(frame.to_v(entry)[0, 0]) >= 0.0 else -1.0
    e1 = np.cross([0.0, 0.0, 1.0], local_axis)
    e1 /= np.linalg.norm(e1)
    e1 *= 1.0 if e1[0] * side_sign > 0 else -1.0
    e2 = np.cross(local_axis, e1)
    e2 *= 1.0 if e2[2] > 0 else -1.0
    theta = 2.0 * np.pi * np.arange(RAYS) / RAYS
    rays = (np.cos(theta)[:, None] * e1 + np.sin(theta)[:, None] * e2) @ frame.lps_T_v[:3, :3].T

    def occupancy(lps: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(bone, crop.to_ijk(lps).T, order=1, mode="constant", cval=0.0)

    fine = np.arange(-12.0, length + 30.0, 0.1)
    inside = occupancy(entry + fine[:, None] * axis) >= 0.5
    y_fine = frame.to_v(entry + fine[:, None] * axis)[:, 1]
    dorsal = np.flatnonzero(inside & (y_fine > frame.canal_front))
    if not len(dorsal):
        dorsal = np.flatnonzero(inside)
    if not len(dorsal):
        raise GradeError(f"{item.id}: the line never meets {level}")
    first = int(dorsal[-1])
    while first > 0 and inside[first - 1]:
        first -= 1
    s_entry = max(float(fine[first]), 0.0)
    s = np.arange(min(s_entry + ENTRY_EXCLUDED_MM, length), length + 1e-9, STEP_MM)
    if s[-1] < length - 1e-6:
        s = np.append(s, length)
    centres = entry + s[:, None] * axis
    rho = np.arange(0.0, radius + BEYOND_MM + RADIAL_MM, RADIAL_MM)
    # The map to voxel indices is affine, so axis points and ray directions are mapped and the cloud is built in index space.
    start = crop.to_ijk(centres).astype(np.float32)
    turned = (rays @ np.linalg.inv(crop.lps_T_ijk[:3, :3]).T).astype(np.float32)
    cloud = start.T[:, :, None, None] + turned.T[:, None, :, None] * rho.astype(np.float32)
    filled = ndimage.map_coordinates(bone, cloud, order=1, mode="constant", cval=0.0)
    out = filled < 0.5
    hit = out.any(axis=2)
    at = out.argmax(axis=2)
    before = np.take_along_axis(filled, np.maximum(at - 1, 0)[:, :, None], axis=2)[:, :, 0]
    after = np.take_along_axis(filled, at[:, :, None], axis=2)[:, :, 0]
    part = np.where(at > 0, (before - 0.5) / np.maximum(before - after, 1e-6), 0.0)
    wall = np.where(hit, np.where(at > 0, rho[np.maximum(at - 1, 0)] + part * RADIAL_MM, 0.0), rho[-1])
    clearance = wall - radius
    y = frame.to_v(centres)[:, 1]
    pedicle = y > frame.canal_front
    zone = clearance[pedicle] if pedicle.any() else clearance[:1]
    breach = float(max(0.0, -zone.min()))
    sectors = {
        "lateral": np.cos(theta) > 0.7,
        "medial": np.cos(theta) < -0.7,
        "cranial": np.sin(theta) > 0.7,
        "caudal": np.sin(theta) < -0.7,
    }
    by_side = {name: float(zone[:, chosen].min()) for name, chosen in sectors.items()}
    worst = min(by_side, key=lambda name: by_side[name])
    body = clearance[~pedicle]
    ahead = inside & (fine >= length - 1e-9)
    run = np.flatnonzero(~inside & (fine >= length))
    anterior = (
        float(fine[run[0]] - length)
        if len(run) and ahead.any() and inside[np.searchsorted(fine, length)]
        else (30.0 if ahead.all() and ahead.any() else 0.0)
    )
    tip_v = frame.to_v(tip)[0]
    share = float((frame.canal_front - tip_v[1]) / (frame.canal_front - frame.body_front))
    shaft_v = frame.to_v(centres)
    lateral = side_sign * shaft_v[:, 0]
    in_canal_band = (shaft_v[:, 1] > frame.canal_front) & (shaft_v[:, 1] < frame.canal_back) & pedicle
    canal = (
        float((lateral[in_canal_band] - frame.canal_half_width).min() - radius) if in_canal_band.any() else float("nan")
    )
    facet, babu, neck = _facet(labels, level, entry, axis, s_entry, radius, "left" if side_sign > 0 else "right")
    marked = _labelled_canal(labels, (centres[:, None, :] + radius * rays[None]).reshape(-1, 3))
    canal = canal if marked is None else marked
    angle = _entry_angle(bone, crop, entry + s_entry * axis, axis)
    hu = float("nan")
    if ct is not None:
        deep = centres[:, None, :] + 0.7 * radius * rays[None]
        hu = float(ndimage.map_coordinates(ct.data, ct.to_ijk(deep.reshape(-1, 3)).T, order=1, mode="nearest").mean())
    lateral_body = bool(body.size and body.min() < 0.0)
    front_out = anterior <= 0.0
    medial_or_caudal = min(by_side["medial"], by_side["caudal"]) < 0.0
    heary = 4 if medial_or_caudal else 3 if front_out or lateral_body else 2 if breach > 0.0 else 1
    report = GradeReport(
        level,
        "left" if side_sign > 0 else "right",
        gertzbein_robbins(breach),
        breach,
        worst if breach > 0 else "",
        float(zone.min()),
        by_side,
        float(body.min()) if body.size else float("nan"),
        anterior,
        canal,
        facet,
        babu,
        heary,
        share,
        bool(tip_v[0] * side_sign < 0.0),
        angle,
        hu,
        float(inside[(fine >= s_entry) & (fine <= length)].mean()),
        _contradictions(item, breach, float(zone.min()), level, side_sign),
        {"neck_mm": neck},
    )
    return report


def _entry_angle(bone: np.ndarray, crop: Volume, entry: np.ndarray, axis: np.ndarray) -> float:
    """Angle between the axis and the inward surface normal at the entry, degrees: a drill skives on a steep surface."""
    directions = np.array(
        [[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)], dtype=float
    )
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    shells = np.concatenate([r * directions for r in (1.5, 2.5, 3.5)])
    filled = ndimage.map_coordinates(bone, crop.to_ijk(entry + shells).T, order=1, mode="constant")
    gradient = ((filled - filled.mean())[:, None] * shells).sum(axis=0)
    norm = float(np.linalg.norm(gradient))
    return float("nan") if norm < 1e-9 else float(np.degrees(np.arccos(np.clip(gradient @ axis / norm, -1.0, 1.0))))


def _labelled_canal(labels: Labels, surface: np.ndarray) -> float | None:
    """Distance (mm) from the shank's surface points (N, 3) LPS to the voxels of a canal label, half a voxel taken off; None without that label."""
    mask = labels.structures.get("canal")
    if mask is None:
        return None
    spacing = labels.volume.spacing_mm
    ijk = labels.volume.to_ijk(surface)
    pad = np.ceil(12.0 / spacing).astype(int)
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int) - pad, 0, mask.shape)
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + pad, 0, mask.shape)
    cloud = np.argwhere(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    if not len(cloud):
        return 12.0
    points = labels.volume.to_lps(cloud.astype(float) + low)
    return float(cKDTree(points).query(surface)[0].min()) - 0.5 * float(spacing.min())


JOINT_MM = 2.2
"""Own bone nearer than this (plus half a voxel) to the level above is the articulation."""
NECK_MM = 3.0
LATERAL_FACET_MM, WITHIN_MM = 1.0, 5.0
"""Babu 1: the shank's surface comes this near to the articulation without entering it. Babu 3: it runs this far within it."""


def _facet(
    labels: Labels, level: str, entry: np.ndarray, axis: np.ndarray, s_entry: float, radius: float, side: str
) -> tuple[float, int, float]:
    """Distance (mm) from the shank's surface to the cranial neighbour's bone near the entry, Babu's grade of the cranial facet, and the same
    distance for the 3 mm behind the entry, where the screw's neck will be.

    The joint lies between the two bones, so a distance < 0 is a violated facet. Babu: 0 not in the facet, 1 in its lateral bone (within 1 mm of the
    articulation), 2 penetrates the articulation, 3 travels within it. nan and 0 without the level above; with a label of the own superior
    articular process instead, 1 is the most that can be told.
    """
    order = LEVELS.index(level)
    above = LEVELS[order - 1] if order else ""
    spacing = labels.volume.spacing_mm
    s = np.arange(s_entry, s_entry + 12.0, 0.5)
    line = entry + s[:, None] * axis
    behind = entry + np.arange(s_entry - NECK_MM, s_entry, 0.5)[:, None] * axis
    reach = 12.0
    centre = labels.volume.to_ijk(entry + s_entry * axis)[0]
    pad = np.ceil((reach + 8.0) / spacing).astype(int)
    low, high = np.floor(centre).astype(int) - pad, np.ceil(centre).astype(int) + pad
    crop = labels.volume.crop(low, high)
    if above not in labels.levels:
        mask = labels.structures.get(f"facet_{side}")
        if mask is None:
            return float("nan"), 0, float("nan")
        part = Volume(np.asarray(mask).astype(np.uint8), labels.volume.lps_T_ijk).crop(low, high)
        own = np.argwhere((part.data > 0) & (crop.data == labels.value(level)))
        if not len(own):
            return reach, 0, float("nan")
        gap = float(cKDTree(line).query(crop.to_lps(own.astype(float)))[0].min()) - radius
        return gap, int(gap < -0.5 * float(spacing.max())), float("nan")
    theirs = np.argwhere(crop.data == labels.value(above))
    if not len(theirs):
        return reach, 0, reach
    points = crop.to_lps(theirs.astype(float))
    gap, neck = (
        float(cKDTree(part).query(points)[0].min()) - radius - 0.5 * float(spacing.min()) for part in (line, behind)
    )
    own = crop.to_lps(np.argwhere(crop.data == labels.value(level)).astype(float))
    if not len(own):
        return gap, 2 * int(gap < 0.0), neck
    near, _ = cKDTree(points).query(own, distance_upper_bound=JOINT_MM + 0.5 * float(spacing.max()))
    joint = own[np.isfinite(near)] - entry
    if not len(joint):
        return gap, 2 * int(gap < 0.0), neck
    along = np.clip(joint @ axis, s[0], s[-1])
    radial = np.linalg.norm(joint - along[:, None] * axis, axis=1) - radius
    inside = along[radial < 0.0]
    if len(inside) or gap < 0.0:
        return gap, 3 if len(inside) and float(np.ptp(inside)) >= WITHIN_MM else 2, neck
    return gap, int(float(radial.min()) < LATERAL_FACET_MM), neck


def _contradictions(
    item: LinearTrajectory, breach: float, clearance: float, level: str, side_sign: float
) -> tuple[str, ...]:
    found = []
    side = "left" if side_sign > 0 else "right"
    if item.level and item.level != level:
        found.append(f"the plan says {item.level}, the line runs in {level}")
    if item.side and item.side != side:
        found.append(f"the plan says {item.side}, the line runs on the {side} side")
    claimed = item.metrics.get("grade")
    if claimed is not None and claimed != gertzbein_robbins(breach):
        found.append(f"the plan claims grade {claimed}, measured {gertzbein_robbins(breach)}")
    spare = item.metrics.get("min_clearance_mm")
    if isinstance(spare, (int, float)) and spare - clearance > 0.5:
        found.append(f"the plan claims {spare:.2f} mm clearance, measured {clearance:.2f}")
    return tuple(found)


__all__ = ["FrameError", "GradeError", "GradeReport", "frame_of", "gertzbein_robbins", "grade_screw", "nearest_level"]
