"""Make a simulated patient: CT, labels, meshes and the truth, from published anatomy."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
PATHOLOGIES = (
    "narrow",
    "scoliosis",
    "wedge",
    "listhesis",
    "fracture",
    "osteoporotic",
    "metal",
    "cement",
    "laminectomy",
    "lysis",
    "fused-facet",
    "noise",
    "anisotropic",
    "rotated",
    "cropped",
)


def parse_levels(text: str) -> tuple[str, ...]:
    """'L1-L5', 'L4' or 'T12,L1' -> level names. Raises ValueError."""
    from teleop.planning.levels import LEVELS

    names: list[str] = []
    for part in text.replace(" ", "").upper().split(","):
        ends = part.split("-")
        if len(ends) > 2 or any(e not in LEVELS for e in ends):
            raise ValueError(f"levels {text!r}: write them like L1-L5 or T12,L1 (known: C1..C7, T1..T12, L1..L5, S1)")
        a, b = LEVELS.index(ends[0]), LEVELS.index(ends[-1])
        names += LEVELS[min(a, b) : max(a, b) + 1]
    return tuple(dict.fromkeys(names))


def options_of(pathologies: list[str], levels: tuple[str, ...]) -> tuple[dict, dict]:
    """(generate options, render options) of the named pathologies; they strike the middle level where only one is meant."""
    middle = levels[len(levels) // 2]
    table: dict[str, tuple[dict, dict]] = {
        "narrow": ({"pedicle_width_mm": 5.0}, {}),
        "scoliosis": ({"scoliosis_deg": 30.0}, {}),
        "wedge": ({"wedge_deg": {middle: 12.0}}, {}),
        "listhesis": ({"listhesis_mm": {middle: 7.0}}, {}),
        "fracture": ({"collapse": {middle: 0.6}}, {}),
        "osteoporotic": ({"osteoporotic": True}, {}),
        "metal": ({"metal": (middle,)}, {}),
        "cement": ({"cement": (middle,)}, {}),
        "laminectomy": ({"laminectomy": (middle,)}, {}),
        "lysis": ({"lysis": (middle,)}, {}),
        "fused-facet": ({"fused_facet": True}, {}),
        "noise": ({}, {"noise_hu": 80.0}),
        "anisotropic": ({}, {"spacing_mm": (0.4, 0.4, 3.0)}),
        "rotated": ({"rotation_deg": (12.0, 18.0, 25.0)}, {}),
        "cropped": ({}, {"crop_mm": 22.0}),
    }
    make: dict = {}
    draw: dict = {}
    for name in pathologies:
        if name not in table:
            raise ValueError(f"no pathology {name!r}; there are {', '.join(PATHOLOGIES)}")
        make |= table[name][0]
        draw |= table[name][1]
    return make, draw


@app.command(epilog="Example:  longhand phantom --seed 7 --pathology scoliosis --pathology noise -o patient7")
def phantom(
    out: Annotated[Path, typer.Option("-o", "--out", help="folder to write to")],
    seed: Annotated[int, typer.Option(help="draws the anatomy; the same seed is the same patient")] = 0,
    levels: Annotated[str, typer.Option(help="contiguous levels out of T1-S1")] = "L1-L5",
    spacing: Annotated[float, typer.Option(min=0.3, max=4.0, help="voxel size, mm")] = 0.7,
    pathology: Annotated[list[str] | None, typer.Option(help=", ".join(PATHOLOGIES) + " (repeatable)")] = None,
    width: Annotated[float | None, typer.Option(help="force the width of every pedicle, mm")] = None,
    dicom: Annotated[bool, typer.Option(help="also write a DICOM series")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write ct.nii.gz, labels.nii.gz, structures.nii.gz, dicom/, mesh_mm/, mesh_m/, landmarks.json and truth.json. Everything in it is simulated."""
    from sim.phantom import generate, render, write

    began = time.perf_counter()
    try:
        names = parse_levels(levels)
        make, draw = options_of(pathology or [], names)
        if width is not None:
            make["pedicle_width_mm"] = width
        made = generate(seed, levels=names, **make)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    if not as_json:
        print(f"simulated patient {seed}: {', '.join(names)}; rendering ...", flush=True)
    image = render(made, draw.pop("spacing_mm", spacing), **draw)
    paths = write(made, out, image, dicom=dicom)
    result = {
        "seed": seed,
        "levels": names,
        "shape": image.ct.data.shape,
        "spacing_mm": image.ct.spacing_mm.round(4).tolist(),
        "seconds": round(time.perf_counter() - began, 2),
        "files": {k: str(p) for k, p in paths.items()},
    }
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        print("\n".join(f"  {name:<10} {path}" for name, path in paths.items()))
        print(f"{image.ct.data.shape} voxels, {result['seconds']} s")
