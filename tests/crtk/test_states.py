"""Both tables of the operating states, cell by cell."""

import pytest

from safety.states import State
from teleop.crtk.states import DISABLED, ENABLED, FAULT, PAUSED, answer, operating_state

KEEP = None


def status(state, holder="local"):
    return {"state": str(state), "holder": holder}


@pytest.mark.parametrize(("state", "holder", "crtk"), [
    (State.INIT, "", DISABLED), (State.LOCAL, "", DISABLED), (State.READY, "", DISABLED), (State.READY, "local", ENABLED),
    (State.ACTIVE, "local", ENABLED), (State.DEGRADED, "key", ENABLED), (State.PAUSE, "key", PAUSED),
    (State.HOLD, "key", PAUSED), (State.STOP, "", FAULT), (State.FAULT, "", FAULT)])
def test_every_state_of_the_governor_has_one_in_crtk(state, holder, crtk):
    assert operating_state(status(state, holder)) == crtk


def test_all_governor_states_are_covered():
    assert {operating_state(status(s)) for s in State} == {DISABLED, ENABLED, PAUSED, FAULT}
    assert operating_state(None) == FAULT


@pytest.mark.parametrize(("word", "state", "holder", "op"), [
    ("enable", State.READY, "", "enable"), ("enable", State.ACTIVE, "local", "enable"), ("enable", State.FAULT, "", "enable"),
    ("disable", State.READY, "", "disable"), ("disable", State.PAUSE, "local", "disable"),
    ("pause", State.ACTIVE, "local", "pause"), ("pause", State.PAUSE, "local", None),
    ("resume", State.PAUSE, "local", "resume"), ("resume", State.HOLD, "local", "ack"), ("home", State.READY, "", None)])
def test_a_valid_command_becomes_its_order(word, state, holder, op):
    a = answer(word, status(state, holder))
    assert a.refusal == "" and (a.order["op"] if a.order else None) == op


@pytest.mark.parametrize(("word", "state", "holder"), [
    ("enable", State.PAUSE, "local"), ("pause", State.READY, ""), ("pause", State.FAULT, ""), ("resume", State.READY, ""),
    ("resume", State.ACTIVE, "local"), ("resume", State.STOP, ""), ("unhome", State.READY, ""), ("dance", State.READY, "")])
def test_an_invalid_command_is_refused_in_words(word, state, holder):
    a = answer(word, status(state, holder))
    assert a.order is None and word in a.refusal
