"""A stored path as the drive keeps it: checked on arrival, then a smooth curve q(s) with a speed ceiling at every
sample.

`s` counts at least the arc length of the worst tool point between samples (the check recomputes it), so a cap on
ds/dt caps the speed of every tool point. Between samples q(s) is a cubic Hermite curve, C1. The ceiling at a sample
is the largest ds/dt at which no joint exceeds its speed or acceleration limit there; the drive looks ahead over its
own stop distance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety.lease import StoredPath, path_digest
from teleop.arm import kernels
from teleop.arm.kinematics import Kinematics

Array = NDArray[np.float64]

#: Longest step between two samples (m of s) that the drive follows: between them it can only trust the interpolation.
MAX_STEP = 0.005
#: How much further than its s the worst tool point may move between samples: rounding of the planner, not a way
#: around.
ARC_TOLERANCE = 0.01
#: Slowest ceiling worth following, m/s; below it the path has a corner.
MIN_CEILING = 0.001
MAX_SAMPLES = 20_000
KINDS = ("goal", "advance", "rehearsal")


class PathRefused(ValueError):
    """Why the drive does not take a path."""


@dataclass(frozen=True, slots=True)
class CompiledPath:
    """s (N,), q (N,n), slopes dq/ds (N,n), ceiling (N,) m/s, turn (N,) rad of rotation per m of s."""

    path_hash: bytes
    kind: str
    s: Array
    q: Array
    slopes: Array
    ceiling: Array
    turn: Array

    @property
    def length(self) -> float:
        return float(self.s[-1])

    def at(self, s: float) -> tuple[Array, Array]:
        """(q, dq/ds) at arc length s."""
        q, slope = np.empty(self.q.shape[1]), np.empty(self.q.shape[1])
        kernels.path_at(self.s, self.q, self.slopes, s, q, slope)
        return q, slope

    def ceiling_ahead(self, s: float, ahead: float, w_cap: float) -> float:
        """Largest ds/dt (m/s) permitted anywhere between s and s + ahead, joint limits and w_cap (rad/s)
        considered."""
        i = max(0, int(np.searchsorted(self.s, s, side="right")) - 1)
        k = min(len(self.s), int(np.searchsorted(self.s, s + ahead, side="left")) + 1)
        low = float(self.ceiling[i:k].min())
        turn = float(self.turn[i:k].max())
        return min(low, w_cap / turn) if turn > 0.0 else low


def compile_path(path: StoredPath, kin: Kinematics, *, limit_margin: float, joint_acceleration: float) -> CompiledPath:
    """Check everything that can be checked without knowing where the arm is, and prepare it. Raises PathRefused."""
    n = kin.n
    if path.kind not in KINDS:
        raise PathRefused(f"kind {path.kind!r} is not one of {', '.join(KINDS)}")
    count = len(path.q)
    if not 2 <= count <= MAX_SAMPLES:
        raise PathRefused(f"{count} samples; need 2 to {MAX_SAMPLES}")
    if len(path.s) != count or len(path.margin) != count:
        raise PathRefused(f"{count} postures but {len(path.s)} lengths and {len(path.margin)} margins")
    if any(len(row) != n for row in path.q):
        raise PathRefused(f"postures must have {n} joints")
    if path_digest(path.kind, path.q, path.s, path.margin) != path.path_hash:
        raise PathRefused("the hash does not match the numbers")
    q, s, margin = np.array(path.q), np.array(path.s), np.array(path.margin)
    if not (np.all(np.isfinite(q)) and np.all(np.isfinite(s)) and not np.any(np.isnan(margin))):
        raise PathRefused("a number is not finite")
    ds = np.diff(s)
    if s[0] != 0.0 or np.any(ds <= 0.0):
        raise PathRefused("s must start at 0 and increase")
    if ds.max() > MAX_STEP:
        raise PathRefused(
            f"samples {ds.max() * 1000:.1f} mm apart at {int(ds.argmax())}; at most {MAX_STEP * 1000:g} mm"
        )
    low, high = kin.model.lower + limit_margin, kin.model.upper - limit_margin
    outside = np.argwhere((q < low) | (q > high))
    if len(outside):
        i, k = outside[0]
        raise PathRefused(f"sample {i}: joint {kin.model.joint_names[k]} at {q[i, k]:.3f} rad, outside its limits")
    lengths, turns = kin.path_steps(q)
    long = np.argwhere(lengths > ds * (1 + ARC_TOLERANCE) + 1e-7)
    if len(long):
        i = int(long[0][0])
        raise PathRefused(f"sample {i}: the tool moves {lengths[i] * 1000:.3f} mm where s counts {ds[i] * 1000:.3f} mm")
    chord = np.diff(q, axis=0) / ds[:, None]
    slopes = np.empty_like(q)
    slopes[0], slopes[-1] = chord[0], chord[-1]
    weight = (ds[1:] / (ds[1:] + ds[:-1]))[:, None]
    slopes[1:-1] = chord[:-1] * weight + chord[1:] * (1 - weight)
    bend = np.zeros(count)
    if count > 2:
        bend[1:-1] = np.max(np.abs(np.diff(chord, axis=0)), axis=1) / np.minimum(ds[1:], ds[:-1])
    fastest = np.max(np.abs(chord) / kin.model.v_max, axis=1)
    ceiling = np.full(count, np.inf)
    ceiling[:-1] = np.minimum(ceiling[:-1], 1.0 / np.maximum(fastest, 1e-9))
    ceiling[1:] = np.minimum(ceiling[1:], 1.0 / np.maximum(fastest, 1e-9))
    ceiling = np.minimum(ceiling, np.sqrt(joint_acceleration / np.maximum(bend, 1e-9)))
    if ceiling.min() < MIN_CEILING:
        i = int(ceiling.argmin())
        raise PathRefused(
            f"sample {i}: a corner or a joint jump that could only be followed at {ceiling[i] * 1e3:.2f} mm/s"
        )
    turn = np.zeros(count)
    rate = turns / ds
    turn[:-1] = rate
    turn[1:] = np.maximum(turn[1:], rate)
    return CompiledPath(path.path_hash, path.kind, s, q, slopes, ceiling, turn)
