"""The screw search's inner loop. numba kernels, cached. Index-free: points and lengths are v millimetres, `low` and `step` map them to the grid.

A pose is (u, w, a, b): offsets along x and z from the isthmus centre (mm), convergence and cranial angles from straight-forward (-y),
radians; convergence positive
towards the midline. The kernels march along the axis using that the fields are 1-Lipschitz: from a point whose value exceeds the best minimum by m, nothing
within m can lower it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from teleop.planning.distance import sample

ENTRY_EXCLUDED_MM = 4.0
SKIVING_COS = 0.6428
"""cos 50 deg: entries on steeper surfaces are refused, drills slide off them."""
MIN_STEP_MM = 0.35


@njit(cache=True)
def at(field, low, step, x, y, z):
    return sample(field, (x - low[0]) / step, (y - low[1]) / step, (z - low[2]) / step)


@njit(cache=True)
def direction(sign, a, b):
    """Unit axis of convergence a and cranial angle b."""
    return -sign * np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)


@njit(cache=True)
def bone_end(solid, low, step, px, py, pz, dx, dy, dz, reach):
    """Distance from p along d to where the occupancy falls below one half, by march and bisection; `reach` when it does not. 0 when p is outside."""
    if at(solid, low, step, px, py, pz) <= 0.5:
        return 0.0
    s = 0.0
    while s < reach:
        s += 0.6
        if at(solid, low, step, px + s * dx, py + s * dy, pz + s * dz) <= 0.5:
            a, b = s - 0.6, s
            for _ in range(7):
                c = 0.5 * (a + b)
                if at(solid, low, step, px + c * dx, py + c * dy, pz + c * dz) > 0.5:
                    a = c
                else:
                    b = c
            return 0.5 * (a + b)
    return reach


@njit(cache=True)
def entry_cosine(solid, low, step, x, y, z, dx, dy, dz):
    """Cosine between the axis and the inward surface normal at an entry point, from the occupancy's gradient over +-1.4 mm."""
    h = 1.4
    gx = at(solid, low, step, x + h, y, z) - at(solid, low, step, x - h, y, z)
    gy = at(solid, low, step, x, y + h, z) - at(solid, low, step, x, y - h, z)
    gz = at(solid, low, step, x, y, z + h) - at(solid, low, step, x, y, z - h)
    norm = np.sqrt(gx * gx + gy * gy + gz * gz)
    if norm < 1e-6:
        return 0.0
    return (gx * dx + gy * dy + gz * dz) / norm


@njit(cache=True)
def lowest(field, low, step, px, py, pz, dx, dy, dz, s0, s1, give_up):
    """Minimum of a 1-Lipschitz field over p + s d, s in [s0, s1] (to within half of MIN_STEP). Stops early once below `give_up`."""
    best = at(field, low, step, px + s1 * dx, py + s1 * dy, pz + s1 * dz)
    s = s0
    while s < s1 and best >= give_up:
        value = at(field, low, step, px + s * dx, py + s * dy, pz + s * dz)
        if value < best:
            best = value
        s += max(MIN_STEP_MM, value - best)
    return best


@njit(cache=True)
def evaluate(solid, guarded, low, step, sign, centre, pose, y_tip, y_back, facet, facet_margin, give_up, out):
    """Score one pose. out: (5,) gets [clear, s_entry, s_exit, s_tip, facet distance]; clear = lowest guarded value from entry + 4 mm to
    y_tip; -99 when not a screw.

    s is measured from the isthmus plane point; s_entry < 0.
    """
    px, py, pz = centre[0] + pose[0], centre[1], centre[2] + pose[1]
    dx, dy, dz = direction(sign, pose[2], pose[3])
    out[0] = -99.0
    first = at(guarded, low, step, px, py, pz)
    if first < give_up:
        return
    back = bone_end(solid, low, step, px, py, pz, -dx, -dy, -dz, 45.0)
    if back >= 45.0 or back <= 1.0:
        return
    y_entry = py - back * dy
    if y_entry < y_back:
        return
    s_tip = (y_tip - py) / dy
    s0 = min(-back + ENTRY_EXCLUDED_MM, 0.0)
    clear = lowest(guarded, low, step, px, py, pz, dx, dy, dz, s0, s_tip, give_up)
    out[1] = -back
    out[3] = s_tip
    if clear < give_up:
        return
    near = 99.0
    ex, ey, ez = px - back * dx, py - back * dy, pz - back * dz
    for n in range(facet.shape[0]):
        rx, ry, rz = facet[n, 0] - ex, facet[n, 1] - ey, facet[n, 2] - ez
        t = rx * dx + ry * dy + rz * dz
        t = min(max(t, -3.0), back)
        d = np.sqrt((rx - t * dx) ** 2 + (ry - t * dy) ** 2 + (rz - t * dz) ** 2)
        if d < near:
            near = d
    out[4] = near
    clear = min(clear, near - facet_margin)
    if clear < give_up:
        return
    if entry_cosine(solid, low, step, ex, ey, ez, dx, dy, dz) < SKIVING_COS:
        return
    out[0] = clear


@njit(cache=True)
def coarse_search(solid, guarded, low, step, sign, centre, y_tip, y_back, facet, facet_margin, us, ws, avs, bvs, keep):
    """Best `keep` poses of a grid by clear, best first. -> (keep, 5): clear, u, w, a, b (clear -99 where fewer exist)."""
    top = np.full((keep, 5), -99.0)
    out = np.zeros(5)
    pose = np.zeros(4)
    for u in us:
        for w in ws:
            if at(guarded, low, step, centre[0] + u, centre[1], centre[2] + w) < max(top[keep - 1, 0], -1.5):
                continue
            for a in avs:
                for b in bvs:
                    pose[0], pose[1], pose[2], pose[3] = u, w, a, b
                    evaluate(
                        solid,
                        guarded,
                        low,
                        step,
                        sign,
                        centre,
                        pose,
                        y_tip,
                        y_back,
                        facet,
                        facet_margin,
                        max(top[keep - 1, 0], -1.5),
                        out,
                    )
                    if out[0] > top[keep - 1, 0]:
                        n = keep - 1
                        while n > 0 and top[n - 1, 0] < out[0]:
                            top[n] = top[n - 1]
                            n -= 1
                        top[n, 0] = out[0]
                        top[n, 1:] = pose
    return top


@njit(cache=True)
def climb_clearance(
    solid, guarded, low, step, sign, centre, pose, y_tip, y_back, facet, facet_margin, first_mm, first_rad, last_mm
):
    """Pattern search for the largest clear. -> (clear, pose)."""
    out = np.zeros(5)
    best = pose.copy()
    evaluate(solid, guarded, low, step, sign, centre, best, y_tip, y_back, facet, facet_margin, -50.0, out)
    value = out[0]
    size = 1.0
    trial = np.zeros(4)
    while first_mm * size >= last_mm:
        moved = False
        for d in range(4):
            for s in (-1.0, 1.0):
                trial[:] = best
                trial[d] += s * size * (first_mm if d < 2 else first_rad)
                evaluate(solid, guarded, low, step, sign, centre, trial, y_tip, y_back, facet, facet_margin, value, out)
                if out[0] > value + 1e-6:
                    value = out[0]
                    best[:] = trial
                    moved = True
        for d in range(2):  # a shift of the axis is often only good together with a turn
            for s in (-1.0, 1.0):
                for t in (-1.0, 1.0):
                    trial[:] = best
                    trial[d] += s * size * first_mm
                    trial[d + 2] += t * size * first_rad
                    evaluate(
                        solid, guarded, low, step, sign, centre, trial, y_tip, y_back, facet, facet_margin, value, out
                    )
                    if out[0] > value + 1e-6:
                        value = out[0]
                        best[:] = trial
                        moved = True
        if not moved:
            size *= 0.5
    return value, best


@njit(cache=True)
def utility(clear, need, pose, prior, length_gain, head_x, head_weight, cap):
    """Smooth preference among safe poses: spare clearance up to a cap, centred in the isthmus, near the pedicle's axis and the endplate plane."""
    spare = min(clear - need, cap)
    cost = (
        (pose[0] / 2.0) ** 2
        + (pose[1] / 3.0) ** 2
        + ((pose[2] - prior[0]) / 0.10) ** 2
        + ((pose[3] - prior[1]) / 0.12) ** 2
    )
    return 1.2 * spare - 0.25 * cost + length_gain - head_weight * head_x * head_x


@njit(cache=True)
def climb_utility(
    solid,
    guarded,
    low,
    step,
    sign,
    centre,
    pose,
    need,
    prior,
    y_tip,
    y_back,
    facet,
    facet_margin,
    rod,
    head_weight,
    cap,
    first_mm,
    first_rad,
    last_mm,
):
    """Pattern search for the utility among poses with clear >= need. rod: x, y wanted for the head (5 mm behind the entry). -> (utility, clear, pose)."""
    out = np.zeros(5)
    best = pose.copy()
    value, kept = -1e9, -99.0
    size = 1.0
    trial = np.zeros(4)
    first = True
    while first or first_mm * size >= last_mm:
        moved = False
        for move in range(17):
            trial[:] = best
            if first and move > 0:
                break
            if move > 8:
                m = move - 9
                d = m // 4
                trial[d] += (1.0 if m % 2 == 0 else -1.0) * size * first_mm
                trial[d + 2] += (1.0 if (m // 2) % 2 == 0 else -1.0) * size * first_rad
            elif move > 0:
                d = (move - 1) // 2
                trial[d] += (1.0 if move % 2 == 0 else -1.0) * size * (first_mm if d < 2 else first_rad)
            evaluate(solid, guarded, low, step, sign, centre, trial, y_tip, y_back, facet, facet_margin, need, out)
            if out[0] < need:
                continue
            dx, _dy, _dz = direction(sign, trial[2], trial[3])
            hx = centre[0] + trial[0] + (out[1] - 5.0) * dx - rod[0]
            u = utility(out[0], need, trial, prior, 0.0, hx, head_weight, cap)
            if u > value + 1e-6:
                value, kept = u, out[0]
                best[:] = trial
                moved = True
        if not moved and not first:
            size *= 0.5
        first = False
        if value < -1e8:
            break
    return value, kept, best


@njit(cache=True)
def grade_a_share(bone, low, step, entry, axis, e1, e2, s_from, s_to, radius, shifts):
    """Share of executed screws that stay inside bone in the pedicle zone.

    shifts: (N, 4): lateral error at the entry along e1, e2 (mm) and direction error about them (rad). A trial is grade A when the bone field is >= radius from
    s_from to s_to.
    """
    good = 0
    for n in range(shifts.shape[0]):
        px = entry[0] + shifts[n, 0] * e1[0] + shifts[n, 1] * e2[0]
        py = entry[1] + shifts[n, 0] * e1[1] + shifts[n, 1] * e2[1]
        pz = entry[2] + shifts[n, 0] * e1[2] + shifts[n, 1] * e2[2]
        dx = axis[0] + shifts[n, 2] * e1[0] + shifts[n, 3] * e2[0]
        dy = axis[1] + shifts[n, 2] * e1[1] + shifts[n, 3] * e2[1]
        dz = axis[2] + shifts[n, 2] * e1[2] + shifts[n, 3] * e2[2]
        norm = np.sqrt(dx * dx + dy * dy + dz * dz)
        if lowest(bone, low, step, px, py, pz, dx / norm, dy / norm, dz / norm, s_from, s_to, radius) >= radius:
            good += 1
    return good / shifts.shape[0]


@njit(cache=True)
def ring_walls(solid, low, step, centre, e1, e2, theta, reach):
    """(n, rays) distance from each axis point to the end of bone along each ray (march 0.4 mm, bisection); 0 outside bone, `reach` when it does not end."""
    out = np.empty((centre.shape[0], theta.shape[0]))
    for n in range(centre.shape[0]):
        for t in range(theta.shape[0]):
            c, s = np.cos(theta[t]), np.sin(theta[t])
            dx, dy, dz = c * e1[0] + s * e2[0], c * e1[1] + s * e2[1], c * e1[2] + s * e2[2]
            x, y, z = centre[n, 0], centre[n, 1], centre[n, 2]
            if at(solid, low, step, x, y, z) <= 0.5:
                out[n, t] = 0.0
                continue
            r = 0.0
            value = reach
            while r < reach:
                r += 0.4
                if at(solid, low, step, x + r * dx, y + r * dy, z + r * dz) <= 0.5:
                    a, b = r - 0.4, r
                    for _ in range(6):
                        m = 0.5 * (a + b)
                        if at(solid, low, step, x + m * dx, y + m * dy, z + m * dz) > 0.5:
                            a = m
                        else:
                            b = m
                    value = 0.5 * (a + b)
                    break
            out[n, t] = min(value, reach)
    return out
