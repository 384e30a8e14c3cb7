"""How much video a line bears: `step(state, measured, params) -> state`, pure, with time among the inputs.

A ladder of rungs (size, pictures per second, bit rate). Down: at once, by what is seen of video's own loss or queue, and by
two rungs when *control* suffers (its datagrams are lost or queue up, or the loop age grows), to "off" if that goes on: a
surgeon can work slower without pictures, but not without commands. Up: one rung after a calm time, which doubles each
time that a rung proved too much (so the ladder does not swing). Python floats and comparisons only.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rung:
    """scale: picture size against the full one. fps, kbps: per stream at most."""

    name: str
    scale: float
    fps: float
    kbps: int


LADDER = (
    Rung("off", 0.0, 0.0, 0),
    Rung("thumbnail", 0.25, 2.0, 60),
    Rung("low", 0.5, 8.0, 180),
    Rung("medium", 0.75, 12.0, 400),
    Rung("full", 1.0, 15.0, 800),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen in the last interval. Shares 0..1, ms; None: nothing measured.

    loss, rtt_ms, queue_ms: of the video (RTCP). control_loss, control_queue_ms: of commands and states (the link's own).
    loop_age_ms and its limit `loop_age_limit_ms`: of the holder's commands.
    """

    loss: float | None = None
    queue_ms: float | None = None
    control_loss: float | None = None
    control_queue_ms: float | None = None
    loop_age_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When video is too much. calm_s: before the first step up; it doubles to at most calm_max_s."""

    loss: float = 0.03
    queue_ms: float = 120.0
    control_loss: float = 0.02
    control_queue_ms: float = 25.0
    loop_age_ms: float = 180.0
    calm_s: float = 3.0
    calm_max_s: float = 60.0
    settle_s: float = 0.8  # after a step down, before the next one


@dataclass(frozen=True, slots=True)
class State:
    """rung: index into LADDER. since: when it last changed, ns. calm_since: since when nothing was wrong."""

    rung: int = 2
    since: int = 0
    calm_since: int = 0
    calm_s: float = 3.0
    why: str = "start"
    climbed: bool = False  # the present rung was reached by climbing


def step(s: State, m: Measured, now: int, p: Limits | None = None, ceiling: int = len(LADDER) - 1) -> State:
    """The rung from now on. `now` in ns, never backward. ceiling: what the site's bandwidth budget allows."""
    p = p or Limits()
    if s.rung > ceiling:
        return replace(s, rung=ceiling, since=now, calm_since=now, why="budget", climbed=False)
    control = _over(m.control_loss, p.control_loss) or _over(m.control_queue_ms, p.control_queue_ms) or _over(m.loop_age_ms, p.loop_age_ms)
    video = _over(m.loss, p.loss) or _over(m.queue_ms, p.queue_ms)
    if control or video:
        why = "control comes first" if control else "video loss" if _over(m.loss, p.loss) else "video queue"
        if now - s.since < p.settle_s * 1e9 and s.why != "start" and not s.climbed:
            return replace(s, calm_since=now)
        # Video's own trouble leaves a thumbnail standing; control's may put the picture out.
        down = max(0 if control else 1, s.rung - (2 if control else 1))
        down = min(down, s.rung)
        calm_s = min(p.calm_max_s, s.calm_s * 2) if s.climbed else s.calm_s
        if down == s.rung:
            return replace(s, calm_since=now, why=why)
        return replace(s, rung=down, since=now, calm_since=now, calm_s=calm_s, why=why, climbed=False)
    if s.rung < ceiling and now - s.calm_since >= s.calm_s * 1e9:
        return replace(s, rung=s.rung + 1, since=now, calm_since=now, why="calm", climbed=True)
    if s.climbed and now - s.since >= 4 * s.calm_s * 1e9:
        return replace(s, calm_s=max(p.calm_s, s.calm_s / 2), since=now)  # the rung has proved itself
    return s


def _over(value: float | None, limit: float) -> bool:
    return value is not None and value > limit
