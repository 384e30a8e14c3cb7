"""The bedside page of one hospital.

    python -m teleop.bedside --config SITE.toml [--port 8710] [--host 127.0.0.1] [--tls-cert F --tls-key F]

Prints the address with its token; the token file (0600) in the site's run folder keeps it for the next start.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from teleop.bedside.app import BedsideServer
from teleop.bedside.images import prepare_images
from teleop.bedside.room import TableSide
from teleop.case.site_config import SiteConfigError, load_site_config
from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.journal import Journal
from teleop.console.serve import bind, check_tls, serve
from teleop.console.signin import Tokens

#: Where a site's page listens unless told: its block of ports, +80.
PORT_OFFSET = 80


async def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    config = load_site_config(args.config)
    check_tls(args.tls_cert, args.tls_key, args.host)
    sock = bind(args.host, config.base_port + PORT_OFFSET if args.port is None else args.port)
    tokens = Tokens()
    token = tokens.issue(Principal(args.who, Role.VIEWER))
    side = TableSide(config.site, config.governor_socket, config.run_dir / "bedside.sock")
    page = BedsideServer(side, tokens, Journal(config.log_dir / "bedside.jsonl"), config.run_dir)
    if config.case_dir is not None:
        side.picture = await asyncio.to_thread(prepare_images, config.case_dir, config.run_dir / "images")
    scheme = "https" if args.tls_cert else "http"
    url = f"{scheme}://{args.host}:{sock.getsockname()[1]}/bedside#t={token}"
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready() -> None:
        if args.address_file is not None:
            partial = args.address_file.with_suffix(".partial")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"site": config.site, "url": url}, file)
            partial.replace(args.address_file)
        print(
            json.dumps({"site": config.site, "url": url}) if args.json else f"bedside of {config.site}: {url}",
            flush=True,
        )

    await serve(page.app(), sock, args.tls_cert, args.tls_key, ready, stop)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="teleop.bedside", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    parser.add_argument("--port", type=int, default=None, help="default: the site's block of ports + 80")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--who", default="bedside", help="name until somebody writes their own on the page")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--address-file", type=Path, help="write the address there too (0600), for a starter to read")
    parser.add_argument("--json", action="store_true", help="print one JSON line with the address")
    try:
        return asyncio.run(run(parser.parse_args(argv)))
    except (ConsoleError, SiteConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
