"""Neighbouring releases: the same protocol numbers work, others are refused in words that say who has to do what."""

import pytest

from teleop.link.versions import LINK_PROTOCOL, own_release, release_in, skew

OURS = {LINK_PROTOCOL: 1, "command": 1, "state": 1}


def test_another_release_with_the_same_numbers_works() -> None:
    assert skew("a", dict(OURS), OURS, "0.9.0", "0.1.0") == ""


def test_a_console_may_have_numbers_that_the_site_has_never_heard_of() -> None:
    assert skew("a", {**OURS, "hologram": 4}, OURS, "2.0", "0.1.0") == ""


def test_a_console_from_the_future_is_refused_and_the_site_is_named_as_the_older_end() -> None:
    text = skew("a", {**OURS, "command": 2}, OURS, "0.2.0", "0.1.0")
    assert "command: console 2, site a 1" in text and "at site a, which is the older" in text
    assert "0.2.0" in text and "0.1.0" in text


def test_an_old_console_is_told_that_it_is_the_older_end() -> None:
    assert "at the console, which is the older" in skew("a", OURS, {**OURS, "state": 2}, "0.1.0", "0.2.0")


@pytest.mark.parametrize("odd", [None, True, "1", 1.0, [1], "x" * 9000])
def test_a_number_that_is_none_is_refused_in_few_words(odd: object) -> None:
    text = skew("a", {**OURS, "command": odd}, OURS, "", "0.1.0")
    assert "versions differ" in text and len(text) < 300


@pytest.mark.parametrize("odd", [None, 3, b"x", "line\nbreak", "\x1b[31m"])
def test_a_release_that_is_no_plain_text_is_read_as_none(odd: object) -> None:
    assert release_in({"release": odd}) == ""


def test_we_know_what_we_are() -> None:
    assert own_release()[0].isdigit()
