"""`longhand demo`: treat simulated patients in several cities with a scripted surgeon, and judge the result by physics.

Example:

    longhand demo --sites 1 --fault link-cut@6 --json out.json
"""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: longhand demo --sites 1 --fault link-cut@6 --json out.json")
def command(
    sites: Annotated[int, typer.Option(help="number of simulated hospitals, taken in turn")] = 3,
    screws_per_site: Annotated[int, typer.Option(min=1, max=10, help="screws to guide at each hospital")] = 1,
    profile: Annotated[str | None, typer.Option(help="network profile for every site (default: a different one each)")] = None,
    fault: Annotated[str | None, typer.Option(metavar="NAME@S", help="a fault at the first site, S seconds after the first lease")] = None,
    correction: Annotated[bool, typer.Option("--correction/--no-correction", help="let the tracker correct the guide")] = True,
    seed: Annotated[int, typer.Option(help="seed of patients, arms, tracker and network")] = 1,
    out: Annotated[Path | None, typer.Option(help="folder for logs, plans and images (default: a new temporary one)")] = None,
    json: Annotated[Path | None, typer.Option(help="write the outcome as JSON here (- for standard output)")] = None,
    driver: Annotated[str, typer.Option(help="pybullet (physics) or kinematic (no physics)")] = "pybullet",
    own_processes: Annotated[int, typer.Option(min=0, help="hospitals with processes of their own; the others share one in wards of ten")] = 3,
    arm: Annotated[str, typer.Option(metavar="NAME|FILE.yaml", help="which arm stands in every hospital")] = "iiwa7",
    serve: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="offer this machine's hospitals to a surgeon on another one, and run them")] = None,
    connect: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="treat the hospitals of that machine; repeatable")] = None,
    phrase_file: Annotated[Path | None, typer.Option(help="with --serve and --connect: the phrase both have; --serve makes it")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show what every process prints")] = False,
) -> None:
    """Treat simulated patients in several cities with a scripted surgeon.

    Real ROS 2 nodes, real links over an emulated WAN, physics in PyBullet; patients, people and lines are simulated.
    Exit code 0 only if every guide is within 0.5 mm and 0.5 deg, every screw grade A as positioned, every hand-over
    clean and every log verifies; 1 otherwise, 2 for a wrong option, 130 when interrupted.
    """
    from rich.console import Console

    from sim.demo.fault import FaultError, parse_fault
    from sim.demo.run import DemoRun, Options, write_json
    from teleop.arm.model import ModelError, load_model

    try:
        parsed = parse_fault(fault) if fault else None
    except FaultError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None
    try:
        load_model(arm)
    except ModelError as error:
        raise typer.BadParameter(str(error), param_hint="--arm") from None
    folder = out or Path(tempfile.mkdtemp(prefix="longhand-demo-"))
    if out and out.exists() and any(out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty; name a new folder, nothing is overwritten", param_hint="--out")
    if serve or connect:
        raise typer.Exit(_machines(serve, connect or [], phrase_file, sites, folder, json, seed=seed, driver=driver, arm_model=arm, own=own_processes))
    screen = Console(stderr=True)
    if not screen.is_terminal:
        screen.width = 140  # a file or a pipe has no width: the table must not be cut to 80 columns
    options = Options(folder, sites, screws_per_site, seed, profile, parsed, correction, driver, arm, own_processes, verbose)
    run = DemoRun(options, lambda line: print(line, file=sys.stderr, flush=True))
    interrupted = False

    def end(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        run.interrupt()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    outcome = run.run()
    outcome.print(screen)
    screen.print(f"plans, images and logs: {folder}")
    if json:
        write_json(outcome, json)
    raise typer.Exit(130 if interrupted else 0 if outcome.ok else 1)


def _machines(
    serve: str | None, connect: list[str], phrase_file: Path | None, sites: int, folder: Path, json: Path | None, **options: object
) -> int:
    """A demo on several machines: this one's hospitals for somebody else's surgeon, or the other way round."""
    import json as json_module

    from sim.demo import machines
    from sim.demo.pairing import PairingError

    if phrase_file is None or (serve and connect):
        raise typer.BadParameter("give one of --serve and --connect, and --phrase-file", param_hint="--connect")

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    interrupted = machines.until_interrupted()
    try:
        if serve:
            return machines.serve(serve, phrase_file, sites, folder, say, interrupted, **options)
        outcome = machines.treat(connect, phrase_file, folder, say, interrupted)
    except PairingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    text = json_module.dumps(outcome, indent=1)
    if json and str(json) != "-":
        json.write_text(text + "\n")
    else:
        print(text)
    return 130 if interrupted() else 0 if outcome["ok"] else 1
