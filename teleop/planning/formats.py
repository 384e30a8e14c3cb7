"""Plans from and to other programs: 3D Slicer markups, legacy FCSV, ROSA. Everything comes out in LPS millimetres, status DRAFT: numbers
in a file are never trusted, only lines.

* `.mrk.json`: Slicer markups schema 1.0.3, coordinateSystem 'LPS' or 'RAS' (its default is LPS), one Line per trajectory. Slicer may drop
  unknown properties when it saves
  again, so diameter and grade also stand in the description and the native plan stays the record.
* `.fcsv`: read only (Slicer declares it legacy). Its header's coordinate system must be named; files written with LPS points under a RAS
  header exist and cannot be told apart here, the
  grader will find such a line outside the bone.
* `.ros`: ROSA case file, rows of [TRAJECTORY]: name type colour 1 entry 1 target length diameter, LPS.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from teleop.planning.plan import LinearTrajectory, Plan, PlanError, trajectory

MARKUPS_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
_FLIP = np.array([-1.0, -1.0, 1.0])
_LEVEL = re.compile(r"(?<![A-Za-z0-9])(C[1-7]|T(?:1[0-2]|[1-9])|L[1-5]|S1)(?![0-9])", re.IGNORECASE)


def guess_level_side(name: str) -> tuple[str, str]:
    """Level and side as far as a trajectory's name tells ('L4_left', 'L4 L' ...); '' where it does not."""
    match = _LEVEL.search(name.replace("_", " "))
    level = match.group(1).upper() if match else ""
    rest = name.replace(match.group(1), " ", 1).lower() if match else name.lower()
    words = re.split(r"[^a-z]+", rest)
    side = "left" if {"left", "l", "li"} & set(words) else "right" if {"right", "r", "re"} & set(words) else ""
    return level, side


def to_markups(plan: Plan, coordinates: str = "LPS") -> dict[str, Any]:
    """A Slicer markups document with one Line per trajectory that has a line."""
    if coordinates not in ("LPS", "RAS"):
        raise PlanError(f"coordinates must be LPS or RAS, got {coordinates!r}")
    flip = _FLIP if coordinates == "RAS" else np.ones(3)
    markups = []
    for item in plan.trajectories:
        if not item.has_line:
            continue
        entry, tip = (point * flip for point in item.line())
        orientation = guide_orientation((tip - entry) / np.linalg.norm(tip - entry)).ravel().round(9).tolist()
        text = (
            f"{item.kind}; diameter {item.diameter_mm} mm; length {item.length_mm} mm; status {item.status}; grade "
            f"{item.metrics.get('grade', '?')}; plan {plan.hash[:16]}"
        )
        points = [
            {
                "id": str(n + 1),
                "label": label,
                "position": [round(float(c), 3) for c in point],
                "orientation": orientation,
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
            for n, (label, point) in enumerate((("entry", entry), ("tip", tip)))
        ]
        markups.append(
            {
                "type": "Line",
                "name": item.id,
                "coordinateSystem": coordinates,
                "coordinateUnits": "mm",
                "description": text,
                "locked": True,
                "controlPoints": points,
                "measurements": [{"name": "diameter", "enabled": False, "value": item.diameter_mm, "units": "mm"}],
            }
        )
    return {"@schema": MARKUPS_SCHEMA, "markups": markups}


def guide_orientation(axis: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose third column is the axis; roll chosen so that the first column stays horizontal."""
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = np.cross(helper, axis)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(axis, x), axis])


def write_markups(plan: Plan, path: str | Path, coordinates: str = "LPS") -> None:
    Path(path).write_text(json.dumps(to_markups(plan, coordinates), indent=1) + "\n")


def read_markups(path: str | Path, diameter_mm: float = 5.5) -> list[LinearTrajectory]:
    """Lines (or pairs of fiducials named '<id>-entry' / '<id>-tip' in one list) of a Slicer markups file. diameter_mm: where the file has none.

    Raises PlanError: not JSON, no markups, another unit than mm, an unknown coordinate system, a line without two defined points.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("markups"), list):
        raise PlanError(f"{path}: no markups in it")
    result = []
    for number, markup in enumerate(raw["markups"]):
        system = str(markup.get("coordinateSystem", "LPS"))
        if system not in ("LPS", "RAS", "0", "1"):
            raise PlanError(f"{path}: coordinateSystem {system!r} is neither LPS nor RAS")
        if markup.get("coordinateUnits", "mm") not in ("mm", ["mm", "UCUM", ""]):
            raise PlanError(f"{path}: coordinateUnits {markup.get('coordinateUnits')!r}, only mm is read")
        flip = _FLIP if system in ("RAS", "0") else np.ones(3)
        points = [p for p in markup.get("controlPoints", []) if p.get("positionStatus", "defined") == "defined"]
        if markup.get("type") not in ("Line", "Fiducial"):
            continue
        if len(points) != 2:
            raise PlanError(
                f"{path}: markup {markup.get('name', number)!r} has {len(points)} defined points, a trajectory needs entry and tip"
            )
        labels = [str(p.get("label", "")).lower() for p in points]
        swap = ("tip" in labels[0] or "target" in labels[0]) and "entry" in labels[1]
        entry, tip = (np.array(p["position"], dtype=float) * flip for p in (reversed(points) if swap else points))
        found = next(
            (float(m["value"]) for m in markup.get("measurements", []) if m.get("name") == "diameter" and "value" in m),
            None,
        )
        match = re.search(r"diameter\s+([0-9.]+)", str(markup.get("description", "")))
        diameter = found if found is not None else float(match.group(1)) if match else diameter_mm
        result.append(_imported(str(markup.get("name") or f"line{number + 1}"), entry, tip, diameter, path))
    if not result:
        raise PlanError(f"{path}: no Line among its markups")
    return result


def read_fcsv(path: str | Path, diameter_mm: float = 5.5) -> list[LinearTrajectory]:
    """Pairs of fiducials (entry, tip, entry, tip ...) of a legacy FCSV. The header must name the coordinate system: 0/RAS or 1/LPS."""
    path = Path(path)
    system, rows = "", []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            match = re.match(r"#\s*CoordinateSystem\s*=\s*(\w+)", line)
            if match:
                system = match.group(1).upper()
            continue
        cells = line.split(",")
        if len(cells) >= 4:
            try:
                rows.append((np.array([float(c) for c in cells[1:4]]), cells[11] if len(cells) > 11 else ""))
            except ValueError as error:
                raise PlanError(f"{path}: {line[:60]!r} is no fiducial") from error
    if system not in ("0", "RAS", "1", "LPS"):
        raise PlanError(
            f"{path}: the header does not say whether points are RAS or LPS (CoordinateSystem = {system or 'missing'}); refusing to guess"
        )
    if not rows or len(rows) % 2:
        raise PlanError(f"{path}: {len(rows)} points; entry and tip are needed for each trajectory")
    flip = _FLIP if system in ("0", "RAS") else np.ones(3)
    return [
        _imported(rows[i][1] or f"line{i // 2 + 1}", rows[i][0] * flip, rows[i + 1][0] * flip, diameter_mm, path)
        for i in range(0, len(rows), 2)
    ]


_NUMBER = r"-?\d+(?:\.\d+)?"
_ROSA_ROW = re.compile(
    rf"^\s*(\S+)\s+(\d+)\s+(\d+)\s+([01])\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+([01])\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*$",
    re.MULTILINE,
)


def read_rosa(path: str | Path) -> list[LinearTrajectory]:
    """Trajectories of a ROSA .ros file: rows with both points defined. The tip is the row's target. Raises PlanError when there is none."""
    path = Path(path)
    text = path.read_text(errors="replace")
    result = []
    for section in re.findall(r"\[TRAJECTORY\](.*?)(?=\n\[|\Z)", text, re.DOTALL):
        for m in _ROSA_ROW.finditer(section):
            if m.group(4) == "1" and m.group(8) == "1":
                entry = np.array([float(m.group(i)) for i in (5, 6, 7)])
                target = np.array([float(m.group(i)) for i in (9, 10, 11)])
                diameter = float(m.group(13)) or 1.0
                result.append(_imported(m.group(1), entry, target, diameter, path, kind="electrode"))
    if not result:
        raise PlanError(f"{path}: no [TRAJECTORY] row with entry and target")
    return result


def _imported(
    name: str, entry: np.ndarray, tip: np.ndarray, diameter: float, path: Path, kind: str = "pedicle_screw"
) -> LinearTrajectory:
    level, side = guess_level_side(name)
    length = float(np.linalg.norm(tip - entry))
    if not math.isfinite(length) or length < 1.0:
        raise PlanError(f"{path}: {name!r}: entry {entry} and tip {tip} make no line")
    return trajectory(
        name,
        kind,
        entry,
        tip - entry,
        length,
        diameter,
        level=level,
        side=side,
        status="DRAFT",
        reasons=(f"imported from {path.name}",),
    )


def read_any(path: str | Path, diameter_mm: float = 5.5) -> list[LinearTrajectory]:
    """Trajectories of a plan.json, .mrk.json, .fcsv or .ros. Raises PlanError for another ending."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    name = path.name.lower()
    if name.endswith(".mrk.json"):
        return read_markups(path, diameter_mm)
    if name.endswith(".fcsv"):
        return read_fcsv(path, diameter_mm)
    if name.endswith(".ros"):
        return read_rosa(path)
    if name.endswith(".json"):
        from teleop.planning.plan import load_plan

        return list(load_plan(path).trajectories)
    raise PlanError(f"{path}: not a plan; known are plan.json, .mrk.json, .fcsv, .ros")
