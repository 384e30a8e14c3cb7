"""Published vertebral dimensions, in millimetres and degrees, and how a patient is drawn from them.

Sources
-------
* L1-L5 shape: one complete set of Visible-Human measurements as tabulated by the LMG lumbar generator
  (CELavecchia/LMG, ``lib/parameter_visual_human_gui.m``, BSD-3).
* Pedicle angle, spread of the width, depth to the anterior cortex along the pedicle axis (L2-L5, S1): CT of 100 Chinese
  adults, 764 pedicles (PMID 8087710). L1 is not in that series: its angle follows the L1 value of Zindrick 1987 and its depth
  is the L1 endplate depth plus the mean posterior part (about 11 mm) of L2-L5.
* T1-T12: pedicle width (Kaur; T2-T3, T6-T11 interpolated between T1, T4/T5 and T12), transverse angle and pedicle height
  (Demiroz, 1512 pedicles: 33 deg at T1 to 3 deg at T12; 7.2 mm to 11.7 mm), chord length 34-40 mm. Body sizes of the thorax
  are interpolated between round textbook values; they are a plausible background, not a calibrated population.
* Cortex of the pedicle wall (L3 histology): superior 1.3, inferior 1.6, medial 0.8, lateral 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

LUMBAR: tuple[str, ...] = ("L1", "L2", "L3", "L4", "L5")
THORACIC: tuple[str, ...] = tuple(f"T{i}" for i in range(1, 13))
LEVELS: tuple[str, ...] = (*THORACIC, *LUMBAR, "S1")
"""Cranial to caudal."""

TOTALSEGMENTATOR: dict[str, int] = {
    "S1": 26,
    **{f"L{i}": 32 - i for i in range(1, 6)},
    **{f"T{i}": 44 - i for i in range(1, 13)},
}
"""Label value of each level in the TotalSegmentator v2 scheme (L5 27 ... L1 31, T12 32 ... T1 43)."""


@dataclass(frozen=True)
class VertebraSize:
    """One vertebra's dimensions. Lengths in mm, angles in degrees.

    ``transverse_deg`` > 0: the pedicle converges towards the midline going forwards. ``sagittal_deg`` > 0: it climbs going forwards.
    ``depth_mm`` is measured along the pedicle axis from the dorsal cortex to the anterior cortex.
    Left and right values differ, hence the pairs (left, right).
    """

    level: str
    width_upper: float
    width_lower: float
    depth_upper: float
    depth_lower: float
    height: float
    canal_depth: float
    canal_width: float
    transverse_span: float
    disc_below: float
    pedicle_height: tuple[float, float]
    pedicle_width: tuple[float, float]
    transverse_deg: tuple[float, float]
    sagittal_deg: tuple[float, float]
    depth_mm: tuple[float, float]
    wedge_deg: float = 0.0
    collapse: float = 1.0


# level: EPW up/low, EPD up/low, body height, canal depth/width, TP span, disc below, pedicle height, pedicle width,
#        width SD, transverse angle, angle SD, sagittal angle, depth, depth SD, wedge (deg, > 0: anterior higher)
_TABLE: dict[str, tuple[float, ...]] = {
    "L1": (46.6, 48.8, 36.2, 37.7, 29.4, 18.0, 22.3, 74.2, 9.1, 15.7, 8.2, 1.3, 10.9, 4.0, 2.4, 49.0, 6.0, 0.0),
    "L2": (49.7, 50.5, 43.5, 44.8, 31.6, 16.9, 22.2, 88.8, 11.1, 16.3, 9.3, 1.5, 13.9, 4.9, 1.8, 57.5, 7.2, 0.5),
    "L3": (49.0, 52.2, 42.5, 39.0, 30.7, 16.0, 22.6, 96.9, 12.9, 17.4, 13.6, 2.2, 13.4, 5.1, 0.2, 52.4, 7.5, 1.0),
    "L4": (52.7, 53.4, 40.2, 38.7, 30.1, 17.0, 24.0, 96.8, 11.1, 18.0, 15.0, 2.4, 16.2, 5.9, 0.2, 52.7, 8.4, 2.0),
    "L5": (54.5, 54.2, 37.9, 36.1, 29.0, 17.0, 25.0, 97.5, 9.3, 17.3, 15.0, 2.8, 27.8, 7.2, -1.8, 48.8, 7.2, 6.0),
    "S1": (54.0, 48.0, 36.0, 30.0, 30.0, 16.0, 28.0, 100.0, 5.0, 20.0, 20.0, 2.5, 32.0, 6.0, 0.0, 47.0, 6.0, 6.0),
}
for _i in range(1, 13):
    _f = (_i - 1) / 11.0
    _width = float(np.interp(_i, [1, 4, 5, 6, 9, 12], [9.0, 5.2, 5.1, 5.4, 6.2, 8.3]))
    _epd = 17.0 + 14.0 * _f + 2.0
    _TABLE[f"T{_i}"] = (
        26.0 + 16.0 * _f + 2.0, 27.0 + 17.0 * _f + 2.0, _epd, _epd + 0.5, 16.5 + 10.0 * _f, 15.5 + 1.5 * _f, 18.0 + 3.0 * _f, 68.0 - 8.0 * _f,
        3.0 + 3.5 * _f, 9.0 + 6.0 * _f, _width, 0.9, 33.0 - 30.0 * _f, 3.5, 6.0 - 3.0 * _f, max(37.0, _epd + 13.0), 2.5, -1.0,
    )  # fmt: skip


def published(level: str) -> VertebraSize:
    """The published mean vertebra of a level. Raises KeyError with the known levels for another name."""
    if level not in _TABLE:
        raise KeyError(f"no published dimensions for level {level!r}; known: {', '.join(LEVELS)}")
    r = _TABLE[level]
    return VertebraSize(
        level,
        r[0],
        r[1],
        r[2],
        r[3],
        r[4],
        r[5],
        r[6],
        r[7],
        r[8],
        (r[9], r[9]),
        (r[10], r[10]),
        (r[12], r[12]),
        (r[14], r[14]),
        (r[15], r[15]),
        r[17],
    )


def draw_patient(levels: tuple[str, ...], rng: np.random.Generator, spread: float = 1.0) -> list[VertebraSize]:
    """Draw one patient's vertebrae: a body-size factor shared by the patient, then independent spread per level and side.

    spread: 0 gives the published means exactly, 1 a population. Deviates are clipped at two standard deviations, so that no draw
    is a different species; pedicle depth keeps only a quarter of its own spread because body size already moves it.
    """

    def deviate() -> float:
        return float(np.clip(rng.normal(), -2.0, 2.0)) * spread

    patient = 1.0 + 0.05 * deviate()
    wide, angle = deviate(), deviate()
    sizes = []
    for level in levels:
        mean, r = published(level), _TABLE[level]

        def jitter(value: float, relative: float) -> float:
            return value * patient * (1.0 + relative * deviate())

        width_sd, angle_sd, depth_sd = r[11], r[13], r[16]
        shared_width = mean.pedicle_width[0] * patient + 0.7 * width_sd * wide + 0.5 * width_sd * deviate()
        shared_angle = mean.transverse_deg[0] + 0.6 * angle_sd * angle + 0.3 * angle_sd * deviate()
        widths = tuple(max(2.5, shared_width * (1.0 + 0.04 * deviate())) for _ in range(2))
        angles = tuple(shared_angle + 1.2 * deviate() for _ in range(2))
        heights_ratio = 1.0 + 0.05 * deviate()
        depth_shared = mean.depth_mm[0] * patient + 0.25 * depth_sd * deviate()
        sizes.append(
            replace(
                mean,
                width_upper=jitter(mean.width_upper, 0.03),
                width_lower=jitter(mean.width_lower, 0.03),
                depth_upper=jitter(mean.depth_upper, 0.03),
                depth_lower=jitter(mean.depth_lower, 0.03),
                height=jitter(mean.height, 0.03),
                canal_depth=jitter(mean.canal_depth, 0.04),
                canal_width=jitter(mean.canal_width, 0.04),
                transverse_span=jitter(mean.transverse_span, 0.04),
                disc_below=jitter(mean.disc_below, 0.10),
                pedicle_height=tuple(
                    mean.pedicle_height[0] * patient * heights_ratio * (1.0 + 0.02 * deviate()) for _ in range(2)
                ),  # type: ignore[arg-type]
                pedicle_width=widths,  # type: ignore[arg-type]
                transverse_deg=angles,  # type: ignore[arg-type]
                sagittal_deg=tuple(mean.sagittal_deg[0] + 1.0 * deviate() for _ in range(2)),  # type: ignore[arg-type]
                depth_mm=tuple(depth_shared + 0.4 * deviate() for _ in range(2)),  # type: ignore[arg-type]
                wedge_deg=mean.wedge_deg + 1.0 * deviate(),
            )
        )
    return sizes
