"""The plan sheet: one PDF page per trajectory with reformats along the screw, numbers and hashes. matplotlib only, no display needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from scipy import ndimage

from teleop.planning.images import Volume
from teleop.planning.plan import LinearTrajectory, Plan

WINDOW_HU = (-250.0, 1150.0)


def reformat(
    ct: Volume, origin: np.ndarray, right: np.ndarray, up: np.ndarray, half_mm: float, step_mm: float = 0.4
) -> np.ndarray:
    """(n, n) HU on the plane through origin; image rows run along `up` (bottom to top), columns along `right`. All LPS."""
    t = np.arange(-half_mm, half_mm + step_mm / 2.0, step_mm)
    points = origin + t[None, :, None] * right + t[:, None, None] * up
    return ndimage.map_coordinates(
        ct.data, ct.to_ijk(points.reshape(-1, 3)).T, order=1, mode="constant", cval=-1000
    ).reshape(len(t), len(t))


def planes(item: LinearTrajectory) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """name -> (origin, right, up): oblique axial and sagittal planes that hold the axis, and the probe's-eye plane across it at a third of its length."""
    entry, tip = item.line()
    axis, middle = item.axis, (entry + tip) / 2.0
    lateral = np.cross(axis, [0.0, 0.0, 1.0])
    lateral /= np.linalg.norm(lateral)
    if lateral[0] < 0:
        lateral = -lateral
    up = np.cross(lateral, axis)
    up = up if up[2] > 0 else -up
    return {
        "along the screw, axial": (middle, lateral, -axis * (1.0 if axis[1] > 0 else -1.0)),
        "along the screw, sagittal": (middle, axis, up),
        "probe's eye": (entry + (tip - entry) / 3.0, lateral, up),
    }


def _page(figure: Figure, ct: Volume, plan: Plan, item: LinearTrajectory) -> None:
    figure.suptitle(f"{item.id}   {item.status}", fontsize=15, x=0.04, ha="left")
    if item.has_line:
        entry, tip = item.line()
        for n, (name, (origin, right, up)) in enumerate(planes(item).items()):
            half = 42.0 if n < 2 else 24.0
            axes = figure.add_axes((0.04 + 0.32 * n, 0.46, 0.29, 0.42))
            axes.imshow(
                reformat(ct, origin, right, up, half),
                cmap="gray",
                vmin=WINDOW_HU[0],
                vmax=WINDOW_HU[1],
                origin="lower",
                extent=(-half, half, -half, half),
            )
            a, b = ((p - origin) @ np.column_stack([right, up]) for p in (entry, tip))
            if n < 2:
                d = (b - a) / np.linalg.norm(b - a)
                side = np.array([-d[1], d[0]]) * item.diameter_mm / 2.0
                box = np.array([a + side, b + side, b - side, a - side, a + side])
                axes.plot(box[:, 0], box[:, 1], color="#37d67a", lw=1.2)
                axes.plot([a[0], b[0]], [a[1], b[1]], color="#37d67a", lw=0.6, ls=":")
            else:
                theta = np.linspace(0, 2 * np.pi, 90)
                axes.plot(
                    item.diameter_mm / 2 * np.cos(theta), item.diameter_mm / 2 * np.sin(theta), color="#37d67a", lw=1.2
                )
            axes.set_title(name, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.plot([half - 14, half - 4], [-half + 4, -half + 4], color="white", lw=2)
            axes.text(half - 9, -half + 6, "10 mm", color="white", fontsize=6, ha="center")
    m = item.metrics
    rows = [f"{item.kind}   level {item.level or '-'}   side {item.side or '-'}"]
    if item.has_line:
        rows.append(
            f"diameter {item.diameter_mm:.1f} mm   length {item.length_mm:.0f} mm   entry {item.entry_lps_mm}   tip {item.tip_lps_mm}   (LPS mm)"
        )
    wanted = (
        ("grade", "grade (Gertzbein-Robbins, pedicle zone)"),
        ("p_grade_a", "P(grade A) under the error model"),
        ("min_clearance_mm", "least bone around the shank, mm"),
        ("clearance_medial_mm", "  medial"),
        ("clearance_lateral_mm", "  lateral"),
        ("clearance_cranial_mm", "  cranial"),
        ("clearance_caudal_mm", "  caudal"),
        ("body_clearance_mm", "in the body, mm"),
        ("anterior_mm", "ahead of the tip, mm"),
        ("tip_share", "tip depth / body depth"),
        ("facet_mm", "cranial facet, mm"),
        ("babu", "facet grade (Babu)"),
        ("heary", "Heary"),
        ("entry_angle_deg", "angle to the entry surface, deg"),
        ("isthmus_width_mm", "pedicle width, mm"),
        ("hu_mean", "mean HU along the shank"),
    )
    for key, text in wanted:
        if m.get(key) is not None:
            value = m[key]
            rows.append(f"{text:<44} {value:.2f}" if isinstance(value, float) else f"{text:<44} {value}")
    figure.text(0.04, 0.43, "\n".join(rows), fontsize=8, family="monospace", va="top")
    reasons = "\n".join(f"- {r}" for r in item.reasons) or "-"
    figure.text(0.62, 0.43, "Remarks\n" + reasons, fontsize=7.5, va="top", wrap=True)
    figure.text(
        0.04,
        0.03,
        f"plan {plan.hash}\nCT   {plan.ct.sha256}\nerror model {plan.error_model.get('lateral_mm', '?')} mm / "
        f"{plan.error_model.get('angle_deg', '?')} deg per axis   case {plan.case or '-'}   not for clinical use",
        fontsize=7,
        family="monospace",
    )


def write_pdf(plan: Plan, ct: Volume, path: str | Path) -> None:
    """One landscape A4 page per trajectory."""
    with PdfPages(str(path), metadata={"Title": f"Longhand plan {plan.hash[:16]}", "CreationDate": None}) as pdf:
        for item in plan.trajectories:
            figure = Figure(figsize=(11.69, 8.27))
            _page(figure, ct, plan, item)
            pdf.savefig(figure)
