"""Governor step, gate rejection and drive tick on this machine: p50, p99, p99.9 and max, in microseconds.

    .venv/bin/python bench/governor.py [--rounds 5000] [--json out.json] [--fifo] [--cpu]

`--fifo` asks for SCHED_FIFO, as the processes themselves do. Times are of one call, garbage collection frozen: wall time,
or with `--cpu` CPU time, which a busy machine falsifies less.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import msgpack

from safety.decode import Refusal, decode_command
from safety.inputs import CommandIn, TickIn, encode_input, encode_outputs
from safety.params import MS
from safety.status import status_of
from sim.campaign.rig import HOME, OTHER, SURGEON, Rig
from sim.campaign.site import standing

#: Wall time, or with --cpu this thread's CPU time (what other programs take away does not count).
CLOCK: list[Callable[[], int]] = [time.perf_counter_ns]


def timed(call: Callable[[], object], rounds: int, before: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Percentiles (us) of `call`; `before` prepares each round untimed."""
    times = []
    for _ in range(rounds):
        before()
        t = CLOCK[0]()
        call()
        times.append(CLOCK[0]() - t)
    times.sort()
    at = lambda q: times[min(rounds - 1, int(rounds * q))] / 1e3  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999), "max": times[-1] / 1e3}


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5000)
    a.add_argument("--json", default="")
    a.add_argument("--fifo", action="store_true")
    a.add_argument("--cpu", action="store_true")
    args = a.parse_args()
    if args.cpu:
        CLOCK[0] = time.thread_time_ns
    if args.fifo:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
        except OSError as error:
            print(f"no SCHED_FIFO here ({error}): ordinary priority", file=sys.stderr)
    rig = Rig(require_rehearsal=False).active()
    rig.scene(corridor={"entry": [0.4, 0.0, 0.25], "axis": [0.0, 0.0, -1.0], "radius": 0.002},
              keepouts=[{"kind": "capsule", "a": [0.5, 0.1 * k, 0.1], "b": [0.5, 0.1 * k, 0.3], "r": 0.03} for k in range(8)])  # fmt: skip
    rig.send(press=2)
    frame: list[CommandIn] = []
    press = rig.s.press + 0

    def next_good() -> None:
        rig.now += 10 * MS
        rig.partners()
        frame[:] = [
            CommandIn(
                rig.now,
                "gateway",
                SURGEON,
                0,
                msgpack.packb(
                    rig.make(press=rig.s.press, target=(HOME[0] + 1e-6 * (rig.seq % 2), *HOME[1:])).to_wire()
                ),
            )
        ]
        rig.log.clear()

    def next_foreign() -> None:
        next_good()
        rig.do(frame[0])
        frame[0] = CommandIn(rig.now, "gateway", OTHER, 0, frame[0].data)

    def record() -> None:
        i, out = rig.log[-1]
        encode_input(i)
        encode_outputs(out)

    hostile = b"\x91" * 470
    nan = msgpack.packb(rig.make(press=press).to_wire() | {"target": [float("nan")] * 7})
    gc.collect()
    gc.freeze()
    gc.disable()
    rows = {
        "governor step, accepted command, 8 keep-outs": timed(lambda: rig.do(frame[0]), args.rounds, next_good),
        "governor step, foreign command refused": timed(lambda: rig.do(frame[0]), args.rounds, next_foreign),
        "governor step, tick": timed(
            lambda: rig.do(TickIn(rig.now, 0, 0)), args.rounds, lambda: (next_good(), rig.do(frame[0]))
        ),
        "step's canonical bytes for the log": timed(record, args.rounds, lambda: (next_good(), rig.do(frame[0]))),
        "status as a map": timed(lambda: status_of(rig.s, rig.params), args.rounds),
        "decode, good": timed(lambda: decode_command(frame[0].data), args.rounds),
        "decode, hostile nesting refused": timed(lambda: _refuse(hostile), args.rounds),
        "decode, NaN refused": timed(lambda: _refuse(nan), args.rounds),
    }
    assert rig.s.lease is not None, rig.s.reason
    site = standing("servo")[0].fork()
    site.power_on(1)
    site.tick(send_report=True)
    tip = tuple(float(x) for x in site.tip())
    count = [0]

    def command() -> None:
        site.now += 4 * MS
        count[0] += 1
        if count[0] % 3 == 0:
            if count[0] % 9 == 0:
                site.do(TickIn(site.now, 0, 0))
            at = (tip[0], tip[1] - min(0.0005 * count[0] / 30, 0.01), *tip[2:])
            site.partners()
            site.send(press=1, target=at, echo_view=None)
        site.outs.clear()

    rows["drive tick under servo leases (kinematic arm)"] = timed(
        lambda: site.tick(send_report=True), min(args.rounds, 3000), command
    )
    load = os.getloadavg()[0]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"
    )
    print(f"{'us':52} {'p50':>8} {'p99':>8} {'p99.9':>9} {'max':>9}")
    for name, r in rows.items():
        print(f"{name:52} {r['p50']:8.1f} {r['p99']:8.1f} {r['p99.9']:9.1f} {r['max']:9.1f}")
    if args.json:
        Path(args.json).write_text(json.dumps({"load": load, "rounds": args.rounds, "rows": rows}, indent=1))


def _refuse(data: bytes) -> None:
    try:
        decode_command(data)
    except Refusal:
        return
    raise AssertionError("was accepted")


if __name__ == "__main__":
    main()
