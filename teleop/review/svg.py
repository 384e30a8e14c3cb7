"""Plots as plain SVG text: for documents that must open anywhere, without scripts."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP = 820, 150, 70, 16, 34
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
Series = tuple[Sequence[float], Sequence[float | None]]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values across a range, at most about `count` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 1.0
    while power * 10 <= raw:
        power *= 10
    while power > raw:
        power /= 10
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first = -(-low // step) * step
    out = []
    while first <= high + step * 1e-9:
        out.append(0.0 if abs(first) < step * 1e-9 else first)
        first += step
    return out


def line_plot(title: str, x_label: str, panels: Mapping[str, Series]) -> str:
    """One panel under another, the same x axis. None in y leaves a gap."""
    xs = [x for x_values, _ in panels.values() for x in x_values]
    x_low, x_high = (min(xs), max(xs)) if xs else (0.0, 1.0)
    x_high = x_high if x_high > x_low else x_low + 1.0
    height = TOP + len(panels) * PANEL + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]

    def place(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    for number, (name, (x_values, y_values)) in enumerate(panels.items()):
        top, bottom = TOP + number * PANEL + 14, TOP + (number + 1) * PANEL - 12
        known = [y for y in y_values if y is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if low > 0 and low < high / 2:
            low = 0.0
        if high <= low:
            low, high = low - 0.5, high + 0.5
        out.append(f'<text x="{LEFT}" y="{top - 3}">{escape(name)}</text>')
        out.append(
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - top}" fill="none" stroke="#999"/>'
        )
        for tick in ticks(low, high, 4):
            y = bottom - (tick - low) / (high - low) * (bottom - top)
            out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        pieces: list[list[str]] = [[]]
        for x, y_value in zip(x_values, y_values, strict=True):
            if y_value is None:
                pieces.append([])
            else:
                y = bottom - (y_value - low) / (high - low) * (bottom - top)
                pieces[-1].append(f"{place(x):.1f},{y:.1f}")
        colour = COLOURS[number % len(COLOURS)]
        for piece in pieces:
            if len(piece) == 1:
                piece = [piece[0], piece[0]]
            if piece:
                out.append(f'<polyline points="{" ".join(piece)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    base = TOP + len(panels) * PANEL - 12
    for tick in ticks(x_low, x_high, 8):
        out.append(f'<text x="{place(tick):.1f}" y="{base + 16}" text-anchor="middle">{tick:g}</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{base + 32}" text-anchor="end">{escape(x_label)}</text></svg>')
    return "\n".join(out)
