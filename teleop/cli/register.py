"""Register touched points to the CT, with every gate and its number."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def read_points(path: Path) -> tuple[list[str], np.ndarray, str]:
    """Names, (N, 3) numbers and unit ('mm', 'm' or '') of a point file: JSON {points or landmarks: [...], unit}, CSV (x,y,z or
    name,x,y,z), or ASCII .pcd. Raises ValueError."""
    text = path.read_text(errors="replace")
    if path.suffix == ".json":
        raw = json.loads(text)
        items: list = raw.get("points") or raw.get("landmarks") or [] if isinstance(raw, dict) else raw
        unit = (
            str(raw.get("unit", "mm" if "millimetres" in str(raw.get("frame", "")) else ""))
            if isinstance(raw, dict)
            else ""
        )
        rows = [i if isinstance(i, list) else i.get("lps_mm") or i.get("position_m") or i.get("xyz") for i in items]
        names = [str(i.get("name", n + 1)) if isinstance(i, dict) else str(n + 1) for n, i in enumerate(items)]
        points = np.array(rows, dtype=float)
    else:
        if path.suffix == ".pcd":
            _head, _, text = text.partition("DATA ascii")
            if not text:
                raise ValueError(f"{path}: only ASCII .pcd files are read")
        names, values = [], []
        for n, line in enumerate(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
            cells = line.replace(",", " ").split()
            try:
                first = [float(c) for c in cells[:3]]
                names.append(str(n + 1))
            except ValueError:
                try:
                    first = [float(c) for c in cells[1:4]]
                    names.append(cells[0])
                except ValueError:
                    if n == 0:
                        continue
                    raise ValueError(f"{path}: line {line[:50]!r} is no point") from None
            values.append(first)
        points, unit = np.array(values, dtype=float), ""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{path}: no list of 3-D points in it")
    return names, points, unit


@app.command(
    epilog="Example:  longhand register ct_points.json touched.csv --unit m --fle 0.5 --plan plan.json --screw L4_left"
)
def register(
    ct_points: Annotated[Path, typer.Argument(help="planned points, LPS mm (JSON, CSV or .pcd)")],
    touched: Annotated[
        Path,
        typer.Argument(help="the same points as touched, same order (names are matched where both files have them)"),
    ],
    unit: Annotated[str, typer.Option(help="unit of the touched points: m or mm")] = "m",
    fle: Annotated[float, typer.Option(min=0.01, max=5.0, help="RMS localisation error of a touch, mm")] = 0.5,
    plan: Annotated[Path | None, typer.Option(help="plan.json: predicted TRE95 is checked at its lines")] = None,
    screw: Annotated[str | None, typer.Option(help="only this trajectory of the plan")] = None,
    level: Annotated[str, typer.Option(help="vertebra the touches were taken on")] = "",
    ct: Annotated[Path | None, typer.Option(help="CT the points were picked in; must be the plan's")] = None,
    age_s: Annotated[float | None, typer.Option(min=0.0, help="how long ago the touches were taken, s")] = None,
    shift: Annotated[float, typer.Option(min=0.0, help="how far the reference frame moved since, mm")] = 0.0,
    turn: Annotated[float, typer.Option(min=0.0, help="how far the reference frame turned since, deg")] = 0.0,
    cap: Annotated[float, typer.Option(min=0.1, max=5.0, help="largest allowed predicted TRE95, mm")] = 1.5,
    check: Annotated[int, typer.Option(min=0, max=5, help="hold out the last N points as check points")] = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the transform as JSON")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Exit 0: registered, every gate passed; 3: refused, with each gate's number; 1: unreadable points."""
    from teleop.planning.plan import load_plan
    from teleop.planning.registration import RegistrationError, register_points

    if unit not in ("m", "mm"):
        print(f"error: --unit {unit!r}: m or mm", file=sys.stderr)
        raise typer.Exit(2)
    names_a, a, _ = read_points(ct_points)
    names_b, b, said = read_points(touched)
    b = b * (1.0 if (said or unit) == "m" else 1e-3)
    if set(names_b) <= set(names_a) and not all(n.isdigit() for n in names_b):
        a = a[[names_a.index(n) for n in names_b]]
    targets, planned, plan_ct = None, "", ""
    if plan is not None:
        stored = load_plan(plan)
        plan_ct = stored.ct.sha256
        lines = [t for t in stored.trajectories if t.has_line and screw in (None, t.id)]
        if not lines:
            print(f"error: {plan} has no line {screw or ''}", file=sys.stderr)
            raise typer.Exit(2)
        targets = np.array([p for t in lines for p in t.line()])
        planned = lines[0].level if len(lines) == 1 else ""
    keep = len(a) - check
    image = ""
    if ct is not None:
        from teleop.planning.images import load_ct

        image = load_ct(ct).hash()
    try:
        r = register_points(a[:keep], b[:keep], fle, targets_lps_mm=targets, tre95_cap_mm=cap, level=level, planned_level=planned,
                            ct_sha256=image, plan_ct_sha256=plan_ct,
                            check_ct_lps_mm=a[keep:] if check else None, check_touched_m=b[keep:] if check else None)  # fmt: skip
    except RegistrationError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(3) from error
    if age_s is not None or shift or turn:
        from teleop.planning.registration_gates import validity_gates

        r = replace(r, gates=(*r.gates, *validity_gates(r, round((age_s or 0.0) * 1e9), shift, turn)))
    result = {
        "ok": r.ok, "fre_mm": round(r.fre_mm, 4), "fle_mm": fle, "points": keep, "residuals_mm": r.residuals_mm.round(3).tolist(),
        "tre95_mm": r.predicted_tre95_mm(targets).round(3).tolist() if targets is not None else None,
        "ref_T_ct": r.ref_T_ct.round(9).tolist(), "unit": "m (p_ref = ref_T_ct @ p_lps_mm / 1000)",
        "gates": [{"name": g.name, "ok": g.ok, "value": round(g.value, 4), "limit": round(g.limit, 4), "text": "" if g.ok else g.text} for g in r.gates],
    }  # fmt: skip
    if out is not None and r.ok:
        out.write_text(json.dumps(result, indent=1))
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        for g in r.gates:
            print(
                f"{'ok    ' if g.ok else 'REFUSE'} {g.name:<15} {g.value:8.3f}  limit {g.limit:.3f}"
                + ("" if g.ok else f"   {g.text}")
            )
        print(
            f"FRE {r.fre_mm:.2f} mm over {keep} points (says nothing about accuracy at the target){'' if r.ok else '; refused'}"
        )
    raise typer.Exit(0 if r.ok else 3)
