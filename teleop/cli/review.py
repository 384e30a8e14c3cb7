"""`longhand review`: The reviewer's page: time line, plots, 3-D, decisions and notes over session logs."""

import os
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from safety.log.keys import load_public
from safety.log.walk import NotALog, Trusted

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: longhand review out/logs/*.mcap --roles out/keys --open")
def main(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Session logs of one session.")],
    roles: Annotated[Path | None, typer.Option(help="roles.toml with the sites' public keys to trust.")] = None,
    key: Annotated[list[Path] | None, typer.Option(help="Public key file of a site to trust.")] = None,
    case: Annotated[Path | None, typer.Option(help="Case folder, to show the vertebrae.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1 (0: a free one).")] = 0,
    reviewer: Annotated[str, typer.Option(help="Who writes notes.")] = "",
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the default browser.")] = False,
) -> None:
    """Serve the page on this machine until Ctrl-C and print its address. Verifies the logs in the background."""
    import uvicorn

    from teleop.cli.verify import trusted_from_roles
    from teleop.review.server import Review, make_app

    began = time.monotonic()
    try:
        trusted: list[Trusted] = [load_public(path) for path in key or []]
        trusted += trusted_from_roles(roles) if roles else []
        key_file = Path(os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config"))) / "longhand" / "reviewer.ed25519"
        review = Review(logs, trusted, case, reviewer or os.environ.get("USER", ""), key_file)
        listener = socket.create_server(("127.0.0.1", port))
    except (NotALog, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    review.start_verifying()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/replay#token={review.token}"
    print(address, flush=True)
    typer.echo(f"opened in {time.monotonic() - began:.1f} s; Ctrl-C ends", err=True)
    if open_:
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(make_app(review), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
