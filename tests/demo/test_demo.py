"""The whole path: one hospital, treated for real in the simulator. Each test takes about a minute."""

import pytest

from safety.log.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.ros, pytest.mark.timeout(600)]


def test_a_guide_is_brought_onto_its_line_and_the_log_verifies(demo):
    ran = demo("--seed", "3")
    assert ran.code == 0, ran.said[-4000:]
    (screw,) = ran.outcome["screws"]
    assert screw["entry_error_mm"] <= 0.5
    assert screw["axis_error_deg"] <= 0.5
    assert screw["grade_as_positioned"] == "A"
    (site,) = ran.outcome["sites"]
    assert site["log_verifies"]
    assert verify([site["log"]]).end == "clean"
    assert site["loop_age_ms"]["p50"] > 0


def test_without_tracker_corrections_the_demo_fails_because_the_arm_lies(demo):
    ran = demo("--no-correction", "--seed", "3")
    assert ran.code == 1
    assert not ran.outcome["ok"]
    assert any(s["entry_error_mm"] > 0.5 or s["axis_error_deg"] > 0.5 for s in ran.outcome["screws"])


def test_a_cut_link_stops_the_arm_within_the_bound_and_the_case_goes_on(demo):
    ran = demo("--fault", "link-cut@3", "--seed", "3")
    fault = ran.outcome["fault"]
    assert fault is not None, ran.said[-4000:]
    assert 0.0 < fault["travel_mm"] <= fault["bound_mm"]
    assert fault["final_state"] == "HOLD"
    assert ran.code == 0, ran.said[-4000:]


@pytest.mark.parametrize("victim", ["governor", "gateway", "recorder", "relay", "console", "case"])
def test_a_killed_process_leaves_the_arm_at_rest_within_the_bound_and_is_named(demo, victim):
    ran = demo("--fault", f"kill-{victim}@2", "--seed", "3")
    assert f"{victim} killed by SIGKILL" in ran.said
    if victim != "recorder":  # the recorder's own log ends with it
        fault = ran.outcome["fault"]
        assert 0.0 < fault["travel_mm"] <= fault["bound_mm"]
    log = ran.outcome["sites"][0]["log"]
    assert verify([log]).end in ("clean", "unclean")
