"""Who is on call: over midnight, over zones, over the change of clocks, at the very second of a hand-over; bad rosters name the place."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.console import consultation as c
from teleop.console.contracts import Role
from teleop.console.roster import DAYS, RosterError, on_call, parse, read_roster

WEEK = list(DAYS)


def roster(*shifts, zone="Asia/Shanghai", **more):
    return parse({"version": 1, "zone": zone, "shift": list(shifts), **more})


def at(text: str, zone: str = "Asia/Shanghai") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


DAY = {"who": "dr.chen", "days": WEEK, "from": "08:00", "to": "20:00"}
NIGHT = {"who": "dr.sato", "days": WEEK, "from": "20:00", "to": "08:00"}


@pytest.mark.parametrize(
    "when, names",
    [("2026-11-23 07:59:59", ("dr.sato",)), ("2026-11-23 08:00:00", ("dr.chen",)), ("2026-11-23 19:59:59", ("dr.chen",)),
     ("2026-11-23 20:00:00", ("dr.sato",)), ("2026-11-24 00:00:00", ("dr.sato",)), ("2026-11-24 03:00:00", ("dr.sato",))],
)  # fmt: skip
def test_a_shift_begins_at_its_second_and_the_other_ends_just_before(when, names):
    assert on_call(roster(DAY, NIGHT), at(when)) == names


@given(st.integers(0, 400 * 86400))
def test_two_shifts_that_fill_the_day_always_have_exactly_one_on_call(seconds):
    both = roster(DAY, NIGHT, zone="Europe/Berlin")
    assert len(on_call(both, at("2026-01-01 00:00", "UTC") + seconds)) == 1


def test_a_weekend_night_ends_on_the_monday():
    r = roster({**NIGHT, "days": ["sun"]})
    assert on_call(r, at("2026-11-23 07:00")) == ("dr.sato",)  # a Monday
    assert on_call(r, at("2026-11-24 07:00")) == ()


def test_each_shift_counts_by_its_own_zone():
    r = roster(DAY, {**DAY, "who": "dr.weber", "zone": "Europe/Berlin"})
    assert on_call(r, at("2026-11-23 16:00")) == ("dr.chen", "dr.weber")  # 09:00 in Berlin
    assert on_call(r, at("2026-11-23 12:00")) == ("dr.chen",)


def hours(r, day: str, zone: str) -> float:
    start = at(f"{day} 12:00", zone)
    return sum(bool(on_call(r, start + k * 60)) for k in range(26 * 60)) / 60


def test_a_night_in_which_the_clocks_change_is_an_hour_longer_or_shorter():
    night = roster({**NIGHT, "from": "22:00", "to": "06:00"}, zone="Europe/Berlin")
    assert hours(roster({**NIGHT, "from": "22:00", "to": "06:00", "days": ["sat"]}, zone="Europe/Berlin"), "2026-10-24", "Europe/Berlin") == 9.0
    assert hours(roster({**NIGHT, "from": "22:00", "to": "06:00", "days": ["sat"]}, zone="Europe/Berlin"), "2026-03-28", "Europe/Berlin") == 7.0
    assert on_call(night, at("2026-03-29 05:59", "Europe/Berlin")) == ("dr.sato",)


def test_a_hand_over_in_the_hour_that_does_not_exist_is_where_the_clock_jumps():
    r = roster({"who": "early", "days": WEEK, "from": "02:30", "to": "12:00"}, zone="Europe/Berlin")
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()  # 02:00 becomes 03:00
    assert on_call(r, jump - 1) == () and on_call(r, jump + 1) == ("early",)


def test_away_takes_a_person_off_both_days_included():
    r = roster(DAY, away=[{"who": "dr.chen", "from": datetime(2026, 12, 20).date(), "to": datetime(2026, 12, 21).date()}])
    assert [bool(on_call(r, at(f"2026-12-{d} 09:00"))) for d in (19, 20, 21, 22)] == [True, False, False, True]


def test_a_single_date_counts_once():
    r = roster({"who": "dr.xmas", "date": datetime(2026, 12, 24).date(), "from": "20:00", "to": "08:00"})
    assert on_call(r, at("2026-12-25 07:59")) == ("dr.xmas",)
    assert on_call(r, at("2026-12-26 07:59")) == ()


BAD = {
    "another version": ({"version": 2}, "version: 2 is not 1 (it was written for a newer release)"),
    "no version": ({"version": None}, "version: None is not 1"),
    "a zone nobody knows": ({"zone": "Mars/Olympus"}, "zone: 'Mars/Olympus' is no time zone"),
    "no shift": ({"shift": []}, "nobody would ever be on call"),
    "a wrong key": ({"shifts": []}, "'shifts' is not one of"),
    "a wrong key of a shift": ({"shift": [{**DAY, "until": "09:00"}]}, "shift 1: 'until' is not one of"),
    "no such time": ({"shift": [DAY, {**DAY, "to": "25:00"}]}, "shift 2: to: '25:00' is not a time like 08:00"),
    "a time without zero": ({"shift": [{**DAY, "from": "8:00"}]}, "shift 1: from: '8:00'"),
    "no such day": ({"shift": [{**DAY, "days": ["monday"]}]}, "shift 1: days: ['monday'] is not a list of mon"),
    "days and date": ({"shift": [{**DAY, "date": datetime(2026, 1, 1).date()}]}, "shift 1: give one of days and date"),
    "nobody": ({"shift": [{**DAY, "who": " "}]}, "shift 1: who: a name"),
    "away that ends first": (
        {"away": [{"who": "x", "from": datetime(2026, 2, 2).date(), "to": datetime(2026, 2, 1).date()}]}, "away 1: it ends"),
    "a revision that does not count": ({"revision": -1}, "revision: -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_roster_is_refused_with_the_place_and_the_reason(name):
    changes, words = BAD[name]
    with pytest.raises(RosterError) as refused:
        parse({"version": 1, "zone": "UTC", "shift": [DAY], **changes})
    assert words in str(refused.value)


def test_a_file_is_read_and_its_name_stands_in_the_refusal(tmp_path):
    file = tmp_path / "roster.toml"
    file.write_text('version = 1\nrevision = 3\nzone = "UTC"\n[[shift]]\nwho = "dr.a"\ndays = ["mon"]\nfrom = "08:00"\nto = 20:00:00\n')
    assert read_roster(file).revision == 3
    file.write_text("version = 1\nzone = nowhere\n")
    with pytest.raises(RosterError, match=r"roster.toml: not TOML: .*line 2"):
        read_roster(file)
    with pytest.raises(RosterError, match="cannot be read"):
        read_roster(tmp_path / "none.toml")


# -- the hand-over ---------------------------------------------------------------------------------------------------------
def test_whoever_comes_on_call_takes_over_what_nobody_has_opened_and_only_that():
    now = c.Now(10_000_000_000, 1000.0)
    s = c.State(people={"p": c.Person("dr.sato", Role.EXPERT), "q": c.Person("dr.chen", Role.MENTOR)}, on_call=("dr.chen",))
    s, _ = c.asked_at_bedside(s, "Dr. Wu", "karamay", "first?", 0.0, now)
    s, _ = c.asked_at_bedside(s, "Dr. Wu", "karamay", "second?", 0.0, now)
    s, _ = c.look_at(s, c.Person("dr.chen", Role.MENTOR), s.requests[0].id, "opened", now)
    later = c.Now(now.mono + 5_000_000_000, 1005.0)
    s, effects = c.duty(s, c.Person("roster", Role.SURGEON), ["dr.sato"], later)
    alerts = [e for e in effects if isinstance(e, c.Alert)]
    assert [(a.name, a.request) for a in alerts] == [("dr.sato", s.requests[1].id)]
    assert s.requests[1].told["dr.sato"] == 5000.0
    again, effects = c.duty(s, c.Person("roster", Role.SURGEON), ["dr.sato"], later)
    assert not [e for e in effects if isinstance(e, c.Alert)] and again.on_call == ("dr.sato",)


def test_the_roster_file_rules_the_console_and_a_spoilt_one_leaves_the_old_in_force(tmp_path):
    from types import SimpleNamespace

    from teleop.console.together import Together

    rows, events = [], []
    hub = SimpleNamespace(
        pages={}, complaints=[], sites={}, journal=SimpleNamespace(write=lambda *a, **k: rows.append((a, k))),
        event=lambda *a, **k: events.append(a),
    )  # fmt: skip
    file = tmp_path / "roster.toml"
    text = 'version = 1\nrevision = {}\nzone = "UTC"\n[[shift]]\nwho = "{}"\ndays = {}\nfrom = "00:00"\nto = "00:00"\n'
    file.write_text(text.format(1, "dr.a", WEEK))
    together = Together(hub, None)
    together.use_roster(file)
    assert together.state.on_call == ("dr.a",)
    file.write_text("version = 7\n")
    together.change_shift()
    assert together.state.on_call == ("dr.a",) and "revision 1 stays in force" in events[0][1]
    file.write_text(text.format(2, "dr.bbb", WEEK))
    together.change_shift()
    assert together.state.on_call == ("dr.bbb",) and any(a[1] == "roster.read" for a, _ in rows)


def test_a_day_of_shifts_covers_itself_to_the_second():
    r = roster({"who": "x", "days": WEEK, "from": "00:00", "to": "00:00"})
    start = at("2026-11-23 00:00")
    assert all(on_call(r, start + timedelta(hours=h, seconds=s).total_seconds()) for h in range(24) for s in (0, 3599))
