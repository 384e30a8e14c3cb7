"""The real console server with fake hospitals and fake planning, as a process for a browser: prints one JSON line.

python -m tests.console.fake_server --dir DIR
"""

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from teleop.console.app import make_app
from teleop.console.contracts import Principal, Role
from teleop.console.hub import Hub
from teleop.console.planner_process import PlannerProcess
from teleop.console.serve import bind, serve
from teleop.console.signin import Tokens
from tests.console.fake_sites import ME, FakeSite


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-upload", type=int, default=20_000_000)
    parser.add_argument("--planning", type=Path, help="plan for real on the images of this folder (pictures for the documentation)")
    args = parser.parse_args()
    sites = [
        FakeSite("tianjin", "Hospital A"),
        FakeSite("karamay", "Hospital B"),
        FakeSite("zhangjiakou", "Hospital C"),
    ]
    planner = PlannerProcess("tests.console.fake_planning:make", str(args.dir))
    if args.planning:
        folders = {args.planning.name: str(args.planning)}
        planner = PlannerProcess("teleop.console.planning_worker:make", str(args.dir), folders)
    hub = Hub(list(sites), planner, args.dir)
    tokens = Tokens()
    people = [("dr.li", Role.SURGEON), ("dr.chen", Role.EXPERT), ("dr.sato", Role.EXPERT), ("student", Role.VIEWER)]
    issued = {name: tokens.issue(Principal(name, role, "k")) for name, role in people}
    by_name = {s.name: s for s in sites}

    async def poke(request: Request) -> JSONResponse:
        """The test's hand behind the scenes: change a fake hospital, read what reached it."""
        body = await request.json()
        site = by_name[body.get("site", "tianjin")]
        for key, value in body.get("set", {}).items():
            setattr(site, key, value)
        if body.get("do") == "register":
            site.register()
        if body.get("do") == "grant":
            site.epoch, site.rebase, site.holder = site.epoch + 1, site.rebase + 1, ME
            site._go("READY")
        if body.get("do") == "block":
            time.sleep(float(body["seconds"]))  # freezes the whole server on purpose
        pressed = [(t, i.press, i.mode) for t, i in site.intents if i.press]
        return JSONResponse(
            {
                "state": site.state,
                "stops": site.stops,
                "moved_mm": site.moved_mm,
                "presses": len(pressed),
                "last_press": pressed[-1:] or None,
                "orders": [op for op, _ in site.orders],
                "hand": hub.hand.press,
                "why": hub.hand.why,
                "holder": site.holder,
                "samples": [s for _, _, s in list(site.samples)[-12:]],
                "devices": sorted({i.device for _, i in site.intents if i.press and i.device}),
                "settings": site.settings,
                "setpoint": site.setpoint,
                "now": time.monotonic_ns(),
                "echo": site.intents[-1][1].echo_state if site.intents else None,
            }
        )

    console = make_app(hub, tokens, args.dir, max_upload=args.max_upload)

    class Life:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http" and scope["path"] == "/poke":
                await Starlette(routes=[Route("/poke", poke, methods=["POST"])])(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    sock = bind("127.0.0.1", args.port)
    port = sock.getsockname()[1]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)

    def ready() -> None:
        print(json.dumps({"url": f"http://127.0.0.1:{port}", "tokens": issued}), flush=True)

    await serve(Life(console), sock, ready=ready, stop=stop)


if __name__ == "__main__":
    asyncio.run(main())
