"""The state table: every state against every event, timers, latches, conditions; who may do what."""

import functools
from typing import Any

import pytest

from safety.inputs import (
    ArmIn,
    BeatIn,
    ChangeOut,
    ClearOut,
    CommandIn,
    FaultOut,
    HaltOut,
    LinkIn,
    OrderIn,
    PathOkIn,
    PeerIn,
    PersistOut,
    ReplyOut,
    RolesIn,
    TickIn,
)  # fmt: skip
from safety.params import MS, S
from safety.speed_law import rest_bound_ns, travel_bound
from safety.states import Reason, State
from safety.status import status_of
from sim.campaign.rig import GOOD_LINK, HOME, OBSERVER, OTHER, PLAN, ROLES, STRANGER, SURGEON, Rig

NR = {"require_rehearsal": False}


def paused(kind: str = "operator") -> Rig:
    r = Rig(**NR).active()
    r.pass_time(10 * MS)
    if kind == "operator":
        r.send(press=0)
    else:
        r.pass_time(160 * MS)
    assert r.s.state is State.PAUSE and r.s.pause_kind == kind
    return r


def held() -> Rig:
    r = Rig(**NR).active()
    r.pass_time(700 * MS)
    assert r.s.state is State.HOLD
    return r


def stopped() -> Rig:
    r = Rig(**NR).active()
    r.stop()
    return r


def faulted() -> Rig:
    r = Rig(**NR).active()
    r.do(ArmIn(r.now, False))
    return r


def local() -> Rig:
    r = Rig(**NR).active()
    r.must("take_over")
    return r


def degraded() -> Rig:
    r = Rig(**NR).active()
    r.do(LinkIn(r.now, [{"alive": True, "rtt_ms": 40.0, "loss": 0.0}, {"alive": False}]))
    r.do(TickIn(r.now, 0, 0))
    assert r.s.state is State.DEGRADED
    return r


@functools.cache
def standing_in(state: State) -> Rig:
    """Made once; tests work on forks."""
    return MAKE[state]()


MAKE = {
    State.INIT: lambda: Rig(**NR), State.READY: lambda: Rig(**NR).granted(), State.ACTIVE: lambda: Rig(**NR).active(),
    State.DEGRADED: degraded, State.PAUSE: paused, State.HOLD: held, State.STOP: stopped, State.FAULT: faulted,
    State.LOCAL: local,
}  # fmt: skip

#: event -> (what happens, state afterwards from: INIT READY ACTIVE DEGRADED PAUSE HOLD STOP FAULT LOCAL)
N, R, A, D, P, H, T, F, L = (State.INIT, State.READY, State.ACTIVE, State.DEGRADED, State.PAUSE, State.HOLD, State.STOP,
                            State.FAULT, State.LOCAL)  # fmt: skip
COLUMNS = (N, R, A, D, P, H, T, F, L)
EVENTS: dict[str, tuple[Any, tuple[State, ...]]] = {
    "stop by a stranger": (lambda r: r.stop(), (N, T, T, T, T, T, T, F, L)),
    "hold by the bedside": (lambda r: r.order("hold"), (N, H, H, H, H, H, T, F, L)),
    "take-over": (lambda r: r.order("take_over"), (L, L, L, L, L, L, L, F, L)),
    "return": (lambda r: r.order("return_local"), (N, R, A, D, P, H, T, F, R)),
    "re-arm": (lambda r: r.order("rearm"), (N, R, A, D, P, H, R, F, L)),
    "grant to another": (lambda r: r.order("grant", holder=OTHER), (N, R, A, D, P, H, T, F, L)),
    "ack by the holder": (lambda r: r.order("ack", key=SURGEON), (N, R, A, D, P, H, T, F, L)),
    "the arm is gone": (lambda r: r.do(ArmIn(r.now, False)), (N, F, F, F, F, F, F, F, F)),
    "the recorder is gone": (lambda r: r.do(PeerIn(r.now, "recorder", False)), (N, R, H, H, H, H, T, F, L)),
    "the gateway is gone": (lambda r: r.do(PeerIn(r.now, "gateway", False)), (N, R, H, H, H, H, T, F, L)),
    "the case is gone": (lambda r: r.do(PeerIn(r.now, "case", False)), (N, R, H, H, H, H, T, F, L)),
    "the adapter is gone": (lambda r: r.do(PeerIn(r.now, "adapter", False)), (N, R, A, D, P, H, T, F, L)),
    "another registration": (
        lambda r: r.order("scene", plan_hash=PLAN, registration_epoch=2, confirmed=True), (N, R, H, H, H, H, T, F, L)),
    "another plan": (
        lambda r: r.order("scene", plan_hash=b"another!", registration_epoch=1, confirmed=True), (N, R, H, H, H, H, T, F, L)),
    "other keep-outs": (
        lambda r: r.order("scene", plan_hash=PLAN, registration_epoch=1, confirmed=True, sigma_reg=0.0004),
        (N, R, P, P, P, H, T, F, L)),
    "no plan any more": (lambda r: r.order("clear_scene"), (N, H, H, H, H, H, T, F, L)),
    "tracking error": (
        lambda r: (step_on(r), r.report(tracking_error=0.006)), (N, T, T, T, T, T, T, F, L)),
    "force": (lambda r: (step_on(r), r.report(force=31.0)), (N, R, H, H, P, H, T, F, L)),
    "drive fault: tracking": (
        lambda r: (step_on(r), r.report(drive="fault", fault="tracking error")), (N, T, T, T, T, T, T, F, L)),
    "drive fault: force": (
        lambda r: (step_on(r), r.report(drive="fault", fault="force 40 N")), (N, H, H, H, H, H, T, F, L)),
    "drive fault: encoder": (
        lambda r: (step_on(r), r.report(drive="fault", fault="encoder frozen")), (N, F, F, F, F, F, F, F, F)),
    "pose jumps": (lambda r: (step_on(r), r.report(pose=(0.5, *HOME[1:]))), (N, F, F, F, F, F, F, F, F)),
    "release": (lambda r: r.order("release", key=SURGEON), (N, R, R, R, R, R, T, F, L)),
    "hand-over": (lambda r: r.order("release", key=SURGEON, to=OTHER), (N, H, H, H, H, H, T, F, L)),
    "key revoked": (
        lambda r: r.do(OrderIn(r.now, "case", "bedside", 99, {"op": "revoke", "key": SURGEON})), (N, H, H, H, H, H, T, F, L)),
    "very late tick": (lambda r: r.do(TickIn(r.now, 151 * MS, 0)), (N, R, H, H, P, H, T, F, L)),
    "late tick": (lambda r: r.do(TickIn(r.now, 21 * MS, 0)), (N, R, D, D, P, H, T, F, L)),
    "clock step": (lambda r: r.do(TickIn(r.now, 0, 3600 * S)), (N, R, A, D, P, H, T, F, L)),
    "deadman released": (lambda r: r.send(press=0), (N, R, P, P, P, H, T, F, L)),
    "unknown order": (lambda r: r.order("retract"), (N, R, A, D, P, H, T, F, L)),
    "order of a stranger": (lambda r: r.order("hold", key=STRANGER), (N, R, A, D, P, H, T, F, L)),
}  # fmt: skip


def step_on(r: Rig) -> None:
    """A new instant, since a report needs a new stamp; before the lease in force ends."""
    r.now += MS
    if r.s.state is State.INIT:
        r.do(ArmIn(r.now, True))
        r.report()
        r.now += MS


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", COLUMNS)
def test_state_against_event(state: State, event: str) -> None:
    r = standing_in(state).fork()
    assert r.s.state is state
    act, after = EVENTS[event]
    mark = len(r.log)
    act(r)
    want = after[COLUMNS.index(state)]
    assert r.s.state is want, r.s.reason
    outs = [o for _, out in r.log[mark:] for o in out]
    if want is not state:
        assert any(isinstance(o, ChangeOut) and o.new == want and o.reason for o in outs)
    if state in (A, D) and want not in (A, D):
        assert any(isinstance(o, HaltOut) for o in outs)  # decelerate in this very step
        assert r.s.lease is None and r.s.v_cap == 0.0


# --- INIT ----------------------------------------------------------------------------------------------------------


def test_init_waits_for_arm_and_recorder_and_says_so() -> None:
    r = Rig()
    r.pass_time(50 * MS)
    assert r.s.state is State.INIT and "arm" in r.s.reason
    r.do(ArmIn(r.now, True))
    r.report(drive="fault", fault="encoder")
    r.pass_time(20 * MS, beats=False)
    assert "drive" in r.s.reason
    r.pass_time(20 * MS)
    assert "recorder" in r.s.reason
    r.do(PeerIn(r.now, "recorder", True))
    r.pass_time(10 * MS)
    assert r.s.state is State.READY


def test_a_fault_of_the_last_run_is_acknowledged_on_site_first() -> None:
    r = Rig(fault="arm gone")
    r.do(ArmIn(r.now, True))
    r.do(PeerIn(r.now, "recorder", True))
    r.pass_time(50 * MS)
    assert r.s.state is State.INIT and "arm gone" in r.s.reason
    assert not r.order("rearm", key=SURGEON)[0]
    r.must("rearm")
    assert PersistOut("") in r.log[-1][1]
    r.pass_time(10 * MS)
    assert r.s.state is State.READY


def test_a_restart_without_recorder_requirement() -> None:
    r = Rig(require_recorder=False)
    r.do(ArmIn(r.now, True))
    r.pass_time(20 * MS)
    assert r.s.state is State.READY


# --- READY -> ACTIVE -----------------------------------------------------------------------------------------------


def spoil(r: Rig, what: str) -> None:
    match what:
        case "recorder" | "case":
            r.do(PeerIn(r.now, what, False))
        case "disk":
            r.do(BeatIn(r.now, "recorder", "disk_full"))
        case "line":
            r.must("qualify", result={"passed": False})
        case "confirm":
            r.scene(confirmed=False)
        case "scene":
            r.s.scene = None
        case "health":
            r.do(LinkIn(r.now, [{"alive": False}]))
        case "slow line":
            r.do(LinkIn(r.now, [{"alive": True, "rtt_ms": 450.0, "loss": 0.0}]))
        case "lossy line":
            r.do(LinkIn(r.now, [{"alive": True, "rtt_ms": 50.0, "loss": 0.3}]))
        case "rtt unknown":
            r.do(LinkIn(r.now, [{"alive": True, "loss": 0.0}]))
        case "drive":
            r.now += MS
            r.report(drive="fault", fault="force")
            r.s.state = State.READY


@pytest.mark.parametrize(("what", "word"), [
    ("recorder", "recorder"), ("disk", "disk"), ("case", "bedside desk"), ("line", "qualified"), ("confirm", "confirmed"),
    ("scene", "confirmed"), ("health", "healthy"), ("slow line", "healthy"), ("lossy line", "healthy"),
    ("rtt unknown", "healthy"), ("drive", "drive"),
])  # fmt: skip
def test_each_missing_condition_blocks_and_is_named(what: str, word: str) -> None:
    r = Rig(**NR).granted()
    assert status_of(r.s, r.params)["blockers"] == []
    spoil(r, what)
    assert any(word in b for b in status_of(r.s, r.params)["blockers"])
    out = r.send(press=1)
    assert r.verdict(out) == Reason.STATE and not r.leases(out)
    assert r.s.state is State.READY


def test_a_gateway_that_left_blocks() -> None:
    r = Rig(**NR).granted()
    r.do(PeerIn(r.now, "gateway", False))
    assert r.verdict(r.send(press=1)) == Reason.STATE


def test_two_healthy_seconds_not_less() -> None:
    r = Rig(**NR).ready()
    r.qualified()
    r.scene()
    r.must("grant", holder=SURGEON)
    r.do(LinkIn(r.now, []))
    r.do(LinkIn(r.now, GOOD_LINK))
    since = r.now
    while r.now - since < 1990 * MS:
        r.pass_time(10 * MS)
        r.send(press=0)
    assert r.verdict(r.send(press=1)) == Reason.STATE
    r.pass_time(10 * MS)
    assert r.leases(r.send(press=1))


def test_the_qualification_runs_out() -> None:
    r = Rig(**NR).granted()
    r.s.line_until = r.now + 5 * MS
    r.pass_time(10 * MS)
    assert r.verdict(r.send(press=1)) == Reason.STATE


def test_a_demo_qualification_counts_only_where_the_process_says_so() -> None:
    demo = {"passed": True, "demo": True}
    assert not Rig().ready().order("qualify", result=demo)[0]
    r = Rig(demo=True).ready()
    r.must("qualify", result=demo)
    assert status_of(r.s, r.params)["qualified_demo"] is True
    assert not r.order("qualify", result={"passed": 1})[0]
    assert not r.order("qualify", key=SURGEON, result=demo)[0]
    assert r.order("qualify", key="gateway", result=demo)[0]


# --- rehearsal -----------------------------------------------------------------------------------------------------


def rehearse(r: Rig, press: int) -> None:
    path = r.stored_path("rehearsal")
    r.now += 10 * MS
    r.send(press=0)
    out = r.send(press=press, mode="rehearsal", target=None, s_limit=0.05, path_hash=path)
    (lease,) = r.leases(out)
    assert lease.lease.v_cap <= r.params.v_rehearsal
    assert r.s.state is State.READY
    r.now += 10 * MS
    r.report(speed=0.01, drive="moving", travel=1.0)


@pytest.mark.parametrize(("travel", "took", "passed"), [(1.0005, 150, True), (1.01, 150, False), (1.0005, 600, False)])
def test_the_governor_itself_measures_the_stop_rehearsal(travel: float, took: int, passed: bool) -> None:
    r = Rig().granted()
    assert r.verdict(r.send(press=1)) == Reason.STATE
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.stop(SURGEON)
    r.now += took * MS
    r.report(travel=travel)
    assert r.s.drills["stop"].passed is passed
    assert status_of(r.s, r.params)["rehearsals"]["stop"]["passed"] is passed


def test_both_rehearsals_open_the_way_to_active_for_half_an_hour() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.stop(SURGEON)
    r.now += 150 * MS
    r.report(travel=1.0005)
    r.must("rearm")
    r.granted()
    rehearse(r, 3)
    r.must("take_over")
    r.now += 150 * MS
    r.report(travel=1.0005)
    r.must("return_local")
    r.granted()
    assert status_of(r.s, r.params)["blockers"] == []
    r.s.drills["stop"] = r.s.drills["stop"].__class__(**{
        **{f: getattr(r.s.drills["stop"], f) for f in r.s.drills["stop"].__slots__}, "until": r.now})  # fmt: skip
    assert any("stop rehearsal" in b for b in status_of(r.s, r.params)["blockers"])


def test_tracking_seen_in_the_rehearsal_is_added_to_every_bound() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    bound, v = r.s.bound, r.s.v_cap
    r.now += 10 * MS
    r.report(speed=0.01, drive="moving", travel=1.0, tracking_error=0.0009)
    r.now += 10 * MS
    r.report(speed=0.01, drive="moving", travel=1.0, tracking_error=0.0001)
    path = next(iter(r.s.paths))
    r.send(press=2, mode="rehearsal", target=None, s_limit=0.05, path_hash=path)
    assert r.s.v_cap == v
    assert r.s.bound == pytest.approx(bound + 0.0007)


@pytest.mark.parametrize(("late_ms", "extra_ms"), [(0, 0), (14, 0), (44, 30)])
def test_a_braking_that_begins_late_in_the_rehearsal_is_added_to_every_bound(late_ms: int, extra_ms: int) -> None:
    """From 10 mm/s the assumed stop takes 0.7071 mm; what is beyond it is Td + Ta as measured, 14 ms are assumed."""
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.stop(SURGEON)
    r.now += 200 * MS
    r.report(travel=1.0 + 0.01 * late_ms * 1e-3 + 0.01 * (0.01 / 2.0) ** 0.5)
    assert r.s.drills["stop"].passed
    assert r.s.drills["stop"].react == pytest.approx(late_ms * MS, abs=1000)
    assert r.s.extra_react == pytest.approx(extra_ms * MS, abs=1000)
    assert status_of(r.s, r.params)["rehearsals"]["stop"]["react_ns"] == r.s.drills["stop"].react
    r.must("rearm")
    r.granted()
    rehearse(r, 3)
    v = r.s.peak_v
    assert r.s.bound == pytest.approx(travel_bound(v, r.params) + v * extra_ms * 1e-3, abs=1e-8)


def test_the_way_since_the_last_report_is_not_charged_to_the_rehearsed_stop() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.now += 8 * MS  # the arm goes on at 10 mm/s until the stop is decided
    r.stop(SURGEON)
    r.now += 200 * MS
    r.report(travel=1.0 + 0.01 * (0.008 + 0.010) + 0.01 * (0.01 / 2.0) ** 0.5)
    assert r.s.drills["stop"].react == pytest.approx(10 * MS, abs=1000)


def test_the_speed_law_counts_a_late_braking_as_blindness() -> None:
    def cap(extra: int) -> float:
        r = Rig(**NR).granted()
        r.s.extra_react = extra
        r.pass_time(10 * MS)
        r.send(press=1)
        return r.s.v_cap

    assert cap(0) > cap(30 * MS) > 0.0


def test_an_arm_that_was_still_speeding_up_tells_nothing_about_its_braking() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.now += 10 * MS
    r.report(speed=0.005, drive="moving", travel=1.0)
    r.stop(SURGEON)
    r.now += 150 * MS
    r.report(travel=1.001)
    assert r.s.drills["stop"].passed and r.s.drills["stop"].react == 0 and r.s.extra_react == 0


def test_a_stop_at_standstill_rehearses_nothing() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.now += 10 * MS
    r.report(speed=0.0005)
    r.stop(SURGEON)
    assert r.s.drill is None


def test_a_rehearsal_that_never_comes_to_rest_is_not_passed() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.stop(SURGEON)
    r.report_changes = {"speed": 0.01, "drive": "moving"}
    r.pass_time(5100 * MS)
    assert r.s.drill is None and "stop" not in r.s.drills


def test_rehearsal_ends_when_the_bedside_says_so() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    r.must("rehearse", on=False)
    assert r.s.lease is None
    assert r.verdict(r.send(press=2, mode="rehearsal", target=None, s_limit=0.05)) == Reason.STATE
    assert not r.order("rehearse", on=1)[0]
    assert not Rig(**NR).active().order("rehearse", on=True)[0]


def test_a_rehearsal_pauses_without_a_fault_when_commands_cease() -> None:
    r = Rig().granted()
    r.must("rehearse", on=True)
    rehearse(r, 2)
    rebase = r.s.rebase
    r.pass_time(160 * MS)
    assert r.s.state is State.READY and r.s.lease is None and r.s.rebase == rebase + 1


# --- PAUSE ---------------------------------------------------------------------------------------------------------


def test_lease_end_pauses_and_a_held_deadman_resumes_softly() -> None:
    r = Rig(**NR).active()
    expiry = r.s.lease.expiry  # type: ignore[union-attr]
    assert expiry == r.now + 150 * MS
    r.pass_time(149 * MS, step_ns=149 * MS)
    assert r.s.state is State.ACTIVE
    r.pass_time(1 * MS)
    assert r.s.state is State.PAUSE
    assert r.verdict(r.send(press=1)) == "ok"
    assert r.s.state is State.ACTIVE and r.s.fresh is False


def test_an_expired_lease_is_over_even_before_the_tick() -> None:
    r = Rig(**NR).active()
    r.now += 150 * MS
    frame = r.make(press=1)
    out = r.send(frame)
    assert r.verdict(out) == Reason.REBASE
    assert r.s.state is State.PAUSE


def test_three_soft_resumes_a_minute_then_hold() -> None:
    r = Rig(**NR).active()
    for k in range(3):
        r.pass_time(160 * MS)
        assert r.s.state is State.PAUSE, k
        r.send(press=1)
        assert r.s.state is State.ACTIVE
    assert any(a.id == "pauses" for a in r.s.alarms)
    r.pass_time(160 * MS)
    assert r.s.state is State.HOLD


def test_soft_resumes_are_forgotten_after_a_minute() -> None:
    r = Rig(**NR).active()
    for _ in range(5):
        r.pass_time(160 * MS)
        assert r.s.state is State.PAUSE
        for k in range(2001):
            r.send(press=1, target=(HOME[0] + 1e-5 * (k % 2), *HOME[1:]))
            r.pass_time(10 * MS)
            if r.s.state is not State.ACTIVE:
                break
        assert r.s.state is State.ACTIVE, r.s.reason


def test_pause_by_the_operator_is_uncounted_and_left_by_a_new_press() -> None:
    r = paused()
    assert (r.s.pauses, r.s.holds) == (0, 0)
    assert r.verdict(r.send(press=1)) == Reason.DEADMAN
    assert r.s.state is State.PAUSE
    for _ in range(300):
        r.pass_time(10 * MS)
        r.send(press=0)
    assert r.s.state is State.PAUSE  # as long as the line lives
    assert r.leases(r.send(press=2))
    assert r.s.state is State.ACTIVE


def test_a_release_during_a_pause_of_the_line_needs_a_new_press() -> None:
    r = paused("lease")
    r.send(press=0)
    assert r.verdict(r.send(press=1)) == Reason.DEADMAN
    assert r.leases(r.send(press=2))


def test_half_a_second_of_silence_holds_and_three_more_stop() -> None:
    r = Rig(**NR).active()
    r.pass_time(500 * MS)
    assert r.s.state is State.PAUSE
    r.pass_time(10 * MS)
    assert r.s.state is State.HOLD and "link_down" in {a.id for a in r.s.alarms}
    r.pass_time(3000 * MS)
    assert r.s.state is State.HOLD
    r.pass_time(10 * MS)
    assert r.s.state is State.STOP
    assert r.s.auth.holder == ""


def test_a_surgeon_who_is_heard_in_hold_is_not_stopped() -> None:
    r = held()
    for _ in range(500):
        r.pass_time(10 * MS)
        r.send(press=1)  # keeps the deadman pressed: refused, but the line is alive
    assert r.s.state is State.HOLD


# --- HOLD ----------------------------------------------------------------------------------------------------------


def test_leaving_hold_needs_ack_release_press_and_a_healthy_line() -> None:
    r = held()
    for _ in range(110):
        r.pass_time(10 * MS)
        r.send(press=0)
    assert r.verdict(r.send(press=2)) == Reason.STATE  # no acknowledgement yet
    assert not r.order("ack", key=OTHER)[0]
    r.must("ack", key="bedside")
    assert r.verdict(r.send(press=2)) == Reason.STATE  # the bedside's ack is not the holder's
    r.must("ack", key=SURGEON)
    assert r.verdict(r.send(press=1)) == Reason.DEADMAN
    r.do(LinkIn(r.now, [{"alive": False}]))
    assert r.verdict(r.send(press=2)) == Reason.STATE
    r.pass_time(990 * MS)
    assert r.verdict(r.send(press=2)) == Reason.STATE
    r.pass_time(20 * MS)
    assert r.leases(r.send(press=2))
    assert r.s.state is State.ACTIVE
    assert "hold" not in {a.id for a in r.s.alarms if a.active}


def test_an_ack_from_before_the_hold_does_not_count() -> None:
    r = Rig(**NR).active()
    r.must("ack", key=SURGEON)
    r.must("hold")
    assert not r.s.acked


def test_three_faulty_holds_in_ten_minutes_stop_and_ordered_ones_do_not_count() -> None:
    r = Rig(**NR).active()
    press = 1
    for k in range(6):
        if k % 2:
            r.must("hold")
        else:
            r.pass_time(700 * MS)
        if r.s.state is State.STOP:
            break
        assert r.s.state is State.HOLD
        for _ in range(130):
            r.pass_time(10 * MS)
            r.send(press=0)
        r.must("ack", key=SURGEON)
        press += 1
        assert r.leases(r.send(press=press)), r.s.reason
    assert r.s.state is State.STOP and k == 4
    assert "3 holds" in r.s.reason


def test_a_very_old_picture_holds_at_once_and_five_stale_frames_too() -> None:
    r = Rig(**NR).active()
    r.pass_time(10 * MS)
    echo = r.s.last_echo
    r.now = echo + 701 * MS
    r.s.lease = None
    r.send(r.make(press=1, echo_state=echo))
    assert r.s.state is State.HOLD
    r = Rig(**NR).active()
    for _ in range(20):
        r.pass_time(10 * MS)
        r.send(r.make(press=1, echo_state=r.s.last_echo))
    assert r.s.state is State.DEGRADED or r.s.state is State.ACTIVE
    echo = r.s.last_echo
    sent = 0
    while r.s.state is not State.HOLD:
        r.pass_time(10 * MS)
        if r.now - echo > 500 * MS:
            sent += 1
        r.send(r.make(press=1, echo_state=echo))
        assert sent <= 5
    assert sent == 5


def test_hand_over_from_one_surgeon_to_another_only_through_hold_and_the_bedside() -> None:
    r = Rig(**NR).active()
    assert "HOLD" not in r.order("grant", holder=OTHER)[1]
    assert not r.order("grant", holder=OTHER)[0]
    r.must("request", key=OTHER)
    assert not r.order("grant", holder=OTHER)[0]  # the arm is in motion
    r.must("release", key=SURGEON, to=OTHER)
    assert r.s.state is State.HOLD and r.s.auth.holder == SURGEON
    epoch = r.s.auth.epoch
    r.must("grant", holder=OTHER)
    assert (r.s.state, r.s.auth.holder, r.s.auth.epoch) == (State.READY, OTHER, epoch + 1)
    assert r.verdict(r.send(r.make(press=2, epoch=epoch))) == Reason.EPOCH
    assert r.verdict(r.send(press=2)) == Reason.NOT_HOLDER
    assert "foreign" not in {a.id for a in r.s.alarms}  # frames still under way are no attack


# --- STOP, FAULT, LOCAL --------------------------------------------------------------------------------------------


def test_only_the_bedside_rearms_and_only_a_new_grant_moves_again() -> None:
    r = stopped()
    assert not r.order("rearm", key=SURGEON)[0]
    assert not r.order("grant", holder=SURGEON)[0]
    r.pass_time(60 * S, step_ns=100 * MS)
    assert r.s.state is State.STOP
    r.must("rearm")
    assert r.s.state is State.READY and r.s.auth.holder == ""
    assert r.verdict(r.send(press=2)) == Reason.NOT_HOLDER


def test_a_drive_at_fault_is_asked_to_clear_and_faults_again_if_it_cannot() -> None:
    r = stopped()
    r.report_changes = {"drive": "fault", "fault": "tracking error 2 mm"}
    r.pass_time(20 * MS)
    r.must("rearm")
    assert ClearOut() in r.log[-1][1]
    r.pass_time(400 * MS)
    assert r.s.state is State.READY
    r.pass_time(200 * MS)
    assert r.s.state is State.STOP


def test_there_is_nothing_to_rearm_while_the_self_test_waits() -> None:
    r = Rig()
    ok, reason = r.order("rearm")
    assert not ok and "INIT" in reason and r.s.state is State.INIT


def test_a_drive_that_kept_its_fault_over_a_restart_is_cleared_on_site() -> None:
    r = Rig(fault="the arm process is gone")
    r.must("rearm")  # acknowledged before the arm was there to be asked
    r.report_changes = {"drive": "fault", "fault": "the governor said so"}
    r.do(ArmIn(r.now, True))
    for role in ("recorder", "case", "gateway"):
        r.do(PeerIn(r.now, role, True))
    r.pass_time(50 * MS)
    assert r.s.state is State.INIT and "drive is at fault" in r.s.reason
    assert not r.order("rearm", key=SURGEON)[0]
    r.must("rearm")
    assert ClearOut() in r.log[-1][1]
    r.report_changes = {}
    r.pass_time(50 * MS)
    assert r.s.state is State.READY


def test_fault_is_persisted_and_nothing_but_a_restart_leaves_it() -> None:
    r = Rig(**NR).active()
    r.do(ArmIn(r.now, False))
    outs = r.log[-1][1]
    assert any(isinstance(o, FaultOut) for o in outs) and any(isinstance(o, PersistOut) and o.fault for o in outs)
    r.do(ArmIn(r.now, True))
    r.pass_time(1 * S)
    for op in ("rearm", "take_over", "return_local", "hold"):
        r.order(op)
    r.order("grant", holder=SURGEON)
    assert r.s.state is State.FAULT


def test_a_silent_arm_is_a_fault_sooner_in_motion_than_parked() -> None:
    r = Rig(**NR).active()
    r.report(drive="moving")
    for _ in range(70):
        r.pass_time(10 * MS, beats=False)
        r.send(press=1)
        if r.s.state is State.FAULT:
            break
    assert r.s.state is State.FAULT and r.now - r.s.report_at == 510 * MS
    r = Rig().ready()
    r.pass_time(1990 * MS, beats=False)
    assert r.s.state is State.READY
    r.pass_time(20 * MS, beats=False)
    assert r.s.state is State.FAULT


def test_reports_with_an_old_stamp_do_not_count_and_future_ones_are_a_fault() -> None:
    r = Rig().ready()
    seen = r.s.report_at
    stamp = r.s.report.stamp  # type: ignore[union-attr]
    r.now += 10 * MS
    r.report(stamp=stamp)
    assert r.s.report_at == seen
    r.report(stamp=r.now + 1)
    assert r.s.state is State.FAULT


@pytest.mark.parametrize("way", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, -0.8, 0.0)])
def test_encoders_that_stand_still_while_the_reference_moves_are_a_fault(way: tuple[float, float, float]) -> None:
    r = Rig(**NR).active()
    for k in range(1, 12):
        r.now += 10 * MS
        moved = (*(h + 0.0004 * k * w for h, w in zip(HOME[:3], way, strict=True)), *HOME[3:])
        r.report(setpoint=moved, drive="moving")
        r.send(press=1, target=moved)
        if r.s.state is State.FAULT:
            break
    assert r.s.state is State.FAULT and k in (8, 9)


def test_a_take_over_fences_in_the_same_step_and_returns_through_the_self_test() -> None:
    r = Rig(**NR).active()
    epoch = r.s.auth.epoch
    r.must("take_over")
    assert (r.s.auth.holder, r.s.auth.epoch) == ("", epoch + 1)
    assert r.verdict(r.send(press=2)) == Reason.NOT_HOLDER
    assert not r.order("grant", holder=SURGEON)[0]
    r.do(PeerIn(r.now, "recorder", False))
    r.must("return_local")
    assert r.s.state is State.INIT


def test_take_over_before_the_self_test_does_not_skip_it() -> None:
    r = Rig()
    r.must("take_over")
    r.must("return_local")
    assert r.s.state is State.INIT


# --- line quality --------------------------------------------------------------------------------------------------


def drive_with_age(r: Rig, age: int, ns: int, **changes: Any) -> None:
    for _ in range(ns // (10 * MS)):
        r.pass_time(10 * MS)
        echo = max(r.s.last_echo, r.now - age)
        r.send(r.make(press=r.s.press or 1, echo_state=echo, **changes))


def test_degraded_above_200_ms_and_back_only_after_two_calm_seconds() -> None:
    r = Rig(**NR).active()
    drive_with_age(r, 210 * MS, 1500 * MS)
    assert r.s.state is State.DEGRADED and "loop age" in r.s.reason
    drive_with_age(r, 170 * MS, 4000 * MS)
    assert r.s.state is State.DEGRADED  # below the threshold, but not below 80 % of it
    drive_with_age(r, 100 * MS, 2500 * MS)
    assert r.s.state is State.DEGRADED
    drive_with_age(r, 100 * MS, 1000 * MS)
    assert r.s.state is State.ACTIVE


def test_the_hand_is_blocked_above_300_ms_and_comes_back_with_a_new_press() -> None:
    r = Rig(**NR).active()
    while r.s.state is not State.PAUSE:
        drive_with_age(r, 310 * MS, 10 * MS)
        assert r.s.state is not State.HOLD
    assert r.s.pause_kind == "age" and "300 ms" in r.s.reason
    r.send(r.make(press=0, echo_state=r.s.last_echo))
    out = r.send(press=2, echo_state=max(r.s.last_echo, r.now - 310 * MS))
    assert r.verdict(out) == Reason.MODE and not r.leases(out)


def test_goal_motions_go_on_where_the_hand_is_blocked() -> None:
    r = Rig(**NR).active()
    r.send(press=0)
    goal = r.stored_path("goal")
    ask: dict[str, Any] = {"mode": "goal", "target": None, "s_limit": 0.1, "path_hash": goal}
    r.pass_time(10 * MS)
    r.send(press=2, **ask)
    drive_with_age(r, 350 * MS, 2000 * MS, **ask)
    assert r.s.state is State.DEGRADED
    assert 0.0 < r.s.v_cap < 0.02


def test_loss_and_a_lost_path_degrade() -> None:
    r = Rig(**NR).active()
    for k in range(200):
        r.pass_time(10 * MS)
        if k % 20 == 0:
            r.seq += 1
        r.send(press=1)
    assert r.s.state is State.DEGRADED and "loss" in r.s.reason


def test_a_lost_path_is_an_alarm_that_goes_with_its_cause_and_no_hold() -> None:
    r = degraded()
    assert "path_lost" in {a.id for a in r.s.alarms}
    drive_with_age(r, 40 * MS, 3000 * MS)
    assert "path_lost" not in {a.id for a in r.s.alarms}
    assert r.s.state is State.ACTIVE and r.s.holds == 0


def test_a_hand_that_never_changes_is_asked_and_then_held() -> None:
    r = Rig(**NR, stuck_prompt_ns=5 * S, stuck_hold_ns=1 * S).active()
    drive_with_age(r, 40 * MS, 5050 * MS)
    assert r.s.state is State.ACTIVE and "stuck" in {a.id for a in r.s.alarms}
    drive_with_age(r, 40 * MS, 1000 * MS)
    assert r.s.state is State.HOLD
    r = Rig(**NR, stuck_prompt_ns=5 * S, stuck_hold_ns=1 * S).active()
    for k in range(700):
        r.pass_time(10 * MS)
        r.send(press=1, target=(HOME[0] + 1e-6 * (k % 2), *HOME[1:]))
    assert r.s.state is State.ACTIVE  # a living hand trembles


def test_other_bits_of_the_same_target_and_a_soft_resume_are_no_sign_of_a_hand() -> None:
    r = Rig(**NR, stuck_prompt_ns=5 * S, stuck_hold_ns=1 * S).active()
    for k in range(590):
        if k in (150, 300):
            r.pass_time(160 * MS)  # the line pauses, and the same press resumes
            assert r.s.state is State.PAUSE
        r.pass_time(10 * MS)
        r.send(press=1, target=(*HOME[:3], HOME[3], 1e-9 * (k % 2), *HOME[5:]))
    assert r.s.state is State.HOLD and "stuck" in r.s.reason


def test_hold_to_run_without_a_release_ends_too() -> None:
    r = Rig(**NR, press_prompt_ns=30 * S, stuck_hold_ns=1 * S).active()
    r.send(press=0)
    goal = r.stored_path("goal")
    ask: dict[str, Any] = {"mode": "goal", "target": None, "s_limit": 0.1, "path_hash": goal}
    r.send(press=2, **ask)
    drive_with_age(r, 40 * MS, 30_000 * MS, **ask)
    assert r.s.state is State.ACTIVE
    drive_with_age(r, 40 * MS, 1_100 * MS, **ask)
    assert r.s.state is State.HOLD


# --- partners and log ----------------------------------------------------------------------------------------------


def test_a_new_recorder_with_space_ends_the_disk_full_of_the_one_before() -> None:
    r = Rig(**NR, log_grace_ns=1 * S).active()
    r.do(BeatIn(r.now, "recorder", "disk_full"))
    r.pass_time(10 * MS, beats=False)
    assert r.s.state is State.HOLD and any(a.id == "log_disk" and a.active for a in r.s.alarms)
    r.do(PeerIn(r.now, "recorder", False))
    r.do(PeerIn(r.now, "recorder", True))
    assert not any(a.id == "log_disk" and a.active for a in r.s.alarms)
    r.must("ack", key=SURGEON)
    for _ in range(30):
        r.pass_time(50 * MS, step_ns=50 * MS)
        r.send(press=0)
    r.pass_time(10 * MS)
    r.send(press=2)
    r.pass_time(20 * MS)
    assert r.s.state is State.ACTIVE, r.s.reason
    r.do(PeerIn(r.now, "recorder", True))  # one whose disk is full, too
    r.do(BeatIn(r.now, "recorder", "disk_full"))
    r.pass_time(10 * MS, beats=False)
    assert r.s.state is State.HOLD


@pytest.mark.parametrize("role", ["gateway", "recorder", "case"])
def test_a_silent_partner_is_an_alarm_first_and_a_hold_then(role: str) -> None:
    r = Rig(**NR).active()
    since = r.s.peers[role].beat
    for _ in range(130):
        r.now += 10 * MS
        r.report()
        for other in {"gateway", "recorder", "case"} - {role}:
            r.do(BeatIn(r.now, other, ""))
        r.do(LinkIn(r.now, GOOD_LINK))
        r.do(TickIn(r.now, 0, 0))
        r.send(press=1)
        silent = r.now - since
        assert (f"{role}_silent" in {a.id for a in r.s.alarms}) == (silent > 200 * MS)
        assert (r.s.state is State.HOLD) == (silent > 1000 * MS)
    assert role in r.s.reason


def test_a_full_disk_holds_but_not_in_the_middle_of_a_feed() -> None:
    r = Rig(**NR).active()
    r.do(BeatIn(r.now, "recorder", "gap"))
    assert "log_gap" in {a.id for a in r.s.alarms}
    r.do(BeatIn(r.now, "recorder", "disk_full"))
    r.do(TickIn(r.now, 0, 0))
    assert r.s.state is State.HOLD
    r = Rig(**NR, log_grace_ns=1 * S).granted()
    advance = r.stored_path("advance")
    r.scene(corridor={"entry": [0.4, 0.0, 0.29], "axis": [0.0, 0.0, -1.0], "radius": 0.002})
    ask: dict[str, Any] = {"mode": "advance", "target": None, "s_limit": 0.1, "path_hash": advance}
    r.send(press=1, **ask)
    assert r.s.state is State.ACTIVE
    until = r.now + 1 * S
    while r.s.state is not State.HOLD:
        r.now += 10 * MS
        r.report()
        for role in ("gateway", "case"):
            r.do(BeatIn(r.now, role, ""))
        r.do(BeatIn(r.now, "recorder", "disk_full"))
        r.do(LinkIn(r.now, GOOD_LINK))
        r.do(TickIn(r.now, 0, 0))
        r.send(press=1, **ask)
        assert r.now <= until + 10 * MS
    assert r.now >= until


def test_no_grant_when_the_disk_is_nearly_full() -> None:
    r = Rig().ready()
    r.do(BeatIn(r.now, "recorder", "disk_low"))
    assert "disk" in r.order("grant", holder=SURGEON)[1]


# --- speed ---------------------------------------------------------------------------------------------------------


def test_every_lease_says_what_limits_it() -> None:
    r = Rig(**NR).active()
    (lease,) = r.leases(r.send(press=1))
    assert "loop age" in lease.why
    r.must("speed", key=SURGEON, v=0.001)
    (lease,) = r.leases(r.send(press=1))
    assert lease.lease.v_cap == 0.001 and "own limit" in lease.why
    r.must("speed", key=SURGEON, v=0.0)
    r.scene(keepouts=[{"kind": "halfspace", "n": [0, 0, 1], "d": 0.295, "name": "skin", "anatomical": False}],
            sigma_reg=0.0)  # fmt: skip
    assert r.s.state is State.PAUSE
    assert not r.leases(r.send(press=2, target=(0.4, 0.0, 0.2985, 1.0, 0.0, 0.0, 0.0)))
    assert "skin" in r.s.v_why  # the tool is a capsule of 6 mm: it stands too close already, and may only go away
    (lease,) = r.leases(r.send(press=2, target=(0.4, 0.0, 0.305, 1.0, 0.0, 0.0, 0.0)))
    assert "skin" in lease.why and lease.lease.v_cap > 0.0
    for bad in (-1.0, 2.0, 1, float("nan")):
        assert not r.order("speed", key=SURGEON, v=bad)[0]


def test_speed_on_a_path_is_the_law_of_the_least_margin_a_stop_could_reach() -> None:
    r = Rig(**NR).active()
    r.send(press=0)
    goal = r.stored_path("goal", margin=0.003)
    (lease,) = r.leases(r.send(press=2, mode="goal", target=None, s_limit=5.0, path_hash=goal))
    assert lease.lease.s_limit == 0.1  # clamped to the path
    from safety.speed_law import speed_limit

    assert lease.lease.v_cap == speed_limit(max(r.s.age, r.s.est.age_p95() or 0) * 1e-9, 0.003, r.params)
    r.now += 10 * MS
    r.report(path_hash=goal, s=0.06)
    (lease,) = r.leases(r.send(press=2, mode="goal", target=None, s_limit=0.01, path_hash=goal))
    assert lease.lease.s_limit == 0.06  # never back


def test_no_margin_no_lease_but_a_halt() -> None:
    r = Rig(**NR).active()
    r.send(press=0)
    goal = r.stored_path("goal", margin=0.0)
    out = r.send(press=2, mode="goal", target=None, s_limit=0.1, path_hash=goal)
    assert r.verdict(out) == "ok" and not r.leases(out) and r.s.v_cap == 0.0
    assert "no margin" in r.s.v_why


def test_a_lowered_cap_keeps_the_old_bound_until_the_arm_has_slowed() -> None:
    r = Rig(**NR).active()
    r.send(press=1)
    fast = r.s.bound
    r.must("speed", key=SURGEON, v=0.001)
    r.now += 10 * MS
    r.send(press=1)
    assert r.s.v_cap == 0.001 and r.s.bound == fast
    for _ in range(60):
        r.pass_time(10 * MS)
        r.send(press=1)
    assert r.s.bound < fast / 3


def test_the_bound_counts_the_highest_cap_of_the_last_lease_and_stop_whatever_came_between() -> None:
    """A high cap, a middle one just before the high one is forgotten, then a low one: the middle one still counts."""
    r = Rig(**NR).active()
    seen: list[tuple[int, float]] = []
    r.must("speed", key=SURGEON, v=0.0)
    for k in range(120):
        if k == 40:
            r.must("speed", key=SURGEON, v=0.009)
        if k == 70:
            r.must("speed", key=SURGEON, v=0.001)
        r.pass_time(10 * MS)
        r.send(press=1)
        seen.append((r.now, r.s.v_cap))
        recent = [v for t, v in seen if r.now < t + rest_bound_ns(v, r.params)]
        assert r.s.peak_v >= max(recent), k
        assert r.s.bound == travel_bound(r.s.peak_v, r.params)
    assert r.s.peak_v == 0.001


# --- local control -------------------------------------------------------------------------------------------------


def test_a_local_client_enables_moves_pauses_and_disables() -> None:
    r = Rig(local_control=True).ready()
    r.must("enable", key="local")
    kw: dict[str, Any] = {"key": "local", "plan_hash": b"", "registration_epoch": 0}
    assert r.leases(r.send(press=1, **kw))
    assert r.s.state is State.ACTIVE
    r.pass_time(160 * MS)
    assert r.s.state is State.READY and r.s.auth.holder == "local"  # silence decelerates and stays enabled
    assert r.leases(r.send(press=1, **kw))
    assert r.leases(r.send(press=1, target=None, q_target=(0.11, 0.2), **kw))
    assert r.verdict(r.send(press=1, target=None, q_target=(0.4, 0.2), **kw)) == Reason.JUMP
    assert r.verdict(r.send(press=1, target=None, q_target=(0.1,), **kw)) == Reason.JUMP
    r.must("pause", key="local")
    assert r.s.state is State.PAUSE
    assert not r.order("pause", key="local")[0]
    r.must("resume", key="local")
    assert r.s.state is State.READY
    r.must("hold", key="local")
    assert r.s.state is State.HOLD
    r.must("enable", key="local")
    assert r.s.state is State.READY
    r.must("disable", key="local")
    assert r.s.auth.holder == ""
    assert r.order("disable", key="local")[0]


def test_no_local_control_without_the_flag_nor_beside_a_remote_holder() -> None:
    r = Rig().ready()
    assert "off" in r.order("enable", key="local")[1]
    r = Rig(local_control=True, **NR).granted()
    assert "remote" in r.order("enable", key="local")[1]
    assert not r.order("resume", key="local")[0]


def test_enable_in_stop_and_fault_is_refused_with_the_reason() -> None:
    r = Rig(local_control=True).ready()
    r.must("enable", key="local")
    r.stop()
    assert "STOP" in r.order("enable", key="local")[1]
    r.must("rearm", key="local")
    r.must("enable", key="local")
    r.do(ArmIn(r.now, False))
    ok, reason = r.order("enable", key="local")
    assert not ok and "arm process" in reason


def test_enable_before_the_arm_is_there_names_it() -> None:
    r = Rig(local_control=True)
    ok, reason = r.order("enable", key="local")
    assert not ok and reason


def test_the_local_hold_ends_with_its_adapter() -> None:
    r = Rig(local_control=True).ready()
    r.must("enable", key="local")
    r.send(press=1, key="local", plan_hash=b"", registration_epoch=0)
    r.do(PeerIn(r.now, "adapter", False))
    assert r.s.state is State.READY and r.s.auth.holder == "" and r.s.lease is None


def test_halt_is_for_the_holder() -> None:
    r = Rig(**NR).active()
    assert not r.order("halt", key=OTHER)[0]
    r.must("halt", key=SURGEON)
    assert r.s.state is State.PAUSE
    r.must("halt", key=SURGEON)
    assert any(isinstance(o, HaltOut) for o in r.log[-1][1])


# --- orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "peer"), [("bedside", "gateway"), ("local", "case"), (SURGEON, "case"), ("gateway", "case"),
                                           ("bedside", "adapter")])  # fmt: skip
def test_a_name_used_by_another_peer_is_refused_and_alarmed(key: str, peer: str) -> None:
    r = Rig(local_control=True).ready()
    assert not r.order("take_over", key=key, peer=peer)[0]
    assert r.s.state is State.READY
    assert "masquerade" in {a.id for a in r.s.alarms}


@pytest.mark.parametrize("op", ["grant", "take_over", "return_local", "rearm", "scene", "path", "qualify", "rehearse",
                                "revoke", "enable", "pause", "clear_paths", "clear_scene"])  # fmt: skip
def test_what_belongs_to_the_site_is_refused_to_every_remote_key(op: str) -> None:
    r = Rig(**NR).granted()
    for key in (SURGEON, OTHER, OBSERVER, STRANGER):
        ok, reason = r.order(op, key=key, holder=key, on=True, result={"passed": True})
        assert not ok and "only for" in reason


@pytest.mark.parametrize("order", [{}, {"op": None}, {"op": 5}, {"op": ["stop"]}, {"op": "grant"}, {"op": "grant", "holder": 5},
                                   {"op": "scene"}, {"op": "path"}, {"op": "revoke"}, {"op": "qualify"}, {"op": "rehearse"},
                                   {"op": "release", "to": 5}, {"op": "path", "kind": "goal", "q": 5},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.2]], "s": [0.0, 0.1], "margin": [0.1]},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.9]], "s": [0.0, 0.1], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.2]], "s": [0.1, 0.0], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.2, 0.3]], "s": [0.0, 0.1], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [["x"], [0.2]], "s": [0.0, 0.1], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [5, [0.2]], "s": [0.0, 0.1], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.2]], "s": [0.0, float("nan")], "margin": [0.1, 0.1]},
                                   {"op": "path", "kind": "goal", "q": [[0.1], [0.2]], "s": [0.0, 0.1], "margin": [0.1, 0.1],
                                    "path_hash": b"wrong"}])  # fmt: skip
def test_a_malformed_order_is_answered_and_does_nothing(order: dict[str, Any]) -> None:
    r = Rig().ready()
    out = r.do(OrderIn(r.now, "case", "bedside", 1, order))
    replies = [o for o in out if isinstance(o, ReplyOut)]
    assert len(replies) == 1 and not replies[0].ok and replies[0].reason
    assert r.s.state is State.READY and not r.s.paths


def test_only_so_many_paths_are_kept_and_never_the_one_in_force_dropped() -> None:
    r = Rig(**NR).active()
    r.send(press=0)
    used = r.stored_path("goal")
    r.send(press=2, mode="goal", target=None, s_limit=0.1, path_hash=used)
    for k in range(20):
        r.stored_path("goal", length=0.1 + 0.001 * (k + 1))
    assert len(r.s.paths) == 16 and used in r.s.paths
    r.must("clear_paths")
    assert not r.s.paths and r.s.state is State.PAUSE


def test_the_arms_refusal_of_a_path_withdraws_it() -> None:
    r = Rig(**NR).active()
    r.send(press=0)
    goal = r.stored_path("goal")
    r.send(press=2, mode="goal", target=None, s_limit=0.1, path_hash=goal)
    r.do(PathOkIn(r.now, goal, False, "joint limit"))
    assert goal not in r.s.paths and r.s.state is State.PAUSE
    r.do(PathOkIn(r.now, b"unknown!", True, ""))
    assert b"unknown!" not in r.s.paths


def test_a_path_needs_an_arm_and_the_same_path_twice_is_one() -> None:
    r = Rig().ready()
    first = r.stored_path("goal")
    assert r.stored_path("goal") == first and len(r.s.paths) == 1
    r = Rig()
    with pytest.raises(AssertionError, match="not connected"):
        r.stored_path("goal")


def test_revocation_by_the_table_is_felt_at_once() -> None:
    r = Rig(**NR).active()
    r.do(RolesIn(r.now, tuple(e for e in ROLES if e[0] != SURGEON)))
    assert r.s.state is State.HOLD and r.s.auth.holder == ""
    assert "revoked" in {a.id for a in r.s.alarms}
    assert r.verdict(r.send(press=1)) == Reason.ROLE


def test_an_error_inside_a_step_is_a_fault_with_the_motion_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Rig(**NR, guarded=True).active()
    monkeypatch.setattr("safety.governor.on_command", lambda *_: 1 / 0)
    out = r.do(CommandIn(r.now, "gateway", SURGEON, 0, b""))
    assert r.s.state is State.FAULT and "ZeroDivisionError" in r.s.reason
    assert any(isinstance(o, HaltOut) for o in out) and any(isinstance(o, FaultOut) for o in out)


def test_an_unknown_input_is_a_fault() -> None:
    r = Rig(**NR, guarded=True).active()
    r.do(r.boot_input)
    assert r.s.state is State.FAULT
