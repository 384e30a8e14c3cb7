"""What runs in the planner's process: plans on opened images, grades every change, imports and exports. Plain values in and out.

`make(cache, folders)` is the factory for `PlannerProcess`.
"""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from teleop.console.contracts import ConsoleError
from teleop.console.opened_images import Opened, OpenedImages
from teleop.console.plan_lines import plan_items, read_markup, slicer_line
from teleop.planning.grade import GradeError, frame_of, grade_screw
from teleop.planning.images import ImageError
from teleop.planning.levels import LEVELS
from teleop.planning.plan import LinearTrajectory, Plan, PlanError, trajectory
from teleop.planning.screws import image_ref, plan_screws

SIDES = {"R": "right", "L": "left", "right": "right", "left": "left"}
#: What the page calls a margin -> the grader's number. Needs in mm as in the planner's defaults.
MARGINS = {
    "medial": "clearance_medial_mm", "lateral": "clearance_lateral_mm", "cranial": "clearance_cranial_mm",
    "caudal": "clearance_caudal_mm", "canal": "canal_mm", "anterior": "anterior_mm", "facet": "facet_mm",
}  # fmt: skip
PROFILE_STEP_MM = 1.0


def make(cache: str, folders: dict[str, str] | None = None) -> "PlanningWorker":
    return PlanningWorker(Path(cache), {k: Path(v) for k, v in (folders or {}).items()})


class PlanningWorker(OpenedImages):
    """See the module."""

    # -- screws -------------------------------------------------------------------------------------------------
    def auto_plan(self, image: str, levels: list[str] | None, kind: str) -> list[dict[str, Any]]:
        opened, labels = self._labels(image)
        try:
            plan = plan_screws(opened.ct, labels, levels=levels)
        except (ImageError, PlanError) as error:
            raise ConsoleError(str(error)) from None
        return [self._row(opened, t) for t in plan.trajectories]

    def add(self, image: str, what: dict[str, Any]) -> dict[str, Any]:
        """A planned screw at a level and side, or a needle/electrode between two points (a draft line)."""
        opened = self._image(image)
        if what.get("kind") in ("needle", "electrode"):
            entry, target = point(what.get("entry_lps_mm")), point(what.get("target_lps_mm"))
            length = float(np.linalg.norm(target - entry))
            taken = f"{what['kind']}_{abs(hash((tuple(entry), tuple(target)))) % 1000:03d}"
            diameter = 1.8 if what["kind"] == "needle" else 1.3
            item = trajectory(taken, what["kind"], entry, target - entry, length, diameter, status="DRAFT",
                              reasons=("placed by hand, not verified",))  # fmt: skip
            return self._row(opened, item)
        _, labels = self._labels(image)
        level, side = str(what.get("level")), SIDES.get(str(what.get("side")), "")
        if level not in labels.levels or not side:
            raise ConsoleError(f"{level} {what.get('side')}: no such level and side in these labels")
        plan = plan_screws(opened.ct, labels, levels=[level], sides=[side])
        return self._row(opened, plan.trajectories[0])

    def choose(self, image: str, screw: dict[str, Any], n: int) -> dict[str, Any]:
        """Take alternative n of a screw; graded again, never trusted."""
        options = screw.get("alternatives") or []
        if not 0 <= n < len(options):
            raise ConsoleError("this alternative is not offered any more")
        a = options[n]
        return self._regraded(
            self._image(image), screw, a["entry_lps_mm"], a["tip_lps_mm"], a["diameter_mm"], a["length_mm"]
        )

    def edit(self, image: str, screw: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
        """Move entry, tip or both, or resize; grade, margins and numbers of the result."""
        opened = self._image(image)
        if screw.get("entry_lps_mm") is None:
            raise ConsoleError(f"{screw['id']} has no line to change: add one by choosing level and side")
        entry, tip = point(screw["entry_lps_mm"]), point(screw["tip_lps_mm"])
        diameter, length = float(screw["diameter_mm"]), float(screw["length_mm"])
        what = change.get("do")
        if what == "entry":
            entry = point(change.get("to_lps_mm"))
        elif what == "tip":
            tip = point(change.get("to_lps_mm"))
        elif what == "both":
            entry, tip = point(change.get("entry_lps_mm")), point(change.get("tip_lps_mm"))
        elif what == "size":
            diameter, length = number(change.get("diameter_mm"), 0.5, 15), number(change.get("length_mm"), 5, 300)
        else:
            raise ConsoleError(f"unknown change {what!r}: entry, tip, both or size")
        return self._regraded(opened, screw, entry, tip, diameter, length)

    def _regraded(
        self, opened: Opened, screw: dict[str, Any], entry: Any, tip: Any, diameter: float, length: float
    ) -> dict[str, Any]:
        direction = np.asarray(tip, dtype=float) - np.asarray(entry, dtype=float)
        try:
            item = trajectory(
                screw["id"], screw["kind"], entry, direction, length, diameter, level=screw["level"], side=screw["side_name"],
                status="DRAFT", alternatives=tuple(screw.get("alternatives") or ()),
            )  # fmt: skip
        except PlanError as error:
            raise ConsoleError(str(error)) from None
        return self._row(opened, self._graded(opened, item))

    def _graded(self, opened: Opened, item: LinearTrajectory) -> LinearTrajectory:
        if item.kind != "pedicle_screw" or opened.labels is None:
            return item
        if item.level not in opened.frames:
            opened.frames[item.level] = frame_of(opened.labels, item.level)
        try:
            report = grade_screw(opened.labels, item, ct=opened.ct, frame=opened.frames[item.level])
        except (GradeError, ValueError) as error:
            return replace(item, status="BAD_GEOMETRY", reasons=(str(error),), metrics={})
        good = report.grade == "A" and not report.contradictions
        why = (
            ()
            if good
            else report.contradictions
            or (f"grade {report.grade}, breach {report.breach_mm:.1f} mm {report.breach_side}",)
        )
        return replace(item, status="OK" if good else "LOW_CONFIDENCE", reasons=why, metrics=report.numbers())

    def _row(self, opened: Opened, t: LinearTrajectory) -> dict[str, Any]:
        """A trajectory as pages show it (docs/console.md lists the keys); `plan` is what planning itself stores."""
        m = t.metrics
        letter = {"right": "R", "left": "L"}.get(t.side, "")
        raw = t.to_json()
        row: dict[str, Any] = {
            "id": t.id, "name": f"{t.level} {letter}".strip() or t.id, "level": t.level, "side": letter, "side_name": t.side, "kind": t.kind,
            "status": t.status, "reasons": list(t.reasons), "entry_lps_mm": raw["entry_lps_mm"], "tip_lps_mm": raw["tip_lps_mm"],
            "diameter_mm": t.diameter_mm, "length_mm": t.length_mm, "grade": m.get("grade") if t.has_line else None,
            "min_clearance_mm": finite(m.get("min_clearance_mm")), "required_mm": 1.0, "p_grade_a": finite(m.get("p_grade_a")),
            "margins_mm": {k: finite(m.get(v)) for k, v in MARGINS.items()}, "hu_mean": finite(m.get("hu_mean")),
            "alternatives": [
                {**{k: a[k] for k in ("entry_lps_mm", "tip_lps_mm", "diameter_mm", "length_mm")},
                 "min_clearance_mm": finite(a.get("min_clearance_mm", a.get("planner_spare_mm"))) or 0.0, "note": a.get("note", "")}
                for a in raw["alternatives"] if a.get("entry_lps_mm")
            ],
            "order": (LEVELS.index(t.level) if t.level in LEVELS else 99) * 2 + (t.side == "left"), "plan": raw,
            "hu_profile": [], "tpa_deg": None, "spa_deg": None,
        }  # fmt: skip
        if t.has_line:
            entry, _ = t.line()
            d = t.axis
            row["tpa_deg"] = math.degrees(math.atan2(abs(d[0]), -d[1]))
            row["spa_deg"] = math.degrees(math.atan2(d[2], -d[1]))
            s = np.arange(0.0, t.length_mm + 1e-6, PROFILE_STEP_MM)
            hu = ndimage.map_coordinates(
                opened.ct.data, opened.ct.to_ijk(entry + s[:, None] * d).T, order=1, mode="nearest"
            )
            row["hu_profile"] = [[float(a), float(b)] for a, b in zip(s, hu, strict=True)]
        return row

    # -- whole plans --------------------------------------------------------------------------------------------
    def _plan(self, document: dict[str, Any]) -> Plan:
        """The document's verified screws (and needles) as planning's own object."""
        opened = self._image(document["image"]["id"])
        try:
            items = tuple(
                LinearTrajectory.from_json(s["plan"]) for s in document["screws"] if s["entry_lps_mm"] is not None
            )
            return Plan(
                ct=image_ref(opened.ct), trajectories=items, case=opened.case_id,
                labels=image_ref(opened.labels.volume, opened.labels.scheme) if opened.labels else None,
                planner={"name": "longhand", "version": "1", "edited": True},
            )  # fmt: skip
        except PlanError as error:
            raise ConsoleError(f"the plan is not consistent: {error}") from None

    def plan_hash(self, document: dict[str, Any]) -> str:
        return self._plan(document).hash

    def plan_file(self, document: dict[str, Any]) -> dict[str, Any]:
        """What travels to the hospital: plan.json's bytes, its hash, and the numbers of the time-out."""
        plan = self._plan(document)
        content = plan.to_json()
        content["plan_hash"] = plan.hash
        return {
            "data": json.dumps(content, allow_nan=False).encode(), "hash": plan.hash, "ct_sha256": plan.ct.sha256,
            "screws": sorted(t.id for t in plan.screws if t.status == "OK"),
        }  # fmt: skip

    def export(self, document: dict[str, Any], form: str) -> tuple[str, str, bytes]:
        """("plan.json", mime, bytes) and so on."""
        if form == "json":
            return "plan.json", "application/json", self.plan_file(document)["data"]
        if form == "slicer":
            lines = [slicer_line(s) for s in document["screws"] if s["entry_lps_mm"] is not None]
            schema = (
                "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
                "markups-schema-v1.0.3.json#"
            )
            data = json.dumps({"@schema": schema, "markups": lines}, indent=1).encode()
            return "plan.mrk.json", "application/json", data
        if form == "pdf":
            from teleop.planning.sheet import write_pdf

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "plan.pdf"
                write_pdf(self._plan(document), self._image(document["image"]["id"]).ct, path)
                return "plan.pdf", "application/pdf", path.read_bytes()
        raise ConsoleError(f"{form!r} cannot be exported: json, slicer or pdf")

    def import_plan(self, image: str, data: bytes, name: str) -> list[dict[str, Any]]:
        """Lines of a file; grades and margins in it are ignored and computed again."""
        opened = self._image(image)
        try:
            raw = json.loads(data)
            lines = raw["markups"] if isinstance(raw, dict) and "markups" in raw else None
            items = [read_markup(m, n) for n, m in enumerate(lines)] if lines is not None else plan_items(raw, opened)
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ConsoleError(f"{name} cannot be read ({error}): plan.json or Slicer .mrk.json") from None
        return [
            self._row(opened, self._graded(opened, replace(t, status="DRAFT", reasons=(), metrics={}))) for t in items
        ]


def point(value: object) -> np.ndarray:
    """(3,) finite LPS mm. Raises ConsoleError."""
    try:
        p = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        p = np.zeros(0)
    if p.shape != (3,) or not np.isfinite(p).all() or np.abs(p).max() > 5000:
        raise ConsoleError("a point must be three numbers in patient millimetres (LPS)")
    return p


def number(value: object, low: float, high: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise ConsoleError(f"{value!r} is not a size between {low} and {high} mm")
    return float(value)


def finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
