"""The deadman of the tablets at the table: one ask per sample of the page, none from anything else."""

import pytest

from safety.params import MS
from teleop.bedside.table_hand import TableHand


class Desk(list):
    def send(self, message):
        self.append(message)


@pytest.fixture
def table():
    desk = Desk()
    hand = TableHand(desk.send)
    hand.status({"state": "LOCAL", "epoch": 5, "rebase": 9, "stamp": 700})
    desk.clear()
    return hand, desk


def look(hand, press, now, page="tablet", way="away", echo=1000, age=0, **more):
    return hand.sample(page, {"press": press, "way": way, "echo": echo, "age_ms": age} | more, "bedside", now)


def test_each_sample_of_a_held_button_is_one_ask_and_silence_asks_nothing(table):
    hand, desk = table
    assert look(hand, 1, 0, name="Dr. Li") and not look(hand, 1, 33 * MS, echo=1033)
    assert [(m["press"], m["way"], m["echo"], m["who"]) for m in desk] == [(1, "away", 1000, "Dr. Li"), (1, "away", 1033, "Dr. Li")]
    for k in range(2, 5):
        hand.tick(33 * MS * k)
    assert len(desk) == 2
    hand.tick(200 * MS)
    assert desk[-1]["press"] == 0 and desk[-1]["echo"] == 1033
    assert not look(hand, 1, 210 * MS) and desk[-1]["press"] == 0, "what is over stays over"


def test_a_release_a_closed_page_and_another_button_end_the_press(table):
    for end in (lambda h: look(h, 0, 40 * MS), lambda h: h.page_gone("tablet"), lambda h: look(h, 1, 40 * MS, way="up")):
        desk = Desk()
        hand = TableHand(desk.send)
        look(hand, 1, 0)
        end(hand)
        assert desk[-1]["press"] == 0 and not hand.state.press


def test_of_two_tablets_the_one_that_presses_first_has_the_hand(table):
    hand, desk = table
    look(hand, 1, 0)
    look(hand, 4, MS, page="other")
    assert [m["press"] for m in desk] == [1]
    look(hand, 0, 2 * MS)
    look(hand, 5, 3 * MS, page="other")
    assert desk[-1]["press"] == 2


@pytest.mark.parametrize("after", [{"state": "READY"}, {"epoch": 6}, {"rebase": 10}])
def test_a_take_over_and_the_end_of_a_motion_at_the_governor_end_the_press(table, after):
    hand, desk = table
    look(hand, 1, 0)
    hand.status({"state": "LOCAL", "epoch": 5, "rebase": 9, "stamp": 800} | after)
    desk.clear()
    look(hand, 1, 33 * MS)
    assert [m["press"] for m in desk if m["press"]] == []


def test_a_take_over_hears_a_released_hand_before_any_press(table):
    hand, desk = table
    hand.status({"state": "LOCAL", "epoch": 6, "rebase": 11, "stamp": 900})
    assert [(m["press"], m["echo"]) for m in desk] == [(0, 900)]


@pytest.mark.parametrize("spoiled", [{"press": "1"}, {"press": True}, {"echo": 1.5}, {"echo": None}, {"way": "towards"}, {"age_ms": None}, {"age_ms": 151}])
def test_a_malformed_or_old_sample_is_a_released_hand(table, spoiled):
    hand, desk = table
    look(hand, 1, 0)
    hand.sample("tablet", {"press": 1, "way": "away", "echo": 1000, "age_ms": 0} | spoiled, "bedside", 20 * MS)
    assert not hand.state.press and desk[-1]["press"] == 0


def test_a_stop_from_this_table_ends_the_press_at_once(table):
    hand, desk = table
    look(hand, 1, 0)
    hand.stopped()
    desk.clear()
    look(hand, 1, 33 * MS)
    assert not any(m["press"] for m in desk)
