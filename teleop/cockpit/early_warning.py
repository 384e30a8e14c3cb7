"""Early warning: says that a hold is coming, from the trend of the loop age. A pure step; time is an input.

A hold by the line comes when the loop age passes 500 ms. During an outage the age grows by one second a second, so a
threshold on the age itself warns by (500 ms - threshold) ahead and never more. What comes seconds ahead is the company an outage keeps:
on the measured traces, holds come in clusters after excursions of 150 to 450 ms that end by themselves. So the step keeps, in
seconds of age above the quiet level,

    excess   e  = age - base                     base: the lowest age of late, creeping up with BASE_S
    level    x1 = e, smoothed over FAST_S        "it is bad now"
    peak     x2 = max(e, x2 decayed over PEAK_S) "the worst of the last seconds"
    unrest   x3 = e^2, smoothed over UNREST_S, square root      "for how long it has been restless"
    memory   x4 = the same over MEMORY_S
    rise     x5 = max(0, x1 - x1 smoothed over RISE_S)          "it is getting worse" (a queue that fills)

each squeezed by x / (x + half) into 0 .. 1, and warns while bias + sum of weight * squeezed is above `on`, until it has been
below `off` for `linger_s`. Weights: logistic regression by `bench/early_warning.py`, which also scores them on traces that they were
not fitted on, against fixed thresholds on the age (docs/results/fleet.md). A warning is advice to people: it moves nothing.
"""

from dataclasses import dataclass, field

BASE_S = 30.0
FAST_S = 0.3
RISE_S = 2.0
PEAK_S = 3.0
UNREST_S = 3.0
MEMORY_S = 20.0
#: An age above this is what it is, and says no more (s).
AGE_MAX_S = 2.0
#: A gap between steps is not filled in: memory fades over it, at most so much of it (s).
STEP_MAX_S = 1.0
HALF_S = (0.10, 0.15, 0.06, 0.04, 0.05)
FEATURES = ("level", "peak", "unrest", "memory", "rise")


@dataclass(frozen=True, slots=True)
class WarningParams:
    """Weights of the five squeezed features, and the two thresholds on their sum (log odds of a hold within `horizon_s`)."""

    bias: float = -2.44
    weights: tuple[float, float, float, float, float] = (0.83, 1.44, 1.61, 1.27, 0.63)
    on: float = 1.25
    off: float = 0.25
    linger_s: float = 1.0
    horizon_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Watch:
    """State of one line. Ages in s, times in ns. `score` is the newest sum; `since` when the present warning began (0: none)."""

    at: int = -1
    base: float = -1.0
    level: float = 0.0
    level_slow: float = 0.0
    peak: float = 0.0
    unrest2: float = 0.0
    memory2: float = 0.0
    score: float = -100.0
    warning: bool = False
    since: int = 0
    above_at: int = 0


@dataclass(slots=True)
class LineWatch:
    """A `Watch` that remembers itself, for callers at the edge."""

    params: WarningParams = field(default_factory=WarningParams)
    state: Watch = field(default_factory=Watch)

    def see(self, now_ns: int, age_s: float) -> Watch:
        """One sample of the loop age. Returns the new state."""
        self.state = step(self.state, now_ns, age_s, self.params)
        return self.state


def features(w: Watch) -> tuple[float, float, float, float, float]:
    """The five features squeezed into 0 .. 1, in the order of FEATURES."""
    raw = (w.level, w.peak, w.unrest2**0.5, w.memory2**0.5, max(0.0, w.level - w.level_slow))
    return tuple(x / (x + h) for x, h in zip(raw, HALF_S, strict=True))  # type: ignore[return-value]


def step(w: Watch, now_ns: int, age_s: float, p: WarningParams) -> Watch:
    """The state after one sample of the loop age (s) at `now_ns`.

    A sample from the past, or an age that is negative or no number, changes nothing. Any rate from 1 to 100 Hz serves: the
    smoothing goes by time, not by samples.
    """
    if not 0.0 <= age_s < 1e6 or now_ns <= w.at:
        return w
    age = min(age_s, AGE_MAX_S)
    if w.at < 0:
        return judged(Watch(at=now_ns, base=age), p)
    dt = min((now_ns - w.at) / 1e9, STEP_MAX_S)
    base = age if age < w.base else w.base + (age - w.base) * _share(dt, BASE_S)
    excess = age - base
    level = w.level + (excess - w.level) * _share(dt, FAST_S)
    faded = w.peak * (1.0 - _share(dt, PEAK_S))
    square = excess * excess
    return judged(
        Watch(
            at=now_ns,
            base=base,
            level=level,
            level_slow=w.level_slow + (level - w.level_slow) * _share(dt, RISE_S),
            peak=excess if excess > faded else faded,
            unrest2=w.unrest2 + (square - w.unrest2) * _share(dt, UNREST_S),
            memory2=w.memory2 + (square - w.memory2) * _share(dt, MEMORY_S),
            warning=w.warning,
            since=w.since,
            above_at=w.above_at,
        ),
        p,
    )


def _share(dt: float, tau: float) -> float:
    """How much of the new value a first-order filter takes over `dt` (backward Euler: stable for any dt)."""
    return dt / (tau + dt)


def judged(w: Watch, p: WarningParams) -> Watch:
    """The same with the score of its features, and whether it warns by it."""
    score = p.bias
    for weight, x in zip(p.weights, features(w), strict=True):
        score += weight * x
    above_at = w.at if score > p.off else w.above_at
    warning, since = w.warning, w.since
    if not warning and score > p.on:
        warning, since = True, w.at
    elif warning and score <= p.off and w.at - above_at >= int(p.linger_s * 1e9):
        warning, since = False, 0
    return Watch(
        w.at, w.base, w.level, w.level_slow, w.peak, w.unrest2, w.memory2, score, warning, since, above_at
    )
