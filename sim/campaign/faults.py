"""The faults F01-F48 as injections into a `World`, each with what must follow and by when.

A fault strikes while the tool moves. `respond`: states (or an alarm "!name") that must be entered within `within` ns of the
reference `world.ref` (the strike, unless the injection moves it). `keep`: no HOLD or worse may follow. `check` adds what is
special. Travel, time to rest, order, foreign motion and keep-outs are judged in every run of every fault.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from safety.command import Command
from safety.decode import decode_command
from safety.governor import boot
from safety.inputs import ArmIn, OrderIn, PeerIn, RolesIn, StopIn, TickIn
from safety.params import MS, S
from safety.situation import Situation
from safety.states import State
from sim.campaign.hand import pack
from sim.campaign.rig import OBSERVER, OTHER, ROLES, STRANGER, SURGEON
from sim.campaign.site import Halt
from sim.campaign.world import World
from sim.network.models import GilbertElliott, Normal, Ramp

MODES = ("servo", "jog", "goal", "advance")
ALL = MODES
EYE = ("servo", "jog")
PATHS = ("goal", "advance")
#: L + Td + the governor's tick.
T_BEGIN = 150 * MS + 4 * MS + 10 * MS
BAD = ("HOLD", "STOP", "FAULT")


@dataclass(frozen=True)
class Fault:
    """See the module. `strike` is called once, `each` every 2 ms afterwards; `struck` proves that it happened."""

    id: str
    title: str
    strike: Callable[[World], None]
    struck: Callable[[World], bool]
    modes: tuple[str, ...] = ALL
    na: str = ""
    respond: tuple[str, ...] = ()
    within: int = 0
    keep: bool = False
    each: Callable[[World], None] | None = None
    check: Callable[[World], list[str]] | None = None
    horizon: int = 900 * MS
    params: tuple[tuple[str, object], ...] = ()
    truth: bool = False  # encoders lie: travel is judged by the simulator's truth


FAULTS: dict[str, Fault] = {}


def add(fault: Fault) -> None:
    FAULTS[fault.id] = fault


def order(w: World, op: str, *, key: str = "bedside", **fields: Any) -> None:
    peer = {"bedside": "case", "local": "adapter"}.get(key, "gateway")
    w.decide(OrderIn(w.now, peer, key, 1, {"op": op, **fields}))


def last_valid(w: World) -> None:
    """Reference: the last valid command before the response, found afterwards by the runner."""
    w.ref = -1


def every(ns: int, act: Callable[[World], None], until: int = 10 * S) -> Callable[[World], None]:
    """Act each `ns` since the strike."""

    def each(w: World) -> None:
        if w.elapsed() <= until and w.elapsed() % ns == 0:
            act(w)

    return each


def newest(w: World) -> Command:
    """The holder's newest frame on the wire, decoded: what an attacker who reads everything knows."""
    return decode_command(w.wire[-1])


def cut_count(w: World) -> bool:
    return any(c.counts.cut > 0 for pair in w.paths for c in pair)


def seeded(w: World, n: int) -> int:
    """0..n-1 by seed: the variants of a fault."""
    return w.seed % n


# --- the line ----------------------------------------------------------------------------------------------------------


def _f01(w: World) -> None:
    w.cut(10 * S)
    last_valid(w)


def _f01_check(w: World) -> list[str]:
    """HOLD half a second after the last valid command, STOP after three seconds of that."""
    held, stopped = w.judge.entered(("HOLD",), w.struck_at), w.judge.entered(("STOP",), w.struck_at)
    if held is None or stopped is None or stopped - held > w.site.params.hold_stop_ns + 20 * MS:
        return ["a line that stayed down did not lead to STOP within 3 s of HOLD"]
    return []


add(Fault("F01", "link cut, both paths", _f01, cut_count, respond=("HOLD",), within=530 * MS, check=_f01_check,
          horizon=3700 * MS))  # fmt: skip
add(Fault("F02", "one path cut", lambda w: w.cut(10 * S, (seeded(w, 2),)), cut_count, respond=("!path_lost",),
          within=320 * MS, keep=True))  # fmt: skip


def _f03(w: World) -> None:
    w.cut((50, 100, 500)[seeded(w, 3)] * MS)


def _f03_check(w: World) -> list[str]:
    if seeded(w, 3) == 0 and w.judge.entered(("HOLD", "STOP"), w.struck_at) is not None:
        return ["a burst of 5 frames led to HOLD"]
    return []


add(Fault("F03", "burst loss of 5, 10, 50 frames", _f03, cut_count, check=_f03_check))


def _f04(w: World) -> None:
    p = (0.01, 0.05, 0.15, 0.30)[seeded(w, 4)]
    for up, down in w.paths:
        up.set_line(replace(up.line, loss=GilbertElliott(p, 1.0)))
        down.set_line(replace(down.line, loss=GilbertElliott(p, 1.0)))


def _f04_check(w: World) -> list[str]:
    states = {w.state_at_strike} | {new for t, _, new, _ in w.judge.changes if t >= w.struck_at}
    if seeded(w, 4) == 3 and not states & {"DEGRADED", "PAUSE", "HOLD"}:
        return ["30 % loss on both paths and the state did not change"]
    if seeded(w, 4) == 0 and states & set(BAD):
        return ["1 % loss on two paths led to HOLD"]
    return []


add(Fault("F04", "random loss 1-30 %", _f04, lambda w: any(c.counts.lost for pair in w.paths for c in pair),
          check=_f04_check, horizon=2500 * MS))  # fmt: skip


def _f05(w: World) -> None:
    t = (w.now - w.t0) / 1e9
    for up, down in w.paths:
        for c in (up, down):
            c.set_line(replace(c.line, delay=Ramp(c.line.delay, t, t + 2.0, 1000.0)))


add(Fault("F05", "bufferbloat, 0 to 2 s in 2 s", _f05, lambda w: w.site.s.age > 300 * MS or w.site.s.state in BAD or
          w.site.s.state is State.PAUSE, respond=("PAUSE", "HOLD"), within=1300 * MS, horizon=1500 * MS))  # fmt: skip


def _f06(w: World) -> None:
    for up, _ in w.paths:
        up.set_line(replace(up.line, delay=Normal(20.0, 70.0), fifo=False, reorder=0.05, reorder_ms=60.0))


add(Fault("F06", "jitter of 100 ms, reordering", _f06, lambda w: any(u.counts.reordered for u, _ in w.paths)))
add(Fault("F07", "every frame 2 to 10 times", lambda w: setattr(w, "copies", 2 + seeded(w, 9)),
          lambda w: w.count.delivered > 2.5 * w.count.sent, keep=True))  # fmt: skip


def _f08(w: World) -> None:
    w.hold_up = []
    last_valid(w)


def _f08_each(w: World) -> None:
    if w.hold_up is not None and w.elapsed() >= 1200 * MS:
        held, w.hold_up = w.hold_up, None
        w.count.injected += len(held)
        w.judge.foreign -= 0
        before = w.judge.leases
        for path, data in held:
            w.arrive(path, data)
        if w.judge.leases != before:
            w.judge.wrong("a frame of the burst moved the arm")


add(Fault("F08", "TCP stall, then a burst", _f08, lambda w: w.count.injected > 50, respond=("HOLD",), within=530 * MS,
          each=_f08_each, horizon=1400 * MS))  # fmt: skip


def _f09(w: World) -> None:
    w.cut(10 * S, down=False)
    last_valid(w)


add(Fault("F09", "half-open connection, black hole", _f09, cut_count, respond=("HOLD",), within=530 * MS))
add(Fault("F10", "feedback dead, commands flow", lambda w: w.cut(10 * S, up=False), cut_count, respond=("PAUSE", "HOLD"),
          within=500 * MS + T_BEGIN))  # fmt: skip
add(Fault("F11", "video frozen, state alive", lambda w: setattr(w, "view_frozen", (w.now - 30 * MS) // (33 * MS) * 33 * MS),
          lambda w: w.site.s.age > 250 * MS or w.site.s.state is State.PAUSE, modes=EYE,
          na="goal and advance are not steered by the picture", respond=("PAUSE", "HOLD"), within=550 * MS,
          params=(("require_view", True),)))  # fmt: skip

# --- attackers ---------------------------------------------------------------------------------------------------------

add(Fault("F12", "corrupted datagrams", lambda w: setattr(w, "corrupt", 0.2 + 0.1 * seeded(w, 4)),
          lambda w: w.count.unsealed > 5))  # fmt: skip
add(Fault("F13", "replay within the session", lambda w: None, lambda w: w.count.injected > 20, keep=True,
          each=every(20 * MS, lambda w: w.inject(w.rng.choice(w.wire[:-20] or w.wire[:1]), SURGEON))))  # fmt: skip


def _spoiled(**changes: object) -> Callable[[World], bytes]:
    return lambda w: pack(replace(newest(w), seq=newest(w).seq + 1, **changes))  # type: ignore[arg-type]


def _attack(make: Callable[[World], bytes], key: str = SURGEON) -> Callable[[World], None]:
    return lambda w: w.inject(make(w), key)


def _refused(*reasons: str) -> Callable[[World], bool]:
    return lambda w: w.rejected(*reasons) > 5


add(Fault("F14", "replay of another session", lambda w: None, _refused("session"), respond=("!other_session",), within=25 * MS,
          each=every(20 * MS, _attack(_spoiled(session=b"M" * 16)), 160 * MS)))  # fmt: skip
add(Fault("F15", "insertion by an unknown key", lambda w: None, _refused("role"), respond=("!foreign",), within=25 * MS, keep=True,
          each=every(20 * MS, _attack(_spoiled(), STRANGER))))  # fmt: skip


def _f16(w: World) -> None:
    variant = seeded(w, 3)
    if variant == 0:
        w.inject(_spoiled(arm="arm2")(w), OTHER)
    elif variant == 1:
        w.inject(_spoiled()(w), OBSERVER)
    else:
        w.inject(_spoiled()(w), OTHER)


add(Fault("F16", "valid key, wrong arm or role", lambda w: None, _refused("address", "role", "not_holder"),
          respond=("!foreign",), within=25 * MS, keep=True, each=every(20 * MS, _f16)))  # fmt: skip


def _lead(w: World) -> None:
    c = newest(w)
    w.inject(pack(replace(c, seq=c.seq + 10**6 + w.elapsed() // MS)), SURGEON)


add(Fault("F17", "sequence-leading with a stolen key", lambda w: None, _refused("sequence_jump"), respond=("HOLD",),
          within=12 * 10 * MS + 10 * MS, each=every(10 * MS, _lead, 300 * MS)))  # fmt: skip


def _f18(w: World) -> None:
    for up, down in w.paths:
        up.set_line(replace(up.line, delay=_Later(up.line.delay)))
        del down


@dataclass(frozen=True)
class _Later:
    """250 ms on top."""

    base: object

    def draw(self, now_ns: int, rng: random.Random) -> int:
        return int(self.base.draw(now_ns, rng)) + 250 * MS  # type: ignore[attr-defined]


add(Fault("F18", "delay attack, +250 ms", _f18, lambda w: w.site.s.age > 230 * MS or w.site.s.state is State.PAUSE,
          respond=("DEGRADED", "PAUSE", "HOLD"), within=600 * MS))  # fmt: skip


def _f19(w: World) -> None:
    good = msgpack.unpackb(w.wire[-1])
    good["seq"] += 1
    variant = w.rng.randrange(7)
    nan = float("nan")
    if variant == 0:
        data = b"\x91" * 400
    elif variant == 1:
        data = b"\xc1" * 2000
    elif variant == 2:
        data = msgpack.packb(good | ({"target": [nan] * 7} if good["target"] else {"s_limit": nan}))
    elif variant == 3:
        data = msgpack.packb(good | {"stop": 0})
    elif variant == 4:
        data = msgpack.packb(good | {"epoch": True})
    elif variant == 5:
        raw = msgpack.packb(good)
        data = bytes([0xDE, 0, len(good) + 1]) + raw[3:] + msgpack.packb("v") + msgpack.packb(1)
    else:
        data = bytes(w.rng.randrange(256) for _ in range(w.rng.randrange(1, 480)))
    w.inject(data, OTHER)


add(Fault("F19", "malformed, oversize, NaN, doubled keys", lambda w: None,
          _refused("size", "decode", "fields", "not_finite"), keep=True, each=every(4 * MS, _f19)))  # fmt: skip


def _f20(w: World) -> None:
    frame = _spoiled()(w)
    for _ in range(4):
        w.inject(frame, STRANGER)


def _f20_check(w: World) -> list[str]:
    if w.site.s.last_valid < w.now - 60 * MS:
        return ["the holder's stream suffered from the flood"]
    return []


add(Fault("F20", "flood at 2 kHz by another key", lambda w: None, lambda w: w.rejected("flood") > 50, respond=("!flood",),
          within=600 * MS, keep=True, each=every(2 * MS, _f20), check=_f20_check))  # fmt: skip

# --- the hand ----------------------------------------------------------------------------------------------------------


def _f21_check(w: World) -> list[str]:
    s = w.site.s
    return ["the jumped target was taken"] if s.last_target and s.rejected.get("jump", 0) == 0 else []


add(Fault("F21", "target jumps by 40 mm", lambda w: setattr(w.hand, "jump", 0.04), _refused("jump"), modes=EYE,
          na="a path has no free target: s_limit is clamped to the stored path", respond=("HOLD", "PAUSE"), within=450 * MS,
          check=_f21_check))  # fmt: skip


def _f22(w: World) -> None:
    if w.hand.path:
        w.hand.s_limit = 99.0
        return
    pose = w.site.tip()
    ball = w.site.s.scene.keepouts[0].a if w.site.s.scene else (0.0, 0.0, 0.0)
    way = [b - float(a) for a, b in zip(pose[:3], ball, strict=True)]
    length = sum(x * x for x in way) ** 0.5
    w.hand.way = w.hand.way * 0.0 + [x / length for x in way]
    w.hand.base = w.site.last_report.setpoint if w.site.last_report else w.hand.base
    w.hand.moved, w.hand.sign, w.hand.speed, w.hand.reach = 0.0, 1.0, 0.2, 0.2


add(Fault("F22", "runaway hand at 200 mm/s towards a keep-out", _f22, lambda w: w.hand.speed > 0.1 or w.hand.s_limit > 9,
          horizon=2500 * MS))  # fmt: skip


add(Fault("F23", "hand stuck", lambda w: setattr(w.hand, "still", True), lambda w: "stuck" in w.site.s.reason, modes=EYE,
          na="hold-to-run does not tremble; its limit of two minutes is in the state tests", respond=("HOLD",),
          within=6100 * MS, horizon=6300 * MS,
          params=(("stuck_prompt_ns", 5 * S), ("stuck_hold_ns", 1 * S))))  # fmt: skip


def _f24(w: World) -> None:
    w.hand.wants = False


def _f24_each(w: World) -> None:
    if w.ref == w.struck_at and w.wire and decode_command(w.wire[-1]).press == 0:
        w.ref = w.now


add(Fault("F24", "deadman released", _f24, lambda w: not w.hand.press, respond=("PAUSE",), within=420 * MS, keep=True,
          each=_f24_each))  # fmt: skip

# --- processes ---------------------------------------------------------------------------------------------------------


def _f25(w: World) -> None:
    w.hand_alive, w.hand_deaf = False, True
    last_valid(w)


add(Fault("F25", "console killed", _f25, lambda w: not w.hand_alive, respond=("HOLD",), within=530 * MS))


def _f26_each(w: World) -> None:
    if not w.hand_alive and w.elapsed() >= 1000 * MS:
        w.hand_alive, w.hand_deaf = True, False
        w.count.injected = w.judge.leases
    if w.hand_alive and w.judge.leases != w.count.injected:
        w.judge.wrong("the woken console moved the arm")


add(Fault("F26", "console stopped for 1 s, then continued", _f25, lambda w: w.hand_alive, respond=("HOLD",), within=530 * MS,
          each=_f26_each, horizon=1400 * MS))  # fmt: skip


def _f27(w: World) -> None:
    w.gateway_alive = False
    w.decide(PeerIn(w.now, "gateway", False))


add(Fault("F27", "gateway killed", _f27, lambda w: not w.gateway_alive, respond=("HOLD",), within=10 * MS))


def _f28(w: World) -> None:
    w.governor_alive = False


add(Fault("F28", "governor killed or stopped", _f28, lambda w: not w.governor_alive))


def _stall(w: World, ns: int) -> None:
    if w.governor_backlog is None:
        w.governor_backlog = []
        w.count.injected = w.now + ns


def _unstall(w: World) -> None:
    if w.governor_backlog is not None and w.now >= w.count.injected:
        late = w.now - (w.count.injected - w.late_ns)
        w.judge.late_ticks += late > 20 * MS
        w.wake_governor()
        w.decide(TickIn(w.now, max(late, w.late_ns), 0))
        w.late_ns = 0


def _f29(w: World) -> None:
    w.late_ns = (30 + 30 * seeded(w, 10)) * MS
    _stall(w, w.late_ns)


def _f29_check(w: World) -> list[str]:
    state = w.site.s.state
    long = 30 + 30 * seeded(w, 10) > 165
    if long and w.judge.entered(("HOLD", "PAUSE"), w.struck_at) is None:
        return [f"woke later than L and is in {state}"]
    return []


add(Fault("F29", "governor late by 30-300 ms", _f29, lambda w: w.judge.late_ticks > 0,
          each=_unstall, check=_f29_check, respond=("DEGRADED", "PAUSE", "HOLD"), within=330 * MS))  # fmt: skip

# --- the arm -----------------------------------------------------------------------------------------------------------


def _arm(name: str, value: object) -> Callable[[World], None]:
    return lambda w: setattr(w.site.arm, name, value)


def _f30_each(w: World) -> None:
    r = w.site.last_report
    if r is not None and r.drive == "fault" and w.ref == w.struck_at:
        w.ref = w.now


add(Fault("F30", "arm stops following", _arm("stuck", True), lambda w: w.site.last_report is not None and
          w.site.last_report.drive == "fault", respond=("STOP",), within=50 * MS, each=_f30_each, horizon=1500 * MS))  # fmt: skip


def _drive_fault(w: World) -> bool:
    return w.site.last_report is not None and w.site.last_report.drive == "fault"


def _f31(w: World) -> None:
    assert w.site.arm is not None
    if seeded(w, 2):
        w.site.arm.offset[seeded(w, 7)] += 0.05
    else:
        w.site.arm.freeze = True


add(Fault("F31", "encoder freezes or jumps", _f31, _drive_fault, respond=("FAULT", "STOP"), within=70 * MS, truth=True))
add(Fault("F32", "force over its limit", _arm("force", 45.0), lambda w: w.site.s.state in (State.HOLD, State.STOP),
          respond=("HOLD",), within=20 * MS))  # fmt: skip

# --- clocks ------------------------------------------------------------------------------------------------------------

add(Fault("F33", "wall clock steps by an hour", lambda w: setattr(w, "wall_step", (3600 if seeded(w, 2) else -3600) * S),
          lambda w: w.alarm("clock"), respond=("!clock",), within=12 * MS, keep=True))  # fmt: skip
add(Fault("F34", "console clock drifts by 500 ppm and steps", lambda w: setattr(w.hand, "clock_rate", 1.0005 - 0.5 * seeded(w, 2)),
          lambda w: w.hand.clock_rate != 1.0, keep=True))  # fmt: skip

# --- authority ---------------------------------------------------------------------------------------------------------


def _f35(w: World) -> None:
    order(w, "request", key=OTHER)
    order(w, "grant", holder=OTHER)


add(Fault("F35", "two consoles claim one arm", _f35, _refused("not_holder"), respond=("!foreign",), within=25 * MS, keep=True,
          each=every(20 * MS, _attack(_spoiled(), OTHER))))  # fmt: skip


def _f36(w: World) -> None:
    w.cut(10 * S)
    last_valid(w)


def _f36_each(w: World) -> None:
    if w.count.injected == 0 and w.elapsed() >= 1300 * MS:
        order(w, "request", key=OTHER)
        order(w, "grant", holder=OTHER)
        for up, down in w.paths:
            up.heal()
            down.heal()
    if w.elapsed() >= 1300 * MS and w.elapsed() % (10 * MS) == 0:
        old = newest(w)
        s = w.site.s
        w.inject(
            pack(replace(old, seq=old.seq + 1 + w.elapsed() // MS, echo_state=w.now - 20 * MS, rebase=s.rebase)),
            SURGEON,
        )


add(Fault("F36", "partition heals, the former owner goes on", _f36, _refused("epoch", "not_holder"), respond=("HOLD",),
          within=530 * MS, each=_f36_each, horizon=1700 * MS,
          check=lambda w: [] if w.site.s.auth.holder == OTHER else ["the bedside's grant did not happen"]))  # fmt: skip
add(Fault("F37", "take-over during motion", lambda w: order(w, "take_over"), lambda w: w.site.s.state is State.LOCAL,
          respond=("LOCAL",), within=50 * MS,
          check=lambda w: ["commands were accepted after the take-over"] if w.site.s.accepted != w.accept0 else []))  # fmt: skip


def _f38(w: World) -> None:
    site, old = w.site, w.site.s
    first = old.auth.epoch_end + 1
    fresh: Situation
    again = replace(site.boot_input, now=w.now, session=b"R" * 16, epoch_first=first, epoch_last=first + 4095)
    fresh, _ = boot(again)
    fresh.stop_ordinal = old.stop_ordinal
    site.s = fresh
    site.inbox.append(Halt())
    w.decide(ArmIn(w.now, True))
    for role in ("recorder", "case", "gateway"):
        w.decide(PeerIn(w.now, role, True))
    w.accept0 = 0
    w.rejected0 = {}


add(Fault("F38", "governor restarts", _f38, _refused("session", "epoch", "not_holder"), respond=("READY",), within=30 * MS,
          check=lambda w: ["a command of the former epoch was accepted"] if w.site.s.accepted else []))  # fmt: skip

# --- the case ----------------------------------------------------------------------------------------------------------


def _f39(w: World) -> None:
    if seeded(w, 2):
        w.hand.plan = b"edited!!"
        return
    _rescene(w, plan_hash=b"edited!!")


def _rescene(w: World, **changes: Any) -> None:
    scene = w.site.s.scene
    assert scene is not None and scene.corridor is not None
    c = scene.corridor
    base: dict[str, Any] = {
        "plan_hash": scene.plan_hash, "registration_epoch": scene.registration_epoch, "confirmed": True,
        "sigma_reg": scene.sigma_reg,
        "corridor": {"entry": list(c.entry), "axis": list(c.axis), "radius": c.radius},
        "keepouts": [],
    }  # fmt: skip
    order(w, "scene", **(base | changes))


add(Fault("F39", "stale or edited plan", _f39, lambda w: w.rejected("plan_hash") > 0 or w.site.s.state is State.HOLD,
          respond=("HOLD", "PAUSE"), within=450 * MS))  # fmt: skip
add(Fault("F40", "registration changed or marker lost", lambda w: _rescene(w, registration_epoch=2) if seeded(w, 2) else
          order(w, "clear_scene"), lambda w: w.site.s.state is State.HOLD, respond=("HOLD",), within=100 * MS))  # fmt: skip
add(Fault("F42", "key revoked in mid-session", lambda w: w.decide(RolesIn(w.now, tuple(e for e in ROLES if e[0] != SURGEON))),
          _refused("role"), respond=("HOLD",), within=1 * S,
          check=lambda w: [] if w.site.s.auth.holder == "" else ["the revoked key still holds the arm"]))  # fmt: skip


def _f44(w: World) -> None:
    if seeded(w, 2):
        w.muted.add("recorder")
        w.decide(PeerIn(w.now, "recorder", False))
    else:
        w.recorder_note = "disk_full"


add(Fault("F44", "log disk full, or recorder killed", _f44, lambda w: w.alarm("log_disk") or w.alarm("recorder_lost"),
          respond=("HOLD",), within=1100 * MS, horizon=1300 * MS, params=(("log_grace_ns", 1 * S),)))  # fmt: skip


def _f47_each(w: World) -> None:
    if w.elapsed() % (80 * MS) == 0:
        w.late_ns = w.rng.randrange(25, 70) * MS
        _stall(w, w.late_ns)
    _unstall(w)


add(Fault("F47", "machine overloaded: late again and again", lambda w: None,
          lambda w: w.judge.late_ticks > 3, each=_f47_each, respond=("DEGRADED", "PAUSE", "HOLD"),
          within=200 * MS))  # fmt: skip
add(Fault("F48", "one packet stops", lambda w: w.decide(StopIn(w.now, "gateway", STRANGER)), lambda w: w.site.s.stop_ordinal > 0,
          respond=("STOP",), within=50 * MS,
          check=lambda w: [] if w.site.s.stop_by == STRANGER else ["the stop is not attributed"]))  # fmt: skip

#: Rows of the matrix that have no meaning as seeds x modes, and where they are tested.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "F41": (
        "wrong patient, side or level",
        "tests/safety/test_states.py::test_each_missing_condition_blocks_and_is_named",
    ),
    "F43": ("configuration outside its envelope", "tests/safety/test_params.py"),
    "F45": ("log tampered with", "tests/log"),
    "F46": ("power cut in mid-write", "tests/log"),
}

# --- a scenario: hand-over ------------------------------------------------------------------------------------------------


def _hand_over(w: World) -> None:
    order(w, "request", key=OTHER)
    order(w, "release", key=SURGEON, to=OTHER)


def _hand_over_each(w: World) -> None:
    if w.elapsed() == 400 * MS:
        order(w, "grant", holder=OTHER)
    if w.elapsed() > 400 * MS and w.elapsed() % (20 * MS) == 0:
        c = newest(w)
        w.inject(pack(replace(c, seq=c.seq + 5 + w.elapsed() // MS, press=c.press + 3, rebase=w.site.s.rebase,
                              echo_state=w.now - 20 * MS)), SURGEON)  # fmt: skip


add(Fault("S01", "hand-over from one surgeon to another", _hand_over, _refused("epoch", "not_holder"), respond=("HOLD",),
          within=10 * MS, each=_hand_over_each,
          check=lambda w: [] if w.site.s.auth.holder == OTHER else ["the hand-over did not happen"]))  # fmt: skip
