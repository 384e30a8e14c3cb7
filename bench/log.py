"""Evidence for the session log: edits found, kills survived, replay equality, speeds, recorder load.

    python bench/log.py edits --count 10000
    python bench/log.py kills --count 90
    python bench/log.py stack --count 10
    python bench/log.py replays --count 200
    python bench/log.py speed [--log LOG]
    python bench/log.py recorder --arms 1 10
    python bench/log.py page LOG

Each prints one JSON object. Speeds are of CPU time on one core (the machine may be busy); wall time stands beside them.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from safety.log import NotALog, verify  # noqa: E402
from safety.log.reader import LogReader  # noqa: E402
from safety.log.replay import replay  # noqa: E402
from safety.log.steps import steps  # noqa: E402
from tests.log.logs import PUBLIC, short_log  # noqa: E402


def machine() -> dict[str, Any]:
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
            "load": os.getloadavg()[0]}  # fmt: skip


# Edits


def edit(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One random edit of a kind an accident or an attacker might make; never the same bytes."""
    while True:
        kind = rng.choice(["flip bit", "set byte", "delete run", "insert run", "swap runs", "repeat run", "zero run", "cut"])
        a = rng.randrange(len(data))
        n = rng.randrange(1, 500)
        if kind == "flip bit":
            out = bytearray(data)
            out[a] ^= 1 << rng.randrange(8)
        elif kind == "set byte":
            out = bytearray(data)
            out[a] = rng.randrange(256)
        elif kind == "delete run":
            out = bytearray(data[:a] + data[a + n :])
        elif kind == "insert run":
            out = bytearray(data[:a] + rng.randbytes(n) + data[a:])
        elif kind == "swap runs":
            b = rng.randrange(len(data))
            a, b = min(a, b), max(a, b)
            n = min(n, b - a, len(data) - b)
            out = bytearray(data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :])
        elif kind == "repeat run":
            out = bytearray(data[:a] + data[a : a + n] + data[a:])
        elif kind == "zero run":
            out = bytearray(data)
            out[a : a + n] = bytes(len(out[a : a + n]))
        else:
            out = bytearray(data[:a])
        if bytes(out) != data:
            return kind, bytes(out)


def edits(count: int, seed: int = 1) -> dict[str, Any]:
    rng = random.Random(seed)
    verdicts: dict[str, Counter[str]] = {}
    missed: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        logs = [short_log(Path(folder) / f"{k}.mcap", count=c).read_bytes() for k, c in enumerate((0, 60, 150, 400))]
        changed = Path(folder) / "changed.mcap"
        for _ in range(count):
            kind, data = edit(rng.choice(logs), rng)
            changed.write_bytes(data)
            try:
                report = verify([changed], [PUBLIC])
                verdict = report.end
                if verdict == "clean":
                    missed.append(kind)
                elif report.files[0].first_bad is None:
                    missed.append(f"{kind}: no position")
            except NotALog:
                verdict = "not a log"
            verdicts.setdefault(kind, Counter())[verdict] += 1
    return {
        "edits": count, "found": count - len(missed), "missed": missed[:10], "seconds": time.monotonic() - began,
        "verdicts": {k: dict(v) for k, v in sorted(verdicts.items())},
    }  # fmt: skip


# Kills


def kills(count: int, seed: int = 2) -> dict[str, Any]:
    """The real recorder node, a governor stub at 300 steps/s, kill -9 at a random moment."""
    from tests.log.test_recorder import Site

    rng = random.Random(seed)
    unreadable, losses, tails = 0, [], []
    for done in range(count):
        if done % 10 == 0:
            print(f"{done} of {count} kills", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="lh-kill-", dir="/tmp") as folder:
            site = Site(Path(folder), rate=300)
            try:
                child, path = site.recorder()
                time.sleep(rng.uniform(0.05, 3.0))
                killed = time.monotonic_ns()
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                try:
                    file = verify([path]).files[0]
                    if file.end != "unclean" or file.signed_until_mono is None:
                        raise ValueError(file.end)
                    losses.append((killed - file.signed_until_mono) / 1e6)
                    tails.append(file.records - file.signed)
                    with LogReader(path) as log:
                        sum(1 for _ in log.messages())
                except (NotALog, ValueError) as error:
                    unreadable += 1
                    print(f"unreadable: {error}", file=sys.stderr)
            finally:
                site.close()
    losses.sort()
    return {
        "kills": count, "unreadable": unreadable, "loss_ms_p50": losses[len(losses) // 2], "loss_ms_max": losses[-1],
        "over_1_s": sum(x > 1000 for x in losses), "unsigned_but_readable_records_mean": sum(tails) / max(1, len(tails)),
    }  # fmt: skip


def stack(count: int, seed: int) -> dict[str, Any]:
    """A whole demo (hospital, relay, scripted doctor, console; real processes, PyBullet), kill -9 of every process of it at a
    random moment of the case."""
    from safety.log.questions import changes
    from safety.log.replay import ReplayError
    from sim.demo import prepare as layout
    from sim.demo.processes import processes
    from teleop.launch import shm
    from teleop.launch.runner import Ended, Runner

    rng = random.Random(seed)
    runs = []
    with tempfile.TemporaryDirectory(prefix="lh-stack-", dir="/tmp") as folder:
        # Ports and a ROS domain far from those that a demo beside this one would take.
        layout.free_blocks = lambda count: [rng.randrange(1, 6) * 60 + 45 + rng.randrange(14) for _ in range(count)]
        demo = layout.prepare(Path(folder) / "demo", 1, seed=1, screws_per_site=1, correction=True, profile=None, driver="pybullet")
        site = demo.configs[0].site
        for k in range(count):
            print(f"{k} of {count} stacks", file=sys.stderr, flush=True)
            before = set((demo.out / "logs").glob("*.mcap"))
            shutil.rmtree(demo.run / site)
            (demo.run / site).mkdir(mode=0o700)
            demo.events_file.write_text("")
            runner = Runner(processes(demo))
            runner.start()
            deadline = time.monotonic() + 90
            while len(new := set((demo.out / "logs").glob("*.mcap")) - before) < 2:
                runner.poll(0.05)
                if time.monotonic() > deadline:
                    raise RuntimeError("the stack did not start")
            until = time.monotonic() + rng.uniform(0.2, 60.0)
            while time.monotonic() < until:
                for event in runner.poll(0.05):
                    if isinstance(event, Ended):
                        print(f"{event.name} {event.why}", file=sys.stderr, flush=True)
            pids = [runner.pid(name) for name in runner.alive()]
            killed = time.monotonic_ns()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            while runner.alive():
                ended = [e for e in runner.poll(0.1) if isinstance(e, Ended)]
                assert all(e.signal == "SIGKILL" for e in ended) or not ended
            runner.kill()
            shm.clean()
            report = verify(sorted(new))
            row: dict[str, Any] = {"processes": len(pids), "cross": report.cross, "witnessed": report.witnessed, "logs": {}}
            for file in report.files:
                with LogReader(Path(file.path)) as log:
                    messages = sum(1 for _ in log.messages())
                    try:
                        again = replay(steps(log)) if file.site == site else None
                    except ReplayError:  # killed before the governor's first step was on disk
                        again = None
                    states = [c.new for c in changes(log)] if file.site == site else []
                row["logs"][file.site] = {
                    "end": file.end, "messages": messages, "signed": file.signed, "records": file.records,
                    "loss_ms": (killed - (file.signed_until_mono or 0)) / 1e6,
                    **({"decisions": again.decisions, "equal": again.equal, "state": states[-1] if states else ""} if again else {}),
                }  # fmt: skip
            runs.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
        shutil.rmtree(demo.run, ignore_errors=True)
    files = [f for row in runs for f in row["logs"].values()]
    return {
        "stacks": count, "logs": len(files), "unreadable": sum(f["end"] != "unclean" for f in files),
        "contradictions": sum(len(row["cross"]) for row in runs), "loss_ms_max": max(f["loss_ms"] for f in files),
        "decisions": sum(f.get("decisions", 0) for f in files), "equal": sum(f.get("equal", 0) for f in files), "runs": runs,
    }  # fmt: skip


# Replays


def replays(count: int, seed: int = 3) -> dict[str, Any]:
    """Seeded sessions of the campaign's rig with faults of the line, the hand and the processes, each written and replayed."""
    from safety.inputs import ArmIn, PeerIn
    from tests.log.sessions import Recorded

    decisions = equal = 0
    faults: Counter[str] = Counter()
    different = []
    for k in range(count):
        rng = random.Random(seed * 1_000_003 + k)
        with tempfile.TemporaryDirectory() as folder:
            r = Recorded(Path(folder) / "a.mcap", guarded=True)
            r.rig.active()
            press = 1
            for _ in range(rng.randrange(3, 7)):
                fault = rng.choice(["silence", "garbage", "stale", "jump", "foreign", "stop", "take over", "recorder lost",
                                    "arm lost", "release", "force", "tracking", "old epoch", "replayed frame"])  # fmt: skip
                faults[fault] += 1
                r.move(rng.uniform(0.05, 0.4), press)
                rig = r.rig
                if fault == "silence":
                    rig.pass_time(int(rng.uniform(0.1, 4.0) * 1e9))
                elif fault == "garbage":
                    for _ in range(rng.randrange(1, 20)):
                        rig.send(rng.randbytes(rng.randrange(0, 300)))
                elif fault == "stale":
                    rig.send(press=press, echo_state=max(0, rig.now - rng.randrange(0, 2_000_000_000)))
                elif fault == "jump":
                    rig.send(press=press, target=(0.4 + rng.uniform(-0.2, 0.2), 0.0, 0.3, 1.0, 0.0, 0.0, 0.0))
                elif fault == "foreign":
                    rig.send(press=press, key="T" * 40)
                elif fault == "stop":
                    rig.stop()
                    rig.order("rearm")
                elif fault == "take over":
                    rig.order("take_over")
                    rig.order("return_local")
                elif fault in ("recorder lost", "arm lost"):
                    what = PeerIn(rig.now, "recorder", False) if fault == "recorder lost" else ArmIn(rig.now, False)
                    rig.do(what)
                    rig.pass_time(50_000_000)
                    rig.do(PeerIn(rig.now, "recorder", True) if fault == "recorder lost" else ArmIn(rig.now, True))
                elif fault == "release":
                    rig.send(press=0)
                    press += 1
                elif fault == "force":
                    rig.report(force=100.0)
                elif fault == "tracking":
                    rig.report(tracking_error=0.02)
                elif fault == "old epoch":
                    rig.send(press=press, epoch=0)
                elif fault == "replayed frame":
                    command = rig.make(press=press)
                    for _ in range(3):
                        import msgpack

                        rig.send(msgpack.packb(command.to_wire()))
                if rig.s.state.name == "HOLD":
                    rig.order("ack", key="S" * 40)
                    rig.send(press=0)
                    press += 1
            path = r.close()
            with LogReader(path) as log:
                report = replay(steps(log))
            decisions += report.decisions
            equal += report.equal
            if not report.ok:
                different.append(k)
    return {"sessions": count, "decisions": decisions, "equal": equal, "different": different, "faults": dict(faults)}


# Speed


def speed(log: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        if log is None:
            log = Path(folder) / "s.mcap"
            words = [sys.executable, str(REPO / "bench/synthetic_session.py"), str(log), "--seconds", "60"]
            subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True)
        with LogReader(log) as reader:
            seconds = (reader.end - reader.start) / 1e9
            size = log.stat().st_size
            t0, c0 = time.monotonic(), time.process_time()
            report = verify([log])
            verify_wall, verify_cpu = time.monotonic() - t0, time.process_time() - c0
            t0, c0 = time.monotonic(), time.process_time()
            again = replay(steps(reader))
            replay_wall, replay_cpu = time.monotonic() - t0, time.process_time() - c0
        return {
            "log_seconds": seconds, "megabytes": size / 1e6, "records": report.files[0].records, "verdict": report.end,
            "verify_cpu_s": verify_cpu, "verify_wall_s": verify_wall, "verify_times_real_time": seconds / verify_cpu,
            "decisions": again.decisions, "equal": again.equal, "replay_cpu_s": replay_cpu, "replay_wall_s": replay_wall,
            "replay_times_real_time": seconds / replay_cpu, "us_per_decision": replay_cpu / again.decisions * 1e6,
        }  # fmt: skip


# Recorder load

LOAD = """
import sys, time, rclpy
from longhand_msgs.msg import ArmState, ArmStateBlock, GovernorStatus, LinkStats
from longhand_ros import qos
rclpy.init()
arms = int(sys.argv[1]); parts = []
for k in range(arms):
    node = rclpy.create_node("arm", namespace=f"/s{k}/arm1", enable_rosout=False)
    parts.append((node.create_publisher(ArmState, "arm_state", qos.ARM_STATE_OFFERED),
                  node.create_publisher(ArmStateBlock, "arm_state_block", qos.EVENTS),
                  node.create_publisher(GovernorStatus, "governor/status", qos.STATUS_OFFERED),
                  node.create_publisher(LinkStats, "link/stats", qos.SAMPLES)))
import random
q = [random.random() for _ in range(7)]
state = ArmState(schema_version=1, q=q, dq=q, tau=q)
block = ArmStateBlock(schema_version=1, joints=7, stamp_mono=list(range(50)), q=[random.random() for _ in range(350)],
                      q_ref=[random.random() for _ in range(350)], tip=[random.random() for _ in range(350)],
                      travel=[0.1] * 50, lease_id=[1] * 50)
status = GovernorStatus(schema_version=1, state="ACTIVE", wire=bytes(random.randrange(256) for _ in range(900)))
link = LinkStats(schema_version=1, alive=True)
print("publishing", flush=True)
beat, due = 0, time.monotonic()
while True:
    beat += 1
    for arm, blocks, statuses, links in parts:
        now = time.monotonic_ns()
        state.stamp_mono = status.stamp_mono = link.stamp_mono = now
        arm.publish(state); statuses.publish(status)
        if beat % 10 == 0:
            blocks.publish(block); links.publish(link)
    due += 0.01
    time.sleep(max(0.0, due - time.monotonic()))
"""


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def recorder(arms: int, seconds: float = 20.0) -> dict[str, Any]:
    """CPU and bytes per second of the recorder node(s): per arm 300 governor steps/s, 100 Hz state and status, 500 Hz blocks."""
    env = {**os.environ, "ROS_DOMAIN_ID": "99", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    folder = Path(tempfile.mkdtemp(prefix="lh-load-"))
    children: list[subprocess.Popen[str]] = []
    try:
        recorders = []
        for k in range(arms):
            home = folder / f"s{k}"
            home.mkdir()
            subprocess.run([sys.executable, "-m", "teleop.cli._main", "keys", "make", str(home / "keys"), "--site", f"s{k}"],
                           check=True, capture_output=True)  # fmt: skip
            (home / "site.toml").write_text(
                f'site = "s{k}"\nrun_dir = "{home}"\nlog_dir = "{home}/logs"\nkeys_dir = "{home}/keys"\n'
            )
            stub = subprocess.Popen([sys.executable, str(REPO / "tests/log/governor_stub.py"), str(home / "governor.sock"),
                                     "300", "250"], stdout=subprocess.PIPE, text=True)  # fmt: skip
            children.append(stub)
            assert stub.stdout is not None
            stub.stdout.readline()
        load = subprocess.Popen([sys.executable, "-c", LOAD, str(arms)], env=env, stdout=subprocess.PIPE, text=True)
        children.append(load)
        assert load.stdout is not None
        load.stdout.readline()
        for k in range(arms):
            child = subprocess.Popen(
                [sys.executable, "-m", "longhand_ros.recorder", "--config", str(folder / f"s{k}" / "site.toml")], env=env,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            children.append(child)
            assert child.stdout is not None
            recorders.append((child, Path(child.stdout.readline().split()[-1])))
        time.sleep(8.0)
        before = [(cpu_of(c.pid), p.stat().st_size, time.monotonic()) for c, p in recorders]
        time.sleep(seconds)
        after = [(cpu_of(c.pid), p.stat().st_size, time.monotonic()) for c, p in recorders]
        for child, _ in recorders:
            child.send_signal(signal.SIGTERM)
        for child, _ in recorders:
            child.wait(60)
        spans = [(b[2] - a[2]) for a, b in zip(before, after, strict=True)]
        reports = [verify([p]).files[0] for _, p in recorders]
        rates = [r.messages / max(1e-9, (r.last_mono - r.first_mono) / 1e9) for r in reports]
        return {
            "arms": arms, "seconds": seconds,
            "cores_each": [round((b[0] - a[0]) / s, 3) for a, b, s in zip(before, after, spans, strict=True)],
            "cores_total": round(sum((b[0] - a[0]) / s for a, b, s in zip(before, after, spans, strict=True)), 3),
            "kilobytes_per_s_each": [round((b[1] - a[1]) / s / 1e3, 1) for a, b, s in zip(before, after, spans, strict=True)],
            "messages_per_s_each": [round(x) for x in rates], "dropped": [r.dropped for r in reports],
            "ends": [r.end for r in reports],
        }  # fmt: skip
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


# The page


def page(log: Path) -> dict[str, Any]:
    """Opening a log for the page, and reducing ranges of it (server side)."""
    from teleop.review.data import ReviewLog

    t0, c0 = time.monotonic(), time.process_time()
    opened = ReviewLog(log)
    out: dict[str, Any] = {"open_wall_s": time.monotonic() - t0, "open_cpu_s": time.process_time() - c0,
                           "megabytes": log.stat().st_size / 1e6, "hours": (opened.end - opened.start) / 3.6e12}  # fmt: skip
    names = ["loop_age", "loss.0", "speed", "v_cap", "tracking_error", "margin", "force"]
    rng = random.Random(4)
    for span in (opened.end - opened.start, 600_000_000_000, 60_000_000_000, 20_000_000_000, 2_000_000_000):
        took = []
        for _ in range(10):
            a = rng.randrange(opened.start, max(opened.start + 1, opened.end - span))
            c0 = time.process_time()
            opened.series(names, a, a + span, 1000)
            took.append((time.process_time() - c0) * 1e3)
        out[f"range_{span / 1e9:.0f}_s_cpu_ms_median"] = sorted(took)[5]
    took = []
    for _ in range(20):
        c0 = time.process_time()
        opened.moment(rng.randrange(opened.start, opened.end))
        took.append((time.process_time() - c0) * 1e3)
    out["moment_cpu_ms_median"] = sorted(took)[10]
    c0 = time.process_time()
    out["paths_points"] = len(opened.paths(opened.start, opened.end)["t"])
    out["paths_whole_cpu_s"] = time.process_time() - c0
    out["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    for name, count, seed in (("edits", 10000, 1), ("kills", 90, 2), ("replays", 200, 3), ("stack", 10, 5)):
        several = sub.add_parser(name)
        several.add_argument("--count", type=int, default=count)
        several.add_argument("--seed", type=int, default=seed)
    sub.add_parser("speed").add_argument("--log", type=Path)
    sub.add_parser("recorder").add_argument("--arms", type=int, nargs="+", default=[1, 10])
    sub.add_parser("page").add_argument("log", type=Path)
    args = parser.parse_args()
    if args.what in ("edits", "kills", "replays", "stack"):
        run = {"edits": edits, "kills": kills, "replays": replays, "stack": stack}[args.what]
        result: Any = run(args.count, args.seed)
    elif args.what == "speed":
        result = speed(args.log)
    elif args.what == "recorder":
        result = [recorder(n) for n in args.arms]
    else:
        result = page(args.log)
    print(json.dumps({"bench": args.what, "machine": machine(), "result": result}, indent=1))


if __name__ == "__main__":
    main()
