"""The judge of a soak: passes a calm run, and fails each kind of one that grows, drifts, misses or has holes."""

import copy
import json
import random

import pytest

from sim.soak.deadlines import Deadlines, of_arm, of_governor
from sim.soak.evidence import Evidence, LogEnd, from_json
from sim.soak.judge import judge, slope

HOURS = 3.5
SECONDS = HOURS * 3600


def times(n: int = 400) -> list[float]:
    return [i * SECONDS / (n - 1) for i in range(n)]


def calm() -> Evidence:
    """A run as it should be: noise, a warm-up of 30 MB in the first minutes, a garbage collector's saw-tooth."""
    rng = random.Random(1)
    e = Evidence("virtual time", SECONDS, SECONDS, cases=60)
    e.memory_mb["recorder"] = [(t, 200 + 30 * min(1.0, t / 900) + rng.gauss(0, 0.5) + 3 * (t % 700) / 700) for t in times()]
    e.clocks["a"] = [(t, rng.gauss(0, 300), 10_000.0) for t in times()]
    e.log_bytes["all"] = [(t, 40_000 * t + rng.random()) for t in times()]
    e.checkpoint_age_s["a"] = [(t, 0.1 + 0.3 * rng.random()) for t in times()]
    e.logs["a"] = LogEnd("clean", 1000, 100, 0, 0, 0, 900, 900)
    e.deadlines["a/governor"] = {"wakes": 1000, "missed": 12, "worst_ms": 60.0, "unaccounted": 0, "holes": []}
    e.pictures["a"] = e.voice["a"] = [(t, 10 * t) for t in times()]
    return e


def failed(e: Evidence) -> list[str]:
    return [c.what for c in judge(e).checks if not c.ok]


def test_a_calm_run_passes_also_after_a_way_through_json():
    e = calm()
    assert judge(e).ok, failed(e)
    assert judge(from_json(json.loads(json.dumps(e.to_json())))).ok


@pytest.mark.parametrize("mb_an_hour", [10.0, 25.0])
def test_a_leak_is_found_under_noise(mb_an_hour):
    e = calm()
    e.memory_mb["recorder"] = [(t, v + mb_an_hour * t / 3600) for t, v in e.memory_mb["recorder"]]
    assert failed(e) == ["memory: recorder"]


def test_outliers_are_no_leak():
    e = calm()
    e.memory_mb["recorder"] = [(t, v + (150 if i % 23 == 0 else 0)) for i, (t, v) in enumerate(e.memory_mb["recorder"])]
    assert judge(e).ok, failed(e)


def test_a_short_run_says_what_it_could_not_have_seen():
    e = calm()
    e.memory_mb["recorder"] = [(i * 5.0, 200.0) for i in range(48)]
    check = next(c for c in judge(e).checks if c.what == "memory: recorder")
    assert check.ok and "would not be seen" in check.note


@pytest.mark.parametrize("drift_us_per_hour, offset_us", [(4000.0, 0.0), (0.0, 11_000.0)])
def test_a_clock_that_drifts_or_is_wrong_beyond_its_bound_is_found(drift_us_per_hour, offset_us):
    e = calm()
    e.clocks["a"] = [(t, v + drift_us_per_hour * t / 3600 + offset_us, b) for t, v, b in e.clocks["a"]]
    assert failed(e) == ["clock: a"]


SPOILS = {
    "a deadline without account": (lambda e: e.deadlines["a/governor"].update(unaccounted=1), "deadlines: a/governor"),
    "a gap in the log": (lambda e: setattr(e.logs["a"], "gaps", 1), "log: a"),
    "lost messages": (lambda e: setattr(e.logs["a"], "dropped", 3), "log: a"),
    "a step is missing": (lambda e: setattr(e.logs["a"], "missing_steps", 1), "log: a"),
    "cut off": (lambda e: setattr(e.logs["a"], "end", "unclean"), "log: a"),
    "a decision differs": (lambda e: setattr(e.logs["a"], "equal", 899), "log: a"),
    "no checkpoint for a while": (lambda e: e.checkpoint_age_s["a"].append((SECONDS, 3.0)), "checkpoints: a"),
    "a log that writes ever more": (
        lambda e: e.log_bytes.update(all=[(t, 40_000 * t + 30 * max(0.0, t - 8000) ** 2) for t in times()]), "log growth: all"),
    "a log that stands still": (
        lambda e: e.log_bytes.update(all=[(t, 40_000 * min(t, 7000.0)) for t in times()]), "log growth: all"),
    "no pictures": (lambda e: e.pictures.update(a=[(t, 0.0) for t in times()]), "pictures: a"),
    "it ended early": (lambda e: setattr(e, "lasted_s", 3600.0), "ran as long as asked"),
    "something that must never happen": (lambda e: e.wrongs.append("moved after a halt"), "what must never happen"),
    "nothing was measured": (lambda e: e.memory_mb.clear(), "memory"),
    "no case": (lambda e: setattr(e, "cases", 0), "cases treated"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILS)
def test_each_fault_is_found_and_nothing_else(name):
    spoil, found = SPOILS[name]
    e = copy.deepcopy(calm())
    spoil(e)
    assert failed(e) == [found]


def test_the_slope_is_exact_on_a_line_and_does_not_move_for_a_spike():
    line = [(float(t), 2.0 * t + 5) for t in range(500)]
    assert slope(line) == pytest.approx(2.0)
    line[250] = (250.0, 1e6)
    assert slope(line) == pytest.approx(2.0, rel=1e-3)
    assert slope([]) == 0.0


# -- deadlines ------------------------------------------------------------------------------------------------------------
MS = 1_000_000


def test_a_late_wake_up_that_says_so_is_a_miss_with_account():
    d = of_governor()
    for now, late in ((0, 0), (50 * MS, 0), (170 * MS, 70 * MS), (220 * MS, 0)):
        d.woke(now, late)
    assert (d.missed, d.unaccounted, d.worst_ns) == (1, 0, 70 * MS)


def test_a_hole_that_no_lateness_explains_is_unaccounted():
    d = of_governor()
    for now, late in ((0, 0), (50 * MS, 0), (170 * MS, 0), (220 * MS, 0)):
        d.woke(now, late)
    assert (d.missed, d.unaccounted) == (1, 1)
    assert d.holes == [(50 * MS, 70 * MS)]


def test_a_lateness_that_explains_only_a_part_leaves_the_rest_unaccounted():
    d = Deadlines(period_ns=10 * MS, late_ns=10 * MS)
    d.woke(0, 0)
    d.woke(60 * MS, 20 * MS)
    assert d.unaccounted == 1 and d.holes == [(0, 30 * MS)]


def test_a_parked_arm_keeps_no_deadline():
    d = of_arm()
    d.woke(0, 0)
    d.woke(900 * MS, 0, watched=False)
    d.woke(1000 * MS, 0)
    assert (d.missed, d.unaccounted) == (0, 0)
