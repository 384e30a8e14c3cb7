"""The planner on simulated patients, judged by the analytic bone; and its refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.phantom import generate, grade_truth, render
from teleop.planning.catalogue import Catalogue
from teleop.planning.edit import move_both, move_entry, move_tip, open_editor, resize, rotate
from teleop.planning.error_model import ErrorModel
from teleop.planning.grade import GradeError, grade_screw
from teleop.planning.images import ImageError, Volume
from teleop.planning.levels import interpret
from teleop.planning.plan import PlanError, trajectory
from teleop.planning.screws import plan_screws, segment_distance


def truths(p):
    return [
        (t, grade_truth(p.phantom, t.entry_lps_mm, t.tip_lps_mm, t.diameter_mm, t.level))
        for t in p.plan.trajectories
        if t.has_line
    ]


def test_every_screw_is_truly_grade_a_in_the_right_pedicle_and_by_the_planners_margins(patient):
    assert [t.status for t in patient.plan.trajectories] == ["OK"] * 4
    for t, truth in truths(patient):
        assert truth["grade"] == "A" and truth["side"] == t.side and truth["level"] == t.level
        assert truth["clearance_mm"] > 0.9 and truth["canal_clearance_mm"] > 1.2 and truth["body_breach_mm"] == 0.0
        assert truth["anterior_margin_mm"] > 4.5 and not truth["crosses_midline"]
        assert t.metrics["p_grade_a"] >= 0.95 and 0.3 < t.metrics["tip_share"] <= 0.85
        assert t.metrics["min_clearance_mm"] == pytest.approx(truth["clearance_mm"], abs=0.6)


def test_the_same_image_gives_the_same_plan_to_the_last_bit(patient):
    assert plan_screws(patient.image.ct, patient.labels).hash == patient.plan.hash


def test_left_and_right_mirror(make):
    a, b = make(3, ("L3",)), make(3, ("L3",), mirror=True)
    for side, other in (("left", "right"), ("right", "left")):
        one, two = a.plan[f"L3_{side}"], b.plan[f"L3_{other}"]
        assert one.status == two.status and one.metrics["grade"] == two.metrics["grade"]
        assert one.metrics["min_clearance_mm"] == pytest.approx(two.metrics["min_clearance_mm"], abs=0.4)
        assert abs(one.diameter_mm - two.diameter_mm) <= 0.5


@pytest.mark.parametrize("turn", [(20.0, 0.0, 0.0), (0.0, -25.0, 0.0), (0.0, 0.0, 30.0), (15.0, 15.0, -20.0)])
def test_turning_the_patient_keeps_grade_and_clearance(make, turn):
    plain, turned = make(1, ("L3",)), make(1, ("L3",), rotation_deg=turn)
    for side in ("left", "right"):
        a, b = plain.plan[f"L3_{side}"], turned.plan[f"L3_{side}"]
        assert a.metrics["grade"] == b.metrics["grade"] == "A"
    assert all(truth["grade"] == "A" for _, truth in truths(turned))


@pytest.mark.parametrize("spacing", [0.6, 1.4, (0.5, 0.5, 2.5)])
def test_resampling_keeps_grade_a(make, spacing):
    p = make(1, ("L3",), spacing)
    assert all(t.status == "OK" for t in p.plan.trajectories)
    assert all(truth["grade"] == "A" for _, truth in truths(p))


def test_an_oblique_grid_gives_true_grade_a(make):
    p = make(5, ("L2",), 0.9, {"grid_rotation_deg": (12.0, -9.0, 14.0)})
    assert truths(p) and all(truth["grade"] == "A" for _, truth in truths(p))


def test_narrow_pedicles_are_refused_with_a_certified_bound_and_wide_ones_are_not(make):
    for width, feasible in ((4.5, False), (5.5, False), (8.0, True)):
        p = make(11, ("L2",), 0.7, spread=0.0, pedicle_width_mm=width)
        for t in p.plan.trajectories:
            if feasible:
                assert t.status == "OK"
                continue
            assert t.status == "NO_SAFE_SCREW" and not t.has_line
            proof = t.metrics["proof"]
            assert proof["certified"] and proof["best_found_mm"] <= proof["upper_bound_mm"] < proof["need_mm"] == 2.0
            assert "upper bound over all poses" in t.reasons[0]


def test_a_larger_execution_error_never_gives_a_larger_screw_and_a_hopeless_one_gives_none(patient):
    def diameters(model):
        plan = plan_screws(patient.image.ct, patient.labels, levels=["L3"], error_model=model)
        return [t.diameter_mm if t.has_line else 0.0 for t in plan.trajectories], plan

    small, _ = diameters(ErrorModel(0.2, 0.2))
    middle, _ = diameters(ErrorModel(1.5, 1.5))
    none, plan = diameters(ErrorModel(6.0, 6.0))
    assert all(a >= b for a, b in zip(small, middle, strict=True)) and small != middle
    assert none == [0.0, 0.0] and all("P(grade A)" in t.reasons[0] for t in plan.trajectories)


@pytest.mark.slow
def test_the_probability_of_grade_a_holds_when_screws_are_executed_with_those_errors_on_the_true_bone(make):
    p = make(11, ("L2",), 0.8, spread=0.0, pedicle_width_mm=7.2)
    model = ErrorModel()
    rng = np.random.default_rng(3)
    for t in p.plan.trajectories:
        assert t.status == "OK" and 0.95 <= t.metrics["p_grade_a"] <= 1.0
        entry, _ = t.line()
        e1 = np.cross(t.axis, [0.0, 0.0, 1.0])
        e1 /= np.linalg.norm(e1)
        e2 = np.cross(t.axis, e1)
        good = 0
        for a, b, c, d in rng.normal(size=(60, 4)):
            start = entry + model.lateral_mm * (a * e1 + b * e2)
            axis = t.axis + np.deg2rad(model.angle_deg) * (c * e1 + d * e2)
            tip = start + t.length_mm * axis / np.linalg.norm(axis)
            good += grade_truth(p.phantom, start, tip, t.diameter_mm, "L2")["grade"] == "A"
        assert good >= 54, (good, t.metrics["p_grade_a"])  # 60 draws of 95 % give fewer than 54 once in a hundred


def test_the_catalogue_limits_what_is_chosen(patient):
    plan = plan_screws(patient.image.ct, patient.labels, levels=["L3"], catalogue=Catalogue((5.0,), (35.0,)))
    assert {(t.diameter_mm, t.length_mm) for t in plan.trajectories} == {(5.0, 35.0)}
    with pytest.raises(PlanError, match="ascending"):
        Catalogue((5.0, 4.0), (35.0,))


def test_alternatives_are_different_lines_or_thinner_and_never_the_plan_itself(patient):
    t = patient.plan["L3_left"]
    assert t.alternatives
    for other in t.alternatives:
        moved = np.linalg.norm(np.array(other["entry_lps_mm"]) - t.entry_lps_mm) > 1e-6
        assert moved or other["diameter_mm"] < t.diameter_mm


def test_labels_on_another_grid_are_refused(patient):
    shifted = patient.image.labels.lps_T_ijk.copy()
    shifted[:3, 3] += 4.0
    with pytest.raises(ImageError, match="mm apart"):
        plan_screws(patient.image.ct, interpret(Volume(patient.image.labels.data, shifted)))


def test_a_level_that_is_not_labelled_is_answered_with_a_reason(patient):
    plan = plan_screws(patient.image.ct, patient.labels, levels=["L1"])
    assert {t.status for t in plan.trajectories} == {"BAD_GEOMETRY"} and "not in the label map" in plan.trajectories[
        0
    ].reasons[0]


def relabelled(patient, change):
    data = patient.image.labels.data.copy()
    change(data)
    return plan_screws(patient.image.ct, interpret(Volume(data, patient.image.labels.lps_T_ijk)))


def test_two_vertebrae_in_one_label_are_refused(patient):
    def merge(data):
        data[data == 29] = 28

    plan = relabelled(patient, merge)
    assert {t.status for t in plan.trajectories} == {"BAD_GEOMETRY"}


def test_levels_numbered_upside_down_are_refused(patient):
    def swap(data):
        l3, l4 = data == 29, data == 28
        data[l3], data[l4] = 28, 29

    plan = relabelled(patient, swap)
    assert {t.status for t in plan.trajectories} == {"BAD_GEOMETRY"}
    assert any("out of order" in r for r in plan.trajectories[0].reasons)


@pytest.mark.parametrize("factor", [0.7, 1.45])
def test_a_wrong_slice_spacing_is_caught_by_the_proportions_of_the_bodies(patient, factor):
    matrix = patient.image.ct.lps_T_ijk.copy()
    matrix[:3, 2] *= factor
    plan = plan_screws(Volume(patient.image.ct.data, matrix), interpret(Volume(patient.image.labels.data, matrix)))
    assert all(t.status == "BAD_GEOMETRY" and not t.has_line for t in plan.trajectories)


def test_millimetres_scaled_by_a_third_are_refused(patient):
    matrix = patient.image.ct.lps_T_ijk.copy()
    matrix[:3] *= 1.6
    plan = plan_screws(Volume(patient.image.ct.data, matrix), interpret(Volume(patient.image.labels.data, matrix)))
    assert all(t.status == "BAD_GEOMETRY" for t in plan.trajectories)


def test_a_label_without_bone_under_it_is_refused(patient):
    empty = Volume(np.full_like(patient.image.ct.data, 50), patient.image.ct.lps_T_ijk)
    plan = plan_screws(empty, patient.labels)
    assert all(
        t.status == "BAD_GEOMETRY" and "no bone under this label" in " ".join(t.reasons) for t in plan.trajectories
    )


def test_holes_and_a_rough_border_in_the_label_never_make_a_screw_truly_unsafe(patient):
    def rough(data):
        rng = np.random.default_rng(0)
        inside = np.argwhere(data > 0)
        chosen = inside[rng.random(len(inside)) < 0.01]
        data[tuple(chosen.T)] = 0

    plan = relabelled(patient, rough)
    for t in plan.trajectories:
        if t.status == "OK":
            assert grade_truth(patient.phantom, t.entry_lps_mm, t.tip_lps_mm, t.diameter_mm, t.level)["grade"] == "A"


def test_a_missing_pedicle_is_no_pedicle_or_no_safe_screw_on_that_side_only(patient):
    p = patient.phantom["L3"]
    cut = p.to_lps(p.pedicles["left"].centre)[0]

    def remove(data):
        ijk = np.argwhere(data == 29)
        lps = patient.image.labels.to_lps(ijk.astype(float))
        local = p.to_local(lps)
        own = p.to_local(cut)[0]
        gone = (local[:, 0] > 4.0) & (np.abs(local[:, 1] - own[1] - 3.0) < 5.0)
        data[tuple(ijk[gone].T)] = 0

    statuses = {t.id: t.status for t in relabelled(patient, remove).trajectories}
    assert statuses["L3_left"] != "OK"


def test_a_vertebra_cut_by_the_border_is_partial(make):
    p = make(2, ("L3", "L4"), 0.9, {"crop_mm": 26.0})
    assert p.plan["L3_left"].status == "PARTIAL" and "cranial border" in " ".join(p.plan["L3_left"].reasons)
    assert p.plan["L4_left"].status == "OK"


def test_metal_downgrades_the_level_it_is_in(make):
    p = make(2, ("L3", "L4"), metal=("L3",))
    assert p.plan["L3_left"].status == "METAL" and "mm3 above 2500 HU" in " ".join(p.plan["L3_left"].reasons)


def test_a_collapsed_body_among_healthy_ones_is_named(make):
    p = make(2, ("L2", "L3", "L4"), 1.1, collapse={"L3": 0.55})
    assert p.plan["L3_left"].status != "OK" and p.plan["L2_left"].status == "OK"
    assert any("collapsed" in r or "high is" in r for r in p.plan["L3_left"].reasons)


def test_an_open_arch_is_planned_with_low_confidence_from_the_neighbours_or_refused(make):
    p = make(2, ("L2", "L3", "L4"), 1.1, laminectomy=("L3",))
    for t in (p.plan["L3_left"], p.plan["L3_right"]):
        assert t.status in ("LOW_CONFIDENCE", "BAD_GEOMETRY") and any("canal" in r for r in t.reasons)
    assert p.plan["L2_left"].status == "OK"


@pytest.mark.parametrize(
    "options",
    [
        {"osteoporotic": True},
        {"fused_facet": True},
        {"scoliosis_deg": 30.0},
        {"listhesis_mm": {"L4": 8.0}},
        {"lysis": ("L3",)},
    ],
)
def test_pathologies_leave_only_truly_safe_screws(make, options):
    p = make(8, ("L3", "L4"), 1.0, **options)
    assert any(t.status == "OK" for t in p.plan.trajectories)
    assert all(truth["grade"] == "A" for t, truth in truths(p) if t.status == "OK")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["T1", "T6", "T12", "S1"])
def test_other_levels_are_answered_and_what_is_planned_is_truly_safe(make, level):
    p = make(4, (level,), 0.8)
    assert len(p.plan.trajectories) == 2
    assert all(truth["grade"] == "A" for t, truth in truths(p) if t.status == "OK")


# ---- the grader


def test_the_grader_finds_the_breach_that_the_judge_finds(patient):
    t = patient.plan["L4_left"]
    medial = -patient.phantom["L4"].lps_T_local[:3, 0]
    for shift in (2.0, 4.0, 6.0, 8.0):
        moved = move_both(t, shift * medial)
        truth = grade_truth(patient.phantom, moved.entry_lps_mm, moved.tip_lps_mm, moved.diameter_mm, "L4")
        report = grade_screw(patient.labels, moved)
        assert report.breach_mm == pytest.approx(truth["breach_mm"], abs=0.8)
        if truth["breach_mm"] > 0.8:
            assert report.breach_side == "medial" and report.heary == 4 and report.grade != "A"


def test_claims_that_do_not_hold_are_contradicted(patient):
    t = patient.plan["L4_left"]
    lie = replace(t, metrics={"grade": "B", "min_clearance_mm": t.metrics["min_clearance_mm"] + 2.0})
    found = grade_screw(patient.labels, lie).contradictions
    assert any("claims grade B" in c for c in found) and any("clearance" in c for c in found)
    wrong = replace(t, side="right")
    assert any("left side" in c for c in grade_screw(patient.labels, wrong).contradictions)


def test_a_left_plan_mirrored_to_the_right_or_flipped_to_ras_is_not_accepted(patient):
    t = patient.plan["L4_left"]
    entry, tip = t.line()
    flip = np.array([-1.0, -1.0, 1.0])
    ras = trajectory(
        "L4_left",
        "pedicle_screw",
        entry * flip,
        (tip - entry) * flip,
        t.length_mm,
        t.diameter_mm,
        level="L4",
        side="left",
    )
    try:
        report = grade_screw(patient.labels, ras)
    except GradeError:
        return
    assert report.grade != "A" or report.contradictions


def test_entry_and_tip_exchanged_is_not_grade_a(patient):
    t = patient.plan["L4_left"]
    entry, tip = t.line()
    turned = trajectory("x", "pedicle_screw", tip, entry - tip, t.length_mm, t.diameter_mm, level="L4")
    report = grade_screw(patient.labels, turned)
    assert report.grade != "A" or report.anterior_mm <= 0.0 or report.tip_share < 0.0


def test_a_line_outside_the_image_is_an_error_that_mentions_the_coordinate_system(patient):
    far = trajectory("x", "pedicle_screw", (500, 0, 0), (0, -1, 0), 40.0, 5.0)
    with pytest.raises(GradeError, match="LPS/RAS"):
        grade_screw(patient.labels, far)


def test_screws_that_cross_are_seen():
    a = (np.array([0.0, 0, 0]), np.array([10.0, 0, 0]), np.array([5.0, 5, 1.0]), np.array([5.0, -5, 1.0]))
    assert segment_distance(*a) == pytest.approx(1.0)
    assert segment_distance(np.zeros(3), np.ones(3), np.array([3.0, 0, 0]), np.array([4.0, 1, 1])) == pytest.approx(
        np.sqrt(6.0)
    )


# ---- editing


def test_editing_follows_the_grader_and_undoes_itself(patient):
    editor = open_editor(patient.image.ct, patient.labels, "L4")
    t = patient.plan["L4_left"]
    live = editor.metrics(t)
    assert live["grade"] == "A" and live["safe"], live["problems"]
    assert live["min_clearance_mm"] == pytest.approx(t.metrics["min_clearance_mm"], abs=0.35)
    medial = -patient.phantom["L4"].lps_T_local[:3, 0]
    bad = editor.edited(move_both(t, 7.0 * medial))
    assert bad.status == "DRAFT" and not bad.metrics["safe"] and bad.metrics["grade"] != "A"
    assert move_both(move_both(t, medial), -medial).entry_lps_mm == t.entry_lps_mm
    turned = rotate(t, [0, 0, 1], 90.0)
    assert abs(turned.axis @ t.axis) < 0.1 + abs(t.axis[2]) ** 2
    assert resize(t, diameter_mm=4.0, length_mm=30.0).length_mm == 30.0
    assert (
        move_tip(t, [0, 0, 1.0]).entry_lps_mm == t.entry_lps_mm
        and move_entry(t, [0, 0, 1.0]).tip_lps_mm == t.tip_lps_mm
    )


def test_committing_an_edit_verifies_it(patient):
    editor = open_editor(patient.image.ct, patient.labels, "L4")
    t = patient.plan["L4_left"]
    assert editor.commit(resize(t, diameter_mm=t.diameter_mm - 1.0), patient.image.ct, patient.labels).status == "OK"
    medial = -patient.phantom["L4"].lps_T_local[:3, 0]
    refused = editor.commit(move_both(t, 6.0 * medial), patient.image.ct, patient.labels)
    assert refused.status == "LOW_CONFIDENCE" and refused.reasons


def test_a_patient_specific_guide_is_watertight_and_leaves_the_bore_free(patient):
    from teleop.planning.solids import drill_guide

    items = [t for t in patient.plan.trajectories if t.level == "L4"]
    guide = drill_guide(patient.labels, items, step_mm=0.8)
    assert guide.is_watertight and guide.volume > 500.0
    for t in items:
        r = np.asarray(guide.vertices) - np.array(t.entry_lps_mm)
        along = r @ t.axis
        radial = np.linalg.norm(r - along[:, None] * t.axis, axis=1)
        assert radial[(along > -20.0) & (along < -1.0)].min() == pytest.approx(1.4, abs=0.3)


def test_real_cts_are_planned_or_refused_and_never_claimed_where_the_label_is_bad(data):
    from teleop.planning.images import load_ct
    from teleop.planning.levels import load_labels

    ct = load_ct(data / "ct" / "tptbox_L3_1p5mm_ct.nii.gz")
    plan = plan_screws(ct, load_labels(data / "ct" / "tptbox_L3_1p5mm_vert.nii.gz", ct))
    assert [plan[f"L3_{s}"].status for s in ("left", "right")] == ["OK", "OK"]
    assert all(t.status in ("PARTIAL", "BAD_GEOMETRY") for t in plan.trajectories if t.level != "L3")
    both = {"canal", "corpus", "facet_left", "facet_right"}
    sub = load_labels(
        data / "ct" / "tptbox_L3_1p5mm_vert.nii.gz", ct, structures=data / "ct" / "tptbox_L3_1p5mm_subreg.nii.gz"
    )
    assert both - {"canal"} <= set(sub.structures)
    assert any(t.status == "OK" for t in plan_screws(ct, sub, levels=["L3"]).trajectories)
    coarse = load_ct(data / "ct" / "ts_abdomen_3mm_ct.nii.gz")
    whole = plan_screws(coarse, load_labels(data / "ct" / "ts_abdomen_3mm_vertebrae_tsv2.nii.gz", coarse))
    assert {t.status for t in whole.trajectories if t.level in ("T11", "T12")} == {"PARTIAL"}
    assert {t.status for t in whole.trajectories if t.level == "S1"} == {"BAD_GEOMETRY"}
    assert all(t.status in ("OK", "LOW_CONFIDENCE") for t in whole.trajectories if t.level[0] == "L")
    bodies = plan_screws(coarse, load_labels(data / "ct" / "ts_abdomen_3mm_vertebrae_verse.nii.gz", coarse))
    assert all(t.status in ("BAD_GEOMETRY", "PARTIAL") for t in bodies.trajectories)  # that map holds the bodies only
    bad = load_ct(data / "ct" / "ts_T11T12_dicom_20slices.zip")
    mixed = plan_screws(bad, load_labels(data / "ct" / "ts_T11T12_dicom_seg_tsv2.nii.gz", bad))
    assert all(t.status != "OK" for t in mixed.trajectories)


def test_generate_and_render_stay_consistent_for_the_judge():
    phantom = generate(9, levels=("L3",))
    image = render(phantom, 1.0, skin=False, noise_hu=0.0, with_structures=False)
    ijk = np.argwhere(image.labels.data == 29)[::97]
    assert (phantom.bone("L3", image.labels.to_lps(ijk.astype(float))) < 0.6).all()
