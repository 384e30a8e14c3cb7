"""Random phantoms against the planner, judged by the phantom's geometry. Resumable: what is in --out is not run again. Usage:
python bench/planning_campaign.py --count 500 --out campaign.jsonl

Each phantom: one to three random contiguous levels (T10-L5; every tenth phantom out of T1-S1), random anatomy, pose (up to 30 deg about each axis
for half of them, 50 mm), every third of them scoliotic by 25 deg, noise 5-60 HU, isotropic voxels of 0.6-1.5 mm (every fifth phantom 0.5 x 0.5 x
2-3 mm), every fourth on an oblique grid. The field around the spine is muscle only (skin=False), as nothing of the planner looks there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from sim.phantom import generate, grade_truth, render
from sim.phantom.dimensions import LEVELS
from teleop.planning.levels import interpret
from teleop.planning.screws import plan_screws


def one(index: int) -> list[dict]:
    """Plan one random phantom; one row per pedicle."""
    rng = np.random.default_rng((20261122, index))
    count = int(rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1]))
    top, bottom = ("T1", "S1") if index % 10 == 7 else ("T10", "L5")
    first = int(rng.integers(LEVELS.index(top), LEVELS.index(bottom) - count + 2))
    levels = LEVELS[first : first + count]
    turn = tuple(float(a) for a in rng.uniform(-30.0, 30.0, 3) * rng.choice([0.0, 1.0], 3))
    offset = tuple(float(a) for a in rng.uniform(-50.0, 50.0, 3))
    coarse = index % 5 == 4
    spacing = (0.5, 0.5, float(rng.uniform(2.0, 3.0))) if coarse else tuple([float(rng.uniform(0.6, 1.5))] * 3)
    oblique = tuple(float(a) for a in rng.uniform(-10.0, 10.0, 3)) if index % 4 == 0 else (0.0, 0.0, 0.0)
    phantom = generate(
        index, levels=levels, rotation_deg=turn, offset_mm=offset, scoliosis_deg=float(rng.choice([0.0, 0.0, 25.0]))
    )
    image = render(
        phantom,
        spacing,
        skin=False,
        noise_hu=float(rng.uniform(5.0, 60.0)),
        grid_rotation_deg=oblique,
        with_structures=False,
        fine_mm=1.6,
    )
    began = time.process_time()
    plan = plan_screws(image.ct, interpret(image.labels))
    seconds = time.process_time() - began
    rows = []
    for item in plan.trajectories:
        pedicle = phantom[item.level].pedicles[item.side]
        row = {
            "phantom": index,
            "level": item.level,
            "side": item.side,
            "status": item.status,
            "reasons": list(item.reasons),
            "true_width": pedicle.width,
            "true_height": pedicle.height,
            "spacing": spacing,
            "turn": turn,
            "seconds": seconds / len(plan.trajectories),
        }
        if item.has_line:
            truth = grade_truth(phantom, item.entry_lps_mm, item.tip_lps_mm, item.diameter_mm, item.level)
            row |= {
                "diameter": item.diameter_mm,
                "length": item.length_mm,
                "truth": truth["grade"],
                "truth_breach": truth["breach_mm"],
                "truth_clearance": truth["clearance_mm"],
                "truth_body": truth.get("body_breach_mm"),
                "truth_anterior": truth.get("anterior_margin_mm"),
                "truth_canal": truth.get("canal_clearance_mm"),
                "truth_facet": truth.get("facet_clearance_mm"),
                "graded": item.metrics.get("grade"),
                "clearance": item.metrics.get("min_clearance_mm"),
                "p_grade_a": item.metrics.get("p_grade_a"),
                "width": item.metrics.get("isthmus_width_mm"),
                "midline": truth.get("crosses_midline"),
            }
        rows.append(row)
    return rows


def summary(rows: list[dict]) -> dict:
    """Counts and distributions of a campaign."""
    ok = [r for r in rows if r["status"] == "OK"]
    wide = [r for r in rows if r["true_width"] >= 7.5]
    doubtful = [r for r in rows if r["status"] != "OK" and "truth" in r]
    gap = np.array([r["clearance"] - r["truth_clearance"] for r in ok])
    return {
        "pedicles": len(rows),
        "ok": len(ok),
        "doubtful_with_a_line": {g: sum(r["truth"] == g for r in doubtful) for g in "ABCDE"},
        "wide_refused_list": [
            (r["phantom"], r["level"], r["side"], r["reasons"][:1]) for r in wide if r["status"] != "OK"
        ],
        "true_grade": {g: sum(r["truth"] == g for r in ok) for g in "ABCDE"},
        "status": {s: sum(r["status"] == s for r in rows) for s in sorted({r["status"] for r in rows})},
        "wide": len(wide),
        "wide_refused": sum(r["status"] != "OK" for r in wide),
        "clearance_true_min": min((r["truth_clearance"] for r in ok), default=None),
        "clearance_error_mean": float(gap.mean()),
        "clearance_error_sd": float(gap.std()),
        "clearance_error_p01_p99": [float(x) for x in np.percentile(gap, [1, 99])],
        "body_breaches": sum(r["truth_body"] > 0 for r in ok),
        "canal_min": min((r["truth_canal"] for r in ok), default=None),
        "anterior_min": min((r["truth_anterior"] for r in ok), default=None),
        "facet_min": min((r["truth_facet"] for r in ok), default=None),
        "midline": sum(bool(r["midline"]) for r in ok),
        "p_grade_a_min": min((r["p_grade_a"] for r in ok), default=None),
        "by_level": {n: [sum(r["level"] == n for r in rows), sum(r["level"] == n for r in ok)] for n in LEVELS},
        "seconds_per_pedicle_median": float(np.median([r["seconds"] for r in rows])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True, help="one JSON line a phantom; appended to")
    parser.add_argument("--json", type=Path, help="write the summary there")
    args = parser.parse_args()
    done: dict[int, list[dict]] = {}
    if args.out.exists():
        for line in args.out.read_text().splitlines():
            entry = json.loads(line)
            done[entry["phantom"]] = entry["rows"]
    with args.out.open("a") as file:
        for index in range(args.count):
            if index in done:
                continue
            done[index] = one(index)
            file.write(json.dumps({"phantom": index, "rows": done[index]}) + "\n")
            file.flush()
            if index % 20 == 19:
                short = ("pedicles", "ok", "true_grade", "status", "wide", "wide_refused")
                rows = [row for item in done.values() for row in item]
                print(index + 1, json.dumps({k: v for k, v in summary(rows).items() if k in short}), flush=True)
    result = {"phantoms": len(done)} | summary([row for item in done.values() for row in item])
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
