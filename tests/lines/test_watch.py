"""The watch on a qualified line during a case."""

from typing import Any

from teleop.link.watch import Colour, LineState, Promise, as_document, judge, promise_of, step

S = 1_000_000_000
PROMISE = Promise((30.0, 60.0))


def path(rtt: float | None = 30.0, loss: float = 0.0, alive: bool = True, silence: float = 10.0) -> dict[str, Any]:
    return {"alive": alive, "rtt_ms_p99": rtt, "loss_1s": loss, "silence_ms": silence}


def run(looks: list[list[dict[str, Any]]], each_ns: int = S // 5) -> LineState:
    s = LineState()
    for k, paths in enumerate(looks, 1):
        s = step(s, k * each_ns, paths, PROMISE)
    return s


def test_a_line_as_qualified_is_green() -> None:
    assert run([[path(), path(60.0)]] * 50).colour is Colour.GREEN


def test_a_line_far_from_its_qualification_is_amber_though_no_limit_is_passed() -> None:
    colour, why = judge([path(120.0), path(60.0)], PROMISE)
    assert colour is Colour.AMBER and "qualified at 30" in why


def test_one_dead_path_is_amber_and_names_it() -> None:
    colour, why = judge([path(alive=False), path(60.0)], PROMISE)
    assert colour is Colour.AMBER and "path 0 is silent" in why and "1 of 2" in why


def test_no_good_path_is_red() -> None:
    assert judge([path(alive=False), path(350.0)], PROMISE)[0] is Colour.RED
    assert judge([], PROMISE)[0] is Colour.RED


def test_it_gets_worse_at_once_and_better_only_after_ten_calm_seconds() -> None:
    good, bad = [path(), path(60.0)], [path(alive=False), path(60.0)]
    assert run([good] * 10 + [bad]).colour is Colour.AMBER
    assert run([good] * 10 + [bad] + [good] * 40).colour is Colour.AMBER
    assert run([good] * 10 + [bad] + [good] * 60).colour is Colour.GREEN


def test_every_fall_of_a_path_is_counted_and_its_silence_added_up() -> None:
    good, bad = [path(), path(60.0)], [path(alive=False, silence=400.0), path(60.0)]
    s = run([good, bad, bad, good, bad, good])
    assert s.fell == (2, 0)
    assert s.minutes[0][0].down_ms == 600.0 and s.minutes[0][0].gap_ms == 400.0


def test_minutes_keep_the_worst_of_each_and_a_long_case_keeps_a_day() -> None:
    s = LineState()
    for minute in range(3):
        s = step(s, (minute * 60 + 1) * S, [path(30.0 + minute)], PROMISE)
    assert [row[0].rtt_p99_ms for row in s.minutes] == [30.0, 31.0, 32.0]
    s = step(s, 100 * 3600 * S, [path()], PROMISE)
    assert len(s.minutes) <= 1441


def test_the_document_says_how_long_each_colour_lasted() -> None:
    doc = as_document(run([[path(), path(60.0)]] * 11))
    assert doc["seconds_by_colour"]["GREEN"] == 2.0 and doc["seconds"] == 2.0


def test_the_promise_of_a_test_leaves_out_the_paths_that_were_not_good() -> None:
    result = {"paths": [{"good": True, "rtt_ms": {"p99": 20.0}}, {"good": False, "rtt_ms": {"p99": 900.0}}]}
    assert promise_of(result).rtt_p99_ms == (20.0, None)
