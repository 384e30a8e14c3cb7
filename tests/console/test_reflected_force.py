"""Reflected force through the console: off unless chosen, never more energy than is accounted for, let down smoothly."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teleop.console.hub import Hub
from teleop.console.native import NativeHands
from teleop.console.site_hand import Choices, SiteHand, choices_from
from teleop.master.crtk_master import CrtkMasterDevice
from teleop.master.hand import HandState
from teleop.master.reflection import ReflectedForce, ReflectionParams
from teleop.master.robot_view import robot_view
from teleop.site.contact import DEAD, ContactMeter
from tests.console.fake_sites import FakeSite
from tests.console.reflecting import MS, Rig
from tests.console.test_site_hand import ARM

BAD = {"jitter": 0.02, "loss": 0.05}


def sizes(rig, since=0):
    return np.linalg.norm([f for f, t in zip(rig.forces, rig.times, strict=True) if t >= since], axis=1)


def test_off_by_default_nothing_is_ever_rendered_of_a_contact():
    rig = Rig(reflect=Choices().reflect).press().run(3000)
    assert rig.site.meter.contact.given > 0.05, "the guide does push the wall"
    assert rig.hand.view.contact[1] > 0.05, "and the console knows"
    assert all(f == (0.0, 0.0, 0.0) for f in rig.forces), "exactly zero"
    assert rig.hand.energies() == {} and rig.hand.show(rig.now)["reflected"] == {"on": False}


def test_a_contact_is_felt_back_along_the_guide_and_the_page_says_what_is_left():
    rig = Rig(delay=0.01).press().run(400)
    assert rig.hand.loop.hand.state is HandState.ENGAGED
    strongest = max(rig.forces, key=lambda f: f[2])
    assert strongest[2] > 0.5 and strongest[:2] == pytest.approx((0.0, 0.0), abs=1e-9), "pushed back"
    assert sizes(rig).max() <= ReflectionParams().force + 1e-12
    shown = rig.hand.show(rig.now)["reflected"]
    assert shown["on"] and shown["left_mj"] >= 0.0 and shown["budget_mj"] == 10.0
    row = rig.hand.energies()[rig.name]
    assert row["into"] > 0.0 and row["engagements"] == 1 and set(row) >= {"budget", "left", "out", "returned", "taken"}
    rig.check()


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_the_observer_stays_above_its_bound_over_any_line(delay):
    rig = Rig(delay=delay, **BAD).press(600 + int(2000 * delay)).run(8000).check()
    assert rig.engagement >= 1 and sizes(rig).max() > 0.05, "something was felt"
    assert rig.book.ledger.taken + rig.book.before[2] > 0.0, "and something was taken away"


def test_without_the_controller_the_same_check_fails(monkeypatch):
    monkeypatch.setattr(ReflectedForce, "_permitted", lambda self, force, velocity, period: force)
    with pytest.raises(AssertionError, match="observer fell"):
        Rig(delay=0.2, **BAD).press(1000).run(8000).check()


EVENTS = st.sampled_from(["release", "clutch", "unclutch", "stop", "silence", "page", "choose", "press", "go on"])


@pytest.mark.slow
@given(st.floats(0.0, 1.0), st.floats(0.0, 0.05), st.integers(0, 99), st.lists(EVENTS, max_size=5), st.floats(0.1, 1.0))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_the_bound_holds_and_what_ends_is_let_down(delay, jitter, seed, events, scale):
    rig = Rig(delay=delay, jitter=jitter, loss=0.05, seed=seed, scale=scale).press(400 + int(2000 * delay))
    for what in events:
        strike(rig, what)
        rig.run(700)
    strike(rig, "release")
    at = rig.now
    rig.run(400)
    assert not sizes(rig, at + 150 * MS).any(), "to zero, and it stays"
    rig.check()


def strike(rig, what):
    match what:
        case "release":
            rig.device.held = set()
        case "clutch":
            rig.device.held = {"deadman", "clutch"}
        case "unclutch" | "press":
            rig.device.held = {"deadman"}
        case "stop":
            rig.site.end(type(rig.site.state).STOP)
        case "silence":
            rig.heard = not rig.heard
        case "page":
            rig.page = not rig.page
        case "choose":
            rig.hand.choose(choices_from({"reflect": not rig.hand.choices.reflect}, rig.hand.choices))


@pytest.mark.parametrize("what", ["release", "clutch", "stop", "silence", "page", "choose"])
def test_what_ends_lets_the_force_down_smoothly_to_zero_where_it_stays(what):
    rig = Rig(delay=0.01, depth=-0.001)
    rig.hand._reflected[rig.name] = ReflectedForce(ReflectionParams(budget=1.0))  # the controller cuts nothing here
    rig.press(40)
    for _ in range(500):
        if np.linalg.norm(rig.run(4).forces[-1]) > 0.8:
            break
    else:
        pytest.fail("no force was felt in 2 s")
    rig.still = True
    at, before = rig.now, rig.forces[-1]
    strike(rig, what)
    rig.run(1500)
    after = np.array([before] + [f for f, t in zip(rig.forces, rig.times, strict=True) if t > at])
    steps = np.linalg.norm(np.diff(after, axis=0), axis=1)
    assert steps.max() <= ReflectionParams().slew * 0.004 + 1e-9, f"a step of {steps.max():.2f} N"
    gone = np.flatnonzero(np.linalg.norm(after, axis=1) == 0.0)[0]
    reaction = {"silence": 250, "page": 550, "stop": 60}.get(what, 30)
    assert gone * 4 <= reaction + 100, f"{gone * 4} ms"
    assert not after[gone:].any(), "it stays"
    sent = rig.device.sent
    rig.run(100)
    assert what != "page" or rig.device.sent == sent, "a device that is not in use is left alone"


def test_a_device_that_falls_silent_gets_nothing_and_its_return_books_no_way():
    r = ReflectedForce()
    for k in range(200):
        r.step(k * 4 * MS, (k * 4 * MS, (0.0, 0.0, -2e-5 * k)), (0.0, 0.0, 2.0), 0.0)
    assert r.force[2] == pytest.approx(2.0)
    assert r.step(1_000 * MS, (796 * MS, (0.0, 0.0, 0.0)), (0.0, 0.0, 2.0), 0.0) == (0.0, 0.0, 0.0)
    before = r.ledger.into, r.ledger.out
    r.step(1_100 * MS, (1_100 * MS, (5.0, 5.0, 5.0)), (0.0, 0.0, 2.0), 0.0)
    assert (r.ledger.into, r.ledger.out) == before and r.force == (0.0, 0.0, 0.0)


def test_an_arm_that_claims_energy_gives_none_that_the_hand_did_not_put_in():
    r, z, out = ReflectedForce(ReflectionParams(budget=0.0)), 0.0, 0.0
    for k in range(1000):
        f = r.step(k * 4 * MS, (k * 4 * MS, (0.0, 0.0, z)), (0.0, 0.0, 3.0), 100.0 * k)
        z += 1e-4  # the hand goes the way of the force all the time
        out += f[2] * 1e-4
    assert out == 0.0


@given(st.lists(st.floats(0.0, 2e-4), min_size=1, max_size=200), st.floats(0.0, 0.02))
def test_a_grip_of_bounded_acceleration_never_gets_more_than_the_budget(accelerations, budget):
    r, z, v = ReflectedForce(ReflectionParams(budget=budget)), 0.0, 0.0
    for k, a in enumerate(accelerations):
        r.step(k * 4 * MS, (k * 4 * MS, (0.0, 0.0, z)), (0.0, 0.0, 4.0), 0.0)
        v += a
        z += v * 0.004
        assert r.ledger.observer >= 0.0


class Topics:
    """The ROS side of a CRTK master: what was sent, and a pose a reading."""

    def __init__(self):
        self.sent = []

    def servo_cf(self, wrench):
        self.sent.append(tuple(wrench))

    def move_cp(self, pose): ...

    def state_command(self, command): ...


class Crtk:
    """A CRTK master whose topics say where the rig's device is."""

    def __init__(self, mtm):
        self.mtm, self.topics = mtm, Topics()
        self.device = CrtkMasterDevice(self.topics, "mtm", 250.0, gripper=True, force=True, damping=2.0)
        self.capabilities, self.connect = self.device.capabilities, self.device.connect
        self.disconnect = self.device.disconnect

    def read(self, now_ns):
        self.device.on_operating_state("ENABLED", True)
        self.device.on_button("operator_present", "deadman" in self.mtm.held)
        self.device.on_measured_cp((0.0, 0.0, self.mtm.z, 0.0, 0.0, 0.0, 1.0), now_ns)
        return self.device.read(now_ns)

    def send_force(self, wrench):
        self.mtm.force = wrench
        return self.device.send_force(wrench)


def test_a_crtk_master_gets_the_contact_by_servo_cf_and_zero_when_it_is_let_go():
    rig = Rig(delay=0.01)
    master = Crtk(rig.device)
    rig.native = NativeHands([master])
    rig.hand = SiteHand("me")
    rig.hand.choose(choices_from({"reflect": True, "alignment": "guide", "scale": 0.8}, Choices()))
    rig.native.attach([rig.hand])
    rig.press()
    sent = np.array(master.topics.sent)
    assert sent[:, 2].max() > 0.3 and not sent[:, 3:].any(), "forces, no torques"
    strike(rig, "release")
    rig.run(300)
    assert master.topics.sent[-1] == (0.0,) * 6
    rig.check()


@pytest.mark.parametrize("wrong", [{"budget": -1.0}, {"force": 0.0}, {"slew": -1.0}, {"surprise": 0.0}, {"silent": 0.0}, {"late": 0.0}])
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="reflected force"):
        ReflectionParams(**wrong)


def test_reflection_is_chosen_with_true_or_false():
    assert choices_from({"reflect": True}, Choices()).reflect
    with pytest.raises(ValueError, match="reflect is true or false"):
        choices_from({"reflect": 1}, Choices())


# --- the site's meter


@given(st.lists(st.tuples(st.floats(-0.01, 0.01), st.floats(0.0, 30.0)), max_size=50))
def test_the_sums_of_a_contact_only_grow_and_their_difference_is_the_work(steps):
    meter, z, work = ContactMeter(), 0.3, 0.0
    last = meter.step((0.5, 0.0, z, *ARM[3:]), 0.0)
    for way, force in steps:
        z -= way  # the guide looks down
        new = meter.step((0.5, 0.0, z, *ARM[3:]), force)
        assert new.given >= last.given and new.returned >= last.returned
        work += 0.5 * (last.force + new.force) * way
        last = new
    assert last.given - last.returned == pytest.approx(work, abs=1e-9)


def test_a_spring_gives_back_what_was_put_in_and_noise_is_no_contact():
    meter = ContactMeter()
    for k in [*range(200), *range(200, -1, -1)]:
        c = meter.step((0.5, 0.0, 0.3 - 1e-5 * k, *ARM[3:]), DEAD + 2000.0 * 1e-5 * k)
    assert c.given == pytest.approx(0.5 * 2000.0 * 0.002**2) == pytest.approx(c.returned)
    for k in range(100):
        quiet = meter.step((0.5, 0.0, 0.3 - 1e-5 * (k % 7), *ARM[3:]), 0.9)
    assert (quiet.given, quiet.returned) == (c.given, c.returned) and quiet.force == 0.0


def test_the_console_s_record_gets_the_energies_once_a_second_and_only_while_it_is_on(tmp_path):
    rig = Rig(delay=0.01)
    link = FakeSite("karamay", "Hospital B")
    link.energies = rig.hand.energies
    hub = Hub([link], None, tmp_path)
    now = [10**10]
    hub.clock = lambda: now[0]
    rig.press()
    for _ in range(20):
        now[0] += 100 * MS
        hub._log_hand()
    rig.hand.choose(Choices())
    for _ in range(20):
        now[0] += 100 * MS
        hub._log_hand()
    rows = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    rows = [r for r in rows if r["what"] == "hand.energy"]
    assert len(rows) == 2 and rows[0]["site"] == "karamay" and rows[0]["device"] == rig.name
    assert rows[0]["budget"] == 0.010 and rows[0]["out"] <= rows[0]["returned"] + rows[0]["budget"] and rows[0]["taken"] >= 0.0


@pytest.mark.parametrize("raw", [(1.0, 2), (-1.0, 0, 0), (float("inf"), 0, 0), (1.0, 0.5, 0), "abc", (None, 0, 0)])
def test_a_contact_that_is_none_is_refused_by_the_console(raw):
    rig = Rig().run(30)
    frame = dict(rig.frame) | {"arm": rig.frame["arm"] | {"contact": raw}}
    with pytest.raises(ValueError, match="robot state frame"):
        robot_view(frame)
    assert robot_view(rig.frame).contact == pytest.approx((1.0, 0.0, 0.0))
