"""The whole path: one hospital, treated for real in the simulator. Each test takes about a minute."""

from pathlib import Path

import pytest

from safety.log.verify import verify

ROOT = Path(__file__).resolve().parents[2]
UR5E = ROOT.parent / "shared/data/urdf/ur5e/ur5e.urdf"
pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]
#: What a short run leaves out; the first test, the main job, it does not.
slow = pytest.mark.slow


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


@slow
@pytest.mark.skipif(not UR5E.exists(), reason="the UR5e description is not at ../shared/data")
def test_a_ur5e_does_the_whole_case_by_configuration_alone(demo, tmp_path):
    text = (ROOT / "examples/add_an_arm/ur5e.yaml").read_text()
    config, tool = tmp_path / "ur5e.yaml", ROOT / "teleop/arm/models/drill_guide.urdf"
    config.write_text(text.replace("urdf: ur5e.urdf", f"urdf: {UR5E}").replace("../../teleop/arm/models/drill_guide.urdf", str(tool)))
    ran = demo("--arm", str(config))
    assert ran.code == 0, ran.said[-4000:]
    assert ran.outcome["screws"] and ran.outcome["sites"][0]["log_verifies"]


def test_an_arm_that_cannot_be_used_is_refused_before_anything_starts(demo):
    ran = demo("--arm", "r2d2")
    assert ran.code == 2 and "r2d2" in ran.said and "iiwa7" in ran.said


@slow
def test_without_tracker_corrections_the_demo_fails_because_the_arm_lies(demo):
    ran = demo("--no-correction", "--seed", "3")
    assert ran.code == 1
    assert not ran.outcome["ok"]
    assert any(s["entry_error_mm"] > 0.5 or s["axis_error_deg"] > 0.5 for s in ran.outcome["screws"])


@slow
def test_a_cut_link_stops_the_arm_within_the_bound_and_the_case_goes_on(demo):
    ran = demo("--fault", "link-cut@3", "--seed", "3")
    fault = ran.outcome["fault"]
    assert fault is not None, ran.said[-4000:]
    assert 0.0 < fault["travel_mm"] <= fault["bound_mm"]
    assert fault["final_state"] == "HOLD"
    assert ran.code == 0, ran.said[-4000:]


@slow
@pytest.mark.parametrize("victim", ["governor", "gateway", "recorder", "relay", "console", "case"])
def test_a_killed_process_leaves_the_arm_at_rest_within_the_bound_and_is_named(demo, victim):
    ran = demo("--fault", f"kill-{victim}@2", "--seed", "3")
    assert f"{victim} killed by SIGKILL" in ran.said
    if victim != "recorder":  # the recorder's own log ends with it
        fault = ran.outcome["fault"]
        assert 0.0 < fault["travel_mm"] <= fault["bound_mm"]
    log = ran.outcome["sites"][0]["log"]
    assert verify([log]).end in ("clean", "unclean")


@slow
def test_hospitals_that_share_a_process_are_treated_like_the_others(demo):
    ran = demo("--sites", "2", "--own-processes", "0", "--driver", "kinematic", timeout_s=540.0)
    assert ran.code == 0, ran.said[-3000:]
    assert [s["site"] for s in ran.outcome["screws"]] == ["tianjin", "karamay"]
    assert all(s["log_verifies"] for s in ran.outcome["sites"])
    assert all(h["clean"] for h in ran.outcome["handovers"]) and len(ran.outcome["handovers"]) == 1
