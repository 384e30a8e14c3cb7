"""The cockpit of the console server: looks at every site twenty times a second, keeps tallies, warns early, tells Prometheus.

`/cockpit` is the page, `/cockpit/data` its numbers (JSON, once a second), `/metrics` the same for Prometheus. Both need a token
(any role; `longhand console` writes one for Prometheus to data/metrics.token). Looks only: nothing here moves or delays an arm.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from teleop.cockpit.early_warning import LineWatch, WarningParams
from teleop.cockpit.fleet_metrics import FleetCollector, SiteFigures
from teleop.cockpit.tally import Tally
from teleop.console.contracts import SiteLink, SiteSnapshot
from teleop.console.hub import Hub
from teleop.console.signin import Tokens
from teleop.link import watch as line_watch

LOOK_S = 0.05
LINE_NS = 500_000_000
#: A state frame older than this (s) is no state: the board says "no fresh data" (idle sites send ten a second).
STALE_S = 1.0
#: Points of the trend that the page gets.
TREND_SENT = 120
STATIC = Path(__file__).parent / "static"


def line_age_s(site: SiteLink, view: SiteSnapshot, now: int) -> float | None:
    """Age of the loop as the line alone would give it now, s; in hand the governor's own loop age when that is larger."""
    link = getattr(getattr(site, "session", None), "link", None)
    measure = getattr(link, "line_age_ns", None)
    age = measure(now) if measure is not None else None
    if age is None and view.received:
        rtt = view.link.get("rtt_ms")
        age = now - view.received + int((rtt or 0.0) * 1e6)
    if age is None:
        return None
    loop = view.gov.get("loop_age_ns") if view.mine else None
    if isinstance(loop, int) and now - view.received < 500_000_000:
        age = max(age, loop)
    return age / 1e9


class Cockpit:
    """One per hub. `run` is its loop; `look` one round (tests call it with their own clock)."""

    def __init__(self, hub: Hub, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.hub = hub
        self.clock = clock
        self.tallies: dict[str, Tally] = {}
        self.watches: dict[str, LineWatch] = {}
        self.ages: dict[str, float | None] = {}
        self.lines: dict[str, line_watch.LineState] = {}
        self._next_line = 0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(FleetCollector(self.figures))

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """One round over all sites."""
        now = self.clock()
        lines_due = now >= self._next_line
        if lines_due:
            self._next_line = now + LINE_NS
        for name, site in self.hub.sites.items():
            view = site.snapshot()
            if lines_due and view.link.get("paths"):
                self._watch_line(name, view, now)
            age = self.ages[name] = line_age_s(site, view, now)
            watch = self.watches.setdefault(name, LineWatch())
            before = watch.state.warning
            if age is not None:
                watch.see(now, age)
            tally = self.tallies.setdefault(name, Tally())
            if watch.state.warning and not before:
                tally.warnings += 1
                title = view.title or name
                self.hub.event("warning", f"{title}: the line is restless, a hold may come within seconds", site=name, priority="low")
            fresh = bool(view.received) and now - view.received < STALE_S * 1e9
            state = str(view.gov.get("state", ""))
            tally.look(now, fresh, state, age, watch.state.score, watch.state.warning, view.link, view.case)

    def _watch_line(self, name: str, view: SiteSnapshot, now: int) -> None:
        """Does the line keep what its qualification promised? Said once when it does not any more."""
        network = (view.case.get("qualification") or {}).get("network") or {}
        promise = line_watch.Promise(tuple(network.get("p99_ms") or ()))
        paths = [{"alive": p.get("alive"), "rtt_ms_p99": p.get("p99_ms"), "loss": p.get("loss")} for p in view.link["paths"]]
        before = self.lines.get(name, line_watch.LineState())
        after = self.lines[name] = line_watch.step(before, now, paths, promise)
        if after.colour > before.colour and view.mine:
            title, colour = view.title or name, after.colour.name.lower()
            self.hub.event("line", f"{title}: line {colour}, {after.why}", site=name, priority="low")

    def figures(self) -> list[SiteFigures]:
        """The newest of every site, for Prometheus."""
        now = self.clock()
        out = []
        for name, site in self.hub.sites.items():
            if name not in self.ages:
                continue  # a site that has just come: the next look takes it in
            view, tally, watch = site.snapshot(), self.tallies[name], self.watches[name].state
            fresh = bool(view.received) and now - view.received < STALE_S * 1e9
            out.append(SiteFigures(name, fresh, view.mine, view.gov, view.link, self.ages[name], watch.warning, watch.score, tally))
        return out

    def document(self) -> dict[str, Any]:
        """Everything the page shows."""
        now = self.clock()
        rows = []
        for name, site in self.hub.sites.items():
            if name not in self.ages:
                continue  # a site that has just come: the next look takes it in
            view, tally, watch = site.snapshot(), self.tallies[name], self.watches[name].state
            gov, case = view.gov, view.case
            age = (now - view.received) / 1e9 if view.received else None
            rows.append({
                "name": name, "title": view.title or name, "simulated": view.simulated, "mine": view.mine,
                "fresh": age is not None and age < STALE_S, "frame_age_s": age, "state": gov.get("state", ""), "reason": gov.get("reason", ""),
                "what_to_do": gov.get("what_to_do", ""), "holder": gov.get("holder_name") or gov.get("holder_role") or "",
                "alarms": [{"priority": a.get("priority"), "text": a.get("text"), "active": a.get("active")} for a in gov.get("alarms", [])][:5],
                "case": {"id": case.get("case_id", ""), "screw": case.get("screw", ""), "step": case.get("screw_step", ""), "placed": case.get("placed", []),
                         "done": case.get("done", [])},
                "line": {"age_ms": None if self.ages[name] is None else (self.ages[name] or 0.0) * 1e3, "rtt_ms": view.link.get("rtt_ms"),
                         "loss": view.link.get("loss"), "paths": view.link.get("paths", []),
                         "carrier": view.link.get("carrier", ""), "why": view.link.get("why", "")},
                "warning": {"on": watch.warning, "for_s": (now - watch.since) / 1e9 if watch.warning else 0.0, "score": round(watch.score, 2),
                            "count": tally.warnings},
                "watch": {"colour": line.colour.name.lower(), "why": line.why} if (line := self.lines.get(name)) else None,
                "use": tally.use, "seconds": {k: round(v, 1) for k, v in tally.seconds.items()}, "unseen_s": round(tally.unseen_s, 1),
                "holds": tally.holds, "holds_warned": tally.warned_holds, "holds_per_hour": tally.holds_per_hour,
                "accuracy": tally.accuracy,
                "trend": [
                    [round(p.t - now / 1e9, 1), None if p.age_s is None else round(p.age_s * 1e3, 1), p.loss, round(p.score, 2)]
                    for p in list(tally.trend)[-TREND_SENT:]
                ],
            })  # fmt: skip
        return {"sites": rows, "pages": len(self.hub.pages), "horizon_s": WarningParams().horizon_s}

    def routes(self, tokens: Tokens) -> list[Route]:
        """The page, its numbers and the metrics."""

        def signed_in(request: Request) -> bool:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            return kind == "Bearer" and tokens.who(token) is not None

        async def page(request: Request) -> Response:
            return FileResponse(STATIC / "cockpit.html", headers={"cache-control": "no-cache"})

        async def data(request: Request) -> Response:
            if not signed_in(request):
                return JSONResponse({"error": "sign in first"}, 401)
            return Response(json.dumps(_finite(self.document())), media_type="application/json", headers={"cache-control": "no-store"})

        async def metrics(request: Request) -> Response:
            if not signed_in(request):
                return Response("a bearer token is needed; see docs/cockpit.md\n", 401, headers={"www-authenticate": "Bearer"})
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        async def line(request: Request) -> Response:
            if not signed_in(request):
                return JSONResponse({"error": "sign in first"}, 401)
            state = self.lines.get(request.path_params["site"])
            if state is None:
                return JSONResponse({"error": "no such site, or nothing seen of its line yet"}, 404)
            return JSONResponse(_finite(line_watch.as_document(state)))

        return [Route("/cockpit", page), Route("/cockpit/data", data), Route("/cockpit/line/{site}", line), Route("/metrics", metrics)]


def _finite(value: Any) -> Any:
    """JSON has no NaN, and bytes of a status are hex for people."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
