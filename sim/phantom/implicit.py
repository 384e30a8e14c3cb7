"""The implicit functions: a vertebra is the zero set of f(x, y, z), negative in bone. Compiled with numba, cached.

Local vertebra frame, millimetres: origin at the centre of the body, x to the patient's left, y posterior, z superior.
A shape is a ``float64`` array of primitive rows (`ROW` columns), joined by a polynomial smooth minimum, minus the canal:

* row type 0, *limb*: a tapered, elliptical, round-ended segment from a to b. First-order distance k0 (k0 - 1) / k1 (the usual ellipsoid
  bound): exact zero set, distance right to first order near it.
* row type 1, *body*: superelliptic cross-section between two endplate widths/depths, waist, dished endplates, wedge.
* row type 2, *canal*: superelliptic tube along z, subtracted.

f is a distance only near the surface. Whoever needs a length (the judge) casts rays at the zero set or projects onto it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ROW = 28
LIMB, BODY, CANAL = 0.0, 1.0, 2.0


def limb(
    a: np.ndarray,
    b: np.ndarray,
    up: np.ndarray,
    w: tuple[float, float],
    h: tuple[float, float],
    cap: tuple[float, float],
    flare: tuple[float, float] = (0.0, 0.0),
    smooth: float = 3.0,
) -> np.ndarray:
    """A limb row. a, b: (3,) ends, mm. up: direction of the second semi-axis. w, h: semi-axes at a and b. cap: how far the round ends reach.

    flare: extra semi-axes (w, h) at both ends, growing with the square of the distance from the middle, so that the middle is an isthmus.
    """
    d = b - a
    length = float(np.linalg.norm(d))
    d = d / length
    e2 = up - d * float(up @ d)
    e2 = e2 / np.linalg.norm(e2)
    e1 = np.cross(e2, d)
    row = np.zeros(ROW)
    row[0], row[1] = LIMB, smooth
    row[2:5], row[5:8], row[8] = a, d, length
    row[9:12], row[12:15] = e1, e2
    row[15:17], row[17:19], row[19:21], row[21:23] = w, h, cap, flare
    row[23] = length / 2.0 + max(*cap, max(w) + flare[0], max(h) + flare[1]) + 1.0  # bounding sphere about the middle
    return row


def body(
    width: tuple[float, float],
    depth: tuple[float, float],
    height: float,
    waist: tuple[float, float],
    dish: float,
    wedge_rad: float,
) -> np.ndarray:
    """A body row; pairs are (lower, upper). wedge > 0: anterior height larger, measured between the endplates."""
    row = np.zeros(ROW)
    row[0], row[1] = BODY, 3.0
    row[2:4], row[4:6], row[6], row[7:9], row[9], row[10] = width, depth, height, waist, dish, np.tan(wedge_rad / 2.0)
    return row


def canal(centre_y: float, half_width: float, half_depth: float, drop: float, power: float = 2.3) -> np.ndarray:
    """A canal row. drop: y shift per mm of z, so that the tube can lean with the posterior wall."""
    row = np.zeros(ROW)
    row[0] = CANAL
    row[2:7] = centre_y, half_width, half_depth, drop, power
    return row


@njit(cache=True, fastmath=False)
def _limb(p, x, y, z):
    rx, ry, rz = x - p[2], y - p[3], z - p[4]
    along = rx * p[5] + ry * p[6] + rz * p[7]
    c1 = rx * p[9] + ry * p[10] + rz * p[11]
    c2 = rx * p[12] + ry * p[13] + rz * p[14]
    t = along / p[8]
    over = 0.0
    cap = 1.0
    if t < 0.0:
        over, cap, t = along, p[19], 0.0
    elif t > 1.0:
        over, cap, t = along - p[8], p[20], 1.0
    s = (2.0 * t - 1.0) * (2.0 * t - 1.0)
    w = p[15] + (p[16] - p[15]) * t + p[21] * s
    h = p[17] + (p[18] - p[17]) * t + p[22] * s
    q1, q2, q3 = c1 / w, c2 / h, over / cap
    k0 = np.sqrt(q1 * q1 + q2 * q2 + q3 * q3)
    if k0 < 1e-6:
        return -min(w, h)
    k1 = np.sqrt((q1 / w) ** 2 + (q2 / h) ** 2 + (q3 / cap) ** 2)
    return k0 * (k0 - 1.0) / k1


@njit(cache=True)
def _superellipse(x, y, a, b, n):
    """First-order signed distance to |x/a|^n + |y/b|^n = 1, and the normalised radius."""
    u, v = abs(x) / a, abs(y) / b
    g = u**n + v**n
    if g < 1e-9:
        return -min(a, b), 0.0
    rho = g ** (1.0 / n)
    scale = rho / g
    du = scale * u ** (n - 1.0) / a
    dv = scale * v ** (n - 1.0) / b
    return (rho - 1.0) / np.sqrt(du * du + dv * dv), rho


@njit(cache=True)
def _smax(a, b, k):
    h = max(k - abs(a - b), 0.0) / k
    return max(a, b) + h * h * k * 0.25


@njit(cache=True)
def _body(p, x, y, z):
    height = p[6]
    t = min(1.0, max(0.0, (z + height / 2.0) / height))
    bulge = 1.0 - (2.0 * t - 1.0) ** 2
    # far away any monotone bound will do: only the sign and being far are used there, and powers are dear
    out_x, out_y, out_z = (
        abs(x) - max(p[2], p[3]) / 2.0,
        abs(y) - max(p[4], p[5]) / 2.0 - 2.0,
        abs(z) - height / 2.0 - 4.0,
    )
    far = max(out_x, max(out_y, out_z))
    if far > 9.0:
        return far
    a = (p[2] + (p[3] - p[2]) * t) / 2.0 - p[7] * bulge
    b = (p[4] + (p[5] - p[4]) * t) / 2.0 - p[8] * bulge / 2.0
    side, rho = _superellipse(x, y - p[8] * bulge / 2.0, a, b, 2.4)
    inner = max(0.0, 1.0 - rho * rho)
    reach = height / 2.0 - p[9] * inner - p[10] * y
    return _smax(side, abs(z) - reach, 3.0)


@njit(cache=True)
def shape_at(rows, x, y, z):
    """f at one local point."""
    f = 1e3
    hole = 1e3
    for i in range(rows.shape[0]):
        p = rows[i]
        if p[0] == 0.0:
            mx, my, mz = p[2] + 0.5 * p[8] * p[5] - x, p[3] + 0.5 * p[8] * p[6] - y, p[4] + 0.5 * p[8] * p[7] - z
            gone = f + p[1] + p[23]
            if gone > 0.0 and mx * mx + my * my + mz * mz > gone * gone:
                continue  # its bounding sphere is further than what is already nearer: it cannot join in
            d = _limb(p, x, y, z)
        elif p[0] == 1.0:
            d = _body(p, x, y, z)
        else:
            if f < 6.0:
                hole, _ = _superellipse(x, y - p[2] - p[5] * z, p[3], p[4], p[6])
            continue
        k = p[1]
        h = max(k - abs(f - d), 0.0) / k
        f = min(f, d) - h * h * k * 0.25
    return _smax(f, -hole, 1.0)


@njit(cache=True)
def canal_at(rows, x, y, z):
    """Signed distance (first order) to the canal tube, negative inside it."""
    for i in range(rows.shape[0]):
        p = rows[i]
        if p[0] == 2.0:
            d, _ = _superellipse(x, y - p[2] - p[5] * z, p[3], p[4], p[6])
            return d
    return 1e3


@njit(cache=True)
def limb_at(rows, index, x, y, z):
    """First-order distance to the one limb of that row."""
    return _limb(rows[index], x, y, z)


@njit(cache=True)
def shape_points(rows, points):
    """f at (N, 3) local points."""
    out = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        out[i] = shape_at(rows, points[i, 0], points[i, 1], points[i, 2])
    return out


@njit(cache=True)
def shape_points_posed(rows, pose, points):
    """f at (N, 3) points given in the frame of which `pose` (4 x 4) places the local frame."""
    out = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - pose[0, 3], points[i, 1] - pose[1, 3], points[i, 2] - pose[2, 3]
        out[i] = shape_at(
            rows,
            x * pose[0, 0] + y * pose[1, 0] + z * pose[2, 0],
            x * pose[0, 1] + y * pose[1, 1] + z * pose[2, 1],
            x * pose[0, 2] + y * pose[1, 2] + z * pose[2, 2],
        )
    return out


@njit(cache=True)
def canal_points(rows, points):
    out = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        out[i] = canal_at(rows, points[i, 0], points[i, 1], points[i, 2])
    return out


@njit(cache=True)
def limb_points(rows, index, points):
    out = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        out[i] = limb_at(rows, index, points[i, 0], points[i, 1], points[i, 2])
    return out


@njit(cache=True)
def shape_grid(rows, origin, di, dj, dk, shape, block):
    """f on the grid origin + i di + j dj + k dk (all local mm), skipping blocks that cannot hold the surface.

    A block whose centre is further than 1.6 half-diagonals + 2 mm from the surface is filled with its centre value: only its sign and its being
    far (more than a blurred edge is wide) matter there. The factor covers f's first-order slope error (|grad f| <= 1.5 seen over random vertebrae).
    """
    out = np.empty((shape[0], shape[1], shape[2]), dtype=np.float32)
    half = block / 2.0
    diagonal = half * np.sqrt(np.sum(di * di) + np.sum(dj * dj) + np.sum(dk * dk))
    for i0 in range(0, shape[0], block):
        for j0 in range(0, shape[1], block):
            for k0 in range(0, shape[2], block):
                ci, cj, ck = i0 + half - 0.5, j0 + half - 0.5, k0 + half - 0.5
                x = origin[0] + ci * di[0] + cj * dj[0] + ck * dk[0]
                y = origin[1] + ci * di[1] + cj * dj[1] + ck * dk[1]
                z = origin[2] + ci * di[2] + cj * dj[2] + ck * dk[2]
                f = shape_at(rows, x, y, z)
                skip = abs(f) > 1.6 * diagonal + 2.0
                for i in range(i0, min(i0 + block, shape[0])):
                    for j in range(j0, min(j0 + block, shape[1])):
                        for k in range(k0, min(k0 + block, shape[2])):
                            if not skip:
                                x = origin[0] + i * di[0] + j * dj[0] + k * dk[0]
                                y = origin[1] + i * di[1] + j * dj[1] + k * dk[1]
                                z = origin[2] + i * di[2] + j * dj[2] + k * dk[2]
                                f = shape_at(rows, x, y, z)
                            out[i, j, k] = f
    return out
