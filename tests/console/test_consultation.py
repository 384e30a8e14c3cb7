"""The consultation as a pure machine: who is told, who may what, what each may read, what runs out."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teleop.console import consultation as c
from teleop.console.contracts import ConsoleError, Role

LI, CHEN, SATO = c.Person("dr.li", Role.SURGEON), c.Person("dr.chen", Role.MENTOR), c.Person("dr.sato", Role.EXPERT)
COUNTY, STUDENT, AUDIT = c.Person("county", Role.BEDSIDE), c.Person("student", Role.OBSERVER), c.Person("audit", Role.REVIEWER)


def at(seconds: float) -> c.Now:
    return c.Now(int(seconds * 1e9), 1_700_000_000.0 + seconds)


def room(*people: c.Person, on_call: tuple[str, ...] = ("dr.chen", "dr.sato")) -> c.State:
    s = c.State(on_call=on_call)
    for n, who in enumerate(people):
        s, _ = c.joined(s, f"page{n}", who, at(0))
    return s


def alerts(effects: list[c.Effect]) -> list[str]:
    return [e.name for e in effects if isinstance(e, c.Alert)]


def logged(effects: list[c.Effect]) -> list[str]:
    return [e.what for e in effects if isinstance(e, c.Log)]


# -- requests ---------------------------------------------------------------------------------------------------------
def test_everybody_on_call_is_told_of_a_request_at_once_and_it_is_in_the_record():
    s, effects = c.ask(room(COUNTY, CHEN), COUNTY, "tianjin", "L4", "Is this pedicle wide enough?", at(1))
    assert alerts(effects) == ["dr.chen", "dr.sato"] and logged(effects) == ["consult.request"]
    assert s.requests[0].told == {"dr.chen": 0.0}, "who is not here has not been told"


def test_who_is_on_call_and_comes_later_is_told_when_they_come():
    s, _ = c.ask(room(COUNTY), COUNTY, "tianjin", "", "?", at(1))
    s, effects = c.joined(s, "late", SATO, at(11))
    assert alerts(effects) == ["dr.sato"] and s.requests[0].told["dr.sato"] == pytest.approx(10_000)
    _, again = c.joined(s, "second page", SATO, at(12))
    assert not alerts(again)


def test_the_time_from_request_to_images_open_is_measured_once_per_person():
    s, _ = c.ask(room(COUNTY, CHEN), COUNTY, "tianjin", "L4", "?", at(1))
    s, effects = c.look_at(s, CHEN, 1, "opened", at(8.25))
    assert s.requests[0].opened == {"dr.chen": pytest.approx(7250)} and "consult.opened" in logged(effects)
    assert c.look_at(s, CHEN, 1, "opened", at(99))[0] == s


def test_a_request_that_nobody_looks_at_is_escalated_once_to_everybody_who_may_advise():
    s, _ = c.ask(room(COUNTY, LI, STUDENT, on_call=("dr.chen",)), COUNTY, "tianjin", "", "?", at(1))
    s, early = c.tick(s, at(1 + c.ESCALATE_S - 1))
    assert not alerts(early)
    s, effects = c.tick(s, at(1 + c.ESCALATE_S))
    assert alerts(effects) == ["dr.li"] and "consult.escalated" in logged(effects)
    assert not alerts(c.tick(s, at(200))[1])


def test_a_request_that_somebody_has_seen_is_not_escalated():
    s, _ = c.ask(room(COUNTY, CHEN), COUNTY, "tianjin", "", "?", at(1))
    s, _ = c.look_at(s, CHEN, 1, "seen", at(5))
    assert not alerts(c.tick(s, at(500))[1])


def test_only_whoever_asked_or_an_adviser_closes_a_request():
    s, _ = c.ask(room(COUNTY, CHEN, STUDENT), COUNTY, "tianjin", "", "?", at(1))
    with pytest.raises(ConsoleError, match="only they or an adviser"):
        c.close_request(s, STUDENT, 1, "", at(2))
    s, effects = c.close_request(s, CHEN, 1, "wide enough for 6.0", at(2))
    assert s.requests[0].state == "closed" and logged(effects) == ["consult.closed"]


@pytest.mark.parametrize("question", ["", "   ", "x" * 1001])
def test_an_empty_or_endless_question_is_refused_with_words(question):
    with pytest.raises(ConsoleError, match="write a question"):
        c.ask(room(COUNTY), COUNTY, "a", "", question, at(0))


# -- invitations ------------------------------------------------------------------------------------------------------
def invited(role: Role = Role.EXPERT, by: c.Person = LI, seconds: float = 600) -> c.State:
    return c.invite(room(LI, CHEN, COUNTY), by, "tok", "guest", role, seconds, "", at(0))[0]


def test_an_invitation_is_good_until_it_expires_or_is_taken_back():
    s = invited()
    assert c.admit(s, "tok", at(599).utc) == ""
    assert "expired: ask dr.li" in c.admit(s, "tok", at(600).utc)
    s, _ = c.revoke(s, LI, "tok", at(10))
    assert "taken back: ask dr.li" in c.admit(s, "tok", at(11).utc)
    assert "not known" in c.admit(s, "other", at(0).utc)


def test_pages_that_came_by_an_invitation_end_when_it_is_taken_back_and_when_it_expires():
    s = invited()
    s, _ = c.joined(s, "g", c.Person("guest", Role.EXPERT, "tok"), at(1))
    _, effects = c.revoke(s, LI, "tok", at(2))
    assert [e.invitation for e in effects if isinstance(e, c.Close)] == ["tok"]
    assert not [e for e in c.tick(s, at(599))[1] if isinstance(e, c.Close)]
    late = c.tick(s, at(601))[1]
    assert [e.words for e in late if isinstance(e, c.Close)] == ["this invitation has expired: ask dr.li for a new one"]
    assert "consult.ended" in logged(late)


@pytest.mark.parametrize(
    ("by", "role", "words"),
    [
        (STUDENT, Role.OBSERVER, "only the surgeon"), (LI, Role.SURGEON, "nobody is invited as"),
        (CHEN, Role.MENTOR, "invited by the operating surgeon"), (COUNTY, Role.MENTOR, "operating"),
    ],
)
def test_nobody_invites_above_their_place(by, role, words):
    with pytest.raises(ConsoleError, match=words):
        c.invite(room(LI, CHEN), by, "t", "x", role, 600, "", at(0))


def test_only_the_inviter_or_the_surgeon_takes_an_invitation_back():
    s = invited(by=COUNTY)
    with pytest.raises(ConsoleError, match="only they or the surgeon"):
        c.revoke(s, CHEN, "tok", at(1))
    assert c.revoke(s, LI, "tok", at(1))[0].invitations["tok"].revoked


def test_others_invitations_are_not_shown():
    s = invited(by=COUNTY)
    assert [i["id"] for i in c.document(s, "dr.li", Role.SURGEON, at(1).utc)["invitations"]] == ["tok"]
    assert c.document(s, "dr.chen", Role.MENTOR, at(1).utc)["invitations"] == []
    assert c.document(s, "student", Role.OBSERVER, at(1).utc)["invitations"] == []


# -- words and voice --------------------------------------------------------------------------------------------------
def test_a_private_word_reaches_those_it_is_meant_for_and_nobody_else_not_even_later():
    s = room(LI, CHEN, STUDENT)
    s, effects = c.say(s, CHEN, "medial wall is thin", ["dr.li"], "text", at(1))
    assert [e.names for e in effects if isinstance(e, c.Tell)] == [frozenset({"dr.chen", "dr.li"})]
    for name, role, reads in (("dr.li", Role.SURGEON, 1), ("dr.chen", Role.MENTOR, 1), ("student", Role.OBSERVER, 0), ("late", Role.EXPERT, 0)):
        assert len(c.document(s, name, role, at(2).utc)["words"]) == reads


def test_a_word_to_somebody_who_is_not_here_is_refused_not_lost():
    with pytest.raises(ConsoleError, match=r"dr\.sato is not here: nothing was sent"):
        c.say(room(LI), LI, "hello", ["dr.sato"], "text", at(1))


def test_an_instruction_shows_who_has_understood_it():
    s, _ = c.say(room(LI, COUNTY), LI, "hold the breath", [], "instruction", at(1))
    s, effects = c.acknowledge(s, COUNTY, 1, at(2))
    assert s.words[0].acked == ("county",) and logged(effects) == ["consult.ack"]
    assert c.acknowledge(s, COUNTY, 1, at(3))[1] == []


def test_a_microphone_is_shut_when_its_owner_leaves_and_reviewers_only_listen():
    s = room(LI, AUDIT)
    s, _ = c.speak(s, LI, False, [], at(1))
    s, effects = c.left(s, "page0", at(2))
    assert c.Speak("dr.li", c.Voice()) in effects and s.voices["dr.li"].muted
    with pytest.raises(ConsoleError, match="listens and looks"):
        c.speak(s, AUDIT, False, [], at(3))


# -- marks on live pictures ---------------------------------------------------------------------------------------------
def a_mark(points=((0.5, 0.5), (0.6, 0.6)), kind="line") -> c.Mark:
    return c.Mark(0, "", "tianjin", "ultrasound", 77, kind, tuple(points), "here", 0.0)


def test_a_mark_carries_its_author_and_its_picture_and_fades():
    s, effects = c.mark(room(LI), LI, a_mark(), at(1))
    assert s.marks[0].author == "dr.li" and s.marks[0].frame == 77
    details = next(e for e in effects if isinstance(e, c.Log)).details
    assert details["stream"] == "ultrasound" and details["frame"] == 77
    assert len(c.tick(s, at(1 + c.MARK_LIFE_S - 1))[0].marks) == 1
    assert c.tick(s, at(1 + c.MARK_LIFE_S))[0].marks == ()


@pytest.mark.parametrize(("points", "kind"), [((), "line"), (((2.0, 0.0),), "note"), (((0.5, 0.5),), "blot")])
def test_a_mark_outside_the_picture_is_refused(points, kind):
    with pytest.raises(ConsoleError):
        c.mark(room(LI), LI, a_mark(points, kind), at(1))


def test_a_pointer_is_one_per_person_and_goes_by_itself():
    s = room(LI, CHEN)
    for k in range(3):
        s, _ = c.point(s, LI, a_mark([(k / 10, 0.5)]), at(1 + k))
    s, _ = c.point(s, CHEN, a_mark([(0.9, 0.5)]), at(3.5))
    assert {r["author"]: r["points"] for r in c.pointer_rows(s, at(4).utc)} == {"dr.li": [[0.2, 0.5]], "dr.chen": [[0.9, 0.5]]}
    assert c.pointer_rows(s, at(30).utc) == []
    assert "dr.li" not in c.point(s, LI, None, at(4))[0].pointers


# -- a late joiner, and everything together -----------------------------------------------------------------------------
def test_a_late_joiner_gets_the_whole_state():
    s = room(LI, CHEN)
    s, _ = c.ask(s, LI, "tianjin", "L4", "?", at(1))
    s, _ = c.say(s, LI, "one", [], "text", at(2))
    s, _ = c.speak(s, CHEN, False, [], at(3))
    s, _ = c.mark(s, CHEN, a_mark(), at(4))
    s, _ = c.joined(s, "late", SATO, at(5))
    document = c.document(s, "dr.sato", Role.EXPERT, at(5).utc)
    assert document == {**c.document(s, "dr.chen", Role.MENTOR, at(5).utc)}
    assert all(document[k] for k in ("requests", "words", "voices", "marks", "on_call"))


PEOPLE = (LI, CHEN, SATO, COUNTY, STUDENT, AUDIT)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 5), st.floats(0.01, 50)), max_size=60))
def test_whatever_happens_private_words_stay_private_and_every_change_is_in_the_record(rows):
    s, now = c.State(on_call=("dr.chen",)), 0.0
    for kind, a, b, dt in rows:
        now += dt
        who, other = PEOPLE[a], PEOPLE[b]
        before = s
        try:
            if kind == 0:
                result = c.joined(s, f"p{a}", who, at(now))
            elif kind == 1:
                result = c.left(s, f"p{a}", at(now))
            elif kind == 2:
                result = c.ask(s, who, "tianjin", "", "q", at(now))
            elif kind == 3:
                result = c.say(s, who, f"secret of {who.name}", [other.name], "text", at(now))
            elif kind == 4:
                result = c.speak(s, who, b > 2, [other.name], at(now))
            elif kind == 5:
                result = c.invite(s, who, f"t{a}{b}", f"g{b}", Role.OBSERVER, 60 + 60 * b, "", at(now))
            elif kind == 6:
                result = c.revoke(s, who, f"t{b}{a}", at(now))
            elif kind == 7:
                result = c.mark(s, who, a_mark(), at(now))
            elif kind == 8:
                result = c.look_at(s, who, b, "opened", at(now))
            else:
                result = c.tick(s, at(now))
        except ConsoleError:
            continue
        s, effects = result
        for person in PEOPLE:
            for w in c.document(s, person.name, person.role, at(now).utc)["words"]:
                assert not w["to"] or person.name in (*w["to"], w["author"])
        changed = (s.requests, s.words, s.voices, s.invitations) != (before.requests, before.words, before.voices, before.invitations)
        told_only = kind == 0 and tuple(replace(r, told={}) for r in s.requests) == tuple(replace(r, told={}) for r in before.requests)
        if changed and not told_only:
            assert any(isinstance(e, c.Log) for e in effects), "a change that the record does not know"
        for e in effects:
            if isinstance(e, c.Close):
                assert c.admit(s, e.invitation, at(now).utc) != ""
