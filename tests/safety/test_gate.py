"""The gate: each reason once, in the documented order; a refusal moves nothing and refreshes nothing."""

import re
from dataclasses import replace
from typing import Any

import pytest

from safety import gate
from safety.command import Command
from safety.inputs import CommandIn, HaltOut
from safety.params import MS
from safety.states import Reason, State
from sim.campaign.rig import HOME, OTHER, STRANGER, SURGEON, Rig

GOAL = {"mode": "goal", "target": None}


def moved(dx: float) -> tuple[float, ...]:
    return (HOME[0] + dx, *HOME[1:])


@pytest.fixture
def rig() -> Rig:
    r = Rig(require_rehearsal=False).active()
    r.pass_time(10 * MS)
    return r


CASES: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.VERSION, {"v": 2}),
    (Reason.ADDRESS, {"site": "b"}),
    (Reason.ADDRESS, {"arm": "arm2"}),
    (Reason.SESSION, {"session": b"M" * 16}),
    (Reason.EPOCH, {"epoch": 7}),
    (Reason.SEQUENCE_JUMP, {"seq": 10**6}),
    (Reason.REBASE, {"rebase": 99}),
    (Reason.ECHO_FUTURE, {"echo_state": 10**15}),
    (Reason.ECHO_FUTURE, {"echo_view": 10**15}),
    (Reason.ECHO_BACKWARD, {"echo_state": 5}),
    (Reason.MODE, {"mode": "jog"}),
    (Reason.MODE, {"target": None, "q_target": (0.1, 0.2)}),
    (Reason.PLAN_HASH, {"plan_hash": b"another!"}),
    (Reason.PLAN_HASH, {"plan_hash": b""}),
    (Reason.REGISTRATION, {"registration_epoch": 2}),
    (Reason.JUMP, {"target": moved(0.04)}),
    (Reason.STATE, {"mode": "rehearsal", "target": None, "s_limit": 0.1}),
]


@pytest.mark.parametrize(("reason", "changes"), CASES)
def test_each_spoiled_field_is_refused_with_its_reason_and_changes_nothing(
    rig: Rig, reason: Reason, changes: dict[str, Any]
) -> None:
    before = rig.s
    out = rig.send(rig.make(press=1, **changes))
    assert rig.verdict(out) == reason
    assert not rig.leases(out)
    after = rig.s
    assert (after.lease, after.last_valid, after.auth, after.accepted) == (
        before.lease, before.last_valid, before.auth, before.accepted,
    )  # fmt: skip
    assert after.rejected == {str(reason): 1}


def test_stale_is_refused(rig: Rig) -> None:
    rig.pass_time(20 * MS)
    r = Rig(require_rehearsal=False).granted()
    out = r.send(r.make(press=1, echo_state=r.s.last_echo))
    assert r.verdict(out) == Reason.OK or r.verdict(out) == Reason.STATE
    r.pass_time(520 * MS)
    out = r.send(r.make(press=0, echo_state=r.s.last_echo))
    assert r.verdict(out) == Reason.STALE


def test_a_mode_that_needs_the_picture_refuses_a_missing_and_an_old_one() -> None:
    r = Rig(require_rehearsal=False, require_view=True).ready()
    r.must("grant", holder=SURGEON)
    assert r.verdict(r.send(press=0, echo_view=None)) == Reason.STALE
    r.send(press=0, echo_view=r.now - 450 * MS, echo_state=r.now - 10 * MS)
    assert r.s.age == 450 * MS
    assert r.verdict(r.send(press=0, echo_view=r.now - 460 * MS, echo_state=r.now)) == Reason.ECHO_BACKWARD
    r.send(press=0, mode="goal", echo_view=None, echo_state=r.now - 5 * MS)
    assert r.s.age == 5 * MS  # goal motions are not steered by eye
    assert gate.needs_view("jog", r.params) and not gate.needs_view("goal", r.params)


def test_a_stranger_an_observer_and_another_surgeon_are_told_apart(rig: Rig) -> None:
    assert rig.verdict(rig.send(press=1, key=STRANGER)) == Reason.ROLE
    assert rig.verdict(rig.send(press=1, key="O" * 40)) == Reason.ROLE
    assert rig.verdict(rig.send(press=1, key=OTHER)) == Reason.NOT_HOLDER
    assert any(a.id == "foreign" and a.priority == "HIGH" for a in rig.s.alarms)
    for _ in range(30):
        rig.send(press=1, key=OTHER)
    assert rig.s.state is State.ACTIVE  # nobody else's refusals count towards HOLD


def test_the_second_copy_is_dropped_in_silence_and_an_older_frame_is_refused(rig: Rig) -> None:
    rig.seq += 1  # one frame is overtaken
    late = rig.seq
    frame = rig.make(press=1)
    assert rig.leases(rig.send(frame))
    out = rig.send(frame, path=1)
    assert out == []
    out = rig.send(replace(frame, seq=late), path=1)
    assert rig.verdict(out) == Reason.SEQUENCE
    assert not rig.leases(out)
    for _ in range(50):  # second copies and reordering are honest: they never count
        rig.send(replace(frame, seq=late), path=1)
    assert rig.s.state is State.ACTIVE


def test_the_window_of_second_copies_is_exact(rig: Rig) -> None:
    frame = rig.make(press=1)
    rig.send(frame)
    for _ in range(gate.WINDOW - 1):
        rig.now += 3 * MS
        rig.send(press=1)
    assert rig.send(frame) == []
    rig.send(press=1)
    assert rig.verdict(rig.send(frame)) == Reason.SEQUENCE


def test_sequence_may_jump_by_what_silence_explains(rig: Rig) -> None:
    last = rig.s.last_seq
    assert rig.verdict(rig.send(rig.make(press=1, seq=last + 1003))) == Reason.SEQUENCE_JUMP  # 10 ms explain 2
    assert rig.verdict(rig.send(rig.make(press=1, seq=last + 1002))) == Reason.OK


def test_ten_own_refusals_in_a_second_hold_and_nine_do_not(rig: Rig) -> None:
    for _ in range(9):
        rig.send(press=1, target=moved(0.04))
    assert rig.s.state is State.ACTIVE
    rig.pass_time(100 * MS)
    rig.send(press=1)
    rig.send(press=1, target=moved(0.04))
    assert rig.s.state is State.HOLD


def test_malformed_frames_of_the_holder_count_and_raise_an_alarm(rig: Rig) -> None:
    for _ in range(10):
        rig.send(b"\xc1")
    assert rig.s.state is State.HOLD
    assert "malformed" in {a.id for a in rig.s.alarms}


def test_a_command_without_its_stored_path_is_refused(rig: Rig) -> None:
    rig.send(press=0)
    ask = {"press": 2, "mode": "goal", "target": None, "s_limit": 0.1}
    assert rig.verdict(rig.send(**ask, path_hash=b"unknown!")) == Reason.PATH_HASH
    goal, advance = rig.stored_path("goal"), rig.stored_path("advance")
    assert rig.verdict(rig.send(**ask, path_hash=advance)) == Reason.PATH_HASH
    rig.s.paths[goal] = (rig.s.paths[goal][0], False)
    assert rig.verdict(rig.send(**ask, path_hash=goal)) == Reason.PATH_HASH
    rig.s.paths[goal] = (rig.s.paths[goal][0], True)
    assert rig.leases(rig.send(**ask, path_hash=goal))


def test_a_path_begins_where_the_arm_stands(rig: Rig) -> None:
    rig.send(press=0)
    goal = rig.stored_path("goal")
    rig.now += MS
    rig.report(q=(0.13, 0.2))
    ask = {"press": 2, "mode": "goal", "target": None, "s_limit": 0.1, "path_hash": goal}
    assert rig.verdict(rig.send(**ask)) == Reason.JUMP
    rig.now += MS
    rig.report(q=(0.13, 0.2), path_hash=goal, s=0.03)  # the drive is on it: it knows where
    assert rig.leases(rig.send(**ask))


def test_first_target_after_a_rebase_lies_at_the_standing_tool(rig: Rig) -> None:
    rig.send(press=0)
    assert rig.verdict(rig.send(press=2, target=moved(0.0021))) == Reason.JUMP
    assert rig.leases(rig.send(press=2, target=moved(0.0019)))
    rig.send(press=0)
    assert rig.verdict(rig.send(press=3, target=(*HOME[:3], 0.99976, 0.0219, 0.0, 0.0))) == Reason.JUMP


def test_targets_follow_one_another_closely_and_never_run_far_ahead(rig: Rig) -> None:
    assert rig.verdict(rig.send(press=1, target=moved(0.0099))) == Reason.OK
    assert rig.verdict(rig.send(press=1, target=moved(0.0201))) == Reason.JUMP
    for k in (0.019, 0.028, 0.037, 0.046):
        out = rig.send(press=1, target=moved(k))
    (lease,) = rig.leases(out)
    assert lease.lease.target is not None
    assert lease.lease.target[0] == pytest.approx(HOME[0] + rig.params.lead)  # the arm does not chase further
    assert lease.why != ""
    assert rig.verdict(rig.send(press=1, target=moved(0.0505))) == Reason.JUMP


def test_outside_the_workspace(rig: Rig) -> None:
    rig.report_changes = {"setpoint": (1.199, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), "pose": (1.199, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)}
    r = Rig(require_rehearsal=False)
    r.report_changes = rig.report_changes
    r.granted()
    assert r.verdict(r.send(press=1, target=(1.2005, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0))) == Reason.WORKSPACE
    assert r.leases(r.send(press=1, target=(1.1995, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)))


CORRIDOR = {"entry": [0.4, 0.0, 0.29], "axis": [0.0, 0.0, -1.0], "radius": 0.002}


def test_advance_only_inside_the_corridor_and_parallel_to_it() -> None:
    r = Rig(require_rehearsal=False).granted()
    advance = r.stored_path("advance")
    ask = {"press": 1, "mode": "advance", "target": None, "s_limit": 0.1, "path_hash": advance}
    assert r.verdict(r.send(**ask)) == Reason.MODE  # no corridor yet
    r.scene(corridor=CORRIDOR | {"entry": [0.41, 0.0, 0.29]})
    assert r.verdict(r.send(**ask)) == Reason.CORRIDOR
    r.scene(corridor=CORRIDOR | {"axis": [0.0, 0.1, -0.995]})
    assert r.verdict(r.send(**ask)) == Reason.CORRIDOR
    r.scene(corridor=CORRIDOR)
    assert r.leases(r.send(**ask))


def test_after_a_grant_a_deadman_that_is_already_down_moves_nothing() -> None:
    r = Rig(require_rehearsal=False).granted()
    r.must("grant", holder=SURGEON)
    r.seq = 0
    assert r.verdict(r.send(press=5)) == Reason.DEADMAN
    assert r.verdict(r.send(press=5)) == Reason.DEADMAN
    assert r.leases(r.send(press=6))


def test_an_older_press_ordinal_is_no_press(rig: Rig) -> None:
    r = Rig(require_rehearsal=False).granted()
    r.send(press=5)
    assert r.verdict(r.send(press=3)) == Reason.DEADMAN


def test_a_new_press_that_overtakes_its_release_is_a_release(rig: Rig) -> None:
    out = rig.send(press=2)
    assert rig.verdict(out) == Reason.REBASE
    assert rig.s.state is State.PAUSE and rig.s.pause_kind == "operator"
    assert any(isinstance(o, HaltOut) for o in out)
    assert rig.leases(rig.send(press=2))


def test_a_released_frame_is_valid_whatever_its_rebase_and_renews() -> None:
    r = Rig(require_rehearsal=False).granted()
    r.now += 10 * MS
    out = r.send(r.make(press=0, rebase=12345))
    assert r.verdict(out) == "ok" and not r.leases(out)
    assert r.s.last_valid == r.now
    assert r.s.auth.expires == r.now + r.params.authority_ttl_ns


def test_a_flood_is_shed_for_its_key_alone(rig: Rig) -> None:
    for _ in range(rig.params.bucket_burst + 200):
        rig.send(press=1, key=STRANGER)
    assert rig.s.rejected["flood"] == 200
    assert "flood" in {a.id for a in rig.s.alarms if a.active}
    rig.pass_time(10 * MS)
    assert rig.leases(rig.send(press=1))
    for _ in range(40):  # many keys cannot use up the memory
        rig.send(press=1, key=f"{_:040d}")
    assert len(rig.s.buckets) <= 32


def test_a_flood_of_the_holder_keeps_the_stream_alive(rig: Rig) -> None:
    alive = 0
    for k in range(3000):  # 1 kHz for 3 s
        rig.now += MS
        if k % 10 == 0:
            rig.partners()
        alive += bool(rig.leases(rig.send(press=1)))
    assert rig.s.state in (State.ACTIVE, State.DEGRADED)
    assert alive >= 1200


def test_a_local_name_from_the_wrong_peer_is_a_masquerade(rig: Rig) -> None:
    out = rig.do(CommandIn(rig.now, "gateway", "local", 0, b""))
    assert out == []
    assert "masquerade" in {a.id for a in rig.s.alarms}


def test_a_stop_bit_needs_no_epoch_no_role_and_no_fresh_echo(rig: Rig) -> None:
    out = rig.send(rig.make(stop=True, epoch=0, session=b"M" * 16, echo_state=0), key=STRANGER)
    assert rig.s.state is State.STOP
    assert any(isinstance(o, HaltOut) for o in out)
    assert rig.s.stop_by == STRANGER and rig.s.stop_ordinal == 1


def test_a_stop_bit_for_another_arm_is_not_ours(rig: Rig) -> None:
    rig.send(rig.make(stop=True, arm="arm2"), key=STRANGER)
    assert rig.s.state is State.ACTIVE


def test_the_documented_order_is_the_order_of_the_reasons() -> None:
    """The module's list and the enumeration name the reasons in the same order."""
    named = re.findall(r"\b[A-Z_]{4,}\b", gate.__doc__ or "")
    order = [r.name for r in Reason if r is not Reason.OK]
    assert [n for n in named if n in order] == order


def test_identity_is_asked_before_freshness_and_freshness_before_motion(rig: Rig) -> None:
    everything_wrong: dict[str, Any] = {
        "v": 2, "site": "b", "session": b"M" * 16, "epoch": 7, "seq": 10**6, "rebase": 99, "echo_state": 10**15, "plan_hash": b"another!",
        "target": moved(0.04),
    }  # fmt: skip
    good = rig.make(press=1)
    seen = []
    for name in list(everything_wrong):
        fields = dict(everything_wrong.items())
        c = Command(**{**{k: getattr(good, k) for k in Command.__slots__}, **fields})
        reason, _ = gate.identity(rig.s, c, SURGEON, rig.params)
        if reason is Reason.OK:
            reason, _ = gate.freshness(rig.s, c, rig.params)
        if reason is Reason.OK:
            reason, _ = gate.motion(rig.s, c, rig.params)
        seen.append(reason)
        everything_wrong.pop(name)
    assert seen == [Reason.VERSION, Reason.ADDRESS, Reason.SESSION, Reason.EPOCH, Reason.SEQUENCE_JUMP, Reason.REBASE,
                    Reason.ECHO_FUTURE, Reason.PLAN_HASH, Reason.JUMP]  # fmt: skip
