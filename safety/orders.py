"""Orders: what may be asked of the governor, by whom, and what comes of it. Schema in docs/orders.md.

Principals: "bedside" (through the case node), "local" (through the CRTK adapter), "gateway" (the site's own link
measurements), or a CURVE key (through the gateway). A peer that uses another's name is refused and raises an alarm.
An order never moves anything by itself, and none that came over the WAN can raise a limit.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from safety import alarms, authority
from safety.admission import on_stop
from safety.conditions import blockers
from safety.decode import Refusal
from safety.fixtures import scene_from
from safety.inputs import ClearOut, ForgetOut, HaltOut, OrderIn, Output, PathOut, PersistOut, ReplyOut
from safety.lease import StoredPath, path_digest
from safety.params import Params
from safety.roles import Roles
from safety.situation import Situation
from safety.states import Mode, Reason, State
from safety.supervision import self_test
from safety.transitions import (
    MOVING,
    begin_drill,
    begin_epoch,
    end_motion,
    hold,
    move_to,
    need_new_press,
    pause,
    remember_former,
    take_over,
)  # fmt: skip

BEDSIDE, LOCAL, GATEWAY = authority.BEDSIDE, authority.LOCAL, "gateway"
MAX_PATHS = 16
MAX_ROWS = 2000
Answer = tuple[bool, str, dict[str, Any]]
_INF = float("inf")


def _yes(**extra: Any) -> Answer:
    return True, "", extra


def _no(reason: str) -> Answer:
    return False, reason, {}


def on_order(s: Situation, out: list[Output], i: OrderIn, p: Params) -> None:
    """Always answers exactly once."""
    op = i.order.get("op")
    ok, reason, extra = _handle(s, out, i, op, p)
    out.append(ReplyOut(i.peer, i.key, i.id, ok, reason, extra))


def _handle(s: Situation, out: list[Output], i: OrderIn, op: object, p: Params) -> Answer:
    home = {BEDSIDE: "case", LOCAL: "adapter", GATEWAY: "gateway"}.get(i.key, "gateway")
    if i.peer != home:
        s.alarms = alarms.raised(s.alarms, "masquerade", f"peer {i.peer} gave an order as {i.key!r}", s.now)
        return _no(f"peer {i.peer} may not speak for {i.key!r}")
    if i.key == LOCAL and not s.local_control:
        return _no("local control is off at this site (local_control:=true switches it on, never in a case)")
    handler = HANDLERS.get(op) if type(op) is str else None
    if handler is None:
        return _no(f"unknown order {op!r}; known: {', '.join(HANDLERS)}")
    who, act = handler
    if not _may(s, i.key, who):
        return _no(f"{op}: only for {', '.join(who)}")
    try:
        return act(s, out, i, p)
    except Refusal as refusal:
        return _no(str(refusal))


def _may(s: Situation, key: str, who: tuple[str, ...]) -> bool:
    for w in who:
        if w == "anyone" or w == key:
            return True
        if w == "holder" and key == s.auth.holder and key:
            return True
        if w == "surgeon" and s.roles.has(key, "surgeon"):
            return True
    return False


# --- authority ------------------------------------------------------------------------------------------------------


def _request(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    s.auth = authority.request(s.auth, i.key)
    return _yes(epoch=s.auth.epoch)


def _still(s: Situation) -> bool:
    """May another get the arm now? Never while leases are being given, nor before a stop is re-armed."""
    return s.state in (State.READY, State.HOLD) and s.lease is None


def _grant(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    holder = i.order.get("holder")
    if type(holder) is not str or not s.roles.has(holder, "surgeon"):
        return _no("grant: holder must be a key with the role surgeon for this arm")
    recorder = s.peers.get("recorder")
    if recorder is not None and recorder.note in ("disk_low", "disk_full"):
        return _no("grant: the log's disk is nearly full, no new grant")
    return _give(s, out, holder, p)


def _give(s: Situation, out: list[Output], holder: str, p: Params) -> Answer:
    if s.state not in (State.READY, State.HOLD):
        return _no(f"grant: not in {s.state}")
    former = s.auth.holder
    auth, refusal = authority.grant(s.auth, holder, s.now, p.authority_ttl_ns, still=_still(s))
    if refusal:
        return _no(f"grant: {refusal}")
    if former and former != holder:
        remember_former(s)
    s.auth = auth
    begin_epoch(s)
    if s.state is State.HOLD:
        s.alarms = alarms.cleared(s.alarms, "hold")
    move_to(s, out, State.READY, f"granted to {s.roles.name(holder)}", BEDSIDE if holder != LOCAL else LOCAL)
    return _yes(epoch=auth.epoch, session=s.session)


def _release(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    to = i.order.get("to", "")
    if type(to) is not str:
        return _no("release: to must be a key")
    auth, refusal = authority.release(s.auth, i.key, to)
    if refusal:
        return _no(f"release: {refusal}")
    if to:
        hold(s, out, p, f"hand-over to {s.roles.name(to)}", i.key, counted=False)
    else:
        if s.lease is not None or s.state in (*MOVING, State.PAUSE):
            end_motion(s, out, "released")
        remember_former(s)
        if s.state in (*MOVING, State.PAUSE, State.HOLD):
            s.alarms = alarms.cleared(s.alarms, "hold")
            move_to(s, out, State.READY, "released by its holder", i.key)
    s.auth = auth
    return _yes()


def _take_over(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.state is State.FAULT:
        return _no("take_over: in FAULT the robot's own stop and release are the way")
    begin_drill(s, "take_over", p)
    take_over(s, out)
    return _yes(epoch=s.auth.epoch)


def _return_local(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.state is not State.LOCAL:
        return _no(f"return_local: the arm is in {s.state}, not LOCAL")
    if s.local_stop:
        return _no(f"return_local: {s.local_stop}: re-arm at the table first")
    if s.lease is not None:
        end_motion(s, out, "returned by the bedside")
    s.auth = authority.return_to_ready(s.auth)
    s.alarms = alarms.cleared(s.alarms, "take_over")
    move_to(s, out, State.INIT, "returned by the bedside", i.key)  # the self-test once more: the arm may have changed
    self_test(s, out, p)
    return _yes()


def _enable(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.state in (State.FAULT, State.STOP):
        return _no(f"enable: {s.state}: {s.reason}")
    if s.remote:
        return _no("enable: a remote surgeon holds this arm")
    if s.auth.holder == LOCAL and s.state in (State.READY, *MOVING):
        return _yes(epoch=s.auth.epoch, session=s.session)
    if s.state in (State.HOLD, State.PAUSE):
        s.alarms = alarms.cleared(s.alarms, "hold")
        s.acked = True
        move_to(s, out, State.READY, "enabled by the local client", i.key)
    missing = [b for b in blockers(s, p) if "arm" in b.split(":")[0] or "drive" in b or "record" in b or "fault" in b]
    missing = [b for b in missing if not b.startswith("nobody")]
    if s.state is not State.READY or missing:
        return _no(f"enable: {missing[0] if missing else s.reason}")
    answer = _give(s, out, LOCAL, p)
    if answer[0]:
        s.press_floor = 0  # a program has no deadman: its press is its participation
    return answer


def _disable(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.auth.holder != LOCAL:
        return _yes()
    return _release(s, out, i, p)


def _revoke(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    key = i.order.get("key")
    if type(key) is not str:
        return _no("revoke: key is missing")
    set_roles(s, out, Roles(tuple(e for e in s.roles.entries if e[0] != key)), p)
    return _yes()


def set_roles(s: Situation, out: list[Output], roles: Roles, p: Params) -> None:
    """A new role table; a holder that is no surgeon any more is held and fenced in the same step."""
    name = s.roles.name(s.auth.holder)
    s.roles = roles
    if s.remote and not roles.has(s.auth.holder, "surgeon"):
        s.alarms = alarms.raised(s.alarms, "revoked", f"{name}: key revoked or expired", s.now)
        hold(s, out, p, f"the key of {name} was revoked", "roles")
        s.auth = authority.fence(s.auth)


# --- stopping and going on ------------------------------------------------------------------------------------------


def _hold(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    hold(s, out, p, f"hold by {s.roles.name(i.key)}", i.key, counted=False)
    return _yes(state=str(s.state))


def _stop(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    on_stop(s, out, i.key, p)
    return _yes(state=str(s.state))


def _halt(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.lease is not None:
        pause(s, out, p, "operator", "halted by its holder", i.key)
    else:
        out.append(HaltOut("halted by its holder"))
    return _yes()


def _pause(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.state not in (State.READY, *MOVING):
        return _no(f"pause: not in {s.state}")
    end_motion(s, out, "paused by the local client")
    s.pause_kind = "operator"
    move_to(s, out, State.PAUSE, "paused by the local client", i.key)
    return _yes()


def _resume(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.state is not State.PAUSE or s.auth.holder != LOCAL:
        return _no(f"resume: not in {s.state}")
    move_to(s, out, State.READY, "resumed by the local client", i.key)
    return _yes()


def _ack(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if i.key == s.auth.holder and s.state is State.HOLD:
        s.acked = True
        _clear_drive(s, out)
        if i.key == LOCAL:
            s.alarms = alarms.cleared(s.alarms, "hold")
            move_to(s, out, State.READY, "acknowledged by the local client", i.key)
    which = i.order.get("id", "")
    s.alarms = alarms.acknowledged(s.alarms, which if type(which) is str else "")
    return _yes(reason=s.reason)


def _rearm(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.fault_to_ack and s.state is State.INIT:
        s.fault_to_ack = ""
        out.append(PersistOut(""))
        _clear_drive(s, out)
        return _yes()
    if s.state is State.INIT and s.report is not None and s.report.drive == "fault":
        _clear_drive(s, out)  # the drive kept its fault over the governor's restart
        return _yes()
    if s.state is State.LOCAL and s.report is not None and (s.local_stop or s.report.drive == "fault"):
        s.local_stop = ""
        s.alarms = alarms.acknowledged(alarms.cleared(s.alarms, "stop"), "stop")
        _clear_drive(s, out)
        return _yes()
    if s.state is not State.STOP:
        return _no(f"rearm: the arm is in {s.state}, not STOP" + (f" ({s.reason})" if s.state is State.FAULT else ""))
    s.alarms = alarms.acknowledged(alarms.cleared(s.alarms, "stop"), "stop")
    _clear_drive(s, out)
    move_to(s, out, State.READY, "re-armed on site", i.key)
    return _yes()


def _clear_drive(s: Situation, out: list[Output]) -> None:
    """Ask a drive at fault to forget it; where it cannot, the fault counts again after half a second."""
    if s.report is not None and s.report.drive == "fault":
        out.append(ClearOut())
        s.clear_until = s.now + 500_000_000


def _speed(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    v = i.order.get("v")
    if type(v) is not float or not 0.0 <= v <= 1.0:
        return _no("speed: v needs a float 0 .. 1 m/s; 0 means no limit of one's own")
    s.user_cap = v
    return _yes()


# --- the case -------------------------------------------------------------------------------------------------------


def _scene(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    scene = scene_from(i.order)
    old = s.scene
    if s.state in (*MOVING, State.PAUSE) and old is not None and s.remote:
        if scene.plan_hash != old.plan_hash:
            hold(s, out, p, "the plan changed", i.key)
        elif scene.registration_epoch != old.registration_epoch or not scene.confirmed:
            hold(s, out, p, "the registration changed", i.key)
        elif scene != old:
            pause(s, out, p, "scene", "the corridor or the keep-outs changed", i.key)
    elif s.lease is not None:
        pause(s, out, p, "scene", "the scene changed", i.key)
    s.scene = scene
    return _yes()


def _clear_scene(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.remote:
        hold(s, out, p, "the case withdrew its plan", i.key)
    s.scene = None
    return _yes()


def _rows(value: Any, name: str) -> list[Any]:
    if type(value) not in (list, tuple) or not 2 <= len(value) <= MAX_ROWS:
        raise Refusal(Reason.FIELDS, f"path: {name} needs 2..{MAX_ROWS} entries")
    return list(value)


def _numbers(row: Any, name: str) -> tuple[float, ...]:
    if type(row) not in (list, tuple):
        raise Refusal(Reason.FIELDS, f"path: {name} needs lists of floats")
    for x in row:
        if type(x) is not float or not -_INF < x < _INF:
            raise Refusal(Reason.FIELDS, f"path: {name} holds {x!r}, needs finite floats")
    return tuple(row)


def path_from(order: dict[str, Any]) -> StoredPath:
    """From the `path` order; raises `Refusal(FIELDS)` naming what is wrong."""
    kind = order.get("kind")
    if kind not in (Mode.GOAL, Mode.ADVANCE, Mode.REHEARSAL):
        raise Refusal(Reason.FIELDS, f"path: kind {kind!r}, known: goal, advance, rehearsal")
    q = tuple(_numbers(row, "q") for row in _rows(order.get("q"), "q"))
    s, margin = _numbers(_rows(order.get("s"), "s"), "s"), _numbers(_rows(order.get("margin"), "margin"), "margin")
    if not len(q) == len(s) == len(margin):
        raise Refusal(Reason.FIELDS, f"path: {len(q)} rows of q, {len(s)} of s, {len(margin)} of margin")
    if not 1 <= len(q[0]) <= 16 or any(len(row) != len(q[0]) for row in q):
        raise Refusal(Reason.FIELDS, "path: every row of q needs the same number of joints")
    if s[0] != 0.0 or any(b <= a for a, b in pairwise(s)):
        raise Refusal(Reason.FIELDS, "path: s must begin at 0 and increase strictly")
    if any(abs(b - a) > 0.2 for one, two in pairwise(q) for a, b in zip(one, two, strict=True)):
        raise Refusal(Reason.FIELDS, "path: a joint jumps by more than 0.2 rad between two samples")
    digest = path_digest(str(kind), q, s, margin)
    if order.get("path_hash") != digest:
        raise Refusal(Reason.PATH_HASH, "path: path_hash is not the digest of this path")
    return StoredPath(digest, str(kind), q, s, margin)


def _path(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    path = path_from(i.order)
    if not s.arm_up:
        return _no("path: the arm is not connected")
    paths = dict(s.paths)
    known = paths.get(path.path_hash)
    if known is not None and known[1]:
        return _yes(path_hash=path.path_hash)
    keep = s.lease.path_hash if s.lease is not None else b""
    while len(paths) >= MAX_PATHS:
        oldest = next((h for h in paths if h != keep), None)
        if oldest is None:
            break
        paths.pop(oldest)
    paths[path.path_hash] = (path, False)
    s.paths = paths
    out.append(PathOut(path))
    return _yes(path_hash=path.path_hash)


def _clear_paths(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    if s.lease is not None and s.lease.path_hash:
        pause(s, out, p, "scene", "the stored paths were withdrawn", i.key)
    s.paths = {}
    out.append(ForgetOut())
    return _yes()


def _qualify(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    result = i.order.get("result")
    if type(result) is not dict or type(result.get("passed")) is not bool:
        return _no("qualify: result needs a map with passed (boolean)")
    if not result["passed"]:
        s.line_until = 0
        return _yes(note="recorded as not passed")
    demo = result.get("demo", False) is not False
    if demo and not s.demo_qualification:
        return _no("qualify: a DEMO qualification is no certificate; this governor runs without --demo-qualification")
    s.line_until, s.line_demo = s.now + p.qualification_ns, demo
    return _yes(until=s.line_until, demo=demo)


def _rehearse(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    on = i.order.get("on")
    if type(on) is not bool:
        return _no("rehearse: on needs a boolean")
    if on and s.state is not State.READY:
        return _no(f"rehearse: not in {s.state}, needs READY")
    if not on and s.lease is not None and s.lease.mode == Mode.REHEARSAL:
        end_motion(s, out, "rehearsal ended")
        need_new_press(s)
    s.rehearsal_on = on
    return _yes()


def _note(s: Situation, out: list[Output], i: OrderIn, p: Params) -> Answer:
    return _yes()


Handler = Callable[[Situation, list[Output], OrderIn, Params], Answer]
#: op -> (who may, handler)
HANDLERS: dict[str, tuple[tuple[str, ...], Handler]] = {
    "request": (("surgeon",), _request),
    "grant": ((BEDSIDE,), _grant),
    "release": (("holder",), _release),
    "take_over": ((BEDSIDE,), _take_over),
    "return_local": ((BEDSIDE,), _return_local),
    "enable": ((LOCAL,), _enable),
    "disable": ((LOCAL,), _disable),
    "revoke": ((BEDSIDE,), _revoke),
    "hold": (("holder", BEDSIDE, LOCAL), _hold),
    "stop": (("anyone",), _stop),
    "halt": (("holder",), _halt),
    "pause": ((LOCAL,), _pause),
    "resume": ((LOCAL,), _resume),
    "ack": (("holder", BEDSIDE), _ack),
    "rearm": ((BEDSIDE, LOCAL), _rearm),
    "stop_ack": ((BEDSIDE, LOCAL), _rearm),
    "speed": (("holder",), _speed),
    "scene": ((BEDSIDE,), _scene),
    "clear_scene": ((BEDSIDE,), _clear_scene),
    "path": ((BEDSIDE, LOCAL), _path),
    "clear_paths": ((BEDSIDE, LOCAL), _clear_paths),
    "qualify": ((BEDSIDE, GATEWAY), _qualify),
    "rehearse": ((BEDSIDE,), _rehearse),
    "note": (("anyone",), _note),
}
