"""Reflected force: what the guide meets at the patient, at the operator's grip, and never more energy than is accounted for.

    f_grip = s B^-1 f_guide              s: metres of the guide per metre of the hand, so that work is work on both sides

This is the console's end of the line. The site sends the force and the energy that the surroundings gave back to the arm, as
a cumulative sum (`teleop.site.contact`); this end counts what the rendered force really did to the grip: the force is held
between two readings, so force times way is exact, not an estimate. In one engagement

    out <= min(returned, into) + budget                  the observer: min(returned, into) + budget - out >= 0

out: what the grip got; into: what it gave; returned: as heard, so it can only be late, which is the safe side. The second
term keeps the grip passive whatever a site says, and whatever its arm does: the arm obeys the governor, not energies, and
has no port of its own (a controller that changed its motion would be a second author of motion). The controller looks
ahead instead of repaying afterwards: a force is cut so that even a grip that gains speed along it by `surprise`, read late,
cannot take out what is not there. A force that pushes against the motion is free. The price: with a late line, or in a
long contact, hardly anything is felt. The page says what is left; forces of the fixtures do not depend on it
(`teleop.master.haptics`).

Forces change by at most `slew`, also to zero after a stop, a clutch or a silent line: nothing is dropped on a hand. Cuts are
sudden, and so is the end of a device that says nothing any more: its motion is not known, so its energy is not either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import Vec3, dot, norm, quat_conjugate, quat_rotate
from teleop.master.passivity import EnergyLedger
from teleop.master.vectors import add, scaled, sub

NOTHING: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ReflectionParams:
    """budget: J, an allowance in each engagement. force: N at most. slew: N/s. surprise: m/s^2, how much faster along the
    force a grip may become than it was. late: in periods, when the next reading is there at the latest. silent: s without a
    reading after which nothing is rendered."""

    budget: float = 0.010
    force: float = 4.0
    slew: float = 40.0
    surprise: float = 15.0
    late: float = 2.0
    silent: float = 0.1

    def __post_init__(self) -> None:
        if self.budget < 0.0 or min(self.force, self.slew, self.surprise, self.late, self.silent) <= 0.0:
            raise ValueError(f"reflected force: a budget below 0 or a limit that is not above 0 in {self}")


class ReflectedForce:
    """One device at one arm. `step` with every look at the device; `ledger` is of the present engagement."""

    def __init__(self, params: ReflectionParams | None = None) -> None:
        self.params = params or ReflectionParams()
        self.ledger = EnergyLedger(self.params.budget)
        #: J of the engagements before this one: out, into, taken.
        self.before = NOTHING
        self.engagements = 0
        self.force: Vec3 = NOTHING
        self._engaged = False
        self._start = 0.0
        self._at: tuple[int, Vec3] | None = None

    @property
    def quiet(self) -> bool:
        """Nothing is rendered."""
        return self.force == NOTHING

    def step(
        self, now_ns: int, reading: tuple[int, Sequence[float]] | None, wish: Sequence[float] | None, returned: float
    ) -> Vec3:
        """The force to render from now until the next step, N, master frame.

        reading: when the newest reading was made (ns) and where the grip was (m, master frame); None: the device is not
        there. wish: force to reflect, N, master frame; None: nothing may be felt now. returned: J, the site's cumulative
        sum as last heard."""
        if reading is None or now_ns - reading[0] > self.params.silent * 1e9:
            self._end(wish is None)
            return self.force
        if wish is None:
            self._engaged = False
        elif not self._engaged:
            self._engage(returned)
        stamp, at = reading[0], (reading[1][0], reading[1][1], reading[1][2])
        if self._at is None:
            self._at = stamp, at
            return self.force
        if stamp == self._at[0]:
            return self.force
        period = (stamp - self._at[0]) * 1e-9
        moved = sub(at, self._at[1])
        self._at = stamp, at
        if period <= 0.0:
            return self.force
        self._book(dot(self.force, moved))
        self.ledger.other = max(self.ledger.other, min(returned - self._start, self.ledger.into))
        self.force = self._permitted(self._toward(wish or NOTHING, period), scaled(moved, 1.0 / period), period)
        return self.force

    def _engage(self, returned: float) -> None:
        out, into, taken = self.before
        old = self.ledger
        self.before = out + old.out, into + old.into, taken + old.taken
        self.ledger, self._start = EnergyLedger(self.params.budget), returned
        self.engagements += 1
        self._engaged = True

    def _end(self, over: bool) -> None:
        self.force, self._at = NOTHING, None
        self._engaged = self._engaged and not over

    def _book(self, work: float) -> None:
        """work: J that the held force did on the grip since the last reading."""
        self.ledger.out += max(0.0, work)
        self.ledger.into += max(0.0, -work)

    def _toward(self, wish: Sequence[float], period: float) -> Vec3:
        size = norm(wish)
        goal = scaled(wish, min(1.0, self.params.force / size)) if size > 0.0 else NOTHING
        lead = sub(goal, self.force)
        far, step = norm(lead), self.params.slew * period
        return goal if far <= step else add(self.force, scaled(lead, step / far))

    def _permitted(self, force: Vec3, velocity: Vec3, period: float) -> Vec3:
        """`force`, cut to what the observer can pay for until the next reading."""
        size = norm(force)
        if size == 0.0:
            return force
        along = dot(force, velocity) / size
        horizon = self.params.late * period
        reach = max(0.0, along + self.params.surprise * horizon) * horizon
        left = max(0.0, self.ledger.observer)
        if size * reach <= left:
            return force
        cut = scaled(force, left / (size * reach))
        self.ledger.taken += max(0.0, dot(sub(force, cut), velocity)) * period
        return cut


def grip_force(guide: Sequence[float], scale: float, base_q_master: Sequence[float]) -> Vec3:
    """Force at the grip (N, master frame) of a force at the guide (N, base frame)."""
    return scaled(quat_rotate(quat_conjugate(base_q_master), guide), scale)
