"""The loop age that a line with measured round trips would have given: ages on a regular grid, from a trace."""

from collections.abc import Sequence


def loop_age(
    times_ns: Sequence[int], rtts_ns: Sequence[int], period_ns: int = 20_000_000, extra_ns: int = 20_000_000
) -> tuple[list[float], list[float]]:
    """(times s, ages s) every `period_ns`: now - send time of the newest probe answered by now, + `extra_ns` for both ends' own time.

    times_ns ascending from 0. First arrival wins, newest wins, as on the link. A trace that probes at 18 Hz shows a saw tooth of 55 ms,
    which commands at 100 Hz would not have.
    """
    answers = sorted((t + r, t) for t, r in zip(times_ns, rtts_ns, strict=True))
    out_t, out_a = [], []
    newest, i = -1, 0
    now = times_ns[0]
    while now <= times_ns[-1]:
        while i < len(answers) and answers[i][0] <= now:
            newest = max(newest, answers[i][1])
            i += 1
        if newest >= 0:
            out_t.append(now / 1e9)
            out_a.append((now - newest + extra_ns) / 1e9)
        now += period_ns
    return out_t, out_a
