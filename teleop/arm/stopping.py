"""How far and how long a jerk-limited stop takes, worst case over everything the drive admits.

The drive keeps every motion inside the *admitted* states: speed v >= 0, acceleration |a0| <= a, and v + a0^2/(2j) <=
v_cap for a0 > 0, that is, when the acceleration is taken back at jerk j the speed peaks at or below the cap. A stop
from (v, a0) takes the acceleration from a0 down to -p (slope -j), holds it if p = a, and takes it back to 0 (slope
    +j): p^2/j = v + a0^2/(2j)  while p <= a,  else p = a and a hold of (v + a0^2/(2j) - a^2/j)/a.
Every admitted stop with a0 > 0 passes through (v + a0^2/(2j), 0), so its length is
    d1(a0) + d_steady(v_cap),  d1 = v_cap a0/j - a0^3/(6 j^2),
which grows with a0 up to a0* = min(a, sqrt(2 j v_cap)): the worst stop begins in the middle of the hardest
speeding-up. v^2/(2a) is a lower bound only. Checked against ruckig from thousands of admitted states in
tests/arm/test_stopping.py.
"""

from math import sqrt


def stop_from(v: float, a0: float, a: float, j: float) -> tuple[float, float]:
    """(distance m, time s) of the fastest stop from speed v >= 0 and acceleration a0, limits a and j > 0.

    For a0 < 0 the state must be stoppable without reversing, v >= a0^2/(2j). Raises ValueError outside |a0| <= a."""
    if not (v >= 0.0 and abs(a0) <= a * (1 + 1e-9) and j > 0.0):
        raise ValueError(f"no stop defined from v={v}, a0={a0} with limits a={a}, j={j}")
    if a0 < 0.0 and v < a0 * a0 / (2 * j) * (1 - 1e-9):
        raise ValueError(f"v={v}, a0={a0} reverses before it stops")
    peak_v = v + (a0 * a0 / (2 * j) if a0 > 0.0 else -a0 * a0 / (2 * j))
    if a0 > 0.0:
        p = min(a, sqrt(j * peak_v))
    else:
        # already decelerating by |a0|: p^2/j = v + a0^2/(2j)
        p = min(a, sqrt(j * (v + a0 * a0 / (2 * j))))
    t1 = (a0 + p) / j
    v1 = v + a0 * t1 - 0.5 * j * t1 * t1
    d1 = v * t1 + 0.5 * a0 * t1 * t1 - j * t1 * t1 * t1 / 6
    t3 = p / j
    v3 = p * p / (2 * j)  # speed left for the last ramp
    t2 = max(0.0, (v1 - v3) / p) if p > 0.0 else 0.0
    d2 = v1 * t2 - 0.5 * p * t2 * t2
    d3 = v3 * t3 - 0.5 * p * t3 * t3 + j * t3 * t3 * t3 / 6
    return d1 + d2 + d3, t1 + t2 + t3


def worst_start(v_cap: float, a: float, j: float) -> tuple[float, float]:
    """The admitted (speed, acceleration) whose stop is longest."""
    a0 = min(a, sqrt(2 * j * v_cap))
    return v_cap - a0 * a0 / (2 * j), a0


def d_steady(v: float, a: float, j: float) -> float:
    """Stop distance (m) from steady speed v."""
    p = sqrt(j * v)
    return v * p / j if p <= a else 0.5 * v * (v / a + a / j)


def d_stop(v_cap: float, a: float, j: float) -> float:
    """Longest stop (m) from any admitted state under the cap v_cap (m/s)."""
    a0 = min(a, sqrt(2 * j * v_cap))
    return v_cap * a0 / j - a0 * a0 * a0 / (6 * j * j) + d_steady(v_cap, a, j)


def t_stop(v_cap: float, a: float, j: float) -> float:
    """Longest stop (s) from any admitted state under the cap v_cap (m/s)."""
    a0 = min(a, sqrt(2 * j * v_cap))
    p = sqrt(j * v_cap)
    return a0 / j + (2 * p / j if p <= a else v_cap / a + a / j)
