"""`longhand soak` as it is typed: what it refuses, what it writes, and its exit codes, with a soak that is made up."""

import json

import pytest
from typer.testing import CliRunner

from sim.soak import virtual
from teleop.cli.soak import app
from tests.soak.test_judge import calm

TRACE = "t_s,rtt_ms\n0,30\n0.05,32\n0.1,31\n"


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture
def trace(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    return file


@pytest.fixture
def made_up(monkeypatch):
    """A virtual soak that takes no time and brings `evidence`."""
    found = {"evidence": calm()}

    class Soak:
        def __init__(self, line, hours, folder, say, seed, check):
            found.update(line=line, hours=hours, seed=seed)

        def run(self, interrupted):
            return found["evidence"]

    monkeypatch.setattr(virtual, "VirtualSoak", Soak)
    return found


@pytest.mark.parametrize("words", [("--virtual",), ("--virtual", "--trace", "a.csv", "--profile", "5g"), ("--hours", "0", "--profile", "5g"),
                                   ("--virtual", "--profile", "nosuch"), ("--virtual", "--trace", "nosuch.csv")])  # fmt: skip
def test_what_cannot_be_meant_is_usage(words):
    assert run(*words).exit_code == 2


def test_a_trace_of_another_shape_is_refused_with_its_columns(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    told = run("--virtual", "--trace", file)
    assert told.exit_code == 2 and "rtt_ms" in told.output


def test_nothing_is_overwritten(tmp_path, trace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "soak.json").write_text("{}")
    told = run("--virtual", "--trace", trace, "--out", tmp_path / "out")
    assert told.exit_code == 2 and "nothing is overwritten" in told.output


def test_a_calm_run_is_0_and_leaves_samples_and_a_picture(tmp_path, trace, made_up):
    told = run("--virtual", "--hours", 3.5, "--trace", trace, "--out", tmp_path / "out", "--seed", 7)
    assert told.exit_code == 0, told.output
    assert (made_up["line"], made_up["hours"], made_up["seed"]) == (f"trace:{trace}", 3.5, 7)
    written = json.loads((tmp_path / "out" / "soak.json").read_text())
    assert written["verdict"]["ok"] and written["evidence"]["kind"] == "virtual time" and written["simulated"]
    assert (tmp_path / "out" / "soak.png").stat().st_size > 10_000
    assert "virtual time" in told.output and "ok" in told.output


def test_a_leak_is_3_and_json_says_which_check(tmp_path, trace, made_up):
    e = made_up["evidence"]
    e.memory_mb["recorder"] = [(t, v + 20 * t / 3600) for t, v in e.memory_mb["recorder"]]
    told = run("--virtual", "--profile", "5g", "--out", tmp_path / "out", "--json")
    assert told.exit_code == 3
    said = json.loads(told.stdout.splitlines()[-1])
    assert not said["ok"] and [c["what"] for c in said["checks"] if not c["ok"]] == ["memory: recorder"]


def test_help_has_an_example():
    told = run("--help")
    assert told.exit_code == 0 and "Example: longhand soak --hours 3.5 --virtual" in " ".join(told.output.split())
