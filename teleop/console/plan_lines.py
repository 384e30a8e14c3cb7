"""Lines of a plan that come from a file or go to one: plan.json and Slicer's Markups. Grades in a file count for nothing."""

import json
from typing import Any

import numpy as np

from teleop.console.opened_images import Opened
from teleop.planning.plan import LinearTrajectory, Plan, PlanError, trajectory


def plan_items(raw: Any, opened: Opened) -> list[LinearTrajectory]:
    """Lines of a plan.json. Raises PlanError for another CT."""
    plan = Plan.from_json(raw)
    if plan.ct.sha256 != opened.ct.hash():
        raise PlanError("this plan was made on another CT")
    return [t for t in plan.trajectories if t.has_line]


def slicer_line(s: dict[str, Any]) -> dict[str, Any]:
    """One screw as a Slicer Markups line, LPS millimetres; size in the description."""
    points = [
        {"label": label, "position": s[key], "positionStatus": "defined"}
        for label, key in (("entry", "entry_lps_mm"), ("tip", "tip_lps_mm"))
    ]
    return {
        "type": "Line", "name": s["id"], "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points,
        "description": json.dumps({k: s[k] for k in ("kind", "level", "side_name", "diameter_mm", "length_mm")}),
    }  # fmt: skip


def read_markup(m: dict[str, Any], n: int) -> LinearTrajectory:
    """A Slicer line (LPS or RAS) as a trajectory. Raises PlanError, KeyError, ValueError."""
    flip = np.array([-1.0, -1.0, 1.0]) if m.get("coordinateSystem", "LPS") in ("RAS", "0", 0) else np.ones(3)
    entry, tip = (np.array(p["position"], dtype=float) * flip for p in m["controlPoints"][:2])
    try:
        about = json.loads(m.get("description") or "{}")
    except ValueError:
        about = {}
    length = float(np.linalg.norm(tip - entry))
    return trajectory(
        str(m.get("name") or f"line_{n}"), about.get("kind", "pedicle_screw"), entry, tip - entry, length,
        float(about.get("diameter_mm", 6.0)), level=str(about.get("level", "")), side=str(about.get("side_name", "")), status="DRAFT",
    )  # fmt: skip
