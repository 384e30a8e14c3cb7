"""After a take-over the doctor at the table moves the guide away: through the same gate and leases, away only, while held only."""

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.fixtures import clearance
from safety.governor import boot, step
from safety.inputs import (
    BeatIn,
    CommandIn,
    HaltOut,
    LeaseOut,
    LinkIn,
    Output,
    PeerIn,
    TickIn,
    decode_input,
    encode_input,
    encode_outputs,
)
from safety.params import MS, S
from safety.states import State
from safety.status import status_of
from sim.campaign.rig import HOME, SURGEON, Rig

CORRIDOR = {"entry": [0.4, 0.0, 0.28], "axis": [0.0, 0.0, -1.0], "radius": 0.002}
SKIN = {"kind": "halfspace", "n": [0.0, 0.0, 1.0], "d": 0.29, "name": "skin", "opened": True}
TOWER = {"kind": "sphere", "c": [0.44, 0.0, 0.34], "r": 0.02, "name": "tower", "anatomical": False}
AWAY = (0.0, 0.0, 0.0015)


class Table(Rig):
    """A rig whose arm follows its lease like a drive that needs no time to speed up, and whose bedside has taken over."""

    def taken(self, *, scene: bool = True, at: tuple[float, ...] = HOME) -> "Table":
        self.tip = at
        self.report_changes = {"pose": at, "setpoint": at}
        self.ready()
        if scene:
            self.scene(corridor=CORRIDOR, keepouts=[SKIN, TOWER])
        self.must("take_over")
        self.seq = 0
        return self

    def table(self, step: tuple[float, float, float] = AWAY, press: int = 1, age: int = 40, peer: str = "case", key: str = "bedside",
              **changes: Any) -> list[Output]:  # fmt: skip
        """One frame of the table: a target `step` (m) from the set-point."""
        if press and "target" not in changes:
            here = self.s.report.setpoint if self.s.report else HOME
            changes["target"] = (*(here[k] + step[k] for k in range(3)), *here[3:])
        c = self.make(**{"mode": "jog", "press": press} | changes)
        c = replace(c, echo_state=max(0, self.now - age * MS))
        return self.do(CommandIn(self.now, peer, key, 0, msgpack.packb(c.to_wire())))

    def go(self, ns: int) -> None:
        """Time passes; the set-point follows the lease in force at its cap, at most to its target."""
        end = self.now + ns
        while self.now < end:
            lease = self.s.lease
            if lease is not None and lease.target is not None and self.now < lease.expiry:
                way = [lease.target[k] - self.tip[k] for k in range(3)]
                left = sum(w * w for w in way) ** 0.5
                share = min(1.0, lease.v_cap * 0.01 / left) if left > 0 else 0.0
                self.tip = (*(self.tip[k] + share * way[k] for k in range(3)), *lease.target[3:])
                self.report_changes = {"pose": self.tip, "setpoint": self.tip, "drive": "moving", "q": (sum(self.tip[:3]), 0.2)}
            else:
                self.report_changes = {"pose": self.tip, "setpoint": self.tip, "q": (sum(self.tip[:3]), 0.2)}
            self.pass_time(10 * MS)

    def arm_says(self, **changes: Any) -> None:
        self.now += MS
        self.report(pose=self.tip, setpoint=self.tip, **changes)

    def clear(self) -> float:
        return clearance(self.s.scene, self.tip, self.params.tool_length, self.params.tool_radius)[0]

    def pressed(self, press: int = 1) -> "Table":
        """A released hand, then a press that moves."""
        self.table(press=0)
        assert self.leases(self.table(press=press)), self.s.last_reject
        return self


def words(out: list[Output]) -> str:
    return next((f"{o.reason}: {o.text}" for o in out if type(o).__name__ == "VerdictOut"), "ok")


def test_held_it_moves_slowly_away_in_local_and_released_it_decelerates_at_once() -> None:
    t = Table().taken().pressed()
    lease = t.s.lease
    assert lease is not None and 0.0 < lease.v_cap <= t.params.v_table and t.s.state is State.LOCAL
    for _ in range(30):
        t.go(30 * MS)
        t.table()
    assert t.tip[2] > HOME[2] + 0.003, "it did not move away"
    out = t.table(press=0)
    assert any(isinstance(o, HaltOut) for o in out) and t.s.lease is None and t.s.state is State.LOCAL


def test_a_deadman_that_was_down_at_the_take_over_moves_nothing_until_it_is_released() -> None:
    t = Table().taken()
    assert words(t.table(press=1)).startswith("deadman")
    assert words(t.table(press=1)).startswith("deadman")
    t.table(press=0)
    assert t.leases(t.table(press=2))


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03), st.floats(-0.015, 0.06)),
    ways=st.lists(st.tuples(*[st.sampled_from([-0.0015, 0.0, 0.0007, 0.0015])] * 3, st.integers(1, 12)), min_size=1, max_size=12),
)
def test_it_never_comes_nearer_to_what_is_forbidden(start: tuple[float, ...], ways: list[tuple[float, float, float, int]]) -> None:
    """Wherever the guide stands and whatever is pressed: beyond 10 mm it stays beyond 10 mm, within it only grows (to 0.03 mm)."""
    t = Table().taken(at=(0.4 + start[0], start[1], 0.3 + start[2], *HOME[3:]))
    t.table(press=0)
    floor = min(t.clear(), t.params.near_keepout)
    press = 1
    for x, y, z, n in ways:
        for _ in range(n):
            if not t.leases(t.table((x, y, z), press=press)):
                press += 1
            t.go(30 * MS)
            floor = max(floor, min(t.clear(), t.params.near_keepout))
            assert t.clear() >= floor - 3e-5, (t.tip, t.clear(), floor)


@settings(max_examples=60, deadline=None)
@given(depth=st.floats(0.001, 0.02), off=st.floats(0.0, 0.0015), tilt=st.floats(-0.03, 0.03))
def test_from_inside_the_corridor_away_leads_out_whatever_the_small_tilt(depth: float, off: float, tilt: float) -> None:
    """The one button that must always work: back along the guide's own axis."""
    q = (1.0, 0.0, tilt / 2, 0.0)
    n = sum(v * v for v in q) ** 0.5
    pose = (0.4 + off, 0.0, 0.28 + depth, *(v / n for v in q))
    x, y, z, w = pose[3:]
    back = tuple(-0.0015 * v for v in (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)))
    t = Table().taken(at=pose)
    t.table(press=0)
    press, start = 1, t.tip[2]
    for _ in range(60):
        out = t.table(back, press=press)
        if not t.leases(out):
            press += 1
        t.go(30 * MS)
    assert t.tip[2] > start + 0.003, words(out)


def test_without_a_scene_only_back_along_the_guide_is_permitted() -> None:
    t = Table().taken(scene=False).pressed()
    for step_ in ((0.0015, 0.0, 0.0), (0.0, -0.0015, 0.0), (0.0, 0.0, -0.0015)):
        assert words(t.table(step_)).startswith("corridor: no plan yet")


def test_it_does_not_turn_the_guide_and_knows_no_other_mode() -> None:
    t = Table().taken().pressed()
    turned = (*t.tip[:2], t.tip[2] + 0.001, 0.99995, 0.01, 0.0, 0.0)
    assert words(t.table(target=turned, press=1)) == "mode: the table's jog does not turn the guide"
    t.table(press=0)
    assert words(t.table(mode="servo", press=2)).startswith("mode")


@pytest.mark.parametrize("again", [1, 2])
def test_it_dies_within_the_lease_when_the_frames_stop_and_only_a_new_press_goes_on(again: int) -> None:
    t = Table().taken().pressed()
    lease = t.s.lease
    assert lease is not None and lease.expiry == t.now + t.params.lease_ns
    t.go(t.params.lease_ns + 10 * MS)
    assert t.s.lease is None
    rested = t.tip
    t.go(100 * MS)
    assert t.tip == rested
    out = t.table(press=again)
    assert bool(t.leases(out)) == (again == 2), words(out)


def test_nobody_else_moves_the_arm_meanwhile_whatever_key_and_door_they_use() -> None:
    t = Table(require_rehearsal=False)
    t.active()
    t.must("take_over")
    t.seq, t.tip = 0, HOME
    t.pressed()
    held = t.s.lease
    for key in (SURGEON, "local", "bedside"):
        for peer in ("gateway", "adapter"):
            assert not t.leases(t.table(key=key, peer=peer)) and t.s.lease is held
    assert not t.leases(t.table(key=SURGEON, peer="case")) and t.s.lease is held
    assert not t.order("grant", holder=SURGEON)[0]
    assert t.leases(t.table()), "and the table goes on"


def test_a_frame_of_an_earlier_take_over_moves_nothing() -> None:
    t = Table().taken().pressed()
    old = t.s.auth.epoch
    t.must("take_over")
    assert t.s.lease is None
    t.table(press=0)
    assert words(t.table(press=2, epoch=old)).startswith("epoch")


def test_it_works_while_the_wan_the_gateway_and_the_video_are_gone() -> None:
    t = Table(require_view=True).taken()
    t.do(PeerIn(t.now, "gateway", False))
    t.do(LinkIn(t.now, [{"alive": False}]))
    t.pressed()
    for _ in range(20):
        t.go(30 * MS)
        assert t.leases(t.table()), t.s.last_reject
    assert t.tip[2] > HOME[2] + 0.002


def test_an_old_press_is_refused_by_its_age() -> None:
    t = Table().taken().pressed()
    t.go(500 * MS)
    t.table(press=0, age=520)
    assert words(t.table(press=2, age=520)).startswith("stale")
    assert t.leases(t.table(press=2, age=40))


def test_anybodys_stop_ends_it_and_it_waits_for_the_rearming_at_the_table() -> None:
    t = Table().taken().pressed()
    out = t.stop("X" * 40)
    assert any(isinstance(o, HaltOut) for o in out) and t.s.lease is None and t.s.state is State.LOCAL
    t.table(press=0)
    assert "re-arm at the table first" in words(t.table(press=2))
    assert "re-arm" in status_of(t.s, t.params)["table_blocked"]
    assert not t.order("return_local")[0], "a stop is not forgotten by giving the arm back"
    t.must("rearm")
    t.table(press=0)
    assert t.leases(t.table(press=3))
    t.must("return_local")
    assert t.s.lease is None and t.s.state is State.READY


def test_a_stop_from_before_the_take_over_waits_for_the_rearming_too_and_a_second_take_over_does_not_forget_it() -> None:
    t = Table(require_rehearsal=False)
    t.active()
    t.stop()
    assert t.s.state is State.STOP
    t.seq, t.tip = 0, HOME
    for again in range(2):
        t.must("take_over")
        t.table(press=0)
        assert "re-arm at the table first" in words(t.table(press=1 + again))
    t.must("rearm")
    t.table(press=0)
    assert t.leases(t.table(press=5))


@pytest.mark.parametrize("what", ["recorder", "case", "force", "tracking", "disk", "late"])
def test_what_ends_a_surgeons_motion_ends_the_tables(what: str) -> None:
    t = Table().taken().pressed()
    t.go(20 * MS)
    if what in ("recorder", "case"):
        t.do(PeerIn(t.now, what, False))
    elif what == "force":
        t.arm_says(force=50.0)
    elif what == "tracking":
        t.arm_says(tracking_error=0.01)
    elif what == "disk":
        t.do(BeatIn(t.now, "recorder", "disk_full"))
        t.pass_time(20 * MS, beats=False)
    else:
        t.do(TickIn(t.now, t.params.lease_ns + 1, 0))
    assert t.s.lease is None and t.s.state is State.LOCAL, t.s.reason
    assert not t.leases(t.table(press=1)), "the same press goes on"


def test_a_fault_of_the_arm_ends_it_and_the_table_moves_nothing_in_fault() -> None:
    t = Table().taken().pressed()
    t.arm_says(drive="fault", fault="encoder")
    assert t.s.state is State.FAULT and t.s.lease is None
    assert words(t.table(press=2)).startswith("state: the table moves the arm in LOCAL only")


def test_a_hand_that_never_lets_go_is_no_hand() -> None:
    t = Table().taken().pressed()
    up, down = (0.0, 0.0, 0.0015), (0.0, 0.0, 0.0)
    for k in range(36 * S // (100 * MS)):
        t.table(up if k % 2 else down)
        t.go(100 * MS)
        if t.s.lease is None:
            break
    held = k * 0.1
    assert 34.0 < held < 36.0, f"ended after {held} s"


def test_outside_of_local_the_bedside_commands_nothing() -> None:
    t = Table()
    t.tip = HOME
    t.ready()
    t.scene()
    for state in ("READY", "returned"):
        if state == "returned":
            t.must("take_over")
            t.must("return_local")
        assert not t.leases(t.table(press=0)) and not t.leases(t.table(press=1)), state


def test_its_log_replays_to_the_very_same_bytes() -> None:
    t = Table().taken().pressed()
    for k in range(40):
        t.go(30 * MS)
        t.table((0.0015 * (k % 3 - 1), 0.0, 0.0015), press=1 + k // 10)
    t.stop("X" * 40)
    t.must("rearm")
    s, p = boot(t.boot_input)
    leases = 0
    for i, out in t.log:
        s, again = step(s, decode_input(encode_input(i)), p)
        assert encode_outputs(again) == encode_outputs(out)
        leases += sum(isinstance(o, LeaseOut) for o in again)
    assert leases > 10
