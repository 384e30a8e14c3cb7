"""A hospital that exists only for page tests: it obeys `SiteLink`, keeps the rules a page can see, and moves a point.

It is no governor and proves nothing about safety; it lets a browser test say "the server has the stop", "no intent with
a press came after this", and it walks a case through its steps.
"""

import asyncio
import math
import time
from collections import deque
from dataclasses import replace
from typing import Any

from teleop.case.expert_requests import ExpertRequests
from teleop.console.contracts import Intent, SiteSnapshot

ME = "my-key"
#: lps_T_base (mm): the base stands at the patient's right, x of the base to the head.
LPS_T_BASE = [0.0, 1.0, 0.0, -350.0, 1.0, 0.0, 0.0, 20.0, 0.0, 0.0, -1.0, 130.0]


def base_of(lps: list[float]) -> list[float]:
    """Inverse of LPS_T_BASE, metres."""
    d = [lps[i] - LPS_T_BASE[3 + 4 * i] for i in range(3)]
    return [sum(LPS_T_BASE[4 * i + j] * d[i] for i in range(3)) * 1e-3 for j in range(3)]


def quat_of_axis(axis: list[float]) -> list[float]:
    """Shortest rotation that takes +z to `axis` (base frame)."""
    x, y, z = axis
    w = 1 + z
    n = math.sqrt(x * x + y * y + w * w) or 1
    return [-y / n, x / n, 0.0, w / n]


class FakeSite:
    """One hospital. Everything that arrived is kept in `intents`, `stops`, `orders` for the tests."""

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title
        self.on_change: Any = None
        self.intents: deque[tuple[int, Intent]] = deque(maxlen=5000)
        self.stops: list[tuple[int, str]] = []
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.samples: deque[tuple[int, str, dict[str, Any]]] = deque(maxlen=5000)
        self.twists: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "scale": 0.3, "least": 0.5, "tremor": "normal", "alignment": "picture", "fixture": "none",
            "lock_rotation": False, "lock_translation": False, "align": False, "reflect": False,
        }  # fmt: skip
        self.way: tuple[bytes, list[list[float]]] = (b"", [])
        self.frozen = False
        self.delay_ms = 0.0  # of the line to the console
        self._line: deque[tuple[int, SiteSnapshot]] = deque()
        self._loop_age = 0  # as a governor measures it: from the echo of the newest command
        self.state, self.reason, self.todo = "READY", "", ""
        self.holder, self.epoch, self.rebase = "", 0, 0
        self.moved_mm = 0.0
        self.alarms: list[dict[str, Any]] = []
        self.blockers: list[str] = []
        #: The bedside's requests for an expert, by the shipped machine of the site's end.
        self.experts = ExpertRequests()
        self.line_up = True
        self.v_cap_why = ""
        #: What this hospital's governor says to every press; empty: it moves.
        self.refuses = ""
        self.refused = 0
        self.screws: dict[str, Any] = {}
        self.case: dict[str, Any] = {
            "case_id": f"SIM-{title[-1]}",
            "done": ["images"],
            "screw": "",
            "screw_step": "none",
            "placed": [],
            "plan_hash": "",
            "lps_T_base_mm": [*LPS_T_BASE, 0.0, 0.0, 0.0, 1.0],
            "registration": None,
            "path": None,
            "last": None,
            "breath_hold": False,
            "motion": 0,
            "qualification": {},
        }
        self.setpoint = [0.35, 0.25, 0.45, 1.0, 0.0, 0.0, 0.0]
        self.pose = list(self.setpoint)
        self.s, self.speed, self.path_hash = 0.0, 0.0, b""
        self._walk: list[list[float]] = []
        self._snapshot = SiteSnapshot(name, title)
        self._last_press_at = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.expert("case.requests", "console")["requests"] if self.line_up else []

    def expert(self, op: str, who: str = "bedside", **fields: Any) -> dict[str, Any]:
        """An order of the table or of the console about experts."""
        images = {"case_id": self.case["case_id"], "ct_sha256": ""}
        return self.experts.handle(who, {"op": op, **fields}, time.monotonic_ns(), time.time(), line_up=self.line_up, images=images)

    async def tell_request(self, number: int, facts: dict[str, Any]) -> dict[str, Any]:
        return self.expert("case.consult", "console", id=number, **facts)

    def register(self) -> None:
        """Skip to a registered case after its time-out, for tests of motion."""
        self.case["done"] = ["images", "approved", "transferred", "registered", "time_out"]
        self.case["registration"] = {
            "epoch": 1,
            "fre_mm": 0.31,
            "tre95_mm": 0.62,
            "age_s": 340.0,
            "fiducials": [{"name": f"L{k}", "fre_mm": 0.2 + 0.05 * k, "tre_mm": 0.4 + 0.05 * k} for k in range(1, 6)],
        }
        self.case["qualification"] = {
            "network": {"ok": True, "text": "p99 61 ms, loss 0.4 %"},
            "stop": {"ok": True, "text": "2.1 mm"},
        }

    def snapshot(self) -> SiteSnapshot:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._snapshot

    def send(self, intent: Intent) -> None:
        self.intents.append((time.monotonic_ns(), intent))
        self._loop_age = time.monotonic_ns() - intent.echo_state if intent.echo_state else 0
        if intent.press and self.refuses:
            self.refused += 1
        elif intent.press and self.state in ("READY", "PAUSE", "ACTIVE"):
            self._last_press_at = time.monotonic_ns()
            self._intent = intent
            if self.state != "ACTIVE":
                self._go("ACTIVE")
        elif not intent.press and self.state == "ACTIVE":
            self._go("PAUSE", "operator")

    def _go(self, state: str, reason: str = "", todo: str = "") -> None:
        if state == "PAUSE":
            self.rebase += 1
        self.state, self.reason, self.todo = state, reason, todo
        self._tell()

    def bind_plan(self, plan_hash: bytes, lines: dict[str, Any]) -> None:
        self.plan_hash = plan_hash

    def master(self, page: str, samples: object, age_ns: int, now_ns: int) -> None:
        for s in samples if isinstance(samples, list) else []:
            self.samples.append((now_ns, page, s))
            if s.get("twist") is not None:
                self.twists[s["kind"]] = s["twist"]

    def page_gone(self, page: str) -> None:
        self.twists.clear()

    def configure(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.settings |= settings
        self._tell()
        return self.settings

    def take_news(self) -> list[str]:
        return []

    def take_prediction(self) -> dict[str, Any] | None:
        return None

    def energies(self) -> dict[str, dict[str, float]]:
        return {}

    def stop(self, who: str) -> None:
        self.stops.append((time.monotonic_ns(), who))
        self.alarms = [
            {
                "id": "stop",
                "priority": "high",
                "text": f"Stopped by {who}",
                "what_to_do": "The bedside re-arms when all agree.",
                "since": time.monotonic_ns(),
                "latched": True,
                "acked": False,
            }
        ]
        self._go("STOP", f"stop by {who}", "bedside: re-arm")

    async def order(self, op: str, **params: Any) -> dict[str, Any]:
        self.orders.append((op, params))
        await asyncio.sleep(0.01)
        method = getattr(self, "_" + op.replace(".", "_"), None)
        if method is None:
            return {"ok": False, "reason": f"unknown order {op!r}"}
        reply = {"ok": True, "reason": ""} | (method(params) or {})
        self._tell()
        return reply

    def _case_plan(self, p: dict[str, Any]) -> dict[str, Any]:
        import json

        self.case["done"] = ["images", "approved", "transferred"]
        self.case["plan_hash"] = p["hash"]
        document = json.loads(p["plan"])
        self.screws = {s["id"]: s for s in document.get("screws") or document["trajectories"]}
        return {}

    def _case_register(self, p: dict[str, Any]) -> None:
        done = self.case["done"]
        self.register()
        self.case["done"] = [*done, "registered"]

    def _case_read_back(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("case_id") != self.case["case_id"]:
            return {"ok": False, "reason": "the two sides do not read the same"}
        self.case["done"] = [*self.case["done"], "time_out"]
        return {}

    def _case_request_control(self, p: dict[str, Any]) -> None:
        self.holder, self.epoch, self.rebase = ME, self.epoch + 1, self.rebase + 1
        self._go("READY")

    def _release(self, p: dict[str, Any]) -> None:
        self.holder = ""
        self._go("READY")

    def _hold(self, p: dict[str, Any]) -> None:
        self._go("HOLD", "held by the surgeon", "surgeon: acknowledge")

    def _ack(self, p: dict[str, Any]) -> None:
        self._go("PAUSE", "acknowledged")

    def _case_rearm(self, p: dict[str, Any]) -> None:
        self.alarms, self.holder = [], ""
        self._go("READY")

    def _case_select(self, p: dict[str, Any]) -> None:
        self.case.update(screw=p["screw"], screw_step="selected", path=None, last=None)

    def _case_path(self, p: dict[str, Any]) -> dict[str, Any]:
        kind = p["kind"]
        self.case["screw_step"] = {"approach": "approach", "advance": "advance"}.get(kind, self.case["screw_step"])
        away = {"approach": 100.0, "advance": 5.0, "retreat": 100.0}[kind]
        return self._store(
            kind, away, "advance" if kind != "approach" else "goal", off=0.9 if kind == "approach" else 0.0
        )

    def _store(self, what: str, away_mm: float, kind: str, off: float = 0.0) -> dict[str, Any]:
        screw = self.screws.get(self.case["screw"])
        if screw is None:
            return {"ok": False, "reason": "no such screw"}
        e, t = screw["entry_lps_mm"], screw["tip_lps_mm"]
        n = math.dist(e, t)
        d = [(t[i] - e[i]) / n for i in range(3)]
        goal = base_of([e[i] - d[i] * away_mm + (off if i == 0 else 0) for i in range(3)])
        tip = base_of([e[i] + d[i] for i in range(3)])
        zero = base_of(e)
        axis = [tip[i] - zero[i] for i in range(3)]
        k = math.sqrt(sum(a * a for a in axis))
        end = [*goal, *quat_of_axis([a / k for a in axis])]
        start = list(self.setpoint)
        self._walk = [start, end]
        length = max(0.001, math.dist(start[:3], end[:3]))
        steps = [[start[i] + (end[i] - start[i]) * k / 20 for i in range(7)] for k in range(21)]
        self.path_hash, self.s = bytes([len(self.orders) % 250 + 1] * 8), 0.0
        self.case["path"] = {
            "path_hash": self.path_hash,
            "kind": kind,
            "what": what,
            "length_m": length,
            "screw": self.case["screw"],
        }
        self.case["motion"] += 1
        self.way = (self.path_hash, [[length * k / 20, *pose] for k, pose in enumerate(steps)])
        return {"path_hash": self.path_hash, "length_m": length, "kind": kind}

    def _case_correct(self, p: dict[str, Any]) -> dict[str, Any]:
        first = not (self.case["last"] and self.case["last"].get("at") == self.case["screw_step"])
        if self.case["screw_step"] == "approach":
            self.case["screw_step"] = "stand_off"
        on_line = not first
        self.case["last"] = {
            "on_line": on_line,
            "lateral_mm": 0.07 if on_line else 0.82,
            "angle_deg": 0.05 if on_line else 0.31,
            "at": self.case["screw_step"],
            "screw": self.case["screw"],
            "stamp": time.monotonic_ns(),
            "motion": self.case["motion"],
        }
        if not on_line:
            self._store("correction", 100.0 if self.case["screw_step"] == "stand_off" else 5.0, "goal")
        return {"on_line": on_line}

    def _case_verify(self, p: dict[str, Any]) -> None:
        self.case["screw_step"] = "verified"

    def _case_confirm(self, p: dict[str, Any]) -> None:
        self.case["screw_step"] = "confirmed"

    def _case_place(self, p: dict[str, Any]) -> None:
        self.case.update(screw_step="placed", placed=[*self.case["placed"], self.case["screw"]])

    def _case_retreat(self, p: dict[str, Any]) -> None:
        self.case.update(screw="", screw_step="none", path=None)

    def _case_breath_hold(self, p: dict[str, Any]) -> None:
        self.case["breath_hold"] = bool(p["on"])

    def robot(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        self._intent = Intent("goal", 0, False, 0)
        while True:
            await asyncio.sleep(0.01 if self.state == "ACTIVE" or self.delay_ms else 0.04)
            if not self.frozen:
                self._turn(0.01)
                self._tell()
                self._arrive()

    def _turn(self, dt: float) -> None:
        if self.state == "ACTIVE" and time.monotonic_ns() - self._last_press_at > 200_000_000:
            self._go("PAUSE", "no fresh command")
        self.speed = 0.0
        if self.state != "ACTIVE":
            return
        if self._intent.s_limit is not None and self.case["path"]:
            length = self.case["path"]["length_m"]
            before = self.s
            self.s = min(self._intent.s_limit, length, self.s + 0.12 * dt)
            a, b = self._walk
            k = self.s / length
            self.setpoint = [a[i] + (b[i] - a[i]) * k for i in range(7)]
            self.speed = (self.s - before) / dt
            self.moved_mm += (self.s - before) * 1e3
        elif self._intent.jog or self._intent.device:
            jog = self._intent.jog or [0.006 * v for v in self.twists.get(self._intent.device, [0.0] * 6)]
            for i in range(3):
                self.setpoint[i] += jog[i] * dt
            self.speed = math.sqrt(sum(v * v for v in jog[:3]))
            self.moved_mm += self.speed * dt * 1e3
        self.pose = [v + (0.0002 if i == 1 else 0) for i, v in enumerate(self.setpoint)]

    def _tell(self) -> None:
        if self.frozen:
            return
        now = time.monotonic_ns()
        mine = self.holder == ME
        snapshot = SiteSnapshot(
            name=self.name,
            title=self.title,
            received=now,
            stamp=now,
            mine=mine,
            arm={
                "pose": list(self.pose),
                "setpoint": list(self.setpoint),
                "q": [0.0] * 7,
                "speed": self.speed,
                "force": 1.2,
                "s": self.s,
                "path_hash": self.path_hash,
                "drive": "moving" if self.speed else "standstill",
                "tracking_error": 0.0,
            },
            gov={
                "state": self.state,
                "reason": self.reason,
                "what_to_do": self.todo,
                "holder": self.holder,
                "holder_role": "surgeon",
                "epoch": self.epoch,
                "rebase": self.rebase,
                "mode": "goal",
                "v_cap": 0.12,
                "v_cap_why": self.v_cap_why,
                "loop_age_ns": self._loop_age if mine and self._loop_age else int(64e6 + 9e6 * math.sin(now / 1e9)),
                "margin": 0.031,
                "travel_bound": 0.0042,
                "alarms": self.alarms,
                "blockers": self.blockers,
                "qualified_until": now + int(20 * 60e9) if self.case["qualification"] else 0,
                "counts": {"accepted": 1000, "rejected": {"mode": self.refused} if self.refused else {}},
                "last_reject": self.refuses,
            },
            link={
                "paths": [
                    {"alive": True, "rtt_ms": 52.0, "loss": 0.004},
                    {"alive": True, "rtt_ms": 71.0, "loss": 0.012},
                ],
                "rtt_ms": 52.0,
                "loss": 0.0,
                "carrier": "datagrams",
            },
            case=dict(self.case),
            hand={"ghost": None, "predicted": None, "halo_m": 0.0, "settings": dict(self.settings)},
        )
        self._line.append((now + int(self.delay_ms * 1e6), snapshot))
        self._arrive()

    def _arrive(self) -> None:
        """What has come through the line."""
        now, newest = time.monotonic_ns(), None
        while self._line and self._line[0][0] <= now:
            newest = self._line.popleft()[1]
        if newest is not None:
            self._snapshot = replace(newest, received=now)
            if self.on_change:
                self.on_change()
