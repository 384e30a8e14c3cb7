"""Time-domain passivity over a line that delays, jitters and loses: optional reflected force, off by default.

Two ports, one at each end (Ryu, Artigas and Preusche, Mechatronics 2010). Each counts the energy that flows into the
line at its end and
the energy that flows out, and tells the other end its *cumulative* input with every packet: a lost packet loses
nothing, the next
one says it all, and an old one is smaller and ignored. What comes out here may not exceed what is known to have gone
in there:

    out(t) <= in_other(newest received) + budget            the observer: in_other + budget - out >= 0, always

Where a step would break it, the controller takes the excess away within that step: at a port that renders force (the
master) by
a damper, f' = f - v excess / (v^2 dt); at a port that renders velocity (the arm) by an admittance, v' = v - f excess
/ (f^2 dt).
`budget` (J) is an allowance at the start, logged with the rest; zero is strictly passive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import dot
from teleop.master.vectors import add, scaled


@dataclass(slots=True)
class EnergyLedger:
    """Joules. into: from this end into the line; out: from the line into this end; other: the other end's `into` as
    last heard;
    taken: what the controller dissipated; budget: the allowance."""

    budget: float = 0.0
    into: float = 0.0
    out: float = 0.0
    other: float = 0.0
    taken: float = 0.0

    @property
    def observer(self) -> float:
        """What may still come out. Never below zero but for rounding."""
        return self.other + self.budget - self.out


class PassivityPort:
    """One end of the line."""

    def __init__(self, budget: float = 0.0) -> None:
        if budget < 0.0:
            raise ValueError(f"an energy budget of {budget} J is negative")
        self.ledger = EnergyLedger(budget)

    def hear(self, cumulative: float) -> None:
        """The other end's cumulative input, from any packet in any order."""
        if cumulative > self.ledger.other:
            self.ledger.other = cumulative

    def force(self, wish: Sequence[float], velocity: Sequence[float], dt: float) -> tuple[float, float, float]:
        """The force (N, on the device) that may be rendered at a device moving with `velocity` (m/s)."""
        excess = self._count(dot(wish, velocity), dt)
        if excess <= 0.0:
            return wish[0], wish[1], wish[2]
        return add(wish, scaled(velocity, -excess / (dot(velocity, velocity) * dt)))

    def velocity(self, wish: Sequence[float], force: Sequence[float], dt: float) -> tuple[float, float, float]:
        """The velocity (m/s) that may be commanded to an arm that pushes its surroundings with `force` (N)."""
        excess = self._count(dot(wish, force), dt)
        if excess <= 0.0:
            return wish[0], wish[1], wish[2]
        return add(wish, scaled(force, -excess / (dot(force, force) * dt)))

    def _count(self, power_out: float, dt: float) -> float:
        """Book a step; returns the energy (J) that must be taken away from it."""
        e, book = power_out * dt, self.ledger
        if e <= 0.0:
            book.into -= e
            return 0.0
        excess = min(e, max(0.0, book.out + e - book.other - book.budget))
        book.out += e - excess
        book.taken += excess
        return excess
