"""The proof behind an honest no.

Claim: no straight axis through this pedicle keeps `need` everywhere. Every axis that reaches the body through the pedicle crosses every coronal plane
between the canal's front and the isthmus region, inside the pedicle's cross-section there. The margin field is 1-Lipschitz, so over one plane it
cannot exceed its largest grid value by more than half the grid's diagonal. The smallest of these plane bounds bounds every pose. Where that is not
below `need`, a branch and bound over (u, w, a, b) tightens it: a box of poses cannot beat its centre by more than the largest displacement of any
axis point within the box.

Between the nodes nothing is interpolated here: from each of the eight corners the field can rise by no more than the distance to it, and the least of
these eight limits is what a point is given. So the bound holds for the field itself, not only for its trilinear reading.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from teleop.planning.search import direction

BOXES = 400_000


def prove(p: Any, need: float, best_found: float) -> dict[str, Any]:
    """Try to prove that no axis keeps `need` (mm, radius + reserve). -> {certified, upper_bound_mm, need_mm, best_found_mm, kind, boxes, narrowest_lps_mm}."""
    section_bound, _y_at, point = _section_bound(p)
    result: dict[str, Any] = {
        "need_mm": need,
        "best_found_mm": best_found,
        "kind": "section",
        "boxes": 0,
        "narrowest_lps_mm": p.anatomy.frame.to_lps(point)[0].round(2).tolist(),
    }
    bound = section_bound
    if bound >= need:
        a = p.anatomy
        table = p.isthmus.sections
        near = table[np.isfinite(table[:, 2])]
        y0, y1 = p.y_at(0.2), float(near[:, 0].max())  # every screw of use reaches a fifth of the body
        half_u, half_w = p.isthmus.width / 2.0 + 1.5, p.isthmus.height / 2.0 + 1.5
        upper, boxes, found = _branch_and_bound(
            a.guarded,
            a.low,
            a.step,
            p.sign,
            p.isthmus.centre,
            np.array([half_u, half_w]),
            np.deg2rad(np.array([-15.0, 46.0, -22.0, 22.0])),
            y0,
            y1,
            need,
            BOXES,
        )
        bound = min(bound, float(upper))
        result |= {"kind": "branch-and-bound", "boxes": int(boxes)}
        if upper >= need:
            result["pose"] = [float(x) for x in found]
    result["upper_bound_mm"] = float(bound)
    result["certified"] = bool(bound < need)
    return result


def _section_bound(p: Any) -> tuple[float, float, np.ndarray]:
    a = p.anatomy
    x = a.low[0] + a.step * np.arange(a.guarded.shape[0])
    z = a.low[2] + a.step * np.arange(a.guarded.shape[2])
    f = a.frame
    lateral = np.flatnonzero(
        (p.sign * x > max(2.0, 0.4 * f.canal_half_width)) & (p.sign * x < f.canal_half_width + 24.0)
    )
    tall = np.flatnonzero(np.abs(z) < f.body_height / 2.0 + 4.0)
    best, best_y, best_point = np.inf, 0.0, p.isthmus.centre
    half_diagonal = a.step * np.sqrt(2.0) / 2.0
    for y in p.isthmus.sections[:, 0]:
        j = round((y - a.low[1]) / a.step)
        plane = a.guarded[np.ix_(lateral, [j], tall)][:, 0, :]
        top = float(plane.max()) + half_diagonal
        if top < best:
            i, k = np.unravel_index(int(plane.argmax()), plane.shape)
            best, best_y, best_point = top, float(y), np.array([x[lateral[i]], y, z[tall[k]]])
    return best, best_y, best_point


@njit(cache=True)
def ceiling(field, low, step, x, y, z):
    """The most a 1-Lipschitz field can be at a point, from the eight nodes around it. Points outside the grid get the nearest cell's limit."""
    nx, ny, nz = field.shape
    fx, fy, fz = (x - low[0]) / step, (y - low[1]) / step, (z - low[2]) / step
    i, j, k = min(max(int(fx), 0), nx - 2), min(max(int(fy), 0), ny - 2), min(max(int(fz), 0), nz - 2)
    best = 1e9
    for a in range(2):
        for b in range(2):
            for c in range(2):
                dx, dy, dz = fx - i - a, fy - j - b, fz - k - c
                value = field[i + a, j + b, k + c] + step * np.sqrt(dx * dx + dy * dy + dz * dz)
                if value < best:
                    best = value
    return best


@njit(cache=True)
def _value(guarded, low, step, sign, centre, u, w, a, b, y0, y1, enough):
    """Lowest limit of the margin field over the pose between the planes y0 and y1 (sampled every 0.5 mm: an upper estimate of the true
    minimum, as a bound needs). Stops below `enough`."""
    dx, dy, dz = direction(sign, a, b)
    best = 1e9
    n = int(np.ceil((y1 - y0) / 0.5)) + 1
    for i in range(n):
        # from the isthmus end: that is where most boxes fail
        y = y1 + (y0 - y1) * i / (n - 1)
        s = (y - centre[1]) / dy
        value = ceiling(guarded, low, step, centre[0] + u + s * dx, y, centre[2] + w + s * dz)
        if value < best:
            best = value
            if best < enough:
                return best
    return best


@njit(cache=True)
def _branch_and_bound(guarded, low, step, sign, centre, half, angles, y0, y1, need, limit):
    """Upper bound of the best pose's value. Stops at `limit` boxes or as soon as a pose >= need is found (then returns it)."""
    reach = max(abs(y0 - centre[1]), abs(y1 - centre[1]))
    stack = np.empty((200_000, 8))
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = (
        0.0,
        0.0,
        0.5 * (angles[0] + angles[1]),
        0.5 * (angles[2] + angles[3]),
    )
    stack[0, 4], stack[0, 5], stack[0, 6], stack[0, 7] = (
        half[0],
        half[1],
        0.5 * (angles[1] - angles[0]),
        0.5 * (angles[3] - angles[2]),
    )
    top = 1
    boxes = 0
    upper = -1e9
    pose = np.zeros(4)
    while top > 0:
        top -= 1
        u, w, a, b = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        hu, hw, ha, hb = stack[top, 4], stack[top, 5], stack[top, 6], stack[top, 7]
        boxes += 1
        # at plane y the point is centre + (y - yc)(tan-like slopes): slope along x is tan(a), along z is tan(b)/cos(a); both bounded over the box
        amax = max(abs(a - ha), abs(a + ha))
        bmax = max(abs(b - hb), abs(b + hb))
        dx = hu + reach * ha / np.cos(amax) ** 2
        dz = hw + reach * (
            hb / (np.cos(bmax) ** 2 * np.cos(amax)) + ha * np.tan(bmax) * np.sin(amax) / np.cos(amax) ** 2
        )
        far = np.sqrt(dx * dx + dz * dz)
        value = _value(guarded, low, step, sign, centre, u, w, a, b, y0, y1, need - far - 1e-6)
        if value >= need:
            pose[0], pose[1], pose[2], pose[3] = u, w, a, b
            return value, boxes, pose
        bound = value + far
        if bound < need or boxes + top > limit or top + 2 > 200_000:
            if bound > upper:
                upper = bound
            continue
        if max(dx, dz) < 0.02:
            if bound > upper:
                upper = bound
            continue
        # split the side that moves the axis most
        parts = (hu, hw, reach * ha / np.cos(amax) ** 2, reach * hb / (np.cos(bmax) ** 2 * np.cos(amax)))
        d = 0
        for n in range(1, 4):
            if parts[n] > parts[d]:
                d = n
        for s in (-1.0, 1.0):
            stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = u, w, a, b
            stack[top, 4], stack[top, 5], stack[top, 6], stack[top, 7] = hu, hw, ha, hb
            stack[top, 4 + d] *= 0.5
            stack[top, d] += s * stack[top, 4 + d]
            top += 1
    return upper, boxes, pose
