"""Real CTs: what is planned, what is refused, and pictures to look at. Usage: python bench/planning_real.py [--data ../shared/data] [--out docs/results]

Plans every labelled CT of the data folder, prints one line a pedicle, and draws each planned screw in three reformats along its axis. --phantom adds a
simulated patient for comparison.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from teleop.planning.images import Volume, load_ct
from teleop.planning.levels import Labels, interpret, load_labels
from teleop.planning.plan import LinearTrajectory, Plan
from teleop.planning.screws import plan_screws
from teleop.planning.sheet import WINDOW_HU, planes, reformat

CASES = {
    "L3, 1.5 mm": ("tptbox_L3_1p5mm_ct.nii.gz", "tptbox_L3_1p5mm_vert.nii.gz", None),
    "L3, 1.5 mm, with canal, corpus and facet labels": (
        "tptbox_L3_1p5mm_ct.nii.gz",
        "tptbox_L3_1p5mm_vert.nii.gz",
        "tptbox_L3_1p5mm_subreg.nii.gz",
    ),
    "abdomen, 3 mm": ("ts_abdomen_3mm_ct.nii.gz", "ts_abdomen_3mm_vertebrae_tsv2.nii.gz", None),
    "abdomen, 3 mm, VerSe values": ("ts_abdomen_3mm_ct.nii.gz", "ts_abdomen_3mm_vertebrae_verse.nii.gz", None),
    "T11-T12, DICOM zip, mixed labels": ("ts_T11T12_dicom_20slices.zip", "ts_T11T12_dicom_seg_tsv2.nii.gz", None),
}
PICTURES = {"L3, 1.5 mm": "planning_real_L3.png", "abdomen, 3 mm": "planning_real_abdomen.png"}


def draw(ct: Volume, labels: Labels, items: list[LinearTrajectory], path: Path, title: str) -> None:
    """One row a screw: oblique axial, oblique sagittal, probe's eye; the shank as drawn by its diameter, the label's border thin."""
    figure = Figure(figsize=(8.4, 2.85 * len(items) + 0.4))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(items), 3, squeeze=False)
    angle = np.linspace(0.0, 2.0 * np.pi, 90)
    for row, item in zip(axes, items, strict=True):
        entry, tip = item.line()
        bone = Volume((labels.volume.data == labels.value(item.level)).astype(np.float32), labels.volume.lps_T_ijk)
        for n, (name, (origin, right, up)) in enumerate(planes(item).items()):
            half = 40.0 if n < 2 else 24.0
            box = (-half, half, -half, half)
            row[n].imshow(
                reformat(ct, origin, right, up, half),
                cmap="gray",
                vmin=WINDOW_HU[0],
                vmax=WINDOW_HU[1],
                origin="lower",
                extent=box,
            )
            row[n].contour(
                reformat(bone, origin, right, up, half),
                [0.5],
                colors="#e8a33d",
                linewidths=0.6,
                origin="lower",
                extent=box,
            )
            basis = np.column_stack([right, up])
            p, q = (entry - origin) @ basis, (tip - origin) @ basis
            if n < 2:
                d = (q - p) / np.linalg.norm(q - p)
                side = np.array([-d[1], d[0]]) * item.diameter_mm / 2.0
                corners = np.array([p + side, q + side, q - side, p - side, p + side])
                row[n].plot(corners[:, 0], corners[:, 1], c="#37d67a", lw=1.2)
            else:
                row[n].plot(
                    item.diameter_mm / 2 * np.cos(angle), item.diameter_mm / 2 * np.sin(angle), c="#37d67a", lw=1.2
                )
            row[n].set_xticks([])
            row[n].set_yticks([])
            if row is axes[0]:
                row[n].set_title(name, fontsize=8)
        m = item.metrics
        row[0].set_ylabel(
            f"{item.id}\n{item.diameter_mm:.1f} x {item.length_mm:.0f}  {m['grade']}  {m['min_clearance_mm']:.1f} mm\n{item.status}",
            fontsize=7,
        )
    figure.suptitle(title, fontsize=9)
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - 0.35 / figure.get_figheight()))
    figure.savefig(path, dpi=64)
    Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)


def rows_of(plan: Plan) -> list[dict[str, object]]:
    return [
        {
            "id": t.id,
            "status": t.status,
            "size": f"{t.diameter_mm} x {t.length_mm:.0f}" if t.has_line else "",
            "grade": t.metrics.get("grade"),
            "clearance": t.metrics.get("min_clearance_mm"),
            "p_grade_a": t.metrics.get("p_grade_a"),
            "canal": t.metrics.get("canal_mm"),
            "reasons": list(t.reasons),
        }
        for t in plan.trajectories
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--phantom", action="store_true")
    args = parser.parse_args()
    results = {}
    for name, (image, label, structures) in CASES.items():
        ct = load_ct(args.data / "ct" / image)
        labels = load_labels(
            args.data / "ct" / label, ct, structures=args.data / "ct" / structures if structures else None
        )
        plan = plan_screws(ct, labels)
        results[name] = rows_of(plan)
        print(f"== {name}: {image}, {label}")
        for row in results[name]:
            clearance = "" if row["clearance"] is None else f"{row['clearance']:.2f} mm"
            print(
                f"{row['id']:<10} {row['status']:<15} {row['size']:<10} {row['grade'] or '-'} {clearance:<8} {'; '.join(row['reasons'])}"
            )  # type: ignore[arg-type]
        lines = [t for t in plan.trajectories if t.has_line]
        if name in PICTURES and lines:
            draw(ct, labels, lines, args.out / PICTURES[name], f"real CT: {name}")
    if args.phantom:
        from sim.phantom import generate, render

        image_ = render(generate(3), 0.7)
        labels = interpret(image_.labels)
        plan = plan_screws(image_.ct, labels)
        left = [t for t in plan.trajectories if t.has_line and t.side == "left"]
        draw(image_.ct, labels, left, args.out / "planning_phantom.png", "simulated patient, seed 3, 0.7 mm, left side")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
