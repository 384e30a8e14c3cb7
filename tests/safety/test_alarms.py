"""Alarms: raising, clearing, latching, acknowledging."""

from safety import alarms
from safety.alarms import TABLE, acknowledged, cleared, raised


def test_every_alarm_says_what_to_do() -> None:
    for id_, (priority, latched, what) in TABLE.items():
        assert priority in (alarms.HIGH, alarms.MEDIUM, alarms.LOW), id_
        assert isinstance(latched, bool) and what.endswith("."), id_
    (a,) = raised((), "hold", "why", 5)
    assert (a.text, a.since, a.active, a.acked, a.priority) == ("why", 5, True, False, "HIGH")
    assert a.what_to_do == TABLE["hold"][2]


def test_a_latched_alarm_stays_until_cause_and_person_are_done() -> None:
    a = raised((), "hold", "why", 5)
    assert cleared(a, "hold")[0].active is False
    assert acknowledged(cleared(a, "hold")) == ()
    assert acknowledged(a)[0].acked and acknowledged(a)[0].active
    assert cleared(acknowledged(a), "hold") == ()


def test_an_unlatched_alarm_goes_with_its_cause() -> None:
    assert cleared(raised((), "late", "why", 5), "late") == ()


def test_raising_again_keeps_its_begin_while_active_and_starts_anew_afterwards() -> None:
    a = raised((), "hold", "one", 5)
    assert raised(a, "hold", "one", 9) is a
    assert raised(a, "hold", "two", 9)[0].since == 5
    again = raised(cleared(a, "hold"), "hold", "one", 9)
    assert len(again) == 1 and again[0].since == 9 and again[0].active and not again[0].acked
    acked = acknowledged(a)
    assert raised(acked, "hold", "one", 9)[0].acked  # the same trouble, already seen


def test_acknowledging_one_leaves_the_others() -> None:
    a = raised(raised((), "hold", "x", 1), "stop", "y", 2)
    after = acknowledged(a, "stop")
    assert [x.acked for x in after] == [False, True]
    assert cleared(a, "nothing") is a
