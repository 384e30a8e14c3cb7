"""I1-I10 as properties of the real objects under arbitrary histories: hypothesis drives the shipped governor step.

I1/I2 (drive, travel) are judged on the real drive in tests/campaign and tests/arm; here: leases end, motion is never created.
"""

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from safety.authority import mover
from safety.governor import boot, step
from safety.inputs import (
    ArmIn,
    BeatIn,
    ChangeOut,
    CommandIn,
    FaultOut,
    HaltOut,
    Input,
    LeaseOut,
    LinkIn,
    OrderIn,
    Output,
    PeerIn,
    StopIn,
    TickIn,
    decode_input,
    decode_outputs,
    encode_input,
    encode_outputs,
)  # fmt: skip
from safety.params import MS
from safety.situation import Situation
from safety.speed_law import speed_limit
from safety.states import State
from safety.status import status_of
from safety.transitions import RANK
from sim.campaign.rig import GOOD_LINK, HOME, OBSERVER, OTHER, PLAN, STRANGER, SURGEON, Rig

pytestmark = pytest.mark.timeout(600)
LATCHED = (State.HOLD, State.STOP, State.FAULT)
KEYS = st.sampled_from([SURGEON, SURGEON, SURGEON, OTHER, OBSERVER, STRANGER])
CORRIDOR = {"entry": [0.4, 0.0, 0.27], "axis": [0.0, 0.0, -1.0], "radius": 0.002}
BALL = {"kind": "sphere", "c": [0.44, 0.0, 0.3], "r": 0.02, "name": "ball"}


class Governor(RuleBasedStateMachine):
    """Any history of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.rig: Rig
        self.holders: dict[int, str] = {}
        self.press = 0

    @initialize(start=st.sampled_from(["active", "active", "granted", "ready", "boot", "local"]))
    def begin(self, start: str) -> None:
        self.rig = Rig(require_rehearsal=False, local_control=start == "local")
        match start:
            case "active":
                self.rig.active()
                self.press = 1
            case "granted":
                self.rig.granted()
            case "ready":
                self.rig.ready()
            case "local":
                self.rig.ready()
                self.rig.must("enable", key="local")
        self.hashes = [self.rig.stored_path(k) for k in ("goal", "advance")] if start != "boot" else [b"", b""]
        self.holders[self.rig.s.auth.epoch] = self.rig.s.auth.holder
        inner = self.rig.step

        def watched(s: Situation, i: Input, p: Any) -> tuple[Situation, list[Output]]:
            new, out = inner(s, i, p)
            self.judge(s, i, new, out)
            return new, out

        self.rig.step = watched

    # --- what must hold of every single step ---------------------------------------------------------------------------

    def judge(self, old: Situation, i: Input, new: Situation, out: list[Output]) -> None:
        p = self.rig.params
        leases = [o for o in out if isinstance(o, LeaseOut)]
        changes = [o for o in out if isinstance(o, ChangeOut)]
        assert new.now >= old.now and new.n == old.n + 1
        for o in leases:
            lease = o.lease
            assert isinstance(i, CommandIn), "I10: only a command makes a lease"
            assert lease.t_k == i.now and lease.expiry == i.now + p.lease_ns, "I1, I10: a lease ends L after t_k"
            table = new.state is State.LOCAL and i.key == "bedside" and i.peer == "case" and lease.mode == "jog"
            assert table or new.state in (State.ACTIVE, State.DEGRADED) or (new.state is State.READY and lease.mode == "rehearsal"), "I3"
            assert i.key == mover(new.auth) and lease.epoch == new.auth.epoch, "I4"
            assert not table or lease.v_cap <= p.v_table, "I7"
            assert 0.0 < lease.v_cap <= min(p.v_max, speed_limit(new.age * 1e-9, p.m_free, p)), "I7"
            assert new.user_cap == 0.0 or lease.v_cap <= new.user_cap, "I7"
            assert o.why, "every lease says what limits it"
            if old.fresh and lease.target is not None and new.report is not None:
                gap = sum((a - b) ** 2 for a, b in zip(lease.target[:3], new.report.setpoint[:3], strict=True)) ** 0.5
                assert gap <= max(p.resume, p.jump if i.key == "local" else 0.0) + 1e-12, "I8: no catch-up"
        assert len(leases) <= 1
        if old.lease is not None and new.lease is None:
            assert any(isinstance(o, HaltOut) for o in out), "a lease withdrawn is told to the arm"
            assert new.rebase > old.rebase, "I8: what was made against the former pose is void"
        if isinstance(i, CommandIn) and not leases and new.accepted == old.accepted:
            assert (new.last_valid, new.auth.expires) == (old.last_valid, old.auth.expires), "a refusal refreshes nothing"
        if new.state is not old.state:
            assert changes and all(c.reason for c in changes), "I9"
        for c in changes:
            was, becomes = State(c.old), State(c.new)
            if was in LATCHED and RANK[becomes] < RANK[was]:
                assert was is not State.FAULT, "I6: FAULT is left by a restart only"
                assert isinstance(i, OrderIn) or (was is State.HOLD and isinstance(i, CommandIn) and old.acked), "I6"
        if isinstance(i, StopIn):
            assert RANK[new.state] >= RANK[State.STOP] or new.state is State.INIT, "I5"
            assert new.lease is None
            assert new.state is not State.LOCAL or new.local_stop, "I6: the table re-arms before it moves again"
        if any(isinstance(o, FaultOut) for o in out):
            assert new.state is State.FAULT and new.auth.holder == ""
        assert new.auth.epoch >= old.auth.epoch
        if new.auth.holder:
            assert self.holders.setdefault(new.auth.epoch, new.auth.holder) == new.auth.holder, "I4: one holder an epoch"

    # --- what may happen -----------------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 5, 10, 10, 10, 50, 160, 400, 1100]), beats=st.sampled_from([True, True, True, False]))
    def time_passes(self, ms: int, beats: bool) -> None:
        self.rig.pass_time(ms * MS, beats=beats, step_ns=max(1, ms // 5) * MS)

    @rule(
        key=KEYS, up=st.sampled_from([0, 0, 0, 1]), mode=st.sampled_from(["servo", "servo", "jog", "goal", "advance", "rehearsal"]),
        dx=st.floats(-0.004, 0.004), age=st.sampled_from([20, 40, 150, 260, 350, 480, 520, 800, -5]), old=st.booleans(),
    )  # fmt: skip
    def command(self, key: str, up: int, mode: str, dx: float, age: int, old: bool) -> None:
        self.press += up
        changes: dict[str, Any] = {"press": self.press, "mode": mode}
        s = self.rig.s
        if mode in ("servo", "jog"):
            base = s.last_target or (s.report.setpoint if s.report else HOME)
            changes["target"] = (base[0] + dx, *base[1:]) if self.press else None
        else:
            changes["path_hash"] = self.hashes[mode == "advance"]
            changes["s_limit"] = abs(dx) * 20
        c = self.rig.make(**changes)
        c = replace(c, echo_state=max(0, self.rig.now - age * MS), rebase=s.rebase - old)
        if s.auth.holder == "local":
            key, c = "local", replace(c, plan_hash=b"", registration_epoch=0)
        if c.press and c.target is None and c.s_limit is None:
            return
        self.rig.send(c, key=key)

    @rule(up=st.sampled_from([0, 0, 1]), down=st.booleans(), step_=st.sampled_from([0.0015, -0.0015]), frames=st.integers(1, 3))
    def table(self, up: int, down: bool, step_: float, frames: int) -> None:
        """The doctor at the table, in LOCAL and out of it."""
        for n in range(frames):
            self.press += up if n == 0 else 0
            here = self.rig.s.report.setpoint if self.rig.s.report else HOME
            target = (here[0], here[1], here[2] + step_, *here[3:]) if down and self.press else None
            c = self.rig.make(mode="jog", press=self.press if down else 0, target=target)
            self.rig.do(CommandIn(self.rig.now, "case", "bedside", 0, msgpack.packb(c.to_wire())))

    @rule(key=KEYS)
    def release(self, key: str) -> None:
        self.rig.send(press=0, key="local" if self.rig.s.auth.holder == "local" else key)

    @rule(data=st.binary(max_size=60), key=KEYS)
    def noise(self, data: bytes, key: str) -> None:
        self.rig.send(data, key=key)

    @rule(
        op=st.sampled_from(["request", "grant", "release", "take_over", "return_local", "hold", "rearm", "ack", "enable", "disable",
                            "pause", "resume", "halt", "clear_paths", "clear_scene", "nonsense"]),
        key=st.sampled_from(["bedside", "bedside", "local", SURGEON, OTHER, STRANGER]), who=st.sampled_from([SURGEON, OTHER, STRANGER]),
    )  # fmt: skip
    def order(self, op: str, key: str, who: str) -> None:
        self.rig.order(op, key=key, holder=who, to=who if op == "release" and who == OTHER else "")

    @rule(registration=st.sampled_from([1, 1, 1, 2]), fixtures=st.booleans(), confirmed=st.sampled_from([True, True, False]))
    def scene(self, registration: int, fixtures: bool, confirmed: bool) -> None:
        self.rig.order("scene", plan_hash=PLAN, registration_epoch=registration, confirmed=confirmed, sigma_reg=0.0003,
                       corridor=CORRIDOR if fixtures else None, keepouts=[BALL] if fixtures else [])  # fmt: skip

    @rule()
    def recover(self) -> None:
        """A well-behaved site after trouble, so that histories do not all end in STOP."""
        s = self.rig.s
        if s.state is State.STOP:
            self.rig.order("rearm")
        if s.state is State.LOCAL:
            self.rig.order("rearm")
            self.rig.order("return_local")
        if s.state is State.HOLD:
            self.rig.order("ack", key=s.auth.holder or "bedside", peer="adapter" if s.auth.holder == "local" else "")
        for role in ("recorder", "case", "gateway"):
            peer = s.peers.get(role)
            if peer is None or not peer.up:
                self.rig.do(PeerIn(self.rig.now, role, True))
        if self.rig.s.state is State.READY and not self.rig.s.auth.holder:
            self.rig.order("qualify", result={"passed": True})
            self.rig.order("grant", holder=SURGEON)
            self.rig.seq = 0
        for _ in range(45):
            self.rig.pass_time(50 * MS, beats=True, step_ns=50 * MS)
            self.rig.send(press=0)

    @rule(key=KEYS)
    def stop(self, key: str) -> None:
        self.rig.stop(key)

    @rule(role=st.sampled_from(["gateway", "recorder", "case", "adapter"]), up=st.booleans())
    def peer(self, role: str, up: bool) -> None:
        self.rig.do(PeerIn(self.rig.now, role, up))

    @rule(note=st.sampled_from(["", "gap", "disk_low", "disk_full"]))
    def disk(self, note: str) -> None:
        self.rig.do(BeatIn(self.rig.now, "recorder", note))

    @rule(alive=st.booleans())
    def link(self, alive: bool) -> None:
        self.rig.do(LinkIn(self.rig.now, GOOD_LINK if alive else [{"alive": False}]))

    @rule(late=st.sampled_from([0, 25, 200]))
    def late(self, late: int) -> None:
        self.rig.do(TickIn(self.rig.now, late * MS, 0))

    @rule(what=st.sampled_from(["force", "tracking", "fault", "jump", "fine", "fine", "gone"]))
    def arm(self, what: str) -> None:
        self.rig.now += MS
        changes: dict[str, dict[str, Any]] = {
            "force": {"force": 50.0}, "tracking": {"tracking_error": 0.01}, "fault": {"drive": "fault", "fault": "encoder"},
            "jump": {"pose": (0.6, *HOME[1:])}, "fine": {},
        }  # fmt: skip
        if what == "gone":
            self.rig.do(ArmIn(self.rig.now, False))
        else:
            self.rig.report(**changes[what])

    # --- always --------------------------------------------------------------------------------------------------------

    @invariant()
    def standing_states_hold_no_lease(self) -> None:
        if not hasattr(self, "rig"):
            return
        s = self.rig.s
        if s.lease is not None:
            assert s.state in (State.ACTIVE, State.DEGRADED, State.LOCAL) or (s.state is State.READY and s.lease.mode == "rehearsal")
        else:
            assert s.v_cap == 0.0
        assert status_of(s, self.rig.params)["what_to_do"] or s.state is State.ACTIVE

    def teardown(self) -> None:
        """I9: the recorded inputs reproduce every output, byte for byte, after a trip through their bytes."""
        if not hasattr(self, "rig"):
            return
        s, p = boot(self.rig.boot_input)
        assert decode_input(encode_input(self.rig.boot_input)) == self.rig.boot_input
        for i, out in self.rig.log:
            data = encode_outputs(out)
            s, again = step(s, decode_input(encode_input(i)), p)
            assert encode_outputs(again) == data
            assert encode_outputs(decode_outputs(data)) == data
        assert s.state is self.rig.s.state


TestGovernor = Governor.TestCase
TestGovernor.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
