"""Is this the vertebra it claims to be? Checks that refuse or downgrade before any screw is believed.

A wrong slice spacing gives a perfectly plausible plan on a squashed spine; only the body's proportions can tell. The means below are published adult dimensions
(the L1-L5 set of the Visible Human as tabulated by LMG; thorax: round textbook values) in the way this planner measures them (body height
between the dished endplates' centres, so about 0.9 of
the rim height). Tolerances are 3 SD and more of an adult population, generous to children of tall parents, narrow to a factor of 0.7.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from teleop.planning.field import Anatomy, crop_label
from teleop.planning.frame import FrameError
from teleop.planning.images import Volume
from teleop.planning.levels import LEVELS, Labels

_T = [f"T{i}" for i in range(1, 13)]
HEIGHT_MM: dict[str, float] = {
    **{t: 14.8 + 9.2 * i / 11.0 for i, t in enumerate(_T)},
    "L1": 26.5,
    "L2": 28.0,
    "L3": 27.6,
    "L4": 27.0,
    "L5": 26.0,
}
WIDTH_MM: dict[str, float] = {
    **{t: 27.0 + 16.0 * i / 11.0 for i, t in enumerate(_T)},
    "L1": 44.0,
    "L2": 46.0,
    "L3": 47.5,
    "L4": 50.0,
    "L5": 52.0,
}
DEPTH_MM: dict[str, float] = {
    **{t: 18.0 + 14.0 * i / 11.0 for i, t in enumerate(_T)},
    "L1": 36.5,
    "L2": 39.0,
    "L3": 39.5,
    "L4": 38.5,
    "L5": 37.0,
}
SIZE_TOLERANCE = {"height": 0.30, "width": 0.32, "depth": 0.32}
ASPECT_TOLERANCE = 0.26
"""Of height / sqrt(width depth) against the level's mean. Over 500 random phantoms the ratio stays within 0.17; a spacing wrong by 0.7 moves it by 0.30."""
LEAST_S1_PEDICLE_MM = 12.0
"""Published width 23.1 mm, SD 3.5 (CT of 100 adults), less three SD: what is narrower was not the sacral ala."""
METAL_HU, METAL_MM3, METAL_REACH_MM = 2500, 25.0, 15.0


@dataclass(frozen=True)
class Finding:
    """Something about a level. status: what it makes of an otherwise good plan ('' = only a note)."""

    status: str
    text: str


def check_label(labels: Labels, level: str, box: tuple[slice, ...]) -> np.ndarray:
    """Before any geometry: pieces, two bodies in one label. -> depth (mm) of the thinned label's voxels, which `field.build` needs again.
    Raises FrameError where planning is pointless."""
    mask, crop = crop_label(labels, level, box)
    volume_mm3 = float(mask.sum() * np.prod(crop.spacing_mm))
    if volume_mm3 < 3000.0:
        raise FrameError(
            "BAD_GEOMETRY",
            f"{level}: the label holds {volume_mm3 / 1000:.1f} ml, a vertebra has 10 to 90; wrong unit, wrong label or a fragment",
        )
    stride = np.maximum(1, np.round(1.5 / crop.spacing_mm)).astype(int)
    coarse = mask[:: stride[0], :: stride[1], :: stride[2]]
    pieces, count = ndimage.label(coarse, structure=np.ones((3, 3, 3)))
    if count > 1:
        sizes = np.bincount(pieces.ravel())[1:]
        share = float(sizes.max() / sizes.sum())
        if share < 0.90:
            raise FrameError(
                "BAD_GEOMETRY",
                f"{level}: the label is in {count} pieces, the largest has {100 * share:.0f} %; a mixed or broken segmentation",
            )
    depth = ndimage.distance_transform_edt(coarse, sampling=crop.spacing_mm * stride)
    core = np.argwhere(depth > 0.75 * depth.max()) * (crop.spacing_mm * stride)
    if len(core) > 3:
        spread = float(np.sqrt(np.linalg.eigvalsh(np.cov(core.T))[-1]) * 4.0)
        if spread > 46.0:
            raise FrameError(
                "BAD_GEOMETRY",
                f"{level}: the label's thick part is {spread:.0f} mm long: two vertebral bodies in one label?",
            )
    return np.asarray(depth)


def touches_border(labels: Labels, level: str, box: tuple[slice, ...]) -> str:
    """Which face of the image cuts the label ('' = none)."""
    names = (("right", "left"), ("anterior", "posterior"), ("caudal", "cranial"))
    shape = labels.volume.data.shape
    touched = []
    for axis, b in enumerate(box):
        if b.start == 0:
            touched.append(names[axis][0])
        if b.stop == shape[axis]:
            touched.append(names[axis][1])
    return ", ".join(touched)


def check_anatomy(anatomy: Anatomy, labels: Labels, box: tuple[slice, ...], ct: Volume | None) -> list[Finding]:
    """Border cuts that matter, metal, bone that is no bone, an inferred canal."""
    level, f = anatomy.level, anatomy.frame
    findings: list[Finding] = []
    side = touches_border(labels, level, box)
    if side:
        edge = _border_voxels(labels, level, box)
        v = f.to_v(edge)
        inner = (np.abs(v[:, 0]) < 34.0) & (v[:, 1] < f.canal_back + 10.0)
        if inner.any():
            findings.append(
                Finding(
                    "PARTIAL",
                    f"{level}: the {side} border of the image cuts body, pedicle or entry region ({int(inner.sum())} voxels)",
                )
            )
        else:
            findings.append(Finding("", f"{level}: the {side} border of the image cuts a process"))
    if level == "S1":
        for isthmus in anatomy.isthmus.values():
            if isthmus.width < LEAST_S1_PEDICLE_MM:
                findings.append(
                    Finding(
                        "BAD_GEOMETRY",
                        f"S1 {isthmus.side}: {isthmus.width:.1f} mm wide where its pedicle should be, at least {LEAST_S1_PEDICLE_MM:.0f} are believable; "
                        f"a part of a sacrum, another level, or too coarse an image",
                    )
                )
    if f.inferred:
        findings.append(
            Finding(
                "LOW_CONFIDENCE",
                f"{level}: the canal is not closed in the label (laminectomy, lysis?); its place was taken from the neighbours",
            )
        )
    hinted = 2.0 * f.canal_half_width
    if not f.inferred and not 9.0 <= hinted <= 42.0:
        findings.append(Finding("LOW_CONFIDENCE", f"{level}: canal {hinted:.0f} mm wide, believable are 9 to 42"))
    if ct is not None:
        findings += _check_hounsfield(anatomy, labels, box, ct)
    return findings


def _border_voxels(labels: Labels, level: str, box: tuple[slice, ...]) -> np.ndarray:
    data, value = labels.volume.data, labels.value(level)
    out = []
    for axis in range(3):
        for end, at in (("start", 0), ("stop", data.shape[axis] - 1)):
            if (box[axis].start == 0) if end == "start" else (box[axis].stop == data.shape[axis]):
                index = list(box)
                index[axis] = slice(at, at + 1)
                ijk = np.argwhere(data[tuple(index)] == value) + np.array([s.start for s in index])
                out.append(ijk)
    return labels.volume.to_lps(np.concatenate(out).astype(float)) if out else np.zeros((0, 3))


def _check_hounsfield(anatomy: Anatomy, labels: Labels, box: tuple[slice, ...], ct: Volume) -> list[Finding]:
    level, f = anatomy.level, anatomy.frame
    pad = np.ceil(METAL_REACH_MM / ct.spacing_mm).astype(int)
    low = np.maximum(np.array([b.start for b in box]) - pad, 0)
    high = np.minimum(np.array([b.stop for b in box]) + pad, ct.data.shape)
    view = ct.data[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    findings = []
    bright = np.argwhere(view > METAL_HU)
    if len(bright):
        v = f.to_v(ct.to_lps((bright + low).astype(float)))
        near = (
            (np.abs(v[:, 0]) < 32.0 + METAL_REACH_MM)
            & (v[:, 1] > f.body_front - METAL_REACH_MM)
            & (v[:, 1] < f.canal_front + 26.0 + METAL_REACH_MM)
        )
        near &= np.abs(v[:, 2]) < f.body_height / 2.0 + METAL_REACH_MM
        amount = float(near.sum() * np.prod(ct.spacing_mm))
        if amount > METAL_MM3:
            findings.append(
                Finding(
                    "METAL",
                    f"{level}: {amount:.0f} mm3 above {METAL_HU} HU within {METAL_REACH_MM:.0f} mm: metal; borders and numbers near it cannot be trusted",
                )
            )
    own = labels.volume.data[tuple(box)] == labels.value(level)
    inside = ct.data[tuple(box)][own]
    top = float(np.percentile(inside[:: max(1, len(inside) // 50_000)], 95))
    if top < 220.0:
        findings.append(
            Finding(
                "BAD_GEOMETRY",
                f"{level}: 95 % of the labelled voxels lie below {top:.0f} HU; there is no bone under this label (another image?)",
            )
        )
    return findings


def check_proportions(anatomies: dict[str, Anatomy]) -> dict[str, list[Finding]]:
    """Sizes and proportions of all levels together. One level off alone is collapsed; most levels off together is a wrong spacing."""
    found: dict[str, list[Finding]] = {level: [] for level in anatomies}
    ratios = {}
    for level, a in anatomies.items():
        if level not in HEIGHT_MM:
            continue
        h, w, d = a.frame.body_height, a.frame.body_width, a.frame.body_depth
        expected = HEIGHT_MM[level] / np.sqrt(WIDTH_MM[level] * DEPTH_MM[level])
        ratios[level] = float(h / np.sqrt(max(w * d, 1.0)) / expected)
        for name, value, mean in (
            ("height", h, HEIGHT_MM[level]),
            ("width", w, WIDTH_MM[level]),
            ("depth", d, DEPTH_MM[level]),
        ):
            tolerance = SIZE_TOLERANCE[name]
            if name == "height" and value < mean:
                continue  # a low body is judged by its proportions below, with the other levels
            if not (1.0 - tolerance) * mean <= value <= (1.0 + tolerance) * mean:
                found[level].append(
                    Finding(
                        "BAD_GEOMETRY",
                        f"{level}: body {name} {value:.1f} mm, believable are {(1 - tolerance) * mean:.0f} to "
                        f"{(1 + tolerance) * mean:.0f}; wrong spacing, unit or level?",
                    )
                )
    if not ratios:
        return found
    middle = float(np.median(list(ratios.values())))
    for level, ratio in ratios.items():
        if abs(ratio - 1.0) <= ASPECT_TOLERANCE:
            continue
        h = anatomies[level].frame.body_height
        if len(ratios) >= 2 and abs(middle - 1.0) < ASPECT_TOLERANCE / 2.0 and ratio < 1.0:
            found[level].append(
                Finding(
                    "LOW_CONFIDENCE",
                    f"{level}: body height {h:.1f} mm is {100 * ratio:.0f} % of what its width and depth suggest, the other "
                    f"levels are in proportion: collapsed or fractured body?",
                )
            )
        else:
            found[level].append(
                Finding(
                    "BAD_GEOMETRY",
                    f"{level}: body {h:.1f} mm high is {100 * ratio:.0f} % of what its width and depth suggest: the slice spacing "
                    f"of the image is probably wrong (or every level is collapsed)",
                )
            )
    return found


def check_order(labels: Labels, boxes: dict[str, tuple[slice, ...]]) -> list[str]:
    """Levels present must follow one another from cranial to caudal in the image; the texts name pairs that do not."""
    texts = []
    order = [name for name in LEVELS if name in boxes]
    heights = {
        name: float(labels.volume.to_lps(np.array([(b.start + b.stop - 1) / 2.0 for b in boxes[name]]))[0][2])
        for name in order
    }
    for upper, lower in itertools.pairwise(order):
        if heights[upper] <= heights[lower]:
            texts.append(f"{upper} lies below {lower} in the image: labels out of order, or the image is upside down")
        elif LEVELS.index(lower) == LEVELS.index(upper) + 1 and heights[upper] - heights[lower] > 62.0:
            texts.append(
                f"{upper} and {lower} lie {heights[upper] - heights[lower]:.0f} mm apart: a level is missing between them or wrongly numbered"
            )
    return texts
