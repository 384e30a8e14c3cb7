"""Tremor filter: two notches across 8-12 Hz, the band of physiological tremor, with a stated delay.

    H(s) = prod_i (s^2 + w_i^2) / (s^2 + (w_i / Q) s + w_i^2),   f_i = 8.7 and 11.0 Hz
    delay of slow motion = sum_i 1 / (Q w_i)

Discretised by the bilinear transform with the notch frequencies kept exact (Bristow-Johnson's audio EQ cookbook,
"notch") on a fixed grid of 1 ms. Between two readings the hand is taken to move in a straight line up to the newest
reading, which adds no delay and makes the result the same for any sampling rate (up to what a slow device did not
see). Filtered are the positions and the four numbers of the quaternion (sign kept continuous, normalised afterwards):
both have unity gain at rest, so a resting hand is exactly where it is and nothing drifts. `reset` starts the filter
in rest at a pose.
"""

from math import cos, pi, sin

from teleop.geometry import Pose, quat_normalize

GRID_NS = 1_000_000
NOTCHES_HZ = (8.7, 11.0)
#: Q of the notches by name; removed power in 8-12 Hz and delay of slow motion: light 96 %, 13 ms; normal 98 %, 16 ms;
#: strong 99.6 %, 26 ms.
STRENGTHS = {"light": 2.5, "normal": 2.0, "strong": 1.25}
#: A gap longer than this starts the filter anew: what a hand did in it is unknown.
LONGEST_GAP_NS = 100_000_000


def notch_coefficients(f0: float, q: float, rate_hz: float) -> tuple[float, float, float]:
    """(g, c, r) of the cookbook's notch, b = g (1, c, 1), a = (1, g c, r)."""
    w = 2.0 * pi * f0 / rate_hz
    alpha = sin(w) / (2.0 * q)
    return 1.0 / (1.0 + alpha), -2.0 * cos(w), (1.0 - alpha) / (1.0 + alpha)


class TremorFilter:
    """One per hand. `step` per reading, any rate."""

    def __init__(self, strength: str = "normal") -> None:
        if strength not in STRENGTHS:
            raise ValueError(f"tremor filter {strength!r} is not one of {', '.join(STRENGTHS)}")
        q = STRENGTHS[strength]
        (g, c, r), (h, d, s) = (notch_coefficients(f, q, 1e9 / GRID_NS) for f in NOTCHES_HZ)
        self._c = (g, g * c, r, h, h * d, s)
        self.delay = sum(1.0 / (q * 2.0 * pi * f) for f in NOTCHES_HZ)  # s, of slow motion
        self._t: int | None = None

    def reset(self, now_ns: int, at: Pose) -> None:
        """At rest at `at`: the next output is `at`."""
        # what is filtered is the way from here, so that a hand at rest is exact to the last bit
        self._origin = list(at)
        self._t, self._in, self._out = now_ns, [0.0] * 7, [0.0] * 7
        self._grid = now_ns // GRID_NS
        self._state = [(0.0, 0.0, 0.0, 0.0)] * 7  # of each channel: two of each notch, transposed direct form II

    def step(self, now_ns: int, pose: Pose) -> Pose:
        """The filtered pose. Time that goes back is taken as no time at all."""
        if self._t is None or now_ns - self._t > LONGEST_GAP_NS:
            self.reset(now_ns, pose)
            return pose
        o = self._origin
        last_q = [o[k] + self._in[k] for k in (3, 4, 5, 6)]
        sign = -1.0 if sum(a * b for a, b in zip(pose[3:], last_q, strict=True)) < 0.0 else 1.0
        new = [p - v for p, v in zip(pose[:3], o, strict=False)] + [
            sign * p - v for p, v in zip(pose[3:], o[3:], strict=True)
        ]
        span = now_ns - self._t
        last = now_ns // GRID_NS
        steps = last - self._grid
        if steps > 0:
            # fractions of the way from the last reading to this one at each grid point in between
            at = [((self._grid + 1 + k) * GRID_NS - self._t) / span for k in range(steps)]
            g, gc, r, h, hd, s = self._c
            for i, (a1, a2, b1, b2) in enumerate(self._state):
                x0, dx, y = self._in[i], new[i] - self._in[i], self._out[i]
                if x0 == dx == y == a1 == a2 == b1 == b2 == 0.0:
                    continue
                for u in at:
                    x = x0 + dx * u
                    z = g * x + a1
                    a1 = gc * (x - z) + a2
                    a2 = g * x - r * z
                    y = h * z + b1
                    b1 = hd * (z - y) + b2
                    b2 = h * z - s * y
                self._out[i], self._state[i] = y, (a1, a2, b1, b2)
            self._grid = last
        if span > 0:
            self._t, self._in = now_ns, new
        out = [v + d for v, d in zip(o, self._out, strict=True)]
        return (out[0], out[1], out[2], *quat_normalize(out[3:]))

    def shift(self, by: tuple[float, float, float]) -> None:
        """The origin of what is filtered moves by `by` (m): carry the memory along. Exact, because the gain at rest
        is one."""
        if self._t is not None:
            for i, d in enumerate(by):
                self._origin[i] += d
