"""The deadman at the console, as a pure machine."""

from hypothesis import given
from hypothesis import strategies as st

from teleop.console import hand as h
from teleop.console.contracts import SiteSnapshot
from teleop.console.pump import Ask, compose, stops_the_hand

MS = 1_000_000


def pressed(page: str = "p", press: int = 1, now: int = 0) -> h.HandState:
    return h.sample(h.HandState(), h.Sample(page, "a", "jog", press), now)


def test_a_press_counts_and_a_release_ends_it():
    state = pressed()
    assert state.value == 1
    state = h.sample(state, h.Sample("p", "a", "jog", 0), 10 * MS)
    assert state.value == 0
    assert h.sample(state, h.Sample("p", "a", "jog", 2), 20 * MS).value == 2


def test_silence_ends_a_press_and_the_same_press_never_comes_back():
    state = h.tick(pressed(), 149 * MS)
    assert state.value
    state = h.tick(state, 150 * MS)
    assert state.value == 0 and state.why == "silence"
    assert h.sample(state, h.Sample("p", "a", "jog", 1), 160 * MS).value == 0


def test_the_age_of_the_sample_counts_not_the_arrival_of_the_packet():
    assert h.sample(h.HandState(), h.Sample("p", "a", "jog", 1, age_ns=150 * MS), 0).value == 0
    state = h.sample(pressed(), h.Sample("p", "a", "jog", 1, age_ns=100 * MS), 100 * MS)
    assert h.tick(state, 149 * MS).value == 1
    assert h.tick(state, 150 * MS).value == 0


def test_a_stop_spends_the_press_until_release_and_new_press():
    state = h.interrupted(pressed(), "a", "stop")
    assert state.value == 0
    assert h.sample(state, h.Sample("p", "a", "jog", 1), MS).value == 0
    state = h.sample(state, h.Sample("p", "a", "jog", 0), 2 * MS)
    assert h.sample(state, h.Sample("p", "a", "jog", 2), 3 * MS).value == 2


def test_a_stop_elsewhere_leaves_the_press_alone():
    assert h.interrupted(pressed(), "b", "stop").value == 1


def test_a_second_page_gets_the_seat_only_when_nobody_presses():
    state = h.sample(pressed("p"), h.Sample("q", "a", "jog", 1), MS)
    assert state.seat == "p"
    state = h.sample(state, h.Sample("p", "a", "jog", 0), 2 * MS)
    state = h.sample(state, h.Sample("q", "a", "jog", 1), 3 * MS)
    assert state.seat == "q" and state.value == 2


def test_a_closed_page_frees_the_seat_and_ends_its_press():
    state = h.page_gone(pressed(), "p")
    assert state.value == 0 and state.seat == "" and state.why == "page_gone"
    assert h.page_gone(pressed(), "q").value == 1


def test_another_site_or_mode_under_the_same_press_ends_it():
    assert h.sample(pressed(), h.Sample("p", "b", "jog", 1), MS).value == 0
    assert h.sample(pressed(), h.Sample("p", "a", "servo", 1), MS).value == 0


EVENT = st.one_of(
    st.tuples(st.just("sample"), st.sampled_from("pq"), st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 200)),
    st.tuples(st.just("tick")),
    st.tuples(st.just("stop"), st.sampled_from("ab")),
    st.tuples(st.just("gone"), st.sampled_from("pq")),
)


@given(st.lists(st.tuples(st.integers(0, 120), EVENT), max_size=60))
def test_no_sequence_revives_a_spent_press_and_ordinals_never_go_back(steps):
    state, now, over = h.HandState(), 0, set()
    for dt, event in steps:
        now += dt * MS
        before = state
        match event:
            case ("sample", page, site, press, age):
                state = h.sample(state, h.Sample(page, site, "jog", press, age * MS), now)
            case ("tick",):
                state = h.tick(state, now)
            case ("stop", site):
                state = h.interrupted(state, site, "stop")
            case ("gone", page):
                state = h.page_gone(state, page)
                over = {o for o in over if o[0] != page}  # the page is another one when it comes back
        if before.press and (before.seat, before.press) != (state.seat, state.press):
            over.add((before.seat, before.press))
        assert state.ordinal >= before.ordinal
        if state.press:
            assert now - state.heard < h.SAMPLE_LIFE or event[0] != "tick"
            assert before.press == state.press or state.ordinal == before.ordinal + 1
            assert state.press > state.spent


def site(**more) -> SiteSnapshot:
    return SiteSnapshot("a", received=1000 * MS, stamp=7, gov={"state": "READY"}, mine=True, **more)


def test_an_intent_needs_a_press_fresh_telemetry_and_something_drawn():
    hand, ask = pressed(), Ask(path_hash=b"12345678", s_limit=0.1, jog=(0, 0, 0.01, 0, 0, 0))
    assert compose(hand, ask, site(), 5, 1000 * MS).press == 1
    assert compose(hand, ask, site(), None, 1000 * MS).press == 0
    assert compose(hand, ask, site(), 5, 1501 * MS).press == 0
    assert compose(h.HandState(), ask, site(), 5, 1000 * MS).press == 0
    assert compose(hand, Ask(), site(), 5, 1000 * MS).press == 0


def test_nothing_drawn_echoes_the_oldest_stamp_there_is():
    assert compose(pressed(), Ask(), site(), None, 0).echo_state == 0


def test_states_that_want_a_new_press_end_the_hand():
    assert stops_the_hand({"state": "ACTIVE"}, {"state": "HOLD"}) == "hold"
    assert stops_the_hand({"state": "ACTIVE", "epoch": 1}, {"state": "ACTIVE", "epoch": 2}) == "grant"
    assert stops_the_hand({"state": "ACTIVE"}, {"state": "PAUSE"}) == "pause"
    assert stops_the_hand({"state": "READY"}, {"state": "ACTIVE"}) == ""
