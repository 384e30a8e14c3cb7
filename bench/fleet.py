"""What one more waiting hospital costs, and what it does to the command path of the one in hand.

    .venv/bin/python bench/fleet.py                                  # 1, 3, 10, 30 sites; some eight minutes
    .venv/bin/python bench/fleet.py --sites 1 10 --seconds 20 --json out.json

For each number of sites: that many simulated hospitals but one wait in wards (real arm, governor, gateway, desk and recorder
of each, real DDS, an emulated WAN in front of each, kinematic arms, parked), and one console process keeps a session with
every one of them. Beside them `bench/whole_path.py` moves one more arm with processes of its own and measures its command path.
CPU (share of one core) and memory (proportional share) are those of the waiting hospitals with their lines, per hospital.
"""

import argparse
import json
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ros_ws/src/longhand_ros"), str(ROOT / "bench")]

from command_path import machine  # noqa: E402

from sim.demo.prepare import Demo, lay_out  # noqa: E402
from sim.demo.processes import processes  # noqa: E402
from teleop.case.site_list import sessions_of  # noqa: E402
from teleop.launch.runner import Ended, Runner  # noqa: E402

#: A session with every hospital must be there after so long (s).
START_S = 240.0
#: The console pumps sessions that wait this often (s).
PUMP_S = 0.01


def supervise(list_file: Path) -> int:
    """The console's side, in a process of its own: prints a line when every session is up, then keeps them."""
    sessions, _ = sessions_of(json.loads(list_file.read_text()))
    told = False
    while True:
        now = time.monotonic_ns()
        for session in sessions:
            session.pump(now)
        if not told and all(s.up and s.state == "READY" for s in sessions):
            told = True
            print("up", flush=True)
        time.sleep(PUMP_S)


class Fleet:
    """The waiting hospitals and the console that watches them."""

    def __init__(self, count: int, folder: Path) -> None:
        self.demo: Demo = lay_out(folder, count, seed=1, driver="kinematic", own=0, patients=False)
        self.runner = Runner([p for p in processes(self.demo) if p.name != "console"])
        self.runner.start()
        self.console = subprocess.Popen(
            [sys.executable, __file__, "--supervise", str(self.demo.list_file)], stdout=subprocess.PIPE, text=True
        )

    def wait_up(self) -> float:
        """Seconds until the console had a READY status of every hospital. Raises RuntimeError when one fails."""
        begin = time.monotonic()
        assert self.console.stdout is not None
        while time.monotonic() - begin < START_S:
            for event in self.runner.poll(0.05):
                if isinstance(event, Ended):
                    raise RuntimeError(f"{event.name} {event.why}")
            if select.select([self.console.stdout], [], [], 0)[0]:
                if self.console.stdout.readline().strip() != "up":
                    raise RuntimeError("the console ended")
                return time.monotonic() - begin
        raise RuntimeError(f"not every hospital was READY after {START_S:g} s")

    def cpu_and_memory(self) -> tuple[float, float, float]:
        """CPU seconds so far of hospitals and lines, their memory (MB, proportional share), CPU seconds of the console."""
        cpu = memory = 0.0
        for name in self.runner.alive():
            process = psutil.Process(self.runner.pid(name))
            cpu += sum(process.cpu_times()[:2])
            memory += process.memory_full_info().pss / 1e6
        return cpu, memory, sum(psutil.Process(self.console.pid).cpu_times()[:2])

    def close(self) -> None:
        self.console.kill()
        self.console.wait()
        self.runner.stop()
        end = time.monotonic() + 20.0
        while not self.runner.finished and time.monotonic() < end:
            self.runner.poll(0.1)
        self.runner.kill()
        shutil.rmtree(self.demo.run, ignore_errors=True)


def command_path(seconds: float, out: Path) -> dict[str, Any]:
    """One run of whole_path.py."""
    subprocess.run(
        [sys.executable, str(ROOT / "bench" / "whole_path.py"), "--seconds", str(seconds), "--json", str(out)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    row: dict[str, Any] = json.loads(out.read_text())["row"]
    return row


def measure(sites: int, seconds: float, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    waiting = sites - 1
    row: dict[str, Any] = {"sites": sites, "waiting": waiting}
    fleet = Fleet(waiting, folder / "fleet") if waiting else None
    try:
        if fleet is not None:
            row["up_s"] = round(fleet.wait_up(), 1)
            before, at = fleet.cpu_and_memory(), time.monotonic()
        busy = psutil.cpu_times()
        row["path"] = command_path(seconds, folder / "path.json")
        now = psutil.cpu_times()
        row["machine_cpu_percent"] = 100.0 * (1.0 - (now.idle - busy.idle) / (sum(now[:8]) - sum(busy[:8])))
        if fleet is not None:
            after, elapsed = fleet.cpu_and_memory(), time.monotonic() - at
            row["cpu_percent_per_site"] = 100.0 * (after[0] - before[0]) / elapsed / waiting
            row["memory_mb_per_site"] = after[1] / waiting
            row["console_cpu_percent"] = 100.0 * (after[2] - before[2]) / elapsed
    finally:
        if fleet is not None:
            fleet.close()
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 3, 10, 30])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--supervise", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.supervise:
        return supervise(args.supervise)
    rows = []
    for sites in args.sites:
        print(f"{sites} sites ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(sites, args.seconds, Path(folder)))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(f"machine: {machine()}")
    print("| sites | command path p50 us | p99 us | CPU of the machine % | CPU per waiting site % | memory per waiting site MB | console CPU % |")
    print("|---|---|---|---|---|---|---|")
    for r in rows:
        path = r["path"]
        print(f"| {r['sites']} | {path['p50_us']:.0f} | {path['p99_us']:.0f} | {r['machine_cpu_percent']:.0f} | {r.get('cpu_percent_per_site', 0):.1f} "
              f"| {r.get('memory_mb_per_site', 0):.0f} | {r.get('console_cpu_percent', 0):.0f} |")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
