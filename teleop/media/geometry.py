"""Where a point of an ultrasound picture is in the patient: what the picture's sender and its readers must agree on.

The picture is a fan of a convex probe: shares of its width and height -> probe frame (mm; +z into the body, +x to the right).
"""

from math import cos, sin

import numpy as np

#: The probe's face (mm), its field (rad), depth (mm), and the full picture's size in pixels.
RADIUS_MM, FIELD_RAD, DEPTH_MM = 50.0, 1.05, 80.0
WIDTH, HEIGHT = 448, 336


def mm_per_pixel(radius: float, field: float, depth: float, width: int, height: int) -> float:
    """Size of a (square) pixel so that the fan fills the picture, with 3 % to spare."""
    return max(2 * (radius + depth) * sin(field / 2) / width, (depth + radius * (1 - cos(field / 2))) / height) * 1.03


def _probe_T_share() -> np.ndarray:
    size = mm_per_pixel(RADIUS_MM, FIELD_RAD, DEPTH_MM, WIDTH, HEIGHT)
    m = np.zeros((4, 4))
    m[0, 0], m[0, 3] = WIDTH * size, -WIDTH / 2 * size
    m[2, 1], m[2, 3] = HEIGHT * size, -RADIUS_MM * (1 - cos(FIELD_RAD / 2)) - 1.0
    m[1, 2], m[3, 3] = 1.0, 1.0
    return m


#: (x share, y share, 0, 1) -> probe frame, mm.
PROBE_T_SHARE = _probe_T_share()
