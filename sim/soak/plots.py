"""The pictures of a soak: one PNG of six panels over the run's time."""

from collections.abc import Iterable
from pathlib import Path

from sim.soak.evidence import Evidence, Series


def plot(e: Evidence, path: Path) -> None:
    """Write the PNG. Raises OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(3, 2, figsize=(11, 9), layout="constrained")
    unit, scale = ("h", 3600.0) if e.lasted_s > 2 * 3600 else ("min", 60.0)
    word = "virtual " if e.kind == "virtual time" else ""

    def draw(ax: object, title: str, label: str, rows: Iterable[tuple[str, Series]]) -> None:
        for name, series in rows:
            ax.plot([t / scale for t, _ in series], [v for _, v in series], lw=0.9, label=name)  # type: ignore[attr-defined]
        ax.set_title(title, fontsize=10)  # type: ignore[attr-defined]
        ax.set_ylabel(label, fontsize=9)  # type: ignore[attr-defined]
        ax.set_xlabel(f"{word}time, {unit}", fontsize=8)  # type: ignore[attr-defined]
        ax.grid(True, alpha=0.3)  # type: ignore[attr-defined]
        handles, _ = ax.get_legend_handles_labels()  # type: ignore[attr-defined]
        if handles and len(handles) <= 12:
            ax.legend(fontsize=6, ncols=2)  # type: ignore[attr-defined]

    draw(axes[0][0], "memory", "MB", sorted(e.memory_mb.items()))
    draw(axes[0][1], "error of the estimated clock offset, console to hospital", "ms",
         [(n, [(t, err / 1e3) for t, err, _ in rows]) for n, rows in sorted(e.clocks.items())])  # fmt: skip
    draw(axes[1][0], "logs, all together", "MB", [(n, [(t, b / 1e6) for t, b in s]) for n, s in e.log_bytes.items()])
    draw(axes[1][1], "loop age of the commands, p99 between samples", "ms", sorted(e.loop_age_ms.items()))
    draw(axes[2][0], "pictures received", "pictures", sorted(e.pictures.items()))
    draw(axes[2][1], "CPU so far", "s", sorted(e.cpu_s.items()))
    fig.suptitle(f"Soak in {e.kind}, {e.lasted_s / 3600:.2f} h, simulated hospitals", fontsize=11)
    fig.savefig(path, dpi=80)
    plt.close(fig)
