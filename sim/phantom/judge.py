"""The judge: what a screw really does to the bone, measured on the phantom's implicit geometry. It knows no voxel and no distance field.

Lengths are found by ray casting at the zero set of the bone function from points of the screw's axis, perpendicular to it, as an observer would measure
a breach on a reformat along the screw. Gertzbein-Robbins (modified, A to E) is the letter of the *pedicle zone* only: from 4 mm under the
dorsal cortex to where
the axis passes the posterior wall of the body. Anterior, endplate and lateral body wall, canal and facet are reported apart.
"""

from __future__ import annotations

import numpy as np

from sim.phantom.phantom import Phantom

ENTRY_EXCLUDED_MM = 4.0
REACH_MM = 14.0


def gertzbein_robbins(breach_mm: float) -> str:
    """A none, B < 2, C < 4, D < 6, E the rest (mm)."""
    if breach_mm <= 0.0:
        return "A"
    return "B" if breach_mm < 2.0 else "C" if breach_mm < 4.0 else "D" if breach_mm < 6.0 else "E"


def _exit(
    phantom: Phantom, level: str, start: np.ndarray, direction: np.ndarray, reach: float, step: float = 0.5
) -> np.ndarray:
    """Distance from each start along each direction until bone ends, by march and bisection; 0 where it starts outside. (N, 3) -> (N,)."""
    s = np.arange(0.0, reach + step, step)
    f = phantom.bone(level, (start[:, None, :] + s[None, :, None] * direction[:, None, :]).reshape(-1, 3)).reshape(
        len(start), -1
    )
    outside = f > 0.0
    ends = outside.any(axis=1)
    first = np.where(ends, outside.argmax(axis=1), len(s) - 1)
    low, high = s[np.maximum(first - 1, 0)], s[first]
    for _ in range(9):
        middle = (low + high) / 2.0
        inside = phantom.bone(level, start + middle[:, None] * direction) <= 0.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    result = (low + high) / 2.0
    result[~ends] = reach
    result[outside[:, 0]] = 0.0
    return result


def axis_entry(phantom: Phantom, level: str, entry_lps_mm: np.ndarray, tip_lps_mm: np.ndarray) -> float | None:
    """Where along entry -> tip (mm, may be negative) the axis meets the bone for good; None when it never does."""
    axis = tip_lps_mm - entry_lps_mm
    length = float(np.linalg.norm(axis))
    axis = axis / length
    s = np.arange(-15.0, length + 0.05, 0.1)
    inside = phantom.bone(level, entry_lps_mm + s[:, None] * axis) <= 0.0
    if not inside.any():
        return None
    # the run of bone that holds the middle of the pedicle: walk back from the deepest point that is still dorsal of the body
    v = phantom[level]
    y = v.to_local(entry_lps_mm + s[:, None] * axis)[:, 1]
    anchor = np.flatnonzero(inside & (y > v.canal_front))
    start = int(anchor[-1]) if len(anchor) else int(np.flatnonzero(inside)[0])
    while start > 0 and inside[start - 1]:
        start -= 1
    return float(s[start])


def nearest_level(phantom: Phantom, entry_lps_mm: np.ndarray, tip_lps_mm: np.ndarray) -> str:
    """The level whose pedicle centre lies closest to the line entry -> tip."""

    def gap(level: str) -> float:
        v = phantom[level]
        centres = v.to_lps(np.array([p.centre for p in v.pedicles.values()]))
        axis = (tip_lps_mm - entry_lps_mm) / np.linalg.norm(tip_lps_mm - entry_lps_mm)
        off = centres - entry_lps_mm
        return float(np.linalg.norm(off - np.outer(off @ axis, axis), axis=1).min())

    return min(phantom.levels, key=gap)


def grade_truth(
    phantom: Phantom, entry_lps_mm: object, tip_lps_mm: object, diameter_mm: float, level: str | None = None
) -> dict:
    """Judge one screw against the true bone of `level` (default: the level whose pedicle it passes closest).

    entry, tip: (3,) LPS mm of the axis (entry: on or near the dorsal cortex). diameter in mm. Returns a dict:
    grade, breach_mm (pedicle zone), breach_{medial,lateral,cranial,caudal}_mm, clearance_mm (smallest wall distance minus radius, pedicle
    zone), body_breach_mm,
    anterior_margin_mm (bone left ahead of the tip), canal_clearance_mm, facet_clearance_mm (own cranial facet), crosses_midline, depth_mm, in_bone.
    Raises KeyError for a level the phantom lacks, ValueError for a degenerate screw.
    """
    entry, tip = np.asarray(entry_lps_mm, dtype=float), np.asarray(tip_lps_mm, dtype=float)
    length = float(np.linalg.norm(tip - entry))
    if not np.isfinite([*entry, *tip, diameter_mm]).all() or length < 1.0 or diameter_mm <= 0.0:
        raise ValueError(f"not a screw: entry {entry}, tip {tip}, diameter {diameter_mm}")
    if level is None:
        level = nearest_level(phantom, entry, tip)
    v, radius = phantom[level], diameter_mm / 2.0
    axis = (tip - entry) / length
    start = axis_entry(phantom, level, entry, tip)
    if start is None:
        return {
            "level": level,
            "grade": "E",
            "breach_mm": float(REACH_MM),
            "in_bone": False,
            "clearance_mm": -float(REACH_MM),
        }
    local_axis = axis @ v.lps_T_local[:3, :3]
    s = np.arange(min(max(start, 0.0) + ENTRY_EXCLUDED_MM, length), length + 1e-9, 0.25)
    centre = entry + s[:, None] * axis
    local = v.to_local(centre)
    lateral = np.sign(float(v.to_local(entry)[0, 0])) or 1.0
    e1 = np.cross([0.0, 0.0, 1.0], local_axis)
    e1 = e1 / np.linalg.norm(e1)
    e1 = e1 * (1.0 if e1[0] * lateral > 0 else -1.0)  # e1 points laterally
    e2 = np.cross(local_axis, e1)
    e2 = e2 * (1.0 if e2[2] > 0 else -1.0)  # e2 points cranially
    theta = np.deg2rad(np.arange(0.0, 360.0, 10.0))
    rays = v.direction_to_lps(np.cos(theta)[:, None] * e1 + np.sin(theta)[:, None] * e2)
    wall = _exit(
        phantom, level, np.repeat(centre, len(rays), axis=0), np.tile(rays, (len(centre), 1)), radius + 6.0
    ).reshape(len(centre), -1)
    over = np.maximum(0.0, radius - wall)
    pedicle = local[:, 1] > v.canal_front
    result: dict = {"level": level, "in_bone": True, "entry_offset_mm": start, "depth_mm": length - start}
    zone = over[pedicle] if pedicle.any() else np.zeros((1, len(theta)))
    result["breach_mm"] = float(zone.max())
    result["grade"] = gertzbein_robbins(result["breach_mm"])
    result["clearance_mm"] = float(wall[pedicle].min() - radius) if pedicle.any() else float("nan")
    sectors = {
        "lateral": np.cos(theta) > 0.7,
        "medial": np.cos(theta) < -0.7,
        "cranial": np.sin(theta) > 0.7,
        "caudal": np.sin(theta) < -0.7,
    }
    for name, chosen in sectors.items():
        result[f"breach_{name}_mm"] = float(zone[:, chosen].max())
        result[f"clearance_{name}_mm"] = (
            float(wall[pedicle][:, chosen].min() - radius) if pedicle.any() else float("nan")
        )
    result["body_breach_mm"] = float(over[~pedicle].max()) if (~pedicle).any() else 0.0
    result["body_clearance_mm"] = float(wall[~pedicle].min() - radius) if (~pedicle).any() else float("nan")
    result["anterior_margin_mm"] = float(_exit(phantom, level, tip[None], axis[None], 60.0)[0])
    surface = (centre[:, None, :] + radius * rays[None]).reshape(-1, 3)
    result["canal_clearance_mm"] = float(phantom.canal(surface, level).min())
    side = "left" if lateral > 0 else "right"
    result["side"] = side
    deep = s > start + ENTRY_EXCLUDED_MM + 2.0
    result["facet_clearance_mm"] = (
        float(phantom.facet(centre[deep], level, side).min() - radius) if deep.any() else float("nan")
    )
    result["crosses_midline"] = bool(float(v.to_local(tip)[0, 0]) * lateral < 0.0)
    return result
