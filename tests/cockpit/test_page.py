"""The cockpit's page in a real browser, on a real console server with fake hospitals."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cockpit.test_prometheus import console  # noqa: F401  (the fixture)

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "teleop/console/web"


@pytest.mark.slow
@pytest.mark.browser
def test_the_board_shows_every_site_in_both_languages_and_to_nobody_without_a_token(console: tuple[int, str, list[Any]], tmp_path: Path) -> None:  # noqa: F811
    if shutil.which("node") is None or not (WEB / "node_modules/playwright-core").exists():
        pytest.skip("run `npm ci` in teleop/console/web first")
    if not any(Path(p).exists() for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")):
        pytest.skip("no Chromium (Debian, Ubuntu: apt install chromium)")
    port, token, sites = console
    sites[1].state, sites[1].reason = "HOLD", "no valid command for 500 ms"
    picture = os.environ.get("COCKPIT_PICTURE") or str(tmp_path / "cockpit.png")
    words = ["node", str(HERE / "page.mjs"), f"http://127.0.0.1:{port}/cockpit#t={token}", picture]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert [r["site"] for r in got["rows"]] == ["karamay", "tianjin"], "the held one first"
    assert got["rows"][0]["level"] == "bad" and "HOLD" in got["rows"][0]["text"] and "no valid command" in got["rows"][0]["text"]
    assert "2 sites" in got["summary"] and "1 held" in got["summary"]
    assert got["errors"] == [] and got["broken"] == []
    assert got["token"] == "", "the token is out of the address bar"
    assert got["chinese"] == "总控台" and "Sign in" in got["refused"]
