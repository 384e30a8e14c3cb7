"""The early warning as a pure step, and the measure it is judged by."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.network.loop_age import loop_age
from sim.network.models import read_trace
from teleop.cockpit.early_warning import LineWatch, WarningParams, Watch, features, step
from teleop.cockpit.warning_score import begins, holding, score

TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "net"
P = WarningParams()


def watch(ages: list[float], period_s: float = 0.05) -> list[Watch]:
    w, out = Watch(), []
    for i, a in enumerate(ages):
        w = step(w, int(i * period_s * 1e9), a, P)
        out.append(w)
    return out


def test_a_quiet_line_never_warns() -> None:
    assert not any(w.warning for w in watch([0.04 + 0.01 * (i % 5 == 0) for i in range(4000)]))


def test_a_slow_but_steady_line_is_no_reason_to_warn() -> None:
    """What counts is the excess over the line's own quiet level: a far hospital is not a bad line."""
    assert not any(w.warning for w in watch([0.28] * 4000))


def test_an_outage_is_warned_of_before_it_is_a_hold() -> None:
    ages = [0.05] * 400 + [0.05 + 0.05 * i for i in range(12)]
    warned = [w.warning for w in watch(ages)]
    hold = next(i for i, a in enumerate(ages) if a > 0.5)
    assert not any(warned[:400])
    assert warned.index(True) < hold


def test_excursions_that_keep_coming_warn_earlier_than_the_last_of_them() -> None:
    spike = [0.15, 0.25, 0.35, 0.45, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1]
    ages = [0.05] * 400 + (spike + [0.05] * 12) * 4 + [0.05 + 0.05 * i for i in range(12)]
    warned = [w.warning for w in watch(ages)]
    hold = next(i for i, a in enumerate(ages) if a > 0.5)
    assert (hold - warned.index(True)) * 0.05 > 1.0, "seconds ahead, not half a second"


def test_a_warning_ends_when_the_line_has_calmed() -> None:
    ages = [0.05] * 100 + [0.05 + 0.05 * i for i in range(20)] + [0.05] * 3000
    seen = watch(ages)
    assert any(w.warning for w in seen) and not seen[-1].warning and seen[-1].since == 0


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60), st.floats(0.005, 2.0))
def test_whatever_comes_the_state_stays_finite_and_the_features_within_one(ages: list[float], period: float) -> None:
    for w in watch(ages, period):
        assert all(0.0 <= f < 1.0 for f in features(w)) and math.isfinite(w.score)


@pytest.mark.parametrize("age", [-0.1, math.nan, math.inf])
def test_an_age_that_is_none_changes_nothing(age: float) -> None:
    w = watch([0.05] * 10)[-1]
    assert step(w, w.at + 1, age, P) is w


def test_a_sample_from_the_past_changes_nothing() -> None:
    w = watch([0.05] * 10)[-1]
    assert step(w, w.at, 3.0, P) is w


def test_the_rate_of_the_samples_hardly_changes_the_verdict() -> None:
    ramp = [0.05] * 800 + [0.05 + 0.025 * i for i in range(14)]
    slow, fast = watch(ramp[::4], 0.1)[-1], watch(ramp, 0.025)[-1]
    assert slow.score == pytest.approx(fast.score, abs=0.8)


def test_holds_are_counted_once_until_the_line_has_recovered() -> None:
    t = [i * 0.1 for i in range(60)]
    a = [0.1] * 10 + [0.6] * 5 + [0.1] * 5 + [0.6] * 5 + [0.1] * 20 + [0.6] * 5 + [0.1] * 10
    assert len(begins(holding(t, a))) == 2


def test_an_alarm_that_never_ends_is_right_in_the_end_but_not_in_time() -> None:
    t = [float(i) for i in range(100)]
    held = [90 <= i < 95 for i in range(100)]
    s = score(t, held, [True] * 100, horizon_s=5.0)
    assert s.recall == 1.0 and s.precision == 0.5  # the part after the hold is a false one
    assert s.precision_in_time is not None and s.precision_in_time < 0.1


def test_a_warning_that_comes_too_late_warned_of_nothing() -> None:
    t = [i * 0.01 for i in range(300)]
    held = [i >= 200 for i in range(300)]
    assert score(t, held, [i >= 198 for i in range(300)], 5.0).warned == 0
    assert score(t, held, [i >= 180 for i in range(300)], 5.0).warned == 1


def test_the_loop_age_of_a_trace_grows_by_a_second_a_second_while_nothing_is_answered() -> None:
    t, a = loop_age([0, 50_000_000, 100_000_000, 1_100_000_000], [20_000_000, 20_000_000, 900_000_000, 20_000_000], extra_ns=0)
    at = {round(x, 2): y for x, y in zip(t, a, strict=True)}
    assert at[0.9] == pytest.approx(0.85) and at[1.0] == pytest.approx(0.9)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the measured traces are not here (../shared/data/net)")
def test_on_a_measured_rural_line_every_hold_is_warned_of_and_a_calm_city_line_is_left_alone() -> None:
    def run(name: str) -> tuple[list[float], list[bool], list[bool]]:
        trace, _ = read_trace(TRACES / name)
        t, a = loop_age(trace.times_ns, trace.rtts_ns, period_ns=40_000_000)
        w = LineWatch()
        return t, holding(t, a), [w.see(int(x * 1e9), y).warning for x, y in zip(t, a, strict=True)]

    rural = score(*run("cicv5g_rural_n8_18Hz.csv.gz"), 5.0)
    assert rural.holds >= 3 and rural.recall == 1.0
    city = score(*run("cicv5g_urban_n78_20kmh_18Hz.csv.gz"), 5.0)
    assert city.holds == 0 and city.alarms <= 1
