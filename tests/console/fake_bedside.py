"""The real bedside server with a governor and a desk that exist only in a test's words: prints one JSON line.

python -m tests.console.fake_bedside --dir DIR [--ct FILE]      POST /poke {status?, case?, questions?} sets what the page is told
"""

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from teleop.bedside.app import BedsideServer
from teleop.bedside.room import TableSide
from teleop.console.contracts import Principal, Role
from teleop.console.journal import Journal
from teleop.console.serve import bind, serve
from teleop.console.signin import Tokens
from teleop.console.volume import pack, store

STATUS = {
    "t": "status", "state": "READY", "stamp": 1, "epoch": 1, "rebase": 1, "holder": "", "holder_role": "", "v_cap": 0.0, "lease_id": 0,
    "loop_age_ns": 0, "blockers": [], "alarms": [], "table_blocked": "", "registration_epoch": 1, "press_floor": 0,
}  # fmt: skip


class Side(TableSide):
    """Both doors are words; what the page asks for is kept."""

    def __init__(self, site: str, folder: Path) -> None:
        super().__init__(site, folder / "no-governor.sock", folder / "no-desk.sock")
        self.told, self.asked = dict(STATUS), []  # type: ignore[var-annotated]
        self.hand._send = self.asked.append
        self.governor.up = self.desk.up = True

    async def run(self) -> None:
        while True:
            self._from_governor(self.told | {"stamp": time.monotonic_ns()})
            self.hand.tick(time.monotonic_ns())
            await asyncio.sleep(0.03)

    async def order(self, op: str, **params: object) -> dict[str, object]:
        self.asked.append({"t": "order", "op": op, **params})
        return {"ok": True, "reason": ""}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--ct", type=Path)
    args = parser.parse_args()
    side = Side("tianjin", args.dir)
    tokens = Tokens()
    token = tokens.issue(Principal("bedside", Role.VIEWER, "k"))
    if args.ct:
        from teleop.planning.images import load_ct

        ct = load_ct(args.ct)
        (args.dir / "images").mkdir(parents=True, exist_ok=True)
        name = f"ct{ct.hash()[:16]}"
        store(args.dir / "images" / f"{name}.lhv.gz", pack(np.asarray(ct.data, dtype=np.int16), ct.lps_T_ijk, sha256=ct.hash()))
        side.picture = {"id": name, "volume": name, "ct_sha256": ct.hash()}
    page = BedsideServer(side, tokens, Journal(args.dir / "bedside.jsonl"), args.dir)

    async def poke(request: Request) -> JSONResponse:
        body = await request.json()
        side.told |= body.get("status", {})
        side.case |= body.get("case", {})
        if "questions" in body:
            side.questions = {q["id"]: q | {"seen": 1 << 62} for q in body["questions"]}
        side.changed.set()
        return JSONResponse({"asked": side.asked[-60:], "pressed": bool(side.hand.state.press)})

    bedside = page.app()

    async def app(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/poke":
            await Starlette(routes=[Route("/poke", poke, methods=["POST"])])(scope, receive, send)
        else:
            await bedside(scope, receive, send)

    sock = bind("127.0.0.1", 0)
    stop = asyncio.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    said = {"url": f"http://127.0.0.1:{sock.getsockname()[1]}", "tokens": {"bedside": token}}
    await serve(app, sock, ready=lambda: print(json.dumps(said), flush=True), stop=stop)


if __name__ == "__main__":
    asyncio.run(main())
