"""How good is a warning? Holds and alarms as moments on one time line: precision, recall, lead time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

#: The age that makes a hold (s), and what must have been below for how long before the next one counts as another.
HOLD_AGE_S = 0.5
RECOVERED_AGE_S = 0.4
RECOVERED_FOR_S = 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """alarms, holds: how many. right: alarms followed by a hold within the horizon. warned: holds that were warned of at
    least `least_s` ahead. leads: seconds from the beginning of the alarm to the hold (at most the horizon), one per warned hold.
    warned_s, right_s: seconds spent in warning, and those of them with a hold within the horizon: an alarm that never ends is
    right in the end, so alarms alone would flatter it. hours: outside holds.
    """

    alarms: int
    right: int
    holds: int
    warned: int
    leads: tuple[float, ...]
    hours: float
    warned_s: float = 0.0
    right_s: float = 0.0

    @property
    def precision(self) -> float | None:
        return self.right / self.alarms if self.alarms else None

    @property
    def precision_in_time(self) -> float | None:
        return self.right_s / self.warned_s if self.warned_s else None

    @property
    def recall(self) -> float | None:
        return self.warned / self.holds if self.holds else None

    @property
    def lead_median_s(self) -> float | None:
        return sorted(self.leads)[len(self.leads) // 2] if self.leads else None

    @property
    def false_per_hour(self) -> float:
        return (self.alarms - self.right) / self.hours if self.hours else 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.alarms + other.alarms, self.right + other.right, self.holds + other.holds, self.warned + other.warned,
            self.leads + other.leads, self.hours + other.hours, self.warned_s + other.warned_s, self.right_s + other.right_s,
        )  # fmt: skip


def holding(times_s: Sequence[float], ages_s: Sequence[float]) -> list[bool]:
    """Is the line in a hold at each sample? From the age passing HOLD_AGE_S until it has been good for RECOVERED_FOR_S."""
    out, on, bad_at = [], False, -1e9
    for t, a in zip(times_s, ages_s, strict=True):
        if a > RECOVERED_AGE_S:
            bad_at = t
        if a > HOLD_AGE_S:
            on = True
        elif on and t - bad_at >= RECOVERED_FOR_S:
            on = False
        out.append(on)
    return out


def begins(on: Sequence[bool]) -> list[int]:
    """Indices at which a row of trues begins."""
    return [i for i, x in enumerate(on) if x and (i == 0 or not on[i - 1])]


def score(
    times_s: Sequence[float], held: Sequence[bool], warned: Sequence[bool], horizon_s: float, least_s: float = 0.05
) -> Score:
    """Judge a warning against the holds. While a hold lasts nobody needs a warning: alarms that begin in one are not counted,
    and one that outlasts it counts from the hold's end as a new one."""
    alarm = [w and not h for w, h in zip(warned, held, strict=True)]
    onsets = [i for i in begins(held) if i > 0]
    starts = begins(alarm)
    end_of = {}
    for i in starts:
        j = i
        while j + 1 < len(alarm) and alarm[j + 1]:
            j += 1
        end_of[i] = j
    right = 0
    for i in starts:
        # Right if a hold comes while it stands, or soon after it ended.
        reach = times_s[end_of[i]] + horizon_s
        right += any(times_s[i] <= times_s[k] <= reach for k in onsets if k > i)
    leads = []
    for k in onsets:
        before = [i for i in starts if i < k and times_s[k] - times_s[end_of[i]] <= horizon_s]
        if before:
            lead = times_s[k] - times_s[before[0]]
            if lead >= least_s:
                leads.append(min(lead, horizon_s))
    warned_s = right_s = 0.0
    k = len(onsets)
    for i in range(len(alarm) - 1, 0, -1):
        while k > 0 and onsets[k - 1] > i:
            k -= 1
        if alarm[i - 1]:
            dt = times_s[i] - times_s[i - 1]
            warned_s += dt
            right_s += dt * (k < len(onsets) and times_s[onsets[k]] - times_s[i - 1] <= horizon_s)
    free = sum(1 for h in held if not h) / max(1, len(held))
    hours = (times_s[-1] - times_s[0]) / 3600.0 * free if len(times_s) > 1 else 0.0
    return Score(len(starts), right, len(onsets), len(leads), tuple(leads), hours, warned_s, right_s)
