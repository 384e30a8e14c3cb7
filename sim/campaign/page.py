"""The campaign as one self-contained HTML page: the table, and the two ratios of every run as pictures (SVG, no scripts)."""

import html
from typing import Any

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #1d2733; }
table { border-collapse: collapse; } td, th { padding: 2px 8px; border-bottom: 1px solid #d8dee6; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } tr.bad td { background: #fde8e6; }
code { font-size: 12px; } svg { background: #f7f9fb; border: 1px solid #d8dee6; }
figure { margin: 0 0 1em; } figcaption { margin-bottom: 4px; }
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


#: Above so many runs the pictures show how each fault's runs are spread instead of every run.
DOTS = 4000


def _scatter(runs: list[dict[str, Any]], key: str, title: str) -> str:
    """A column per fault: a dot for each run, or (of many runs) a box from median to p99, a line to the worst, failures as dots."""
    faults = sorted({r["fault"] for r in runs})
    many = len(runs) > DOTS
    width, height, left = 40 + 20 * len(faults), 260, 34

    def y_of(value: float) -> float:
        return height - 34 - min(value, 1.2) / 1.2 * (height - 60)

    marks = []
    for i, fault in enumerate(faults):
        group = [r for r in runs if r["fault"] == fault]
        x = left + 20 * i
        if many:
            values = sorted(float(r[key]) for r in group)
            half, p99, top = values[len(values) // 2], values[len(values) * 99 // 100], values[-1]
            marks.append(
                f'<line x1="{x + 9}" x2="{x + 9}" y1="{y_of(p99):.1f}" y2="{y_of(top):.1f}" stroke="#2b6cb0"/>'
                f'<line x1="{x + 5}" x2="{x + 13}" y1="{y_of(top):.1f}" y2="{y_of(top):.1f}" stroke="#2b6cb0"/>'
                f'<rect x="{x + 4}" y="{y_of(p99):.1f}" width="10" height="{max(1.0, y_of(half) - y_of(p99)):.1f}" fill="#2b6cb0" '
                f'fill-opacity="0.35"><title>{fault}: median {half:.3f}, p99 {p99:.3f}, worst {top:.3f} of {len(values)} runs</title></rect>'
            )
        for r in group:
            if many and r["passed"]:
                continue
            colour = "#2b6cb0" if r["passed"] else "#c53030"
            at = x + 4 + r["seed"] % 10
            marks.append(f'<circle cx="{at}" cy="{y_of(r[key]):.1f}" r="1.6" fill="{colour}" fill-opacity="0.6"/>')
        marks.append(
            f'<text x="{x + 12}" y="{height - 26}" font-size="10" text-anchor="end" '
            f'transform="rotate(-60 {x + 12} {height - 26})">{fault}</text>'
        )
    lines = "".join(
        f'<line x1="{left}" x2="{width}" y1="{y_of(v):.1f}" y2="{y_of(v):.1f}" stroke="{"#c53030" if v == 1.0 else "#d8dee6"}"/>'
        f'<text x="6" y="{y_of(v) + 4:.1f}" font-size="10">{v:.2f}</text>'
        for v in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    note = "box: median to p99, bar: worst" if many else "a dot for each run"
    return (f'<figure><figcaption>{html.escape(title)} ({note}; red: failed)</figcaption>'
            f'<svg width="{width}" height="{height}" role="img">{lines}{"".join(marks)}</svg></figure>')  # fmt: skip
