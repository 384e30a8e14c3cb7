"""Live pictures, measured on this machine: what a picture costs, how old it is when displayed, how fast one joins.

    python bench/media.py [--seconds 15] [--viewers 1,3] [--case DIR] [--bones DIR] [--json FILE] [--write | --again FILE]

Parts: CPU time to render and to code one picture per stream and rung (process time, so that other work on the machine does
not count), PyBullet's TinyRenderer for comparison; in a headless Chromium: age of each displayed picture from capture to
expected display (the number in the picture, one clock), its jitter, join time; CPU of the server. `--write` puts the table into
docs/results/fleet.md, section "Live pictures".
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results/fleet.md"
BEGIN, END = "<!-- live pictures: written by bench/media.py -->", "<!-- end of live pictures -->"


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def costs(case: Path | None, bones: Path | None, n: int = 12) -> dict[str, Any]:
    """CPU ms per picture: {rung: {stream: [render, code, bytes]}}, and TinyRenderer's at full size."""
    from sim.pictures.cameras import nominal_view
    from sim.pictures.source import RoomSource
    from teleop.arm.model import load_model
    from teleop.media.adapt import LADDER
    from teleop.media.encode import Encoder
    from teleop.media.frames import FrameInfo
    from teleop.media.studio import size_at

    model = load_model()
    view = nominal_view(model)
    source = RoomSource(model, lambda: (view, time.monotonic_ns()), bones, case)
    out: dict[str, Any] = {}
    for rung in LADDER[1:]:
        out[rung.name] = {}
        for stream in ("room", "guide", "ultrasound"):
            if stream == "ultrasound" and case is None:
                continue
            encoder, w_h = Encoder(stream), size_at(stream, rung)
            render, code, size = [], [], []
            for k in range(n):
                a = time.process_time()
                picture = source.picture(stream, *w_h, k)
                b = time.process_time()
                coded = encoder.encode(picture.pixels, FrameInfo(stream, k, time.monotonic_ns()), rung)
                c = time.process_time()
                if k > 1:
                    render.append((b - a) * 1e3)
                    code.append((c - b) * 1e3)
                    size.append(len(coded.data))
            out[rung.name][stream] = [quantile(render, 0.5), quantile(code, 0.5), sum(size) / len(size)]
    return out


def tiny_renderer(n: int = 3) -> float:
    """CPU ms for one 640 x 448 picture of the arm alone by PyBullet's software renderer."""
    import pybullet as p
    import pybullet_data

    client = p.connect(p.DIRECT)
    p.setAdditionalSearchPath(pybullet_data.getDataPath(), physicsClientId=client)
    p.loadURDF("kuka_iiwa/model.urdf", physicsClientId=client)
    view = p.computeViewMatrix((1.75, -1.15, 1.05), (0.38, 0, 0.28), (0, 0, 1))
    lens = p.computeProjectionMatrixFOV(43, 640 / 448, 0.05, 6)
    times = []
    for _ in range(n + 1):
        start = time.process_time()
        p.getCameraImage(640, 448, view, lens, renderer=p.ER_TINY_RENDERER, physicsClientId=client)
        times.append((time.process_time() - start) * 1e3)
    p.disconnect(client)
    return quantile(times[1:], 0.5)


def in_browser(seconds: int, viewers: int, case: Path | None, bones: Path | None) -> dict[str, Any]:
    """Ages, gaps and join times of one page of `viewers`."""
    words = [f for name, path in (("--case", case), ("--bones", bones)) if path is not None for f in (name, str(path))]
    env = os.environ | {"LONGHAND_PYTHON": sys.executable}
    done = subprocess.run(
        ["node", "measure_media.mjs", str(seconds), str(viewers), *words], cwd=ROOT / "tests/console/browser", env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the browser part failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def rows_of(found: dict[str, Any]) -> dict[str, Any]:
    """The table's numbers of one browser run."""
    out = {}
    for stream, r in found["streams"].items():
        ages, gaps = r["ages"], r["gaps"]
        out[stream] = {
            "p50": quantile(ages, 0.5), "p95": quantile(ages, 0.95), "p99": quantile(ages, 0.99), "n": len(ages),
            "jitter": quantile(gaps, 0.95) - quantile(gaps, 0.5), "fps": r["displayed"] / found["seconds"],
            "sent": r["sent"], "displayed": r["displayed"], "damaged": r["damaged"],
            "told_off": quantile([abs(a - b) for a, b in zip(ages, r["told"], strict=False)], 0.5),
        }  # fmt: skip
    return out


def table(result: dict[str, Any]) -> str:
    lines = [
        f"Measured {result['when']} on {result['cpus']} CPUs ({result['machine']}), load {result['load'][0]:.1f} at the start and "
        f"{result['load'][1]:.1f} at the end, shared with other work; headless Chromium, software decoding, server and page on one host.",
        "",
        "| viewers | stream | capture to display p50 / p95 / p99, ms | jitter (gap p95 − p50), ms | displayed/s | shown of sent | damaged stamps | "
        "join, ms | server, cores (of it pictures) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        joins = " ".join(f"{j:.0f}" for j in run["joins"])
        cores = f"{run['server_cores']:.2f} ({run['studio_cores']:.2f})"
        for n, (stream, r) in enumerate(run["rows"].items()):
            lines.append(
                f"| {run['viewers'] if not n else ''} | {stream} | {r['p50']:.0f} / {r['p95']:.0f} / {r['p99']:.0f} | {r['jitter']:.0f} | {r['fps']:.1f} | "
                f"{r['displayed']} of {r['sent']} | {r['damaged']} | {joins if not n else ''} | {cores if not n else ''} |"
            )
    off = max(r["told_off"] for run in result["runs"] for r in run["rows"].values())
    words = f"The age that the page itself shows differs from this one by {off:.0f} ms at most (median per stream)"
    lines += ["", f"{words}: it cannot know the way from server to page.", ""]
    lines += ["| CPU ms per picture: render + code (bytes) | " + " | ".join(result["costs"]) + " |", "|---|" + "---|" * len(result["costs"])]
    for stream in ("room", "guide", "ultrasound"):
        cells = [result["costs"][rung].get(stream) for rung in result["costs"]]
        lines.append(f"| {stream} | " + " | ".join(f"{c[0]:.1f} + {c[1]:.1f} ({c[2]:.0f})" if c else "–" for c in cells) + " |")
    lines += ["", f"PyBullet's TinyRenderer: {result['tiny_ms']:.0f} ms for the arm alone at 640 × 448."]
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace our section in the shared page of results, or append it."""
    page = RESULTS.read_text() if RESULTS.exists() else "# Results: the fleet\n"
    body = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in page:
        page = page[: page.index(BEGIN)] + body + page[page.index(END) + len(END) :]
    else:
        page += f"\n## Live pictures\n\n    python bench/media.py --write\n\n{body}\n"
    RESULTS.write_text(page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--viewers", default="1,3")
    parser.add_argument("--case", type=Path, help="folder with ct.nii.gz and labels.nii.gz, for the ultrasound")
    parser.add_argument("--bones", type=Path, help="folder with the vertebrae as STL")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--again", type=Path, help="write the table of an earlier --json instead of measuring")
    args = parser.parse_args()
    if args.again:
        write(table(json.loads(args.again.read_text())))
        return 0
    load = [os.getloadavg()[0]]
    result: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "cpus": os.cpu_count(), "machine": platform.machine(), "load": load,
        "costs": costs(args.case, args.bones), "tiny_ms": tiny_renderer(), "runs": [],
    }  # fmt: skip
    for viewers in (int(v) for v in args.viewers.split(",")):
        found = in_browser(args.seconds, viewers, args.case, args.bones)
        result["runs"].append({"viewers": viewers, "rows": rows_of(found), **{k: found[k] for k in ("joins", "server_cores", "studio_cores", "rss_mb")}})
    load.append(os.getloadavg()[0])
    text = table(result)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    if args.write:
        write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
