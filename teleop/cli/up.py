"""Start everything a launch file describes, in the YAML form that `ros2 launch` reads too.

Nothing is restarted; when a process dies, which and why is said, and the others go on. Ctrl-C ends all of them
(SIGINT, after 6 s SIGTERM, then SIGKILL); a second Ctrl-C kills at once.
"""

import io
import json
import os
import re
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer

from teleop.launch import shm
from teleop.launch.errors import LaunchFileError
from teleop.launch.installed import here
from teleop.launch.plan import Plan, plan
from teleop.launch.runner import Ended, Escalated, Event, Line, Runner, Started

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*):=(.*)$", re.DOTALL)


def split_words(words: list[str]) -> tuple[list[Path], dict[str, str]]:
    """Files and `name:=value` pairs, in any order. Raises typer.BadParameter."""
    files, given = [], {}
    for word in words:
        match = _ASSIGNMENT.match(word)
        if match:
            if match.group(1) in given:
                raise typer.BadParameter(f"{match.group(1)} is given twice")
            given[match.group(1)] = match.group(2)
        else:
            files.append(Path(word))
    if not files:
        raise typer.BadParameter("name at least one launch file, such as launch/hospital.launch.yaml")
    return files, given


class _Screen:
    """Prefixed, coloured lines for people, or one JSON object per line."""

    def __init__(self, names: list[str], out: TextIO, as_json: bool) -> None:
        self._out, self._json = out, as_json
        self._colour = out.isatty() and "NO_COLOR" not in os.environ
        self._width = max((len(n) for n in names), default=0)
        self._index = {name: i for i, name in enumerate(names)}

    def show(self, event: Event) -> None:
        if self._json:
            record = {"event": type(event).__name__.lower(), "t": time.monotonic_ns(), **asdict(event)}
            if isinstance(event, Ended):
                record["why"] = event.why
            self._write(json.dumps(record))
        elif isinstance(event, Line):
            self._write(f"{self._prefix(event.name)} {event.text}")
        elif isinstance(event, Started):
            self._write(f"{self._prefix(event.name)} started, pid {event.pid}")
        elif isinstance(event, Escalated):
            self._write(f"{self._prefix(event.name)} did not end; sent {event.signal}")
        elif event.expected and event.clean:
            self._write(f"{self._prefix(event.name)} ended")
        else:
            text = f"{event.name} (pid {event.pid}) {event.why}"
            if not event.expected:
                text += "; nothing is restarted, the others go on"
            self._write(f"\x1b[1;31m{text}\x1b[0m" if self._colour else f"*** {text}")

    def say(self, text: str) -> None:
        self._write(json.dumps({"event": "note", "text": text}) if self._json else text)

    def _prefix(self, name: str) -> str:
        label = f"[{name}]".ljust(self._width + 2)
        if not self._colour:
            return label
        return f"\x1b[{COLOURS[self._index.get(name, 0) % len(COLOURS)]}m{label}\x1b[0m"

    def _write(self, text: str) -> None:
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except (BrokenPipeError, ValueError):
            self._out = io.StringIO()  # whoever read us is gone; the processes still have to be ended


def supervise(what: Plan, *, json_events: bool = False, out: TextIO | None = None) -> int:
    """Run a plan until everything ended or a signal came; gives the exit code (0, 1 or 130)."""
    runner = Runner(what.processes)
    screen = _Screen([p.name for p in what.processes], out or sys.stdout, json_events)
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    interrupts: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {s: signal.signal(s, lambda number, _frame: interrupts.append(number)) for s in numbers}
    wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    seen = 0
    try:
        swept = shm.clean()
        if swept:
            screen.say(f"removed {swept} shared-memory files of dead participants from {shm.SHM}")
        for event in runner.start():
            screen.show(event)
        runner.watch(read_end)
        while not runner.finished:
            for event in runner.poll(timeout_s=3600.0):
                screen.show(event)
            if len(interrupts) > seen:
                _drain(read_end)
                seen = len(interrupts)
                if runner.stopping:
                    screen.say("killing what is left")
                    runner.kill()
                else:
                    screen.say(f"{signal.Signals(interrupts[0]).name}: ending {', '.join(runner.alive())}")
                    runner.stop()
    except BaseException:
        runner.kill()
        raise
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
        shm.clean(min_age_s=2.0)  # younger ones may be those of a site that is just starting
    failed = [e for e in runner.ended if not e.clean]
    if failed:
        screen.say("failed: " + "; ".join(f"{e.name} {e.why}" for e in failed))
        return 1
    return 130 if interrupts else 0


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 512):
            pass
    except BlockingIOError:
        pass


@app.command(epilog="Example:  longhand up launch/hospital.launch.yaml site:=a domain:=41 local_control:=true")
def up(
    words: Annotated[list[str], typer.Argument(metavar="FILE... [ARG:=VALUE]...", help="launch files and arguments")],
    json_events: Annotated[bool, typer.Option("--json-events", help="one JSON object per event on stdout")] = False,
    show_args: Annotated[bool, typer.Option("--show-args", "-s", help="list the files' arguments and end")] = False,
    show_plan: Annotated[bool, typer.Option("--dry-run", help="print what would be started and end")] = False,
) -> None:
    """Start everything a launch file describes."""
    files, given = split_words(words)
    if show_args:
        _show_arguments(files, given)
        return
    try:
        what = plan(files, given, here())
    except LaunchFileError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if show_plan:
        for p in what.processes:
            env = " ".join(f"{k}={v}" if v is not None else f"-u {k}" for k, v in p.env.items())
            print(f"[{p.name}] {env} {' '.join(p.argv)}".replace("  ", " "))
        return
    if not what.processes:
        print("nothing to start: the launch files describe no process with these arguments", file=sys.stderr)
        raise typer.Exit(1)
    raise typer.Exit(supervise(what, json_events=json_events))


def _show_arguments(files: list[Path], given: dict[str, str]) -> None:
    """Arguments of the files, also when a required one is not given."""
    from teleop.launch.document import Fields, Scalar, read_launch_file

    for file in files:
        for action in read_launch_file(file):
            if action.kind != "arg" or not isinstance(action.body, Fields):
                continue
            fields = {k: v.text for k, v in action.body.values.items() if isinstance(v, Scalar)}
            default = fields.get("default")
            print(f"{fields.get('name', '?')}:={'(required)' if default is None else repr(default)}"
                  f"  {fields.get('description', '')}")
