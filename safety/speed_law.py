"""The speed law v(A, m) and the published bound X(v).

X(v) = v (L + Td + Ta) + d_stop(v) + e_track: travel of the worst tool point after the last valid command, where v is
the lease's speed cap. With the surgeon blind for A: X_view = v A + X(v). The law is the largest v with X_view <= m.
d_stop is the jerk-limited `worst_stop`; X is strictly increasing in v, so bisection finds v; 40 halvings of 0.25 m/s
leave 0.2 pm/s, and the lower end is returned, so the law never errs upwards. Floats only (bit-exact replay).
"""

from safety.params import Params
from safety.stopping import worst_stop, worst_stop_time

_HALVINGS = 40


def travel_bound(v: float, p: Params, age_s: float = 0.0) -> float:
    """X(v) in m for the cap v (m/s); with `age_s` > 0 the X_view of the speed law."""
    return v * (age_s + p.t_react) + worst_stop(v, p.a_max, p.j_max) + p.e_track


def rest_bound_ns(v: float, p: Params) -> int:
    """From t_k of the last valid command to standstill at the latest: L + Td + Ta + the longest stop."""
    return p.lease_ns + p.t_d_ns + p.t_a_ns + int(worst_stop_time(v, p.a_max, p.j_max) * 1e9)


def speed_limit(age_s: float, margin: float, p: Params) -> float:
    """v(A, m) in m/s: largest cap with X_view <= margin, 0 where even standing still is too much, at most v_max."""
    if not margin > p.e_track or not age_s >= 0.0:
        return 0.0
    if travel_bound(p.v_max, p, age_s) <= margin:
        return p.v_max
    low, high = 0.0, p.v_max
    for _ in range(_HALVINGS):
        v = 0.5 * (low + high)
        if travel_bound(v, p, age_s) <= margin:
            low = v
        else:
            high = v
    return low
