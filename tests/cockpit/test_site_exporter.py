"""The site's exporter: a listening peer of the governor, and a reader of /proc."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from teleop.case.site_config import SiteConfig, save_site_config
from teleop.cockpit.site_exporter import SiteCollector, SiteProbe, find, read_usage
from teleop.site.packet_server import PacketServer

STATUS = {
    "t": "status", "state": "HOLD", "loop_age_ns": 80_000_000, "v_cap": 0.01, "travel_bound": 0.004, "qualified_until": 5,
    "alarms": [{"priority": "HIGH", "active": True}, {"priority": "LOW", "active": False}],
    "counts": {"accepted": 12, "rejected": {"stale": 3, "epoch": 1}, "pauses": 2, "holds": 1},
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> SiteConfig:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    config = SiteConfig(site="a", run_dir=run, log_dir=tmp_path, keys_dir=tmp_path)
    save_site_config(config, tmp_path / "site.toml")
    return config


def figures(collector: SiteCollector) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    out = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for s in family.samples:
            out[(s.name, *(v for k, v in sorted(s.labels.items()) if k != "site"))] = s.value
    return out


def poll_until(probe: SiteProbe, server: PacketServer, done: bool) -> None:
    end = time.monotonic() + 10
    while probe.fresh is not done and time.monotonic() < end:
        for peer, message in server.poll():
            if message is not None and message["t"] == "hello":
                assert message["role"] == "probe", "it listens, it asks for nothing"
                server.send(peer, STATUS)
        probe.poll()
    assert probe.fresh is done


def test_what_the_governor_says_is_what_prometheus_gets(config: SiteConfig, tmp_path: Path) -> None:
    server = PacketServer(config.governor_socket)
    probe = SiteProbe(config, tmp_path / "site.toml")
    try:
        poll_until(probe, server, True)
        got = figures(SiteCollector([probe]))
        assert got["longhand_governor_up",] == 1.0
        assert got["longhand_governor_state", "HOLD"] == 1.0 and got["longhand_governor_state", "ACTIVE"] == 0.0
        assert got["longhand_commands_rejected_total", "stale"] == 3.0 and got["longhand_holds_total",] == 1.0
        assert got["longhand_alarms_active", "high"] == 1.0 and got["longhand_alarms_active", "low"] == 0.0
        assert got["longhand_loop_age_seconds",] == 0.08 and got["longhand_log_free_bytes",] > 0
    finally:
        probe.close()
        server.close()


def test_a_governor_that_is_not_there_is_down_and_its_last_figures_are_not_shown(config: SiteConfig, tmp_path: Path) -> None:
    now = [time.monotonic_ns()]
    server = PacketServer(config.governor_socket)
    probe = SiteProbe(config, tmp_path / "site.toml", clock=lambda: now[0])
    poll_until(probe, server, True)
    server.close()
    now[0] += 3_000_000_000
    probe.poll()
    got = figures(SiteCollector([probe]))
    assert got["longhand_governor_up",] == 0.0 and not any(k[0] == "longhand_holds_total" for k in got)
    probe.poll()  # tries again, and does not raise
    assert probe.why
    probe.close()


def stand_in_of_a_gateway(config_file: Path) -> subprocess.Popen[bytes]:
    """A process named like a gateway of that configuration, returned once it runs: between fork and exec it still bears our own name."""
    words = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "longhand_gateway", f"--config={config_file}"]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    return child


def test_a_process_of_the_site_is_found_by_its_configuration_and_missed_when_it_has_ended(config: SiteConfig, tmp_path: Path) -> None:
    child = stand_in_of_a_gateway(tmp_path / "site.toml")
    try:
        found = find(config, tmp_path / "site.toml")
        assert found["gateway"].pid == child.pid and found["gateway"].resident > 1_000_000 and found["gateway"].threads >= 1
        probe = SiteProbe(config, tmp_path / "site.toml")
        got = figures(SiteCollector([probe]))
        assert got["longhand_process_up", "gateway"] == 1.0 and got["longhand_process_up", "arm"] == 0.0
    finally:
        child.communicate(b"")
    assert find(config, tmp_path / "site.toml") == {}


def test_the_process_of_another_site_is_not_counted_as_ours(config: SiteConfig, tmp_path: Path) -> None:
    child = stand_in_of_a_gateway(Path("/other/site.toml"))
    try:
        assert find(config, tmp_path / "site.toml") == {}
    finally:
        child.communicate(b"")


def test_a_process_that_vanishes_while_it_is_read_is_none(tmp_path: Path) -> None:
    assert read_usage(tmp_path / "999999") is None
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (odd) name) S")
    assert read_usage(tmp_path / "7", tmp_path) is None
