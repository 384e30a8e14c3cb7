"""Plan pedicle screws on a CT, or say plainly why there is no safe one."""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
NONE_SAFE = 3


def segment(command: str, ct: Path, folder: Path) -> Path:
    """Run the user's own segmenter: CMD with {ct} and {out} filled in (appended when absent). It must write {out}. Raises ValueError when it fails."""
    out = folder / "labels.nii.gz"
    words = shlex.split(command)
    if not any("{ct}" in w or "{out}" in w for w in words):
        words += ["{ct}", "{out}"]
    words = [w.replace("{ct}", str(ct)).replace("{out}", str(out)) for w in words]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ValueError(f"segmenter {words[0]!r} is not installed") from error
    if done.returncode or not out.exists():
        raise ValueError(
            f"segmenter ended with {done.returncode} and "
            f"{'wrote no label map to ' + str(out) if not out.exists() else 'a label map'}: {done.stderr.strip()[-400:]}"
        )
    return out


def row(item: object) -> dict:
    """One screw as `--json` prints it."""
    j = item.to_json()  # type: ignore[attr-defined]
    m = j["metrics"]
    return {
        "id": j["id"],
        "level": j["level"],
        "side": j["side"],
        "status": j["status"],
        "reasons": j["reasons"],
        "entry_lps_mm": j["entry_lps_mm"],
        "tip_lps_mm": j["tip_lps_mm"],
        "diameter_mm": j["diameter_mm"],
        "length_mm": j["length_mm"],
        "grade": m.get("grade"),
        "min_clearance_mm": m.get("min_clearance_mm"),
        "p_grade_a": m.get("p_grade_a"),
    }


@app.command(
    epilog="Example:  longhand plan patient7/ct.nii.gz --labels patient7/labels.nii.gz --levels L3-L5 -o plan.json --pdf"
)
def plan(
    ct: Annotated[Path, typer.Argument(help="CT: NIfTI, DICOM folder, or zip of a series")],
    labels: Annotated[Path | None, typer.Option(help="label map (NIfTI), TotalSegmentator or VerSe values")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="plan file to write")] = Path("plan.json"),
    levels: Annotated[
        str | None, typer.Option(help="for example L1-L5 (default: every thoracic, lumbar and S1 level labelled)")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help='JSON {"L4": value, ...} for other label maps')] = None,
    structures: Annotated[
        Path | None, typer.Option(help="sub-region map (SPINEPS values: canal, corpus, facets)")
    ] = None,
    error_model: Annotated[
        Path | None, typer.Option(help='JSON {"lateral_mm":, "angle_deg":}: how far execution strays')
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help='JSON {"diameters_mm": [...], "lengths_mm": [...]}')] = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID where a folder holds several")] = None,
    segment_with: Annotated[
        str | None, typer.Option(help="your own segmenter, e.g. 'my_segmenter {ct} {out}'; nothing is downloaded")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="entry and isthmus points instead of labels (JSON): drafts only, never verified")
    ] = None,
    case: Annotated[str, typer.Option(help="case name, goes into the plan")] = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="also write a plan sheet")] = False,
    slicer: Annotated[bool, typer.Option("--slicer", help="also write 3D Slicer markups (.mrk.json)")] = False,
    ras: Annotated[bool, typer.Option("--ras", help="write those markups in RAS (default: LPS)")] = False,
    stl: Annotated[bool, typer.Option("--stl", help="also write vertebrae, screws and drill guides as STL")] = False,
    send: Annotated[str | None, typer.Option(help="HOST:PORT of an OpenIGTLink server to send the lines to")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write plan.json. Exit 0: every screw planned and verified; 3: at least one pedicle has no safe screw or needs a look; 1: the input
    cannot be planned on."""
    from teleop.cli.phantom import parse_levels
    from teleop.planning.catalogue import load_catalogue
    from teleop.planning.error_model import load_error_model
    from teleop.planning.images import load_ct
    from teleop.planning.levels import load_labels, parse_mapping
    from teleop.planning.plan import save_plan
    from teleop.planning.screws import plan_screws

    if sum(given is not None for given in (labels, segment_with, landmarks)) != 1:
        print("error: give one of --labels, --segment-with and --landmarks", file=sys.stderr)
        raise typer.Exit(2)
    if landmarks is not None and stl:
        print("error: --stl needs labels", file=sys.stderr)
        raise typer.Exit(2)
    try:
        chosen = list(parse_levels(levels)) if levels else None
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    began = time.perf_counter()
    image = load_ct(ct, series)
    if landmarks is not None:
        from teleop.planning.landmarks import draft_screws, load_landmarks
        from teleop.planning.plan import Plan
        from teleop.planning.screws import image_ref

        drafts = [t for t in draft_screws(load_landmarks(landmarks)) if chosen is None or t.level in chosen]
        result = Plan(ct=image_ref(image), trajectories=tuple(drafts), case=case)
    else:
        with tempfile.TemporaryDirectory(prefix="longhand-plan-") as scratch:
            where = labels if labels is not None else segment(str(segment_with), ct, Path(scratch))
            table = parse_mapping(mapping) if mapping else None
            names = load_labels(where, image, mapping=table, structures=structures)
        result = plan_screws(
            image,
            names,
            levels=chosen,
            case=case,
            error_model=load_error_model(error_model) if error_model else None,
            catalogue=load_catalogue(catalogue) if catalogue else None,
            progress=None if as_json else lambda text: print(f"  {text}", flush=True),
        )
    seconds = time.perf_counter() - began
    digest = save_plan(result, out)
    files = {"plan": str(out)}
    stem = out.with_suffix("")
    if slicer:
        from teleop.planning.formats import write_markups

        write_markups(result, f"{stem}.mrk.json", "RAS" if ras else "LPS")
        files["slicer"] = f"{stem}.mrk.json"
    if pdf:
        from teleop.planning.sheet import write_pdf

        write_pdf(result, image, f"{stem}.pdf")
        files["pdf"] = f"{stem}.pdf"
    if stl:
        from teleop.planning.solids import export

        export(f"{stem}_stl", names, list(result.trajectories))
        files["stl"] = f"{stem}_stl"
    if send:
        from teleop.planning.igtl import send as send_lines

        host, _, port = send.rpartition(":")
        if not host or not port.isdigit():
            print(f"error: --send {send!r}: write HOST:PORT", file=sys.stderr)
            raise typer.Exit(2)
        send_lines(result.trajectories, host, int(port))
    screws = [row(t) for t in result.trajectories]
    good = sum(s["status"] == "OK" for s in screws)
    if as_json:
        print(
            json.dumps(
                {
                    "screws": screws,
                    "seconds": round(seconds, 3),
                    "plan_hash": digest,
                    "files": files,
                    "notes": list(result.notes),
                },
                indent=1,
            )
        )
    else:
        print(f"\n{'screw':<12}{'status':<16}{'mm':>10}  {'grade':<6}{'clearance':>9}{'P(A)':>8}")
        for s in screws:
            size = f"{s['diameter_mm']:.1f}x{s['length_mm']:.0f}" if s["entry_lps_mm"] else "-"
            clearance = f"{s['min_clearance_mm']:.2f}" if s["min_clearance_mm"] is not None else "-"
            share = f"{s['p_grade_a']:.3f}" if s["p_grade_a"] is not None else "-"
            print(f"{s['id']:<12}{s['status']:<16}{size:>10}  {s['grade'] or '-':<6}{clearance:>9}{share:>8}")
            for reason in s["reasons"]:
                print(f"{'':<12}{reason}")
        for note in result.notes:
            print(f"note: {note}")
        print(f"\n{good} of {len(screws)} planned and verified in {seconds:.1f} s; {out} ({digest[:16]}...)")
    raise typer.Exit(0 if good == len(screws) and screws else NONE_SAFE)
