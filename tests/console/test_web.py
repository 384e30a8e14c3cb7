"""The pages: their own unit tests, the committed bundle, and the scenarios in a real browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "teleop/console/web"
BROWSER = Path(__file__).parent / "browser"


def need_node(packages: bool) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed (only developers of the pages need it)")
    if packages and not (WEB / "node_modules/esbuild").exists():
        pytest.skip("run `npm ci` in teleop/console/web first")


def need_chromium() -> None:
    if not any(Path(p).exists() for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")):
        pytest.skip("no Chromium (Debian, Ubuntu: apt install chromium)")


def test_the_maths_and_the_words_of_the_pages():
    need_node(False)
    done = subprocess.run(["node", "--test", "src/"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_committed_bundle_is_what_the_sources_give():
    need_node(True)
    done = subprocess.run(["node", "build.mjs", "--check"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_file_names_no_address():
    assert "resolved" not in (WEB / "package-lock.json").read_text()


def names() -> list[str]:
    text = "".join((BROWSER / name).read_text() for name in ("scenarios.mjs", "hand_scenarios.mjs", "bedside_scenarios.mjs", "consult_scenarios.mjs"))
    return [line.split('"')[1] for line in text.splitlines() if line.startswith('  async "')]


@pytest.fixture(scope="session")
def browser_results(request, tmp_path_factory) -> dict[str, dict]:
    """One browser for all scenarios that were selected; each result by name."""
    need_node(True)
    need_chromium()
    wanted = [
        i.callspec.params["name"]
        for i in request.session.items
        if getattr(i, "callspec", None) and "name" in i.callspec.params
    ]
    env = os.environ | {"LONGHAND_PYTHON": sys.executable}
    done = subprocess.run(["node", "run.mjs", *wanted], cwd=BROWSER, capture_output=True, text=True, env=env)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert rows, done.stderr[-3000:]
    return {r["name"]: r for r in rows}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", names())
def test_in_a_real_browser(name, browser_results):
    result = browser_results[name]
    assert result["ok"], result["error"]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.ros
@pytest.mark.timeout(600)
def test_the_table_takes_over_and_moves_the_guide_away_also_with_the_wan_down(tmp_path):
    """Real governor, case desk and arm process; the bedside page in a browser; the gateway stopped; the log replayed."""
    pytest.importorskip("rclpy", reason="the simulated hospitals need ROS 2 (make setup installs it)")
    need_node(True)
    need_chromium()
    env = os.environ | {"LONGHAND_BIN": str(Path(sys.executable).parent / "longhand")}
    done = subprocess.run(["node", "table_jog.mjs", "--dir", str(tmp_path / "case")], cwd=BROWSER, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["moved_mm"] > 2 and result["moved_wan_down_mm"] > 2
    assert result["replay"]["equal"] == result["replay"]["decisions"] > 100


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.ros
@pytest.mark.timeout(900)
def test_a_whole_case_on_a_simulated_hospital_with_nothing_but_a_gamepad(tmp_path):
    """Real governor, link, case desk and planner; the bedside page answers in a second browser context; judged by the physics."""
    pytest.importorskip("rclpy", reason="the simulated hospitals need ROS 2 (make setup installs it)")
    need_node(True)
    need_chromium()
    argv = ["node", "whole_case.mjs", "1", "--gamepad", "--servo", "--driver", "kinematic", "--dir", str(tmp_path / "case")]
    env = os.environ | {"LONGHAND_BIN": str(Path(sys.executable).parent / "longhand")}
    done = subprocess.run(argv, cwd=BROWSER, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    (screw,) = result["outcome"]["screws"]
    assert screw["entry_error_mm"] <= 0.5 and screw["axis_error_deg"] <= 0.5 and screw["grade_as_positioned"] == "A"
    assert result["outcome"]["sites"][0]["log_verifies"] and result["servo"]["gamepad"]["moved_mm"] >= 2
