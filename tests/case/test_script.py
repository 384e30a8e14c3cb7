
from teleop.case.script import Script, ScriptTimeout, Turnstile, pause, together, until

S = 1_000_000_000


def run(generator, times):
    script = Script(generator)
    for now in times:
        script.resume(now)
    return script


def test_until_returns_the_value_it_waited_for():
    values = iter([0, 0, 0, 7])
    script = run(until(lambda: next(values), 5.0, "seven"), [S, 2 * S, 3 * S, 4 * S, 5 * S])
    assert script.done
    assert script.result == 7


def test_a_wait_that_takes_too_long_says_what_it_waited_for():
    script = run(until(lambda: False, 1.0, "the arm stands"), [0, S // 2, S, 2 * S])
    assert isinstance(script.error, ScriptTimeout)
    assert "the arm stands" in str(script.error)


def test_scripts_run_side_by_side_and_give_their_results_in_order():
    def work(seconds, name):
        yield from pause(seconds)
        return name

    script = run(together(work(3, "slow"), work(1, "fast")), [i * S for i in range(8)])
    assert script.result == ["slow", "fast"]


def test_an_error_in_one_script_ends_all_of_them():
    cleaned = []

    def bad():
        yield
        raise ValueError("no")

    def good():
        try:
            yield from pause(100)
        finally:
            cleaned.append(True)

    script = run(together(good(), bad()), [i * S for i in range(5)])
    assert isinstance(script.error, ValueError)
    assert cleaned == [True]


def test_a_turnstile_lets_so_many_through_at_once_in_the_order_they_came():
    turnstile, inside, order, most = Turnstile(2), set(), [], []

    def visit(name, seconds):
        yield from turnstile.enter()
        inside.add(name)
        order.append(name)
        most.append(len(inside))
        try:
            yield from pause(seconds)
        finally:
            inside.discard(name)
            turnstile.leave()
        return name

    script = run(together(*(visit(n, 1 + n % 3) for n in range(7))), [i * S for i in range(40)])
    assert script.result == list(range(7))
    assert order == list(range(7))
    assert max(most) == 2 and not inside


def test_who_fails_inside_gives_the_place_back():
    turnstile = Turnstile(1)

    def bad():
        yield from turnstile.enter()
        try:
            yield from pause(1)
            raise ValueError("no safe screw")
        finally:
            turnstile.leave()

    run(together(bad()), [i * S for i in range(5)])
    assert run(turnstile.enter(), [S, 2 * S]).done
