"""What the guide feels, for reflection at a master: the contact force along the guide, and the work it did, in cumulative sums.

The arm reports the size of a force, not its direction; as in the CRTK face it is taken to push back along the guide's
axis. Readings below `DEAD` are the noise of the estimate and count for nothing. Work is force times way, so neither the
rate of the reports nor a lost one matters: the sums only grow, and whoever hears the newest has heard all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import axis_of, dot

#: N. Three sigma of the demo arm's force noise; what is below is no contact.
DEAD = 1.0


@dataclass(frozen=True, slots=True)
class Contact:
    """force: N, along the guide against its direction, not below 0. given: J, what the arm did to its surroundings;
    returned: J, what the surroundings did to the arm. Both since this process started; neither ever shrinks."""

    force: float = 0.0
    given: float = 0.0
    returned: float = 0.0

    def wire(self) -> list[float]:
        """As it travels in a state frame: N, and whole microjoules rounded down, which are shorter than J and never too much."""
        return [self.force, int(self.given * 1e6), int(self.returned * 1e6)]


class ContactMeter:
    """`step` with every report of the arm."""

    def __init__(self) -> None:
        self._last: tuple[float, ...] | None = None
        self.contact = Contact()

    def step(self, pose: Sequence[float], force: float) -> Contact:
        """pose: measured base_T_tip (x y z qx qy qz qw, m); force: N as reported, its size. Force between two reports is
        their mean."""
        before, felt = self.contact, max(0.0, force - DEAD)
        work = 0.0
        if self._last is not None:
            way = dot(axis_of(pose), [a - b for a, b in zip(pose[:3], self._last, strict=True)])
            work = 0.5 * (before.force + felt) * way
        self._last = tuple(pose[:3])
        self.contact = Contact(felt, before.given + max(0.0, work), before.returned + max(0.0, -work))
        return self.contact
