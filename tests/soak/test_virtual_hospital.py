"""The hospital of the virtual soak: what people see of one that vanishes for a minute, and a short soak with all its judge looks at."""

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("pybullet_data", reason="the simulated arm needs its model")

from sim.soak import hospital, virtual
from sim.soak.hospital import Hospital
from sim.soak.judge import judge
from sim.soak.virtual import SITES, VirtualSoak

S = 1_000_000_000


def in_motion() -> Hospital:
    h = Hospital("a", "metro-fibre", 3, 0, 20.0)
    for _ in range(100):
        h.wait()
    h.take(lambda ms: None)
    for _ in range(8 * 500):
        h.advance()
        if h.moving():
            break
    assert h.moving()
    return h


def run(h: Hospital, seconds: float) -> set[str]:
    states = set()
    for _ in range(int(seconds * 500)):
        h.advance()
        states.add(str(h.site.s.state))
    return states


@pytest.mark.slow
def test_a_site_that_vanishes_for_a_minute_rests_stops_and_moves_again_only_for_people():
    h = in_motion()
    people, h._people = h._people, lambda: None  # nobody acknowledges anything yet
    h.cut(60 * S)
    begin, travel = h.now, h.site.last_report.travel
    run(h, 1.0)
    assert str(h.site.s.state) == "HOLD" and not h.moving(), h.site.s.state
    gone = h.site.last_report.travel - travel
    assert gone < 0.01, f"{gone * 1e3:.1f} mm after the line was cut"
    still = h.site.last_report.travel
    run(h, 60.0)
    assert h.now - begin > 60 * S and not h.site.s.auth.holder
    # the line is back, the console's frames arrive again: nothing moves, and the reason stands there
    heard = h.count.delivered
    states = run(h, 8.0)
    assert states == {"STOP"} and h.far.any_alive(h.now) and h.count.delivered > heard
    assert h.site.last_report.travel - still < 1e-4
    assert "down for 3 s" in h.site.s.reason
    h._people = people
    run(h, 20.0)  # the table re-arms and grants anew, the surgeon presses anew
    assert str(h.site.s.state) in ("ACTIVE", "DEGRADED") and h.site.last_report.travel > still + 0.005
    assert h.judge.wrongs == []


@pytest.mark.slow
def test_a_short_soak_brings_evidence_that_its_judge_accepts_and_a_spoilt_one_does_not(tmp_path: Path, monkeypatch):
    said: list[str] = []
    for module, name, seconds in ((virtual, "CASE_NS", 14), (virtual, "PAUSE_NS", 6), (virtual, "SAMPLE_NS", 5), (hospital, "STALL_EVERY_NS", 6)):
        monkeypatch.setattr(module, name, seconds * S)
    soak = VirtualSoak("beijing-zhangjiakou", 0.02, tmp_path / "logs", said.append)
    e = soak.run()
    verdict = judge(e)
    assert verdict.ok, [c for c in verdict.checks if not c.ok]
    assert e.cases >= 3 and len(e.handovers) >= 3 and {h["to"] for h in e.handovers} == set(SITES)
    assert all(end.replayed == end.equal > 1000 for end in e.logs.values())
    assert any("x real time" in line for line in said), "live progress"
    stalls = sum(h.stalls for h in soak.sites)
    assert stalls > 0 and sum(d["missed"] for n, d in e.deadlines.items() if n.endswith("governor")) >= 1, "stalls are misses, accounted for"
    e.logs["tianjin"] = dataclasses.replace(e.logs["tianjin"], equal=0)
    assert not judge(e).ok
