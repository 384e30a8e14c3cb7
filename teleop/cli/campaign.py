"""`longhand campaign`: every fault against every mode, over several lines, in virtual time; one table of bounds kept.

    longhand campaign                                   a small sweep: every fault and mode, 4 profiles, 1 seed each
    longhand campaign --seeds 100 --jobs 2 --keep runs.jsonl --html campaign.html
    longhand campaign --fault F10 --mode servo --profile 5g --first-seed 17 --seeds 1      one run again
    longhand campaign --no-lease --fault F01            must fail: shows that the campaign would notice
    longhand campaign --processes 20                    SIGKILL, SIGSTOP, keys and a full disk, in real processes

Exit code 0: every run within its bounds and every fault struck; 3 otherwise; 2 usage.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _budget(text: str) -> float:
    """Seconds from "90", "90s", "60m" or "2h"; raises typer.BadParameter."""
    if not text:
        return 0.0
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1])
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write seconds, or 60m, or 2h") from None
    if not 0.0 < value < 1e7:
        raise typer.BadParameter(f"{text!r}: needs to be above zero")
    return value


@app.command()
def campaign(
    fault: Annotated[list[str], typer.Option(help="only these faults (F01 .. F48, S01); may be repeated")] = [],  # noqa: B006
    mode: Annotated[list[str], typer.Option(help="only these modes: servo, jog, goal, advance")] = [],  # noqa: B006
    profile: Annotated[list[str], typer.Option(help="link profiles, or trace:FILE.csv of measured round trips")] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="runs per fault, mode and profile")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="the first seed")] = 0,
    budget: Annotated[str, typer.Option(help="stop starting runs after this time, for example 60m")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    dask: Annotated[str, typer.Option(help="address of a Dask scheduler instead, tcp://host:8786")] = "",
    keep: Annotated[
        Path | None, typer.Option(help="JSON lines of finished runs; a second start goes on from there")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write the page with the plots")] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="write the report as JSON; - for standard output")
    ] = None,
    no_lease: Annotated[bool, typer.Option("--no-lease", help="a build without the motion lease: must fail")] = False,
    driver: Annotated[
        str, typer.Option(help="kinematic, or pybullet (physics, about three times slower)")
    ] = "kinematic",
    processes: Annotated[
        int,
        typer.Option(
            min=0, help="instead: so many runs of each key, kill, stop and disk fault in real processes, real time"
        ),
    ] = 0,
    base_port: Annotated[int, typer.Option(help="with --processes: first of four free ports on 127.0.0.1")] = 17400,
    list_: Annotated[bool, typer.Option("--list", help="list the faults and end")] = False,
) -> None:
    """Every fault against every mode, over several lines, in virtual time; one table of bounds kept.

    \b
    longhand campaign                                   a small sweep: every fault and mode, 4 profiles, 1 seed each
    longhand campaign --seeds 100 --jobs 2 --keep runs.jsonl --html campaign.html
    longhand campaign --fault F10 --mode servo --profile 5g --first-seed 17 --seeds 1      one run again
    longhand campaign --no-lease --fault F01            must fail: shows that the campaign would notice
    longhand campaign --processes 20                    SIGKILL, SIGSTOP, keys and a full disk, in real processes

    Exit code 0: every run within its bounds and every fault struck; 3 otherwise; 2 usage.
    """
    from sim.campaign import matrix
    from sim.campaign.faults import FAULTS, MODES
    from sim.campaign.page import page
    from sim.campaign.site import DRIVERS
    from sim.campaign.world import network

    if list_:
        for f in FAULTS.values():
            typer.echo(f"{f.id}  {f.title}  ({', '.join(f.modes)})")
        for row in matrix.not_applicable():
            typer.echo(f"{row['fault']}  {row['title']}, {row['mode']}: n/a, {row['why']}")
        return
    if processes:
        _processes(fault, processes, first_seed, base_port, keep, json_)
        return
    unknown = [f for f in fault if f not in FAULTS]
    if unknown:
        where = matrix.ELSEWHERE.get(unknown[0])
        raise typer.BadParameter(
            f"no fault {unknown[0]}" + (f" here: {where[0]}, tested in {where[1]}" if where else "; see --list")
        )
    wrong = [m for m in mode if m not in MODES]
    if wrong:
        raise typer.BadParameter(f"no mode {wrong[0]}; there are {', '.join(MODES)}")
    if driver not in DRIVERS:
        raise typer.BadParameter(f"no driver {driver}; there are {', '.join(DRIVERS)}")
    nets = list(profile) or [p for p in matrix.PROFILES if _there(p, network)]
    for name in profile:
        network(name)  # raises ValueError or OSError, which the entry point turns into one line
    todo = matrix.jobs(fault or FAULTS, mode or MODES, nets, first_seed, seeds, lease=not no_lease, driver=driver)
    if not todo:
        raise typer.BadParameter("nothing to run: the chosen fault does not apply to the chosen mode (see --list)")
    say = _Progress(json_ is not None and str(json_) == "-")
    rows = matrix.run_all(todo, workers=jobs, dask=dask, budget_s=_budget(budget), keep=keep, tell=say)
    report = matrix.summary(rows)
    report["planned"] = len(todo)
    how = "longhand campaign " + " ".join(sys.argv[2:])
    if html is not None:
        html.write_text(page(report, rows, how), encoding="utf-8")
    if json_ is not None:
        text = json.dumps(report | {"command": how}, indent=1)
        if str(json_) == "-":
            typer.echo(text)
        else:
            json_.write_text(text + "\n", encoding="utf-8")
    if json_ is None or str(json_) != "-":
        _print(report)
    if not report["ok"]:
        raise typer.Exit(3)


def _processes(fault: list[str], runs: int, first: int, base: int, keep: Path | None, json_: Path | None) -> None:
    """The process-level part: one table; exit code 3 unless every run passed."""
    from sim.campaign.processes.runner import KINDS, Result, campaign, summary

    names = [n for n, k in KINDS.items() if not fault or k.fault in fault]
    if not names:
        raise typer.BadParameter(f"none of {', '.join(fault)} runs in real processes; there are "
                                 f"{', '.join(sorted({k.fault for k in KINDS.values()}))}")  # fmt: skip

    def tell(r: Result) -> None:
        typer.echo(f"{r.name} {r.mode} {r.run}: {'ok' if r.passed else 'FAILED ' + r.why}", err=True)
        if keep is not None:
            with keep.open("a", encoding="utf-8") as f:
                f.write(json.dumps(r.to_dict()) + "\n")

    report = summary([r.to_dict() for r in campaign(names, runs, base=base, first=first, tell=tell)])
    if json_ is not None and str(json_) != "-":
        json_.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    elif json_ is not None:
        typer.echo(json.dumps(report, indent=1))
    if json_ is None or str(json_) != "-":
        typer.echo(
            f"{'fault':5} {'what':46} {'runs':>5} {'passed':>6} {'time':>6} {'travel':>6} {'mm':>6} {'answer ms':>9}"
        )
        for r in report["rows"]:
            typer.echo(f"{r['fault']:5} {r['title'][:46]:46} {r['runs']:5} {r['passed']:6} {r['worst_time_ratio']:6.2f} "
                       f"{r['worst_travel_ratio']:6.2f} {r['worst_travel_mm']:6.2f} {r['worst_response_ms']:9.0f}")  # fmt: skip
        typer.echo(
            f"{'ok' if report['ok'] else 'NOT OK'}: {report['runs']} runs, {report['failed']} failed, {report['foreign']} foreign motions"
        )
    if not report["ok"]:
        raise typer.Exit(3)


def _there(name: str, network: Any) -> bool:
    """A default profile whose measured trace is not on this machine is left out, with a word."""
    try:
        network(name)
    except OSError as error:
        typer.echo(f"profile {name} left out: {error}", err=True)
        return False
    return True


class _Progress:
    """One line on standard error, at most twice a second; every failure with its reproduction."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.begun = self.said = time.monotonic()

    def __call__(self, done: int, total: int, row: dict[str, Any]) -> None:
        if not row["passed"]:
            typer.echo(f"\nFAILED {row['fault']} {row['mode']} {row['profile']} seed {row['seed']}: {row['why']}\n"
                       f"  again: {row['reproduce']}", err=True)  # fmt: skip
        now = time.monotonic()
        if now - self.said > 0.5 or done == total:
            self.said = now
            rate = done / (now - self.begun + 1e-9)
            end = "\n" if done == total or not os.isatty(2) else "\r"
            if os.isatty(2) or done == total or done % 500 == 0:
                typer.echo(f"{done}/{total} runs, {rate:.1f}/s{end}", err=True, nl=False)


def _print(report: dict[str, Any]) -> None:
    """Fault by fault; modes and profiles together, the page and the JSON have them apart."""
    typer.echo(f"{'fault':5} {'what':46} {'runs':>6} {'passed':>6} {'time':>6} {'travel':>6} {'mm':>6}")
    for fault in sorted({r["fault"] for r in report["rows"]}):
        rows = [r for r in report["rows"] if r["fault"] == fault]
        typer.echo(
            f"{fault:5} {rows[0]['title'][:46]:46} {sum(r['runs'] for r in rows):6} {sum(r['passed'] for r in rows):6} "
            f"{max(r['worst_time_ratio'] for r in rows):6.2f} {max(r['worst_travel_ratio'] for r in rows):6.2f} "
            f"{max(r['worst_travel_mm'] for r in rows):6.2f}"
        )
    word = "ok: every run within its bounds" if report["ok"] else f"NOT OK: {report['failed']} failed"
    typer.echo(
        f"{word}; {report['runs']} runs of {report['planned']}, worst time {report['worst_time_ratio']:.3f}, "
        f"worst travel {report['worst_travel_ratio']:.3f} of the bound, {report['foreign']} foreign motions, "
        f"{report['attacks_accepted']} of {report['attacks']} attackers' frames accepted"
    )
