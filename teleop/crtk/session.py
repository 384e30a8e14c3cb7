"""`LocalSession`: what the local principal (all CRTK clients of the site together) is doing. Pure: time comes in as ns.

The edge feeds it what arrives (`on_*`, `state_command`, `servo`, ...) and ticks it; after each call it takes away
`outbox` (messages for governor.sock), `notes` (words for people) and `changed` (publish operating_state now).

servo_jp, servo_cp   one lease each; silence decelerates, the arm stays ENABLED.
servo_jv, servo_cv   the velocity is integrated for VELOCITY_NS after each message, then the arm decelerates.
interpolate_cp       the target is held, and its lease renewed, for INTERPOLATE_NS after each message.
move_jp, move_cp     stop first, plan a checked path from where the arm stands, store it, renew its lease until the goal,
                     `hold`, another motion, or the end of the client that asked. Busy from the message to that end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teleop.crtk import states
from teleop.crtk.moves import Move, MoveRefused
from teleop.crtk.stream import LOCAL, LocalStream
from teleop.geometry import Pose, check_pose, compose, quat_angle, rotvec_to_quat

MS = 1_000_000
#: The governor takes 400 frames a second of one key; the newest of a faster stream wins.
MIN_GAP_NS = 4 * MS
RENEW_NS = 20 * MS
VELOCITY_NS = 100 * MS
INTERPOLATE_NS = 500 * MS
#: How far an integrated velocity may run ahead of the reference: the tip (m), any joint (rad).
LEAD_M = 0.015
LEAD_RAD = 0.10
#: A status older than this is no status (it comes at least every 100 ms); the same for the arm's state.
SILENCE_NS = 1000 * MS
ARM_SILENCE_NS = 500 * MS
STORE_NS = 2000 * MS
STALL_NS = 5000 * MS
ARRIVED_M = 2e-4
NOTE_GAP_NS = 1000 * MS
#: An `enable` that comes while the site is still starting waits for it so long.
ENABLE_PATIENCE_NS = 5000 * MS


@dataclass(frozen=True, slots=True)
class ArmView:
    """What the adapter knows of the arm: robot ns; rad, rad/s, N m; base_T_tip measured and set-point; drive word."""

    stamp: int
    q: tuple[float, ...]
    dq: tuple[float, ...]
    q_ref: tuple[float, ...]
    pose: Pose
    setpoint: Pose
    s: float
    path_hash: bytes
    drive: str

    @property
    def still(self) -> bool:
        return self.drive in ("standstill", "parked")


@dataclass(slots=True)
class _Streaming:
    """servo_jv, servo_cv or interpolate_cp: what is renewed, and until when."""

    kind: str
    value: tuple[float, ...]
    until: int
    at: tuple[float, ...] = ()  # integrated target
    last: int = 0


@dataclass(slots=True)
class _Moving:
    kind: str
    goal: tuple[float, ...]
    clients: frozenset[bytes]
    phase: str = "stop"  # stop, store, run
    since: int = 0
    move: Move | None = None
    last_s: float = -1.0
    progress: int = 0


Planner = Callable[[str, Sequence[float], Sequence[float]], Move]


@dataclass
class LocalSession:
    """site, arm: names; joints: how many; plan(kind, q_now, goal) for "jp" and "cp", raises MoveRefused."""

    site: str
    arm_name: str
    joints: int
    plan: Planner
    outbox: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changed: bool = False
    status: dict[str, Any] | None = None
    arm: ArmView | None = None
    goal_q: tuple[float, ...] = ()
    goal_pose: Pose | tuple[()] = ()

    def __post_init__(self) -> None:
        self._stream = LocalStream(self.site, self.arm_name)
        self._status_at = self._last_sent = 0
        self._order = 0
        self._orders: dict[int, str] = {}
        self._streaming: _Streaming | None = None
        self._pending: tuple[str, tuple[float, ...]] | None = None
        self._moving: _Moving | None = None
        self._noted: dict[str, int] = {}
        self._shown = ("", False)
        self._enable_until = 0

    # --- what everybody may see ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """CRTK operating state."""
        return states.operating_state(self.status)

    @property
    def busy(self) -> bool:
        return self._moving is not None

    @property
    def idle(self) -> bool:
        """Nobody here may move the arm, and nobody waits for an answer: nothing here is urgent."""
        return not (self.enabled or self.busy or self._orders or self._enable_until)

    @property
    def enabled(self) -> bool:
        """May our own commands move the arm?"""
        s = self.status
        return (self.state == states.ENABLED and s is not None and s["holder"] == LOCAL
                and s["epoch"] == self._stream.epoch != 0)

    # --- what arrives --------------------------------------------------------------------------------------------

    def on_status(self, status: dict[str, Any], now: int) -> None:
        self.status, self._status_at = status, now
        if not self.enabled:
            self._stop_streaming()
            if self._moving is not None:
                self._end_move(f"{self._moving.kind} ended: the arm is {status['state']} ({status['reason']})")
        if self._enable_until and (status["state"] != "INIT" or now > self._enable_until):
            self._enable_until = 0
            self._give({"op": "enable"})
        self._watch()

    def on_governor_gone(self) -> None:
        """The socket closed: leases end by themselves, nothing of ours survives."""
        self.status = None
        self._orders.clear()
        self._stop_streaming()
        if self._moving is not None:
            self._end_move("move ended: the governor is gone, the arm comes to rest by its lease")
        self._watch()

    def on_arm(self, arm: ArmView, now: int) -> None:
        self.arm = arm
        self.tick(now)

    def on_reply(self, message: Mapping[str, Any], now: int) -> None:
        what = self._orders.pop(int(message["id"]), "")
        if message["ok"]:
            if what == "enable":
                self._stream.granted(int(message["epoch"]), bytes(message["session"]))
                self._watch()
            return
        if what == "path" and self._moving is not None:
            self._end_move(f"{self._moving.kind} refused: {message['reason']}")
        else:
            self.notes.append(str(message["reason"]))

    def on_verdict(self, message: Mapping[str, Any], now: int) -> None:
        reason = str(message["reason"])
        if reason not in ("ok", "rebase"):  # rebase: sent before we could know, the next one is right
            self._note(reason, f"refused by the governor: {reason} {message.get('text', '')}".rstrip(), now)

    # --- what clients ask ----------------------------------------------------------------------------------------

    def state_command(self, word: str, now: int) -> None:
        self._fresh(now)
        answer = states.answer(word, self.status)
        if answer.refusal:
            self.notes.append(answer.refusal)
        self._enable_until = 0
        if word == "enable" and self.status is not None and self.status["state"] == "INIT":
            self._enable_until = now + ENABLE_PATIENCE_NS
        elif answer.order is not None:
            self._give(answer.order)
        self.changed = True  # answered by operating_state, whatever came of it

    def hold(self, now: int) -> None:
        """Stop where you are; ENABLED stays."""
        if self._moving is not None:
            self._end_move("")
        self._stop_streaming()
        if self.status is not None and self.status["holder"] == LOCAL:
            self._give({"op": "halt"})

    def servo(self, kind: str, value: Sequence[float], now: int) -> None:
        """kind "jp" (rad), "cp" (pose 7): one lease; "jv" (rad/s), "cv" (twist 6); "interpolate" (pose 7)."""
        checked = self._accept(f"servo_{kind}" if kind != "interpolate" else "interpolate_cp", kind, value, now)
        if checked is None:
            return
        if self._moving is not None:
            self._end_move(f"{self._moving.kind} ended: {kind} took over")
        if kind in ("jp", "cp"):
            self._streaming = None
            self._pending = (kind, checked)
        else:
            self._pending = None
            life = INTERPOLATE_NS if kind == "interpolate" else VELOCITY_NS
            if self._streaming is not None and self._streaming.kind == kind:
                self._streaming.value, self._streaming.until = checked, now + life
            else:
                self._streaming = _Streaming(kind, checked, now + life, last=now)
        self.tick(now)

    def move(self, kind: str, goal: Sequence[float], clients: frozenset[bytes], now: int) -> None:
        """kind "jp" or "cp"; clients: ids of who publishes there, to notice when they are gone."""
        checked = self._accept(f"move_{kind}", kind, goal, now)
        if checked is None:
            return
        self._stop_streaming()
        self._moving = _Moving(f"move_{kind}", checked, clients, since=now)
        assert self.arm is not None
        if not self.arm.still:
            self._give({"op": "halt"})
        self._watch()

    def on_clients(self, topic_clients: Mapping[str, frozenset[bytes]]) -> None:
        """Who publishes on move_jp and move_cp now."""
        m = self._moving
        if m is not None and m.clients and not m.clients & topic_clients.get(m.kind, frozenset()):
            self._end_move(f"{m.kind} ended: the client that asked for it is gone")
            self._give({"op": "halt"})

    def tick(self, now: int) -> None:
        """Time passes: at least every 20 ms."""
        self._fresh(now)
        if self._moving is not None:
            if self.busy and not self._shown[1]:
                return  # let everybody see `busy` before it can end
            self._advance(self._moving, now)
        elif now - self._last_sent < MIN_GAP_NS or not self.enabled or self.arm is None:
            return
        elif self._pending is not None:
            (kind, value), self._pending = self._pending, None
            self._send_servo(kind, value, now)
        elif self._streaming is not None and now - self._streaming.last >= min(RENEW_NS, 10 * MS):
            self._renew(self._streaming, now)

    def shown(self) -> tuple[str, bool]:
        """The edge publishes (state, busy) now; clears `changed`."""
        self.changed = False
        self._shown = (self.state, self.busy)
        return self._shown

    # --- inside --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if (self.state, self.busy) != self._shown:
            self.changed = True

    def _fresh(self, now: int) -> None:
        if self.status is not None and now - self._status_at > SILENCE_NS:
            self.on_governor_gone()
            self._note("silent", "the governor is silent", now)

    def _note(self, key: str, text: str, now: int) -> None:
        """At most once a second per kind."""
        if now - self._noted.get(key, -NOTE_GAP_NS) >= NOTE_GAP_NS:
            self._noted[key] = now
            self.notes.append(text)

    def _give(self, order: dict[str, Any]) -> None:
        self._order += 1
        self._orders[self._order] = str(order["op"])
        self.outbox.append({"t": "order", "key": LOCAL, "id": self._order, "order": order})

    def _stop_streaming(self) -> None:
        self._streaming = self._pending = None

    def _accept(self, name: str, kind: str, value: Sequence[float], now: int) -> tuple[float, ...] | None:
        """The value as it may be used, or None (with a note) where the arm is not ours, or the value is nonsense."""
        self._fresh(now)
        if not self.enabled:
            holder = self.status["holder"] if self.status is not None else ""
            reason = self.status["reason"] if self.status is not None else "no governor is heard"
            if self.state == states.ENABLED:
                why = f"it is held by {holder}, not by a local client"
            elif self.state == states.PAUSED:
                why = f"resume it first ({reason})"
            else:
                why = "enable it first" if self.state == states.DISABLED else reason
            self._note(name, f"{name} ignored: the arm is {self.state}; {why}", now)
            return None
        if self.arm is None or now - self.arm.stamp > ARM_SILENCE_NS:
            self._note(name, f"{name} ignored: the arm does not report", now)
            return None
        count = {"jp": self.joints, "jv": self.joints, "cv": 6}.get(kind, 7)
        numbers = tuple(float(x) for x in value)
        if len(numbers) != count:
            self._note(name, f"{name} ignored: {len(numbers)} values where {count} belong", now)
            return None
        if any(x - x != 0.0 for x in numbers):
            self._note(name, f"{name} ignored: a value is not finite", now)
            return None
        if count == 7 and kind in ("cp", "interpolate"):
            try:
                return check_pose(numbers, name)
            except ValueError as error:
                self._note(name, f"{name} ignored: {error}", now)
                return None
        return numbers

    def _command(self, now: int, **what: Any) -> None:
        assert self.status is not None and self.arm is not None
        self.outbox.append(self._stream.frame(self.status, self.arm.stamp, **what))
        self._last_sent = now

    def _send_servo(self, kind: str, value: tuple[float, ...], now: int) -> None:
        self._stream.new_motion(("servo", kind))
        if kind == "jp":
            self.goal_q = value
            self._command(now, q_target=value)
        else:
            self.goal_pose = value  # type: ignore[assignment]
            self._command(now, target=value)

    def _renew(self, stream: _Streaming, now: int) -> None:
        if now > stream.until:
            self._streaming = None
            return
        assert self.arm is not None
        dt = min(now - stream.last, 50 * MS) * 1e-9
        stream.last = now
        if stream.kind == "interpolate":
            self._send_servo("cp", stream.value, now)
        elif stream.kind == "jv":
            ref = self.arm.q_ref or self.arm.q
            at = stream.at or ref
            stream.at = tuple(
                min(max(a + v * dt, r - LEAD_RAD), r + LEAD_RAD) for a, v, r in zip(at, stream.value, ref, strict=True))
            self._send_servo("jp", stream.at, now)
        else:
            stream.at = _carry(stream.at or self.arm.setpoint, stream.value, dt, self.arm.setpoint)
            self._send_servo("cp", stream.at, now)

    def _advance(self, m: _Moving, now: int) -> None:
        """One look at a move under way."""
        arm, status = self.arm, self.status
        if arm is None or status is None or not self.enabled:
            return
        if now - arm.stamp > ARM_SILENCE_NS:
            self._end_move(f"{m.kind} ended: the arm does not report")
        elif m.phase == "stop":
            if arm.still:
                self._store(m, arm, now)
            elif now - m.since > STALL_NS:
                self._end_move(f"{m.kind} given up: the arm does not come to rest")
        elif m.phase == "store":
            assert m.move is not None and m.move.path is not None
            if m.move.path.path_hash in status["paths"]:
                m.phase, m.progress = "run", now
                self._stream.new_motion(m.move.path.path_hash)
            elif now - m.since > STORE_NS:
                self._end_move(f"{m.kind} refused: the arm did not take the path")
        if self._moving is m and m.phase == "run":
            self._run(m, arm, now)

    def _store(self, m: _Moving, arm: ArmView, now: int) -> None:
        try:
            m.move = self.plan(m.kind.removeprefix("move_"), arm.q_ref or arm.q, m.goal)
        except MoveRefused as refusal:
            self._end_move(f"{m.kind} refused: {refusal}")
            return
        self.goal_q, self.goal_pose = m.move.q_goal, m.move.pose_goal
        if m.move.note:
            self.notes.append(f"{m.kind}: {m.move.note}")
        path = m.move.path
        if path is None:
            self._end_move("")
            return
        m.phase, m.since = "store", now
        self._give({"op": "path", "kind": path.kind, "q": path.q, "s": path.s, "margin": path.margin,
                    "path_hash": path.path_hash})

    def _run(self, m: _Moving, arm: ArmView, now: int) -> None:
        assert m.move is not None and m.move.path is not None and self.status is not None
        path = m.move.path
        if arm.path_hash == path.path_hash:
            if arm.s >= path.s[-1] - ARRIVED_M and arm.still:
                self._command(now, release=True)
                self._end_move("")
                return
            if arm.s > m.last_s + 1e-6:
                m.last_s, m.progress = arm.s, now
        if now - m.progress > STALL_NS:
            self._end_move(f"{m.kind} given up at {max(m.last_s, 0.0) * 1e3:.0f} of {path.s[-1] * 1e3:.0f} mm: "
                           f"{self.status['v_cap_why'] or self.status['last_reject'] or self.status['reason']}")
            self._give({"op": "halt"})
        elif now - self._last_sent >= RENEW_NS:
            self._command(now, mode="goal", path_hash=path.path_hash, s_limit=path.s[-1])

    def _end_move(self, note: str) -> None:
        if note:
            self.notes.append(note)
        self._moving = None
        self._watch()


def _carry(pose: Sequence[float], twist: Sequence[float], dt: float, reference: Sequence[float]) -> Pose:
    """`pose` moved by a base-frame twist for dt s, kept within LEAD_M of the reference (orientation: no further turn
    while the lead is used up)."""
    x, y, z = (p + v * dt for p, v in zip(pose[:3], twist[:3], strict=True))
    turn = rotvec_to_quat([w * dt for w in twist[3:]])
    turned = compose((0.0, 0.0, 0.0, *turn), (0.0, 0.0, 0.0, *pose[3:]))
    away = [a - b for a, b in zip((x, y, z), reference[:3], strict=True)]
    distance = sum(a * a for a in away) ** 0.5
    if distance > LEAD_M:
        x, y, z = (b + a * LEAD_M / distance for a, b in zip(away, reference[:3], strict=True))
    quat = turned[3:] if quat_angle(turned[3:], reference[3:]) <= LEAD_RAD else tuple(pose[3:])
    return (x, y, z, *quat)  # type: ignore[return-value]
