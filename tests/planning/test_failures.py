"""What goes wrong with images, labels, anatomy and imported plans: each case is refused or survived by name, none is planned wrongly in silence.

Failures of files (axes, affines, gantry tilt, spacing, NaN, wrap-around) are in test_images, of registrations in test_registration, of plan files in
test_plan_and_formats, of merged, cropped, missing or collapsed vertebrae, metal, open arches and wrong spacing in test_screws.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sim.phantom import generate, grade_truth, render
from teleop.planning import screws as screws_module
from teleop.planning.catalogue import Catalogue
from teleop.planning.edit import move_both, open_editor
from teleop.planning.grade import grade_screw
from teleop.planning.images import ImageError, Volume
from teleop.planning.levels import interpret
from teleop.planning.plan import trajectory
from teleop.planning.screws import check_pairs, plan_screws, rod_deviation


def true_grades(phantom, plan):
    """Judge's letters of every screw that may be driven."""
    return [
        grade_truth(phantom, t.entry_lps_mm, t.tip_lps_mm, t.diameter_mm, t.level)["grade"]
        for t in plan.trajectories
        if t.status == "OK"
    ]


def relabelled(patient, change, ct=None):
    data = patient.image.labels.data.copy()
    data = change(data)
    labels = interpret(Volume(data, patient.image.labels.lps_T_ijk))
    return plan_screws(ct or patient.image.ct, labels)


# ---- labels


def test_labels_one_level_off_are_refused_where_the_gap_shows(make):
    p = make(2, ("L2", "L3", "L4"), 1.2)

    def shift(data):  # L3 is not labelled, L4 is called L3
        out = np.where(data == 29, 0, data)
        return np.where(out == 28, 29, out).astype(np.uint8)

    plan = relabelled(p, shift)
    assert {t.status for t in plan.trajectories} == {"BAD_GEOMETRY"}
    assert any("a level is missing between them" in r for r in plan.trajectories[0].reasons)


def test_sixth_lumbar_and_thirteenth_thoracic_vertebrae_are_named_and_not_planned(patient):
    verse = {28: 23, 29: 22}

    def as_verse(data):
        out = np.zeros_like(data)
        for ours, theirs in verse.items():
            out[data == ours] = theirs
        out[:3, :3, :3], out[-3:, :3, :3] = 25, 28
        return out

    plan = relabelled(patient, as_verse)
    assert {t.level for t in plan.trajectories} == {"L3", "L4"}
    assert any("L6" in n for n in plan.notes) and any("T13" in n for n in plan.notes)


def test_values_that_mix_two_schemes_are_refused(patient):
    def mix(data):
        return np.where(data == 29, 22, np.where(data == 28, 27, data)).astype(np.uint8)

    with pytest.raises(ImageError, match="mapping file"):
        relabelled(patient, mix)


def test_a_label_of_another_vertebra_in_the_next_body_is_refused(patient):
    def leak(data):  # the lower third of L3 is called L4
        out = data.copy()
        box = ndimage.find_objects((data == 29).astype(np.uint8))[0]
        z = box[2].start + (box[2].stop - box[2].start) // 2
        part = out[:, :, :z]
        part[part == 29] = 28
        return out

    plan = relabelled(patient, leak)
    assert all(t.status != "OK" for t in plan.trajectories if t.level == "L4")
    assert all(g == "A" for g in true_grades(patient.phantom, plan))


@pytest.mark.parametrize("grow", [True, False])
def test_a_mask_a_voxel_too_large_or_too_small_in_places_gives_no_truly_unsafe_screw(patient, grow):
    def noisy(data):
        rng = np.random.default_rng(1)
        out = data.copy()
        for value in (28, 29):
            mask = data == value
            rim = (ndimage.binary_dilation(mask) & (data == 0)) if grow else (mask & ~ndimage.binary_erosion(mask))
            out[rim & (rng.random(mask.shape) < 0.5)] = value if grow else 0
        return out

    plan = relabelled(patient, noisy)
    assert all(g == "A" for g in true_grades(patient.phantom, plan))


# ---- the image's numbers


@pytest.mark.parametrize("offset", [-150, 250])
def test_a_cone_beam_offset_of_the_hounsfield_numbers_changes_no_line(patient, offset):
    ct = Volume((patient.image.ct.data + offset).astype(np.int16), patient.image.ct.lps_T_ijk)
    plan = plan_screws(ct, patient.labels)
    for a, b in zip(plan.trajectories, patient.plan.trajectories, strict=True):
        assert (a.status, a.entry_lps_mm, a.tip_lps_mm) == (b.status, b.entry_lps_mm, b.tip_lps_mm)


def test_cement_is_not_taken_for_metal_and_its_level_is_planned_safely(make):
    p = make(2, ("L3",), cement=("L3",))
    assert all(t.status != "METAL" for t in p.plan.trajectories)
    assert true_grades(p.phantom, p.plan) == ["A", "A"]


# ---- anatomy


def test_each_side_of_an_asymmetric_vertebra_is_answered_for_itself(make):
    p = make(11, ("L2",), 0.8, spread=0.0, pedicle_width_mm={"L2": (4.8, 9.5)})
    assert p.plan["L2_left"].status == "NO_SAFE_SCREW" and not p.plan["L2_left"].has_line
    assert p.plan["L2_right"].status == "OK" and true_grades(p.phantom, p.plan) == ["A"]


def test_a_wedged_body_is_planned_truly_safe_or_named(make):
    p = make(8, ("L2", "L3"), 1.0, wedge_deg={"L3": 14.0})
    assert any(t.status == "OK" for t in p.plan.trajectories)
    assert set(true_grades(p.phantom, p.plan)) == {"A"}


def test_thick_slices_of_a_turned_patient_keep_grade_a(make):
    p = make(4, ("L3",), (0.4, 0.4, 4.0), rotation_deg=(12.0, -10.0, 8.0))
    assert all(g == "A" for g in true_grades(p.phantom, p.plan))
    assert any(t.status == "OK" for t in p.plan.trajectories)


# ---- screws against joints and each other


def test_a_screw_through_the_cranial_joint_is_graded_two_or_three_and_not_safe(patient):
    t = patient.plan["L4_left"]
    v = patient.phantom["L4"]
    process = v.rows[v.facet_rows["left"]]  # the superior articular process: from, direction, length
    joint = v.to_lps(process[2:5] + 0.8 * process[8] * process[5:8])[0]
    entry, _ = t.line()
    moved = move_both(t, joint - 3.0 * t.axis - entry)
    report = grade_screw(patient.labels, moved)
    assert report.babu >= 2 and report.facet_mm < 0.5, (report.babu, report.facet_mm)
    assert grade_screw(patient.labels, t).babu == 0
    live = open_editor(patient.image.ct, patient.labels, "L4").metrics(moved)
    assert not live["safe"]


def test_screws_that_come_too_near_or_whose_heads_overlap_are_not_ok():
    def screw(id, x, **changes):
        values = {"level": "L4", "side": "left", "status": "OK"} | changes
        return trajectory(id, "pedicle_screw", (x, 40.0, 0.0), (0.0, -1.0, 0.0), 40.0, 6.0, **values)

    near = check_pairs([screw("a", 0.0), screw("b", 7.5)], {}, Catalogue())
    assert [t.status for t in near] == ["OK", "LOW_CONFIDENCE"] and "shank 1.5 mm from a" in near[1].reasons[0]
    heads = check_pairs([screw("a", 0.0), screw("b", 11.0)], {}, Catalogue())
    assert heads[1].status == "LOW_CONFIDENCE" and "head overlaps by 2.0 mm" in heads[1].reasons[0]
    assert [t.status for t in check_pairs([screw("a", 0.0), screw("b", 14.0)], {}, Catalogue())] == ["OK", "OK"]


def test_heads_stand_nearer_to_the_rods_line_than_without_harmony_and_nothing_gets_worse(monkeypatch):
    phantom = generate(6, levels=("L2", "L3", "L4", "L5"), scoliosis_deg=20.0)
    image = render(phantom, 1.2, skin=False, with_structures=False)
    labels = interpret(image.labels)

    def heads(plan):
        spread = []
        for side in ("left", "right"):
            points = np.array(
                [np.array(t.entry_lps_mm) - 5.0 * t.axis for t in plan.trajectories if t.side == side and t.has_line]
            )
            line = np.polyfit(points[:, 2], points[:, 0], 1)
            spread.append(np.abs(points[:, 0] - np.polyval(line, points[:, 2])).max())
        return max(spread)

    together = plan_screws(image.ct, labels)
    monkeypatch.setattr(screws_module, "ROD_TOLERANCE_MM", 1e9)
    alone = plan_screws(image.ct, labels)
    assert heads(together) <= heads(alone) + 0.2
    for a, b in zip(together.trajectories, alone.trajectories, strict=True):
        assert a.diameter_mm >= b.diameter_mm and a.length_mm >= b.length_mm and a.status == b.status
    assert rod_deviation({}, {}, "left") == {}


# ---- claims


def test_a_plan_of_another_ct_of_the_same_spine_is_found_out_by_its_hash(patient):
    other = render(patient.phantom, 0.9, skin=False, with_structures=False, noise_seed=5)
    assert (
        plan_screws(other.ct, interpret(other.labels), levels=["L4"], verify=False).ct.sha256 != patient.plan.ct.sha256
    )


def test_a_screw_that_claims_more_than_its_bone_gives_is_contradicted_for_every_kind_of_claim(patient):
    t = patient.plan["L3_right"]
    for claim, word in (({"grade": "C"}, "claims grade C"), ({"min_clearance_mm": 9.0}, "9.00 mm clearance")):
        assert any(
            word in c for c in grade_screw(patient.labels, replace(t, metrics={**t.metrics, **claim})).contradictions
        )
