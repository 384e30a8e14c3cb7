"""What the doctor at the table presses becomes command frames of the bedside; the governor's own decoder and gate read them."""

import math

import pytest

from safety.decode import decode_command
from safety.inputs import CommandIn, LeaseOut, VerdictOut
from safety.params import MS
from sim.campaign.rig import HOME, Rig
from teleop.case.table_jog import LEAD_M, TableFrames, direction


def status(**changes):
    return {"state": "LOCAL", "epoch": 3, "session": b"N" * 16, "rebase": 7, "press_floor": 4, "plan_hash": b"plan0123",
            "registration_epoch": 2, "last_seq": 0} | changes  # fmt: skip


def ask(press=1, way="away", echo=1000, server="one"):
    return {"server": server, "press": press, "way": way, "echo": echo}


def test_away_is_back_along_the_guides_own_axis_whatever_its_posture():
    assert direction("away", HOME) == pytest.approx((0, 0, 1))  # the tool looks straight down
    s = math.sqrt(0.5)
    assert direction("away", (0, 0, 0, 0, s, 0, s)) == pytest.approx((-1, 0, 0))  # it looks along x
    with pytest.raises(KeyError):
        direction("towards", HOME)


def test_a_frame_is_a_small_step_from_the_set_point_that_the_page_saw():
    c = decode_command(TableFrames("a", "arm1").frame(ask(), status(), HOME)["data"])
    assert (c.mode, c.epoch, c.rebase, c.plan_hash, c.registration_epoch, c.echo_state) == ("jog", 3, 7, b"plan0123", 2, 1000)
    assert c.press == 5 and c.target == pytest.approx((0.4, 0.0, 0.3 + LEAD_M, 1, 0, 0, 0))


def test_a_new_press_of_the_page_is_a_new_ordinal_and_a_restarted_server_does_not_revive_an_old_one():
    hand = TableFrames("a", "arm1")
    press = lambda **k: decode_command(hand.frame(ask(**k), status(), HOME)["data"]).press  # noqa: E731
    assert [press(), press(), press(press=0), press(press=2), press(press=1, server="two")] == [5, 5, 0, 6, 7]


def test_a_desk_that_was_restarted_goes_on_after_the_frames_that_the_governor_has_seen():
    assert decode_command(TableFrames("a", "arm1").frame(ask(), status(last_seq=70), HOME)["data"]).seq == 71


def test_outside_of_local_or_without_an_arm_nothing_is_said():
    hand = TableFrames("a", "arm1")
    assert hand.frame(ask(), status(state="READY"), HOME) is None
    assert hand.frame(ask(), status(), None) is None
    assert hand.frame(ask(press=0), status(), None) is not None, "a release needs no arm"


@pytest.mark.parametrize("spoiled", [{"press": True}, {"press": -1}, {"echo": 1.5}, {"server": None}])
def test_a_malformed_ask_is_refused_with_words(spoiled):
    with pytest.raises(ValueError, match="press and echo"):
        TableFrames("a", "arm1").frame(ask() | spoiled, status(), HOME)


def test_the_shipped_governor_moves_the_arm_by_these_frames_and_by_no_one_elses():
    rig = Rig()
    rig.ready()
    rig.scene()
    rig.must("take_over")
    hand = TableFrames("a", "arm1")

    def say(peer="case", **k):
        s = rig.s
        known = {"state": str(s.state), "epoch": s.auth.epoch, "session": s.session, "rebase": s.rebase,
                 "press_floor": max(s.press_floor, 0), "plan_hash": b"plan0123", "registration_epoch": 1, "last_seq": s.last_seq}  # fmt: skip
        message = hand.frame(ask(echo=rig.now - 30 * MS, **k), known, s.report.setpoint)
        return rig.do(CommandIn(rig.now, peer, message["key"], 0, message["data"]))

    say(press=0)
    (lease,) = (o for o in say() if isinstance(o, LeaseOut))
    assert lease.lease.mode == "jog" and 0 < lease.lease.v_cap <= rig.params.v_table and str(rig.s.state) == "LOCAL"
    before = rig.s.lease
    for peer in ("gateway", "adapter"):
        assert not [o for o in say(peer=peer) if isinstance(o, LeaseOut | VerdictOut)] and rig.s.lease is before
