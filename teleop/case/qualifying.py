"""Is the line good enough for a case? Judged from the site's own measurements, before anybody gets control."""

from typing import Any

#: A path qualifies up to these. Loss: DEGRADED begins at 2 %; round trip: the hand is blocked above 300 ms of loop age.
MAX_LOSS = 0.05
MAX_RTT_MS = 300.0
#: Fewer samples than this are no measurement (10 Hz, two paths).
MIN_SAMPLES = 20


def judge_line(samples: list[dict[str, Any]], *, demo: bool) -> dict[str, Any]:
    """`samples`: maps with path, alive, rtt_ms_p50, rtt_ms_p99, loss. Passed when at least one path qualifies throughout.

    Returns {passed, why, demo, paths: [{path, rtt_ms_p50, rtt_ms_p99, loss}], samples}.
    """
    paths: list[dict[str, Any]] = []
    for number in sorted({int(s["path"]) for s in samples}):
        own = [s for s in samples if int(s["path"]) == number]
        alive = [s for s in own if s["alive"]]
        last = alive[-1] if alive else None
        paths.append({
            "path": number,
            "alive_share": len(alive) / len(own),
            "rtt_ms_p50": float(last["rtt_ms_p50"]) if last else None,
            "rtt_ms_p99": float(last["rtt_ms_p99"]) if last else None,
            "loss": max((float(s["loss"]) for s in alive), default=1.0),
        })
    good = [p for p in paths if p["alive_share"] == 1.0 and p["loss"] <= MAX_LOSS and float(p["rtt_ms_p99"] or 1e9) <= MAX_RTT_MS]
    why = ""
    if len(samples) < MIN_SAMPLES:
        why = f"only {len(samples)} measurements of the line (at least {MIN_SAMPLES}); is the gateway running?"
    elif not good:
        why = f"no path stayed under {MAX_LOSS:.0%} loss and {MAX_RTT_MS:g} ms: {paths}"
    return {"passed": not why, "why": why, "demo": demo, "paths": paths, "samples": len(samples)}
