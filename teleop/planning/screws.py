"""From a CT and its labels to a plan of pedicle screws: `plan_screws`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from teleop.planning.catalogue import Catalogue
from teleop.planning.error_model import ErrorModel
from teleop.planning.field import STEP_MM, Anatomy, Margins, build
from teleop.planning.frame import FrameError
from teleop.planning.images import Volume, same_grid
from teleop.planning.levels import LEVELS, SIDES, Labels
from teleop.planning.pedicle import Candidate, Outcome, plan_pedicle
from teleop.planning.plan import ImageRef, LinearTrajectory, Plan, trajectory
from teleop.planning.plausibility import (
    Finding,
    check_anatomy,
    check_label,
    check_order,
    check_proportions,
    touches_border,
)

PLANNER = {"name": "longhand", "version": "1"}


def bounding_boxes(labels: Labels) -> dict[str, tuple[slice, ...]]:
    """Bounding box of every level present."""
    found = ndimage.find_objects(labels.volume.data)
    return {
        name: found[value - 1]
        for value, name in labels.names.items()
        if value <= len(found) and found[value - 1] is not None
    }


def image_ref(volume: Volume, scheme: str = "") -> ImageRef:
    return ImageRef(
        volume.hash(),
        volume.frame_of_reference_uid,
        tuple(volume.data.shape),
        tuple(tuple(float(x) for x in row) for row in volume.lps_T_ijk),
        scheme,
    )


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


def build_anatomy(
    ct: Volume | None,
    labels: Labels,
    level: str,
    boxes: dict[str, tuple[slice, ...]],
    margins: Margins,
    canal_hint: np.ndarray | None = None,
    step: float = STEP_MM,
    depth: np.ndarray | None = None,
) -> Anatomy:
    """Anatomy of one level with its input checks, on a grid of `step` mm. Raises FrameError carrying the status."""
    if level not in boxes:
        raise FrameError("BAD_GEOMETRY", f"{level} is not in the label map (it has {', '.join(labels.levels)})")
    order = LEVELS.index(level)
    above = LEVELS[order - 1] if order else ""
    neighbour = labels.value(above) if above in boxes else None
    return build(
        labels, level, boxes[level], margins, up_hint(labels, boxes, level), canal_hint, neighbour, step, depth
    )


def to_trajectory(anatomy: Anatomy, side: str, outcome: Outcome) -> LinearTrajectory:
    """A pedicle's outcome as a trajectory in LPS mm."""
    level = anatomy.level
    id = f"{level}_{side}"
    if outcome.best is None:
        metrics: dict[str, Any] = {"proof": outcome.proof} if outcome.proof else {}
        if side in anatomy.isthmus:
            metrics["isthmus_width_mm"] = anatomy.isthmus[side].width
        return LinearTrajectory(
            id, "pedicle_screw", level, side, outcome.status, tuple(outcome.reasons), metrics=metrics
        )
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
    reserve_mm: float = 0.0,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Plan a screw for every level and side.

    Every requested pedicle is answered: a verified screw (status OK) or a status with its reasons and numbers. Raises ImageError when the grids of CT and
    labels differ, PlanError for bad models. reserve_mm: clearance demanded beyond the margins (a site's wish). levels: default all
    thoracic, lumbar and S1 levels in the label map.
    """
    same_grid(ct, labels.volume)
    hashing = threading.Thread(
        target=lambda: (ct.hash(), labels.volume.hash()), daemon=True
    )  # kept in the volumes; SHA-256 needs no interpreter
    hashing.start()
    model, stock, keep = error_model or ErrorModel(), catalogue or Catalogue(), margins or Margins()
    boxes = bounding_boxes(labels)
    chosen = list(levels) if levels is not None else [name for name in labels.levels if name[0] != "C"]
    items: list[LinearTrajectory] = []
    prepared, refused, findings = prepare(ct, labels, chosen, boxes, keep)
    outcomes = {
        (level, side): plan_pedicle(prepared[level], side, stock, model, reserve_mm, prove_no=False)
        for level in prepared
        for side in sides
    }
    for level in prepared:
        if any(outcomes[level, side].proof.get("kind") == "unproved" for side in sides):
            prepared[level] = look_closer(labels, prepared[level], boxes, keep)
            for side in sides:
                outcomes[level, side] = plan_pedicle(prepared[level], side, stock, model, reserve_mm)
    harmonise(outcomes, prepared, stock, model, reserve_mm)
    for level in chosen:
        for side in sides:
            id = f"{level}_{side}"
            if level in refused:
                error = refused[level]
                item = LinearTrajectory(id, "pedicle_screw", level, side, error.status, (str(error),))
            else:
                item = to_trajectory(prepared[level], side, outcomes[level, side])
                if verify and item.has_line:
                    item = verified(ct, labels, item, prepared[level])
                if item.status == "NO_SAFE_SCREW":
                    item = doubted(labels, item, prepared[level])
                item = downgraded(item, findings[level])
            items.append(item)
            if progress is not None:
                progress(f"{id}: {item.status}")
    items = check_pairs(items, prepared, stock)
    hashing.join()
    return Plan(
        ct=image_ref(ct), labels=image_ref(labels.volume, labels.scheme), trajectories=tuple(items), case=case,
        planner={**PLANNER, "margins": vars(keep), "catalogue": {"diameters_mm": stock.diameters_mm, "lengths_mm": stock.lengths_mm}},
        error_model=dict(model.to_json()), notes=labels.notes,
    )  # fmt: skip


FINE_STEP_MM = 0.3
"""A refusal is looked at again on this grid before it is pronounced and proved: along the middle of a narrow pedicle the values between the nodes
of a 0.7 mm grid lie up to 0.35 mm under the true distance."""


def look_closer(labels: Labels, anatomy: Anatomy, boxes: dict[str, tuple[slice, ...]], margins: Margins) -> Anatomy:
    """The level's fields on a finer grid; the same anatomy when that is not possible."""
    f = anatomy.frame
    hint = f.to_lps(np.array([0.0, (f.canal_front + f.canal_back) / 2.0, 0.0]))[0] if f.inferred else None
    try:
        return build_anatomy(None, labels, anatomy.level, boxes, margins, hint, FINE_STEP_MM)
    except FrameError:
        return anatomy


FLOOR_MM = 0.5
"""Bone the independent grader must find around the shank: half the smallest margin the planner kept."""
FLOOR_VOXELS = 0.35
"""The same as a share of the voxel: 1.5 SD of where a label's border lies (0.23 voxels on analytic bone)."""
MIN_VOXELS = 4.5
"""A pedicle narrower than this many voxels is planned, but never called OK; nor is a refusal by less than the border's uncertainty called proved."""
HEAD_MM = 5.0
"""How far behind the entry a screw's head seats the rod."""
ROD_TOLERANCE_MM = 1.5


def rod_deviation(
    outcomes: dict[tuple[str, str], Outcome], anatomies: dict[str, Anatomy], side: str
) -> dict[str, tuple[float, float]]:
    """For each level of one side: (how far its head lies lateral of the smooth line through all heads, where that line wants it: v mm x),
    needs three planned levels."""
    heads = {}
    for (level, s), o in outcomes.items():
        if s == side and o.best is not None:
            heads[level] = anatomies[level].frame.to_lps(o.best.entry - HEAD_MM * o.best.axis)[0]
    if len(heads) < 3:
        return {}
    names = sorted(heads, key=LEVELS.index)
    points = np.array([heads[n] for n in names])
    z = points[:, 2] - points[:, 2].mean()
    degree = 2 if len(names) >= 5 else 1
    line = np.column_stack([np.polyval(np.polyfit(z, points[:, axis], degree), z) for axis in range(2)])
    result = {}
    for i, name in enumerate(names):
        frame = anatomies[name].frame
        wanted = frame.to_v(np.array([line[i, 0], line[i, 1], points[i, 2]]))[0, 0]
        result[name] = (float(frame.to_v(points[i])[0, 0] - wanted), float(wanted))
    return result


def harmonise(
    outcomes: dict[tuple[str, str], Outcome],
    anatomies: dict[str, Anatomy],
    stock: Catalogue,
    model: ErrorModel,
    reserve_mm: float,
) -> None:
    """Pull heads that stand off the rod's line by more than 1.5 mm towards it, among equally safe poses: diameter, length and P(grade A)
    may not get worse. In place."""
    for side in SIDES:
        for level, (off, wanted) in rod_deviation(outcomes, anatomies, side).items():
            old = outcomes[level, side]
            if abs(off) <= ROD_TOLERANCE_MM or old.best is None:
                continue
            new = plan_pedicle(
                anatomies[level], side, stock, model, reserve_mm, rod=np.array([wanted, 0.0]), rod_weight=0.12
            )
            if (
                new.best is None
                or new.best.diameter < old.best.diameter
                or new.best.length < old.best.length
                or new.best.p_grade_a < min(old.best.p_grade_a, 0.99)
            ):
                continue
            head = (new.best.entry - HEAD_MM * new.best.axis)[0]
            if abs(head - wanted) < abs(off):
                outcomes[level, side] = new


def prepare(
    ct: Volume | None, labels: Labels, levels: Sequence[str], boxes: dict[str, tuple[slice, ...]], margins: Margins
) -> tuple[dict[str, Anatomy], dict[str, FrameError], dict[str, list[Finding]]]:
    """Anatomies of the levels, refusals, and findings per level. A level whose canal is open is tried again with its neighbours' canals."""
    ready: dict[str, Anatomy] = {}
    refused: dict[str, FrameError] = {}
    out_of_order = check_order(labels, boxes)
    for level in levels:
        try:
            if level not in boxes:
                raise FrameError("BAD_GEOMETRY", f"{level} is not in the label map (it has {', '.join(labels.levels)})")
            depth = check_label(labels, level, boxes[level])
            ready[level] = build_anatomy(ct, labels, level, boxes, margins, depth=depth)
        except FrameError as error:
            edge = touches_border(labels, level, boxes[level]) if level in boxes else ""
            refused[level] = (
                FrameError("PARTIAL", f"{error}; the {edge} border of the image cuts the label") if edge else error
            )
    for level, reason in list(refused.items()):
        hint = _canal_from_neighbours(level, ready) if "canal" in str(reason) else None
        if hint is None:
            continue
        try:
            ready[level] = build_anatomy(ct, labels, level, boxes, margins, hint)
            del refused[level]
        except FrameError:
            pass
    findings = check_proportions(ready)
    for level, anatomy in ready.items():
        findings[level] += check_anatomy(anatomy, labels, boxes[level], ct)
        findings[level] += [
            Finding("BAD_GEOMETRY", text) for text in out_of_order if level in text.split(":")[0].split()
        ]
    return ready, refused, findings


def _canal_from_neighbours(level: str, ready: dict[str, Anatomy]) -> np.ndarray | None:
    """A point of the canal at a level whose own ring is open: between the canals above and below. None without both neighbours."""
    order = LEVELS.index(level)
    pair = [
        ready.get(LEVELS[order - 1]) if order else None,
        ready.get(LEVELS[order + 1]) if order + 1 < len(LEVELS) else None,
    ]
    if pair[0] is None or pair[1] is None:
        return None
    points = [
        a.frame.to_lps(np.array([0.0, (a.frame.canal_front + a.frame.canal_back) / 2.0, 0.0]))[0]
        for a in pair
        if a is not None
    ]
    return np.asarray(np.mean(points, axis=0))


def downgraded(item: LinearTrajectory, findings: Sequence[Finding]) -> LinearTrajectory:
    """Apply a level's findings: the worst status wins, a BAD_GEOMETRY also takes the line away because its numbers mean nothing."""
    order = ("BAD_GEOMETRY", "PARTIAL", "METAL", "LOW_CONFIDENCE")
    for status in order:
        if any(f.status == status for f in findings):
            texts = (*(f.text for f in findings if f.status), *item.reasons)
            if status in ("BAD_GEOMETRY", "PARTIAL") or not item.has_line:
                keep = status if item.has_line or status in ("BAD_GEOMETRY", "PARTIAL") else item.status
                return LinearTrajectory(
                    item.id,
                    item.kind,
                    item.level,
                    item.side,
                    keep,
                    texts,
                    metrics={k: v for k, v in item.metrics.items() if k.startswith("isthmus") or k == "proof"},
                )
            return replace(item, status=status, reasons=texts)
    notes = tuple(f.text for f in findings)
    return replace(item, reasons=(*item.reasons, *notes)) if notes else item


def check_pairs(
    items: list[LinearTrajectory], anatomies: dict[str, Anatomy], catalogue: Catalogue
) -> list[LinearTrajectory]:
    """Screw-to-screw distance (>= 2 mm between shanks) and tulip clearance (heads 5 mm behind the entry) over all planned lines; a
    conflict downgrades the later one."""
    result: list[LinearTrajectory] = []
    for item in items:
        if item.status == "OK":
            for other in (o for o in result if o.status == "OK"):
                a, b = item.line(), other.line()
                gap = segment_distance(*a, *b) - (item.diameter_mm + other.diameter_mm) / 2.0
                heads = float(np.linalg.norm((a[0] - 5.0 * item.axis) - (b[0] - 5.0 * other.axis))) - catalogue.tulip_mm
                if gap < 2.0 or heads < 0.0:
                    what = f"shank {gap:.1f} mm from" if gap < 2.0 else f"head overlaps by {-heads:.1f} mm with"
                    item = replace(item, status="LOW_CONFIDENCE", reasons=(*item.reasons, f"{what} {other.id}"))
                    break
        result.append(item)
    return result


def segment_distance(p1: np.ndarray, q1: np.ndarray, p2: np.ndarray, q2: np.ndarray) -> float:
    """Smallest distance between two segments (Ericson, Real-Time Collision Detection 5.1.9)."""
    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    a, e, f = float(d1 @ d1), float(d2 @ d2), float(d2 @ r)
    c, b = float(d1 @ r), float(d1 @ d2)
    denominator = a * e - b * b
    s = min(max((b * f - c * e) / denominator, 0.0), 1.0) if denominator > 1e-9 else 0.0
    t = (b * s + f) / e
    if t < 0.0:
        t, s = 0.0, min(max(-c / a, 0.0), 1.0)
    elif t > 1.0:
        t, s = 1.0, min(max((b - c) / a, 0.0), 1.0)
    return float(np.linalg.norm(p1 + s * d1 - p2 - t * d2))


def voxel_across(labels: Labels, anatomy: Anatomy) -> float:
    """Size of a voxel across the pedicles, along the vertebra's left-right axis, mm."""
    lateral = anatomy.frame.lps_T_v[:3, 0]
    return float(np.linalg.norm((labels.volume.direction.T @ lateral) * labels.volume.spacing_mm))


def doubted(labels: Labels, item: LinearTrajectory, anatomy: Anatomy) -> LinearTrajectory:
    """A proof is about the label's bone. Where that shows the pedicle in a few voxels only and the bound misses the need by less than its border is
    uncertain (FLOOR_VOXELS), the no is not one about the patient: LOW_CONFIDENCE. (Simulated: of one patient planned at 0.8 mm, truly A with 4.0 and
    4.5 mm, the label at 3 mm "proved" that no screw exists.)"""
    proof, voxel, width = item.metrics["proof"], voxel_across(labels, anatomy), anatomy.isthmus[item.side].width
    if width >= MIN_VOXELS * voxel or proof["upper_bound_mm"] + FLOOR_VOXELS * voxel < proof["need_mm"]:
        return item
    why = (
        f"the label shows the pedicle only {width / voxel:.1f} voxels wide ({voxel:.1f} mm), its border is uncertain by {FLOOR_VOXELS * voxel:.2f} mm: "
        "a finer CT has to say whether there is a screw"
    )
    return replace(item, status="LOW_CONFIDENCE", reasons=(*item.reasons, why))


def verified(ct: Volume, labels: Labels, item: LinearTrajectory, anatomy: Anatomy) -> LinearTrajectory:
    """The trajectory with the independent grader's numbers; a claim the grader contradicts becomes LOW_CONFIDENCE without losing the numbers."""
    from teleop.planning.grade import grade_screw

    report = grade_screw(labels, item, ct=ct, frame=anatomy.frame)
    metrics = {**item.metrics, **report.numbers()}
    why = list(report.contradictions)
    voxel = voxel_across(labels, anatomy)
    floor = max(FLOOR_MM, FLOOR_VOXELS * voxel)
    if report.grade != "A":
        why.append(f"independent grade {report.grade}, breach {report.breach_mm:.2f} mm {report.breach_side}")
    elif report.clearance_mm < floor:
        why.append(
            f"the independent grader finds only {report.clearance_mm:.2f} mm of bone around the shank, wanted {floor:.2f} "
            f"at {voxel:.1f} mm voxels"
        )
    if "canal" in labels.structures and report.canal_mm < anatomy.margins.canal:
        why.append(f"only {report.canal_mm:.2f} mm to the labelled canal, wanted {anatomy.margins.canal}")
    if report.babu >= 2:
        why.append(f"the cranial facet is entered (Babu {report.babu}, {report.facet_mm:.2f} mm to the level above)")
    width = item.metrics.get("isthmus_width_mm")
    if isinstance(width, float) and width < MIN_VOXELS * voxel:
        why.append(
            f"the pedicle is only {width / voxel:.1f} voxels wide ({width:.1f} mm at {voxel:.1f} mm); numbers below a voxel cannot be trusted"
        )
    if why:
        return replace(item, status="LOW_CONFIDENCE", reasons=(*item.reasons, *why), metrics=metrics)
    if report.extra["neck_mm"] < 0.0:
        note = f"behind its entry the screw meets the joint process of the level above ({report.extra['neck_mm']:.1f} mm): the head will need room there"
        return replace(item, reasons=(*item.reasons, note), metrics=metrics)
    return replace(item, metrics=metrics)
