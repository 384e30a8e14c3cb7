"""The whole campaign: faults x modes x profiles x seeds, over processes or a Dask cluster, resumable, one line per run.

A run that is finished is appended to the results file at once (JSON lines), so that a stopped campaign goes on where it was.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.campaign.faults import ELSEWHERE, FAULTS, MODES
from sim.campaign.run import Outcome, reproduction, run_one

#: Published models and two measured 5G traces.
PROFILES = ("metro-fibre", "5g", "trace:cicv5g_urban_n78_20kmh_18Hz.csv.gz", "beijing-karamay")

#: Faults that are injected into the kinematic arm itself; the physics has no such knobs.
ARM_FAULTS = frozenset({"F30", "F31", "F32"})


@dataclass(frozen=True, slots=True)
class Job:
    """One run."""

    fault: str
    mode: str
    profile: str
    seed: int
    lease: bool = True
    driver: str = "kinematic"

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.fault, self.mode, self.profile, self.seed)


def jobs(
    faults: Iterable[str],
    modes: Iterable[str],
    profiles: Iterable[str],
    first: int,
    seeds: int,
    *,
    lease: bool = True,
    driver: str = "kinematic",
) -> list[Job]:
    """Seeds outermost, so that a campaign that is cut short has covered everything with fewer seeds."""
    wanted = set(modes)
    return [
        Job(f, m, p, seed, lease, driver)
        for seed in range(first, first + seeds)
        for p in profiles
        for f in faults
        for m in FAULTS[f].modes
        if m in wanted and (driver == "kinematic" or f not in ARM_FAULTS)
    ]


def work(job: Job) -> dict[str, Any]:
    """In a worker: run; an error of the harness itself is a failed run with its text, never lost."""
    try:
        return run_one(job.fault, job.mode, job.profile, job.seed, lease_enabled=job.lease, driver=job.driver).to_dict()
    except Exception as error:
        line = reproduction(job.fault, job.mode, job.profile, job.seed, job.lease, job.driver)
        return Outcome(
            job.fault, job.mode, job.profile, job.seed, False, False, 0.0, 0.0, 0.0, 0.0, 0, 0,
            f"{type(error).__name__}: {error}", line,
        ).to_dict()  # fmt: skip


def done_before(file: Path) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    """Finished runs of an earlier start; a half-written last line is dropped."""
    out: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                out[(row["fault"], row["mode"], row["profile"], row["seed"])] = row
            except (ValueError, KeyError):
                continue
    return out


def run_all(
    todo: list[Job], *, workers: int = 1, dask: str = "", budget_s: float = 0.0, keep: Path | None = None,
    tell: Callable[[int, int, dict[str, Any]], None] = lambda *_: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every outcome, those of an earlier start first. `budget_s` 0: until everything is done."""
    before = done_before(keep) if keep is not None else {}
    rows = [before[j.key] for j in todo if j.key in before]
    left = [j for j in todo if j.key not in before]
    end = time.monotonic() + budget_s if budget_s > 0 else float("inf")
    sink = keep.open("a", encoding="utf-8") if keep is not None else None
    try:
        for row in _outcomes(left, workers, dask, end):
            rows.append(row)
            if sink is not None:
                sink.write(json.dumps(row) + "\n")
                sink.flush()
            tell(len(rows), len(todo), row)
    finally:
        if sink is not None:
            sink.close()
    return rows


def _outcomes(left: list[Job], workers: int, dask: str, end: float) -> Iterator[dict[str, Any]]:
    if dask:
        yield from _on_dask(left, dask, end)
    elif workers <= 1:
        for job in left:
            if time.monotonic() >= end:
                return
            yield work(job)
    else:
        yield from _on_processes(left, workers, end)


def together(left: list[Job]) -> list[list[Job]]:
    """Jobs that begin with the same session (profile, mode, seed): one worker makes it once for all of them."""
    groups: dict[tuple[int, str, str], list[Job]] = {}
    for job in left:
        groups.setdefault((job.seed, job.profile, job.mode), []).append(job)
    return list(groups.values())


def work_all(group: list[Job]) -> list[dict[str, Any]]:
    """`work` for each."""
    return [work(job) for job in group]


def _on_processes(left: list[Job], workers: int, end: float) -> Iterator[dict[str, Any]]:
    import multiprocessing

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = iter(together(left))
        running = {pool.submit(work_all, group) for group, _ in zip(waiting, range(2 * workers), strict=False)}
        while running:
            done = next(as_completed(running))
            running.remove(done)
            group = next(waiting, None) if time.monotonic() < end else None
            if group is not None:
                running.add(pool.submit(work_all, group))
            yield from done.result()


def _on_dask(left: list[Job], address: str, end: float) -> Iterator[dict[str, Any]]:
    from distributed import Client  # optional: pip install "longhand[dask]"
    from distributed import as_completed as dask_completed

    with Client(address) as client:
        futures = dask_completed([client.submit(work_all, group, pure=False) for group in together(left)])
        for future in futures:
            yield from future.result()
            if time.monotonic() >= end:
                return


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per fault, mode and profile, worst case first where it fails; n/a lines with their reason."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["fault"], row["mode"], row["profile"]), []).append(row)
    out = []
    for (fault, mode, net), group in sorted(groups.items()):
        bad = [r for r in group if not r["passed"]]
        worst = max(group, key=lambda r: (not r["passed"], max(r["time_ratio"], r["travel_ratio"])))
        out.append({
            "fault": fault, "title": FAULTS[fault].title, "mode": mode, "profile": net, "runs": len(group),
            "struck": sum(r["struck"] for r in group), "passed": len(group) - len(bad),
            "worst_time_ratio": max(r["time_ratio"] for r in group),
            "worst_travel_ratio": max(r["travel_ratio"] for r in group),
            "worst_travel_mm": max(r["travel_mm"] for r in group), "foreign": sum(r["foreign"] for r in group),
            "why": bad[0]["why"] if bad else "", "reproduce": worst["reproduce"],
        })  # fmt: skip
    return out


def not_applicable() -> list[dict[str, str]]:
    """Rows of the matrix that do not run, with the reason or the place of their test."""
    out = [{"fault": f, "title": t, "mode": "all", "why": f"no seeds x modes meaning; tested in {where}"}
           for f, (t, where) in ELSEWHERE.items()]  # fmt: skip
    for fault in FAULTS.values():
        for mode in MODES:
            if mode not in fault.modes:
                out.append({"fault": fault.id, "title": fault.title, "mode": mode, "why": fault.na})
    return sorted(out, key=lambda r: (r["fault"], r["mode"]))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON report: rows, ok and totals. Not ok without runs, with a failed run, or with a fault that never struck."""
    lines = table(rows)
    ok = bool(rows) and all(r["passed"] for r in rows) and all(line["struck"] == line["runs"] for line in lines)
    return {
        "ok": ok, "runs": len(rows), "failed": sum(not r["passed"] for r in rows), "foreign": sum(r["foreign"] for r in rows),
        "attacks": sum(r.get("attacks", 0) for r in rows), "attacks_accepted": sum(r.get("attacks_accepted", 0) for r in rows),
        "worst_time_ratio": max((r["time_ratio"] for r in rows), default=0.0),
        "worst_travel_ratio": max((r["travel_ratio"] for r in rows), default=0.0),
        "rows": lines, "not_applicable": not_applicable(),
    }  # fmt: skip
