# mypy: disable-error-code="no-untyped-def"
"""Numba kernels of a serial chain: forward kinematics, Jacobian, damped IK. Only arrays in and out, no Python
objects.

A chain of n joints is four arrays: `pre` (n,4,4) the fixed transform before each joint, `axis` (n,3) the unit joint
axis in the frame behind `pre`, `prismatic` (n,) 0 or 1, `tool` (4,4) from the last joint's frame to the tip.
Jacobians are geometric, 6 x n, rows (v of the tip, omega), base frame. Quaternions (x, y, z, w). Compiled once,
cached on disk (`cache=True`); call `warm` of `teleop.arm.kinematics` before a loop, a first compile takes seconds.

Rotation of a joint by Rodrigues' formula; damped least squares after Wampler (1986), IEEE Trans. SMC 16(1):93;
Levenberg-Marquardt damping proportional to the squared error after Sugihara (2011), IEEE Trans. Robotics 27(5):984.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def frames(pre, axis, prismatic, tool, q, out):
    """Fill `out` (n+1,4,4): base_T_joint after each joint's motion, and last base_T_tip."""
    n = q.shape[0]
    t = np.eye(4)
    r = np.empty((3, 3))
    for i in range(n):
        t = t @ pre[i]
        x, y, z = axis[i, 0], axis[i, 1], axis[i, 2]
        if prismatic[i] == 1:
            for k in range(3):
                t[k, 3] += (t[k, 0] * x + t[k, 1] * y + t[k, 2] * z) * q[i]
        else:
            s, c = np.sin(q[i]), np.cos(q[i])
            v = 1.0 - c
            r[0, 0] = c + x * x * v
            r[0, 1] = x * y * v - z * s
            r[0, 2] = x * z * v + y * s
            r[1, 0] = y * x * v + z * s
            r[1, 1] = c + y * y * v
            r[1, 2] = y * z * v - x * s
            r[2, 0] = z * x * v - y * s
            r[2, 1] = z * y * v + x * s
            r[2, 2] = c + z * z * v
            for k in range(3):
                a, b, d = t[k, 0], t[k, 1], t[k, 2]
                for m in range(3):
                    t[k, m] = a * r[0, m] + b * r[1, m] + d * r[2, m]
        out[i] = t
    out[n] = t @ tool


@njit(cache=True)
def jacobian(axis, prismatic, all_frames, out):
    """Fill `out` (6,n) from the frames of `frames`."""
    n = axis.shape[0]
    px, py, pz = all_frames[n, 0, 3], all_frames[n, 1, 3], all_frames[n, 2, 3]
    for i in range(n):
        t = all_frames[i]
        zx = t[0, 0] * axis[i, 0] + t[0, 1] * axis[i, 1] + t[0, 2] * axis[i, 2]
        zy = t[1, 0] * axis[i, 0] + t[1, 1] * axis[i, 1] + t[1, 2] * axis[i, 2]
        zz = t[2, 0] * axis[i, 0] + t[2, 1] * axis[i, 1] + t[2, 2] * axis[i, 2]
        if prismatic[i] == 1:
            out[0, i], out[1, i], out[2, i] = zx, zy, zz
            out[3, i], out[4, i], out[5, i] = 0.0, 0.0, 0.0
        else:
            dx, dy, dz = px - t[0, 3], py - t[1, 3], pz - t[2, 3]
            out[0, i] = zy * dz - zz * dy
            out[1, i] = zz * dx - zx * dz
            out[2, i] = zx * dy - zy * dx
            out[3, i], out[4, i], out[5, i] = zx, zy, zz


@njit(cache=True)
def quat_of(m, out):
    """Quaternion (x, y, z, w), w >= 0, of the rotation in a 4x4, into out[0:4] (Shepperd's branch by the largest
    diagonal)."""
    tr = m[0, 0] + m[1, 1] + m[2, 2]
    i = 0
    if m[1, 1] > m[0, 0]:
        i = 1
    if m[2, 2] > m[i, i]:
        i = 2
    if tr >= m[i, i]:
        out[0] = m[2, 1] - m[1, 2]
        out[1] = m[0, 2] - m[2, 0]
        out[2] = m[1, 0] - m[0, 1]
        out[3] = 1.0 + tr
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        out[i] = 1.0 + m[i, i] - m[j, j] - m[k, k]
        out[j] = m[j, i] + m[i, j]
        out[k] = m[k, i] + m[i, k]
        out[3] = m[k, j] - m[j, k]
    s = 1.0 / np.sqrt(out[0] ** 2 + out[1] ** 2 + out[2] ** 2 + out[3] ** 2)
    if out[3] < 0.0:
        s = -s
    for k in range(4):
        out[k] *= s


@njit(cache=True)
def rotation_error(current, target, out):
    """Rotation vector in the base frame that takes the rotation of 4x4 `current` to that of `target`, into
    out[0:3]."""
    r = np.empty((4, 4))
    for a in range(3):
        for b in range(3):
            r[a, b] = target[a, 0] * current[b, 0] + target[a, 1] * current[b, 1] + target[a, 2] * current[b, 2]
    q = np.empty(4)
    quat_of(r, q)
    s = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    k = 2.0 if s < 1e-9 else 2.0 * np.arctan2(s, q[3]) / s
    out[0], out[1], out[2] = q[0] * k, q[1] * k, q[2] * k


@njit(cache=True)
def pose_of(m, out):
    """(x, y, z, qx, qy, qz, qw) of a 4x4, into out[0:7]."""
    out[0], out[1], out[2] = m[0, 3], m[1, 3], m[2, 3]
    quat_of(m, out[3:7])


@njit(cache=True)
def damped_step(jac, e, damping, out):
    """out = J^T (J J^T + damping^2 I)^-1 e : the joint step nearest to the task step e (6,) with bounded length."""
    a = jac @ jac.T
    for i in range(6):
        a[i, i] += damping * damping
    y = np.linalg.solve(a, e)
    for i in range(jac.shape[1]):
        s = 0.0
        for k in range(6):
            s += jac[k, i] * y[k]
        out[i] = s


@njit(cache=True)
def speed_of(jac, dq, radius):
    """|v| + |omega| r (m/s): upper bound on the speed of any tool point within `radius` of the tip."""
    v = np.zeros(6)
    for k in range(6):
        for i in range(dq.shape[0]):
            v[k] += jac[k, i] * dq[i]
    return np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2) + radius * np.sqrt(v[3] ** 2 + v[4] ** 2 + v[5] ** 2)


@njit(cache=True)
def solve_lm(pre, axis, prismatic, tool, target, q0, lower, upper, roll_free, iterations, tol_p, tol_r):
    """Levenberg-Marquardt IK from one seed. Returns (q, position error m, rotation error rad, iterations used).

    Joints at a limit whose step points outwards are taken out of the step (active set), and the step is solved again.
    roll_free: the rotation about the tip's own z is not asked for (a guide's axis is a line with 5 degrees of
        freedom).
    """
    n = q0.shape[0]
    q = np.minimum(np.maximum(q0, lower), upper)
    fr = np.empty((n + 1, 4, 4))
    jac = np.empty((6, n))
    e = np.empty(6)
    best_q = q.copy()
    best_p, best_r = 1e9, 1e9
    cost = 1e18
    mu = 1.0
    used = 0
    for it in range(iterations):
        used = it
        frames(pre, axis, prismatic, tool, q, fr)
        for k in range(3):
            e[k] = target[k, 3] - fr[n, k, 3]
        if roll_free:
            # the smallest rotation that takes our z onto the target's z
            zx, zy, zz = fr[n, 0, 2], fr[n, 1, 2], fr[n, 2, 2]
            cx = zy * target[2, 2] - zz * target[1, 2]
            cy = zz * target[0, 2] - zx * target[2, 2]
            cz = zx * target[1, 2] - zy * target[0, 2]
            s = np.sqrt(cx * cx + cy * cy + cz * cz)
            c = zx * target[0, 2] + zy * target[1, 2] + zz * target[2, 2]
            ang = np.arctan2(s, c)
            if s < 1e-12:
                if c > 0.0:
                    cx = cy = cz = 0.0
                else:
                    cx, cy, cz = fr[n, 0, 0] * ang, fr[n, 1, 0] * ang, fr[n, 2, 0] * ang
            else:
                cx, cy, cz = cx * ang / s, cy * ang / s, cz * ang / s
            e[3], e[4], e[5] = cx, cy, cz
        else:
            rotation_error(fr[n], target, e[3:6])
        ep = np.sqrt(e[0] ** 2 + e[1] ** 2 + e[2] ** 2)
        er = np.sqrt(e[3] ** 2 + e[4] ** 2 + e[5] ** 2)
        new_cost = ep * ep + 0.25 * er * er
        if new_cost < cost:
            cost = new_cost
            best_p, best_r = ep, er
            best_q[:] = q
            mu = max(mu * 0.5, 1e-6)
            if ep < tol_p and er < tol_r:
                break
        else:
            mu *= 4.0
            if mu > 1e6:
                break
            q[:] = 0.5 * (q + best_q)
            continue
        jacobian(axis, prismatic, fr, jac)
        if roll_free:
            # drop the row about z: project the rotation rows off our z axis
            for i in range(n):
                k = jac[3, i] * fr[n, 0, 2] + jac[4, i] * fr[n, 1, 2] + jac[5, i] * fr[n, 2, 2]
                for m in range(3):
                    jac[3 + m, i] -= k * fr[n, m, 2]
        for i in range(n):
            for m in range(3, 6):
                jac[m, i] *= 0.5
        es = e.copy()
        for m in range(3, 6):
            es[m] *= 0.5
        free = np.ones(n)
        step = np.zeros(n)
        for _ in range(n):
            h = np.empty((n, n))
            g = np.empty(n)
            for a in range(n):
                g[a] = 0.0
                for k in range(6):
                    g[a] += jac[k, a] * es[k]
                g[a] *= free[a]
                for b in range(n):
                    v = 0.0
                    for k in range(6):
                        v += jac[k, a] * jac[k, b]
                    h[a, b] = v * free[a] * free[b]
                h[a, a] += mu * cost + 1e-9 + (1.0 - free[a])
            step = np.linalg.solve(h, g)
            changed = False
            for a in range(n):
                if free[a] == 1.0 and (
                    (q[a] >= upper[a] - 1e-9 and step[a] > 0.0) or (q[a] <= lower[a] + 1e-9 and step[a] < 0.0)
                ):
                    free[a] = 0.0
                    changed = True
            if not changed:
                break
        biggest = np.max(np.abs(step * free))
        scale = 1.0 if biggest < 0.7 else 0.7 / biggest
        for a in range(n):
            q[a] = min(max(q[a] + step[a] * free[a] * scale, lower[a]), upper[a])
    return best_q, best_p, best_r, used


@njit(cache=True)
def manipulability(jac, radius):
    """Smallest singular value of the Jacobian, rotation rows scaled by `radius` (m): m/s of tool motion per rad/s in
    the direction that is hardest to move; 0 is a singularity."""
    a = jac.copy()
    for i in range(a.shape[1]):
        for k in range(3, 6):
            a[k, i] *= radius
    s = np.linalg.svd(a)[1]
    return s[-1]


@njit(cache=True)
def follow(pre, axis, prismatic, tool, q, target, damping, fr, jac, out):
    """One damped Newton step of q towards 4x4 `target`, into out (n,): the servo loop's inverse kinematics. Returns
    the length of the task step it tried (m + rad), so that the caller can see a divergence."""
    n = q.shape[0]
    frames(pre, axis, prismatic, tool, q, fr)
    jacobian(axis, prismatic, fr, jac)
    e = np.empty(6)
    for k in range(3):
        e[k] = target[k, 3] - fr[n, k, 3]
    rotation_error(fr[n], target, e[3:6])
    damped_step(jac, e, damping, out)
    for i in range(n):
        out[i] += q[i]
    return np.sqrt(e[0] ** 2 + e[1] ** 2 + e[2] ** 2) + np.sqrt(e[3] ** 2 + e[4] ** 2 + e[5] ** 2)


@njit(cache=True)
def measure(pre, axis, prismatic, tool, q, dq, radius, fr, jac, pose):
    """Pose of the tip into pose (7,), frames and Jacobian into fr and jac; returns the worst tool point's speed,
    m/s."""
    frames(pre, axis, prismatic, tool, q, fr)
    jacobian(axis, prismatic, fr, jac)
    pose_of(fr[q.shape[0]], pose)
    return speed_of(jac, dq, radius)


@njit(cache=True)
def path_steps(pre, axis, prismatic, tool, rows, radius, lengths, turns):
    """For N joint rows: worst-tool-point distance (m) and rotation (rad) from each row to the next, into two (N-1,)
    arrays."""
    n = rows.shape[1]
    a = np.empty((n + 1, 4, 4))
    b = np.empty((n + 1, 4, 4))
    rv = np.empty(3)
    frames(pre, axis, prismatic, tool, rows[0], a)
    for i in range(rows.shape[0] - 1):
        frames(pre, axis, prismatic, tool, rows[i + 1], b)
        d = 0.0
        for k in range(3):
            d += (b[n, k, 3] - a[n, k, 3]) ** 2
        rotation_error(a[n], b[n], rv)
        turn = np.sqrt(rv[0] ** 2 + rv[1] ** 2 + rv[2] ** 2)
        lengths[i] = np.sqrt(d) + radius * turn
        turns[i] = turn
        a[:] = b


@njit(cache=True)
def monitor(pre, axis, prismatic, tool, q, dq, q_ref, radius, anchor, fr, jac, pose, pose_ref):
    """Everything the drive watches in one call: pose of measured and reference joints (7,) each; returns (worst tool
    point's measured speed m/s, its distance between the two poses m, its distance from the pose `anchor` m)."""
    n = q.shape[0]
    frames(pre, axis, prismatic, tool, q_ref, fr)
    pose_of(fr[n], pose_ref)
    frames(pre, axis, prismatic, tool, q, fr)
    jacobian(axis, prismatic, fr, jac)
    pose_of(fr[n], pose)
    return speed_of(jac, dq, radius), tool_distance(pose, pose_ref, radius), tool_distance(pose, anchor, radius)


@njit(cache=True)
def tool_distance(a, b, radius):
    """|dp| + r |dphi| (m) between two poses (7,)."""
    d = np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)
    # vector part of conj(a) * b; twice its arcsine is the angle
    x = a[6] * b[3] - a[3] * b[6] - a[4] * b[5] + a[5] * b[4]
    y = a[6] * b[4] - a[4] * b[6] - a[5] * b[3] + a[3] * b[5]
    z = a[6] * b[5] - a[5] * b[6] - a[3] * b[4] + a[4] * b[3]
    w = a[6] * b[6] + a[3] * b[3] + a[4] * b[4] + a[5] * b[5]
    return d + radius * 2.0 * np.arctan2(np.sqrt(x * x + y * y + z * z), abs(w))


@njit(cache=True)
def pose_difference(a, b, radius, out):
    """What takes pose a (7,) to pose b, base frame, as (dp, r * rotation vector) metres, into out (6,)."""
    for k in range(3):
        out[k] = b[k] - a[k]
    # b * conj(a)
    x = -b[6] * a[3] + b[3] * a[6] - b[4] * a[5] + b[5] * a[4]
    y = -b[6] * a[4] + b[4] * a[6] - b[5] * a[3] + b[3] * a[5]
    z = -b[6] * a[5] + b[5] * a[6] - b[3] * a[4] + b[4] * a[3]
    w = b[6] * a[6] + b[3] * a[3] + b[4] * a[4] + b[5] * a[5]
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    s = np.sqrt(x * x + y * y + z * z)
    k2 = 2.0 if s < 1e-12 else 2.0 * np.arctan2(s, w) / s
    out[3], out[4], out[5] = x * k2 * radius, y * k2 * radius, z * k2 * radius


@njit(cache=True)
def move_pose(pose, step, radius, out, matrix):
    """pose (7,) moved by step (6,) as of `pose_difference`, into out (7,) and as 4x4 into matrix."""
    for k in range(3):
        out[k] = pose[k] + step[k]
    rx, ry, rz = step[3] / radius, step[4] / radius, step[5] / radius
    ang = np.sqrt(rx * rx + ry * ry + rz * rz)
    k2 = 0.5 if ang < 1e-9 else np.sin(0.5 * ang) / ang
    ax, ay, az, aw = rx * k2, ry * k2, rz * k2, np.cos(0.5 * ang)
    bx, by, bz, bw = pose[3], pose[4], pose[5], pose[6]
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    w = aw * bw - ax * bx - ay * by - az * bz
    s = 1.0 / np.sqrt(x * x + y * y + z * z + w * w)
    x, y, z, w = x * s, y * s, z * s, w * s
    out[3], out[4], out[5], out[6] = x, y, z, w
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
    for k in range(3):
        matrix[k, 3] = out[k]
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = 0.0, 0.0, 0.0, 1.0


@njit(cache=True)
def reflect(u, x, out):
    """out = H x with the Householder reflection H that swaps unit vector u and e1 (H is its own inverse)."""
    n = u.shape[0]
    s = 0.0
    dotp = 0.0
    for i in range(n):
        w = u[i] - (1.0 if i == 0 else 0.0)
        s += w * w
        dotp += w * x[i]
    k = 0.0 if s < 1e-24 else 2.0 * dotp / s
    for i in range(n):
        out[i] = x[i] - k * (u[i] - (1.0 if i == 0 else 0.0))


@njit(cache=True)
def path_at(s_rows, q_rows, slopes, s, q_out, dq_ds):
    """Cubic Hermite interpolation of a sampled joint path at arc length s: q into q_out, dq/ds into dq_ds. Returns
    the interval."""
    n = s_rows.shape[0]
    lo, hi = 0, n - 1
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if s_rows[mid] <= s:
            lo = mid
        else:
            hi = mid
    h = s_rows[lo + 1] - s_rows[lo]
    t = min(max((s - s_rows[lo]) / h, 0.0), 1.0)
    t2, t3 = t * t, t * t * t
    for k in range(q_rows.shape[1]):
        a, b, ma, mb = q_rows[lo, k], q_rows[lo + 1, k], slopes[lo, k] * h, slopes[lo + 1, k] * h
        q_out[k] = (2 * t3 - 3 * t2 + 1) * a + (t3 - 2 * t2 + t) * ma + (3 * t2 - 2 * t3) * b + (t3 - t2) * mb
        dq_ds[k] = ((6 * t2 - 6 * t) * (a - b) + (3 * t2 - 4 * t + 1) * ma + (3 * t2 - 2 * t) * mb) / h
    return lo


@njit(cache=True)
def all_finite(x):
    """Whether every number of a vector is finite."""
    count = 0
    for i in range(x.shape[0]):
        count += 1 if np.isfinite(x[i]) else 0
    return count == x.shape[0]


@njit(cache=True)
def first_outside(x, low, high):
    """Index of the first component outside [low, high], -1 if none."""
    for i in range(x.shape[0]):
        if x[i] < low[i] or x[i] > high[i]:
            return i
    return -1


@njit(cache=True)
def first_jump(now, before, v_max, dt, slack):
    """Index of the first joint that moved further than v_max * dt + slack, -1 if none."""
    for i in range(now.shape[0]):
        if abs(now[i] - before[i]) > v_max[i] * dt + slack:
            return i
    return -1


@njit(cache=True)
def limit_step(q_old, q_new, most, low, high, margin, out):
    """The step from q_old to q_new as far as speed (`most` rad per step) and limits allow, into out. Returns (code,
    joint):
    0 taken as it is, 1 not finite (no step), 2 scaled down for that joint's speed, 3 that joint held at its limit."""
    n = q_old.shape[0]
    code, joint = 0, -1
    scale = 1.0
    for i in range(n):
        out[i] = q_old[i]
        if not np.isfinite(q_new[i]):
            code, joint = 1, i
    if code == 1:
        return code, joint
    for i in range(n):
        d = abs(q_new[i] - q_old[i])
        if d > most[i] and most[i] / d < scale:
            scale, code, joint = most[i] / d, 2, i
    for i in range(n):
        v = q_old[i] + (q_new[i] - q_old[i]) * scale
        if (v < low[i] + margin and v < q_old[i]) or (v > high[i] - margin and v > q_old[i]):
            code, joint = 3, i
            v = q_old[i]
        out[i] = v
    return code, joint


@njit(cache=True)
def largest_gain(jac, radius):
    """(sigma_max(J_v) + radius sigma_max(J_omega), sigma_max(J_omega)): bounds on |v| + radius |omega| and on |omega| over
    all unit joint speeds."""
    v, w = jac[:3].copy(), jac[3:].copy()
    turn = np.sqrt(np.linalg.eigvalsh(w @ w.T)[2])
    return np.sqrt(np.linalg.eigvalsh(v @ v.T)[2]) + radius * turn, turn


@njit(cache=True)
def stops_outside(q, dq, coasting, low, high, margin):
    """Index of the first joint that runs outwards and would come to rest past its limit less `margin`, -1 if none."""
    for i in range(q.shape[0]):
        end = q[i] + dq[i] * coasting
        if (dq[i] > 0.0 and end > high[i] - margin) or (dq[i] < 0.0 and end < low[i] + margin):
            return i
    return -1
