"""The process-level campaign: its judge must be able to fail, and one kill runs for real."""

import numpy as np
import pytest

from safety.params import MS
from safety.speed_law import rest_bound_ns, travel_bound
from sim.campaign.processes.judge import judge
from sim.campaign.processes.parts import ATTACK_SEQ
from sim.campaign.processes.runner import KINDS, PARAMS, campaign, summary

V = 0.01
T0 = 1_000 * MS


def tables(rest_at: int, travel: float, seqs: tuple[int, ...] = (1, 2, 3)) -> tuple[np.ndarray, np.ndarray]:
    """An arm at constant speed until `rest_at` ns after the last lease's t_k, having gone `travel` m since; 10 ms leases."""
    last = T0 + (len(seqs) - 1) * 10 * MS
    now = np.arange(T0, last + 1000 * MS, 4 * MS, dtype=float)
    way = np.interp(now, [T0, last, last + rest_at], [0.0, 0.0, travel])
    moving = (now < last + rest_at).astype(float)
    ticks = np.column_stack([now, way, moving * V, moving, np.zeros((len(now), 7))])
    leases = np.array([[T0 + k * 10 * MS + MS, T0 + k * 10 * MS, V, s, 1] for k, s in enumerate(seqs)], dtype=float)
    return ticks, leases


def test_inside_both_bounds_is_told_so() -> None:
    v = judge(*tables(rest_bound_ns(V, PARAMS) - 10 * MS, 0.9 * travel_bound(V, PARAMS)), PARAMS)
    assert v.travel_ratio == pytest.approx(0.9, abs=0.01) and 0.9 < v.time_ratio <= 1.0 and v.foreign == 0


def test_too_far_too_late_and_never_at_rest_are_found() -> None:
    bound, rest = travel_bound(V, PARAMS), rest_bound_ns(V, PARAMS)
    assert judge(*tables(rest, 1.1 * bound), PARAMS).travel_ratio > 1.0
    assert judge(*tables(rest + 20 * MS, 0.1 * bound), PARAMS).time_ratio > 1.0
    assert judge(*tables(10_000 * MS, 0.1 * bound), PARAMS).time_ratio > 1.0


def test_late_ticks_of_the_arm_lengthen_the_time_allowed_and_not_the_way() -> None:
    ticks, leases = tables(rest_bound_ns(V, PARAMS) + 30 * MS, 0.5 * travel_bound(V, PARAMS))
    assert judge(ticks, leases, PARAMS).time_ratio > 1.0
    gap = (ticks[:, 0] > leases[-1, 1] + 50 * MS) & (ticks[:, 0] < leases[-1, 1] + 90 * MS)
    late = judge(ticks[~gap], leases, PARAMS)
    assert late.time_ratio < 1.0 and late.late_ms > 30.0


def test_an_attackers_lease_is_told_by_its_number() -> None:
    assert judge(*tables(100 * MS, 0.0, (1, 2 + ATTACK_SEQ, 3)), PARAMS).foreign == 1


def test_a_report_without_runs_or_with_one_that_did_not_strike_is_not_ok() -> None:
    assert not summary([])["ok"]
    row = {"name": "console killed", "struck": True, "passed": True, "time_ratio": 0.5, "response_ratio": 0.6, "travel_ratio": 0.2,
           "travel_mm": 0.3, "response_ms": 500.0, "late_ms": 1.0, "why": "", "foreign": 0}  # fmt: skip
    assert summary([row])["ok"] and summary([row])["rows"][0]["worst_time_ratio"] == 0.6
    assert not summary([row, row | {"struck": False}])["ok"]
    assert not summary([row, row | {"passed": False}])["ok"]


@pytest.mark.slow
@pytest.mark.ros
def test_a_killed_governor_a_killed_console_and_a_full_disk_leave_the_arm_at_rest() -> None:
    names = ["governor killed", "console killed", "disk full", "other surgeon"]
    assert set(names) <= set(KINDS)
    results = campaign(names, 1, base=17460)
    assert [r.why for r in results] == [""] * 4
    assert all(r.struck and r.passed and r.leases > 0 for r in results)
