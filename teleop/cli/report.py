"""`longhand report`: A log as one self-contained document (HTML or PDF), network-related events first."""

from pathlib import Path
from typing import Annotated

import typer

from safety.log.keys import load_public
from safety.log.verify import Trusted, verify
from safety.log.walk import NotALog

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: longhand report out/logs/a.mcap -o a.html      longhand report a.mcap -o a.pdf --roles out/keys")
def main(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Session log.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="report.html or report.pdf.")],
    roles: Annotated[Path | None, typer.Option(help="roles.toml with the sites' public keys to trust.")] = None,
    key: Annotated[list[Path] | None, typer.Option(help="Public key file of a site to trust.")] = None,
    replay: Annotated[bool, typer.Option(help="Replay every decision and say whether they are the same.")] = True,
) -> None:
    """Verify, replay and summarise one log. Exit code 3 when the log was tampered with (the report says so too)."""
    from teleop.cli.verify import trusted_from_roles
    from teleop.review.data import ReviewLog
    from teleop.review.report import html_report, write_pdf

    if out.suffix not in (".html", ".pdf"):
        typer.echo(f"usage: {out}: name it .html or .pdf", err=True)
        raise typer.Exit(2)
    try:
        trusted: list[Trusted] = [load_public(path) for path in key or []]
        trusted += trusted_from_roles(roles) if roles else []
        verdict = verify([log], trusted)
        text = html_report(ReviewLog(log), verdict.to_json(), with_replay=replay)
        if out.suffix == ".html":
            out.write_text(text, encoding="utf-8")
        else:
            write_pdf(text, out)
    except (NotALog, OSError, ValueError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{out}: {out.stat().st_size / 1e3:.0f} kB, log {verdict.end}", err=True)
    raise typer.Exit(3 if verdict.exit_code == 3 else 0)
