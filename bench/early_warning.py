"""Early warning of holds: fitted on some measured traces, scored on the others, against fixed thresholds on the loop age.

flock /tmp/heavy.lock nice -n 10 .venv/bin/python bench/early_warning.py        # half a minute; needs ../shared/data/net
.venv/bin/python bench/early_warning.py --json out.json
"""

import argparse
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sim.network.loop_age import loop_age
from sim.network.models import read_trace
from teleop.cockpit.early_warning import FEATURES, WarningParams, Watch, features, judged, step
from teleop.cockpit.warning_score import Score, begins, holding, score

TRACES = Path(__file__).resolve().parents[2] / "shared" / "data" / "net"
THRESHOLDS_MS = (100, 150, 200, 250, 300, 400)
HORIZON_S = 5.0
RIDGE = 0.01
#: When the threshold is chosen, a hold counts as warned of only so long ahead (s).
LEAST_S = 1.0
#: A pause between two probes longer than this is taken as a gap of the measurement and glued, not as an outage.
GAP_NS = 500_000_000
PERIOD_NS = 40_000_000
NOBODY = Score(0, 0, 0, 0, (), 0.0)


class Line:
    """One time line of loop ages, its holds, and the features along it."""

    def __init__(self, t: list[float], a: list[float]) -> None:
        self.t, self.a, self.held = t, a, holding(t, a)
        self.watches: list[Watch] = []
        w = Watch()
        for ti, ai in zip(t, a, strict=True):
            w = step(w, int(ti * 1e9), ai, WarningParams())
            self.watches.append(w)
        self.x = np.array([features(w) for w in self.watches])
        times = np.array(t)
        self.soon = np.zeros(len(t), bool)
        for i in begins(self.held):
            self.soon |= (times < t[i]) & (times >= t[i] - HORIZON_S)

    @property
    def holds(self) -> int:
        return len(begins(self.held))

    def warned(self, p: WarningParams) -> list[bool]:
        """As `step` decides it with these parameters: the features do not depend on them, so only the end is done again."""
        out, before = [], Watch()
        for w in self.watches:
            before = judged(replace(w, warning=before.warning, since=before.since, above_at=before.above_at), p)
            out.append(before.warning)
        return out

    def early(self, p: WarningParams, least_s: float = 0.05) -> Score:
        return score(self.t, self.held, self.warned(p), HORIZON_S, least_s)

    def fixed(self, threshold_s: float) -> Score:
        """Warn while the age is above the threshold, and for as long after it as the step lingers."""
        last, out = -1e9, []
        for ti, ai in zip(self.t, self.a, strict=True):
            last = ti if ai > threshold_s else last
            out.append(ti - last < WarningParams().linger_s)
        return score(self.t, self.held, out, HORIZON_S)


def measured(folder: Path, glue: bool) -> dict[str, Line]:
    """name -> every cellular trace. `glue`: pauses of the measurement are not outages."""
    out = {}
    for f in sorted(folder.glob("cicv5g*.csv*")):
        trace, _ = read_trace(f)
        times, t = [], 0
        for i, at in enumerate(trace.times_ns):
            gap = at - trace.times_ns[i - 1] if i else 0
            t += 55_000_000 if glue and gap > GAP_NS else gap
            times.append(t)
        out[f.name.removeprefix("cicv5g_").removesuffix(".csv.gz")] = Line(*loop_age(times, trace.rtts_ns, PERIOD_NS))
    return out


def filling_queue(seed: int, n: int = 40) -> Line:
    """Simulated, not measured: a queue that fills over 3 to 20 s (bufferbloat), half of them to 0.6-1.5 s, half only to 0.2-0.35 s."""
    rng = random.Random(seed)
    t, a, now = [], [], 0.0
    for k in range(n):
        top = rng.uniform(0.6, 1.5) if k % 2 else rng.uniform(0.2, 0.35)
        up, stay, rest = rng.uniform(3.0, 20.0), rng.uniform(0.5, 4.0), rng.uniform(20.0, 60.0)
        for i in range(int((up + stay + rest) / 0.04)):
            s = i * 0.04
            queue = top * s / up if s < up else top if s < up + stay else max(0.0, top - (s - up - stay) * 2.0)
            t.append(now)
            a.append(0.05 + queue + abs(rng.gauss(0.0, 0.008)))
            now += 0.04
    return Line(t, a)


def fit(chosen: list[Line]) -> WarningParams:
    """Logistic regression, both classes weighted alike, ridge, no negative weights (more trouble never means less danger)."""
    xs, ys = [], []
    for line in chosen:
        use = ~np.array(line.held)
        xs.append(line.x[use][::3])
        ys.append(line.soon[use][::3])
    x, y = np.vstack(xs), np.concatenate(ys).astype(float)
    weight = np.where(y > 0, 0.5 / max(y.mean(), 1e-9), 0.5 / max(1 - y.mean(), 1e-9))

    def loss(theta: np.ndarray) -> float:
        z = x @ theta[1:] + theta[0]
        return float(np.mean(weight * (np.logaddexp(0, z) - y * z)) + RIDGE * theta[1:] @ theta[1:])

    best = minimize(loss, np.zeros(6), bounds=[(None, None)] + [(0, None)] * 5, method="L-BFGS-B")
    w = [round(float(v), 2) for v in best.x]
    p = replace(WarningParams(), bias=w[0], weights=(w[1], w[2], w[3], w[4], w[5]), horizon_s=HORIZON_S)
    # The threshold with the best F1 of precision and recall on the traces of the fit, where only seconds count as "ahead".
    chosen_p, best_f = p, -1.0
    for on in np.arange(-1.0, 3.01, 0.25):
        q = replace(p, on=float(on), off=float(on) - 1.0)
        s = sum((line.early(q, LEAST_S) for line in chosen), NOBODY)
        f = f1(s)
        if f > best_f:
            chosen_p, best_f = q, f
    return chosen_p


def f1(s: Score) -> float:
    precision, recall = s.precision or 0.0, s.recall or 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def row(name: str, s: Score) -> dict[str, Any]:
    return {
        "warning": name, "holds": s.holds, "warned": s.warned, "alarms": s.alarms, "right": s.right, "precision": s.precision,
        "precision_in_time": s.precision_in_time, "recall": s.recall, "lead_median_s": s.lead_median_s,
        "lead_min_s": min(s.leads, default=None), "false_per_hour": s.false_per_hour, "warned_s": s.warned_s, "f1": f1(s),
    }  # fmt: skip


HEAD = f"{'':22} {'warned':>7} {'right':>9} {'prec':>6} {'in time':>7} {'recall':>6} {'lead50':>7} {'leadmin':>7} {'false/h':>8} {'in warning':>10}"


def show(r: dict[str, Any]) -> str:
    n = lambda v, d=2: "-" if v is None else f"{v:.{d}f}"  # noqa: E731
    return (f"{r['warning']:22} {r['warned']:3}/{r['holds']:<3} {r['right']:4}/{r['alarms']:<4} {n(r['precision']):>6} {n(r['precision_in_time']):>7} "
            f"{n(r['recall']):>6} {n(r['lead_median_s']):>7} {n(r['lead_min_s']):>7} {r['false_per_hour']:8.1f} {r['warned_s']:8.1f} s")  # fmt: skip


def table(title: str, early: Score, of: list[Line]) -> list[dict[str, Any]]:
    rows = [row("early warning", early)]
    rows += [row(f"age > {ms} ms", sum((line.fixed(ms / 1e3) for line in of), NOBODY)) for ms in THRESHOLDS_MS]
    print(f"\n{title}\n{HEAD}")
    for r in rows:
        print(show(r))
    return rows


def held_out(every: dict[str, Line]) -> tuple[dict[str, Any], WarningParams]:
    """Each trace scored by a fit on the others, threshold included."""
    out: dict[str, Any] = {"traces": {}}
    total = NOBODY
    for name, line in every.items():
        others = [v for k, v in every.items() if k != name]
        p = fit(others)
        s = line.early(p)
        total += s
        weights = ", ".join(f"{f} {w}" for f, w in zip(FEATURES, p.weights, strict=True))
        rows = table(f"{name}: {line.t[-1]:.0f} s, {line.holds} holds; fitted on the others: bias {p.bias}, {weights}, on {p.on}", s, [line])
        out["traces"][name] = {"seconds": line.t[-1], "holds": line.holds, "on": p.on, "bias": p.bias, "weights": p.weights, "rows": rows}
    out["all"] = table("all four, each by a fit on the other three", total, list(every.values()))
    return out, fit(list(every.values()))


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--traces", type=Path, default=TRACES)
    a.add_argument("--json", default="")
    args = a.parse_args()
    out: dict[str, Any] = {}
    every = measured(args.traces, glue=True)
    if not every:
        raise SystemExit(f"no traces cicv5g*.csv* in {args.traces}")
    print("== round trips as measured; pauses of the measurement glued")
    out["measured"], shipped = held_out(every)
    print("\n== the same, pauses of more than half a second taken as outages")
    out["pauses_as_outages"], _ = held_out(measured(args.traces, glue=False))
    print("\n== simulated queues that fill slowly; fitted on the four traces, never on these")
    queue = filling_queue(1)
    out["filling_queue"] = table(f"{queue.t[-1]:.0f} s, {queue.holds} holds", queue.early(shipped), [queue])
    print(f"\nfitted on all four traces: bias {shipped.bias}, weights {shipped.weights}, on {shipped.on}, off {shipped.off}")
    out["shipped"] = {"bias": shipped.bias, "weights": shipped.weights, "on": shipped.on, "off": shipped.off}
    if args.json:
        Path(args.json).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
