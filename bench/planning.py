"""How fast planning is, and where the time goes. Usage: python bench/planning.py [--large] [--json out.json]

Prints the machine, then: both screws of a level (median over levels and repeats), ten screws L1-L5, edit to metrics, scaling with voxels and
with levels. Wall and CPU time are both given, because this machine may be shared. --large adds a 512 x 512 x 300 CT including loading, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sim.phantom import generate, render
from teleop.planning.edit import move_both, open_editor
from teleop.planning.images import Volume, load_ct, write_nifti
from teleop.planning.levels import interpret, load_labels
from teleop.planning.screws import plan_screws


def timed(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median wall and CPU seconds of repeats after one warm-up."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        a, b = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - b)
    return {
        "wall_s": statistics.median(wall),
        "cpu_s": statistics.median(cpu),
        "best_wall_s": min(wall),
        "repeats": repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        "python": platform.python_version(),
    }
    phantom = generate(1)
    image = render(phantom, 0.7, skin=False, with_structures=False)
    labels = interpret(image.labels)

    def plan(levels: list[str]) -> object:
        return plan_screws(image.ct, labels, levels=levels)

    image.ct.hash()
    labels.volume.hash()
    per_level = [timed(lambda level=level: plan([level]), args.repeats) for level in phantom.levels]  # type: ignore[misc]
    results["both screws of a level, 0.7 mm (with verification)"] = {
        key: statistics.median(r[key] for r in per_level) for key in ("wall_s", "cpu_s", "best_wall_s")
    }
    results["levels"] = {n: timed(lambda n=n: plan(list(phantom.levels[:n])), 2) for n in (1, 3, 5)}  # type: ignore[misc]
    editor = open_editor(image.ct, labels, "L3")
    screw = plan_screws(image.ct, labels, levels=["L3"])["L3_left"]
    shifts = iter(np.random.default_rng(0).uniform(-2.0, 2.0, (100_000, 3)))
    results["edit to metrics"] = timed(lambda: editor.edited(move_both(screw, next(shifts))), 40)
    scaling = {}
    for spacing in (1.4, 1.0, 0.7, 0.5):
        one = generate(1, levels=("L3",))
        fine = render(one, spacing, skin=False, with_structures=False)
        names = interpret(fine.labels)
        fine.ct.hash()
        names.volume.hash()
        scaling[f"{spacing} mm, {fine.ct.data.size / 1e6:.1f} M voxels"] = timed(
            lambda fine=fine, names=names: plan_screws(fine.ct, names),
            3,  # type: ignore[misc]
        )
    results["one level against voxels"] = scaling
    if args.large:
        results["512 x 512 x 300, load + ten screws"] = large(phantom)
    results["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    results["load at the end"] = os.getloadavg()[0]
    text = json.dumps(results, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text)


def large(phantom: object) -> dict[str, float]:
    """Write a 512 x 512 x 300 CT, then time loading it and its labels and planning ten screws."""
    image = render(phantom, (0.7, 0.7, 0.9), skin=False, with_structures=False, fine_mm=1.6)  # type: ignore[arg-type]
    shape = (512, 512, 300)
    low = [(n - m) // 2 for n, m in zip(shape, image.ct.data.shape, strict=True)]
    box = tuple(
        slice(max(a, 0), max(a, 0) + min(m, n)) for a, m, n in zip(low, image.ct.data.shape, shape, strict=True)
    )
    cut = tuple(slice(max(-a, 0), max(-a, 0) + (s.stop - s.start)) for a, s in zip(low, box, strict=True))
    matrix = image.ct.lps_T_ijk.copy()
    matrix[:3, 3] -= matrix[:3, :3] @ np.array(low)
    with tempfile.TemporaryDirectory() as scratch:
        for name, source, fill in (("ct", image.ct.data, -1000), ("labels", image.labels.data, 0)):
            full = np.full(shape, fill, dtype=source.dtype)
            full[box] = source[cut]
            write_nifti(Volume(full, matrix), Path(scratch) / f"{name}.nii.gz", compresslevel=1)
        a, b = time.perf_counter(), time.process_time()
        ct = load_ct(Path(scratch) / "ct.nii.gz")
        names = load_labels(Path(scratch) / "labels.nii.gz", ct)
        c, d = time.perf_counter(), time.process_time()
        plan = plan_screws(ct, names)
        ok = sum(t.status == "OK" for t in plan.trajectories)
        return {
            "load_wall_s": c - a,
            "load_cpu_s": d - b,
            "plan_wall_s": time.perf_counter() - c,
            "plan_cpu_s": time.process_time() - d,
            "screws_ok": ok,
        }


if __name__ == "__main__":
    main()
