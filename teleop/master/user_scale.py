"""The surgeon's own motion scale, reduced with loop age as he chose.

Which reduction is best differs between users (arXiv 2506.21689), so it is a setting of the surgeon and not a
constant. The factor is never negative and never changes by itself in small steps: it moves on a ladder with
hysteresis, because each change is an event (the hand re-anchors, without a jump) that the surgeon sees.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UserScale:
    """scale: 0.05..1 on a fresh line. full_until, least_from: loop age, s, up to which it is used in full and from
    which it is reduced to `least` (a factor 0..1]); linear between. steps: rungs of the ladder."""

    scale: float = 0.3
    full_until: float = 0.10
    least_from: float = 0.40
    least: float = 0.5
    steps: int = 5

    def __post_init__(self) -> None:
        if not 0.05 <= self.scale <= 1.0:
            raise ValueError(f"motion scale {self.scale} is outside 0.05 .. 1")
        if not 0.0 < self.least <= 1.0:
            raise ValueError(f"least factor {self.least} is outside 0 .. 1: it is never zero or negative")
        if not 0.0 <= self.full_until < self.least_from:
            raise ValueError(f"loop ages out of order: full until {self.full_until} s, least from {self.least_from} s")
        if self.steps < 1:
            raise ValueError(f"a ladder needs at least one step, got {self.steps}")

    def rung(self, loop_age: float) -> float:
        """Reduction as a real number of rungs, 0 (none) .. steps (down to `least`)."""
        x = (loop_age - self.full_until) / (self.least_from - self.full_until)
        return self.steps * max(0.0, min(1.0, x))

    def at(self, rung: int) -> float:
        """The scale on a rung, never below 0.05."""
        return max(0.05, self.scale * (1.0 - (1.0 - self.least) * rung / self.steps))


class ScaleLadder:
    """Remembers the rung: down at once, up only when the age has stayed clearly better (0.75 of a rung)."""

    def __init__(self, user: UserScale) -> None:
        self.user, self.rung = user, 0

    def step(self, loop_age: float) -> float:
        """The motion scale to use now."""
        want = self.user.rung(loop_age)
        if want >= self.rung + 1:
            self.rung = int(want)
        elif want < self.rung - 0.75:
            self.rung -= 1
        return self.user.at(self.rung)
