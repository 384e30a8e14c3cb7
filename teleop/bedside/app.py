"""The web face of the bedside: one page, one websocket, the same headers and sign-in as the console."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from teleop.bedside.room import ORDERS, TableSide
from teleop.console.app import STATIC, Guard, page_file, same_origin
from teleop.console.fanout import Outbox, Overflow
from teleop.console.hub import pack
from teleop.console.journal import Journal
from teleop.console.pacing import wake_or
from teleop.console.signin import Tokens

FRAME_S, FRAME_IDLE_S = 0.03, 0.1


class BedsideServer:
    """Pages at the table of one site."""

    def __init__(self, side: TableSide, tokens: Tokens, journal: Journal, case_folder: Any = None) -> None:
        self.side, self.tokens, self.journal = side, tokens, journal
        self.case_folder = case_folder
        self.pages: dict[str, tuple[str, Outbox]] = {}
        self._n = 0

    def app(self, hosts: frozenset[str] = frozenset()) -> ASGIApp:
        async def root(request: Request) -> Response:
            return RedirectResponse("/bedside")

        async def image(request: Request) -> Response:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            if kind != "Bearer" or self.tokens.who(token) is None:
                return JSONResponse({"error": "sign in first"}, 401)
            path = self.case_folder and self.case_folder / "images" / f"{request.path_params['name']}.lhv.gz"
            if not path or not request.path_params["name"].replace("-", "").isalnum() or not path.is_file():
                return JSONResponse({"error": "no images here"}, 404)
            return FileResponse(path, media_type="application/octet-stream", headers={"content-encoding": "gzip"})

        @asynccontextmanager
        async def life(app: Starlette) -> AsyncIterator[None]:
            tasks = [asyncio.create_task(self.side.run()), asyncio.create_task(self._frames())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.journal.close()

        routes = [
            Route("/", root),
            Route("/bedside", page_file("bedside.html")),
            Route("/images/{name}", image),
            WebSocketRoute("/ws", self.socket),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return Guard(Starlette(routes=routes, lifespan=life), hosts)

    async def _frames(self) -> None:
        while True:
            await wake_or(self.side.changed, FRAME_IDLE_S)
            self._n += 1
            packed = pack({"t": "frame", "n": self._n, **self.side.frame()})
            for _, outbox in self.pages.values():
                outbox.offer_frame(packed)
            await asyncio.sleep(FRAME_S)

    async def socket(self, ws: WebSocket) -> None:
        await ws.accept()
        who = None
        with contextlib.suppress(TimeoutError, ValueError, KeyError, WebSocketDisconnect, msgpack.UnpackException):
            first = msgpack.unpackb(await asyncio.wait_for(ws.receive_bytes(), 5), raw=False)
            if same_origin(ws) and isinstance(first, dict):
                who = self.tokens.who(first.get("token"))
        if who is None:
            with contextlib.suppress(RuntimeError):
                await ws.close(4401, "open the address that the bedside server printed")
            return
        page, outbox = secrets.token_hex(8), Outbox()
        self.pages[page] = (who.name, outbox)
        outbox.post(pack({"t": "welcome", "page": page, "name": who.name, "role": "bedside", "site": self.side.site}))
        sender = asyncio.create_task(self._send(ws, outbox))
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                message = msgpack.unpackb(await ws.receive_bytes(), raw=False)
                if not isinstance(message, dict):
                    break
                if message.get("t") == "ack":
                    outbox.acknowledge()
                elif message.get("t") == "hand":
                    if self.side.hand.sample(page, message, who.name, time.monotonic_ns()):
                        self.journal.write(self.side.hand.name, "jog", way=self.side.hand.state.mode)
                elif message.get("t") == "stop":
                    doors = self.side.stop(who.name)
                    self.journal.write(who.name, "stop", doors=doors)
                    outbox.post(pack({"t": "stopped", "doors": doors, "id": message.get("id")}))
                elif message.get("t") == "call":
                    task = asyncio.create_task(self._call(who.name, outbox, message))
                    running.add(task)
                    task.add_done_callback(running.discard)
        except (WebSocketDisconnect, KeyError, ValueError, RuntimeError, msgpack.UnpackException):
            pass
        finally:
            self.pages.pop(page, None)
            self.side.hand.page_gone(page)
            sender.cancel()

    async def _send(self, ws: WebSocket, outbox: Outbox) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, Overflow):
            while True:
                await ws.send_bytes(await outbox.next())

    async def _call(self, who: str, outbox: Outbox, message: dict[str, Any]) -> None:
        args = message.get("args") if isinstance(message.get("args"), dict) else {}
        assert isinstance(args, dict)
        name = str(args.get("name") or who)[:60]
        reply: dict[str, Any]
        if message.get("call") == "answer":
            ok = bool(args.get("ok"))
            sent = self.side.answer(int(args.get("id", 0)), ok, name, str(args.get("why", ""))[:200])
            self.journal.write(
                name, "answer", id=args.get("id"), ok=ok, why=args.get("why", ""), sent=sent, t=time.time()
            )
            reply = {"ok": sent, "error": "this question is no longer open"}
        elif message.get("call") == "order" and args.get("op") in ORDERS:
            op = str(args["op"])
            params = {k: v for k, v in args.items() if k in ("on", "why", "question")}
            if op == "case.ask_expert":
                params["by"] = name
            elif "request" in args:
                params["id"] = args["request"]
            answer = await self.side.order(op, **params)
            self.journal.write(name, "order", op=op, ok=answer.get("ok"), reason=answer.get("reason", ""))
            reply = {"ok": True, "value": {k: v for k, v in answer.items() if k not in ("t", "data")}}
        else:
            reply = {"ok": False, "error": "this is not for the bedside page"}
        outbox.post(pack({"t": "reply", "id": message.get("id"), **reply}))
