"""Nuisance pauses and holds per hour: one path or two, datagrams or TCP, published models and measured traces.

.venv/bin/python bench/nuisance.py                  # an hour of each, about two minutes
.venv/bin/python bench/nuisance.py --seconds 600 --json out.json
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from safety.params import MS
from sim.campaign.nuisance import HOLD_GAP, measure
from sim.campaign.world import TRACES

PROFILES = ("metro-fibre", "5g", "4g", "beijing-tianjin", "beijing-zhangjiakou", "beijing-karamay", "bad")


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=3600.0)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--json", default="")
    args = a.parse_args()
    traces = [f"trace:{f.name}" for f in sorted(TRACES.glob("cicv5g*.csv*"))] if TRACES.is_dir() else []
    rows = []
    print(
        f"{'profile':46} {'paths':>5} {'carried by':10} {'>100 ms':>8} {'>150':>8} {'>200':>8} {'hold':>6}   per hour"
    )
    for name in (*PROFILES, *traces):
        for transport in ("udp", "tcp"):
            for paths in (1, 2):
                n = measure(name, paths, transport, args.seconds, args.seed)
                row = {"profile": name, "paths": paths, "transport": transport}
                row |= {f"pauses_{ms}": n.per_hour(ms * MS) for ms in (100, 150, 200)} | {"holds": n.per_hour(HOLD_GAP)}
                rows.append(row)
                print(f"{name:46} {paths:5} {transport:10} {row['pauses_100']:8.1f} {row['pauses_150']:8.1f} "
                      f"{row['pauses_200']:8.1f} {row['holds']:6.1f}", flush=True)  # fmt: skip
    if args.json:
        Path(args.json).write_text(json.dumps({"seconds": args.seconds, "seed": args.seed, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
