"""Screws from landmarks alone: entry and isthmus of each pedicle, clicked by a person. A draft to look at, never verified, never OK.

Without a label map nothing is known about the bone around the line, so there is no grade, no margin and no proof: the status stays DRAFT
whatever else is known, and only a grader with labels (`grade_screw`) can say more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from teleop.planning.levels import LEVELS, SIDES
from teleop.planning.plan import LinearTrajectory, PlanError, trajectory

REASON = "from landmarks only: no bone was looked at, never verified"
DEFAULT_SIZE_MM = (5.5, 40.0)
"""Diameter and length of a draft where none is given: the middle of the default catalogue."""
APART_MM = (5.0, 40.0)
"""Believable distance between a pedicle's entry and its isthmus."""


def draft_screws(
    landmarks: dict[str, dict[str, dict[str, object]]], size_mm: tuple[float, float] = DEFAULT_SIZE_MM
) -> tuple[LinearTrajectory, ...]:
    """{level: {side: {"entry": [x, y, z], "isthmus": [x, y, z], "diameter_mm"?, "length_mm"?}}} (LPS mm) -> DRAFT trajectories.

    The line runs from the entry through the isthmus. Raises PlanError for unknown levels or sides, missing or absurd points.
    """
    result = []
    for level, sides in landmarks.items():
        if level not in LEVELS or not isinstance(sides, dict):
            raise PlanError(f"landmarks: {level!r} is no level (known: C1..C7, T1..T12, L1..L5, S1)")
        for side, marks in sides.items():
            where = f"landmarks {level} {side}"
            if side not in SIDES or not isinstance(marks, dict):
                raise PlanError(f"{where}: a side is 'left' or 'right' with entry and isthmus")
            entry, isthmus = (_point(marks.get(name), f"{where}: {name}") for name in ("entry", "isthmus"))
            apart = float(np.linalg.norm(isthmus - entry))
            if not APART_MM[0] <= apart <= APART_MM[1]:
                raise PlanError(
                    f"{where}: entry and isthmus are {apart:.1f} mm apart, believable are {APART_MM[0]:.0f} to {APART_MM[1]:.0f}; wrong unit or point?"
                )
            given: dict[str, Any] = marks
            diameter = float(given.get("diameter_mm") or size_mm[0])
            length = float(given.get("length_mm") or size_mm[1])
            result.append(
                trajectory(
                    f"{level}_{side}", "pedicle_screw", entry, isthmus - entry, length, diameter,
                    level=level, side=side, status="DRAFT", reasons=(REASON,),
                )
            )  # fmt: skip
    if not result:
        raise PlanError("landmarks: no pedicle in it")
    return tuple(result)


def load_landmarks(path: str | Path) -> dict[str, dict[str, dict[str, object]]]:
    """Read {"unit": "mm", "frame": "LPS", "levels": {...}} as `draft_screws` takes it. Raises PlanError: not JSON, another frame or unit."""
    try:
        raw = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("levels"), dict):
        raise PlanError(
            f'{path}: landmarks are {{"frame": "LPS", "unit": "mm", "levels": {{"L4": {{"left": {{"entry": ..., "isthmus": ...}}}}}}}}'
        )
    if raw.get("frame") != "LPS" or raw.get("unit") != "mm":
        raise PlanError(
            f"{path}: frame and unit must say LPS and mm, file says {raw.get('frame')} and {raw.get('unit')}; refusing to guess"
        )
    return dict(raw["levels"])


def _point(value: object, name: str) -> np.ndarray:
    try:
        point = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{name}: expected three numbers (LPS mm), got {value!r}") from error
    if point.shape != (3,) or not np.isfinite(point).all():
        raise PlanError(f"{name}: expected three numbers (LPS mm), got {value!r}")
    return point
