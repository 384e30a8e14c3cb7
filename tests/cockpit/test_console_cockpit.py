"""The console's cockpit: tallies, warnings, page data and metrics, with fake hospitals."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from teleop.cockpit.tally import Tally
from teleop.console.app import make_app
from teleop.console.cockpit import Cockpit
from teleop.console.contracts import Principal, Role
from teleop.console.hub import Hub
from teleop.console.signin import Tokens
from tests.console.fake_sites import FakeSite

S = 1_000_000_000


class NoPlanner:
    def close(self) -> None:
        pass


class Lined(FakeSite):
    """A fake hospital whose line has the age that the test says."""

    class session:
        class link:
            @staticmethod
            def line_age_ns(now: int) -> int | None:
                return Lined.age

    age: int | None = 50_000_000


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    async def make() -> Hub:
        return Hub([Lined("tianjin", "Hospital A"), FakeSite("karamay", "Hospital B")], NoPlanner(), tmp_path)  # type: ignore[arg-type,list-item]

    return asyncio.run(make())


@pytest.fixture
def still(hub: Hub) -> Hub:
    """The hub with hospitals that do nothing by themselves, for tests with their own clock."""
    for site in hub.sites.values():
        site._task = object()  # type: ignore[attr-defined]
    return hub


class Clock:
    now = 10**12

    def __call__(self) -> int:
        return self.now


def turn(cockpit: Cockpit, clock: Clock, seconds: float) -> None:
    for _ in range(int(seconds / 0.05)):
        clock.now += 50_000_000
        cockpit.look()


def test_a_restless_line_is_said_once_to_everybody_and_counted(still: Hub) -> None:
    hub, clock = still, Clock()
    cockpit = Cockpit(hub, clock)
    Lined.age = 50_000_000
    turn(cockpit, clock, 30.0)
    assert not hub.events
    for _ in range(3):
        for age in (200, 350, 450, 450, 350, 200):
            Lined.age = age * 1_000_000
            turn(cockpit, clock, 0.1)
        Lined.age = 50_000_000
        turn(cockpit, clock, 0.5)
    said = [e for e in hub.events if e["kind"] == "warning"]
    assert len(said) == 1 and said[0]["site"] == "tianjin" and "Hospital A" in said[0]["text"]
    row = next(r for r in cockpit.document()["sites"] if r["name"] == "tianjin")
    assert row["warning"]["on"] and row["warning"]["count"] == 1
    assert max(p[1] for p in row["trend"] if p[1] is not None) >= 450.0


def test_the_page_and_prometheus_get_nothing_without_a_token(hub: Hub, tmp_path: Path) -> None:
    tokens = Tokens()
    token = tokens.issue(Principal("prometheus", Role.VIEWER))
    with TestClient(make_app(hub, tokens, tmp_path)) as client:
        for path in ("/cockpit/data", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer wrong-token-here"}).status_code == 401
            assert client.get(path, headers={"authorization": f"Bearer {token}"}).status_code == 200
        page = client.get("/cockpit")
        assert page.status_code == 200 and "cockpit.js" in page.text and "default-src 'self'" in page.headers["content-security-policy"]


def test_the_metrics_can_be_read_by_prometheus_own_parser_and_name_every_site(hub: Hub, tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    tokens = Tokens()
    token = tokens.issue(Principal("prometheus", Role.VIEWER))
    with TestClient(make_app(hub, tokens, tmp_path)) as client:
        client.portal.call(asyncio.sleep, 0.3)  # type: ignore[union-attr]  # a few looks of the real loop
        text = client.get("/metrics", headers={"authorization": f"Bearer {token}"}).text
    families = {f.name: f for f in text_string_to_metric_families(text)}
    up = {s.labels["site"]: s.value for s in families["longhand_site_up"].samples}
    assert up == {"tianjin": 1.0, "karamay": 1.0}
    states = {s.labels["state"]: s.value for s in families["longhand_governor_state"].samples if s.labels["site"] == "karamay"}
    assert states["READY"] == 1.0 and sum(states.values()) == 1.0
    assert "longhand_path_rtt_seconds" in families and "process_resident_memory_bytes" in families


def test_the_data_of_the_page_is_json_whatever_a_site_says(still: Hub) -> None:
    clock = Clock()
    cockpit = Cockpit(still, clock)
    turn(cockpit, clock, 0.1)
    from teleop.console.cockpit import _finite

    odd: dict[str, Any] = {"a": float("nan"), "b": b"\x01\xff", "c": [float("inf"), (1, 2)]}
    assert json.loads(json.dumps(_finite(odd), allow_nan=False)) == {"a": None, "b": "01ff", "c": [None, [1, 2]]}
    json.dumps(_finite(cockpit.document()), allow_nan=False)


def look(t: Tally, at_s: float, state: str, fresh: bool = True, warning: bool = False, last: dict[str, Any] | None = None) -> None:
    t.look(int(at_s * S), fresh, state, 0.05, 0.0, warning, {"rtt_ms": 20.0, "loss": 0.0}, {"last": last})


def test_time_is_counted_for_the_state_that_was_seen_and_time_unseen_for_none() -> None:
    t = Tally()
    for k in range(11):
        look(t, k, "ACTIVE" if k < 5 else "READY")
    assert t.seconds == {"ACTIVE": 5.0, "READY": 5.0}
    look(t, 60.0, "READY")
    assert t.unseen_s == 50.0 and t.seen_s == 10.0 and t.use == 0.5


def test_a_hold_is_counted_when_it_begins_and_not_again_after_a_gap_of_the_line() -> None:
    t = Tally()
    look(t, 0.0, "ACTIVE")
    look(t, 1.0, "HOLD", warning=True)
    look(t, 2.0, "HOLD", fresh=False)
    look(t, 3.0, "HOLD")
    assert t.holds == 1 and t.warned_holds == 1


def test_a_console_that_starts_while_a_site_holds_counts_no_hold() -> None:
    t = Tally()
    look(t, 0.0, "HOLD")
    look(t, 1.0, "HOLD")
    assert t.holds == 0


def test_the_newest_accuracy_of_each_screw_is_kept() -> None:
    t = Tally()
    look(t, 0.0, "ACTIVE", last={"screw": "L3 R", "lateral_mm": 0.9, "angle_deg": 1.0, "grade": "A"})
    look(t, 1.0, "ACTIVE", last={"screw": "L3 R", "lateral_mm": 0.4, "angle_deg": 0.8, "grade": "A"})
    look(t, 2.0, "ACTIVE", last={"screw": "", "lateral_mm": 5.0})
    assert {k: v["lateral_mm"] for k, v in t.accuracy.items()} == {"L3 R": 0.4}


def test_holds_per_hour_wait_for_a_minute_of_work() -> None:
    t = Tally()
    look(t, 0.0, "ACTIVE")
    look(t, 1.0, "HOLD")
    assert t.holds_per_hour is None
    for k in range(2, 121):
        look(t, float(k), "ACTIVE")
    assert t.holds_per_hour == pytest.approx(30.0, rel=0.02)


def test_a_path_that_dies_in_a_case_is_said_once_and_kept_for_the_certificate(still: Hub) -> None:
    clock = Clock()
    cockpit = Cockpit(still, clock)
    site = still.sites["karamay"]
    view = site.snapshot()
    view.mine, view.link = True, {"paths": [{"alive": True, "p99_ms": 20.0, "loss": 0.0}, {"alive": True, "p99_ms": 40.0, "loss": 0.0}]}
    site.snapshot = lambda: view  # type: ignore[method-assign]
    turn(cockpit, clock, 5.0)
    assert cockpit.lines["karamay"].colour == 0
    view.link["paths"][1]["alive"] = False
    turn(cockpit, clock, 5.0)
    said = [e["text"] for e in still.events if e["kind"] == "line"]
    assert len(said) == 1 and "path 1 is silent" in said[0] and "amber" in said[0]
    assert next(r for r in cockpit.document()["sites"] if r["name"] == "karamay")["watch"]["colour"] == "amber"
    assert cockpit.lines["karamay"].fell == (0, 1)


def test_the_scrapers_token_is_its_owners_alone(tmp_path: Path) -> None:
    from teleop.cli.console import put_metrics_token

    put_metrics_token(tmp_path / "metrics.token", "t" * 32)
    assert (tmp_path / "metrics.token").stat().st_mode & 0o077 == 0
