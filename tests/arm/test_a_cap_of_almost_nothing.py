"""Beside a keep-out the speed law leaves nanometres a second: that is standing still, not a trajectory of a thousand hours."""

import numpy as np
import pytest

from teleop.arm.leash import Leash, Limits, Rail

DT = 0.004


@pytest.mark.parametrize("v", [0.0, 1e-12, 4.6e-8, 9.9e-7, 1.1e-6, 1e-5])
def test_a_leash_under_a_tiny_cap_stands_or_creeps_and_never_fails(v):
    leash, limits = Leash(6), Limits(v, 0.2, 2.0)
    error = np.array([0.0, 0.02, 0.004, 0.0, 0.0, 0.0])
    speed, push, gone = np.zeros(6), np.zeros(6), 0.0
    for _ in range(500):
        dx, speed, push = leash.track(error, speed, push, limits, lambda u: 1.0, 1.5, DT)
        gone += float(np.linalg.norm(dx))
    assert gone <= v * 500 * DT * 1.01
    assert gone > 0.0 or v < 1e-6


def test_a_moving_leash_whose_cap_vanishes_comes_to_rest():
    leash, error = Leash(6), np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.0])
    speed, push = np.zeros(6), np.zeros(6)
    for _ in range(100):
        _, speed, push = leash.track(error, speed, push, Limits(0.01, 0.2, 2.0), lambda u: 1.0, 1.5, DT)
    assert float(np.linalg.norm(speed)) > 0.005
    for _ in range(200):
        _, speed, push = leash.track(error, speed, push, Limits(4.6e-8, 0.2, 2.0), lambda u: 1.0, 1.5, DT)
    assert not speed.any() and not push.any()


@pytest.mark.parametrize("v", [1e-12, 4.6e-8, 9.9e-7])
def test_a_rail_under_a_tiny_cap_stands(v):
    assert Rail().track(0.3, 0.0, 0.0, Limits(v, 0.2, 2.0), DT) == (0.0, 0.0, 0.0)
