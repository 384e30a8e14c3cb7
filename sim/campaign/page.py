"""The campaign as one self-contained HTML page: the table, and the two ratios of every run as pictures (SVG, no scripts)."""

import html
from typing import Any

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #1d2733; }
table { border-collapse: collapse; } td, th { padding: 2px 8px; border-bottom: 1px solid #d8dee6; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } tr.bad td { background: #fde8e6; }
code { font-size: 12px; } svg { background: #f7f9fb; border: 1px solid #d8dee6; margin: 0 1em 1em 0; }
"""


def page(report: dict[str, Any], runs: list[dict[str, Any]], how: str) -> str:
    """`report` from `matrix.summary`, `runs` its outcomes, `how` the command that made them."""
    verdict = "every run within its bounds" if report["ok"] else f"{report['failed']} runs FAILED"
    rows = "\n".join(_row(r) for r in report["rows"])
    na = "\n".join(
        f"<tr><td>{r['fault']}</td><td>{html.escape(r['title'])}</td><td>{r['mode']}</td><td>{html.escape(r['why'])}</td></tr>"
        for r in report["not_applicable"]
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Fault campaign</title><style>{_STYLE}</style>
<h1>Fault campaign: {verdict}</h1>
<p>{report["runs"]} runs in virtual time; worst time {report["worst_time_ratio"]:.3f} and worst travel
{report["worst_travel_ratio"]:.3f} of the bound; {report["foreign"]} foreign motions, {report["attacks_accepted"]} of
{report["attacks"]} attackers' frames accepted. Made by <code>{html.escape(how)}</code>.</p>
{_scatter(runs, "travel_ratio", "travel after the last valid command / bound X")}
{_scatter(runs, "time_ratio", "response and time to rest / bound")}
<table><tr><th>fault<th>what<th>mode<th>profile<th>runs<th>struck<th>passed<th>time<th>travel<th>mm<th>failure, reproduction</tr>
{rows}</table>
<h2>Not applicable, or tested elsewhere</h2><table>{na}</table></html>
"""


def _row(r: dict[str, Any]) -> str:
    bad = r["passed"] != r["runs"] or r["struck"] != r["runs"]
    note = f"{html.escape(r['why'])}<br><code>{html.escape(r['reproduce'])}</code>" if bad else ""
    cells = [r["fault"], html.escape(r["title"]), r["mode"], html.escape(r["profile"])]
    numbers = [str(r["runs"]), str(r["struck"]), str(r["passed"]), f"{r['worst_time_ratio']:.2f}",
               f"{r['worst_travel_ratio']:.2f}", f"{r['worst_travel_mm']:.2f}"]  # fmt: skip
    return (f"<tr class={'bad' if bad else 'ok'}>" + "".join(f"<td>{c}</td>" for c in cells)
            + "".join(f"<td class=n>{c}</td>" for c in numbers) + f"<td>{note}</td></tr>")  # fmt: skip


def _scatter(runs: list[dict[str, Any]], key: str, title: str) -> str:
    faults = sorted({r["fault"] for r in runs})
    width, height, left = 40 + 16 * len(faults), 220, 34
    dots = []
    for r in runs:
        x = left + 16 * faults.index(r["fault"]) + 3 + r["seed"] % 10
        y = height - 30 - min(r[key], 1.2) / 1.2 * (height - 50)
        colour = "#2b6cb0" if r["passed"] else "#c53030"
        dots.append(f'<circle cx="{x}" cy="{y:.1f}" r="1.4" fill="{colour}" fill-opacity="0.5"/>')
    y1 = height - 30 - (height - 50) / 1.2
    labels = "".join(
        f'<text x="{left + 16 * i + 4}" y="{height - 6}" font-size="8" transform="rotate(-60 {left + 16 * i + 4} {height - 6})">'
        f"{f}</text>" for i, f in enumerate(faults)
    )  # fmt: skip
    return (f'<svg width="{width}" height="{height}"><text x="6" y="14" font-size="12">{html.escape(title)}</text>'
            f'<line x1="{left}" x2="{width}" y1="{y1:.1f}" y2="{y1:.1f}" stroke="#c53030"/>'
            f'<text x="6" y="{y1 + 4:.1f}" font-size="10">1.0</text>{"".join(dots)}{labels}</svg>')  # fmt: skip
