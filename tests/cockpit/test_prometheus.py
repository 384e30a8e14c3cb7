"""Alert rules and configuration by promtool, and a real Prometheus that scrapes a real console server."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
import yaml

from teleop.console.app import make_app
from teleop.console.contracts import Principal, Role
from teleop.console.hub import Hub
from teleop.console.signin import Tokens
from tests.console.fake_sites import FakeSite

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "longhand.rules.yml"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian, Ubuntu: apt install prometheus)")
    return found


def run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in run(tool("promtool"), "check", "rules", str(RULES))


def test_every_rule_fires_when_it_should_and_not_before() -> None:
    run(tool("promtool"), "test", "rules", "longhand.test.yml", cwd=RULES.parent)


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    run(tool("promtool"), "check", "config", str(configuration(tmp_path, "127.0.0.1:1", "x")))


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["what_to_do"] and rule["labels"]["severity"] in ("page", "warn"), rule["alert"]


def test_every_metric_that_rules_and_dashboards_ask_for_is_one_that_we_make() -> None:
    asked = set()
    for file in [RULES, *sorted((DEPLOY / "grafana").glob("*.json"))]:
        asked |= set(re.findall(r"(?<![:\w])longhand_\w+", file.read_text()))
    source = "".join(f.read_text() for f in sorted((DEPLOY.parent / "teleop" / "cockpit").glob("*.py")))
    source += "".join(f.read_text() for f in sorted((DEPLOY.parent / "ros_ws/src/longhand_ros/longhand_ros").glob("metrics.py")))
    made = set()
    for kind, name in re.findall(r'(Gauge|Counter|Info)MetricFamily\(\s*"(longhand_\w+)"', source):
        made.add(name + {"Counter": "_total", "Info": "_info", "Gauge": ""}[kind])
    assert asked and asked <= made, asked - made


def configuration(folder: Path, target: str, token: str) -> Path:
    """The shipped configuration with this test's addresses and a faster pace."""
    shutil.copy(RULES, folder / RULES.name)
    (folder / "token").write_text(token)
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms", "scrape_timeout": "400ms"}
    console = config["scrape_configs"][0]
    console["authorization"]["credentials_file"] = str(folder / "token")
    console["static_configs"] = [{"targets": [target]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class NoPlanner:
    def close(self) -> None:
        pass


@pytest.fixture
def console(tmp_path: Path) -> Iterator[tuple[int, str, list[FakeSite]]]:
    """A console server with two fake hospitals, in a thread: (port, token, hospitals)."""
    sites = [FakeSite("tianjin", "Hospital A"), FakeSite("karamay", "Hospital B")]
    tokens = Tokens()
    token = tokens.issue(Principal("prometheus", Role.VIEWER))
    port = free_port()
    servers: list[uvicorn.Server] = []

    async def main() -> None:
        hub = Hub(list(sites), NoPlanner(), tmp_path / "hub")  # type: ignore[arg-type]
        server = uvicorn.Server(uvicorn.Config(make_app(hub, tokens, tmp_path), port=port, log_level="warning"))
        servers.append(server)
        await server.serve()

    (tmp_path / "hub").mkdir()
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    yield port, token, sites
    servers[0].should_exit = True
    thread.join(20)


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.loads(answer.read())["data"]


def wait_for(what: Any, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = what()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)  # how often to look, not what is waited for
    raise AssertionError("it did not happen in time")


@pytest.mark.slow
def test_a_real_prometheus_scrapes_the_console_and_an_alert_fires(console: tuple[int, str, list[FakeSite]], tmp_path: Path) -> None:
    prometheus = tool("prometheus")
    port, token, sites = console
    own = free_port()
    file = configuration(tmp_path, f"127.0.0.1:{port}", token)
    words = [prometheus, f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:

        def value(query: str) -> list[Any]:
            return list(ask(own, f"/api/v1/query?query={quote(query)}")["result"])

        up = wait_for(lambda: len(found := value("longhand_site_up == 1")) == 2 and found)
        assert {r["metric"]["site"] for r in up} == {"tianjin", "karamay"}
        assert value('up{job="longhand-console"}')[0]["value"][1] == "1"
        sites[1].state = "FAULT"
        fired = wait_for(lambda: [a for a in ask(own, "/api/v1/alerts")["alerts"] if a["labels"]["alertname"] == "SiteFault" and a["state"] == "firing"])
        assert [a["labels"]["site"] for a in fired] == ["karamay"]
        assert value("fleet:longhand_sites_up:count")[0]["value"][1] == "2"
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.mark.slow
def test_a_prometheus_with_a_wrong_token_is_turned_away(console: tuple[int, str, list[FakeSite]], tmp_path: Path) -> None:
    prometheus = tool("prometheus")
    port, _, _ = console
    own = free_port()
    file = configuration(tmp_path, f"127.0.0.1:{port}", "not-the-token-of-this-console")
    words = [prometheus, f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:

        def refused() -> list[Any]:
            targets = ask(own, "/api/v1/targets")["activeTargets"]
            return [t for t in targets if t["labels"]["job"] == "longhand-console" and t["health"] == "down"]

        targets = wait_for(refused)
        assert "401" in targets[0]["lastError"]
    finally:
        server.terminate()
        server.communicate(timeout=30)
