"""`ConsoleSession`: the console's hold on one site: newest state, orders and their answers, the 100 Hz command stream.

The web console and the scripted surgeon drive the same object: they set `intention`, give orders, and read what the
site says. `pump(now_ns)` does one turn and never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgpack

from safety.command import Command
from teleop.case.script import OrderRefused, Waiting, until
from teleop.link import events
from teleop.master.command_maker import CommandMaker, Intention, Phase
from teleop.master.robot_view import RobotView
from teleop.wire.command import encode_command

#: Commands per second while the site answers: 100 Hz suffices on datagrams (shared measurements of loss against rate).
COMMAND_PERIOD_NS = 10_000_000
#: Round trips and loop ages kept for the tables (at 100 Hz: the last five minutes).
KEPT = 30_000
#: A longer note is no checkpoint (they have some 600 characters).
MAX_CHECKPOINT = 4096


class Link(Protocol):
    """What a session needs of `teleop.link`'s console end."""

    def poll(self, now_ns: int) -> list[Any]: ...
    def send_command(self, data: bytes) -> Any: ...
    def order(self, order: dict[str, Any], timeout_s: float = ...) -> int: ...
    def stop(self) -> int: ...
    def stats(self) -> dict[str, Any]: ...
    def wait(self, timeout_ms: float) -> None: ...
    def run_test(self, ms: int, hz: int, size_up: int, size_down: int) -> None: ...
    def close(self) -> None: ...


class Maker(Protocol):
    """What a session needs of `CommandMaker`."""

    @property
    def view(self) -> RobotView | None: ...

    @property
    def phase(self) -> Phase: ...

    @property
    def why(self) -> str: ...

    def step(self, now_ns: int, robot: Mapping[str, Any] | RobotView | None, intention: Intention) -> Command | None: ...


@dataclass(slots=True)
class Pending:
    """One order on its way; `reply` appears when the site has answered."""

    op: str
    reply: dict[str, Any] | None = None


@dataclass
class ConsoleSession:
    """One site as the console sees it. `name` is the site's; `key` our own public key.

    checkpoint: signed note of the newest checkpoint of the site's log, as it came; peer_checkpoint: first 8 bytes of the
    digest of our own log's, which every command carries (`teleop.case.checkpoints` fills and carries them).
    """

    name: str
    link: Link
    key: str
    intention: Intention = field(default_factory=Intention)
    frame: dict[str, Any] = field(default_factory=dict)
    frame_at: int = 0
    up: bool = False
    why_down: str = "not connected yet"
    loop_ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    notes: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    stop_echoed: int = 0
    checkpoint: str = ""
    peer_checkpoint: bytes = b""

    def __post_init__(self) -> None:
        #: Makes the commands; the web console puts its hand here, which has the same face.
        self.maker: Maker = CommandMaker(me=self.key)
        self.texts: dict[str, Any] = {}
        self._pending: dict[int, Pending] = {}
        self._next_command = 0

    @property
    def status(self) -> dict[str, Any]:
        """The newest governor status: the short fields of the state frame over the long texts of the orders channel."""
        return self.texts | self.frame.get("gov", {})

    @property
    def state(self) -> str:
        return str(self.status.get("state", ""))

    @property
    def holding(self) -> bool:
        """True while the site says that we hold its arm."""
        return self.frame.get("gov", self.texts).get("holder") == self.key

    def pump(self, now_ns: int) -> None:
        """Take what has arrived; send this tick's command when it is due."""
        for event in self.link.poll(now_ns):
            self._take(event, now_ns)
        if now_ns >= self._next_command:
            self._next_command = max(self._next_command + COMMAND_PERIOD_NS, now_ns)
            # a site that is still starting sends its status before its arm has said anything
            seen = self.frame if (self.frame.get("arm") or {}).get("pose") else None
            intention = self.intention
            if self.peer_checkpoint and not intention.peer_checkpoint:
                intention = replace(intention, peer_checkpoint=self.peer_checkpoint)
            command = self.maker.step(now_ns, seen, intention)
            if command is not None:
                self.link.send_command(encode_command(command))

    def send(self, op: str, timeout_s: float = 10.0, **fields: Any) -> Pending:
        """Give an order; look at the result's `reply` later (one that says `lost` after `timeout_s`)."""
        pending = Pending(op)
        self._pending[self.link.order({"op": op, **fields}, timeout_s)] = pending
        return pending

    def ask(self, op: str, timeout_s: float = 30.0, **fields: Any) -> Waiting[dict[str, Any]]:
        """Script form of `send`: waits for the answer, raises OrderRefused when it is no."""
        pending = self.send(op, timeout_s, **fields)
        reply: dict[str, Any] = yield from until(lambda: pending.reply, timeout_s + 1.0, f"{self.name} answers {op}")
        if not reply.get("ok"):
            raise OrderRefused(op, reply)
        return reply

    def stop(self) -> None:
        """Stop the arm: on every path, repeated until echoed; needs no authority."""
        self.link.stop()

    def _take(self, event: Any, now_ns: int) -> None:
        match event:
            case events.StateFrame(data=data):
                self.frame = msgpack.unpackb(data, raw=False)
                self.frame_at = now_ns
                age = self.frame.get("gov", {}).get("loop_age_ns")
                if self.holding and age:
                    self.loop_ages_ms.append(age * 1e-6)
            case events.Reply(id=id_, reply=reply):
                if pending := self._pending.pop(id_, None):
                    pending.reply = reply
            case events.OrderLost(id=id_, why=why):
                if pending := self._pending.pop(id_, None):
                    pending.reply = {"ok": False, "reason": f"no answer: {why}", "lost": True}
            case events.Note(note=note):
                if note.get("t") == "status":
                    self.texts = {k: v for k, v in note.items() if k != "t"}
                elif note.get("t") == "checkpoint":
                    self._take_checkpoint(note)
                else:
                    self.notes.append(note)
            case events.StopEchoed(ordinal=ordinal):
                self.stop_echoed = ordinal
            case events.Up():
                self.up, self.why_down = True, ""
            case events.Down(why=why) | events.Refused(why=why):
                self.up, self.why_down = False, why
            case _:
                self.notes.append({"t": "link", "event": type(event).__name__, "text": str(event)})

    def _take_checkpoint(self, note: dict[str, Any]) -> None:
        text = note.get("note")
        if note.get("site") == self.name and isinstance(text, str) and len(text) < MAX_CHECKPOINT:
            self.checkpoint = text
