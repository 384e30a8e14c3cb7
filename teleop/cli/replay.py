"""`longhand replay`: Would the governor decide the same again? Bit for bit, or the first difference."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from safety.log.container import ContainerError
from safety.log.reader import LogReader
from safety.log.replay import ReplayError, ReplayReport, replay
from safety.log.steps import steps
from safety.log.walk import NotALog

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: longhand replay out/logs/a.mcap      longhand replay a.mcap --ros --speed 10")
def main(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Session log.")],
    ros: Annotated[bool, typer.Option("--ros", "--rviz", help="Publish it on ROS instead, with joints and /tf.")] = False,
    speed: Annotated[float, typer.Option(min=0.01, max=1000.0, help="With --ros: times real time.")] = 1.0,
    start: Annotated[float, typer.Option(help="With --ros: begin here, seconds from the log's begin.")] = 0.0,
    prefix: Annotated[str, typer.Option(help="With --ros: put in front of every topic.")] = "/replay",
    json_: Annotated[bool, typer.Option("--json", help="Print {decisions, equal, first_difference} as JSON.")] = False,
) -> None:
    """Feed every recorded input to the same governor step and compare every output with the recorded one.

    Exit codes: 0 all equal, 1 error, 2 usage, 3 a decision differs.
    """
    if ros:
        words = [str(log), "--speed", str(speed), "--start", str(start), "--prefix", prefix]
        raise typer.Exit(subprocess.call([sys.executable, "-m", "longhand_ros.replayer", *words]))
    try:
        with LogReader(log) as reader:
            report = replay(steps(reader))
            seconds = (reader.end - reader.start) / 1e9
    except (NotALog, ReplayError, ContainerError, OSError) as error:
        if json_:
            print(json.dumps({"ok": False, "decisions": 0, "equal": 0, "first_difference": None, "error": str(error)}))
        else:
            typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    if json_:
        print(json.dumps(report.to_json()))
    else:
        _print(report, seconds)
    raise typer.Exit(0 if report.ok else 3)


def _print(report: ReplayReport, seconds: float) -> None:
    print(f"{report.decisions} decisions over {seconds:.1f} s, {report.equal} equal")
    for note in report.notes:
        print(f"  {note}")
    d = report.first_difference
    if d is None:
        print("every decision came out the same, bit for bit")
        return
    print(f"FIRST DIFFERENCE at step {d.n} (record {d.record}, {d.stamp} ns, {d.kind})")
    print(f"  state    recorded {d.state_recorded}, now {d.state_replayed}")
    print(f"  input    {d.input}")
    for name, lines in (("recorded", d.recorded), ("now", d.replayed)):
        for line in lines or ["(nothing)"]:
            print(f"  {name:8} {line[:400]}")
