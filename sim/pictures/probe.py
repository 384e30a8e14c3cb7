"""Where the bedside doctor's ultrasound probe is: on the skin of the back, swept slowly along the spine by hand. LPS, mm."""

import numpy as np
from numpy.typing import NDArray

#: One sweep up and down (s), and how much a hand trembles and tilts (mm, rad).
SWEEP_S = 24.0
TREMBLE_MM, TILT_RAD = 0.4, 0.05


def probe_pose(t_s: float, centre_lps_mm: NDArray[np.float64], reach_mm: float, skin_y_mm: float) -> NDArray[np.float64]:
    """lps_T_probe (4, 4) at time t: across the back (transverse slice), face on the skin, looking ventrally.

    centre_lps_mm: (3,) middle of the sweep. reach_mm: how far up and down. skin_y_mm: posterior coordinate of the skin there.
    """
    phase = 2 * np.pi * t_s / SWEEP_S
    s = reach_mm * np.sin(phase)
    tremble = TREMBLE_MM * np.array([np.sin(7.1 * t_s), 0.3 * np.sin(5.3 * t_s + 1), np.sin(6.3 * t_s + 2)])
    tilt = TILT_RAD * np.sin(0.9 * t_s)
    m = np.eye(4)
    # +x of the probe = patient left (right of the picture, as on a transverse CT), +z = anterior (into the body).
    m[:3, 0] = (1.0, 0.0, 0.0)
    m[:3, 2] = (0.0, -np.cos(tilt), np.sin(tilt))
    m[:3, 1] = np.cross(m[:3, 2], m[:3, 0])
    m[:3, 3] = np.array([centre_lps_mm[0], skin_y_mm, centre_lps_mm[2] + s]) + tremble
    return m


def skin_below(hu: NDArray[np.int16], lps_T_ijk: NDArray[np.float64], x_mm: float, z_mm: float) -> float:
    """Posterior coordinate (LPS y, mm) of the skin over (x, z): the most posterior voxel denser than -500 HU. CT axes upright."""
    ijk_T_lps = np.linalg.inv(lps_T_ijk)
    i, _, k = (ijk_T_lps @ np.array([x_mm, 0.0, z_mm, 1.0]))[:3]
    column = hu[int(np.clip(round(i), 0, hu.shape[0] - 1)), :, int(np.clip(round(k), 0, hu.shape[2] - 1))]
    inside = np.flatnonzero(column > -500)
    j = int(inside[-1]) if len(inside) else hu.shape[1] - 1
    return float((lps_T_ijk @ np.array([i, j, k, 1.0]))[1])
