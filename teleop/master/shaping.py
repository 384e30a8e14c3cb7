"""Shaping: what happens to the hand's target before it becomes a command, and who changed it by how much.

    wish ──► tremor filter ──► fixtures ──► speed, jerk limits ──► forbidden zones ──► target

Every stage reports what it changed (`Change`: metres, radians), so that the console can show why the guide is not
where the hand is. Three rules keep the target free of motion that nobody asked for:
- at an anchor everything starts at rest at the anchor. A fixture that the anchor violates is entered with that
  violation as a *residual*, which shrinks only as the hand moves (by `bleed` of the hand's way): nothing is pulled in
  by itself;
- the target trails the hand by at most `leash`. What the hand moves beyond (faster than the cap allows) is *slipped*:
  the anchor moves with the hand, and the arm stops within the leash when the hand stops;
- the target goes round forbidden zones in small steps from outside (the proxy of Zilles and Salisbury, IROS 1995): a
  wish on the other side does not pull it through.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from teleop.geometry import (
    Pose,
    norm,
    quat_angle,
    quat_conjugate,
    quat_multiply,
    quat_normalize,
    quat_to_rotvec,
    rotvec_to_quat,
)
from teleop.master.admittance import AxisAdmittance
from teleop.master.fixtures import Fixture
from teleop.master.limiter import Limits, PoseLimiter
from teleop.master.tremor import TremorFilter
from teleop.master.vectors import add, scaled, sub

#: A target this close to a zone's surface is outside of it (rounding), m.
ON_SURFACE = 1e-10


@dataclass(frozen=True, slots=True)
class Change:
    """`what` moved the target by `moved` metres and turned it by `turned` radians in this step."""

    what: str
    moved: float
    turned: float


@dataclass(frozen=True, slots=True)
class Shaped:
    """target: base_T_target. wish: where the fixtures allow the hand to be (for ghosts and forces). slip: metres by
    which the hand outran the leash in this step (base frame); the caller moves the anchor by it. changes: who did
    what."""

    target: Pose
    wish: Pose
    slip: tuple[float, float, float]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class ShapingParams:
    """tremor: "off" or a strength of `tremor.STRENGTHS`. leash m. bleed: share of the hand's way. longest_step s."""

    tremor: str = "normal"
    limits: Limits | None = None
    leash: float = 0.002
    bleed: float = 0.3
    longest_step: float = 0.1


class Shaper:
    """One per hand. `reset` at every anchor, `step` per reading."""

    def __init__(self, params: ShapingParams | None = None) -> None:
        self._params = params or ShapingParams()
        if self._params.leash <= 0.0:
            raise ValueError(f"leash {self._params.leash} m must be positive")
        self._filter = None if self._params.tremor == "off" else TremorFilter(self._params.tremor)
        self._limiter = PoseLimiter(self._params.limits)
        self._fixtures: tuple[Fixture, ...] = ()
        self._admittance: AxisAdmittance | None = None
        self._t: int | None = None

    @property
    def delay(self) -> float:
        """Delay of slow motion that the tremor filter adds, s (the limiter's comes on top, see `limiter`)."""
        return 0.0 if self._filter is None else self._filter.delay

    @property
    def fixtures(self) -> tuple[tuple[Fixture, ...], AxisAdmittance | None]:
        """What `set_fixtures` was given."""
        return self._fixtures, self._admittance

    def reset(self, now_ns: int, at: Pose) -> None:
        """Start at rest at `at`, with whatever violation of the fixtures it has as the residual."""
        self._t, self._filtered = now_ns, at
        if self._filter is not None:
            self._filter.reset(now_ns, at)
        self._limiter.reset(at)
        self._admitted = at
        self._take_residual(at)

    def set_fixtures(self, fixtures: Sequence[Fixture], admittance: AxisAdmittance | None = None) -> None:
        """Use these from now on; in mid-motion the target stays where it is (see residual)."""
        if tuple(fixtures) == self._fixtures and admittance == self._admittance:
            return
        self._fixtures, self._admittance = tuple(fixtures), admittance
        if self._t is not None:
            self._admitted = self._limiter.pose
            self._take_residual(self._limiter.pose)

    def step(
        self, now_ns: int, wish: Pose, speed: float, turn: float, wrench: tuple[float, ...] | None = None
    ) -> Shaped:
        """The next target. wish: the hand's; speed m/s, turn rad/s: caps of the moment; wrench of the operator, base
        frame, or None."""
        if self._t is None:
            self.reset(now_ns, wish)
        assert self._t is not None
        dt = min(self._params.longest_step, max(0.0, (now_ns - self._t) * 1e-9))
        self._t = max(self._t, now_ns)
        changes: list[Change] = []
        smooth = wish if self._filter is None else self._filter.step(now_ns, wish)
        self._say(changes, "tremor filter", wish, smooth)
        self._shrink_residual(norm(sub(smooth, self._filtered)), quat_angle(smooth[3:], self._filtered[3:]))
        self._filtered = smooth
        allowed = self.constrained(smooth, changes)
        before = self._limiter.pose
        if self._admittance is not None:
            a = self._admittance
            after = a.step(self._admitted, a.push(smooth, self._admitted, wrench), dt)
            if norm(sub(after, before)) <= self._params.leash:
                self._admitted = after  # else the arm is blocked or capped: the push waits for it
            self._say(changes, "axis admittance", allowed, self._admitted)
            allowed = self._admitted
        target = self._limiter.step(dt, allowed, speed, turn)
        for f in self._fixtures:
            # only a zone that the target was outside of: a residual inside is walked out of by the hand
            if f.zone and norm(sub(f.project(before), before)) < ON_SURFACE:
                out = f.project(target)
                if out != target:
                    self._say(changes, f.name, target, out)
                    self._limiter.push(out)
                    target = self._limiter.pose
        self._say(changes, "speed and jerk limit", allowed, target)
        slip = (0.0, 0.0, 0.0)
        gap = sub(target, allowed)
        if self._admittance is None and norm(gap) > self._params.leash:
            slip = scaled(gap, 1.0 - self._params.leash / norm(gap))
            self._say(changes, "leash", (*slip, *target[3:]), (0.0, 0.0, 0.0, *target[3:]))
            self._slip_filter(slip)
        return Shaped(target, allowed, slip, tuple(changes))

    def constrained(self, wish: Pose, changes: list[Change] | None = None) -> Pose:
        """Where the fixtures let `wish` be, with the residual of the anchor. What is felt of fixtures goes by the hand as it
        is, not as the tremor filter has it: a filter's delay would be felt in free space, and give energy at a wall."""
        allowed = wish
        for f in self._fixtures:
            after = f.project(allowed)
            if changes is not None:
                self._say(changes, f.name, allowed, after)
            allowed = after
        return self._with_residual(allowed)

    def _slip_filter(self, slip: tuple[float, float, float]) -> None:
        """The hand's target is about to be moved by `slip`: move what the filter remembers along, so that it sees no
        step."""
        self._filtered = (*add(self._filtered, slip), *self._filtered[3:])
        if self._filter is not None:
            self._filter.shift(slip)

    @staticmethod
    def _say(changes: list[Change], what: str, before: Pose, after: Pose) -> None:
        if before is after or before == after:
            return
        moved, turned = norm(sub(after, before)), quat_angle(before[3:], after[3:])
        if moved > 1e-9 or turned > 1e-7:
            changes.append(Change(what, moved, turned))

    # --- the residual
    # ------------------------------------------------------------------------------------------------

    def _take_residual(self, at: Pose) -> None:
        allowed = self._filtered
        for f in self._fixtures:
            allowed = f.project(allowed)
        self._r = sub(at, allowed)
        self._rq = quat_to_rotvec(quat_multiply(at[3:], quat_conjugate(allowed[3:])))

    def _shrink_residual(self, moved: float, turned: float) -> None:
        # radians and metres bleed by either: a hand that moves is a hand that is awake (0.1 m of way counts as 1 rad)
        for name, way in (("_r", moved + 0.1 * turned), ("_rq", turned + 10.0 * moved)):
            r = getattr(self, name)
            n = norm(r)
            if n > 0.0:
                setattr(self, name, scaled(r, max(0.0, 1.0 - self._params.bleed * way / n)))

    def _with_residual(self, allowed: Pose) -> Pose:
        if norm(self._r) == 0.0 and norm(self._rq) == 0.0:
            return allowed
        q = quat_normalize(quat_multiply(rotvec_to_quat(self._rq), allowed[3:]))
        return (*add(allowed, self._r), *q)
