"""`longhand up` as a person meets it: exit codes and words."""

import json
import os
import signal
import subprocess
import sys

import pytest


def up(*words: str, **kwargs) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "teleop.cli._main", "up", *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def write(tmp_path, *processes: str):
    file = tmp_path / "f.launch.yaml"
    file.write_text("launch:\n- arg: {name: n, default: '1'}\n" + "".join(f"- executable: {p}\n" for p in processes))
    return str(file)


def test_an_interrupt_ends_everything_and_is_reported_as_130(tmp_path):
    process = up(write(tmp_path, "{cmd: sh -c 'echo ready; exec sleep 600', name: s}"), "--json-events")
    for text in process.stdout:
        if json.loads(text).get("text") == "ready":
            os.kill(process.pid, signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (end,) = [r for r in map(json.loads, rest.splitlines()) if r["event"] == "ended"]
    assert end["expected"] and end["signal"] == "SIGINT"


def test_a_process_that_fails_makes_the_run_fail_and_is_named(tmp_path):
    process = up(write(tmp_path, "{cmd: sh -c 'exit 5', name: bad}", "{cmd: 'true', name: good}"))
    out, _ = process.communicate()
    assert process.returncode == 1
    assert "bad (pid" in out and "failed with exit code 5" in out and "good" not in out.splitlines()[-1]


@pytest.mark.parametrize(("words", "code", "says"), [
    ([], 2, "Missing argument"),
    (["n:=1"], 2, "name at least one launch file"),
    (["nope.launch.yaml"], 1, "nope.launch.yaml: No such file"),
])
def test_bad_words_are_refused(words, code, says):
    _, err = (process := up(*words)).communicate()
    assert process.returncode == code
    assert says in err and "Traceback" not in err


def test_a_dry_run_shows_the_plan_and_starts_nothing(tmp_path):
    out, _ = (process := up(write(tmp_path, "{cmd: echo $(var n), name: e}"), "n:=42", "--dry-run")).communicate()
    assert process.returncode == 0
    assert out.strip() == "[e] echo 42"
