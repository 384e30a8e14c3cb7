"""The commands phantom, plan, grade and register: what they write, print and how they end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teleop.cli._main import run
from teleop.planning.plan import SCHEMA_FILE, load_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("patient")
    assert (
        run(["phantom", "--seed", "7", "--levels", "L3-L4", "--spacing", "1.2", "-o", str(path / "p"), "--json"]) == 0
    )
    return path


@pytest.fixture(scope="module")
def planned(folder):
    out = folder / "plan.json"
    code = run(
        [
            "plan",
            str(folder / "p" / "dicom"),
            "--labels",
            str(folder / "p" / "labels.nii.gz"),
            "-o",
            str(out),
            "--slicer",
            "--pdf",
            "--json",
        ]
    )
    assert code == 0
    return out


def test_phantom_writes_everything_it_names(folder):
    for name in (
        "ct.nii.gz",
        "labels.nii.gz",
        "structures.nii.gz",
        "truth.json",
        "landmarks.json",
        "mesh_mm/L3.stl",
        "mesh_m/L4.stl",
    ):
        assert (folder / "p" / name).stat().st_size > 0


def test_plan_prints_the_documented_json_and_writes_plan_markups_and_sheet(folder, planned, capsys):
    capsys.readouterr()
    code = run(
        [
            "plan",
            str(folder / "p" / "ct.nii.gz"),
            "--labels",
            str(folder / "p" / "labels.nii.gz"),
            "-o",
            str(folder / "again.json"),
            "--json",
        ]
    )
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and set(result) >= {"screws", "seconds", "plan_hash"}
    wanted = {
        "level",
        "side",
        "status",
        "reasons",
        "entry_lps_mm",
        "tip_lps_mm",
        "diameter_mm",
        "length_mm",
        "grade",
        "min_clearance_mm",
        "p_grade_a",
    }
    assert all(wanted <= set(s) for s in result["screws"]) and len(result["screws"]) == 4
    assert load_plan(planned).ct.sha256 == load_plan(folder / "again.json").ct.sha256  # DICOM and NIfTI of one scan
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(planned.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(
            json.loads(planned.read_text()) | {"schema": "longhand-plan/9"}
        )
    assert planned.with_suffix(".mrk.json").exists() and planned.with_suffix(".pdf").read_bytes()[:5] == b"%PDF-"


def test_grade_accepts_our_plan_and_slicers_and_contradicts_a_moved_screw(folder, planned, capsys):
    labels = ["--labels", str(folder / "p" / "labels.nii.gz")]
    assert run(["grade", str(planned), *labels, "--ct", str(folder / "p" / "ct.nii.gz"), "--json"]) == 0
    assert run(["grade", str(planned.with_suffix(".mrk.json")), *labels]) == 0
    raw = json.loads(planned.with_suffix(".mrk.json").read_text())
    for point in raw["markups"][0]["controlPoints"]:
        point["position"][0] -= 9.0
    moved = folder / "moved.mrk.json"
    moved.write_text(json.dumps(raw))
    capsys.readouterr()
    assert run(["grade", str(moved), *labels, "--json"]) == 3
    assert not json.loads(capsys.readouterr().out)["ok"]


def test_narrow_pedicles_end_with_three_and_say_why(tmp_path, capsys):
    assert run(["phantom", "--levels", "L2", "--width", "4.5", "--spacing", "0.9", "-o", str(tmp_path), "--json"]) == 0
    capsys.readouterr()
    assert (
        run(
            [
                "plan",
                str(tmp_path / "ct.nii.gz"),
                "--labels",
                str(tmp_path / "labels.nii.gz"),
                "-o",
                str(tmp_path / "plan.json"),
            ]
        )
        == 3
    )
    assert "NO_SAFE_SCREW" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "nowhere.nii.gz", "--labels", "x.nii.gz"], 1),
        (["plan", "nowhere.nii.gz"], 2),
        (["phantom", "--levels", "L9", "-o", "x"], 2),
        (["phantom", "--pathology", "plague", "-o", "x"], 2),
        (["grade", "nothing.json", "--labels", "x.nii.gz"], 1),
        (["register", "a.json"], 2),
    ],
)
def test_bad_use_ends_with_its_code_and_no_traceback(arguments, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["phantom", "plan", "grade", "register"])
def test_help_has_an_example(name, capsys):
    assert run([name, "--help"]) == 0
    assert f"Example:  longhand {name}" in " ".join(capsys.readouterr().out.split("\n")).replace(
        "  longhand", "  longhand"
    )


def test_register_accepts_good_touches_and_refuses_swapped_ones(tmp_path, folder, capsys):
    marks = json.loads((folder / "p" / "landmarks.json").read_text())["landmarks"][:8]
    ct = np.array([m["lps_mm"] for m in marks])
    np.savetxt(tmp_path / "ct.csv", ct, delimiter=",")
    np.savetxt(tmp_path / "touched.csv", ct / 1000.0 + 0.3, delimiter=",")
    assert (
        run(
            [
                "register",
                str(tmp_path / "ct.csv"),
                str(tmp_path / "touched.csv"),
                "-o",
                str(tmp_path / "r.json"),
                "--json",
            ]
        )
        == 0
    )
    assert json.loads((tmp_path / "r.json").read_text())["fre_mm"] == pytest.approx(0.0, abs=1e-6)
    np.savetxt(tmp_path / "touched.csv", ct[[1, 0, *range(2, 8)]] / 1000.0, delimiter=",")
    capsys.readouterr()
    assert run(["register", str(tmp_path / "ct.csv"), str(tmp_path / "touched.csv")]) == 3
    assert "look exchanged" in capsys.readouterr().out


def test_register_refuses_an_old_registration_a_moved_frame_another_vertebra_and_another_ct(
    tmp_path, folder, planned, capsys
):
    marks = json.loads((folder / "p" / "landmarks.json").read_text())["landmarks"][:8]
    ct = np.array([m["lps_mm"] for m in marks])
    np.savetxt(tmp_path / "ct.csv", ct, delimiter=",")
    np.savetxt(tmp_path / "touched.csv", ct / 1000.0 + 0.3, delimiter=",")
    base = ["register", str(tmp_path / "ct.csv"), str(tmp_path / "touched.csv"), "--json", "--plan", str(planned)]
    base += ["--screw", "L4_left", "--cap", "5"]

    def refused(*more):
        capsys.readouterr()
        code = run([*base, *more])
        gates = json.loads(capsys.readouterr().out)["gates"]
        return code, {g["name"] for g in gates if not g["ok"]}

    same = ["--ct", str(folder / "p" / "ct.nii.gz"), "--level", "L4", "--age-s", "60"]
    assert refused(*same) == (0, set())
    assert refused("--age-s", "9000") == (3, {"age"})
    assert refused("--shift", "0.5", "--turn", "0.4") == (3, {"reference_shift", "reference_turn"})
    assert refused("--level", "L3") == (3, {"level"})
    run(["phantom", "--seed", "8", "--levels", "L3", "--spacing", "2", "-o", str(tmp_path / "other"), "--json"])
    assert refused("--ct", str(tmp_path / "other" / "ct.nii.gz")) == (3, {"ct"})


def test_the_real_bad_registration_is_refused_by_the_command(data, capsys):
    folder = data / "mesh" / "ismr24_registration"
    code = run(
        ["register", str(folder / "ct_fiducials.pcd"), str(folder / "us_fiducials.pcd"), "--unit", "mm", "--json"]
    )
    result = json.loads(capsys.readouterr().out)
    assert code == 3 and not result["ok"] and result["fre_mm"] == pytest.approx(10.4, abs=0.1)
    assert {"fre", "scale"} <= {g["name"] for g in result["gates"] if not g["ok"]}


def test_a_users_own_segmenter_is_run_and_its_failure_is_told(folder, tmp_path, capsys):
    out = tmp_path / "plan.json"
    labels = folder / "p" / "labels.nii.gz"
    ct = str(folder / "p" / "ct.nii.gz")
    assert run(["plan", ct, "--segment-with", f"sh -c 'cp {labels} $1' x {{out}}", "-o", str(out), "--json"]) == 0
    assert run(["plan", ct, "--segment-with", "false", "-o", str(out)]) == 1
    assert run(["plan", ct, "--segment-with", "no-such-segmenter", "-o", str(out)]) == 1
    assert "not installed" in capsys.readouterr().err
