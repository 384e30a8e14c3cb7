"""From a CT and its labels to a plan of pedicle screws: `plan_screws`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from teleop.planning.catalogue import Catalogue
from teleop.planning.error_model import ErrorModel
from teleop.planning.field import Anatomy, Margins, build
from teleop.planning.frame import FrameError
from teleop.planning.images import Volume, same_grid
from teleop.planning.levels import LEVELS, SIDES, Labels
from teleop.planning.pedicle import Candidate, Outcome, plan_pedicle
from teleop.planning.plan import ImageRef, LinearTrajectory, Plan, trajectory

PLANNER = {"name": "longhand", "version": "1"}


def bounding_boxes(labels: Labels) -> dict[str, tuple[slice, ...]]:
    """Bounding box of every level present."""
    found = ndimage.find_objects(labels.volume.data)
    return {name: found[value - 1] for value, name in labels.names.items() if value <= len(found) and found[value - 1] is not None}


def image_ref(volume: Volume, scheme: str = "") -> ImageRef:
    return ImageRef(volume.hash(), volume.frame_of_reference_uid, tuple(volume.data.shape), tuple(tuple(float(x) for x in row) for row in volume.lps_T_ijk), scheme)


def up_hint(labels: Labels, boxes: dict[str, tuple[slice, ...]], level: str) -> np.ndarray | None:
    """Cranial direction at a level from the boxes of its neighbours; None when it has none."""
    order = LEVELS.index(level)
    centres = {}
    for name, box in boxes.items():
        middle = np.array([(b.start + b.stop - 1) / 2.0 for b in box])
        centres[name] = labels.volume.to_lps(middle)[0]
    above = centres.get(LEVELS[order - 1]) if order > 0 else None
    below = centres.get(LEVELS[order + 1]) if order + 1 < len(LEVELS) else None
    top = above if above is not None else centres[level]
    bottom = below if below is not None else centres[level]
    if above is None and below is None:
        return None
    d = top - bottom
    d[1] *= 0.5  # boxes include the spinous processes, whose fall tilts the line in the sagittal plane
    return np.asarray(d / np.linalg.norm(d))


def build_anatomy(ct: Volume | None, labels: Labels, level: str, boxes: dict[str, tuple[slice, ...]], margins: Margins) -> Anatomy:
    """Anatomy of one level with its input checks. Raises FrameError carrying the status."""
    if level not in boxes:
        raise FrameError("BAD_GEOMETRY", f"{level} is not in the label map (it has {', '.join(labels.levels)})")
    order = LEVELS.index(level)
    above = LEVELS[order - 1] if order else ""
    neighbour = labels.value(above) if above in boxes else None
    return build(labels, level, boxes[level], margins, up_hint(labels, boxes, level), None, neighbour)


def to_trajectory(anatomy: Anatomy, side: str, outcome: Outcome) -> LinearTrajectory:
    """A pedicle's outcome as a trajectory in LPS mm."""
    level = anatomy.level
    id = f"{level}_{side}"
    if outcome.best is None:
        metrics: dict[str, Any] = {"proof": outcome.proof} if outcome.proof else {}
        if side in anatomy.isthmus:
            metrics["isthmus_width_mm"] = anatomy.isthmus[side].width
        return LinearTrajectory(id, "pedicle_screw", level, side, outcome.status, tuple(outcome.reasons), metrics=metrics)
    f, best = anatomy.frame, outcome.best
    metrics = _metrics(anatomy, side, best)
    others = tuple(_alternative(anatomy, c) for c in outcome.alternatives)
    return trajectory(
        id, "pedicle_screw", f.to_lps(best.entry)[0], f.lps_T_v[:3, :3] @ best.axis, best.length, best.diameter,
        level=level, side=side, status="OK", reasons=tuple(outcome.reasons), metrics=metrics, alternatives=others,
    )  # fmt: skip


def _metrics(anatomy: Anatomy, side: str, c: Candidate) -> dict[str, Any]:
    item = anatomy.isthmus[side]
    return {
        "planner_spare_mm": c.clear,
        "p_grade_a": c.p_grade_a,
        "tip_share": c.tip_share,
        "anterior_mm": c.anterior,
        "facet_mm": c.facet,
        "isthmus_width_mm": item.width,
        "isthmus_height_mm": item.height,
        "isthmus_lps_mm": anatomy.frame.to_lps(item.centre)[0].round(3).tolist(),
        "fill": c.diameter / item.width,
        "convergence_deg": float(np.degrees(c.pose[2])),
        "cranial_deg": float(np.degrees(c.pose[3])),
    }


def _alternative(anatomy: Anatomy, c: Candidate) -> dict[str, Any]:
    entry = anatomy.frame.to_lps(c.entry)[0]
    axis = anatomy.frame.lps_T_v[:3, :3] @ c.axis
    return {
        "entry_lps_mm": entry.round(3).tolist(),
        "tip_lps_mm": (entry + c.length * axis).round(3).tolist(),
        "diameter_mm": c.diameter,
        "length_mm": c.length,
        "planner_spare_mm": c.clear,
        "p_grade_a": c.p_grade_a,
        "note": "; ".join(c.notes),
    }


def plan_screws(
    ct: Volume,
    labels: Labels,
    *,
    levels: Sequence[str] | None = None,
    sides: Sequence[str] = SIDES,
    error_model: ErrorModel | None = None,
    catalogue: Catalogue | None = None,
    margins: Margins | None = None,
    case: str = "",
    verify: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Plan a screw for every level and side.

    Every requested pedicle is answered: a verified screw (status OK) or a status with its reasons and numbers. Raises ImageError when the grids of CT and
    labels differ, PlanError for bad models. levels: default all thoracic, lumbar and S1 levels in the label map.
    """
    same_grid(ct, labels.volume)
    model, stock, keep = error_model or ErrorModel(), catalogue or Catalogue(), margins or Margins()
    boxes = bounding_boxes(labels)
    chosen = list(levels) if levels is not None else [name for name in labels.levels if name[0] != "C"]
    items: list[LinearTrajectory] = []
    began = time.perf_counter()
    for level in chosen:
        try:
            anatomy = build_anatomy(ct, labels, level, boxes, keep)
        except FrameError as error:
            items += [LinearTrajectory(f"{level}_{side}", "pedicle_screw", level, side, error.status, (str(error),)) for side in sides]
            continue
        for side in sides:
            item = to_trajectory(anatomy, side, plan_pedicle(anatomy, side, stock, model))
            if verify and item.has_line:
                item = verified(ct, labels, item, anatomy)
            items.append(item)
            if progress is not None:
                progress(f"{level} {side}: {item.status}")
    del began
    return Plan(
        ct=image_ref(ct), labels=image_ref(labels.volume, labels.scheme), trajectories=tuple(items), case=case,
        planner={**PLANNER, "margins": vars(keep), "catalogue": {"diameters_mm": stock.diameters_mm, "lengths_mm": stock.lengths_mm}},
        error_model=dict(model.to_json()),
    )  # fmt: skip


def verified(ct: Volume, labels: Labels, item: LinearTrajectory, anatomy: Anatomy) -> LinearTrajectory:
    """The trajectory with the independent grader's numbers; a claim the grader contradicts becomes LOW_CONFIDENCE without losing the numbers."""
    from teleop.planning.grade import grade_screw

    report = grade_screw(labels, item, ct=ct, frame=anatomy.frame)
    metrics = {**item.metrics, **report.numbers()}
    if report.grade != "A" or report.contradictions:
        why = report.contradictions or (f"independent grade {report.grade}, breach {report.breach_mm:.2f} mm {report.breach_side}",)
        return replace(item, status="LOW_CONFIDENCE", reasons=(*item.reasons, *why), metrics=metrics)
    return replace(item, metrics=metrics)
