"""What runs in the planner's process: opens images, plans, grades every change, imports and exports. Plain values in and out.

`make(cache, folders)` is the factory for `PlannerProcess`. Images that pages fetch are written to CACHE/images; a source is a
folder with a CT (NIfTI, DICOM folder or zip) and, beside it, labels.
"""

import json
import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from teleop.console.contracts import ConsoleError
from teleop.console.volume import crop_box, pack, store
from teleop.planning.grade import GradeError, frame_of, grade_screw
from teleop.planning.images import ImageError, Volume, load_ct
from teleop.planning.levels import LEVELS, Labels, load_labels
from teleop.planning.plan import LinearTrajectory, Plan, PlanError, trajectory
from teleop.planning.screws import image_ref, plan_screws

SIDES = {"R": "right", "L": "left", "right": "right", "left": "left"}
#: What the page calls a margin -> the grader's number. Needs in mm as in the planner's defaults.
MARGINS = {
    "medial": "clearance_medial_mm", "lateral": "clearance_lateral_mm", "cranial": "clearance_cranial_mm",
    "caudal": "clearance_caudal_mm", "canal": "canal_mm", "anterior": "anterior_mm", "facet": "facet_mm",
}  # fmt: skip
PROFILE_STEP_MM = 1.0


@dataclass
class Opened:
    """One opened image. case_id: of the hospital's case ("" for uploads); file_sha256: of the file as received."""

    ct: Volume
    labels: Labels | None
    info: dict[str, Any]
    case_id: str = ""
    frames: dict[str, Any] = field(default_factory=dict)


def make(cache: str, folders: dict[str, str] | None = None) -> "PlanningWorker":
    return PlanningWorker(Path(cache), {k: Path(v) for k, v in (folders or {}).items()})


class PlanningWorker:
    """See the module. `folders`: title -> folder that can be opened at any time; CACHE/series/<site> come by themselves."""

    def __init__(self, cache: Path, folders: dict[str, Path]) -> None:
        self.cache = cache
        self.images = cache / "images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.folders = folders
        self._open: dict[str, Opened] = {}

    # -- images -------------------------------------------------------------------------------------------------
    def sources(self) -> list[dict[str, Any]]:
        """What can be opened."""
        found = [
            {"kind": "series", "id": p.name, "title": p.name, "note": "series received from the hospital"}
            for p in sorted((self.cache / "series").glob("*"))
            if (p / "complete").exists()
        ]
        return found + [
            {"kind": "folder", "id": title, "title": title, "note": "on this machine"} for title in self.folders
        ]

    def open(self, source: dict[str, Any]) -> dict[str, Any]:
        """Read an image (once), write what pages fetch, return its description."""
        kind, name = str(source.get("kind")), str(source.get("id", ""))
        folder = {
            "series": self.cache / "series" / name, "upload": self.cache / "uploads" / name, "folder": self.folders.get(name),
        }.get(kind)  # fmt: skip
        if folder is None or "/" in name or name.startswith(".") or not folder.is_dir():
            raise ConsoleError("these images are not here any more: choose them again, or send them once more")
        for opened in self._open.values():
            if opened.info["source"] == {"kind": kind, "id": name}:
                return opened.info
        try:
            ct = load_ct(find_image(folder))
            label_file = find_labels(folder)
            labels = load_labels(label_file, ct) if label_file else None
        except (ImageError, ValueError, OSError, EOFError) as error:
            raise ConsoleError(f"this is not a CT that can be planned on: {error}") from None
        about: dict[str, Any] = {}
        if (folder / "series.json").exists():
            about = json.loads((folder / "series.json").read_text())
        info = self._publish(ct, labels) | {
            "source": {"kind": kind, "id": name}, "title": about.get("title") or title_of(kind, name, ct),
            "site": name if kind == "series" else "", "case_id": about.get("case_id", ""),
        }  # fmt: skip
        self._open[info["id"]] = Opened(ct, labels, info, info["case_id"])
        return info

    def _publish(self, ct: Volume, labels: Labels | None) -> dict[str, Any]:
        name = ct.hash()[:16]
        mask = labels.volume.data if labels else np.zeros((0, 0, 0), dtype=np.uint8)
        sx, sy, sz = (float(v) for v in ct.spacing_mm)
        box = crop_box(mask, (sx, sy, sz)) if labels else tuple(slice(0, n) for n in ct.data.shape)
        low = np.array([b.start for b in box])
        affine = ct.lps_T_ijk.copy()
        affine[:3, 3] = ct.to_lps(low[None].astype(float))[0]
        voxels = np.clip(ct.data[box], -32768, 32767).astype(np.int16)
        store(self.images / f"{name}.lhv.gz", pack(voxels, affine, sha256=ct.hash()))
        centre = affine[:3, :3] @ ((np.array(voxels.shape) - 1) / 2) + affine[:3, 3]
        info = {
            "id": name, "volume": name, "labels": "", "ct_sha256": ct.hash(), "levels": [], "centre_lps_mm": centre.tolist(),
            "shape": list(ct.data.shape), "spacing_mm": [sx, sy, sz],
        }  # fmt: skip
        if labels is not None:
            # The 3-D view needs no more than about 1.4 mm: a quarter to an eighth of the bytes.
            step = [max(1, round(1.4 / s)) for s in (sx, sy, sz)]
            coarse = np.ascontiguousarray(mask[box][:: step[0], :: step[1], :: step[2]]).astype(np.uint8)
            shown = affine.copy()
            shown[:3, :3] = affine[:3, :3] * np.array(step)
            store(self.images / f"{name}-labels.lhv.gz", pack(coarse, shown, names=labels.names, sha256=ct.hash()))
            info |= {"labels": f"{name}-labels", "levels": [v for v in labels.levels if v[0] != "C"]}
            hit = np.argwhere(coarse)
            if len(hit):
                info["centre_lps_mm"] = (shown[:3, :3] @ hit.mean(axis=0) + shown[:3, 3]).tolist()
        return info

    def _image(self, image: str) -> Opened:
        if image not in self._open:
            raise ConsoleError("the images are not open any more: choose the case again")
        return self._open[image]

    def _labels(self, image: str) -> tuple[Opened, Labels]:
        opened = self._image(image)
        if opened.labels is None:
            raise ConsoleError(
                "this CT came without vertebra labels: upload the label map beside it, or place lines by hand"
            )
        return opened, opened.labels

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


def title_of(kind: str, name: str, ct: Volume) -> str:
    """A title without anything of a file's name when it was uploaded."""
    return f"CT {ct.hash()[:6]}" if kind == "upload" else name


def find_image(folder: Path) -> Path:
    """The CT in a folder: a NIfTI called ct or image, a DICOM series in `dicom` or `series`, or the folder itself."""
    for pattern in ("ct.nii.gz", "ct.nii", "*_ct.nii.gz", "image-*.nii.gz", "image-*.nii", "series/*.nii.gz"):
        found = [p for p in sorted(folder.glob(pattern)) if "label" not in p.name and "seg" not in p.name]
        if found:
            return found[0]
    for name in ("dicom", "series"):
        if (folder / name).is_dir():
            return folder / name
    zips = sorted(folder.glob("*.zip"))
    return zips[0] if zips else folder


def find_labels(folder: Path) -> Path | None:
    """The label map beside a CT, or None."""
    for pattern in (
        "labels*.nii.gz",
        "labels*.nii",
        "*_vert.nii.gz",
        "*label*.nii.gz",
        "*vertebrae*.nii.gz",
        "*seg*.nii.gz",
    ):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    return None


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
