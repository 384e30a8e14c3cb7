from teleop.case.qualifying import judge_line


def samples(count=50, **changes):
    good = {"alive": True, "rtt_ms_p50": 30.0, "rtt_ms_p99": 80.0, "loss": 0.004}
    return [good | {"path": i % 2} | changes for i in range(count)]


def test_a_good_line_passes_and_says_so_per_path():
    result = judge_line(samples(), demo=False)
    assert result["passed"]
    assert [p["path"] for p in result["paths"]] == [0, 1]


def test_one_good_path_of_two_is_enough():
    bad = [s | ({"loss": 0.3} if s["path"] else {}) for s in samples()]
    assert judge_line(bad, demo=False)["passed"]


def test_loss_delay_or_silence_on_every_path_fails_with_the_numbers():
    for changes in ({"loss": 0.2}, {"rtt_ms_p99": 900.0}, {"alive": False}):
        result = judge_line(samples(**changes), demo=False)
        assert not result["passed"]
        assert "no path stayed under" in result["why"]


def test_too_few_measurements_are_no_measurement():
    result = judge_line(samples(5), demo=True)
    assert not result["passed"]
    assert "only 5" in result["why"]
    assert result["demo"]
