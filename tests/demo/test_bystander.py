"""Who judges a case treated by people in the web console: when it looks, what it takes as the verified guide, hand-overs."""

from types import SimpleNamespace

import numpy as np
import pytest

from sim.demo.bystander import Bystander, Seen
from sim.demo.judge import Truth
from sim.demo.watch import RoomWatch


class Room:
    """A simulated room whose clock and tip the test sets."""

    def __init__(self):
        self.stamp, self.x, self.asked = 0, 0.0, 0

    def ask(self, what):
        self.asked += 1
        pose = [self.x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        return {"stamp": self.stamp, "world_T_tip": pose, "world_T_ct": pose, "world_T_ref": pose}

    def close(self):
        pass


@pytest.fixture
def by():
    configs = tuple(SimpleNamespace(site=s, world_socket=f"/nowhere/{s}", seed=1) for s in ("a", "b"))
    bystander = Bystander(SimpleNamespace(configs=configs, profiles=("x", "y")))
    for name, room in bystander.rooms.items():
        room.watch = RoomWatch(name, Room())
    return bystander


def seen(site, step, mine=True, holder="me", placed=(), screw="L4_left", rtt=30.0):
    return Seen(site, mine, holder, screw, step, placed, rtt, list(np.eye(4).ravel()))


def go(by, site, step, times=1, x=0.0, **more):
    for _ in range(times):
        room = by.rooms[site].watch.client
        room.stamp, room.x = room.stamp + 100, x
        by.step([seen(site, step, **more), *(seen(o, "none", mine=False, holder="", screw="") for o in by.rooms if o != site)])


def test_the_guide_is_taken_between_its_verification_and_the_placing(by):
    go(by, "a", "approach", 5, x=1.0)
    assert by.rooms["a"].watch.client.asked == 0, "far from the line nobody looks"
    go(by, "a", "advance", 5, x=2.0)
    go(by, "a", "verified", 5, x=3.0)
    go(by, "a", "confirmed", 5, x=3.0)
    go(by, "a", "placed", 1, x=3.0, placed=("L4_left",))
    truth, _, _ = by.rooms["a"].judged["L4_left"]
    assert isinstance(truth, Truth) and truth.world_T_tip[0, 3] == 3.0
    go(by, "a", "placed", 5, x=9.0, placed=("L4_left",))
    assert by.rooms["a"].judged["L4_left"][0] is truth, "what moves after the placing is not judged"


def test_a_guide_that_was_moved_after_its_verification_counts_from_the_next_one(by):
    go(by, "a", "advance", 2, x=2.0)
    go(by, "a", "verified", 3, x=3.0)
    go(by, "a", "advance", 3, x=4.0)
    go(by, "a", "verified", 3, x=5.0)
    go(by, "a", "placed", 1, x=5.0, placed=("L4_left",))
    assert by.rooms["a"].judged["L4_left"][0].world_T_tip[0, 3] == 5.0


def test_a_placing_without_verification_is_a_problem_and_not_a_result(by):
    go(by, "a", "placed", 2, placed=("L4_left",))
    assert not by.rooms["a"].judged and "saw nothing" in by.blind[0]


def test_a_hand_over_is_clean_when_the_hospital_left_behind_has_no_holder(by):
    go(by, "a", "placed", 1, placed=("L4_left",))
    by.step([seen("a", "none", mine=False, holder="", placed=("L4_left",), screw=""), seen("b", "none", mine=False, holder="", screw="")])
    by.step([seen("a", "none", mine=False, holder="", placed=("L4_left",), screw=""), seen("b", "none", screw="")])
    assert [(h["from"], h["to"], h["clean"]) for h in by.handovers] == [("a", "b", True)]


def test_a_hand_over_while_somebody_still_holds_the_other_arm_is_not_clean(by):
    go(by, "a", "placed", 1, placed=("L4_left",))
    by.step([seen("a", "none", mine=False, holder="x", placed=("L4_left",), screw=""), seen("b", "none", mine=False, holder="", screw="")])
    by.step([seen("a", "none", mine=False, holder="x", placed=("L4_left",), screw=""), seen("b", "none", screw="")])
    assert by.handovers[0]["clean"] is False and "a still has a holder" in by.handovers[0]["why"]
