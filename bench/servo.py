"""Servo period error of the arm's loop, real-time factor of the simulator, cost of a drive tick.

    python bench/servo.py [--seconds 20] [--json FILE]

Three measurements, each with what it was compared to:
  period     the arm's loop (PyBullet room + drive, 500 Hz, lease every 10 ms) paced by `teleop.arm.pacing`: how late each
             tick began, missed periods, share of a core; beside an empty loop paced the same way
  real time  unpaced: seconds of simulated arm per second of CPU (one thread, so that a busy machine does not count), for
             1, 3 and 10 PyBullet arms and for kinematic arms
  tick       `teleop.arm.drive.step` alone, by kind of lease
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from safety.lease import MotionLease
from sim.arm import PyBulletArm
from sim.kinematic_arm import KinematicArm
from teleop.arm.drive import DriveState, accept_path, drive_params, initial, step
from teleop.arm.driver import ArmDriver, EncoderSample
from teleop.arm.kinematics import Kinematics, warm
from teleop.arm.model import load_model
from teleop.arm.pacing import Pacer, calm_memory, real_time
from teleop.planning.approach import path_from_rows, resample

MS = 1_000_000
PERIOD = 2 * MS


def lease(n: int, now: int, **content: Any) -> MotionLease:
    values: dict[str, Any] = {
        "lease_id": n, "epoch": 1, "seq": n, "t_k": now, "expiry": now + 150 * MS, "mode": "servo", "kind": "pose",
        "target": None, "q_target": None, "path_hash": b"", "s_limit": None, "v_cap": 0.02, "w_cap": 0.3,
    }  # fmt: skip
    return MotionLease(**(values | content))


class Moving:
    """One arm that goes to and fro by 40 mm under pose leases."""

    def __init__(self, driver: ArmDriver, kin: Kinematics) -> None:
        self.driver, self.params = driver, drive_params(kin)
        self.state: DriveState = initial(driver.read(0), self.params)
        self.home = tuple(self.state.pose_ref.tolist())
        self.count = 0
        driver.brakes(False)

    def tick(self, now: int) -> None:
        self.count += 1
        new = None
        if self.count % 5 == 1:
            x = 0.04 if (self.count // 1500) % 2 == 0 else -0.04
            new = lease(self.count, now, target=(self.home[0] + x, *self.home[1:]))
        sample = self.driver.read(now)
        self.state, q, dq, _ = step(self.state, now, new, sample, self.params)
        self.driver.write(q, dq)
        if self.state.fault:
            raise RuntimeError(self.state.fault)


def percentiles(values: list[float]) -> dict[str, float]:
    a = np.array(values)
    return {"p50": float(np.percentile(a, 50)), "p99": float(np.percentile(a, 99)), "max": float(a.max())}


def period(seconds: float, work: Callable[[int], None]) -> dict[str, Any]:
    pacer = Pacer()
    late: list[float] = []
    cpu, start = time.process_time(), time.monotonic()
    for _ in range(int(seconds * 1e9 / PERIOD)):
        now = pacer.wait(PERIOD)
        late.append(pacer.late_ns / 1000)
        work(now)
    wall = time.monotonic() - start
    return {
        "late_us": percentiles(late), "missed": pacer.missed, "ticks": len(late),
        "core_share": (time.process_time() - cpu) / wall,
    }  # fmt: skip


def real_time_factor(arms: list[Moving], seconds: float) -> float:
    ticks, now = int(seconds * 500), PERIOD
    start = time.process_time()
    for _ in range(ticks):
        now += PERIOD
        for arm in arms:
            arm.tick(now)
    return seconds / (time.process_time() - start)


def ticks(kin: Kinematics) -> dict[str, dict[str, float]]:
    """Microseconds of one drive step, perfect arm, by kind of lease."""
    params = drive_params(kin)
    out = {}
    rows, s = resample(kin, np.array([kin.model.home, kin.model.home + 0.1]))
    path = path_from_rows("goal", rows, s, np.full(len(s), 0.01))
    home = kin.fk(kin.model.home)
    kinds: dict[str, dict[str, Any]] = {
        "pose": {"target": (home[0] + 0.05, *home[1:])},
        "joints": {"kind": "joints", "q_target": tuple((kin.model.home + 0.1).tolist())},
        "path": {"kind": "path", "path_hash": path.path_hash, "s_limit": 10.0},
        "standstill": {},
    }
    zero = np.zeros(kin.n)
    for name, content in kinds.items():
        state = initial(EncoderSample(0, kin.model.home, zero, zero, 0.0), params)
        state, ok, why = accept_path(state, path, params)
        assert ok, why
        q, dq, taken = kin.model.home, zero, []
        for k in range(1500):
            now = (k + 1) * PERIOD
            new = lease(k + 1, now, **content) if content and k % 5 == 0 else None
            sample = EncoderSample(now, q, dq, zero, 0.0)
            t0 = time.perf_counter_ns()
            state, q, dq, _ = step(state, now, new, sample, params)
            taken.append((time.perf_counter_ns() - t0) / 1000)
        out[name] = percentiles(taken)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each paced measurement")
    parser.add_argument("--json", help="write the numbers here")
    args = parser.parse_args()
    kin = warm(load_model())
    result: dict[str, Any] = {
        "command": "python bench/servo.py " + " ".join(sys.argv[1:]), "machine": platform.platform(),
        "cores": os.cpu_count(), "load": os.getloadavg()[0],
    }  # fmt: skip
    result["tick_us"] = ticks(kin)
    result["real_time_factor"] = {}
    for count in (1, 3, 10):
        arms = [Moving(PyBulletArm(kin.model, seed), kin) for seed in range(count)]
        result["real_time_factor"][f"pybullet x{count}"] = real_time_factor(arms, 4.0 / count)
        for arm in arms:
            arm.driver.close()
        arms = [Moving(KinematicArm(kin.model, seed), kin) for seed in range(count)]
        result["real_time_factor"][f"kinematic x{count}"] = real_time_factor(arms, 4.0 / count)
    arm = Moving(PyBulletArm(kin.model, 1), kin)
    calm_memory()
    result["period"] = {"ordinary, empty": period(args.seconds / 4, lambda now: None)}
    result["period"]["ordinary, arm"] = period(args.seconds, arm.tick)
    result["priority"] = real_time()
    result["period"]["real time, empty"] = period(args.seconds / 4, lambda now: None)
    result["period"]["real time, arm"] = period(args.seconds, arm.tick)
    print(f"machine: {result['machine']}, {result['cores']} cores, load {result['load']:.1f}\n{result['priority']}")
    print("drive tick, us:")
    for name, p in result["tick_us"].items():
        print(f"  {name:12s} p50 {p['p50']:7.1f}  p99 {p['p99']:7.1f}  max {p['max']:8.1f}")
    print("real-time factor (simulated seconds per CPU second, 500 Hz, with drive):")
    for name, factor in result["real_time_factor"].items():
        print(f"  {name:14s} {factor:6.1f}")
    print("servo period, 500 Hz, us late:")
    for name, r in result["period"].items():
        p = r["late_us"]
        print(
            f"  {name:18s} p50 {p['p50']:7.1f}  p99 {p['p99']:7.1f}  max {p['max']:9.1f}  missed {r['missed']}/{r['ticks']}"
            f"  {r['core_share'] * 100:.0f} % of a core"
        )
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
