"""Draw what a demo did, from its session logs: one row per hospital, speed, speed cap, loop age and the governor's state.

    python tools/demo_picture.py OUT docs/img/demo.png     (OUT: the folder given to `longhand demo --out OUT`)
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap_ros2.decoder import DecoderFactory

COLOURS = {
    "INIT": "#bbbbbb", "READY": "#9ec5e8", "ACTIVE": "#5fb878", "DEGRADED": "#e8c85f", "PAUSE": "#d9d9d9", "HOLD": "#e89a5f",
    "STOP": "#d95f5f", "FAULT": "#a03030", "LOCAL": "#a98fd0",
}


def read(path: Path) -> dict[str, list[tuple[float, ...]]]:
    """Times in seconds of the robot's clock: speed (mm/s), cap (mm/s), loop age (ms), state."""
    out: dict[str, list] = {"speed": [], "cap": [], "age": [], "state": []}
    with path.open("rb") as file:
        reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
        try:
            for _, channel, _, message in reader.iter_decoded_messages():
                if channel.topic.endswith("/arm_state") or channel.topic == "arm_state":
                    out["speed"].append((message.stamp_mono * 1e-9, message.speed * 1e3))
                elif channel.topic.endswith("governor/status"):
                    t = message.stamp_mono * 1e-9
                    out["cap"].append((t, message.v_cap * 1e3))
                    out["state"].append((t, message.state))
                    if message.holder:
                        out["age"].append((t, message.loop_age_ns * 1e-6))
        except McapError:
            pass
    return out


def main(folder: Path, target: Path) -> None:
    logs = sorted((folder / "logs").glob("*.mcap"), key=lambda p: p.name.split("-")[-1])
    sites = {p.stem.split("-")[-1]: read(p) for p in logs}
    sites = {name: data for name, data in sites.items() if data["speed"]}  # the console's log has no arm
    sites = dict(sorted(sites.items(), key=lambda item: min((t for t, v in item[1]["speed"] if v > 10), default=1e18)))
    start = min(data["speed"][0][0] for data in sites.values())
    figure, axes = plt.subplots(len(sites), 1, figsize=(11, 2.2 * len(sites) + 0.6), sharex=True, squeeze=False)
    for axis, (name, data) in zip(axes[:, 0], sites.items(), strict=True):
        states = data["state"]
        for (a, state), (b, _) in zip(states, [*states[1:], (data["speed"][-1][0], "")], strict=True):
            axis.axvspan(a - start, b - start, ymin=0.94, ymax=1.0, color=COLOURS.get(state, "white"), lw=0)
        axis.plot(*zip(*[(t - start, v) for t, v in data["speed"]], strict=True), lw=0.8, color="#1f4e79", label="speed, mm/s")
        axis.plot(*zip(*[(t - start, v) for t, v in data["cap"]], strict=True), lw=0.8, color="#c07020", alpha=0.7, label="speed cap, mm/s")
        axis.set_ylim(0, 60)
        axis.set_ylabel(name)
        age = axis.twinx()
        if data["age"]:
            age.plot(*zip(*[(t - start, v) for t, v in data["age"]], strict=True), lw=0.5, color="#888888", alpha=0.7)
        age.set_ylim(0, 400)
        age.set_ylabel("loop age, ms", color="#777777")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[s]) for s in COLOURS]
    figure.legend(handles, list(COLOURS), loc="upper center", ncol=9, fontsize=8, frameon=False)
    axes[0, 0].legend(loc="upper left", fontsize=8, frameon=False, bbox_to_anchor=(0.0, 0.94))
    axes[-1, 0].set_xlabel("seconds (simulated patients, arms and lines; read from the session logs)")
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
