"""The plan: linear trajectories in CT coordinates, what they were made from, and a hash that everybody can recompute.

All coordinates are LPS millimetres of the planned CT, rounded to 1e-3 mm when a trajectory is made, so that what is hashed is what is stored.
``plan_hash`` is the SHA-256 of the canonical JSON (sorted keys, no spaces) without the approvals: approvals sign the hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = "longhand-plan/1"
KINDS = ("pedicle_screw", "needle", "electrode")
STATUSES = (
    "OK",
    "DRAFT",
    "NO_SAFE_SCREW",
    "NO_SAFE_PATH",
    "NO_PEDICLE",
    "PARTIAL",
    "METAL",
    "BAD_GEOMETRY",
    "LOW_CONFIDENCE",
)
"""OK: planned and independently verified. DRAFT: a line, never verified (landmarks only, imported, edited). The rest: no line to drive to, and why."""
SCHEMA_FILE = Path(__file__).parent / "schema" / "plan-1.schema.json"


class PlanError(ValueError):
    """A plan file or object that must not be used; the message says which field and why."""


Point = tuple[float, float, float]


def _point(value: Iterable[float] | None, name: str) -> Point | None:
    if value is None:
        return None
    try:
        x, y, z = (round(float(c), 3) + 0.0 for c in value)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{name}: expected three numbers (LPS mm), got {value!r}") from error
    if not all(math.isfinite(c) and abs(c) < 1e4 for c in (x, y, z)):
        raise PlanError(f"{name}: {value!r} is not a point in a patient (LPS mm)")
    return (x, y, z)


@dataclass(frozen=True)
class LinearTrajectory:
    """One line to be driven to: entry and tip of the tool's axis. Roll is free.

    entry_lps_mm: where the axis meets the entry surface; tip_lps_mm = entry + length * axis. Both None when there is no line (see status, reasons).
    metrics: numbers of the grader (mm, probabilities). alternatives: ranked other choices, offered and never applied by themselves.
    Raises PlanError on construction for anything inconsistent (NaN, entry = tip, length that is not |tip - entry|, no diameter).
    """

    id: str
    kind: str
    level: str = ""
    side: str = ""
    status: str = "DRAFT"
    reasons: tuple[str, ...] = ()
    entry_lps_mm: Point | None = None
    tip_lps_mm: Point | None = None
    diameter_mm: float = 0.0
    length_mm: float = 0.0
    metrics: dict[str, Any] = field(default_factory=dict)
    alternatives: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        where = f"trajectory {self.id!r}"
        if not self.id:
            raise PlanError("a trajectory needs an id")
        if self.kind not in KINDS:
            raise PlanError(f"{where}: kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if self.status not in STATUSES:
            raise PlanError(f"{where}: status {self.status!r} is not one of {', '.join(STATUSES)}")
        object.__setattr__(self, "entry_lps_mm", _point(self.entry_lps_mm, f"{where}: entry_lps_mm"))
        object.__setattr__(self, "tip_lps_mm", _point(self.tip_lps_mm, f"{where}: tip_lps_mm"))
        object.__setattr__(self, "reasons", tuple(str(r) for r in self.reasons))
        object.__setattr__(self, "alternatives", tuple(self.alternatives))
        if (self.entry_lps_mm is None) != (self.tip_lps_mm is None):
            raise PlanError(f"{where}: entry and tip must both be there or both be absent")
        if self.entry_lps_mm is None or self.tip_lps_mm is None:
            if self.status in ("OK", "DRAFT"):
                raise PlanError(f"{where}: status {self.status} without a line")
            return
        if not (math.isfinite(self.diameter_mm) and 0.3 <= self.diameter_mm <= 20.0):
            raise PlanError(f"{where}: diameter {self.diameter_mm!r} mm is not between 0.3 and 20")
        if not (math.isfinite(self.length_mm) and 1.0 <= self.length_mm <= 350.0):
            raise PlanError(f"{where}: length {self.length_mm!r} mm is not between 1 and 350")
        actual = math.dist(self.entry_lps_mm, self.tip_lps_mm)
        if abs(actual - self.length_mm) > 0.02:
            raise PlanError(f"{where}: length_mm says {self.length_mm:.3f} but entry and tip are {actual:.3f} mm apart")

    @property
    def has_line(self) -> bool:
        return self.entry_lps_mm is not None

    @property
    def axis(self) -> np.ndarray:
        """(3,) unit vector entry -> tip, LPS. Raises PlanError without a line."""
        entry, tip = self.line()
        return (tip - entry) / np.linalg.norm(tip - entry)

    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """(entry, tip) as (3,) arrays, LPS mm. Raises PlanError, with the reasons, when there is none."""
        if self.entry_lps_mm is None or self.tip_lps_mm is None:
            raise PlanError(f"{self.id} has no line: {self.status} ({'; '.join(self.reasons)})")
        return np.array(self.entry_lps_mm), np.array(self.tip_lps_mm)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "level": self.level,
            "side": self.side,
            "status": self.status,
            "reasons": list(self.reasons),
            "entry_lps_mm": list(self.entry_lps_mm) if self.entry_lps_mm else None,
            "tip_lps_mm": list(self.tip_lps_mm) if self.tip_lps_mm else None,
            "diameter_mm": _number(self.diameter_mm),
            "length_mm": _number(self.length_mm),
            "metrics": _clean(self.metrics),
            "alternatives": _clean(list(self.alternatives)),
        }

    @staticmethod
    def from_json(raw: dict[str, Any]) -> LinearTrajectory:
        if not isinstance(raw, dict):
            raise PlanError(f"a trajectory must be an object, got {type(raw).__name__}")
        known = set(LinearTrajectory.__dataclass_fields__)
        unknown = set(raw) - known
        if unknown:
            raise PlanError(f"trajectory {raw.get('id')!r}: unknown fields {sorted(unknown)}")
        try:
            return LinearTrajectory(
                **{**raw, "reasons": tuple(raw.get("reasons", ())), "alternatives": tuple(raw.get("alternatives", ()))}
            )
        except TypeError as error:
            raise PlanError(f"trajectory {raw.get('id')!r}: {error}") from error


def trajectory(
    id: str,
    kind: str,
    entry_lps_mm: Iterable[float],
    axis: Iterable[float],
    length_mm: float,
    diameter_mm: float,
    **fields: Any,
) -> LinearTrajectory:
    """A trajectory from entry, direction (need not be unit) and length; tip = entry + length * axis."""
    entry, direction = np.array(list(entry_lps_mm), dtype=float), np.array(list(axis), dtype=float)
    norm = float(np.linalg.norm(direction))
    if not math.isfinite(norm) or norm < 1e-9:
        raise PlanError(f"trajectory {id!r}: axis {direction} has no direction")
    tip = entry + length_mm * direction / norm
    return LinearTrajectory(
        id,
        kind,
        entry_lps_mm=tuple(entry),
        tip_lps_mm=tuple(tip),
        diameter_mm=diameter_mm,
        length_mm=length_mm,
        **fields,
    )  # type: ignore[arg-type]


@dataclass(frozen=True)
class ImageRef:
    """Which image a plan belongs to. sha256: `Volume.hash()`. shape, lps_T_ijk: its grid after canonical ordering."""

    sha256: str
    frame_of_reference_uid: str = ""
    shape: tuple[int, ...] = ()
    lps_T_ijk: tuple[tuple[float, ...], ...] = ()
    scheme: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "frame_of_reference_uid": self.frame_of_reference_uid,
            "shape": list(self.shape),
            "lps_T_ijk": [[round(float(x), 6) + 0.0 for x in row] for row in self.lps_T_ijk],
            "coordinate_system": "LPS",
            "unit": "mm",
            "scheme": self.scheme,
        }

    @staticmethod
    def from_json(raw: dict[str, Any], name: str) -> ImageRef:
        if not isinstance(raw, dict) or not isinstance(raw.get("sha256"), str):
            raise PlanError(f"{name}: no sha256")
        if raw.get("coordinate_system", "LPS") != "LPS" or raw.get("unit", "mm") != "mm":
            raise PlanError(
                f"{name}: coordinates must be LPS millimetres, file says {raw.get('coordinate_system')} {raw.get('unit')}"
            )
        return ImageRef(
            raw["sha256"],
            str(raw.get("frame_of_reference_uid", "")),
            tuple(int(n) for n in raw.get("shape", ())),
            tuple(tuple(float(x) for x in row) for row in raw.get("lps_T_ijk", ())),
            str(raw.get("scheme", "")),
        )


@dataclass(frozen=True)
class Plan:
    """A whole plan. required: what execution must reach ({tre95_mm, guide_mm, guide_deg}). approvals: [{role, who, site, time, key,
    signature}] over the hash."""

    ct: ImageRef
    trajectories: tuple[LinearTrajectory, ...]
    labels: ImageRef | None = None
    case: str = ""
    planner: dict[str, Any] = field(default_factory=dict)
    error_model: dict[str, Any] = field(default_factory=dict)
    required: dict[str, float] = field(default_factory=lambda: {"tre95_mm": 1.5, "guide_mm": 0.5, "guide_deg": 0.5})
    notes: tuple[str, ...] = ()
    approvals: tuple[dict[str, Any], ...] = ()
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "trajectories", tuple(self.trajectories))
        ids = [t.id for t in self.trajectories]
        double = sorted({i for i in ids if ids.count(i) > 1})
        if double:
            raise PlanError(f"two trajectories share the id {', '.join(double)}")

    def __getitem__(self, id: str) -> LinearTrajectory:
        for item in self.trajectories:
            if item.id == id:
                return item
        raise KeyError(f"no trajectory {id!r}; the plan has {', '.join(t.id for t in self.trajectories)}")

    @property
    def hash(self) -> str:
        return plan_hash(self)

    @property
    def screws(self) -> tuple[LinearTrajectory, ...]:
        return tuple(t for t in self.trajectories if t.kind == "pedicle_screw")

    def with_trajectory(self, item: LinearTrajectory) -> Plan:
        """The plan with the trajectory of that id replaced (or added); approvals are dropped because they signed another plan."""
        others = [item if t.id == item.id else t for t in self.trajectories]
        if all(t.id != item.id for t in self.trajectories):
            others.append(item)
        return replace(self, trajectories=tuple(others), approvals=())

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "case": self.case,
            "ct": self.ct.to_json(),
            "labels": self.labels.to_json() if self.labels else None,
            "planner": _clean(self.planner),
            "error_model": _clean(self.error_model),
            "required": _clean(self.required),
            "notes": list(self.notes),
            "trajectories": [t.to_json() for t in self.trajectories],
            "approvals": _clean(list(self.approvals)),
        }

    @staticmethod
    def from_json(raw: Any) -> Plan:
        """Read a plan object. Raises PlanError for another schema, unknown fields, inconsistent lines."""
        if not isinstance(raw, dict):
            raise PlanError(f"a plan must be a JSON object, got {type(raw).__name__}")
        if raw.get("schema") != SCHEMA:
            raise PlanError(f"schema {raw.get('schema')!r} is not {SCHEMA!r}")
        unknown = set(raw) - set(Plan.__dataclass_fields__) - {"plan_hash"}
        if unknown:
            raise PlanError(f"unknown fields {sorted(unknown)}")
        if not isinstance(raw.get("trajectories"), list):
            raise PlanError("no list of trajectories")
        plan = Plan(
            ct=ImageRef.from_json(raw.get("ct", {}), "ct"),
            labels=ImageRef.from_json(raw["labels"], "labels") if raw.get("labels") else None,
            trajectories=tuple(LinearTrajectory.from_json(t) for t in raw["trajectories"]),
            case=str(raw.get("case", "")),
            planner=dict(raw.get("planner", {})),
            error_model=dict(raw.get("error_model", {})),
            required=dict(raw.get("required", {})),
            notes=tuple(raw.get("notes", ())),
            approvals=tuple(raw.get("approvals", ())),
        )
        stored = raw.get("plan_hash")
        if stored is not None and stored != plan_hash(plan):
            raise PlanError(
                f"plan_hash in the file ({str(stored)[:12]}...) is not the hash of its content ({plan_hash(plan)[:12]}...): "
                f"the plan was changed after it was saved"
            )
        return plan


def _number(value: float) -> float | None:
    """A JSON number with 4 decimals; None for what is not finite (JSON has no NaN)."""
    value = float(value)
    return round(value, 4) + 0.0 if math.isfinite(value) else None


def _clean(value: Any) -> Any:
    """Plain JSON: numpy scalars become numbers rounded to 1e-4, tuples lists, keys strings."""
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    if isinstance(value, np.ndarray):
        return _clean(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    return value if value is None or isinstance(value, str) else str(value)


def canonical_bytes(plan: Plan) -> bytes:
    """What is hashed: canonical JSON without approvals."""
    content = plan.to_json()
    del content["approvals"]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def plan_hash(plan: Plan) -> str:
    """SHA-256 (hex) of the canonical content."""
    return hashlib.sha256(canonical_bytes(plan)).hexdigest()


def save_plan(plan: Plan, path: str | Path) -> str:
    """Write plan.json with its hash inside; returns the hash."""
    content = plan.to_json()
    content["plan_hash"] = plan_hash(plan)
    Path(path).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return str(content["plan_hash"])


def load_plan(path: str | Path) -> Plan:
    """Read plan.json. Raises FileNotFoundError, PlanError (not JSON, wrong schema, inconsistent, changed since saved)."""
    path = Path(path)
    try:
        raw = json.loads(
            path.read_text(), parse_constant=lambda c: (_ for _ in ()).throw(PlanError(f"{path}: {c} is not a number"))
        )
    except json.JSONDecodeError as error:
        raise PlanError(f"{path}: not JSON ({error})") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not a text file") from error
    try:
        return Plan.from_json(raw)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
