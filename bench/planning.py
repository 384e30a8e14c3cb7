"""How fast planning is, and where the time goes. Usage: python bench/planning.py [--only levels|edit|scaling|large] [--json out.json]

levels: both screws of a level (median over L1-L5 and repeats), 1, 3 and 5 levels together. edit: one drag to all its numbers. scaling: one level against
voxels. large: a 512 x 512 x 300 CT, in a process of its own: loading image and labels, planning ten screws, peak memory. Wall and CPU time are both
given, because this machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
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


def levels(repeats: int) -> dict[str, object]:
    """Both screws of each level of L1-L5 at 0.7 mm, with verification."""
    phantom = generate(1)
    image = render(phantom, 0.7, skin=False, with_structures=False)
    labels = interpret(image.labels)
    image.ct.hash()
    labels.volume.hash()

    def plan(names: list[str]) -> object:
        return plan_screws(image.ct, labels, levels=names)

    each = {level: timed(lambda level=level: plan([level]), repeats) for level in phantom.levels}  # type: ignore[misc]
    return {
        "voxels": int(image.ct.data.size),
        "each level": {level: [r["wall_s"], r["cpu_s"]] for level, r in each.items()},
        "median": {key: statistics.median(r[key] for r in each.values()) for key in ("wall_s", "cpu_s", "best_wall_s")},
        "together": {n: timed(lambda n=n: plan(list(phantom.levels[:n])), 2) for n in (1, 3, 5)},  # type: ignore[misc]
    }


def edit() -> dict[str, float]:
    """One drag of a screw to all its live numbers."""
    image = render(generate(1, levels=("L3", "L4")), 0.7, skin=False, with_structures=False)
    labels = interpret(image.labels)
    editor = open_editor(image.ct, labels, "L3")
    screw = plan_screws(image.ct, labels, levels=["L3"])["L3_left"]
    shifts = iter(np.random.default_rng(0).uniform(-2.0, 2.0, (100_000, 3)))
    return timed(lambda: editor.edited(move_both(screw, next(shifts))), 60)


def scaling(repeats: int) -> dict[str, object]:
    """One level against the number of voxels."""
    result: dict[str, object] = {}
    for spacing in (1.4, 1.0, 0.7, 0.5):
        image = render(generate(1, levels=("L3",)), spacing, skin=False, with_structures=False)
        labels = interpret(image.labels)
        image.ct.hash()
        labels.volume.hash()
        name = f"{spacing} mm, {image.ct.data.size / 1e6:.1f} M voxels"
        result[name] = timed(lambda image=image, labels=labels: plan_screws(image.ct, labels), repeats)  # type: ignore[misc]
    return result


def large() -> dict[str, object]:
    """Write a 512 x 512 x 300 CT of L1-L5, then let a fresh process load it and plan ten screws."""
    image = render(generate(1), (0.7, 0.7, 0.9), skin=False, with_structures=False, fine_mm=1.6)
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
            if name == "ct":  # a scan's noise, so that it compresses as a scan does
                full = full + np.random.default_rng(0).integers(-12, 13, shape, dtype=np.int16)
            write_nifti(Volume(full, matrix), Path(scratch) / f"{name}.nii.gz", compresslevel=1)
        done = subprocess.run(
            [sys.executable, __file__, "--files", scratch], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)


def files(folder: Path) -> dict[str, object]:
    """What the fresh process does: warm the kernels on a small phantom, then time loading and planning."""
    small = render(generate(2, levels=("L3",)), 1.2, skin=False, with_structures=False)
    plan_screws(small.ct, interpret(small.labels))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    a, b = time.perf_counter(), time.process_time()
    ct = load_ct(folder / "ct.nii.gz")
    names = load_labels(folder / "labels.nii.gz", ct)
    c, d = time.perf_counter(), time.process_time()
    plan = plan_screws(ct, names)
    return {
        "shape": ct.data.shape,
        "load_wall_s": c - a,
        "load_cpu_s": d - b,
        "plan_wall_s": time.perf_counter() - c,
        "plan_cpu_s": time.process_time() - d,
        "total_cpu_s": time.process_time() - b,
        "screws": len(plan.trajectories),
        "screws_ok": sum(t.status == "OK" for t in plan.trajectories),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "peak_memory_before_gib": before / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("levels", "edit", "scaling", "large"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.files:
        print(json.dumps(files(args.files)))
        return
    results: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        "python": platform.python_version(),
    }
    parts: dict[str, Callable[[], object]] = {
        "levels": lambda: levels(args.repeats),
        "edit": edit,
        "scaling": lambda: scaling(3),
        "large": large,
    }
    for name, work in parts.items():
        if args.only in (None, name):
            results[name] = work()
            print(name, json.dumps(results[name], indent=1), flush=True)
    results["load at the end"] = os.getloadavg()[0]
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
