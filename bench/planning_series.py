"""Narrow pedicles, mirror, rotation, resampling and depth: numbers for docs/results/planning.md. Usage: python bench/planning_series.py [--json out.json]

Everything is judged on the phantom's geometry. The *effective* width of a pedicle is twice the radius of the largest ball that passes it (analytic, by ray
casting): a screw of diameter d with margins m_medial, m_lateral needs an effective width of at least d + m_medial + m_lateral.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from sim.phantom import Phantom, generate, grade_truth, render
from sim.phantom.dimensions import LUMBAR, published
from sim.phantom.vertebra import exit_distance
from teleop.planning.levels import interpret
from teleop.planning.plan import Plan
from teleop.planning.screws import plan_screws


def directions(count: int = 300) -> np.ndarray:
    """Nearly uniform unit vectors (Fibonacci sphere)."""
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1.0 - 2.0 * k / count), np.pi * (1.0 + 5.0**0.5) * k
    return np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)


def effective_width(phantom: Phantom, level: str, side: str) -> float:
    """Diameter of the largest ball that passes the pedicle: smallest over the isthmus region of the largest ball of a section, along x."""
    v, rays = phantom[level], directions()
    p = v.pedicles[side]
    lateral = np.cross([0.0, 0.0, 1.0], p.axis)
    lateral /= np.linalg.norm(lateral)
    best = []
    for s in np.arange(-3.0, 3.01, 0.5):
        centre = p.centre + s * p.axis
        points = centre + np.arange(-1.0, 1.01, 0.1)[:, None] * lateral
        d = exit_distance(v.rows, np.repeat(points, len(rays), axis=0), np.tile(rays, (len(points), 1)), 9.0, 0.5)
        best.append(float(d.reshape(len(points), -1).min(axis=1).max()))
    return 2.0 * min(best)


def planned(phantom: Phantom, spacing: float | tuple[float, float, float]) -> Plan:
    """The plan of a phantom at a spacing."""
    image = render(phantom, spacing, skin=False, with_structures=False, fine_mm=1.6)
    return plan_screws(image.ct, interpret(image.labels))


def narrow() -> dict[str, object]:
    """Refused or planned against the effective width, L2, 0.7 mm."""
    rows = []
    for width in np.arange(5.6, 8.01, 0.2):
        phantom = generate(11, levels=("L2",), spread=0.0, pedicle_width_mm=float(width))
        for t in planned(phantom, 0.7).trajectories:
            rows.append((round(effective_width(phantom, "L2", t.side), 2), t.status))
    need = 4.0 + 1.5 + 1.0
    wrong = [r for r in rows if (r[1] == "OK") != (r[0] >= need) and abs(r[0] - need) > 0.3]
    return {"needed_mm": need, "rows": sorted(rows), "wrong_outside_0.3": wrong}


def invariance(seeds: range) -> dict[str, object]:
    """Grade and clearance (judge's, of the diameter-normalised screw: clearance + radius) under mirror, rotation and resampling."""
    out: dict[str, object] = {}
    first: dict[tuple[int, str], Plan] = {}
    for name, options, spacing in (
        ("mirror", {"mirror": True}, 0.8),
        ("rotation 20, -15, 30 deg", {"rotation_deg": (20.0, -15.0, 30.0)}, 0.8),
        ("spacing 0.5", {}, 0.5),
        ("spacing 1.2", {}, 1.2),
        ("spacing 2.0", {}, 2.0),
        ("spacing 3.0", {}, 3.0),
        ("spacing 0.5 x 0.5 x 3.0", {}, (0.5, 0.5, 3.0)),
    ):
        gaps, grades, sizes = [], [], []
        for seed, level in itertools.product(seeds, ("L2", "L3")):
            plain = generate(seed, levels=(level,))
            other = generate(seed, levels=(level,), **options)  # type: ignore[arg-type]
            if (seed, level) not in first:
                first[seed, level] = planned(plain, 0.8)
            a, b = first[seed, level], planned(other, spacing)
            for side in ("left", "right"):
                twin = {"left": "right", "right": "left"}[side] if name == "mirror" else side
                x, y = a[f"{level}_{side}"], b[f"{level}_{twin}"]
                if x.status != "OK" or y.status != "OK":
                    grades.append(x.status == y.status)
                    continue
                tx = grade_truth(plain, x.entry_lps_mm, x.tip_lps_mm, x.diameter_mm, level)
                ty = grade_truth(other, y.entry_lps_mm, y.tip_lps_mm, y.diameter_mm, level)
                grades.append(tx["grade"] == ty["grade"])
                gaps.append(ty["clearance_mm"] + y.diameter_mm / 2.0 - tx["clearance_mm"] - x.diameter_mm / 2.0)
                sizes.append(abs(x.diameter_mm - y.diameter_mm))
        out[name] = {
            "pairs": len(grades),
            "grade equal": sum(grades),
            "planned both times": len(gaps),
        }
        if not gaps:
            continue
        out[name] |= {  # type: ignore[operator]
            "clearance change mean": float(np.mean(gaps)),
            "p05": float(np.percentile(gaps, 5)),
            "p95": float(np.percentile(gaps, 95)),
            "largest change": float(np.abs(gaps).max()),
            "within 0.3 mm": int((np.abs(gaps) <= 0.3).sum()),
            "diameter change mean": float(np.mean(sizes)),
        }
    return out


def depth() -> dict[str, object]:
    """Depth along the axis of 200 random patients against the published table, mm."""
    values: dict[str, list[float]] = {level: [] for level in LUMBAR}
    for seed in range(200):
        phantom = generate(seed)
        for level in LUMBAR:
            values[level] += [p.depth for p in phantom[level].pedicles.values()]
    return {
        level: {"published": published(level).depth_mm[0], "mean": float(np.mean(v)), "sd": float(np.std(v))}
        for level, v in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=6, help="patients of the invariance series")
    parser.add_argument("--only", choices=("narrow", "depth", "invariance"))
    args = parser.parse_args()
    results = {}
    for name, work in (("narrow", narrow), ("depth", depth), ("invariance", lambda: invariance(range(args.seeds)))):
        if args.only not in (None, name):
            continue
        results[name] = work()
        print(name, json.dumps(results[name], indent=1), flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
