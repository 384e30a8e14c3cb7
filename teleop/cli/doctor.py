"""Say what is missing on this machine: Python, compiler, libraries, messages, ports, real-time, shared memory, disk."""

import json
import sys
from typing import Annotated

import typer

from teleop.site.doctor import BAD, GOOD, Check, run_checks

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_MARK = {GOOD: "ok  ", BAD: "MISS"}


def _line(check: Check) -> str:
    mend = f"\n       -> {check.mend}" if check.mend else ""
    return f"{_MARK.get(check.level, 'note')}  {check.name:<16} {check.found}{mend}"


@app.command(epilog="Example:  longhand doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    index: Annotated[int, typer.Option(min=0, max=500, help="check the ports of this site number (blocks from 7400)")] = 0,
) -> None:
    """Say what is missing, and how to mend it. Exit code 1 if something needed is missing."""
    checks = run_checks(index)
    if as_json:
        print(json.dumps([{"name": c.name, "level": c.level, "found": c.found, "mend": c.mend} for c in checks], indent=1))
    else:
        for check in checks:
            print(_line(check))
        bad = [c.name for c in checks if c.level == BAD]
        print("\nnothing needed is missing" if not bad else f"\nmissing: {', '.join(bad)}")
    sys.stdout.flush()
    raise typer.Exit(1 if any(c.level == BAD for c in checks) else 0)
