"""The hand, measured: a real surgeon's recorded hand over measured 5G lines, through the real governor and drive, in
virtual time.

    .venv/bin/python bench/hand.py                          # about 25 min on one core; writes docs/results/hand.md
    .venv/bin/python bench/hand.py --seconds 10 --out -     # a look, to the terminal

Data: ../shared/data (the recording `motion/uva_*.csv.gz` and the round trips `net/cicv5g_*.csv.gz`, see
docs/hand.md); without it only the
scripted hand over the published 5G model is run, and the page says so.
"""

import argparse
import json
import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from datetime import date
from math import sin
from pathlib import Path
from time import perf_counter, thread_time_ns

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from safety.states import Mode, State  # noqa: E402
from sim.hand_faults import ENDS_MOTION, FAULTS, FaultyDevice  # noqa: E402
from sim.hand_trial import HandTrial, Outcome, Scheme  # noqa: E402
from sim.network.channel import Line  # noqa: E402
from sim.network.models import HyperExponential, Normal, read_trace  # noqa: E402
from teleop.geometry import rotvec_to_quat  # noqa: E402
from teleop.master.command_maker import Intention  # noqa: E402
from teleop.master.device import Capabilities, MasterDevice  # noqa: E402
from teleop.master.fixtures import AxisGuide, Cone, ForbiddenCapsule  # noqa: E402
from teleop.master.hand_loop import HandLoop  # noqa: E402
from teleop.master.haptics import stiffest  # noqa: E402
from teleop.master.recorded import RecordedDevice, read_recording  # noqa: E402
from teleop.master.reflection_model import Device, reflect, wall_energy  # noqa: E402
from teleop.master.reflection_model import Line as SmallLine  # noqa: E402
from teleop.master.robot_view import RobotView  # noqa: E402
from teleop.master.sample import MasterSample  # noqa: E402
from teleop.master.scripted import Reach, ScriptedDevice, Tremor  # noqa: E402
from teleop.master.tremor import STRENGTHS, TremorFilter  # noqa: E402
from teleop.master.user_scale import UserScale  # noqa: E402

Array = NDArray[np.float64]
FULL = UserScale(scale=1.0, least=1.0)
SCHEMES = (
    Scheme("raw, scale 1", tremor="off", scale=FULL),
    Scheme("shaped, scale 1", scale=FULL),
    Scheme("shaped, scale 1, soft resume", scale=FULL, soft_resume=True),
    Scheme("shaped, scale 0.3 with ladder, soft resume", scale=UserScale(), soft_resume=True),
)
MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; see `HEAD`."""

    line: str
    scheme: str
    rtt: tuple[float, float, float]
    error: tuple[float, float]
    lost_pause: float
    lost_cap: float
    pauses: int
    holds: int
    stops: int
    path: tuple[float, float]
    tremor_removed: float
    delay_ms: float
    jump: float
    jumps: int
    feel_p99: float
    prediction: tuple[float, float]
    refused: int
    accepted: int


def segments(engaged: Array, least: int = 200) -> list[slice]:
    """Runs of engaged rows of at least `least` rows."""
    edges = np.flatnonzero(np.diff(np.r_[0, engaged.astype(int), 0]))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= least]


def band_power(x: Array, parts: list[slice]) -> float:
    """Power of the velocity in 8-12 Hz, m^2/s^2, averaged over the parts."""
    total, weight = 0.0, 0
    for part in parts:
        v = np.diff(x[part], axis=0) * 100.0
        f, p = welch(v, fs=100.0, nperseg=min(256, len(v)), axis=0)
        band = (f >= 8.0) & (f <= 12.0)
        total += float(p[band].sum() * (f[1] - f[0])) * len(v)
        weight += len(v)
    return total / weight if weight else float("nan")


def delay_between(a: Array, b: Array, parts: list[slice]) -> float:
    """Delay of b after a, ms: least squares of b(t) = a(t) - delay v(t) with v the velocity of a, smoothed over half a second."""
    top, bottom = 0.0, 0.0
    window = np.ones(50) / 50.0
    for part in parts:
        v = np.stack([np.convolve(np.gradient(a[part][:, k], 0.01), window, "same") for k in range(3)], axis=1)
        top += float(((a[part] - b[part]) * v).sum())
        bottom += float((v * v).sum())
    return 1e3 * top / bottom if bottom else float("nan")


def summarise(line: str, scheme: Scheme, out: Outcome) -> Row:
    """The numbers of one run."""
    t = out.trace
    engaged, pedal, moving = np.array(t.engaged), np.array(t.pedal), np.array(t.moving)
    wish, target, arm = np.array(t.wish), np.array(t.target), np.array(t.arm)
    error = np.linalg.norm(wish[engaged] - arm[engaged], axis=1) * 1e3 if engaged.any() else np.array([np.nan])
    parts = segments(engaged)

    def length(x: Array) -> float:
        return sum(float(np.linalg.norm(np.diff(x[p], axis=0), axis=1).sum()) for p in parts) * 1e3

    raw = band_power(wish, parts)
    return Row(
        line=line,
        scheme=scheme.name,
        rtt=tuple(np.percentile(out.rtt_ms, [50, 99, 100])),  # type: ignore[arg-type]
        error=tuple(np.percentile(error, [50, 95])),  # type: ignore[arg-type]
        lost_pause=0.01 * float((pedal & ~moving).sum()),
        lost_cap=0.01 * float(np.sum(t.capped)),
        pauses=out.pauses,
        holds=out.holds,
        stops=out.stops,
        path=(length(wish), length(arm)),
        tremor_removed=1.0 - band_power(target, parts) / raw if raw else float("nan"),
        delay_ms=delay_between(wish, target, parts),
        jump=max(out.jumps, default=0.0),
        jumps=len(out.jumps),
        feel_p99=float(np.percentile(out.feel_us, 99)),
        prediction=tuple(np.percentile(out.prediction_mm, [50, 95])) if out.prediction_mm else (np.nan, np.nan),
        refused=sum(out.rejected.values()),
        accepted=out.accepted,
    )


HEAD = """| line | scheme | RTT p50/p99/max ms | error p50/p95 mm | pause s | cap s | pauses/holds/stops | path hand/arm mm | 8-12 Hz removed | delay ms | worst jump m (n) | prediction p50/p95 mm |
|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def as_line(r: Row) -> str:
    return (
        f"| {r.line} | {r.scheme} | {r.rtt[0]:.0f} / {r.rtt[1]:.0f} / {r.rtt[2]:.0f} | {r.error[0]:.2f} / {r.error[1]:.2f} "
        f"| {r.lost_pause:.1f} | {r.lost_cap:.1f} | {r.pauses} / {r.holds} / {r.stops} | {r.path[0]:.0f} / {r.path[1]:.0f} "
        f"| {100 * r.tremor_removed:.0f} % | {r.delay_ms:.0f} | {r.jump:.0e} ({r.jumps}) "
        f"| {r.prediction[0]:.2f} / {r.prediction[1]:.2f} |"
    )


# --- the processing alone


#: Passes over the same samples: other work on the machine makes single passes long (caches, memory), never short.
PASSES = 5


def costs(rate_hz: int) -> tuple[Array, Array, Array]:
    """Per sample: the least processor time of `PASSES` identical passes (what the work itself costs), and processor time
    and wall clock of all passes together, microseconds."""
    cpu, wall = zip(*(processing(rate_hz) for _ in range(PASSES)), strict=True)
    return np.min(cpu, axis=0), np.concatenate(cpu), np.concatenate(wall)


def processing(rate_hz: int, seconds: float = 10.0) -> tuple[Array, Array]:
    """(processor time, wall clock) in microseconds of each hand step at a rate, with tremor filter, cone, guide and a
    forbidden zone, on this machine now. The same samples every time."""
    loop = HandLoop({"m": Capabilities("m", "pose", (True,) * 6, rate_hz, orientation=True)})
    loop.shaper.set_fixtures([
        Cone((0.5, 0.0, 0.2), (0, 0, -1)), AxisGuide((0.5, 0.0, 0.2), (0, 0, -1), width=0.05),
        ForbiddenCapsule((0.6, 0.0, 0.3), (0.6, 0.1, 0.3), 0.02),
    ])  # fmt: skip
    arm = (0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0)
    took: list[float] = []
    wall: list[float] = []
    step = 1_000_000_000 // rate_hz
    for k in range(1, int(seconds * rate_hz)):
        now = k * step
        t = now * 1e-9
        q = rotvec_to_quat((0.1 * sin(t), 0.0, 0.1 * sin(2 * t)))
        buttons = frozenset({"deadman"}) if t > 0.2 else frozenset[str]()
        sample = MasterSample("m", k, now, now, pose=(0.02 * sin(2 * t), 0.01 * sin(t), 0.0, *q), buttons=buttons)
        begin, cpu = perf_counter(), thread_time_ns()
        loop.feel(now, {"m": sample})
        took.append(1e-3 * (thread_time_ns() - cpu))
        wall.append(1e6 * (perf_counter() - begin))
        if now % (10 * MS) == 0:
            view = RobotView(
                now, b"s" * 16, "a", "arm1", State.ACTIVE, "", "", 1, 1, 0, 0, "", 0.05, 0.5, 0.0, arm, arm, 0.0, 0.0, b"", "moving"
            )  # fmt: skip
            if t < 0.4:
                view = replace(view, drive="standstill")
            c = loop.command(now, view, Intention(mode=Mode.SERVO))
            if c is not None and c.target is not None:
                arm = c.target  # type: ignore[assignment]
    return np.array(took[rate_hz // 2 :]), np.array(wall[rate_hz // 2 :])


def three(x: Array) -> str:
    return f"{np.percentile(x, 50):.0f} / {np.percentile(x, 99):.0f} / {x.max():.0f}"


def synthetic_tremor() -> list[str]:
    """The filter on 50 um rms of physiological tremor, alone."""
    lines = ["| strength | tremor power left | delay of slow motion, stated | measured |", "|---|---|---|---|"]
    t = np.arange(0, 30, 1e-3)
    tremor = Tremor(rms=50e-6, seed=7)
    raw = np.array([tremor.at(x) for x in t])
    for name in STRENGTHS:
        f, g = TremorFilter(name), TremorFilter(name)
        f.reset(0, (*raw[0], 0.0, 0.0, 0.0, 1.0))
        out = np.array([f.step(round(x * 1e9), (*r, 0.0, 0.0, 0.0, 1.0))[:3] for x, r in zip(t, raw, strict=True)])
        left = float((out[1000:] ** 2).mean() / (raw[1000:] ** 2).mean())
        g.reset(0, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        for k in range(1, 2001):
            x = g.step(k * MS, (1e-5 * k, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))[0]
        lines.append(f"| {name} | {100 * left:.1f} % | {1e3 * f.delay:.1f} ms | {(2e-2 - x) / 1e-2 * 1e3:.1f} ms |")
    return lines


def passivity() -> list[str]:
    """Both ports over bad lines; with the controller off the same line gives energy away."""
    lines = [
        "| one-way delay, jitter, loss | observer, lowest J | released J | energy taken away J | without control: released J |",
        "|---|---|---|---|---|",
    ]
    for delay in (0.0, 0.05, 0.2, 0.5, 1.0):
        worst, released, taken, free = 0.0, 0.0, 0.0, 0.0
        for seed in range(5):
            line = SmallLine(delay, 0.05, 0.05)
            on, off = reflect(line, Device(), True, seed=seed), reflect(line, Device(), False, seed=seed, seconds=3.0)
            worst, released = min(worst, on.lowest_observer), max(released, on.released)
            taken, free = max(taken, on.master.taken + on.arm.taken), max(free, off.released)
        lines.append(
            f"| {delay * 1e3:.0f} ms, 0-50 ms, 5 % | {worst:.0e} | {released:.0e} | {taken:.4f} | {free:.2g} |"
        )
    device = Device(mass=0.1, damping=1.0)
    limit = stiffest(device.damping, 0.0, device.period)
    given = ", ".join(f"{k:g} x limit: {wall_energy(device, k * limit):.1e} J" for k in (0.5, 0.9, 1.5, 3.0))
    lines += [
        "",
        f"Local wall on a sampled device (b = 1 N s/m, T = 1 ms, limit {limit:.0f} N/m), energy given: {given}.",
    ]
    return lines


def misbehaviour() -> list[str]:
    """One row per fault of `sim.hand_faults`."""
    rows = []
    for fault, words in FAULTS.items():
        q = (0.0, 0.0, 0.0, 1.0)
        there, back = (0.02, 0.01, -0.01, *q), (0.0, 0.0, 0.0, *q)

        def hand(name: str, start: float, q: tuple[float, ...] = back, there: tuple[float, ...] = there) -> ScriptedDevice:
            reaches = [Reach(start + 2.0 * k, start + 2.0 + 2.0 * k, q if k % 2 else there) for k in range(6)]
            return ScriptedDevice(reaches, q, Tremor(), rate_hz=250.0, name=name)

        trial = HandTrial(hand("first", 0.5), Line(Normal(40.0, 1.0)), Scheme(fault), reaction=1e6)
        trial.run(0.001)
        begin = trial.rig.now + 3_000 * MS
        if fault == "second device":
            trial = HandTrial(hand("first", 0.5), Line(Normal(40.0, 1.0)), Scheme(fault), reaction=1e6, second=hand("second", 3.0))
        else:
            trial.device = FaultyDevice(trial.device, fault, begin)
        trial.run(3.0)
        let_go, at = float("nan"), None
        for step in range(200):
            trial.run(0.01)
            out = trial.loop.last.hand
            assert trial.arm.report is not None
            if at is None and (out is None or not out.pressed):
                let_go, at = 10.0 * (step + 1), trial.arm.report.setpoint
        moved = float("nan") if at is None else 1e3 * float(np.linalg.norm(np.subtract(trial.arm.report.setpoint[:3], at[:3])))
        out = trial.loop.last.hand
        state = "none" if out is None else out.state.value
        assert (at is not None) == (fault in ENDS_MOTION), (fault, state)
        # the same words with other numbers are said once
        said = "; ".join({re.split(r"[0-9(]", e)[0]: e for e in reversed(trial.events)}.values())[:160]
        ended = at is not None
        rows.append(
            f"| {fault}: {words} | {state} | {let_go:.0f} | {moved:.2f} | {max(trial.out.jumps, default=0.0):.0e} | {said} |"
            if ended else f"| {fault}: {words} | {state} | goes on | - | {max(trial.out.jumps, default=0.0):.0e} | {said} |"
        )
    return rows


# --- the runs


def recorded(data: Path) -> MasterDevice:
    return RecordedDevice(read_recording(next((data / "motion").glob("uva_*.csv.gz"))), orientation=False)


def scripted() -> MasterDevice:
    q = (0.0, 0.0, 0.0, 1.0)
    goals = [(0.01, 0.0, 0.0, *q), (0.01, 0.01, 0.0, *q), (0.0, 0.01, -0.005, *q), (0.0, 0.0, 0.0, *q)]
    reaches = [Reach(1.0 + 4.0 * k, 5.0 + 4.0 * k, goals[k % 4]) for k in range(40)]
    return ScriptedDevice(reaches, (0.0, 0.0, 0.0, *q), Tremor(), rate_hz=500.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=80.0, help="virtual seconds per run (the recording has 80)")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", default=str(ROOT / "docs/results/hand.md"), help="file to write, - for the terminal")
    parser.add_argument("--only", default="", help="run only lines whose name contains this")
    parser.add_argument("--schemes", default="0123", help="which of the schemes, by number")
    args = parser.parse_args()
    lines: list[tuple[str, Line, bool]] = [
        ("scripted hand, published model", Line(HyperExponential(7.5, ((0.8, 5.0), (0.2, 50.0))), fifo=False), False)
    ]
    for path in sorted((args.data / "net").glob("cicv5g_*.csv.gz")):
        lines.append(("CICV5G " + path.name[7:].removesuffix(".csv.gz"), Line(read_trace(path)[0], fifo=False), True))
    rows = []
    for name, line, real in lines:
        for number, scheme in enumerate(SCHEMES):
            if args.only not in name or str(number) not in args.schemes:
                continue
            device = recorded(args.data) if real else scripted()
            out = HandTrial(device, line, scheme).run(args.seconds).close()
            rows.append(summarise(name, scheme, out))
            print(as_line(rows[-1]), json.dumps(out.rejected), file=sys.stderr, flush=True)
    took = {rate: costs(rate) for rate in (100, 500, 1000)}
    text = page([as_line(r) for r in rows], [r.jump for r in rows], took, args, real=len(lines) > 1)
    if args.out == "-":
        print(text)
    else:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(text)
    return 0


def page(
    rows: list[str], jumps: list[float], took: dict[int, tuple[Array, Array, Array]], args: argparse.Namespace, real: bool
) -> str:
    """The results page."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    only = f" --only {args.only}" if args.only else ""
    worst = max(jumps, default=0.0)
    parts = [
        "# Results: the hand",
        "",
        f"Made by `python bench/hand.py --seconds {args.seconds:g} --schemes {args.schemes}{only}` on {date.today()}, "
        f"Python {platform.python_version()}, {os.cpu_count()} "
        f"cores shared with other work (load {load}). Everything but the hand and the round trips is simulated: the arm is kinematic, time is "
        "virtual, one path, half of each measured round trip each way, no added loss.",
        "" if real else "\n**The recording and the traces were not there: only the scripted hand was run.**\n",
        "## A recorded surgeon's hand over measured 5G lines, through the real governor and drive",
        "",
        "Hand 1 of the dV-Trainer recording (80 s, packets as they arrived) at the scale named. *error*: distance between where the hand asked the "
        "guide to be and the drive's reference at the same instant, delay of the line included. *pause*: seconds with the pedal down and no "
        "permission to move (line pauses, holds, stops, and the simulated operator's 0.5 s + 0.3 s to let go and press again; 10 s at the "
        "bedside after a STOP). *cap*: seconds in which the hand outran the speed cap and was slipped. *delay*: of shaping alone, by "
        "least squares against the hand's own smoothed velocity. *jump*: largest discontinuity at an engagement, a re-clutch or a change of scale. "
        "*8-12 Hz removed*: of the commanded target against the hand's wish; below zero "
        "for the raw scheme, because only the limiter's corners act there and they add some.",
        "",
        HEAD,
        *rows,
        "",
        f"Worst jump of all transitions: {worst:.1e} m (bound 1e-9).",
        "",
        "## Time of the added processing, per sample",
        "",
        f"| rate | the work itself p50 / p99 / max us | processor time, all {PASSES} passes | wall clock, all {PASSES} passes |",
        "|---|---|---|---|",
        *[f"| {rate} Hz | {three(best)} | {three(cpu)} | {three(wall)} |" for rate, (best, cpu, wall) in took.items()],
        "",
        "Guard, hand, tremor filter, cone, axis guide, forbidden zone, limiter: from a reading to the set-point. Bound: 200 us at p99. *The work "
        f"itself*: of each sample the least processor time of {PASSES} identical passes; processor time of every pass also counts cold caches after "
        "other work ran on the core, the wall clock also that work.",
        "",
        "## Devices that misbehave, through the real governor and drive",
        "",
        "A scripted hand at scale 0.3 over a line of 40 ms round trip; after 3 s of motion the device misbehaves for one second while its button stays "
        "down. *let go after*: until the hand withdrew the press. *moved after*: way of the guide's set-point from then until the button was really "
        "released. *worst jump*: at any transition. The operator does not react in this table.",
        "",
        "| the device | hand afterwards | let go after ms | guide moved after letting go mm | worst jump m | said |",
        "|---|---|---|---|---|---|",
        *misbehaviour(),
        "",
        "## Tremor filter alone, 50 um rms of synthetic tremor in 8-12 Hz",
        "",
        *synthetic_tremor(),
        "",
        "## Passivity of reflected force (off by default) and of local rendering",
        "",
        *passivity(),
        "",
        "The observer's bound is 0; what is printed below it is rounding. With a delay of 0.2 s and more hardly any energy of a wall gets through: the "
        "operator feels little, and never anything that is not there. That is why forces come from the local model.",
        "",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
