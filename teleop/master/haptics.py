"""Forces on the master from the *local* model: fixtures, keep-outs and predicted contact, at the console, without the
line.

The operator feels a spring and a damper between where the hand wants to be and where the fixtures let it be:

    f = K (allowed - wish) / s - B v,  |f| <= f_max        (master frame, N)

A sampled spring behind a zero-order hold is passive if b > K T / 2 + |B| (Colgate and Schenkel, J Robotic Systems
1997; b physical
damping of the device, T sampling period). K is cut down to `share` of that limit, and no force is rendered on a
device whose damping
is unknown. Nothing here waits for the line, so no delay, jitter or loss on it can make the rendering active.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import Pose, norm, quat_conjugate, quat_rotate
from teleop.master.vectors import add, scaled, sub


@dataclass(frozen=True, slots=True)
class HapticParams:
    """stiffness N/m wished for at the grip; damping N s/m rendered; force N at most; period s of the device's loop;
    ramp s: a force
    grows from zero over this time after an engagement; share of Colgate's limit that is used."""

    stiffness: float = 400.0
    damping: float = 0.0
    force: float = 4.0
    period: float = 1e-3
    ramp: float = 0.2
    share: float = 0.5


def stiffest(device_damping: float, rendered_damping: float, period: float) -> float:
    """Colgate's limit on K (N/m): 2 (b - |B|) / T, not below zero."""
    if period <= 0.0:
        raise ValueError(f"a sampling period of {period} s is no period")
    return max(0.0, 2.0 * (device_damping - abs(rendered_damping)) / period)


class LocalHaptics:
    """`step` per tick of the device; `reset` when the hand engages."""

    def __init__(self, device_damping: float, params: HapticParams | None = None) -> None:
        """device_damping: N s/m, 0 where unknown."""
        self.params = params or HapticParams()
        limit = stiffest(device_damping, self.params.damping, self.params.period)
        self.stiffness = min(self.params.stiffness, self.params.share * limit)
        self._since = 0.0

    def reset(self) -> None:
        """The hand engaged, or let go: forces start at zero."""
        self._since = 0.0

    def step(
        self,
        wish: Pose,
        allowed: Pose,
        velocity: Sequence[float],
        scale: float,
        base_q_master: Sequence[float],
        dt: float,
    ) -> tuple[float, float, float]:
        """Force on the grip, N, master frame. wish, allowed: base_T_target before and after the fixtures; velocity of
        the grip, m/s,
        master frame; scale: metres of the guide per metre of the hand."""
        if self.stiffness == 0.0:
            return (0.0, 0.0, 0.0)
        self._since += max(0.0, dt)
        p = self.params
        back = quat_conjugate(base_q_master)
        lead = scaled(quat_rotate(back, sub(allowed, wish)), 1.0 / scale)
        f = add(scaled(lead, self.stiffness), scaled(velocity, -p.damping if norm(lead) > 0.0 else 0.0))
        n = norm(f)
        grown = 1.0 if p.ramp <= 0.0 else min(1.0, self._since / p.ramp)
        k = grown * (1.0 if n <= p.force else p.force / n)
        return scaled(f, k)
