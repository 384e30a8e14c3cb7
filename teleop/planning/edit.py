"""Changing a screw by hand: pure functions, each new line with all its numbers, fast enough to follow a drag.

`Editor` holds what is slow to make (the anatomy of one level); every change is a new `LinearTrajectory` with status DRAFT until `commit`
verifies it with the independent grader.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from teleop.planning import search
from teleop.planning.error_model import ErrorModel
from teleop.planning.field import Anatomy, Margins
from teleop.planning.images import Volume
from teleop.planning.levels import Labels
from teleop.planning.pedicle import p_grade_a, problem
from teleop.planning.plan import LinearTrajectory, trajectory

RING = 24
STEP_MM = 0.5


def move_entry(item: LinearTrajectory, delta_lps_mm: np.ndarray) -> LinearTrajectory:
    """Shift the entry, keep the tip; the length follows."""
    entry, tip = item.line()
    return _line(item, entry + np.asarray(delta_lps_mm, dtype=float), tip)


def move_tip(item: LinearTrajectory, delta_lps_mm: np.ndarray) -> LinearTrajectory:
    """Shift the tip, keep the entry; the length follows."""
    entry, tip = item.line()
    return _line(item, entry, tip + np.asarray(delta_lps_mm, dtype=float))


def move_both(item: LinearTrajectory, delta_lps_mm: np.ndarray) -> LinearTrajectory:
    """Shift the whole screw."""
    entry, tip = item.line()
    delta = np.asarray(delta_lps_mm, dtype=float)
    return _line(item, entry + delta, tip + delta)


def rotate(item: LinearTrajectory, axis_lps: np.ndarray, angle_deg: float, about: str = "entry") -> LinearTrajectory:
    """Turn about an axis through the 'entry', 'tip' or 'middle' (Rodrigues)."""
    entry, tip = item.line()
    k = np.asarray(axis_lps, dtype=float)
    k = k / np.linalg.norm(k)
    angle = np.deg2rad(angle_deg)
    pivot = {"entry": entry, "tip": tip, "middle": (entry + tip) / 2.0}[about]

    def turn(p: np.ndarray) -> np.ndarray:
        r = p - pivot
        return np.asarray(
            pivot + r * np.cos(angle) + np.cross(k, r) * np.sin(angle) + k * float(k @ r) * (1.0 - np.cos(angle))
        )

    return _line(item, turn(entry), turn(tip))


def resize(
    item: LinearTrajectory, diameter_mm: float | None = None, length_mm: float | None = None
) -> LinearTrajectory:
    """Another diameter and/or length (the entry stays)."""
    entry, _ = item.line()
    return trajectory(
        item.id,
        item.kind,
        entry,
        item.axis,
        item.length_mm if length_mm is None else length_mm,
        item.diameter_mm if diameter_mm is None else diameter_mm,
        level=item.level,
        side=item.side,
        status="DRAFT",
        reasons=("edited by hand",),
    )


def _line(item: LinearTrajectory, entry: np.ndarray, tip: np.ndarray) -> LinearTrajectory:
    length = float(np.linalg.norm(tip - entry))
    return trajectory(
        item.id,
        item.kind,
        entry,
        tip - entry,
        length,
        item.diameter_mm,
        level=item.level,
        side=item.side,
        status="DRAFT",
        reasons=("edited by hand",),
    )


@dataclass(frozen=True)
class Editor:
    """Live metrics of one level's screws."""

    anatomy: Anatomy
    model: ErrorModel

    def metrics(self, item: LinearTrajectory) -> dict[str, Any]:
        """Grade, margins by direction, P(grade A), tip and canal numbers of any line on this level's working field.

        Keys as in plan.json (grade, min_clearance_mm, clearance_{medial,lateral,cranial,caudal}_mm, body_clearance_mm, anterior_mm,
        p_grade_a, tip_share, facet_mm,
        spare_mm (clearance beyond the required margins), safe, problems).
        """
        a = self.anatomy
        entry_lps, tip_lps = item.line()
        entry, tip = a.frame.to_v(entry_lps)[0], a.frame.to_v(tip_lps)[0]
        length = float(np.linalg.norm(tip - entry))
        axis = (tip - entry) / length
        radius = item.diameter_mm / 2.0
        sign = 1.0 if entry[0] >= 0.0 else -1.0
        side = "left" if sign > 0 else "right"
        along = np.arange(-8.0, length, 0.25)
        solid = a.sample(a.solid, entry + along[:, None] * axis) > 0.5
        y = entry[1] + along * axis[1]
        dorsal = np.flatnonzero(solid & (y > a.frame.canal_front))
        if not len(dorsal):
            return {
                "grade": "E",
                "safe": False,
                "problems": ["the line does not pass through a pedicle"],
                "min_clearance_mm": None,
                "p_grade_a": 0.0,
            }
        first = int(dorsal[-1])
        while first > 0 and solid[first - 1]:
            first -= 1
        s0 = max(float(along[first]), 0.0)
        s = np.arange(min(s0 + search.ENTRY_EXCLUDED_MM, length), length + 1e-9, STEP_MM)
        centre = entry + s[:, None] * axis
        e1 = np.cross([0.0, 0.0, 1.0], axis)
        e1 /= np.linalg.norm(e1)
        e1 *= 1.0 if e1[0] * sign > 0 else -1.0
        e2 = np.cross(axis, e1)
        e2 *= 1.0 if e2[2] > 0 else -1.0
        theta = 2.0 * np.pi * np.arange(RING) / RING
        wall = search.ring_walls(a.solid, a.low, a.step, centre, e1, e2, theta, radius + 6.0)
        clearance = wall - radius
        pedicle = centre[:, 1] > a.frame.canal_front
        zone = clearance[pedicle] if pedicle.any() else clearance[:1]
        breach = max(0.0, -float(zone.min()))
        sectors = {
            "lateral": np.cos(theta) > 0.7,
            "medial": np.cos(theta) < -0.7,
            "cranial": np.sin(theta) > 0.7,
            "caudal": np.sin(theta) < -0.7,
        }
        by_side = {f"clearance_{name}_mm": float(zone[:, chosen].min()) for name, chosen in sectors.items()}
        body = clearance[~pedicle]
        front = search.bone_end(a.solid, a.low, a.step, tip[0], tip[1], tip[2], axis[0], axis[1], axis[2], 40.0)
        spare = (
            float(
                search.lowest(
                    a.guarded,
                    a.low,
                    a.step,
                    entry[0],
                    entry[1],
                    entry[2],
                    axis[0],
                    axis[1],
                    axis[2],
                    min(s0 + search.ENTRY_EXCLUDED_MM, length),
                    length,
                    -50.0,
                )
            )
            - radius
        )
        p = problem(a, side) if side in a.isthmus else None
        pa = p_grade_a(p, entry + s0 * axis, axis, radius, self.model, 512) if p is not None else 0.0
        facet = float("nan")
        points = a.facet.get(side)
        if points is not None and len(points):
            r = points - entry
            t = np.clip(r @ axis, s0 - 3.0, s0 + 15.0)
            facet = float(np.linalg.norm(r - t[:, None] * axis, axis=1).min()) - radius
        share = float((a.frame.canal_front - tip[1]) / (a.frame.canal_front - a.frame.body_front))
        letter = "A" if breach <= 0 else "B" if breach < 2 else "C" if breach < 4 else "D" if breach < 6 else "E"
        problems = self._problems(a.margins, letter, breach, spare, pa, facet, share, front, bool(tip[0] * sign < 0.0))
        return {
            "grade": letter,
            "breach_mm": breach,
            "min_clearance_mm": float(zone.min()),
            **by_side,
            "body_clearance_mm": float(body.min()) if body.size else None,
            "anterior_mm": float(front),
            "spare_mm": spare,
            "p_grade_a": pa,
            "facet_mm": facet,
            "tip_share": share,
            "safe": not problems,
            "problems": problems,
        }

    @staticmethod
    def _problems(
        m: Margins,
        letter: str,
        breach: float,
        spare: float,
        pa: float,
        facet: float,
        share: float,
        front: float,
        crosses: bool,
    ) -> list[str]:
        rules = (
            (letter != "A", f"grade {letter}: {breach:.1f} mm outside the pedicle"),
            (spare < 0.0, f"a margin is short by {-spare:.1f} mm"),
            (pa < 0.95, f"P(grade A) is {pa:.2f}, wanted 0.95"),
            (facet < m.facet, f"cranial facet {facet:.1f} mm away, wanted {m.facet:.1f}"),
            (share > 0.85, f"tip at {100 * share:.0f} % of the body, allowed 85"),
            (front < m.anterior, f"{front:.1f} mm of bone ahead of the tip, wanted {m.anterior:.0f}"),
            (crosses, "the tip crosses the midline"),
        )
        return [text for bad, text in rules if bad]

    def edited(self, item: LinearTrajectory) -> LinearTrajectory:
        """The (moved) trajectory with its live metrics."""
        return replace(item, status="DRAFT", metrics=self.metrics(item))

    def commit(self, item: LinearTrajectory, ct: Volume, labels: Labels) -> LinearTrajectory:
        """Verify an edited screw with the independent grader: OK when it is grade A and breaks no rule, else LOW_CONFIDENCE with the reasons."""
        from teleop.planning.screws import verified

        live = self.metrics(item)
        clean = {k: v for k, v in live.items() if k not in ("safe", "problems", "grade", "min_clearance_mm")}
        result = verified(
            ct, labels, replace(item, status="OK", reasons=("edited by hand",), metrics=clean), self.anatomy
        )
        if live["problems"]:
            return replace(result, status="LOW_CONFIDENCE", reasons=(*result.reasons, *live["problems"]))
        return result


def open_editor(
    ct: Volume | None, labels: Labels, level: str, model: ErrorModel | None = None, margins: Margins | None = None
) -> Editor:
    """Prepare one level for editing (0.1 to 0.3 s). Raises FrameError."""
    from teleop.planning.screws import bounding_boxes, build_anatomy

    return Editor(build_anatomy(ct, labels, level, bounding_boxes(labels), margins or Margins()), model or ErrorModel())
