"""Grade any screw plan on a label map: ours, 3D Slicer's, ROSA's. Claims that do not hold are contradicted."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example:  longhand grade plan.json --labels labels.nii.gz --ct ct.nii.gz --json")
def grade(
    plan: Annotated[Path, typer.Argument(help="plan.json, .mrk.json, .fcsv or .ros")],
    labels: Annotated[Path, typer.Option(help="label map (NIfTI)")],
    ct: Annotated[Path | None, typer.Option(help="CT: adds HU and checks that the plan was made on it")] = None,
    mapping: Annotated[Path | None, typer.Option(help='JSON {"L4": value, ...}')] = None,
    diameter: Annotated[float, typer.Option(min=0.5, max=15.0, help="mm, where the file has none")] = 5.5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Exit 0: every line is grade A and every claim holds; 3: a breach, a contradiction, or a line that cannot be graded; 1: unreadable input."""
    from teleop.planning.formats import read_any
    from teleop.planning.frame import FrameError
    from teleop.planning.grade import GradeError, grade_screw
    from teleop.planning.images import load_ct
    from teleop.planning.levels import load_labels, parse_mapping
    from teleop.planning.plan import load_plan

    image = load_ct(ct) if ct else None
    names = load_labels(labels, image, mapping=parse_mapping(mapping) if mapping else None)
    rows: list[dict[str, Any]] = []
    notes = []
    if image is not None and plan.name.endswith(".json") and not plan.name.endswith(".mrk.json"):
        stored = load_plan(plan).ct.sha256
        if stored != image.hash():
            notes.append(f"the plan was made on CT {stored[:12]}, this is {image.hash()[:12]}")
    for item in read_any(plan, diameter):
        if not item.has_line:
            rows.append(
                {
                    "id": item.id,
                    "status": item.status,
                    "grade": None,
                    "contradictions": [],
                    "reasons": list(item.reasons),
                }
            )
            continue
        try:
            report = grade_screw(names, item, image)
            rows.append(
                {
                    "id": item.id,
                    "level": report.level,
                    "side": report.side,
                    "entry_lps_mm": item.entry_lps_mm,
                    "tip_lps_mm": item.tip_lps_mm,
                    "diameter_mm": item.diameter_mm,
                    "length_mm": item.length_mm,
                    "claimed_status": item.status,
                    **_plain(report.numbers()),
                    "contradictions": list(report.contradictions),
                }
            )
        except (GradeError, FrameError) as error:
            rows.append({"id": item.id, "grade": None, "contradictions": [str(error)]})
    bad = (
        bool(notes)
        or any(r["contradictions"] or r["grade"] not in ("A", None) for r in rows)
        or all(r["grade"] is None for r in rows)
    )
    if as_json:
        print(json.dumps({"screws": rows, "contradictions": notes, "ok": not bad}, indent=1))
    else:
        for note in notes:
            print(f"CONTRADICTION: {note}")
        print(
            f"{'screw':<14}{'level':<7}{'grade':<6}{'clearance':>10}{'medial':>8}{'caudal':>8}{'anterior':>9}{'facet':>7}"
        )
        for r in rows:
            if r["grade"] is None:
                print(f"{r['id']:<14}not graded: {'; '.join(r['contradictions'] or r.get('reasons', []))}")
                continue
            facet = "-" if r["facet_mm"] is None else f"{r['facet_mm']:.1f}"
            print(
                f"{r['id']:<14}{r['level']:<7}{r['grade']:<6}{r['min_clearance_mm']:>10.2f}{r['clearance_medial_mm']:>8.2f}{r['clearance_caudal_mm']:>8.2f}{r['anterior_mm']:>9.1f}{facet:>7}"
            )
            for text in r["contradictions"]:
                print(f"{'':<14}CONTRADICTION: {text}")
    raise typer.Exit(3 if bad else 0)


def _plain(numbers: dict) -> dict:
    """NaN becomes null, floats get four digits."""
    return {k: (None if v != v else round(v, 4)) if isinstance(v, float) else v for k, v in numbers.items()}
