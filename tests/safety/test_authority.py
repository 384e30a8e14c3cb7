"""Authority: fencing, leases, bedside first; and every reachable state of two consoles, a bedside and a bad network."""

from collections.abc import Callable
from pathlib import Path

import pytest

from safety import authority, epochs
from safety.authority import LOCAL, Authority
from safety.states import Reason
from sim.campaign.exploration import explore

FRESH = Authority(0, 100)


def granted(key: str = "one", auth: Authority = FRESH) -> Authority:
    auth, refusal = authority.grant(auth, key, 0, 10, still=True)
    assert not refusal
    return auth


def test_nobody_is_admitted_before_any_grant() -> None:
    assert authority.admits(FRESH, "one", 0) is Reason.EPOCH
    assert authority.admits(FRESH, "", 0) is Reason.EPOCH


def test_each_grant_takes_a_new_epoch_and_fences_the_one_before() -> None:
    first = granted()
    second = granted("one", first)
    assert (first.epoch, second.epoch) == (1, 2)
    assert authority.admits(second, "one", 1) is Reason.EPOCH
    assert authority.admits(second, "one", 2) is Reason.OK
    assert authority.admits(second, "two", 2) is Reason.NOT_HOLDER


def test_no_grant_while_the_arm_is_not_still() -> None:
    auth, refusal = authority.grant(FRESH, "one", 0, 10, still=False)
    assert auth == FRESH and "motion" in refusal


def test_another_holder_must_ask_and_the_first_must_agree() -> None:
    auth = granted()
    assert authority.grant(auth, "two", 0, 10, still=True)[1].startswith("held by another, and")
    auth = authority.request(auth, "two")
    assert "must release" in authority.grant(auth, "two", 0, 10, still=True)[1]
    named, _ = authority.release(auth, "one", "two")
    assert named.holder == "one"
    handed = granted("two", named)
    assert (handed.holder, handed.epoch, handed.successor, handed.requests) == ("two", 2, "", ())


def test_a_suspended_holder_may_be_replaced_or_resume() -> None:
    auth = authority.request(granted(), "two")
    assert authority.expire(auth, 10) == auth
    suspended = authority.expire(auth, 11)
    assert suspended.suspended
    assert authority.renew(suspended, 20, 10) == Authority(1, 100, "one", False, 30, False, ("two",))
    assert granted("two", suspended).holder == "two"
    assert authority.admits(suspended, "one", 1) is Reason.OK


def test_only_the_holder_releases() -> None:
    auth = granted()
    assert authority.release(auth, "two")[1]
    assert authority.release(FRESH, "")[1]
    assert authority.release(auth, "one")[0].holder == ""


def test_take_over_always_succeeds_and_fences() -> None:
    used_up = Authority(100, 100, "one")
    taken = authority.take_over(used_up)
    assert taken.bedside_has_it and taken.holder == "" and taken.epoch == 100
    taken = authority.take_over(granted())
    assert taken.epoch == 2
    assert "bedside" in authority.grant(taken, "one", 0, 10, still=True)[1]
    assert granted("one", authority.return_to_ready(taken)).epoch == 3


def test_a_used_up_block_grants_no_more() -> None:
    assert "used up" in authority.grant(Authority(100, 100), "one", 0, 10, still=True)[1]


def test_a_stop_leaves_no_holder_and_no_requests() -> None:
    auth = authority.fence(authority.request(granted(), "two"))
    assert (auth.holder, auth.requests, auth.epoch) == ("", (), 1)
    assert authority.admits(auth, "one", 1) is Reason.NOT_HOLDER


def test_the_local_principal_is_not_suspended_by_silence() -> None:
    auth = granted(LOCAL)
    assert authority.expire(auth, 10**12) == auth


def test_requests_are_few_and_not_doubled() -> None:
    auth = FRESH
    for key in ("a", "b", "b", "c", "d", "e"):
        auth = authority.request(auth, key)
    assert auth.requests == ("b", "c", "d", "e")


# --- epochs on disk ------------------------------------------------------------------------------------------------


def test_every_boot_gets_epochs_that_no_boot_had(tmp_path: Path) -> None:
    file = tmp_path / "s" / "epoch.json"
    one, two = epochs.take_block(file), epochs.take_block(file)
    assert (one.first, one.last, one.fault) == (1, epochs.BLOCK, "")
    assert two.first == one.last + 1
    epochs.keep_fault(file, two.last, "arm gone")
    three = epochs.take_block(file)
    assert three.first == two.last + 1 and three.fault == "arm gone"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version":1,"last":-1,"fault":""}', '{"version":1,"last":"1","fault":""}',
                                  '{"version":2,"last":1,"fault":""}'])  # fmt: skip
def test_a_damaged_epoch_file_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    file = tmp_path / "epoch.json"
    file.write_text(text)
    with pytest.raises(epochs.EpochFileError, match="damaged"):
        epochs.take_block(file)


def test_a_disk_that_does_not_keep_the_epoch_stops_the_boot(tmp_path: Path) -> None:
    (tmp_path / "epoch.new").mkdir()
    with pytest.raises(epochs.EpochFileError, match="cannot keep"):
        epochs.take_block(tmp_path / "epoch.json")


# --- every reachable state -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_no_reachable_state_is_a_foreign_or_old_command_admitted(record_property: Callable[[str, object], None]) -> None:
    found = explore()
    record_property("states", found.states)
    print(f"{found.states} states and {found.transitions} transitions explored")  # seen with -rP
    assert (found.foreign, found.old) == (0, 0), found.example
    assert found.states > 100_000


def test_without_fencing_the_exploration_finds_a_foreign_motion() -> None:
    found = explore(fencing=False, first_only=True)
    assert found.foreign + found.old == 1
    assert found.example[-1].endswith("arrives: moves")


def test_without_persisted_epochs_the_exploration_finds_an_old_token() -> None:
    found = explore(persist=False, first_only=True)
    assert found.old == 1
    assert "governor restarts" in found.example
