"""Tissue maps for the ultrasound: impedance, attenuation and echo strength of every voxel, from CT numbers and labels.

Typical values at body temperature (Duck, Physical Properties of Tissue, 1990; Szabo, Diagnostic Ultrasound Imaging, 2nd
ed., appendix B): impedance in MRayl, attenuation in dB/(cm MHz). CT noise would turn muscle into a stack of interfaces,
so soft tissue is read from a smoothed CT and bone, where the labels say so, from the CT as it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: HU, impedance (MRayl), attenuation (dB/(cm MHz)), echo strength of the scatterers (1 = muscle).
TISSUE = np.array([
    (-1100.0, 0.0004, 40.0, 0.00),  # air
    (-500.0, 0.0004, 40.0, 0.00),
    (-200.0, 1.30, 1.0, 0.30),
    (-95.0, 1.38, 0.48, 0.55),  # fat
    (20.0, 1.52, 0.01, 0.03),  # fluid
    (35.0, 1.63, 0.60, 0.60),
    (55.0, 1.70, 1.09, 1.00),  # muscle
    (90.0, 1.72, 1.20, 0.85),  # disc
    (180.0, 2.20, 6.0, 0.70),  # cancellous bone
    (500.0, 3.80, 12.0, 0.60),
    (1050.0, 6.50, 20.0, 0.50),  # cortical bone
    (3000.0, 40.0, 40.0, 0.10),  # steel
])  # fmt: skip
SMOOTH_MM = 1.2


@dataclass(frozen=True)
class AcousticMap:
    """tissue: (ni, nj, nk, 3) float32: impedance, attenuation, echo strength. ijk_T_lps: (4, 4), LPS mm to voxel index."""

    tissue: NDArray[np.float32]
    ijk_T_lps: NDArray[np.float64]


def acoustic_map(hu: NDArray[np.int16], labels: NDArray[np.uint8], lps_T_ijk: NDArray[np.float64]) -> AcousticMap:
    """hu, labels: (ni, nj, nk), labels > 0 = bone of some vertebra. Raises ValueError when the shapes differ."""
    if hu.shape != labels.shape:
        raise ValueError(f"CT has shape {hu.shape}, labels {labels.shape}: they must be of the same grid")
    spacing = np.linalg.norm(lps_T_ijk[:3, :3], axis=0)
    raw = hu.astype(np.float32)
    soft = ndimage.gaussian_filter(raw, SMOOTH_MM / spacing)
    # Bone and air keep their sharp edges: those are the interfaces that one sees.
    bone = ndimage.binary_dilation(labels > 0)
    value = np.where(bone | (raw < -500.0), raw, np.minimum(soft, 120.0))
    tissue = np.empty((*hu.shape, 3), dtype=np.float32)
    for k in range(3):
        tissue[..., k] = np.interp(value, TISSUE[:, 0], TISSUE[:, k + 1])
    return AcousticMap(tissue, np.linalg.inv(lps_T_ijk).astype(np.float64))
