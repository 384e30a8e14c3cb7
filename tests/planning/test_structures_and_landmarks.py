"""Optional labels (canal, corpus, facets) are used where they help, and landmarks alone never make more than a draft."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sim.phantom import generate, grade_truth, render
from teleop.cli._main import run
from teleop.planning.grade import grade_screw
from teleop.planning.images import write_nifti
from teleop.planning.landmarks import draft_screws
from teleop.planning.levels import Labels, interpret, load_labels
from teleop.planning.plan import PlanError, load_plan
from teleop.planning.screws import plan_screws


@pytest.fixture(scope="module")
def open_arch():
    """One level without its dorsal arch, alone: no neighbour can lend its canal."""
    phantom = generate(2, levels=("L3",), laminectomy=("L3",))
    return phantom, render(phantom, 1.0, skin=False)


def with_structures(image) -> Labels:
    regions = np.asarray(image.structures.data)
    masks = {"canal": regions == 61, "corpus": regions == 49, "facet_left": regions == 45, "facet_right": regions == 46}
    return interpret(image.labels, structures=masks)


def test_an_open_arch_is_planned_when_the_canal_is_labelled_and_refused_when_it_is_not(open_arch):
    phantom, image = open_arch
    bare = plan_screws(image.ct, interpret(image.labels))
    assert {t.status for t in bare.trajectories} == {"BAD_GEOMETRY"}
    assert all("canal" in t.reasons[0] for t in bare.trajectories)
    plan = plan_screws(image.ct, with_structures(image))
    assert any(t.status == "OK" for t in plan.trajectories), [t.reasons for t in plan.trajectories]
    for t in plan.trajectories:
        if t.status == "OK":
            truth = grade_truth(phantom, t.entry_lps_mm, t.tip_lps_mm, t.diameter_mm, "L3")
            assert truth["grade"] == "A" and truth["canal_clearance_mm"] > 1.0
            assert t.metrics["canal_mm"] >= 1.5


def test_the_grader_measures_the_distance_to_a_labelled_canal(patient):
    phantom = generate(3, levels=("L3",))
    image = render(phantom, 0.9, skin=False)
    labels = with_structures(image)
    for t in plan_screws(image.ct, labels).trajectories:
        truth = grade_truth(phantom, t.entry_lps_mm, t.tip_lps_mm, t.diameter_mm, "L3")
        assert grade_screw(labels, t).canal_mm == pytest.approx(truth["canal_clearance_mm"], abs=0.8)


def test_structures_are_read_from_a_sub_region_map_on_the_same_grid(tmp_path, open_arch):
    _, image = open_arch
    write_nifti(image.labels, tmp_path / "l.nii.gz")
    write_nifti(image.structures, tmp_path / "s.nii.gz")
    labels = load_labels(tmp_path / "l.nii.gz", structures=tmp_path / "s.nii.gz")
    assert set(labels.structures) == {"canal", "corpus", "facet_left", "facet_right"}


MARKS = {"L4": {"left": {"entry": [22.0, 30.0, 4.0], "isthmus": [19.0, 18.0, 4.0]},
                "right": {"entry": [-22.0, 30.0, 4.0], "isthmus": [-19.0, 18.0, 4.0], "diameter_mm": 6.0, "length_mm": 45.0}}}  # fmt: skip


def test_landmarks_give_drafts_that_say_they_were_never_verified():
    left, right = draft_screws(MARKS)
    assert {left.status, right.status} == {"DRAFT"} and "never verified" in left.reasons[0]
    assert (left.diameter_mm, left.length_mm) == (5.5, 40.0) and (right.diameter_mm, right.length_mm) == (6.0, 45.0)
    assert left.axis @ np.array([-3.0, -12.0, 0.0]) / np.hypot(3, 12) == pytest.approx(1.0, abs=1e-4)
    assert "grade" not in left.metrics


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"L9": MARKS["L4"]}, "no level"),
        ({"L4": {"middle": {}}}, "side"),
        ({"L4": {"left": {"entry": [0, 0, 0]}}}, "isthmus"),
        ({"L4": {"left": {"entry": [0, 0, 0], "isthmus": [0, 0, float("nan")]}}}, "isthmus"),
        ({"L4": {"left": {"entry": [0.022, 0.03, 0.0], "isthmus": [0.019, 0.018, 0.0]}}}, "wrong unit"),
        ({}, "no pedicle"),
    ],
)
def test_unusable_landmarks_are_refused_by_name(marks, message):
    with pytest.raises(PlanError, match=message):
        draft_screws(marks)


def test_the_command_writes_drafts_from_landmarks_and_never_exits_as_if_they_were_verified(tmp_path, capsys):
    phantom = generate(4, levels=("L4",))
    write_nifti(render(phantom, 2.0, with_structures=False).ct, tmp_path / "ct.nii.gz")
    marks = tmp_path / "marks.json"
    out = tmp_path / "plan.json"
    command = ["plan", str(tmp_path / "ct.nii.gz"), "--landmarks", str(marks), "-o", str(out), "--slicer", "--ras"]
    marks.write_text(json.dumps({"frame": "LPS", "unit": "mm", "levels": MARKS}))
    assert run([*command, "--json"]) == 3
    assert {s["status"] for s in json.loads(capsys.readouterr().out)["screws"]} == {"DRAFT"}
    assert {t.status for t in load_plan(out).trajectories} == {"DRAFT"}
    assert json.loads(out.with_suffix(".mrk.json").read_text())["markups"][0]["coordinateSystem"] == "RAS"
    marks.write_text(json.dumps({"frame": "RAS", "unit": "mm", "levels": MARKS}))
    assert run(command) == 1 and "refusing to guess" in capsys.readouterr().err
    assert run([*command, "--labels", "x.nii.gz"]) == 2
