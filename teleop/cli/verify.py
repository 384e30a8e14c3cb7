"""`longhand verify`: Is a session log what was recorded? Clean, cut off, or tampered with, and where."""

import json
from pathlib import Path
from typing import Annotated

import typer

from safety.log.keys import load_public
from safety.log.verify import CLEAN, FileReport, NotALog, Report, Trusted, verify

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: longhand verify out/logs/*.mcap --roles out/keys/roles.toml")
def main(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Session logs of one session, one per site.")],
    roles: Annotated[Path | None, typer.Option(help="roles.toml with the sites' public keys to trust.")] = None,
    key: Annotated[list[Path] | None, typer.Option(help="Public key file of a site to trust (PEM, raw or hex).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Check hash chain, signatures, index and summary of session logs, and logs of several sites against each other.

    Exit codes: 0 clean, 1 unclean end (cut off) or error, 2 usage, 3 tampered with.
    """
    try:
        trusted: list[Trusted] = [load_public(path) for path in key or []]
        if roles is not None:
            trusted += trusted_from_roles(roles)
        report = verify(logs, trusted)
    except (NotALog, OSError, ValueError) as error:
        _fail(error, json_)
    if json_:
        print(json.dumps(report.to_json()))
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


def trusted_from_roles(path: Path) -> list[Trusted]:
    """(name, Ed25519 key) of everybody in a role table, or in the directory that holds one: each may sign a log of its own
    name only, a hospital its, a console its. Raises ValueError, OSError."""
    from teleop.link.errors import KeyRefused
    from teleop.link.keys import load_roles

    try:
        return [(p.name, bytes.fromhex(p.ed25519)) for p in load_roles(path).principals.values()]
    except KeyRefused as error:
        raise ValueError(str(error)) from None


def _fail(error: Exception, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": False, "end": "error", "records": 0, "first_bad": None, "error": str(error)}))
    else:
        typer.echo(f"error: {error}", err=True)
    raise typer.Exit(1)


def _print(report: Report) -> None:
    for file in report.files:
        print(f"{file.path}: {file.end.upper()}")
        for line in _lines(file):
            print(f"  {line}")
    if len(report.files) > 1:
        print(f"between the logs: {report.witnessed} checkpoints of one found in another, {len(report.cross)} contradictions")
        for line in report.cross:
            print(f"  TAMPERED: {line}")


def _lines(file: FileReport) -> list[str]:
    seconds = (file.last_mono - file.first_mono) / 1e9
    lines = [
        f"site {file.site}, arm {file.arm}, session {file.session}",
        f"{file.records} records, {file.messages} messages, {seconds:.1f} s, {file.checkpoints} signed checkpoints",
        f"site key {file.site_key[:16]}... " + ("(trusted)" if file.key_pinned else "(taken from the log itself: give --roles)"),
    ]
    if file.gaps:
        lines.append(f"{file.gaps} gaps, {file.dropped} messages missing (recorded as such)")
    if file.close_reason is not None:
        lines.append(f"closed: {file.close_reason}")
    if file.first_bad is not None:
        bad = file.first_bad
        lines.append(f"at byte {bad.byte}, behind record {bad.record}: {bad.what}")
    if file.end != CLEAN:
        lines.append(f"vouched for: the first {file.signed} records")
    return lines
