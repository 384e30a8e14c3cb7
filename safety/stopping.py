"""How far a jerk-limited stop travels. Floats and + - * / sqrt only, so that a replay is bit-exact.

A stop from (v0, a0) under |a| <= a, |jerk| <= j: the acceleration is ramped down from a0 at -j, held at -a if it gets
that far, and ramped up so that speed and acceleration reach zero together.
  From steady speed v:        v <= a^2/j:  d = v sqrt(v/j)          t = 2 sqrt(v/j)
                              v >  a^2/j:  d = v^2/(2a) + v a/(2j)  t = v/a + a/j
  Speeding up with a0 > 0:    the ramp a0 -> 0 lasts a0/j, covers v0 a0/j + a0^3/(3 j^2), ends at v0 + a0^2/(2j).
`worst_stop(v)` is the largest over the states that a drive may be in under the cap v, that is v0 + a0^2/(2j) <= v
(a drive that let the *peak* exceed the cap would travel 3.67 mm instead of 1.37 mm at 10 mm/s, a = 0.2, j = 2).
Over those states d = d_steady(v) + a0 v/j - a0^3/(6 j^2), increasing in a0 up to sqrt(2 j v). The tests
check it against ruckig.
"""

from math import sqrt


def steady_stop(v: float, a: float, j: float) -> float:
    """Distance (m) of a stop from constant speed v (m/s)."""
    if v <= 0.0:
        return 0.0
    if v * j <= a * a:
        return v * sqrt(v / j)
    return v * v / (2.0 * a) + v * a / (2.0 * j)


def steady_stop_time(v: float, a: float, j: float) -> float:
    """Duration (s) of a stop from constant speed v (m/s)."""
    if v <= 0.0:
        return 0.0
    if v * j <= a * a:
        return 2.0 * sqrt(v / j)
    return v / a + a / j


def stop_from(v0: float, a0: float, a: float, j: float) -> float:
    """Distance (m) of a stop from speed v0 >= 0 with acceleration a0 >= 0, whatever the peak."""
    d_ramp = v0 * a0 / j + a0 * a0 * a0 / (3.0 * j * j)
    return d_ramp + steady_stop(v0 + a0 * a0 / (2.0 * j), a, j)


def worst_stop(v: float, a: float, j: float) -> float:
    """Largest stop distance (m) from any state whose peak stays under the cap v (m/s)."""
    if v <= 0.0:
        return 0.0
    a0 = sqrt(2.0 * j * v)
    if a0 > a:
        a0 = a
    return steady_stop(v, a, j) + a0 * v / j - a0 * a0 * a0 / (6.0 * j * j)


def worst_stop_time(v: float, a: float, j: float) -> float:
    """Longest stop (s) from any state whose peak stays under the cap v (m/s)."""
    if v <= 0.0:
        return 0.0
    a0 = sqrt(2.0 * j * v)
    if a0 > a:
        a0 = a
    return a0 / j + steady_stop_time(v, a, j)
