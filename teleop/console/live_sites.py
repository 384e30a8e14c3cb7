"""`LinkSite`: one real hospital behind `ConsoleSession` and the link, as the console sees it.

`run` pumps the session from the asyncio loop (woken by the link's sockets, at least every 5 ms), resolves orders, asks the desk
once a second how the case stands, and remembers what only replies say: the path in force, the last measurement.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from safety.states import Mode
from teleop.case.console_session import ConsoleSession, Pending
from teleop.console.contracts import ConsoleError, Intent, SiteSnapshot
from teleop.console.pacing import wake_or
from teleop.console.shared_line import SharedLine
from teleop.console.site_hand import SiteHand, choices_from
from teleop.link.planes import Plane
from teleop.master.command_maker import Intention, Phase

PUMP_S = 0.005
DESCRIBE_S = 1.0
#: How often a hospital is asked whether its bedside asks for an expert (s).
REQUESTS_S = 1.0
STATS_NS = 200_000_000
#: Orders that wait for a person at the bedside, or for a planner, may take this long.
SLOW_S = 170.0
SLOW_ORDERS = frozenset({
    "case.request_control", "case.read_back", "case.confirm", "case.place", "case.rearm", "case.register", "case.path",
    "case.rehearse", "case.qualify", "case.correct", "case.verify",
})  # fmt: skip
#: The line test before a qualification: 100 Hz both ways for so long (s).
LINE_TEST_S = 5.0
FETCH_AHEAD = 4


class LinkSite:
    """See the module. `title`: what people read; `simulated`: said in the top bar."""

    def __init__(self, session: ConsoleSession, title: str = "", simulated: bool = True) -> None:
        self.session = session
        self.name = session.name
        self.title = title or session.name.capitalize()
        self.simulated = simulated
        self.on_change: Callable[[], None] | None = None
        self.plan_hash = b""
        self.case: dict[str, Any] = {"motion": 0, "path": None, "last": None, "breath_hold": False, "qualification": {}}
        self._waiting: list[tuple[Pending, asyncio.Future[dict[str, Any]]]] = []
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._link: dict[str, Any] = {}
        self._stats_at = 0
        self.hand = session.maker = SiteHand(session.key)
        #: Screws of the plan that is here, id -> (entry, tip) in LPS millimetres; lines for the hand's fixtures.
        self.plan_lines: dict[str, Any] = {}
        #: The registration as the hospital tells it, 16 numbers row by row; None before one.
        self.ref_T_ct: list[float] | None = None
        #: The newest stored path: its hash, and rows of [s (m), x, y, z, qx, qy, qz, qw] of the guide along it (base frame).
        self.way: tuple[bytes, list[list[float]]] = (b"", [])
        self._closed = False
        #: What the hospital's bedside asks of experts, as it came last (`teleop.case.expert_requests`).
        self.requests: list[dict[str, Any]] = []
        #: The line that all sites of this console share, when its rate was given: what can wait asks it.
        self.line: SharedLine | None = None

    # -- life ---------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to pump; call inside the running loop."""
        loop = asyncio.get_running_loop()
        for number in self.session.link.fds():  # type: ignore[attr-defined]
            loop.add_reader(number, self._wake.set)
        self._tasks = [asyncio.create_task(t) for t in (self._pump(), self._describe(), self._hear_requests())]

    async def close(self) -> None:
        self._closed = True
        loop = asyncio.get_running_loop()
        for number in self.session.link.fds():  # type: ignore[attr-defined]
            loop.remove_reader(number)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.session.link.close()  # type: ignore[attr-defined]

    async def _pump(self) -> None:
        while True:
            await wake_or(self._wake, PUMP_S)
            before = self.session.frame_at
            self.session.pump(time.monotonic_ns())
            for pending, future in [w for w in self._waiting if w[0].reply is not None]:
                if not future.done():
                    future.set_result(pending.reply or {})
            self._waiting = [w for w in self._waiting if w[0].reply is None]
            if self.session.frame_at != before and self.on_change:
                self.on_change()

    async def _describe(self) -> None:
        while True:
            if self.session.up:
                self._take_description(await self._ask("case.describe", {}, 5.0))
            await asyncio.sleep(DESCRIBE_S)

    async def _hear_requests(self) -> None:
        while True:
            if self.session.up:
                reply = await self._ask("case.requests", {}, 5.0)
                if reply.get("ok") and isinstance(reply.get("requests"), list):
                    half = float(self._link.get("rtt_ms") or 0.0) / 2
                    self.requests = [{**r, "age_ms": float(r["age_ms"]) + half} for r in reply["requests"]]
            await asyncio.sleep(REQUESTS_S)

    async def tell_request(self, number: int, facts: dict[str, Any]) -> dict[str, Any]:
        """Tell the hospital what became of its request; its reply."""
        return await self._ask("case.consult", {"id": number, **facts}, 5.0)

    def _take_description(self, reply: dict[str, Any]) -> None:
        if not reply.get("ok"):
            return
        keep = (
            "case_id",
            "done",
            "plan_hash",
            "registration_epoch",
            "screw",
            "screw_step",
            "placed",
            "series",
            "ct_sha256",
        )
        self.case = self.case | {k: reply[k] for k in keep if k in reply}
        registration = reply.get("registration")
        self.ref_T_ct = registration.get("ref_T_ct") if registration else None
        if registration:
            residuals = registration.get("per_fiducial") or []
            self.case["registration"] = {
                "epoch": registration["registration_epoch"], "fre_mm": registration["fre_mm"], "tre95_mm": registration["tre95_mm"],
                "fiducials": [{"name": str(n + 1), "fre_mm": r, "tre_mm": None} for n, r in enumerate(residuals)],
                "gates": registration.get("gates", []),
            }  # fmt: skip
        else:
            self.case["registration"] = None
        raw = reply.get("base_T_ct")
        self.case["lps_T_base_mm"] = lps_from_base(raw) if raw else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Tell the hand where the patient and the planned line are, in the arm's base frame."""
        raw = self.case["lps_T_base_mm"]
        self.hand.turn = self.hand.line = None
        if raw is None:
            return
        lps_T_base = np.asarray(raw, dtype=float).reshape(4, 4)
        self.hand.turn = tuple(tuple(float(v) for v in row[:3]) for row in lps_T_base[:3])
        planned = self.plan_lines.get(str(self.case.get("screw") or ""))
        if planned is not None:
            back = lps_T_base[:3, :3].T  # base_R_lps
            entry, tip = (back @ (np.asarray(p, dtype=float) - lps_T_base[:3, 3]) * 1e-3 for p in planned)
            self.hand.line = tuple(entry.tolist()), tuple((tip - entry).tolist())

    # -- SiteLink -----------------------------------------------------------------------------------------------
    def snapshot(self) -> SiteSnapshot:
        now = time.monotonic_ns()
        s = self.session
        if now - self._stats_at > STATS_NS and not self._closed:
            self._stats_at = now
            self._link = self._line_health()
        frame = s.frame
        rehearsals = s.status.get("rehearsals") or {}
        case = self.case | {
            "phase": self.hand.why if self.hand.phase in (Phase.SETTLING, Phase.WAITING_FOR_RELEASE) else "",
            "qualification": self.case["qualification"]
            | {k: {"ok": v.get("passed"), "text": f"{v.get('travel', 0) * 1e3:.1f} mm"} for k, v in rehearsals.items()},
        }  # fmt: skip
        return SiteSnapshot(
            name=self.name, title=self.title, simulated=self.simulated, received=s.frame_at, stamp=int(frame.get("t", 0)),
            arm=frame.get("arm", {}), gov=s.status, tracker=frame.get("tracker"), link=self._link, case=case, mine=s.holding,
            hand={**self.hand.show(now), "settings": asdict(self.hand.choices)},
        )  # fmt: skip

    def _line_health(self) -> dict[str, Any]:
        stats = self.session.link.stats()  # type: ignore[attr-defined]
        paths = [
            {
                "alive": p["alive"],
                "rtt_ms": p["rtt_ms_p50"],
                "p99_ms": p["rtt_ms_p99"],
                "loss": p["loss"],
                "jitter_ms": p["jitter_ms"],
            }
            for p in stats["paths"]
        ]
        alive = [p for p in paths if p["alive"] and p["rtt_ms"] is not None]
        combined = stats.get("combined") or {}
        return {
            "paths": paths, "rtt_ms": min((p["rtt_ms"] for p in alive), default=None),
            "loss": combined.get("loss", min((p["loss"] for p in alive), default=None)),
            "carrier": "tcp" if stats["transport"] == "tcp" else "datagrams", "why": self.session.why_down,
        }  # fmt: skip

    def send(self, intent: Intent) -> None:
        """Hand the intent to the command maker, which adds epoch, seq, rebase and target."""
        mode = Mode(intent.mode)
        self.hand.source = intent.device if intent.press and mode is Mode.SERVO else ""
        if self.line is not None and self.session.holding:
            self.line.control(self.name)
        self.session.intention = Intention(
            mode=mode, pressed=bool(intent.press), path_hash=intent.path_hash, s_goal=intent.s_limit, horizon=None,
            plan_hash=self.plan_hash, registration_epoch=int(self.case.get("registration_epoch") or 0),
            echo_state=intent.echo_state, echo_view=intent.echo_view, jog=None if mode is Mode.SERVO else intent.jog,
        )  # fmt: skip

    def bind_plan(self, plan_hash: bytes, lines: dict[str, Any]) -> None:
        self.plan_hash, self.plan_lines = plan_hash, lines

    def master(self, page: str, samples: object, age_ns: int, now_ns: int) -> None:
        self.hand.push(page, samples, age_ns, now_ns)

    def page_gone(self, page: str) -> None:
        self.hand.page_gone(page, time.monotonic_ns())

    def configure(self, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            self.hand.choose(choices_from(settings, self.hand.choices))
        except (TypeError, ValueError) as error:
            raise ConsoleError(str(error)) from None
        return asdict(self.hand.choices)

    def take_news(self) -> list[str]:
        return self.hand.take_news()

    def energies(self) -> dict[str, dict[str, float]]:
        return self.hand.energies()

    def take_prediction(self) -> dict[str, Any] | None:
        errors = self.hand.take_errors()
        if not errors:
            return None
        mm = sorted(1e3 * e.distance for e in errors)
        return {
            "n": len(mm), "rms_mm": round((sum(x * x for x in mm) / len(mm)) ** 0.5, 4), "p95_mm": round(mm[int(0.95 * len(mm))], 4),
            "worst_mm": round(mm[-1], 4), "worst_deg": round(max(e.turn for e in errors) * 57.29578, 4), "stamp": errors[-1].stamp,
        }  # fmt: skip

    def stop(self, who: str) -> None:
        self.session.stop()

    async def order(self, op: str, **params: Any) -> dict[str, Any]:
        """Give an order; the reply is the site's own. Replies that pages need later are remembered."""
        params.pop("by", None)
        if op == "case.plan":
            return await self._ask(op, params, 30.0)
        if op == "case.qualify":
            self.session.link.run_test(int(LINE_TEST_S * 1e3), 100, 400, 1000)  # type: ignore[attr-defined]
            params["seconds"] = LINE_TEST_S
        reply = await self._ask(op, params, SLOW_S if op in SLOW_ORDERS else 10.0)
        self._remember(op, params, reply)
        self._take_description(await self._ask("case.describe", {}, 5.0))
        if "lateral_mm" in reply and self.case.get("last"):
            self.case["last"] = self.case["last"] | {"at": self.case.get("screw_step", "")}
        return reply

    async def _ask(self, op: str, params: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if not self.session.up:
            return {"ok": False, "reason": f"no connection to {self.title}: {self.session.why_down}"}
        try:
            pending = self.session.send(op, timeout_s, **params)
        except (ValueError, RuntimeError, OSError) as error:
            return {"ok": False, "reason": str(error)}
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((pending, future))
        return await future

    def _remember(self, op: str, params: dict[str, Any], reply: dict[str, Any]) -> None:
        case = self.case = dict(self.case)
        if op == "case.breath_hold" and reply.get("ok"):
            case["breath_hold"] = bool(params.get("on"))
        if op == "case.qualify":
            worst = max((p.get("rtt_ms_p99") or 0 for p in reply.get("paths", [])), default=0)
            case["qualification"] = {
                **case["qualification"],
                "network": {
                    "ok": bool(reply.get("ok")),
                    "text": f"p99 {worst:.0f} ms" + (", DEMO" if reply.get("demo") else ""),
                    "p99_ms": [p.get("rtt_ms_p99") for p in reply.get("paths", [])],
                },
            }
        if "lateral_mm" in reply:
            case["last"] = {
                **{k: reply.get(k) for k in ("lateral_mm", "angle_deg", "stand_off_mm", "scatter_mm", "on_line", "grade")},
                "screw": case.get("screw", ""), "stamp": int(self.session.frame.get("t", 0)), "motion": case["motion"],
                "at": "", "op": op,
            }  # fmt: skip
        if reply.get("ok") and "path_hash" in reply:
            what = "rehearsal" if op == "case.rehearse" else str(params.get("kind", "correction"))
            case["motion"] = case["motion"] + 1
            self.way = (bytes(reply["path_hash"]), reply.get("way") or [])
            case["path"] = {
                "path_hash": bytes(reply["path_hash"]), "kind": str(reply["kind"]), "length_m": float(reply["length_m"]),
                "start": [float(q) for q in reply.get("start") or []], "what": what, "screw": case.get("screw", "") or str(params.get("screw", "")),
            }  # fmt: skip
        elif reply.get("ok") and op in ("case.select", "case.retreat", "release"):
            case["path"], case["last"] = None, None
        elif op == "case.rehearse" and not params.get("on"):
            case["path"] = None

    def robot(self) -> dict[str, Any]:
        return {}

    async def video(self, offer: str) -> dict[str, Any]:
        """Ask the hospital's cameras for a connection: the answer's SDP, or the reason why not."""
        return await self._ask("site.video", {"offer": offer}, 10.0)

    # -- images -------------------------------------------------------------------------------------------------
    async def fetch_series(self, folder: Path, progress: Callable[[float], None]) -> None:
        """Fetch the case's images in chunks (resumable, some on the way at a time), check their hashes, write series.json.

        Raises ConsoleError with the site's words.
        """
        described = await self._ask("case.describe", {}, 10.0)
        if not described.get("ok"):
            raise ConsoleError(f"{self.title} does not tell its images: {described.get('reason', '')}")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        series = described["series"]
        total, done = sum(s["bytes"] for s in series.values()), 0
        from teleop.case.case_file import MAX_CHUNK, sha256_of

        for name, one in series.items():
            path = folder / Path(one["file"]).name
            if path.exists() and sha256_of(path) == one["sha256"]:
                done += one["bytes"]
                continue
            if path.exists() and path.stat().st_size >= one["bytes"]:
                path.unlink()
            have = asked = path.stat().st_size if path.exists() else 0
            on_the_way: list[asyncio.Task[dict[str, Any]]] = []
            with path.open("ab") as out:
                while have < one["bytes"]:
                    while asked < one["bytes"] and len(on_the_way) < FETCH_AHEAD:
                        if self.line is not None:  # images yield to everything else on the line
                            await self.line.allow(self.name, Plane.BULK, min(MAX_CHUNK, one["bytes"] - asked), self.session.holding)
                        ask = self._ask("case.series", {"name": name, "offset": asked, "length": MAX_CHUNK}, 30.0)
                        on_the_way.append(asyncio.create_task(ask))
                        asked += MAX_CHUNK
                    part = await on_the_way.pop(0)
                    if not part.get("ok"):
                        for task in on_the_way:
                            task.cancel()
                        raise ConsoleError(
                            f"{self.title}, {name}: {part.get('reason', 'no reason given')}; open it again to resume"
                        )
                    out.write(part["data"])
                    have += len(part["data"])
                    progress((done + have) / total)
            done += one["bytes"]
            if await asyncio.to_thread(sha256_of, path) != one["sha256"]:
                path.unlink()
                raise ConsoleError(f"{name} of {self.title} arrived damaged (wrong SHA-256): open it again")
        (folder / "series.json").write_text(
            json.dumps({"case_id": described["case_id"], "title": f"{self.title} {described['case_id']}"})
        )
        (folder / "complete").touch()


def lps_from_base(base_T_ct: list[float]) -> list[float]:
    """base_T_ct (16 numbers, metres) -> lps_T_base, row by row, for points in millimetres."""
    matrix = np.linalg.inv(np.asarray(base_T_ct, dtype=float).reshape(4, 4))
    matrix[:3, 3] *= 1e3
    return [float(x) for x in matrix.ravel()]
