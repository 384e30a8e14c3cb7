"""`longhand soak`: three simulated hospitals for hours, with video and voice over a measured line; what grows, drifts or goes missing?

    longhand soak --hours 3.5 --virtual --trace trace.csv --out soak       the shipped decisions in virtual time
    longhand soak --hours 1.5 --trace trace.csv --out soak                 the shipped processes in real time

Exit code 0: nothing grew, drifted or was missed without account; 3 otherwise; 1 error; 2 usage; 130 interrupted.
"""

import json as json_module
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: longhand soak --hours 3.5 --virtual --trace ../shared/data/net/cicv5g_urban_n8_30kmh_60Hz.csv.gz --out soak")
def soak(
    hours: Annotated[float, typer.Option(min=0.005, max=100.0, help="how long, real or virtual hours")] = 1.5,
    virtual: Annotated[bool, typer.Option("--virtual", help="in virtual time: one process, faster than real time")] = False,
    trace: Annotated[Path | None, typer.Option(help="CSV of measured round trips: t_s, rtt_ms (.gz, .xz too)")] = None,
    profile: Annotated[str | None, typer.Option(help="instead of a trace: a network profile, see longhand demo")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for soak.json, soak.png and logs (default: a new temporary one)")] = None,
    seed: Annotated[int, typer.Option(help="seed of line, arms and stalls")] = 1,
    replay: Annotated[bool, typer.Option("--replay/--no-replay", help="replay every decision of the logs afterwards")] = True,
    driver: Annotated[str, typer.Option(help="in real time: pybullet (physics) or kinematic")] = "kinematic",
    json: Annotated[bool, typer.Option("--json", help="print the verdict as JSON on standard output")] = False,
) -> None:
    """Three simulated hospitals for hours, with video and voice over a measured line, treated again and again.

    \b
    longhand soak --hours 3.5 --virtual --trace trace.csv --out soak       the shipped decisions in virtual time
    longhand soak --hours 1.5 --trace trace.csv --out soak                 the shipped processes in real time

    Writes soak.json (every sample, the verdict), soak.png and the session logs. Exit code 0: no growth of memory, no drift
    of clocks, no deadline missed without account, logs clean and without gaps; 3 otherwise; 130 interrupted.
    """
    from sim.network.profiles import profile as known

    if (trace is None) == (profile is None):
        raise typer.BadParameter("give one of --trace FILE.csv and --profile NAME", param_hint="--trace")
    line = f"trace:{trace.resolve()}" if trace is not None else str(profile)
    try:
        known(line)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint="--trace" if trace else "--profile") from None
    if out is not None and out.exists() and any(out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty; name a new folder, nothing is overwritten", param_hint="--out")
    folder = out or Path(tempfile.mkdtemp(prefix="longhand-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    if virtual:
        from sim.soak.virtual import VirtualSoak

        evidence = VirtualSoak(line, hours, folder / "logs", say, seed, replay).run(lambda: ended)
    else:
        from sim.soak.real import RealSoak

        evidence = RealSoak(line, hours, folder, say, seed, replay, driver).run(lambda: ended)
    verdict = _write(folder, evidence, {"hours": hours, "line": trace.name if trace else profile, "seed": seed})
    if json:
        print(json_module.dumps(verdict))
    else:
        _print(evidence, verdict, folder)
    raise typer.Exit(130 if ended else 0 if verdict["ok"] else 3)


def _write(folder: Path, evidence: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """soak.json and soak.png; returns the verdict."""
    from sim.soak.judge import judge
    from sim.soak.plots import plot

    verdict = judge(evidence).to_json()
    told: dict[str, Any] = {"v": 1, "simulated": True, "asked": asked, "verdict": verdict, "evidence": evidence.to_json()}
    (folder / "soak.json").write_text(json_module.dumps(told) + "\n")
    plot(evidence, folder / "soak.png")
    return {**verdict, "kind": evidence.kind, "lasted_s": evidence.lasted_s, "folder": str(folder), "simulated": True}


def _print(evidence: Any, verdict: dict[str, Any], folder: Path) -> None:
    print(f"soak in {evidence.kind}, {evidence.lasted_s / 3600:.2f} h, {evidence.cases} cases, {evidence.holds} holds, simulated")
    for c in verdict["checks"]:
        note = f"  ({c['note']})" if c["note"] else ""
        print(f"  {'ok    ' if c['ok'] else 'NOT OK'}  {c['what']:40} {c['measured']}; limit: {c['limit']}{note}")
    for note in evidence.notes:
        print(f"  {note}")
    print(f"{'ok' if verdict['ok'] else 'NOT OK'}; samples, picture and logs: {folder}")
