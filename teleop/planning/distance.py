"""Sub-voxel distance to a bone surface, on a working grid. numba kernels, cached.

A label map is a staircase; the Euclidean distance of its voxel centres is wrong by up to half a voxel (measured against analytic bone:
bias +0.2 mm, SD 0.16 mm at
0.7 mm). Instead the lightly smoothed occupancy g is read as a level set: every voxel next to the surface g = 0.5 gets its own closest surface point by one
Newton step along the gradient, and these points (not voxel centres) are propagated through the grid (vector distance transform).

Every surface point may carry a *margin*; the field is then min over walls of (distance - margin(wall)): still 1-Lipschitz, one number for direction-dependent
safety margins.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FAR = np.float32(1e6)


@njit(cache=True)
def sample(field, x, y, z):
    """Trilinear value at a continuous index; indices are clamped to the grid."""
    nx, ny, nz = field.shape
    x = min(max(x, 0.0), nx - 1.001)
    y = min(max(y, 0.0), ny - 1.001)
    z = min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    v00 = field[i, j, k] * (1 - a) + field[i + 1, j, k] * a
    v10 = field[i, j + 1, k] * (1 - a) + field[i + 1, j + 1, k] * a
    v01 = field[i, j, k + 1] * (1 - a) + field[i + 1, j, k + 1] * a
    v11 = field[i, j + 1, k + 1] * (1 - a) + field[i + 1, j + 1, k + 1] * a
    return (v00 * (1 - b) + v10 * b) * (1 - c) + (v01 * (1 - b) + v11 * b) * c


@njit(cache=True)
def resample(source, matrix, shape, outside):
    """source sampled at index matrix @ (i, j, k, 1) for every (i, j, k) of `shape`; `outside` where that leaves the source. matrix: 3 x 4."""
    out = np.empty(shape, dtype=np.float32)
    nx, ny, nz = source.shape
    for i in range(shape[0]):
        for j in range(shape[1]):
            x0 = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y0 = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z0 = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            for k in range(shape[2]):
                x, y, z = x0 + matrix[0, 2] * k, y0 + matrix[1, 2] * k, z0 + matrix[2, 2] * k
                if x < 0.0 or y < 0.0 or z < 0.0 or x > nx - 1 or y > ny - 1 or z > nz - 1:
                    out[i, j, k] = outside
                else:
                    out[i, j, k] = sample(source, x, y, z)
    return out


@njit(cache=True)
def surface_seeds(g, reach):
    """Closest surface points of the voxels beside the level 0.5, by one Newton step along the gradient, at most `reach` voxels long.

    -> points (N, 3) and outward unit normals (N, 3), both float32 in grid index units, and owner (N,) the flat index of the voxel.
    """
    nx, ny, nz = g.shape
    count = 0
    points = np.empty((nx * ny * nz // 4, 3), dtype=np.float32)
    normals = np.empty_like(points)
    owner = np.empty(points.shape[0], dtype=np.int64)
    for i in range(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                v = g[i, j, k] - 0.5
                inside = v > 0
                if not (
                    (g[i + 1, j, k] > 0.5) != inside
                    or (g[i - 1, j, k] > 0.5) != inside
                    or (g[i, j + 1, k] > 0.5) != inside
                    or (g[i, j - 1, k] > 0.5) != inside
                    or (g[i, j, k + 1] > 0.5) != inside
                    or (g[i, j, k - 1] > 0.5) != inside
                ):
                    continue
                gx = (g[i + 1, j, k] - g[i - 1, j, k]) * 0.5
                gy = (g[i, j + 1, k] - g[i, j - 1, k]) * 0.5
                gz = (g[i, j, k + 1] - g[i, j, k - 1]) * 0.5
                norm2 = gx * gx + gy * gy + gz * gz
                if norm2 < 1e-8 or count >= points.shape[0]:
                    continue
                norm = np.sqrt(norm2)
                step = -v / norm2
                length = abs(v) / norm
                if length > reach:
                    step *= reach / length
                points[count, 0] = i + step * gx
                points[count, 1] = j + step * gy
                points[count, 2] = k + step * gz
                normals[count, 0] = -gx / norm
                normals[count, 1] = -gy / norm
                normals[count, 2] = -gz / norm
                owner[count] = (i * ny + j) * nz + k
                count += 1
    return points[:count], normals[:count], owner[:count]


@njit(cache=True)
def propagate(points, owner, margin, active, sweeps):
    """Weighted vector distance transform: for each active voxel min over seeds of (distance to the seed's surface point - its margin).

    points (N, 3), margin (N,): grid index units. owner: flat voxel of each seed. -> value (FAR where nothing was reached) and nearest seed (-1).
    Sweeps alternate forward and backward over the 26 neighbours; each voxel tries the seeds its neighbours settled on.
    """
    nx, ny, nz = active.shape
    size = nx * ny * nz
    nearest = np.full(size, -1, dtype=np.int32)
    value = np.full(size, FAR, dtype=np.float32)
    flags = active.ravel()
    for n in range(owner.shape[0]):
        q = owner[n]
        i, j, k = q // (ny * nz), (q // nz) % ny, q % nz
        d = np.sqrt((points[n, 0] - i) ** 2 + (points[n, 1] - j) ** 2 + (points[n, 2] - k) ** 2) - margin[n]
        nearest[q] = n
        value[q] = d
    offsets = np.empty(13, dtype=np.int64)
    m = 0
    for b in range(-1, 2):
        for c in range(-1, 2):
            offsets[m] = -ny * nz + b * nz + c
            m += 1
    for c in range(-1, 2):
        offsets[m] = -nz + c
        m += 1
    offsets[m] = -1
    for sweep in range(sweeps):
        forward = sweep % 2 == 0
        sign = 1 if forward else -1
        for ii in range(1, nx - 1):
            i = ii if forward else nx - 1 - ii
            for jj in range(1, ny - 1):
                j = jj if forward else ny - 1 - jj
                row = (i * ny + j) * nz
                for kk in range(1, nz - 1):
                    k = kk if forward else nz - 1 - kk
                    q = row + k
                    if not flags[q]:
                        continue
                    best = value[q]
                    mine = nearest[q]
                    for t in range(13):
                        n = nearest[q + sign * offsets[t]]
                        if n < 0 or n == mine:
                            continue
                        dx, dy, dz = points[n, 0] - i, points[n, 1] - j, points[n, 2] - k
                        reach = best + margin[n]
                        d2 = dx * dx + dy * dy + dz * dz
                        if reach > 0.0 and d2 < reach * reach:
                            best = np.sqrt(d2) - margin[n]
                            mine = n
                    value[q] = best
                    nearest[q] = mine
    out = value.reshape(active.shape)
    # the outermost layer is never swept: repeat its neighbour, so that bone running out of the grid does not look infinitely thick
    out[0], out[nx - 1] = out[1], out[nx - 2]
    out[:, 0], out[:, ny - 1] = out[:, 1], out[:, ny - 2]
    out[:, :, 0], out[:, :, nz - 1] = out[:, :, 1], out[:, :, nz - 2]
    return out, nearest.reshape(active.shape)


@njit(cache=True)
def band_of(g, low):
    """Voxels worth a distance: inside bone, or outside within `low` voxels (a box neighbourhood of the surface)."""
    nx, ny, nz = g.shape
    out = np.zeros((nx, ny, nz), dtype=np.bool_)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if g[i, j, k] > 0.5:
                    out[i, j, k] = True
    if low > 0:
        for i in range(low, nx - low):
            for j in range(low, ny - low):
                for k in range(low, nz - low):
                    if g[i, j, k] > 0.5 and (
                        g[i - 1, j, k] <= 0.5
                        or g[i + 1, j, k] <= 0.5
                        or g[i, j - 1, k] <= 0.5
                        or g[i, j + 1, k] <= 0.5
                        or g[i, j, k - 1] <= 0.5
                        or g[i, j, k + 1] <= 0.5
                    ):
                        for a in range(i - low, i + low + 1):
                            for b in range(j - low, j + low + 1):
                                for c in range(k - low, k + low + 1):
                                    out[a, b, c] = True
    return out
