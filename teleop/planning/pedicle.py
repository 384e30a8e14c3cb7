"""One pedicle: the best screw, sized step by step, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teleop.planning import search
from teleop.planning.catalogue import Catalogue
from teleop.planning.error_model import ErrorModel
from teleop.planning.field import Anatomy, Isthmus

P_GRADE_A = 0.95
WIDTH_SHARE = 0.80
TIP_HARD, TIP_TARGET = 0.85, 0.78
"""Tip depth as a share of the body's depth: 85 % must not be exceeded, 78 % is aimed at (published optimum 79 to 88 % by level, risk falls with less)."""
SIZING_DEPTH = 0.60
MIDLINE_MM = 1.2
"""Each shank keeps this far from the midline, so that left and right never meet (2 mm apart at least)."""
_EMPTY = np.zeros((0, 3))


@dataclass
class Candidate:
    """A screw in v coordinates. All mm; clear is what the margin field leaves beyond the radius (0 = margins just kept)."""

    pose: np.ndarray
    entry: np.ndarray
    axis: np.ndarray
    diameter: float
    length: float
    clear: float
    p_grade_a: float
    tip_share: float
    anterior: float
    utility: float
    facet: float
    notes: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What planning one side gave. best is None when status is not OK."""

    status: str
    reasons: list[str]
    best: Candidate | None = None
    alternatives: list[Candidate] = field(default_factory=list)
    proof: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Everything the search kernels need for one side."""

    anatomy: Anatomy
    isthmus: Isthmus
    sign: float
    facet: np.ndarray
    y_back: float

    @property
    def grids(self) -> tuple[Any, Any, Any, float, float, Any]:
        """What every search begins with: fields, their place, the side and the pose's origin."""
        a = self.anatomy
        return a.solid, a.guarded, a.low, a.step, self.sign, self.isthmus.centre

    @property
    def dorsal(self) -> tuple[float, Any, float]:
        """What every search knows of the side where a screw enters."""
        return self.y_back, self.facet, self.anatomy.margins.facet

    def y_at(self, share: float) -> float:
        """The y (v mm) at a share of the body's depth, counted from its back wall."""
        f = self.anatomy.frame
        return f.canal_front - share * (f.canal_front - f.body_front)

    def score(self, pose: np.ndarray, y_tip: float, give_up: float = -50.0) -> np.ndarray:
        """(5,) [clear, s_entry, -, s_tip, facet distance], see `search.evaluate`."""
        out = np.zeros(5)
        search.evaluate(*self.grids, pose, y_tip, *self.dorsal, give_up, out)
        return out

    def clearest_from(self, pose: np.ndarray, last_mm: float) -> tuple[float, np.ndarray]:
        """(radius allowed by the margins, pose) on top of the hill that `pose` stands on; steps end below `last_mm`."""
        value, found = search.climb_clearance(
            *self.grids, pose, self.y_at(SIZING_DEPTH), *self.dorsal, 0.8, np.deg2rad(2.5), last_mm
        )
        return float(value), found

    def axis(self, pose: np.ndarray) -> np.ndarray:
        return np.array(search.direction(self.sign, pose[2], pose[3]))

    def point(self, pose: np.ndarray) -> np.ndarray:
        return self.isthmus.centre + np.array([pose[0], 0.0, pose[1]])


def problem(anatomy: Anatomy, side: str) -> Problem:
    sign = 1.0 if side == "left" else -1.0
    item = anatomy.isthmus[side]
    facet = np.ascontiguousarray(anatomy.facet.get(side, _EMPTY), dtype=np.float64).reshape(-1, 3)
    return Problem(anatomy, item, sign, facet, anatomy.frame.canal_front + 3.0)


def prior_angles(p: Problem, level: str) -> np.ndarray:
    """(2,) convergence and cranial angle the utility leans to: the pedicle's own axis, and half-way between it and the endplate plane."""
    axis = p.isthmus.axis
    converge = float(np.arctan2(-p.sign * axis[0], -axis[1]))
    return np.array([float(np.clip(converge, np.deg2rad(-12.0), np.deg2rad(42.0))), float(np.arcsin(axis[2]))])


def starts(p: Problem, level: str) -> np.ndarray:
    """(k, 5) best poses of the coarse grid, clear first."""
    reach = max(1.0, min(4.0, p.isthmus.width / 2.0 - 1.0))
    high = max(1.0, min(5.0, p.isthmus.height / 2.0 - 2.0))
    prior = prior_angles(p, level)
    avs = np.deg2rad(np.arange(-12.0, 44.1, 4.0))
    avs = avs[np.abs(avs - prior[0]) < np.deg2rad(24.0)]
    bvs = np.deg2rad(np.arange(-16.0, 16.1, 4.0))
    return search.coarse_search(
        *p.grids, p.y_at(SIZING_DEPTH), *p.dorsal,
        np.linspace(-reach, reach, 5), np.linspace(-high, high, 5), avs, bvs, 24,
    )  # fmt: skip


def best_clearance(p: Problem, level: str) -> tuple[float, np.ndarray, np.ndarray]:
    """(largest radius allowed by the margins, its pose, the coarse poses)."""
    a = p.anatomy
    coarse = starts(p, level)
    best, pose = -99.0, np.zeros(4)
    tried: list[np.ndarray] = []
    for row in coarse[coarse[:, 0] > -90.0]:
        if any(
            abs(row[1] - t[0]) + abs(row[2] - t[1]) < 2.0 and np.abs(row[3:] - t[2:]).max() < np.deg2rad(9.0)
            for t in tried
        ):
            continue
        if len(tried) >= (3 if a.step > 0.5 else 8):
            break
        tried.append(row[1:])
        value, found = p.clearest_from(row[1:].copy(), 0.04 if a.step > 0.5 else 0.02)
        if value > best:
            best, pose = value, found
    return best, pose, coarse


def _length(
    p: Problem, pose: np.ndarray, radius: float, catalogue: Catalogue
) -> tuple[float, float, float, float, float] | None:
    """Longest catalogue length within the tip rules for a pose. -> (length, clear at that length, tip share, anterior bone, s_entry); None
    when even the shortest fails."""
    a = p.anatomy
    axis, point = p.axis(pose), p.point(pose)
    out = p.score(pose, p.y_at(0.05))
    if out[0] < -90.0:
        return None
    s_entry = float(out[1])
    front = search.bone_end(a.solid, a.low, a.step, point[0], point[1], point[2], axis[0], axis[1], axis[2], 75.0)
    depth = a.frame.canal_front - a.frame.body_front
    best: tuple[float, float, float, float, float] | None = None
    for length in catalogue.lengths_mm:
        s_tip = s_entry + length
        tip = point + s_tip * axis
        share = (a.frame.canal_front - tip[1]) / depth
        anterior = front - s_tip
        if share > TIP_HARD or anterior < a.margins.anterior or p.sign * tip[0] < radius + MIDLINE_MM:
            break
        if share > TIP_TARGET + 0.04 and best is not None:
            break
        if share < 0.2:
            continue
        clear = float(p.score(pose, float(tip[1]))[0])
        if clear < radius:
            break
        best = (length, clear, float(share), float(anterior), s_entry)
    return best


def p_grade_a(
    p: Problem, entry: np.ndarray, axis: np.ndarray, radius: float, model: ErrorModel, count: int = 1024
) -> float:
    """Probability that the executed screw is grade A in the pedicle zone under the error model (quasi Monte-Carlo)."""
    a = p.anatomy
    e1 = np.cross([0.0, 0.0, 1.0], axis)
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(axis, e1)
    s_to = (a.frame.canal_front - entry[1]) / axis[1]
    return float(
        search.grade_a_share(
            a.bone,
            a.low,
            a.step,
            entry,
            axis,
            e1,
            e2,
            search.ENTRY_EXCLUDED_MM,
            max(float(s_to), search.ENTRY_EXCLUDED_MM + 1.0),
            radius,
            model.samples(count),
        )
    )


def _polish(
    p: Problem, pose: np.ndarray, need: float, prior: np.ndarray, rod: np.ndarray, rod_weight: float
) -> tuple[float, float, np.ndarray]:
    """Climb the utility from a pose for the deepest tip that is safe there: a line that is safe to 60 % of the body may meet its side wall at 72 %."""
    result: tuple[float, float, np.ndarray] = (-1e9, -99.0, pose)
    for share in (TIP_TARGET - 0.06, SIZING_DEPTH, 0.45):
        result = search.climb_utility(
            *p.grids, pose.copy(), need, prior, p.y_at(share), *p.dorsal, rod, rod_weight, 1.5, 0.8, np.deg2rad(2.5), 0.05
        )
        if result[0] > -1e8:
            break
    return result


def make_candidate(
    p: Problem, pose: np.ndarray, diameter: float, catalogue: Catalogue, model: ErrorModel, utility: float = 0.0
) -> Candidate | None:
    found = _length(p, pose, diameter / 2.0, catalogue)
    if found is None:
        return None
    length, clear, share, anterior, s_entry = found
    axis = p.axis(pose)
    entry = p.point(pose) + s_entry * axis
    out = p.score(pose, p.y_at(0.1))
    return Candidate(
        pose,
        entry,
        axis,
        diameter,
        length,
        clear - diameter / 2.0,
        p_grade_a(p, entry, axis, diameter / 2.0, model),
        share,
        anterior,
        utility,
        float(out[4]) - diameter / 2.0,
    )


def plan_pedicle(
    anatomy: Anatomy,
    side: str,
    catalogue: Catalogue,
    model: ErrorModel,
    reserve_mm: float = 0.0,
    rod: np.ndarray | None = None,
    rod_weight: float = 0.0,
    alternatives: int = 3,
    prove_no: bool = True,
) -> Outcome:
    """Plan one side. reserve_mm: extra clearance demanded of every wall (the field's own uncertainty). rod: (x, y) v mm wanted for the head.
    prove_no: False leaves the proof of a refusal out (proof["kind"] is then "unproved"): the caller looks again on a finer grid."""
    if side not in anatomy.isthmus or anatomy.isthmus[side].width < 1.0:
        return Outcome(
            "NO_PEDICLE",
            [
                f"{anatomy.level} {side}: the label has no pedicle there (largest inscribed circle "
                f"{anatomy.isthmus[side].width if side in anatomy.isthmus else 0.0:.1f} mm)"
            ],
        )
    p = problem(anatomy, side)
    level = anatomy.level
    radius_max, pose, coarse = best_clearance(p, level)
    smallest = catalogue.diameters_mm[0] / 2.0 + reserve_mm
    if radius_max < smallest and not prove_no:
        return Outcome(
            "LOW_CONFIDENCE",
            [f"{level} {side}: no safe screw found on the coarse grid"],
            proof={"kind": "unproved", "best_found_mm": radius_max, "need_mm": smallest},
        )
    if radius_max < smallest:
        from teleop.planning.infeasible import prove

        proof = prove(p, smallest, radius_max)
        if "pose" in proof:  # the bound's search met a pose the climber had missed: climb from there
            value, found = p.clearest_from(np.array(proof.pop("pose")), 0.04)
            if value > radius_max:
                radius_max, pose = value, found
    if radius_max < smallest:
        certified = "proved" if proof["certified"] else "not proved, so look at it"
        text = (
            f"{level} {side}: no safe screw: the best axis leaves {max(radius_max, 0.0):.2f} mm beyond the margins, the "
            f"thinnest screw ({catalogue.diameters_mm[0]} mm) needs {smallest:.2f} "
            f"(pedicle {p.isthmus.width:.1f} mm wide; upper bound over all poses {proof['upper_bound_mm']:.2f} mm, {certified})"
        )
        return Outcome("NO_SAFE_SCREW" if proof["certified"] else "LOW_CONFIDENCE", [text], proof=proof)
    prior = prior_angles(p, level)
    target = np.zeros(2) if rod is None else rod
    weight = 0.0 if rod is None else rod_weight
    limit = min(2.0 * (radius_max - reserve_mm), WIDTH_SHARE * p.isthmus.width)
    fitting = [d for d in catalogue.diameters_mm if d <= limit + 1e-9] or [catalogue.diameters_mm[0]]
    reasons: list[str] = []
    seeds = [pose]
    for diameter in reversed(fitting):
        need = diameter / 2.0 + reserve_mm
        best: Candidate | None = None
        for seed in seeds:
            utility, _clear, polished = _polish(p, seed, need, prior, target, weight)
            if utility < -1e8:
                continue
            candidate = make_candidate(p, polished, diameter, catalogue, model, utility)
            if candidate is not None and (best is None or candidate.utility > best.utility):
                best = candidate
        if best is None:
            reasons.append(f"{diameter} mm has no length that keeps the tip rules")
            continue
        if best.p_grade_a < P_GRADE_A:  # give clearance the last word before giving up the diameter
            safer = make_candidate(p, pose, diameter, catalogue, model)
            if safer is not None and safer.p_grade_a >= P_GRADE_A:
                best = safer
            else:
                reasons.append(
                    f"{diameter} mm fits but P(grade A) is only {max(best.p_grade_a, safer.p_grade_a if safer else 0.0):.3f}"
                )
                continue
        best.notes = reasons
        return Outcome("OK", reasons, best, _alternatives(p, best, coarse, catalogue, model, reserve_mm, alternatives))
    worst = f"{level} {side}: no diameter keeps P(grade A) >= {P_GRADE_A} and the tip rules; " + "; ".join(reasons[-2:])
    return Outcome("NO_SAFE_SCREW", [worst], proof={"kind": "chance", "best_clearance_mm": radius_max})


def _alternatives(
    p: Problem,
    best: Candidate,
    coarse: np.ndarray,
    catalogue: Catalogue,
    model: ErrorModel,
    reserve_mm: float,
    count: int,
) -> list[Candidate]:
    """Other screws at least 3 mm or 5 deg away, and the next smaller diameter on the same line."""
    result: list[Candidate] = []
    smaller = [d for d in catalogue.diameters_mm if d < best.diameter]
    if smaller and count > 0:
        thin = make_candidate(p, best.pose, smaller[-1], catalogue, model, best.utility)
        if thin is not None:
            thin.notes = ["same line, next smaller diameter"]
            result.append(thin)
    need = best.diameter / 2.0 + reserve_mm
    for row in coarse:
        if len(result) >= count or row[0] < need:
            break
        candidate = make_candidate(p, row[1:].copy(), best.diameter, catalogue, model)
        if candidate is None or candidate.clear < reserve_mm or candidate.p_grade_a < P_GRADE_A:
            continue
        if all(
            np.linalg.norm(candidate.entry - o.entry) >= 3.0
            or np.degrees(np.arccos(np.clip(candidate.axis @ o.axis, -1, 1))) >= 5.0
            for o in [best, *result[1:]]
        ):
            candidate.notes = ["different line"]
            result.append(candidate)
    return result
