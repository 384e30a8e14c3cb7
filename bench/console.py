"""What the console costs and how fast it is, measured on this machine; writes docs/results/console.md with --write.

    python bench/console.py [--seconds 20] [--viewers 20] [--write]

Parts: bundle size; slice redraw of 512 x 512 x 400 (the page's own reslice, in Node); with a Chromium: first paint,
state to drawn p50/p95, STOP click to the hospital's end of this server; viewers over bare websockets with one slow;
CPU of the server. Hospitals are the tests' fakes: this measures the console, not the link.
"""

import argparse
import asyncio
import gzip
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import psutil
import websockets

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "teleop/console/static"


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def bundle() -> dict[str, tuple[int, int]]:
    """File -> (bytes, gzipped bytes)."""
    return {
        p.name: (p.stat().st_size, len(gzip.compress(p.read_bytes(), 9)))
        for p in sorted(STATIC.iterdir())
        if p.suffix in (".js", ".css")
    }


def redraw() -> list[dict]:
    """The page's reslice on a 512 x 512 x 400 volume, straight and oblique; ms per view."""
    if shutil.which("node") is None:
        return []
    script = ROOT / "tests/console/browser/reslice_speed.mjs"
    done = subprocess.run(["node", str(script)], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else []


class Server:
    """The tests' server with fake hospitals."""

    def __init__(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="longhand-bench-")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.console.fake_server", "--dir", self.dir],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.told = json.loads(self.process.stdout.readline())

    def cpu(self) -> float:
        t = psutil.Process(self.process.pid).cpu_times()
        return t.user + t.system

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


async def viewer(server: Server, seconds: float, pause: float, ages: list[float], counts: list[int]) -> None:
    """A page without a browser: acknowledges each frame after `pause` seconds; records how old its newest frame was
    then."""
    url = server.told["url"].replace("http", "ws") + "/ws"
    async with websockets.connect(url, max_size=None) as ws:
        await ws.send(
            msgpack.packb({"t": "hello", "token": server.told["tokens"]["student"], "page": os.urandom(8).hex()})
        )
        end, n = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            m = msgpack.unpackb(await ws.recv())
            if m["t"] != "frame":
                continue
            n += 1
            ages.append((time.monotonic_ns() - m["now"]) / 1e6)
            await asyncio.sleep(pause)
            await ws.send(msgpack.packb({"t": "ack", "n": m["n"], "drawn": {}}))
        counts.append(n)


async def fan_out(server: Server, viewers: int, seconds: float) -> dict:
    fast: list[float] = []
    slow: list[float] = []
    counts: list[int] = []
    cpu, start = server.cpu(), time.monotonic()
    await asyncio.gather(
        *(viewer(server, seconds, 0.3 if k == 0 else 0.0, slow if k == 0 else fast, counts) for k in range(viewers))
    )
    return {
        "viewers": viewers, "fast_p50_ms": quantile(fast, 0.5), "fast_p99_ms": quantile(fast, 0.99), "slow_p50_ms": quantile(slow, 0.5),
        "slow_p95_ms": quantile(slow, 0.95), "frames_per_s": statistics.median(counts) / seconds,
        "server_cores": (server.cpu() - cpu) / (time.monotonic() - start),
    }  # fmt: skip


def browser(seconds: float) -> dict:
    """First paint, state to drawn, STOP: measured inside a real Chromium by tests/console/browser/measure.mjs."""
    script = ROOT / "tests/console/browser/measure.mjs"
    if shutil.which("node") is None or not (ROOT / "teleop/console/web/node_modules/playwright-core").exists():
        return {}
    env = os.environ | {"LONGHAND_PYTHON": sys.executable}
    done = subprocess.run(["node", str(script), str(seconds)], capture_output=True, text=True, cwd=ROOT, env=env)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-500:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    out: dict = {
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}",
        "bundle": bundle(), "redraw": redraw(),
    }  # fmt: skip
    server = Server()
    try:
        out["fan_out"] = [asyncio.run(fan_out(server, n, args.seconds / 2)) for n in (1, args.viewers)]
    finally:
        server.close()
    out["browser"] = browser(args.seconds)
    text = report(out, args)
    print(text)
    if args.write:
        (ROOT / "docs/results/console.md").write_text(text)


def fan_row(f: dict) -> str:
    fast, slow = f"{f['fast_p50_ms']:.1f} / {f['fast_p99_ms']:.1f}", f"{f['slow_p50_ms']:.1f} / {f['slow_p95_ms']:.1f}"
    return f"| {f['viewers']} | {f['frames_per_s']:.0f} | {fast} | {slow} | {f['server_cores']:.2f} |"


def report(out: dict, args: argparse.Namespace) -> str:
    lines = [
        "# Console: what was measured", "", f"`python bench/console.py --seconds {args.seconds:g} --viewers {args.viewers}` on {out['machine']},",
        f"{time.strftime('%Y-%m-%d')}. Fake hospitals on the same machine: this is the console's own share, without any WAN.", "",
        "## Bundle", "", "| file | kB | kB gzip |", "|---|---|---|",
        *(f"| {n} | {a / 1e3:.0f} | {b / 1e3:.0f} |" for n, (a, b) in out["bundle"].items()),
        f"| all | {sum(a for a, _ in out['bundle'].values()) / 1e3:.0f} | {sum(b for _, b in out['bundle'].values()) / 1e3:.0f} |",
        "", "## Slice redraw, 512 x 512 x 400", "", "| plane | pixels | p50 ms | p95 ms |", "|---|---|---|---|",
        *(f"| {r['plane']} | {r['size']} x {r['size']} | {r['p50']:.1f} | {r['p95']:.1f} |" for r in out["redraw"]),
        "", "## Viewers (websockets, one acknowledges 0.3 s late)", "",
        "| viewers | frames/s | fast age p50 / p99 ms | slow age p50 / p95 ms | server cores |", "|---|---|---|---|---|",
        *(fan_row(f) for f in out["fan_out"]),
        "", "(With one viewer, it is the slow one.)", "", "## In Chromium (headless, --disable-gpu)", "",
    ]  # fmt: skip
    b = out["browser"]
    if "state_to_drawn" in b:
        s = b["state_to_drawn"]
        lines += [
            "| what | value |", "|---|---|", f"| first contentful paint | {b['first_paint_ms']:.0f} ms |",
            f"| state in the server to drawn, p50 / p95 | {s['p50']:.1f} / {s['p95']:.1f} ms ({s['n']} frames) |",
            f"| page frames per second with six slices and 3-D open | {b['fps']:.0f} |",
            f"| STOP click to the hospital's end of this server, p50 / max | {b['stop']['p50']:.1f} / {b['stop']['max']:.1f} ms ({b['stop']['n']} stops) |",
            f"| CPU throttled 6 x: age of the drawn state p50 / p95 | {b['slow']['p50']:.0f} / {b['slow']['p95']:.0f} ms |",
        ]  # fmt: skip
    else:
        lines += [f"not measured ({b.get('error', 'Node, playwright-core or Chromium is missing')})"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
