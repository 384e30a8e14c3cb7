"""The edge of the budget at the console: transfers wait their turn, control never does."""

import asyncio

import pytest

from teleop.console.shared_line import SharedLine
from teleop.link.planes import Plane

CHUNK = 128 * 1024


class Clock:
    now = 1

    def __call__(self) -> int:
        return self.now


def test_images_wait_while_the_arm_in_hand_uses_up_the_line() -> None:
    clock = Clock()
    line = SharedLine(2.0, clock)  # 250 kB/s; control of one arm is 349 kB/s
    assert line.may("b", Plane.BULK, CHUNK, False)
    passed = 0
    for _ in range(300):  # three seconds of commands at 100 Hz
        clock.now += 10_000_000
        line.control("a")
        passed += line.may("b", Plane.BULK, CHUNK, False)
    assert passed == 0, "of its ninth of the line b cannot save a chunk in that time"


def test_images_pass_again_when_the_hand_is_off() -> None:
    clock = Clock()
    line = SharedLine(8.0, clock)
    got = 0
    for _ in range(1000):
        clock.now += 10_000_000
        got += CHUNK * line.may("b", Plane.BULK, CHUNK, False)
    assert got == pytest.approx(10.0 * 8e6 / 8, rel=0.15), "ten seconds of the whole line"


def test_a_transfer_that_waits_returns_when_its_turn_comes_and_leaves_no_trace() -> None:
    async def story() -> None:
        line = SharedLine(8.0)
        for _ in range(4):
            await asyncio.wait_for(line.allow("b", Plane.BULK, 16 * 1024), 5)
        assert not +line._waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(SharedLine(0.001).allow("b", Plane.VIDEO, 10**6), 0.0)

    asyncio.run(story())


@pytest.mark.parametrize("mbps", [0.0, -1.0, float("nan")])
def test_a_line_that_carries_nothing_is_refused(mbps: float) -> None:
    with pytest.raises(ValueError, match="check-network"):
        SharedLine(mbps)
