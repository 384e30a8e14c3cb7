"""The directory under load: N simulated sites, each with its own connection and key, joining, failing, re-joining; W watching consoles.

flock /tmp/heavy.lock nice -n 10 .venv/bin/python bench/directory.py --sites 1000 --watchers 4      # three minutes; needs nats-server
"""

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sim.directory.server import Server
from sim.directory.swarm import SimSite, Watcher, make_bucket, until
from teleop.link.keys import Grant, Roles, new_secret, principal_of


def quantiles(values: list[float]) -> dict[str, float]:
    v = sorted(values)
    return {"p50": v[len(v) // 2], "p99": v[min(len(v) - 1, int(len(v) * 0.99))], "max": v[-1], "n": len(v)} if v else {"n": 0}


class Meter:
    """CPU seconds of the server and of this process, bytes through the loopback, over a stretch of time."""

    def __init__(self, pid: int) -> None:
        self.server, self.own = psutil.Process(pid), psutil.Process()
        self.began = time.monotonic()
        self.a = (sum(self.server.cpu_times()[:2]), sum(self.own.cpu_times()[:2]), psutil.net_io_counters(pernic=True)["lo"].bytes_sent)

    def read(self) -> dict[str, float]:
        s = time.monotonic() - self.began
        server, own = sum(self.server.cpu_times()[:2]) - self.a[0], sum(self.own.cpu_times()[:2]) - self.a[1]
        sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - self.a[2]
        return {"seconds": s, "server_cpu": server / s, "clients_cpu": own / s, "loopback_kb_s": sent / s / 1e3,
                "server_rss_mb": self.server.memory_info().rss / 1e6}  # fmt: skip


async def run(args: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="longhand-directory-"))
    names = [f"s{i:04d}" for i in range(args.sites)]
    secrets = {n: new_secret(n) for n in [*names, "keeper", *(f"w{i}" for i in range(args.watchers))]}
    people = [n for n in secrets if n not in set(names)]
    principals = {n: principal_of(k, "site" if n in set(names) else "person") for n, k in secrets.items()}
    roles = Roles(principals, tuple(Grant(p, "observer", names[0]) for p in people))
    server = Server(folder, roles, "keeper")
    server.start()
    assert server.process is not None
    out: dict[str, Any] = {"sites": args.sites, "watchers": args.watchers, "period_s": args.period, "ttl_s": args.ttl, "cores": os.cpu_count()}
    rng = random.Random(1)
    await make_bucket(server.url, secrets["keeper"], args.ttl)
    watchers = [Watcher(secrets[f"w{i}"], server.url, roles) for i in range(args.watchers)]
    for w in watchers:
        await w.start()
    sites = [SimSite(secrets[n], server.url, args.period, args.ttl) for n in names]

    def all_see(n: int) -> bool:
        return all(len(w.view.here()) == n for w in watchers)

    async def phase(name: str, work: Any) -> None:
        meter = Meter(server.process.pid)  # type: ignore[union-attr]
        out[name] = await work() | meter.read()
        print(f"{name}: {json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in out[name].items()})}", flush=True)

    def puts() -> dict[str, Any]:
        found = {"put_ms": quantiles([x for s in sites for x in s.put_ms]), "failed_puts": sum(s.failed for s in sites)}
        for s in sites:
            s.put_ms, s.failed = [], 0
        return found

    async def join() -> dict[str, Any]:
        began = time.monotonic()
        await asyncio.gather(*(s.start(rng.random() * args.join_s) for s in sites))
        connected = time.monotonic() - began
        await until(lambda: all_see(args.sites), 120)
        return {"all_connected_s": connected, "all_seen_s": time.monotonic() - began, **puts()}

    async def steady() -> dict[str, Any]:
        before = [w.records for w in watchers]
        await asyncio.sleep(args.steady_s)
        return {"records_per_watcher_s": (watchers[0].records - before[0]) / args.steady_s, **puts()}

    gone = rng.sample(sites, args.sites // 10)

    async def fail() -> dict[str, Any]:
        at = time.monotonic()
        marks = [len(w.log) for w in watchers]
        await asyncio.gather(*(s.vanish() for s in gone))
        await until(lambda: all_see(args.sites - len(gone)), args.ttl * 4 + 20)
        lost = [t - at for w, m in zip(watchers, marks, strict=True) for t, c in w.log[m:] if c.what == "left"]
        wrong = sum(c.what == "left" and c.site not in {s.keys.name for s in gone} for w, m in zip(watchers, marks, strict=True) for _, c in w.log[m:])
        return {"vanished": len(gone), "noticed_s": quantiles(lost), "wrongly_left": wrong}

    async def rejoin() -> dict[str, Any]:
        at = time.monotonic()
        marks = [len(w.log) for w in watchers]
        await asyncio.gather(*(s.start(rng.random()) for s in gone))
        await until(lambda: all_see(args.sites), 60)
        seen = [t - at for w, m in zip(watchers, marks, strict=True) for t, c in w.log[m:] if c.what == "joined"]
        return {"seen_s": quantiles(seen), "all_seen_s": time.monotonic() - at, **puts()}

    async def late() -> dict[str, Any]:
        one = Watcher(secrets["keeper"], server.url, roles)
        began = time.monotonic()
        await one.start()
        await until(lambda: len(one.view.here()) == args.sites, 60)
        took = time.monotonic() - began
        await one.close()
        return {"whole_view_s": took}

    await phase("join", join)
    await phase("steady", steady)
    await phase("fail", fail)
    await phase("rejoin", rejoin)
    await phase("late_console", late)
    server.kill()
    at = time.monotonic()
    await asyncio.sleep(args.outage_s)
    left = sum(c.what == "left" for w in watchers for t, c in w.log if t > at)
    server.start()
    await until(lambda: all(s.client is not None and s.client.is_connected for s in sites), 180)
    connected = time.monotonic() - at - args.outage_s
    await until(lambda: all_see(args.sites), 180)
    out["server_killed"] = {"outage_s": args.outage_s, "left_in_outage": left, "all_connected_after_s": connected,
                            "all_seen_after_s": time.monotonic() - at - args.outage_s}  # fmt: skip
    print(f"server_killed: {json.dumps(out['server_killed'])}", flush=True)
    out["refused_records"] = sum(w.refused for w in watchers)
    for s in sites:
        await s.vanish()
    for w in watchers:
        await w.close()
    server.stop()
    return out


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--sites", type=int, default=1000)
    a.add_argument("--watchers", type=int, default=4)
    a.add_argument("--period", type=float, default=10.0)
    a.add_argument("--ttl", type=float, default=30.0)
    a.add_argument("--join-s", type=float, default=5.0, help="the sites start within so long")
    a.add_argument("--steady-s", type=float, default=30.0)
    a.add_argument("--outage-s", type=float, default=5.0)
    a.add_argument("--json", default="")
    args = a.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * args.sites + 1000)), hard))
    out = asyncio.run(run(args))
    if args.json:
        Path(args.json).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
