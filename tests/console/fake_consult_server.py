"""The console server with fake hospitals that have cameras (a moving pattern, or the simulated room), for browser tests.

python -m tests.console.fake_consult_server --dir DIR [--room]
"""

import argparse
import asyncio
import json
import os
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
from teleop.case.expert_requests import OPS
from teleop.console.app import make_app
from teleop.console.contracts import Principal, Role
from teleop.console.hub import Hub
from teleop.console.journal import Journal
from teleop.console.planner_process import PlannerProcess
from teleop.console.serve import bind, serve
from teleop.console.signin import Tokens
from teleop.media.adapt import LADDER
from teleop.media.stamp import STRIP
from teleop.media.studio import Picture
from tests.console.fake_sites import ME, FakeSite


class Pattern:
    """A picture that is told apart from the next one: stripes that move, a bright square, a little noise."""

    def __init__(self) -> None:
        self.freeze: dict[str, str] = {}
        self.last: dict[str, Picture] = {}
        self.marks: dict[str, float] = {}

    def picture(self, stream: str, width: int, height: int, number: int) -> Picture:
        how = self.freeze.get(stream)
        if how == "silent":
            raise RuntimeError("the cable is out")
        if how == "hung" and stream in self.last and self.last[stream].pixels.shape == (height, width, 3):
            return Picture(self.last[stream].pixels.copy(), time.monotonic_ns())
        captured = time.monotonic_ns()
        x = np.arange(width, dtype=np.float32)
        line = 110 + 60 * np.sin((x + number * 3) / 31)
        pixels = np.repeat(np.repeat(line[None, :, None], height, axis=0), 3, axis=2)
        pixels[..., {"room": 0, "guide": 1, "ultrasound": 2}[stream]] += 50
        pixels += np.random.default_rng(number).normal(0, 3, (height, width, 1))
        made = Picture(np.clip(pixels, 0, 255).astype(np.uint8), captured, tuple(np.eye(4).ravel()) if stream == "ultrasound" else ())
        assert made.pixels.shape[0] > STRIP
        self.last[stream] = Picture(made.pixels.copy(), captured)
        return made


class County(FakeSite):
    """A hospital whose images can be fetched; its "line" takes no time."""

    async def fetch_series(self, folder: Path, progress) -> None:
        progress(1.0)


class Table(TableSide):
    """The bedside of a fake hospital: no sockets, orders about experts go to the shipped machine of the site's end."""

    def __init__(self, site: FakeSite, folder: Path) -> None:
        super().__init__(site.name, folder / "no-governor.sock", folder / "no-desk.sock")
        self.fake = site
        self.governor.up = self.desk.up = True

    async def run(self) -> None:
        while True:
            self._from_governor({"t": "status", "state": "READY", "stamp": time.monotonic_ns(), "blockers": [], "alarms": []})
            self.requests = (await self.order("case.requests"))["requests"]
            await asyncio.sleep(0.05)

    async def order(self, op: str, **params):
        return self.fake.expert(op, **params) if op in OPS else {"ok": True, "reason": ""}


def room_source(case: Path, bones: Path | None):
    from sim.pictures.cameras import nominal_view
    from sim.pictures.source import RoomSource
    from teleop.arm.model import load_model

    model = load_model()
    view = nominal_view(model)
    return RoomSource(model, lambda: (view, time.monotonic_ns()), bones, case)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--case", type=Path, help="show the simulated room, with this CT for the ultrasound")
    parser.add_argument("--bones", type=Path)
    parser.add_argument("--planning", type=Path, help="plan for real on the images of this folder")
    args = parser.parse_args()
    sites = [FakeSite("tianjin", "Hospital A"), County("karamay", "Hospital B")]
    planner = PlannerProcess("tests.console.fake_planning:make", str(args.dir))
    if args.planning:
        planner = PlannerProcess("teleop.console.planning_worker:make", str(args.dir), {args.planning.name: str(args.planning)})
    hub = Hub(list(sites), planner, args.dir)
    tokens = Tokens()
    people = [("dr.li", Role.SURGEON), ("dr.chen", Role.MENTOR), ("dr.sato", Role.EXPERT), ("student", Role.OBSERVER), ("county", Role.BEDSIDE)]
    issued = {name: tokens.issue(Principal(name, role, "k")) for name, role in people}
    sources = {s.name: room_source(args.case, args.bones) if args.case and s is sites[0] else Pattern() for s in sites}
    trunks: dict = {}

    def bring(desk) -> None:
        from teleop.console.media import LocalTrunk

        for site in sites:
            desk.trunks[site.name] = trunks[site.name] = LocalTrunk(sources[site.name])

    hub.together.bring_trunks = bring

    async def poke(request: Request) -> JSONResponse:
        body = await request.json()
        site = next(s for s in sites if s.name == body.get("site", "tianjin"))
        for key, value in body.get("set", {}).items():
            setattr(site, key, value)
        if body.get("do") == "grant":
            site.register()
            site.holder, site.state = ME, "READY"
        if "freeze" in body:
            sources[site.name].freeze = body["freeze"]
        if "rung" in body:
            trunks[site.name].set_rung(next(n for n, r in enumerate(LADDER) if r.name == body["rung"]))
        if "places" in body:
            hub.together.media().places = body["places"]
        if "expire" in body:
            from dataclasses import replace

            state = hub.together.state
            gone = {k: replace(i, expires=time.time() - 1) if i.name == body["expire"] else i for k, i in state.invitations.items()}
            hub.together.state = replace(state, invitations=gone)
        media = hub.together._media
        journal = (args.dir / "journal.jsonl").read_text().splitlines()
        return JSONResponse(
            {
                "stops": site.stops,
                "echo": site.intents[-1][1].echo_state if site.intents else None,
                "echo_view": site.intents[-1][1].echo_view if site.intents else None,
                "views": [i.echo_view for _, i in site.intents],
                "now": time.monotonic_ns(),
                "viewers": media.people() if media else {},
                "media": media.status() if media else {},
                "counts": {n: t.switch.counts for n, t in trunks.items()},
                "busy": {n: t.studio.busy_s for n, t in trunks.items()},
                "cpu": time.process_time(),
                "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
                "journal": [json.loads(line) for line in journal[-int(body.get("lines", 60)) :]],
                "blocks": {s.name: len(s.blocks) for s in media.voices._seats.values()} if media else {},
                "speaking": media.voices.speaking() if media else {},
            },
            headers={"access-control-allow-origin": "*"},
        )

    console = make_app(hub, tokens, args.dir)
    table = Table(sites[1], args.dir)
    table_tokens = Tokens()
    table_token = table_tokens.issue(Principal("bedside", Role.VIEWER))
    table_sock = bind("127.0.0.1", 0)
    table_url = f"http://127.0.0.1:{table_sock.getsockname()[1]}/bedside#t={table_token}"
    bedside = BedsideServer(table, table_tokens, Journal(args.dir / "bedside.jsonl"), args.dir).app()

    class Life:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http" and scope["path"] == "/poke":
                await Starlette(routes=[Route("/poke", poke, methods=["POST"])])(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    sock = bind("127.0.0.1", 0)
    stop = asyncio.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)

    def ready() -> None:
        print(json.dumps({"url": f"http://127.0.0.1:{sock.getsockname()[1]}", "tokens": issued, "table": table_url}), flush=True)

    await asyncio.gather(serve(Life(console), sock, ready=ready, stop=stop), serve(bedside, table_sock, stop=stop))


if __name__ == "__main__":
    asyncio.run(main())
