"""A county hospital's request for an expert, at its own end: who may ask, what is refused, what the doctor at the table sees of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.case.expert_requests import KEPT, NO_LINE, OPEN_MAX, OPS, ExpertRequests

CONSOLE = "k" * 40
IMAGES = {"case_id": "SIM-1", "ct_sha256": "ab" * 32}


class Hospital:
    def __init__(self) -> None:
        self.requests, self.now = ExpertRequests(), 5_000_000_000

    def order(self, op, who="bedside", line_up=True, **fields):
        return self.requests.handle(who, {"op": op, **fields}, self.now, 1.0, line_up=line_up, images=IMAGES)

    def seen_by_console(self):
        return self.order("case.requests", CONSOLE)["requests"]


def test_a_question_goes_out_with_its_images_and_its_age_on_the_robots_clock():
    h = Hospital()
    assert h.order("case.ask_expert", question=" Is L4 wide enough? ", by="Dr. Wu")["ok"]
    h.now += 1_500_000_000
    (r,) = h.seen_by_console()
    assert (r["question"], r["by"], r["age_ms"], r["images"], r["state"]) == ("Is L4 wide enough?", "Dr. Wu", 1500.0, IMAGES, "open")


def test_with_the_line_down_nothing_is_kept_and_the_words_say_what_to_do():
    h = Hospital()
    reply = h.order("case.ask_expert", question="help", line_up=False)
    assert not reply["ok"] and reply["reason"] == NO_LINE and "telephone" in reply["reason"]
    assert h.seen_by_console() == []


def test_the_table_sees_which_console_took_it_who_was_told_and_when_the_images_were_open():
    h = Hospital()
    number = h.order("case.ask_expert", question="help")["request"]
    h.now += 800_000_000
    assert h.order("case.consult", CONSOLE, id=number, console="lin", told={"dr.chen": 0.0})["ok"]
    h.now += 9_000_000_000
    h.order("case.consult", CONSOLE, id=number, console="other", seen={"dr.chen": 2000}, opened={"dr.chen": 9500.5})
    (r,) = h.order("case.requests")["requests"]
    assert (r["taken"], r["taken_ms"]) == ("lin", 800.0), "the first console that took it"
    assert r["opened"] == {"dr.chen": 9500.5} and r["seen"] == {"dr.chen": 2000.0} and r["told"] == {"dr.chen": 0.0}
    h.order("case.consult", CONSOLE, id=number, state="closed", answer="6.0 is fine")
    (r,) = h.order("case.requests")["requests"]
    assert (r["state"], r["answer"]) == ("closed", "6.0 is fine")


@pytest.mark.parametrize(
    "op, who, fields, words",
    [
        ("case.ask_expert", CONSOLE, {"question": "x"}, "at the bedside"),
        ("case.ask_expert", "bedside", {"question": "   "}, "1 to 1000"),
        ("case.ask_expert", "bedside", {"question": "x" * 1001}, "1 to 1000"),
        ("case.withdraw_request", CONSOLE, {"id": 1}, "only the bedside"),
        ("case.withdraw_request", "bedside", {"id": 9}, "not open"),
        ("case.consult", "bedside", {"id": 1}, "for consoles"),
        ("case.consult", CONSOLE, {"id": 9}, "no such request"),
        ("case.consult", CONSOLE, {}, "bad order"),
        ("case.consult", CONSOLE, {"id": 1, "told": [1]}, "a map"),
        ("case.consult", CONSOLE, {"id": 1, "opened": {"x": "soon"}}, "bad order"),
    ],
)
def test_what_does_not_fit_is_refused_with_words(op, who, fields, words):
    h = Hospital()
    h.order("case.ask_expert", question="first")
    reply = h.order(op, who, **fields)
    assert not reply["ok"] and words in reply["reason"]


def test_open_requests_are_few_and_old_ones_are_forgotten():
    h = Hospital()
    for n in range(OPEN_MAX):
        assert h.order("case.ask_expert", question=f"q{n}")["ok"]
    assert "withdraw one first" in h.order("case.ask_expert", question="more")["reason"]
    for n in range(60):
        h.order("case.withdraw_request", id=h.seen_by_console()[-1]["id"])
        assert h.order("case.ask_expert", question=f"r{n}")["ok"]
    assert len(h.seen_by_console()) <= KEPT
    numbers = [r["id"] for r in h.seen_by_console()]
    assert numbers == sorted(set(numbers))


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2), max_size=5),
       st.sampled_from(sorted(OPS)), st.sampled_from(["bedside", CONSOLE]))
def test_no_order_raises(fields, op, who):
    h = Hospital()
    reply = h.order(op, who, **{k: v for k, v in fields.items() if k not in ("op", "who", "line_up", "self")})
    assert isinstance(reply["ok"], bool) and isinstance(reply["reason"], str)


def test_what_the_doctor_wrote_is_sealed_in_both_logs(tmp_path):
    from safety.log.privacy import load_or_make, open_fields, seal_fields

    key = load_or_make(tmp_path / "case.key")
    event = {"id": 1, "question": "Mrs. Li's L4?", "answer": "6.0 for Mrs. Li", "told": {"dr.chen": 0.0}}
    sealed = seal_fields(event, key)
    assert "Li" not in str(sealed) and sealed["told"] == event["told"]
    assert open_fields(sealed, key) == event
