"""The local principal against the real kernel, in virtual time."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("kernel_site", Path(__file__).with_name("kernel_site.py"))
kernel_site = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernel_site)
Site, KIN, MS = kernel_site.Site, kernel_site.KIN, kernel_site.MS


@pytest.fixture
def site():
    s = Site()
    s.ask("enable")
    assert s.session.state == "ENABLED"
    return s


def shifted(pose, x=0.0, y=0.0, z=0.0):
    return (pose[0] + x, pose[1] + y, pose[2] + z, *pose[3:])


def test_enable_and_disable_follow_the_convention():
    s = Site()
    assert s.session.state == "DISABLED"
    s.ask("enable")
    assert s.session.state == "ENABLED" and s.session.enabled
    s.ask("disable")
    assert s.session.state == "DISABLED"


def test_without_local_control_enable_is_refused_with_the_reason():
    s = Site(local_control=False)
    s.ask("enable")
    assert s.session.state == "DISABLED"
    assert "local control is off" in s.notes[-1]


def test_without_a_recorder_nothing_is_enabled():
    s = Site(recorder=False)
    s.ask("enable")
    s.run(6000)
    assert s.session.state == "DISABLED" and "recorder" in s.notes[-1]


def test_an_enable_while_the_site_starts_is_kept_until_it_can_be_asked():
    s = Site()
    status = dict(s.session.status, state="INIT")
    s.session.on_status(status, s.now)
    s.session.state_command("enable", s.now)
    assert s.session.outbox == []
    s.run(20)
    assert s.session.state == "ENABLED"


def test_pause_and_resume_follow_the_convention(site):
    site.ask("pause")
    assert site.session.state == "PAUSED"
    site.ask("enable")
    assert site.session.state == "PAUSED" and "resume or disable" in site.notes[-1]
    site.servo("jp", site.q)
    assert "PAUSED" in site.notes[-1]
    site.ask("resume")
    assert site.session.state == "ENABLED"
    site.ask("resume")
    assert "not PAUSED" in site.notes[-1]


def test_servo_jp_gives_one_lease_a_message_and_silence_stays_enabled(site):
    q = list(site.q)
    for _ in range(20):
        q[0] += 0.002
        site.servo("jp", q)
        site.run(10)
    assert len(site.leases) == 20 and site.q[0] == pytest.approx(q[0])
    site.run(1000)
    assert site.lease is None and site.session.state == "ENABLED"
    site.servo("jp", [*q[:6], q[6] + 0.01])  # and goes on without another enable
    site.run(20)
    assert site.q[6] == pytest.approx(q[6] + 0.01)


def test_servo_cp_moves_the_tip(site):
    pose = KIN.fk(site.q)
    for i in range(1, 11):
        site.servo("cp", shifted(pose, z=0.001 * i))
        site.run(10)
    assert KIN.fk(site.q)[2] == pytest.approx(pose[2] + 0.010, abs=1e-5)


def test_a_jump_moves_nothing_and_is_named(site):
    before = site.q
    site.servo("cp", shifted(KIN.fk(site.q), z=0.05))
    site.run(50)
    assert site.q == before and any("jump" in n for n in site.notes)


@pytest.mark.parametrize(("kind", "value", "says"), [
    ("jp", [0.0] * 6, "6 values where 7 belong"),
    ("jp", [float("nan")] * 7, "not finite"),
    ("cp", [0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0], "servo_cp ignored"),
    ("cv", [0.0] * 5, "5 values where 6 belong"),
])
def test_nonsense_is_ignored_with_a_word(site, kind, value, says):
    before = site.q
    site.servo(kind, value)
    site.run(50)
    assert site.q == before and says in site.notes[-1]


def test_a_servo_stream_of_a_thousand_a_second_reaches_the_governor_thinned_and_newest(site):
    q = list(site.q)
    for _ in range(1000):
        site.now += MS
        q[0] += 0.00005
        site.session.servo("jp", q, site.now)
        site.session.tick(site.now)
        site.flush()
        if site.now % (10 * MS) == 0:
            site._arm()
    site.run(20)
    assert "flood" not in {a.id for a in site.s.alarms}
    assert site.q[0] == pytest.approx(q[0], abs=3e-4)  # the last one may still wait for its 4 ms


def test_a_velocity_is_integrated_and_ends_with_its_messages(site):
    start = KIN.fk(site.q)
    site.run(500, every=lambda: site.session.servo("cv", (0.01, 0, 0, 0, 0, 0), site.now))
    site.run(1000)
    moved = KIN.fk(site.q)[0] - start[0]
    assert 0.0045 < moved < 0.0065  # 0.5 s and at most 0.1 s more, at 10 mm/s
    assert site.lease is None


def test_interpolate_holds_its_target_between_slow_messages(site):
    target = shifted(KIN.fk(site.q), y=0.008)
    site.servo("interpolate", target)
    site.run(300)
    assert len(site.leases) > 10
    site.run(1000)
    assert site.lease is None
    assert KIN.fk(site.q)[1] == pytest.approx(target[1], abs=1e-5)


def test_move_cp_is_busy_then_there_then_not_busy(site):
    goal = shifted(KIN.fk(site.q), x=0.02, z=0.03)
    site.states.clear()
    site.move("cp", goal)
    site.run(5000)
    assert KIN.fk(site.q)[:3] == pytest.approx(goal[:3], abs=5e-4)
    assert [busy for _, busy in site.states] == [True, False]
    assert {lease.kind for lease in site.leases} == {"path"}
    assert site.session.state == "ENABLED" and site.notes == []


def test_a_move_to_where_the_arm_is_shows_busy_once(site):
    site.states.clear()
    site.move("jp", site.q)
    site.run(100)
    assert [busy for _, busy in site.states] == [True, False] and site.leases == []


def test_a_second_move_replaces_the_first_from_where_the_arm_stands(site):
    q = list(site.q)
    site.move("jp", [q[0] + 0.5, *q[1:]])
    site.run(500)
    site.move("jp", q)
    site.run(20_000)
    assert site.q == pytest.approx(q, abs=1e-3) and not site.session.busy


def test_hold_ends_a_move_where_it_is(site):
    q = list(site.q)
    site.move("jp", [q[0] + 0.5, *q[1:]])
    site.run(500)
    site.session.hold(site.now)
    site.flush()
    site.run(50)
    at = site.q
    site.run(1000)
    assert site.q == at and not site.session.busy and site.session.state == "ENABLED"
    assert q[0] < at[0] < q[0] + 0.4


def test_a_move_ends_when_its_client_is_gone(site):
    q = list(site.q)
    site.move("jp", [q[0] + 0.5, *q[1:]], frozenset({b"client"}))
    site.run(300)
    site.session.on_clients({"move_jp": frozenset({b"client", b"other"})})
    assert site.session.busy
    site.session.on_clients({"move_jp": frozenset({b"other"})})
    site.flush()
    site.run(1000)
    assert not site.session.busy and site.lease is None and "gone" in site.notes[-1]


def test_a_servo_message_takes_over_from_a_move(site):
    q = list(site.q)
    site.move("jp", [q[0] + 0.5, *q[1:]])
    site.run(300)
    site.servo("jp", site.q)
    assert not site.session.busy and "took over" in site.notes[-1]


def test_an_unreachable_goal_is_refused_in_words_and_moves_nothing(site):
    before = site.q
    site.move("cp", (2.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0))
    site.run(100)
    assert site.q == before and "cannot reach" in site.notes[-1] and not site.session.busy


def test_a_stop_of_anybody_shows_as_fault_and_ends_the_move(site):
    from safety.inputs import StopIn

    q = list(site.q)
    site.move("jp", [q[0] + 0.5, *q[1:]])
    site.run(300)
    site.give(StopIn(site.now, "gateway", "somebody"))
    site.run(50)
    assert site.session.state == "FAULT" and not site.session.busy and "stop by" in site.notes[-1]
    site.ask("enable")
    assert site.session.state == "FAULT" and "STOP" in site.notes[-1]


def test_the_governors_death_shows_as_fault_and_ends_the_move(site):
    site.move("jp", [x + 0.1 for x in site.q])
    site.run(200)
    site.session.on_governor_gone()
    assert (site.session.state, site.session.busy) == ("FAULT", False)
    site.session.state_command("enable", site.now)
    assert "not there" in site.session.notes[-1]
