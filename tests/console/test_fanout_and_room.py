"""Newest-wins frames, and the consult room."""

import pytest

from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.fanout import QUEUE_LIMIT, Outbox, Overflow
from teleop.console.room import Room


def test_a_slow_page_gets_the_newest_frame_after_its_acknowledgement_and_never_an_old_one():
    box = Outbox()
    for n in range(5):
        box.offer_frame(b"%d" % n)
    assert box.take() == b"4"
    for n in range(5, 9):
        box.offer_frame(b"%d" % n)
    assert box.take() is None
    box.acknowledge()
    assert box.take() == b"8" and box.skipped == 7


def test_messages_pass_a_frame_that_waits_and_keep_their_order():
    box = Outbox()
    box.offer_frame(b"f")
    box.post(b"1")
    box.post(b"2")
    assert [box.take(), box.take(), box.take()] == [b"1", b"2", b"f"]


def test_a_page_that_does_not_read_is_disconnected_with_words():
    box = Outbox()
    for _ in range(QUEUE_LIMIT + 1):
        box.post(b"x")
    with pytest.raises(Overflow, match="reload"):
        box.take()


@pytest.fixture
def room() -> Room:
    room = Room()
    room.enter("1", Principal("dr.li", Role.SURGEON))
    room.enter("2", Principal("dr.chen", Role.EXPERT))
    room.enter("3", Principal("dr.sato", Role.EXPERT))
    return room


def test_drawings_are_points_of_the_patient_with_an_author_and_only_author_or_surgeon_erases(room):
    made = room.draw("2", "case", "line", [[1, 2, 3], [4, 5, 6]], "", 0.0)
    assert made["author"] == "dr.chen" and made["points_lps_mm"][1] == [4.0, 5.0, 6.0]
    with pytest.raises(ConsoleError, match=r"dr\.chen"):
        room.erase("3", made["id"])
    room.erase("1", made["id"])
    assert room.drawings == []


@pytest.mark.parametrize("bad", [None, [[1, 2]], [[1, 2, float("nan")]], [[1, 2, "3"]], [[True, 1, 2]], [[1e9, 0, 0]]])
def test_points_that_are_no_points_are_refused(room, bad):
    with pytest.raises(ConsoleError):
        room.draw("2", "case", "line", bad, "", 0.0)


def test_a_person_with_two_pages_is_one_person_and_leaves_with_the_last(room):
    room.enter("4", Principal("dr.chen", Role.EXPERT))
    room.hand("4", True, 1.0)
    room.leave("4")
    people = {p["name"]: p for p in room.document()["persons"]}
    assert people["dr.chen"]["hand"] and people["dr.chen"]["pages"] == 1
    room.leave("2")
    assert "dr.chen" not in {p["name"] for p in room.document()["persons"]}


def test_only_the_presenter_leads_and_its_look_is_gone_with_it(room):
    room.present("1", True)
    room.show("2", {"case": "x"})
    assert room.document()["look"] == {}
    room.show("1", {"case": "x", "secret": 1})
    assert room.document()["look"] == {"case": "x"}
    room.leave("1")
    assert room.document()["look"] == {}


def test_a_proposal_is_decided_once(room):
    made = room.propose("2", "case", {"id": "L3-R"}, "thinner", 0.0)
    assert room.decide(made["id"], True, "dr.li")["state"] == "accepted"
    with pytest.raises(ConsoleError, match="no longer open"):
        room.decide(made["id"], False, "dr.li")


def test_a_loop_that_waits_often_can_be_cancelled():
    """`asyncio.wait_for` in such a loop kept the console server from ending."""
    import asyncio

    from teleop.console.pacing import wake_or

    async def main() -> int:
        event, turns = asyncio.Event(), 0

        async def loop() -> None:
            nonlocal turns
            while True:
                await wake_or(event, 0.0005)
                turns += 1

        for _ in range(60):
            task = asyncio.create_task(loop())
            for _ in range(3):
                await asyncio.sleep(0)
                event.set()
            task.cancel()
            event.set()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
        return turns

    assert asyncio.run(main()) > 0
