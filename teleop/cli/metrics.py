"""`longhand metrics`: figures of this machine's hospitals for Prometheus.

Example:

    longhand metrics --config /etc/longhand/a/site.toml --port 9464
"""

import select
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: longhand metrics --config /etc/longhand/a/site.toml --port 9464")
def command(
    config: Annotated[list[Path], typer.Option(help="a site's TOML file; repeatable")],
    port: Annotated[int, typer.Option(help="port to listen on; 0: any free one, said on stderr")] = 9464,
    host: Annotated[str, typer.Option(help="address to listen on; the figures are not secret, but nobody's business either")] = "127.0.0.1",
    expect: Annotated[str, typer.Option(help="processes that should run, by comma")] = "arm,governor,adapter,gateway,case,recorder",
    once: Annotated[bool, typer.Option("--once", help="print the figures once and end")] = False,
) -> None:
    """Serve /metrics until Ctrl-C. Exit codes: 0 ended, 1 error (no such file, port in use), 2 usage."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, start_http_server

    from teleop.case.site_config import load_site_config
    from teleop.cockpit.site_exporter import PROCESSES, SiteCollector, SiteProbe

    names = tuple(n.strip() for n in expect.split(",") if n.strip())
    unknown = [n for n in names if n not in PROCESSES]
    if unknown:
        print(f"metrics: --expect {unknown[0]}: not one of {', '.join(PROCESSES)}", file=sys.stderr)
        raise typer.Exit(2)
    probes = [SiteProbe(load_site_config(c), c) for c in config]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(SiteCollector(probes, names))
    try:
        if once:
            for _ in range(20):  # a governor at rest says its status ten times a second
                _turn(probes)
                if all(p.fresh for p in probes):
                    break
            sys.stdout.write(generate_latest(registry).decode())
            return
        try:
            server, _ = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            print(f"metrics: cannot listen on {host}:{port} ({error.strerror}): choose another with --port", file=sys.stderr)
            raise typer.Exit(1) from None
        print(f"metrics of {', '.join(p.config.site for p in probes)}: http://{host}:{server.server_port}/metrics", file=sys.stderr, flush=True)
        ended: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda n, _: ended.append(n))
        while not ended:
            _turn(probes)
        server.shutdown()
    finally:
        for p in probes:
            p.close()


def _turn(probes: list["SiteProbe"]) -> None:  # type: ignore[name-defined]  # noqa: F821
    for p in probes:
        p.poll()
    select.select([], [], [], 0.1)
