"""`longhand whatif`: What would other thresholds have done with the same inputs? Open loop, and it says so."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from safety.log.container import ContainerError
from safety.log.reader import LogReader
from safety.log.replay import ReplayError
from safety.log.steps import Step, steps
from safety.log.walk import NotALog
from safety.log.whatif import CAVEAT, WhatIf, parse_changes, what_if
from teleop.review.svg import line_plot

app = typer.Typer(add_completion=False)

EPILOG = "Example: longhand whatif a.mcap --set lease_ms=100 --set margin_mm=1      longhand whatif a.mcap --sweep lease_ms=50:200:25 -o lease.svg"


@app.command(epilog=EPILOG)
def main(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Session log.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Another threshold.")] = None,
    sweep: Annotated[str, typer.Option(metavar="NAME=FROM:TO:STEP", help="Try a range of values of one.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="With --sweep: write the plot here (SVG).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the recorded inputs through the governor with other thresholds: stops, travel, time.

    Parameters are those of the governor (safety/params.py); *_ms and *_mm are understood; margin is m_near.
    """
    words = list(set_ or [])
    if not words and not sweep:
        typer.echo("usage: give at least one --set NAME=VALUE or a --sweep NAME=FROM:TO:STEP", err=True)
        raise typer.Exit(2)
    try:
        with LogReader(log) as reader:
            recorded = list(steps(reader))
        if sweep:
            rows = _sweep(recorded, words, sweep)
            if out is not None:
                out.write_text(_plot(rows, sweep.partition("=")[0]), encoding="utf-8")
            print(json.dumps({"sweep": rows, "caveat": CAVEAT})) if json_ else _print_sweep(rows, sweep, out)
        else:
            result = what_if(recorded, parse_changes(words))
            print(json.dumps(result.to_json())) if json_ else _print(result, recorded[0].stamp)
    except (NotALog, ReplayError, ContainerError, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _sweep(recorded: list[Step], words: list[str], sweep: str) -> list[dict[str, Any]]:
    name, _, spec = sweep.partition("=")
    try:
        low, high, step = (float(x) for x in spec.split(":"))
    except ValueError:
        raise ValueError(f"{sweep!r}: write NAME=FROM:TO:STEP, for example lease_ms=50:200:25") from None
    if step <= 0 or high < low or (high - low) / step > 200:
        raise ValueError(f"{sweep!r}: needs FROM <= TO and a step that gives at most 200 values")
    rows = []
    for k in range(int((high - low) / step + 1e-9) + 1):
        value = low + k * step
        result = what_if(recorded, parse_changes([*words, f"{name}={value:g}"])).to_json()
        stops = {s: n[1] for s, n in result["entered"].items() if s in ("PAUSE", "HOLD", "STOP", "FAULT")}
        rows.append({
            "value": value, **{s: stops.get(s, 0) for s in ("PAUSE", "HOLD", "STOP", "FAULT")},
            "bound_mm_mean": result["bound_mm_mean"][1], "time_lost_s": result["time_lost_s"],
            "reach_mm": result["reach_mm"][1],
        })  # fmt: skip
    return rows


def _plot(rows: list[dict[str, Any]], name: str) -> str:
    x = [row["value"] for row in rows]
    return line_plot(
        f"What if {name} had been ... ({CAVEAT.split(':')[0]})", name,
        {
            "pauses + holds": (x, [row["PAUSE"] + row["HOLD"] for row in rows]),
            "mean travel bound, mm": (x, [row["bound_mm_mean"] for row in rows]),
            "time lost, s": (x, [row["time_lost_s"] for row in rows]),
        },
    )  # fmt: skip


def _print_sweep(rows: list[dict[str, Any]], sweep: str, out: Path | None) -> None:
    print(f"{sweep.partition('=')[0]:>12} {'pauses':>7} {'holds':>6} {'stops':>6} {'mean X mm':>10} {'time lost s':>12}")
    for row in rows:
        print(f"{row['value']:>12g} {row['PAUSE']:>7} {row['HOLD']:>6} {row['STOP'] + row['FAULT']:>6} "
              f"{row['bound_mm_mean']:>10.3f} {row['time_lost_s']:>12.2f}")  # fmt: skip
    print(CAVEAT)
    if out is not None:
        print(f"plot: {out}")


def _print(result: WhatIf, start: int) -> None:
    r = result.to_json()
    for name, (was, now) in r["changed"].items():
        print(f"{name}: {was} -> {now}")
    print(f"{r['decisions']} decisions with the recorded inputs")
    print(f"{'':24}{'recorded':>12}{'changed':>12}")
    for state, (was, now) in r["entered"].items():
        print(f"{'entered ' + state:24}{was:>12}{now:>12}")
    for label, key, digits in (("moving, s", "moving_s", 2), ("mean travel bound X, mm", "bound_mm_mean", 3),
                               ("largest X, mm", "bound_mm_max", 3), ("reach at the cap, mm", "reach_mm", 1)):  # fmt: skip
        was, now = r[key]
        print(f"{label:24}{was:>12.{digits}f}{now:>12.{digits}f}")
    for label, rows in (("extra", result.extra), ("missing", result.missing)):
        for stamp, state, reason in rows[:20]:
            print(f"{label}: {state} at {(stamp - start) / 1e9:.2f} s: {reason}")
        if len(rows) > 20:
            print(f"{label}: and {len(rows) - 20} more")
    print(CAVEAT)
