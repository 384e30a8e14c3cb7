"""The final judge of a demo: compares the guide's true pose (from the physics) with the plan. Nobody else reads truth.

Frames: `world` is the simulator's; `ct` the phantom's images (LPS, here in metres); `ref` the tracker's frame on the
patient. Errors are reported in millimetres and degrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.demo.outcome import ScrewRow
from sim.phantom import generate, grade_truth
from teleop.case.guide import guide_error
from teleop.geometry import pose_to_matrix

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """One look behind the scenes: true poses (4,4), metres, at robot time `stamp` (ns)."""

    stamp: int
    world_T_tip: Matrix
    world_T_ct: Matrix
    world_T_ref: Matrix


def truth_from(answer: dict[str, Any]) -> Truth:
    """From the room's answer to "truth" (poses as x y z qx qy qz qw)."""
    return Truth(
        int(answer["stamp"]),
        pose_to_matrix(answer["world_T_tip"]),
        pose_to_matrix(answer["world_T_ct"]),
        pose_to_matrix(answer["world_T_ref"]),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """entry_error_mm, axis_error_deg: true guide against the *registered* line. total_error_mm: the larger of entry and
    tip error of the screw as this guide would place it, against the plan in the phantom's true pose."""

    entry_error_mm: float
    axis_error_deg: float
    total_error_mm: float
    entry_lps_mm: NDArray[np.float64]
    tip_lps_mm: NDArray[np.float64]


def _move(a_T_b: NDArray[Any], point: NDArray[Any]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = a_T_b[:3, :3] @ point + a_T_b[:3, 3]
    return moved


def judge(
    truth: Truth, ref_T_ct: Matrix, entry_lps_mm: NDArray[np.float64], tip_lps_mm: NDArray[np.float64]
) -> Verdict:
    """Judge one verified guide. `ref_T_ct` is the site's own registration (4,4); entry and tip (3,) are the plan's."""
    entry, tip = np.asarray(entry_lps_mm) * 1e-3, np.asarray(tip_lps_mm) * 1e-3
    world_T_ct_registered = truth.world_T_ref @ ref_T_ct
    entry_w, tip_w = _move(world_T_ct_registered, entry), _move(world_T_ct_registered, tip)
    axis_w = (tip_w - entry_w) / np.linalg.norm(tip_w - entry_w)
    error = guide_error(truth.world_T_tip, entry_w, axis_w)
    guide_axis = truth.world_T_tip[:3, 2]
    origin = truth.world_T_tip[:3, 3]
    hit = origin + guide_axis * (((entry_w - origin) @ axis_w) / (guide_axis @ axis_w))
    ct_T_world = np.linalg.inv(truth.world_T_ct)
    entry_true = _move(ct_T_world, hit)
    tip_true = entry_true + ct_T_world[:3, :3] @ guide_axis * float(np.linalg.norm(tip - entry))
    total = max(float(np.linalg.norm(entry_true - entry)), float(np.linalg.norm(tip_true - tip)))
    return Verdict(
        error.lateral_m * 1e3, float(np.degrees(error.angle_rad)), total * 1e3, entry_true * 1e3, tip_true * 1e3
    )


def judge_screw(
    site: str, seed: int, planned: Mapping[str, Any], truth: Truth, ref_T_ct: Sequence[float], seconds: float
) -> ScrewRow:
    """One placed screw as a row of the outcome; takes seconds of a core. seed: the room's, which made its patient; planned:
    {level, side, grade, diameter_mm, entry_lps_mm, tip_lps_mm}; ref_T_ct: 16 numbers; seconds it took to place."""
    matrix = np.asarray(ref_T_ct, dtype=float).reshape(4, 4)
    v = judge(truth, matrix, np.asarray(planned["entry_lps_mm"]), np.asarray(planned["tip_lps_mm"]))
    graded = grade_truth(generate(seed), v.entry_lps_mm, v.tip_lps_mm, planned["diameter_mm"], planned["level"])
    return ScrewRow(
        site, planned["level"], planned["side"], v.entry_error_mm, v.axis_error_deg, v.total_error_mm, planned["grade"] or "?",
        graded["grade"], seconds,
    )  # fmt: skip
