"""Needles and electrodes keep their distance from what the phantom's formulas say is there, and say no when it is closed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.phantom.organs import head, liver
from teleop.planning.corridors import (
    ELECTRODE,
    Ablation,
    Corridor,
    Rules,
    Scene,
    arc_angles,
    arc_direction,
    covered,
    find_corridors,
    grade_corridor,
    plan_ablation,
    plan_electrode,
)
from teleop.planning.images import ImageError
from teleop.planning.screws import segment_distance


@pytest.fixture(scope="module")
def abdomen():
    return liver(0, step_mm=3.0)


@pytest.fixture(scope="module")
def brain():
    return head(0, step_mm=2.5)


def test_an_ablation_needle_covers_the_lesion_and_keeps_every_margin_of_the_formulas(abdomen):
    needles = plan_ablation(abdomen.scene, body=abdomen.body)
    assert needles and all(n.status == "OK" for n in needles)
    assert needles[0].metrics["coverage"] >= 0.99
    for n in needles:
        truth = abdomen.true_clearance_mm(*n.line(), n.diameter_mm)
        for f in abdomen.scene.forbidden:
            assert truth[f.name] >= f.margin_mm - 0.2
        assert n.length_mm <= 150.0 and n.metrics["angle_deg"] <= 60.0


def test_a_small_zone_needs_several_needles_that_keep_their_gap(abdomen):
    zone = Ablation(along_mm=16.0, across_mm=12.0, coverage=0.9)
    needles = plan_ablation(abdomen.scene, zone, Rules(gap_mm=4.0), body=abdomen.body, max_needles=6)
    if needles[0].status == "OK":
        assert len(needles) >= 2
        for i, a in enumerate(needles):
            for b in needles[:i]:
                assert segment_distance(*a.line(), *b.line()) >= 4.0
    else:
        assert "cover" in needles[0].reasons[0]


def test_a_walled_in_lesion_has_no_safe_path_and_says_which_rule_removed_what():
    closed = liver(0, step_mm=3.0, walled_in=True)
    (answer,) = plan_ablation(closed.scene, body=closed.body)
    assert (
        answer.status == "NO_SAFE_PATH"
        and not answer.has_line
        and "clearance" in answer.reasons[0]
        and "wanted 99 %" in answer.reasons[0]
    )


def test_an_electrode_reaches_its_target_through_the_window_clear_of_all_vessels(brain):
    item = plan_electrode(brain.scene, brain.target_centre, body=brain.body)
    assert item.status == "OK" and item.kind == "electrode"
    truth = brain.true_clearance_mm(*item.line(), item.diameter_mm)
    assert all(truth[f.name] >= f.margin_mm - 0.2 for f in brain.scene.forbidden)
    check = grade_corridor(brain.scene, item)
    assert check["in_target"] and min(check["clearance_mm"].values()) > 0.0
    assert np.allclose(arc_direction(item.metrics["ring_deg"], item.metrics["arc_deg"]), -item.axis, atol=1e-3)


def test_a_blocked_window_is_refused():
    shut = head(0, step_mm=2.5, blocked=True)
    answer = plan_electrode(shut.scene, shut.target_centre, body=shut.body)
    assert answer.status == "NO_SAFE_PATH" and "clearance" in answer.reasons[0]


def test_length_and_angle_rules_remove_entries(brain):
    short, removed = find_corridors(brain.scene, brain.target_centre, Rules(max_length_mm=20.0), body=brain.body)
    assert not short and removed["length"] > 0
    steep, removed = find_corridors(brain.scene, brain.target_centre, Rules(max_angle_deg=0.5), body=brain.body)
    assert not steep and removed["angle"] > 0
    assert ELECTRODE.kind == "electrode"


@settings(max_examples=60, deadline=None)
@given(ring=st.floats(-170, 170), arc=st.floats(5, 175))
def test_arc_and_ring_angles_invert(ring, arc):
    target = np.array([3.0, -4.0, 5.0])
    assert arc_angles(target, target + 50.0 * arc_direction(ring, arc)) == pytest.approx((ring, arc), abs=1e-6)


def test_arc_conventions_are_the_documented_ones():
    zero = np.zeros(3)
    assert arc_angles(zero, np.array([0.0, -1.0, 0.0])) == pytest.approx((0.0, 90.0))  # anterior
    assert arc_angles(zero, np.array([0.0, 0.0, 1.0])) == pytest.approx((90.0, 90.0))  # superior
    assert arc_angles(zero, np.array([-1.0, 0.0, 1e-9]))[1] == pytest.approx(0.0, abs=1e-4)  # the patient's right


def test_the_zone_is_an_ellipsoid_that_ends_beyond_the_tip():
    c = Corridor(np.array([0.0, 0, 100]), np.zeros(3), 1.0, "", 100.0, 0.0, 0.0)
    zone = Ablation(along_mm=20.0, across_mm=10.0, tip_offset_mm=4.0)
    points = np.array([[0, 0, -3.9], [0, 0, -4.1], [9.9, 0, 16.0], [10.1, 0, 16.0], [0, 0, 35.9]])
    assert covered(points, c, zone).tolist() == [True, False, True, False, True]


def test_masks_of_another_shape_and_empty_targets_are_refused(brain):
    s = brain.scene
    with pytest.raises(ImageError, match="entry"):
        Scene(s.grid, s.entry[1:], s.target, s.forbidden)
    with pytest.raises(ImageError, match="target mask is empty"):
        Scene(s.grid, s.entry, np.zeros_like(s.target), s.forbidden)
