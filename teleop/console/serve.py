"""Run an application under uvicorn until told to end: address, TLS, and errors that say what to do."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from teleop.console.contracts import ConsoleError


def bind(host: str, port: int) -> socket.socket:
    """A bound socket (port 0: any). Raises ConsoleError when the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConsoleError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from None
    return sock


def check_tls(cert: Path | None, key: Path | None, host: str) -> None:
    """Both or none; away from this machine TLS is a must, for tokens and images travel here."""
    if (cert is None) != (key is None):
        raise ConsoleError("--tls-cert and --tls-key go together")
    if cert is None and host not in ("127.0.0.1", "::1", "localhost"):
        raise ConsoleError(
            f"listening on {host} needs --tls-cert and --tls-key: tokens and images would travel readable"
        )
    if cert is not None and key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise ConsoleError(f"the certificate or key cannot be used: {error}") from None


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    cert: Path | None = None,
    key: Path | None = None,
    ready: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve on a bound socket until `stop` is set or a signal comes."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws_max_size=5_000_000,
        ws_per_message_deflate=False,
        ws="websockets-sansio",
        ssl_certfile=str(cert) if cert else None,
        ssl_keyfile=str(key) if key else None,
        timeout_graceful_shutdown=2,
        ws_ping_interval=5,
        ws_ping_timeout=5,
        server_header=False,
    )
    server = uvicorn.Server(config)
    if stop is not None:
        # The caller's own signal handlers set `stop`; uvicorn's would replace them and hide who asked.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if ready is not None and server.started:
        ready()
    if stop is not None:
        waiter = asyncio.create_task(stop.wait())
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        server.should_exit = True
    await task
