"""What the page at the table knows and may do: questions of the desk, status of the governor, answers, orders, stop.

Two doors, on purpose: the governor's (role `probe`: sees the status, may stop) and the desk's. A stop goes through both, so
it works when the case desk is dead; it needs no WAN, no console and no authority.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from teleop.bedside.packets import Packets
from teleop.bedside.table_hand import TableHand

#: What the table may order. Motion is not among it: that is asked for sample by sample (`TableHand`).
ORDERS = frozenset(
    {
        "hold",
        "take_over",
        "return_local",
        "rearm",
        "ack",
        "case.register",
        "case.describe",
        "case.breath_hold",
        "case.retreat",
        "case.ask_expert",
        "case.withdraw_request",
    }
)
#: A status older than this is stale: 10 Hz when idle. ns
STALE = 1_000_000_000


class TableSide:
    """State of one arm as its bedside sees it."""

    def __init__(self, site: str, governor: Path, desk: Path) -> None:
        self.site = site
        self.status: dict[str, Any] = {}
        self.status_at = 0
        self.questions: dict[int, dict[str, Any]] = {}
        self.answered: list[dict[str, Any]] = []
        self.case: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.picture: dict[str, Any] | None = None
        self.changed = asyncio.Event()
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._serial = 0
        self.governor = Packets(governor, {"t": "hello", "role": "probe", "v": 1}, self._from_governor)
        self.desk = Packets(desk, None, self._from_desk)
        self.hand = TableHand(self.desk.send)

    async def run(self) -> None:
        """Keep both doors open and the case's description fresh, until cancelled."""
        await asyncio.gather(self.governor.run(), self.desk.run(), self._describe(), self._requests(), self._beat())

    def _from_governor(self, message: dict[str, Any]) -> None:
        if message["t"] == "status":
            self.status, self.status_at = message, time.monotonic_ns()
            self.hand.status(message)
            self.changed.set()

    def _from_desk(self, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind == "question":
            if all(a["id"] != message["id"] for a in self.answered[-50:]):
                self.questions[int(message["id"])] = {**message, "seen": time.monotonic_ns()}
        elif kind == "reply":
            waiting = self._replies.pop(int(message.get("id", 0)), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif kind == "jog_refused":
            self.hand.refused = str(message.get("text", ""))[:200]
        elif kind == "status" and not self.governor.up:
            self.status, self.status_at = message, time.monotonic_ns()
        self.changed.set()

    async def _beat(self) -> None:
        """A silent hand is released; questions that the desk no longer repeats are over (answered elsewhere or timed out)."""
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic_ns()
            self.hand.tick(now)
            for number, question in list(self.questions.items()):
                if now - question["seen"] > STALE:
                    del self.questions[number]
                    self.changed.set()

    async def _describe(self) -> None:
        while True:
            reply = await self.order("case.describe")
            if reply.get("ok"):
                self.case = {k: v for k, v in reply.items() if k not in ("t", "id", "series")}
                self.changed.set()
            await asyncio.sleep(1.0)

    async def _requests(self) -> None:
        """What became of the requests for an expert; asked beside the case's description, which may wait for a person."""
        while True:
            if self.desk.up:
                reply = await self.order("case.requests")
                if reply.get("ok") and reply["requests"] != self.requests:
                    self.requests = reply["requests"]
                    self.changed.set()
            await asyncio.sleep(0.5)

    async def order(self, op: str, **params: Any) -> dict[str, Any]:
        """Give an order as `bedside`; the site's reply, or why there is none."""
        self._serial += 1
        number = self._serial
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = waiting
        if not self.desk.send({"t": "order", "id": number, "order": {"op": op, **params}}):
            self._replies.pop(number, None)
            return {"ok": False, "reason": "the case desk is not running: only STOP works from here"}
        try:
            return await asyncio.wait_for(waiting, 30.0)
        except TimeoutError:
            self._replies.pop(number, None)
            return {"ok": False, "reason": f"{op}: no answer from the site in 30 s"}

    def answer(self, number: int, ok: bool, who: str, why: str) -> bool:
        """Answer a question of the desk; False when it is no longer open."""
        question = self.questions.pop(number, None)
        if question is None:
            return False
        sent = self.desk.send({"t": "answer", "id": number, "ok": ok, "who": who, "why": why})
        self.answered.append({"id": number, "kind": question.get("kind"), "ok": ok, "who": who, "when": time.time()})
        del self.answered[:-100]
        self.changed.set()
        return sent

    def stop(self, who: str) -> int:
        """Stop, through every door there is; returns how many took it."""
        self.hand.stopped()
        return sum(
            (
                self.governor.send({"t": "stop", "key": "bedside"}),
                self.desk.send({"t": "stop", "who": who}),
            )
        )

    def frame(self) -> dict[str, Any]:
        """What the page draws."""
        now = time.monotonic_ns()
        return {
            "site": self.site,
            "status": self.status,
            "age_ms": (now - self.status_at) / 1e6 if self.status_at else None,
            "governor_up": self.governor.up,
            "desk_up": self.desk.up,
            "case": self.case,
            "requests": self.requests[-3:],
            "picture": self.picture,
            "jog": self.hand.frame(),
            "questions": [{k: v for k, v in q.items() if k != "seen"} for q in self.questions.values()],
            "answered": self.answered[-8:],
        }
