"""The reviewer's page in a real browser: what a reviewer does with it, and what may never happen."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.log.sessions import drive_and_cut

REPO = Path(__file__).parents[2]
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]
CHROMIUM = os.environ.get("LONGHAND_CHROMIUM") or shutil.which("chromium")
PLAYWRIGHT = next(
    (p for p in (REPO / f"teleop/{part}/web/node_modules/playwright-core/index.mjs" for part in ("review", "console"))
     if p.exists()), None,
)  # fmt: skip

if CHROMIUM is None or shutil.which("node") is None or PLAYWRIGHT is None:
    pytest.skip("needs chromium, node, and `npm ci` in teleop/review/web", allow_module_level=True)


def synthetic(folder: Path, seconds: int, *more: str) -> Path:
    out = folder / "syn.mcap"
    words = [sys.executable, "bench/synthetic_session.py", str(out), "--seconds", str(seconds), *more]
    subprocess.run(words, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)}, check=True, capture_output=True)
    return out


def look(logs: list[Path], mode: str, folder: Path) -> dict:
    """Serve the logs, drive the page, return what was seen."""
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "LONGHAND_CHROMIUM": str(CHROMIUM)}
    server = subprocess.Popen(
        [sys.executable, "-m", "teleop.cli._main", "review", *map(str, logs)], cwd=REPO, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.stderr.read()
        shots = Path(os.environ.get("LONGHAND_SHOTS", folder / "shots"))
        shots.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["node", str(REPO / "tests/log/browser/run.mjs"), str(PLAYWRIGHT), address, str(shots), mode], env=env,
            capture_output=True, text=True, timeout=380,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        seen = json.loads(done.stdout.strip().splitlines()[-1])
    finally:
        server.terminate()
        server.wait(20)
    assert seen["errors"] == [] and seen["offHost"] == []
    return seen


def test_a_reviewer_finds_steps_zooms_links_plays_notes_and_replays(tmp_path):
    log = synthetic(tmp_path, 60)
    before = log.read_bytes()
    seen = look([log], "session", tmp_path)
    assert seen["verdict"].startswith("CLEAN") and seen["simulated"] == 1
    assert seen["events"] > 8 and seen["worstLandingS"] < 0.001 and seen["backByKey"]
    assert seen["stepped"][1] == seen["stepped"][0] + 1 and seen["inputsShown"]
    assert seen["zoomed"][1] == pytest.approx(0.3 * seen["zoomed"][0], rel=0.1)
    assert seen["linkErrorS"] < 1e-5 and not seen["tokenInLink"]
    assert seen["playForwardOnly"] and seen["playSpeed"] == pytest.approx(10, rel=0.2)
    assert seen["keysLeftAlone"] and "signature holds" in seen["note"]
    assert re.fullmatch(r"\d+ decisions, all the same", seen["replayed"])
    assert seen["space"] and seen["pathPoints"] > 100 and seen["spaceBytes"] > 5000
    assert log.read_bytes() == before


@pytest.mark.parametrize("mode", ["two", "small"])
def test_two_sites_stand_side_by_side_with_the_stated_clock_error(tmp_path, mode):
    log = synthetic(tmp_path, 20, "--second", str(tmp_path / "b.mcap"))
    seen = look([log, tmp_path / "b.mcap"], mode, tmp_path)
    assert seen["verdict"].startswith("CLEAN") and seen["site"] == 1
    assert "reference clock" in seen["headings"][0] and re.search(r"clock error ± [\d.]+ ms", seen["headings"][1])
    assert seen["overflow"] == [0, 0]


def test_without_webgl_everything_but_the_space_works(tmp_path):
    seen = look([drive_and_cut(tmp_path / "a.mcap")], "no-webgl", tmp_path)
    assert seen["moves"] and seen["plots"] == 6


def test_a_log_that_was_tampered_with_says_so_on_the_page(tmp_path):
    path = drive_and_cut(tmp_path / "a.mcap")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    seen = look([path], "tampered", tmp_path)
    assert seen["verdict"] == "TAMPERED WITH" and "byte" in seen["title"]


def test_a_log_cut_by_a_power_failure_can_be_reviewed(tmp_path):
    path = drive_and_cut(tmp_path / "a.mcap")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert look([path], "cut", tmp_path)["verdict"].startswith("UNCLEAN END")
