"""The web face: static pages, images, uploads and the websocket, with the headers that keep a page to itself."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from teleop.console import consult_calls  # noqa: F401  (registers its calls)
from teleop.console.calls import dispatch, motion_rights
from teleop.console.cockpit import Cockpit
from teleop.console.contracts import ConsoleError, Principal
from teleop.console.fanout import Ended, Overflow
from teleop.console.hub import Hub, Page, pack
from teleop.console.intake import Intake, TooLarge
from teleop.console.permissions import may
from teleop.console.signin import Tokens

STATIC = Path(__file__).parent / "static"
#: Largest websocket message from a page: a plan file to import.
MAX_MESSAGE = 5_000_000
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(self), geolocation=(), gamepad=(self), hid=(self), xr-spatial-tracking=(self)",
}
log = logging.getLogger("longhand.console")


class Guard:
    """Adds the headers to every answer and refuses foreign Host names (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self.hosts and asked.rsplit(":", 1)[0].strip("[]") not in self.hosts:
            if scope["type"] == "http":
                await Response("unknown host name\n", 421)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = list(message.get("headers", []))
                raw += [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": raw}
            await send(message)

        await self.app(scope, receive, with_headers)


def page_file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return FileResponse(STATIC / name, headers={"cache-control": "no-cache"})

    return answer


def make_app(
    hub: Hub, tokens: Tokens, cache: Path, hosts: frozenset[str] = frozenset(), max_upload: int | None = None
) -> ASGIApp:
    """The console application. `hosts`: names under which it answers (empty: any)."""
    tokens.guests = hub.together.guest
    intake = Intake(cache, max_upload) if max_upload else Intake(cache)
    cockpit = Cockpit(hub)

    def bearer(request: Request) -> Principal | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return tokens.who(token) if kind == "Bearer" else None

    async def image(request: Request) -> Response:
        who = bearer(request)
        if who is None:
            return JSONResponse({"error": "sign in first"}, 401)
        name = request.path_params["name"]
        path = cache / "images" / f"{name}.lhv.gz"
        if not name.replace("-", "").isalnum() or not path.is_file():
            return JSONResponse({"error": "these images are not open any more: choose the case again"}, 404)
        return FileResponse(
            path,
            media_type="application/octet-stream",
            headers={"content-encoding": "gzip", "cache-control": "private, max-age=3600"},
        )

    async def upload_begin(request: Request) -> Response:
        who = bearer(request)
        if who is None or not may(who, "cases.open"):
            return JSONResponse({"error": "your role may not upload images"}, 403)
        return JSONResponse({"id": intake.begin().id})

    async def upload_file(request: Request) -> Response:
        who = bearer(request)
        if who is None or not may(who, "cases.open"):
            return JSONResponse({"error": "your role may not upload images"}, 403)
        declared = request.headers.get("content-length")
        try:
            await intake.add(
                request.path_params["id"],
                request.headers.get("x-file-name", "")[:300],
                int(declared) if declared and declared.isdigit() else None,
                request.stream(),
            )
        except TooLarge as error:
            return JSONResponse({"error": str(error)}, 413, headers={"connection": "close"})
        except ConsoleError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"ok": True})

    async def upload_finish(request: Request) -> Response:
        who = bearer(request)
        if who is None or not may(who, "cases.open"):
            return JSONResponse({"error": "your role may not upload images"}, 403)
        try:
            upload = intake.finish(request.path_params["id"])
        except ConsoleError as error:
            return JSONResponse({"error": str(error)}, 400)
        hub.journal.write(who.name, "upload", id=upload.id, files=upload.files, bytes=upload.bytes)
        return JSONResponse({"source": {"kind": "upload", "id": upload.id}})

    async def mesh(request: Request) -> Response:
        if bearer(request) is None:
            return JSONResponse({"error": "sign in first"}, 401)
        site = hub.sites.get(request.path_params["site"])
        files: dict[str, str] = site.robot().get("files", {}) if site else {}
        path = files.get(request.path_params["name"])
        if path is None:
            return JSONResponse({"error": "no such part"}, 404)
        return FileResponse(
            path, media_type="application/octet-stream", headers={"cache-control": "private, max-age=86400"}
        )

    async def socket(ws: WebSocket) -> None:
        await serve_page(ws, hub, tokens)

    async def stop(request: Request) -> Response:
        """STOP's second door: not behind whatever the page has in its websocket's queue."""
        who = bearer(request)
        if who is None:
            return JSONResponse({"error": "sign in first"}, 401)
        try:
            raw = await asyncio.wait_for(request.body(), 2.0)
            message = json.loads(raw) if len(raw) < 2000 else {}
        except (TimeoutError, ValueError):
            message = {}  # a stop that cannot be read is a stop of everything in hand
        message = message if isinstance(message, dict) else {}
        site = message.get("site")
        return JSONResponse({"sites": hub.stop(who.name, site if site in hub.sites else None, once_of(message))})

    async def root(request: Request) -> Response:
        return RedirectResponse("/console")

    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "pages": len(hub.pages), "sites": list(hub.sites)})

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        await hub.start()
        hub.together.start()
        looking = asyncio.create_task(cockpit.run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await hub.close()

    routes = [
        Route("/", root),
        Route("/console", page_file("console.html")),
        Route("/consult", page_file("console.html")),
        Route("/healthz", health),
        Route("/images/{name}", image),
        Route("/stop", stop, methods=["POST"]),
        Route("/uploads", upload_begin, methods=["POST"]),
        Route("/uploads/{id}", upload_file, methods=["PUT"]),
        Route("/uploads/{id}/finish", upload_finish, methods=["POST"]),
        Route("/robot/{site}/{name}", mesh),
        *cockpit.routes(tokens),
        WebSocketRoute("/ws", socket),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes, lifespan=life), hosts)


def same_origin(ws: WebSocket) -> bool:
    """A browser always sends Origin; it must be our own page. (Programs without one still need a token.)"""
    origin = ws.headers.get("origin")
    return origin is None or origin.split("://", 1)[-1] == ws.headers.get("host", "")


async def serve_page(ws: WebSocket, hub: Hub, tokens: Tokens) -> None:
    """One page's websocket: sign-in first, then messages until it closes."""
    await ws.accept()
    if not same_origin(ws):
        await ws.close(1008, "foreign page")
        return
    try:
        first = msgpack.unpackb(await asyncio.wait_for(ws.receive_bytes(), 5), raw=False)
        who = tokens.who(first.get("token")) if isinstance(first, dict) and first.get("t") == "hello" else None
        page_id = str(first.get("page", ""))[:40] if isinstance(first, dict) else ""
    except (TimeoutError, ValueError, KeyError, WebSocketDisconnect, msgpack.exceptions.UnpackException):
        who, page_id, first = None, "", {}
    if who is None or not page_id or page_id in hub.pages:
        over = hub.together.why_not(first.get("token") if isinstance(first, dict) else None)
        with suppress(RuntimeError):
            await ws.close(4403 if over else 4401, over[:120] or "sign in with the address that the server printed")
        return
    if words := hub.together.door(who):
        hub.journal.write(who.name, "page.refused", why=words)
        with suppress(RuntimeError):
            await ws.close(4429, words[:120])
        return
    hub.together.hosts[page_id] = ws.client.host if ws.client else "127.0.0.1"
    page = hub.enter(page_id, who)
    sender = asyncio.create_task(send_all(ws, page))
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            data = await ws.receive_bytes()
            if len(data) > MAX_MESSAGE:
                break
            try:
                message = msgpack.unpackb(data, raw=False)
            except ValueError:
                break  # a page that sends what is not msgpack is not our page
            if isinstance(message, dict):
                handle(hub, page, message, running)
    except (WebSocketDisconnect, KeyError, RuntimeError):
        pass
    finally:
        hub.leave(page)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


def handle(hub: Hub, page: Page, message: dict[str, Any], running: set[asyncio.Task[None]]) -> None:
    """One message from a page. Stops and deadman samples are handled here and now, calls in their own task."""
    kind = message.get("t")
    if kind == "ack":
        hub.acknowledge(page, message.get("drawn"))
        hub.together.shown(page.id, message.get("views"))
    elif kind == "hand":
        if motion_rights(page):
            hub.hand_sample(page, message)
    elif kind == "master":
        if motion_rights(page):
            hub.master(page, message)
    elif kind == "stop":
        site = message.get("site")
        stopped = hub.stop(page.who.name, site if isinstance(site, str) and site in hub.sites else None, once_of(message))
        page.outbox.post(pack({"t": "stopped", "sites": stopped, "id": message.get("id")}))
    elif kind == "call":
        task = asyncio.get_running_loop().create_task(answer(hub, page, message))
        running.add(task)
        task.add_done_callback(running.discard)


def once_of(message: dict[str, Any]) -> str:
    """The page's name for this press of STOP, "" when it gives none that can be one."""
    once = message.get("once")
    return once if isinstance(once, str) and len(once) <= 64 else ""


async def answer(hub: Hub, page: Page, message: dict[str, Any]) -> None:
    reply: dict[str, Any] = {"t": "reply", "id": message.get("id")}
    try:
        reply |= {"ok": True, "value": await dispatch(hub, page, message.get("call"), message.get("args"))}
    except ConsoleError as error:
        reply |= {"ok": False, "error": str(error)}
    except (TypeError, ValueError, KeyError, IndexError) as error:
        log.exception("call %s failed", message.get("call"))
        reply |= {"ok": False, "error": f"this could not be done ({type(error).__name__}); the server's log says more"}
    page.outbox.post(pack(reply))


async def send_all(ws: WebSocket, page: Page) -> None:
    try:
        while True:
            await ws.send_bytes(await page.outbox.next())
    except Overflow as error:
        await ws.close(error.code if isinstance(error, Ended) else 1013, str(error)[:120])
    except (WebSocketDisconnect, RuntimeError):
        pass
