"""Pictures take what control leaves, the hospital in hand first; and when a line becomes thin, it is the pictures that go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.media.adapt import LADDER
from teleop.media.allowance import CONTROL_IN_HAND, CONTROL_WAITING, VOICE, Wish, ceilings, cost

FULL = len(LADDER) - 1
wishes = st.dictionaries(st.sampled_from("abcdefgh"), st.builds(Wish, st.booleans(), st.integers(0, 3)), min_size=1)


@given(st.floats(0, 1e8), wishes)
def test_pictures_never_take_what_control_and_voice_need(rate, wanted):
    out = ceilings(rate, wanted)
    control = VOICE + sum(CONTROL_IN_HAND if w.in_hand else CONTROL_WAITING for w in wanted.values())
    assert sum(cost(out[n], w.streams) for n, w in wanted.items()) <= max(0.0, rate - control)
    assert set(out) == set(wanted)


@given(wishes, st.floats(0, 2e7), st.floats(0, 2e7))
def test_a_better_line_never_gives_all_together_less_to_the_one_in_hand(wanted, a, b):
    low, high = sorted((a, b))
    held = [n for n, w in wanted.items() if w.in_hand and w.streams]
    if len(held) == 1:
        assert ceilings(high, wanted)[held[0]] >= ceilings(low, wanted)[held[0]]


@given(wishes, st.floats(0, 1e7))
def test_the_hospital_in_hand_is_never_seen_worse_than_one_that_is_only_watched(wanted, rate):
    out = ceilings(rate, wanted)
    for n, w in wanted.items():
        for m, other in wanted.items():
            if w.in_hand and not other.in_hand and other.streams >= w.streams > 0:
                assert out[n] >= out[m]


def test_a_wide_line_bears_everything_and_a_thin_one_nothing_but_control():
    three = {"a": Wish(True, 3), "b": Wish(False, 3), "c": Wish(False, 1)}
    assert set(ceilings(1e8, three).values()) == {FULL}
    assert set(ceilings(3e5, three).values()) == {0}


# -- on a line, in virtual time: the shipped governor, link, ladder; pictures and control in one queue -----------------------
@pytest.mark.slow
@pytest.mark.parametrize("mbps", [2.5, 1.6])
def test_when_the_rate_falls_pictures_fall_first_and_the_age_of_control_stays(mbps):
    pytest.importorskip("pybullet_data", reason="the simulated arm needs its model")
    from dataclasses import replace

    from sim.soak.hospital import Hospital, S

    h = Hospital("a", "metro-fibre", 3, 0, 20.0)
    for _ in range(200):
        h.wait()
    for way in h.paths[1]:
        way.cut(h.now + 10_000 * S)  # one path: control and pictures share the only queue
    h.take(lambda ms: None)

    def run(seconds):
        """(worst and 99 % loop age in ms, pictures' bytes a second, states seen)."""
        ages, states, sent = [], set(), h.camera.sent_bytes
        for k in range(int(seconds * 500)):
            h.advance()
            if k % 5 == 0 and h.hand.press:
                ages.append(h.site.s.age / 1e6)
                states.add(str(h.site.s.state))
        ages.sort()
        return ages[-1], ages[int(0.99 * len(ages))], (h.camera.sent_bytes - sent) / seconds, states

    run(16)
    worst, p99, rate, states = run(4)
    assert LADDER[h.camera.level.rung].name == "full" and rate > 250_000, "the wide line bears everything"
    wide_p99, holds = p99, h.site.s.holds
    for way in h.paths[0]:
        way.set_line(replace(way.line, rate_bps=mbps * 1e6))
    worst, p99, rate, states = run(4)  # the fall itself: a queue of 200 ms fills before anybody can know
    assert worst < 500 and "HOLD" not in states and h.site.s.holds == holds, (worst, states)
    worst, p99, rate, states = run(6)
    assert LADDER[h.camera.level.rung].name != "full" and rate < mbps * 125_000
    assert p99 < wide_p99 + 100, f"control is {p99:.0f} ms old, {wide_p99:.0f} on the wide line"
    assert "HOLD" not in states and h.site.s.holds == holds
    for way in h.paths[0]:
        way.set_line(replace(way.line, rate_bps=30e6))
    run(25)
    assert h.camera.level.rung > 1, "and the pictures come back"


# -- how the ceiling travels --------------------------------------------------------------------------------------------------
def test_the_console_tells_each_hospital_its_rung_once_and_charges_what_came():
    pytest.importorskip("aiortc", reason="live pictures need aiortc")
    import json
    from types import SimpleNamespace

    from teleop.console.media import MediaDesk, RemoteTrunk

    told = {"a": [], "b": []}
    desk = MediaDesk(lambda page, message: None, lambda *a, **k: None)
    for name in told:
        trunk = desk.trunks[name] = RemoteTrunk(name, None)
        trunk._channel = SimpleNamespace(readyState="open", send=lambda text, name=name: told[name].append(json.loads(text)))
        trunk.switch = SimpleNamespace(wanted=frozenset({"room", "guide", "ultrasound"}))
    used = []
    desk.trunks["a"].received = 5000
    for rate in (1e7, 1e7, 6e5):
        desk.share(rate, frozenset({"a"}), lambda site, size: used.append((site, size)))
    assert [w["ceiling"] for w in told["a"]] == [FULL, 3], "told again only where it changed"
    assert [w["ceiling"] for w in told["b"]] == [FULL, 0], "whoever is only watched gives way first"
    assert used == [("a", 5000)]


def test_a_hospital_takes_the_lowest_ceiling_of_its_consoles_and_forgets_one_that_left():
    pytest.importorskip("aiortc", reason="live pictures need aiortc")
    from types import SimpleNamespace

    from teleop.media.site_end import SiteEnd

    end = SimpleNamespace(switch=SimpleNamespace(feeds={"room": {1}}), ceiling=FULL, _ceilings={"x": 3, "y": 1})
    assert SiteEnd._ceiling(end) == 1
    del end._ceilings["y"]
    assert SiteEnd._ceiling(end) == 3
