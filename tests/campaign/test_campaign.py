"""The campaign itself: deterministic, resumable, honest about what did not strike, and able to fail."""

import json
from pathlib import Path

import pytest

from sim.campaign import matrix
from sim.campaign.faults import ELSEWHERE, FAULTS, MODES
from sim.campaign.page import page
from sim.campaign.run import run_one
from teleop.cli import _main

NET = "metro-fibre"


def test_the_matrix_is_complete_every_fault_runs_or_says_where_it_is_tested() -> None:
    numbers = {f"F{n:02d}" for n in range(1, 49)}
    assert numbers == (set(FAULTS) | set(ELSEWHERE)) - {"S01"}
    for fault in FAULTS.values():
        assert set(fault.modes) <= set(MODES)
        assert fault.modes == MODES or fault.na, f"{fault.id}: a mode is left out without a reason"


def test_the_same_seed_gives_the_same_run() -> None:
    one, two = run_one("F03", "servo", "5g", 7), run_one("F03", "servo", "5g", 7)
    assert one == two
    assert run_one("F03", "servo", "5g", 8) != one


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_strikes_and_is_met_once_in_its_first_mode(fault: str) -> None:
    outcome = run_one(fault, FAULTS[fault].modes[0], NET, 0)
    assert outcome.struck and outcome.passed, outcome.why
    assert 0.0 < outcome.travel_ratio <= 1.0 and outcome.foreign == 0


def test_a_hand_that_is_stuck_is_found_while_the_arm_still_follows_it() -> None:
    """The console's targets then differ in their last bits, which is no sign of a hand."""
    outcome = run_one("F23", "servo", NET, 122)
    assert outcome.struck and outcome.passed, outcome.why


def test_a_run_does_not_depend_on_which_faults_ran_before_it() -> None:
    """Sessions are made once up to the strike and forked for each fault."""
    alone = run_one("F12", "jog", "5g", 11)
    for other in ("F31", "F06", "F22", "F19"):
        run_one(other, "jog", "5g", 11)
    assert run_one("F12", "jog", "5g", 11) == alone


def test_a_build_without_the_lease_fails_the_campaign() -> None:
    for fault in ("F01", "F25", "F28"):
        outcome = run_one(fault, "goal", NET, 0, lease_enabled=False)
        assert outcome.struck and not outcome.passed
        assert "travel" in outcome.why or "moving" in outcome.why
        assert outcome.reproduce.endswith("--no-lease")


def test_a_fault_that_never_strikes_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(FAULTS, "F07", replace(FAULTS["F07"], strike=lambda w: None))
    outcome = run_one("F07", "servo", NET, 0)
    assert not outcome.struck and not outcome.passed and "never struck" in outcome.why


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    keep = tmp_path / "runs.jsonl"
    todo = matrix.jobs(["F07", "F33"], ["goal"], [NET], 0, 1)
    first = matrix.run_all(todo[:1], keep=keep)
    with keep.open("a") as f:
        f.write('{"fault": "F33", "mo')  # cut off in the middle of a line
    told: list[int] = []
    rows = matrix.run_all(todo, keep=keep, tell=lambda done, total, row: told.append(done))
    assert rows[0] == first[0] and told == [2]
    assert len(matrix.done_before(keep)) >= 1


def test_an_error_of_the_harness_is_a_failed_run_with_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "run_one", lambda *_, **__: 1 / 0)
    row = matrix.work(matrix.Job("F01", "servo", NET, 0))
    assert not row["passed"] and "ZeroDivisionError" in row["why"] and "--first-seed 0" in row["reproduce"]


def test_the_report_is_not_ok_without_runs_or_with_a_failure() -> None:
    assert not matrix.summary([])["ok"]
    row = matrix.work(matrix.Job("F07", "goal", NET, 0))
    report = matrix.summary([row])
    assert report["ok"] and report["rows"][0]["runs"] == 1
    bad = matrix.summary([row, row | {"passed": False, "why": "travel <b>", "seed": 1}])
    assert not bad["ok"] and bad["failed"] == 1
    text = page(bad, [row, row | {"passed": False}], "longhand campaign")
    assert "travel &lt;b&gt;" in text and "<circle" in text
    assert any(r["fault"] == "F11" and r["mode"] == "goal" and r["why"] for r in report["not_applicable"])


def test_command_line_writes_its_table_json_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, html = tmp_path / "c.json", tmp_path / "c.html"
    code = _main.run(["campaign", "--fault", "F33", "--mode", "goal", "--profile", NET, "--json", str(out), "--html", str(html)])
    assert code == 0
    report = json.loads(out.read_text())
    assert report["ok"] and {"fault", "mode", "profile", "runs", "struck", "passed", "worst_time_ratio", "worst_travel_ratio",
                             "reproduce"} <= set(report["rows"][0])  # fmt: skip
    assert "F33" in capsys.readouterr().out and html.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("words", [["--fault", "F99"], ["--fault", "F41"], ["--mode", "drill"], ["--budget", "soon"],
                                   ["--fault", "F11", "--mode", "goal"]])  # fmt: skip
def test_command_line_refuses_what_it_does_not_know(words: list[str]) -> None:
    assert _main.run(["campaign", *words]) == 2


def test_an_unknown_profile_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main.run(["campaign", "--profile", "carrier-pigeon"]) == 1
    assert "carrier-pigeon" in capsys.readouterr().err


def test_list_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main.run(["campaign", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"F{n:02d}" in text for n in range(1, 49))


def test_it_fails_with_exit_code_three_without_the_lease() -> None:
    assert _main.run(["campaign", "--fault", "F25", "--mode", "goal", "--profile", NET, "--no-lease"]) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slice_of_the_campaign_over_models_and_a_measured_trace() -> None:
    """Every fault, mode by mode, over the published models and, where it is there, a measured 5G trace."""
    nets = [p for p in matrix.PROFILES[:3] if _present(p)]
    rows = [
        matrix.work(matrix.Job(f, m, nets[(i + k) % len(nets)], 100 + i))
        for i, f in enumerate(FAULTS)
        for k, m in enumerate(FAULTS[f].modes)
    ]
    failed = [r for r in rows if not r["passed"]]
    assert not failed, "\n".join(f"{r['why']}: {r['reproduce']}" for r in failed)
    assert sum(r["foreign"] for r in rows) == 0


def _present(name: str) -> bool:
    from sim.campaign.world import network

    try:
        network(name)
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers_gives_the_same_rows() -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is optional: pip install 'longhand[dask]'")
    todo = matrix.jobs(["F07", "F33"], ["goal"], [NET], 0, 1)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        rows = matrix.run_all(todo, dask=cluster.scheduler_address)
    key = lambda r: (r["fault"], r["seed"])  # noqa: E731
    assert sorted(rows, key=key) == sorted(matrix.run_all(todo), key=key)
