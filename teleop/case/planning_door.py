"""The case's one door to planning: the images of a case, planning them in a process of its own, approving a plan."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from teleop.case.case_file import CaseFile
from teleop.case.script import Waiting, until
from teleop.case.stored_plan import StoredScrew, plan_bytes, screws_of, sign_plan
from teleop.planning.images import Volume, load_ct
from teleop.planning.levels import Labels, load_labels
from teleop.planning.plan import Plan, trajectory

if TYPE_CHECKING:
    from teleop.link.keys import SecretKeys

#: A plan of a whole lumbar spine takes seconds; more than this is a fault (s).
PLAN_TIMEOUT_S = 180.0


class CaseImages:
    """The site's own copy of the images, read when first needed (a second or two)."""

    def __init__(self, case: CaseFile) -> None:
        self._case = case

    @cached_property
    def ct(self) -> Volume:
        return load_ct(self._case.files["ct"])

    @cached_property
    def labels(self) -> Labels:
        return load_labels(self._case.files["labels"], self.ct)

    @cached_property
    def ct_sha256(self) -> str:
        """Hash of the image's content, as plans carry it."""
        return self.ct.hash()

    def grade(
        self, screw: StoredScrew, entry_lps_mm: NDArray[np.float64], tip_lps_mm: NDArray[np.float64]
    ) -> dict[str, Any]:
        """The independent verifier's word on one line of this screw's level, side and diameter."""
        from teleop.planning.grade import grade_screw

        line = trajectory(
            screw.id, "pedicle_screw", entry_lps_mm, tip_lps_mm - entry_lps_mm, screw.length_mm, screw.diameter_mm,
            level=screw.level, side=screw.side,
        )
        report = grade_screw(self.labels, line)
        return {
            "grade": report.grade,
            "min_clearance_mm": float(report.clearance_mm),
            "entry_lps_mm": [float(x) for x in entry_lps_mm],
            "tip_lps_mm": [float(x) for x in tip_lps_mm],
        }


@dataclass(frozen=True)
class ApprovedPlan:
    """A signed plan, ready to travel. hash8: what commands carry; summaries: per screw, for people and the judge."""

    plan: Plan
    data: bytes
    signature: bytes
    public_key: str
    screw_ids: list[str]
    summaries: list[dict[str, Any]]
    seconds: float

    @property
    def digest(self) -> str:
        return self.plan.hash

    @property
    def hash8(self) -> bytes:
        return bytes.fromhex(self.plan.hash)[:8]


def _plan(ct_path: str, labels_path: str, case_id: str, screws: int) -> tuple[dict[str, Any], float]:
    """In a process of its own: read the images, plan every pedicle, keep the `screws` with the widest margins."""
    from teleop.planning.screws import plan_screws

    os.nice(10)  # another hospital's arm may be in a hand while this one's patient is planned
    start = time.perf_counter()
    ct = load_ct(ct_path)
    labels = load_labels(labels_path, ct)
    whole = plan_screws(ct, labels, case=case_id)
    ready = [t for t in whole.screws if t.status == "OK"]
    if not ready:
        reasons = "; ".join(f"{t.id}: {t.status} {', '.join(t.reasons)}" for t in whole.screws)
        raise ValueError(f"no safe screw in this CT: {reasons}")
    ready.sort(key=lambda t: -float(t.metrics.get("min_clearance_mm") or 0.0))
    kept = sorted(ready[:screws], key=lambda t: t.id)
    plan = Plan(
        ct=whole.ct, labels=whole.labels, trajectories=tuple(kept), case=case_id, planner=whole.planner,
        error_model=whole.error_model, required=whole.required, notes=whole.notes,
    )
    return plan.to_json(), time.perf_counter() - start


def warm_planner(ct_path: Path, labels_path: Path) -> None:
    """Plan one level and throw it away: compiles what is not compiled yet."""
    from teleop.planning.screws import plan_screws

    ct = load_ct(ct_path)
    labels = load_labels(labels_path, ct)
    plan_screws(ct, labels, levels=labels.levels[:1])


def plan_case(files: dict[str, Path], case_id: str, screws: int) -> Waiting[tuple[Plan, float]]:
    """Script form: plan in another process (a planner keeps a core busy for seconds; the links must go on).

    Returns (plan, seconds). Raises ValueError when the CT has no safe screw.
    """
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        job = pool.submit(_plan, str(files["ct"]), str(files["labels"]), case_id, screws)
        yield from until(job.done, PLAN_TIMEOUT_S, "the planner has finished")
        content, seconds = job.result()
    finally:
        pool.shutdown(wait=False)
    return Plan.from_json(content), seconds


def approve(planned: tuple[Plan, float], signer: SecretKeys, folder: Path) -> ApprovedPlan:
    """Sign a plan and keep plan.json with its signature in `folder`."""
    plan, seconds = planned
    signature = sign_plan(plan, signer.signer())
    data = plan_bytes(plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_bytes(data)
    (folder / "plan.json.sig").write_text(
        json.dumps({"public_key": signer.ed25519_public, "signature": signature.hex(), "plan_hash": plan.hash}) + "\n"
    )
    screws = screws_of(plan)
    summaries = [
        {
            "id": s.id, "level": s.level, "side": s.side, "diameter_mm": s.diameter_mm, "length_mm": s.length_mm,
            "grade": str(plan[s.id].metrics.get("grade", "")), "entry_lps_mm": [float(x) for x in s.entry_lps_mm],
            "tip_lps_mm": [float(x) for x in s.tip_lps_mm],
        }
        for s in screws.values()
    ]
    return ApprovedPlan(plan, data, signature, signer.ed25519_public, sorted(screws), summaries, seconds)
