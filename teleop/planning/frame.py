"""The vertebra's own frame from its label alone: where is up, where is front, where is the canal. Stable under rotation.

Columns of ``lps_T_v`` are left (+x), posterior (+y), superior (+z); the origin is the centre of the body; millimetres. Steps:

1. *Up* by topology: looked at along the right direction a vertebra is a ring. Of all directions in a cone, the one whose projection has the largest enclosed
   hole is the canal's. (The principal axes of the bone are not used: they follow the processes and break under rotation.)
2. The body is where the bone is thickest; *front* points from the hole to the body.
3. Up again, finer: the mean normal of the two endplates. 2 and 3 are repeated once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage

PIXEL_MM = 2.0
LABELLED_CANAL_MM = 10.0
"""Of a labelled canal, this much above and below the body's centre is looked at."""
CONE_DEG = 42.0
MIN_HOLE_MM2 = 60.0
"""Smallest believable vertebral foramen (published: 15 x 15 mm thoracic, 180 mm2); projection eats the rim."""


class FrameError(ValueError):
    """No frame can be found; the message says why. `status` is the trajectory status it stands for."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class VertebraFrame:
    """lps_T_v: 4 x 4 rigid. Canal extents and body extents in v coordinates, mm. hole_mm2: area of the projected foramen. inferred: canal
    taken from neighbours."""

    lps_T_v: np.ndarray
    canal_front: float
    canal_back: float
    canal_half_width: float
    body_front: float
    body_height: float
    body_width: float
    body_depth: float
    hole_mm2: float
    inferred: bool = False
    endplate_tilt_deg: float = 0.0

    def to_v(self, lps_mm: np.ndarray) -> np.ndarray:
        return (np.atleast_2d(lps_mm) - self.lps_T_v[:3, 3]) @ self.lps_T_v[:3, :3]

    def to_lps(self, v_mm: np.ndarray) -> np.ndarray:
        return np.atleast_2d(v_mm) @ self.lps_T_v[:3, :3].T + self.lps_T_v[:3, 3]


@njit(cache=True)
def _project_hole(points, u, w, pixel, size):
    """Raster of the points projected on the plane (u, w); -> (area in pixels of the largest enclosed hole, its centroid and extents in mm, hole raster)."""
    grid = np.zeros((size, size), dtype=np.uint8)
    half = size / 2.0
    for n in range(points.shape[0]):
        a = (points[n, 0] * u[0] + points[n, 1] * u[1] + points[n, 2] * u[2]) / pixel + half
        b = (points[n, 0] * w[0] + points[n, 1] * w[1] + points[n, 2] * w[2]) / pixel + half
        i, j = int(np.floor(a - 0.5)), int(np.floor(b - 0.5))
        for di in range(2):
            for dj in range(2):
                if 1 <= i + di < size - 1 and 1 <= j + dj < size - 1:
                    grid[i + di, j + dj] = 1
    stack = np.empty((size * size, 2), dtype=np.int32)
    top = 0
    stack[0, 0], stack[0, 1] = 0, 0
    grid[0, 0] = 2
    top = 1
    while top > 0:
        top -= 1
        i, j = stack[top, 0], stack[top, 1]
        for d in range(4):
            a = i + (1 if d == 0 else -1 if d == 1 else 0)
            b = j + (1 if d == 2 else -1 if d == 3 else 0)
            if 0 <= a < size and 0 <= b < size and grid[a, b] == 0:
                grid[a, b] = 2
                stack[top, 0], stack[top, 1] = a, b
                top += 1
    best, mark, label = 0, 0, 2
    for i0 in range(size):
        for j0 in range(size):
            if grid[i0, j0] != 0 or label >= 250:
                continue
            label += 1
            count = 1
            grid[i0, j0] = label
            stack[0, 0], stack[0, 1] = i0, j0
            top = 1
            while top > 0:
                top -= 1
                i, j = stack[top, 0], stack[top, 1]
                for d in range(4):
                    a = i + (1 if d == 0 else -1 if d == 1 else 0)
                    b = j + (1 if d == 2 else -1 if d == 3 else 0)
                    if 0 <= a < size and 0 <= b < size and grid[a, b] == 0:
                        grid[a, b] = label
                        count += 1
                        stack[top, 0], stack[top, 1] = a, b
                        top += 1
            if count > best:
                best, mark = count, label
    return best, mark, grid


def _basis(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    helper = np.array([1.0, 0.0, 0.0]) if abs(d[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    u = helper - d * (helper @ d)
    u /= np.linalg.norm(u)
    return u, np.cross(d, u)


def _cone(axis: np.ndarray, angles_deg: np.ndarray, spokes: int) -> np.ndarray:
    u, w = _basis(axis)
    out = [axis]
    for angle in np.deg2rad(angles_deg):
        for k in range(spokes):
            phi = 2.0 * np.pi * k / spokes
            out.append(np.cos(angle) * axis + np.sin(angle) * (np.cos(phi) * u + np.sin(phi) * w))
    return np.array(out)


def canal_direction(points: np.ndarray, start: np.ndarray, cone_deg: float) -> tuple[np.ndarray, int]:
    """Direction of the largest projected hole within a cone about `start`. points: (N, 3) centred mm. -> unit direction, hole area in pixels."""
    size = int(2.0 * np.linalg.norm(points, axis=1).max() / PIXEL_MM) + 6

    def area(d: np.ndarray) -> int:
        u, w = _basis(d)
        return int(_project_hole(points, u, w, PIXEL_MM, size)[0])

    best, value = start / np.linalg.norm(start), 0
    rings = np.arange(7.0, cone_deg + 0.1, 7.0)
    for angles, spokes in ((rings, 10), (np.array([4.0]), 8), (np.array([2.0]), 8)):
        candidates = _cone(best, angles, spokes)
        areas = np.array([area(d) for d in candidates])
        if areas.max() > 0:
            top = areas >= 0.97 * areas.max()  # the maximum is flat: take the middle of the plateau
            if areas.max() >= value:
                best = candidates[top].mean(axis=0)
                best /= np.linalg.norm(best)
                value = int(areas.max())
    return best, value


def find_frame(
    points: np.ndarray, core: np.ndarray, up_hint: np.ndarray | None, canal_hint: np.ndarray | None = None
) -> VertebraFrame:
    """Frame of one vertebra.

    points: (N, 3) LPS mm of its bone at about 1.5 mm spacing. core: (M, 3) LPS mm of its thickest part (the body). up_hint: cranial direction from the
    neighbours, or None (then 42 deg about the image's cranial axis are searched). canal_hint: used where the ring is open: a point of the canal
    (3,), taken from the neighbours, or (N, 3) points of a canal label, whose extents are then measured.
    Raises FrameError (BAD_GEOMETRY) when there is no ring and no hint.
    """
    centre = points.mean(axis=0)
    centred = np.ascontiguousarray(points - centre)
    start = np.array([0.0, 0.0, 1.0]) if up_hint is None else up_hint / np.linalg.norm(up_hint)
    up, pixels = canal_direction(centred, start, CONE_DEG if up_hint is None else 21.0)
    if pixels * PIXEL_MM**2 < MIN_HOLE_MM2 and up_hint is not None:
        wide, more = canal_direction(centred, start, CONE_DEG)
        if more > pixels:
            up, pixels = wide, more
    if up[2] < 0:
        up = -up
    labelled = (
        canal_hint is not None and np.ndim(canal_hint) == 2
    )  # a labelled canal is asked for after the ring has failed
    closed = pixels * PIXEL_MM**2 >= MIN_HOLE_MM2 and not labelled
    if not closed:
        if canal_hint is None:
            raise FrameError(
                "BAD_GEOMETRY",
                f"no closed spinal canal in the label (largest ring opening {pixels * PIXEL_MM**2:.0f} mm2, need "
                f"{MIN_HOLE_MM2:.0f}); laminectomy, lysis or a cut label?",
            )
        up = start
    body_centre = core.mean(axis=0)
    frame: VertebraFrame | None = None
    for _ in range(2):
        frame = _refine(points, body_centre, up, canal_hint if not closed else None)
        up = frame.lps_T_v[:3, 2]
        body_centre = frame.lps_T_v[:3, 3]
    assert frame is not None
    return frame


def _trunk(body: np.ndarray, low_y: float, front: float) -> np.ndarray:
    """The front two thirds of a body: the transverse processes of L5 start beside its back third and would pull width and middle to their side."""
    return body[body[:, 1] < front - 0.35 * (front - low_y)]


def _middle(ring: np.ndarray) -> np.ndarray:
    """The part of the projected canal near its own middle. Raises FrameError when what was taken for a canal is too scattered to be one."""
    if len(ring) * PIXEL_MM**2 >= MIN_HOLE_MM2 / 2.0:
        middle = ring[np.abs(ring[:, 0] - ring[:, 0].mean()) < 4.0]
        if len(middle):
            return np.asarray(middle)
    raise FrameError(
        "BAD_GEOMETRY",
        "the canal found at first does not stay closed when looked at along the endplates; broken or cut label?",
    )


def _refine(
    points: np.ndarray, body_centre: np.ndarray, up: np.ndarray, canal_hint: np.ndarray | None
) -> VertebraFrame:
    u, w = _basis(up)
    centre = points.mean(axis=0)
    size = int(2.0 * np.linalg.norm(points - centre, axis=1).max() / PIXEL_MM) + 6
    measured = canal_hint is None or np.ndim(canal_hint) == 2
    if canal_hint is not None and measured:
        hole = canal_hint[np.abs((canal_hint - body_centre) @ up) < LABELLED_CANAL_MM]
        if len(hole) < 20:
            raise FrameError(
                "BAD_GEOMETRY", "the labelled canal does not pass behind this vertebral body; wrong canal label?"
            )
    elif canal_hint is None:
        _, mark, grid = _project_hole(np.ascontiguousarray(points - centre), u, w, PIXEL_MM, size)
        if mark == 0:
            raise FrameError(
                "BAD_GEOMETRY", "no closed spinal canal when looked at along the endplates; broken or cut label?"
            )
        cells = (np.argwhere(grid == mark) - size / 2.0 + 0.5) * PIXEL_MM
        hole = centre + cells[:, :1] * u + cells[:, 1:] * w
    else:
        hole = canal_hint[None] + np.zeros((1, 3))
    back = hole.mean(axis=0) - body_centre
    back -= up * (back @ up)
    back /= np.linalg.norm(back)
    for _ in range(2):
        left = np.cross(back, up)
        rotation = np.column_stack([left, back, up])
        local = (points - body_centre) @ rotation
        ring = (hole - body_centre) @ rotation
        if canal_hint is not None and measured:
            front, rear = (float(y) for y in np.percentile(ring[:, 1], [3, 97]))
            half_width = float(np.percentile(np.abs(ring[:, 0] - ring[:, 0].mean()), 97))
        elif canal_hint is None:
            middle = _middle(ring)
            front, rear = float(middle[:, 1].min() - PIXEL_MM / 2), float(middle[:, 1].max() + PIXEL_MM / 2)
            half_width = float(np.ptp(ring[:, 0]) / 2.0 + PIXEL_MM / 2)
        else:
            front, rear, half_width = float(ring[0, 1] - 8.0), float(ring[0, 1] + 8.0), 10.5
        body = local[(local[:, 1] < front - 0.5)]
        if len(body) < 60:
            raise FrameError("BAD_GEOMETRY", "no vertebral body in front of the canal; broken or cut label?")
        height = float(np.percentile(body[:, 2], 97) - np.percentile(body[:, 2], 3))
        body = body[np.abs(body[:, 2] - np.median(body[:, 2])) < 0.45 * height]
        low_y = float(np.percentile(body[:, 1], 1))
        trunk = _trunk(body, low_y, front)
        low, high = np.percentile(trunk[:, 0], [1, 99])
        offset = np.array([(low + high) / 2.0, (low_y + front) / 2.0, 0.0])
        body_centre = body_centre + rotation @ offset
        back = hole.mean(axis=0) - body_centre
        back -= up * (back @ up)
        back /= np.linalg.norm(back)
    left = np.cross(back, up)
    rotation = np.column_stack([left, back, up])
    local = (points - body_centre) @ rotation
    ring = (hole - body_centre) @ rotation
    if canal_hint is not None and measured:
        front, rear = (float(y) for y in np.percentile(ring[:, 1], [3, 97]))
    elif canal_hint is None:
        middle = _middle(ring)
        front, rear = float(middle[:, 1].min() - PIXEL_MM / 2), float(middle[:, 1].max() + PIXEL_MM / 2)
    else:
        front, rear = float(ring[0, 1] - 8.0), float(ring[0, 1] + 8.0)
    tilt, normal, top, bottom = _endplates(local, front)
    new_up = rotation @ normal
    back = back - new_up * (back @ new_up)
    back /= np.linalg.norm(back)
    left = np.cross(back, new_up)
    rotation = np.column_stack([left, back, new_up])
    body_centre = body_centre + rotation[:, 2] * (top + bottom) / 2.0
    local = (points - body_centre) @ rotation
    body = local[(local[:, 1] < front - 0.5) & (np.abs(local[:, 2]) < (top - bottom) / 2.0)]
    low_y = float(np.percentile(body[:, 1], 0.5))
    low_x, high_x = np.percentile(_trunk(body, low_y, front)[:, 0], [0.5, 99.5])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, body_centre
    return VertebraFrame(
        pose,
        front,
        rear,
        half_width,
        low_y,
        float(top - bottom),
        float(high_x - low_x),
        float(front - low_y),
        float(len(hole)) * PIXEL_MM**2 if canal_hint is None else 0.0,
        not measured,
        tilt,
    )


def _endplates(local: np.ndarray, front: float) -> tuple[float, np.ndarray, float, float]:
    """Planes through the top and bottom of the body's inner columns. -> (angle between them deg, mean normal, z of top and bottom at the centre)."""
    body = local[local[:, 1] < front - 2.0]
    low, high = np.percentile(body[:, :2], 2, axis=0), np.percentile(body[:, :2], 98, axis=0)
    mid, half = (low + high) / 2.0, (high - low) / 2.0
    inner = body[(((body[:, :2] - mid) / (0.72 * half)) ** 2).sum(axis=1) < 1.0]
    cell = np.floor(inner[:, :2] / 3.0).astype(int)
    keys = (cell[:, 0] + 500) * 1000 + cell[:, 1] + 500
    order = np.argsort(keys, kind="stable")
    inner, keys = inner[order], keys[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    tops = np.maximum.reduceat(inner[:, 2], starts)
    bottoms = np.minimum.reduceat(inner[:, 2], starts)
    xy = np.add.reduceat(inner[:, :2], starts) / np.diff(np.r_[starts, len(inner)])[:, None]
    planes = []
    for z in (tops, bottoms):
        keep = np.ones(len(z), dtype=bool)
        coefficients = np.zeros(3)
        for _ in range(3):
            a = np.column_stack([xy[keep], np.ones(keep.sum())])
            coefficients, *_ = np.linalg.lstsq(a, z[keep], rcond=None)
            error = np.abs(xy @ coefficients[:2] + coefficients[2] - z)
            keep = error < max(1.5, 2.0 * float(np.median(error)))
        planes.append(coefficients)
    normals = [np.array([-c[0], -c[1], 1.0]) / np.linalg.norm([c[0], c[1], 1.0]) for c in planes]
    mean = normals[0] + normals[1]
    mean /= np.linalg.norm(mean)
    tilt = float(np.degrees(np.arccos(np.clip(normals[0] @ normals[1], -1.0, 1.0))))
    z_at = [float(mid @ c[:2] + c[2]) for c in planes]
    return tilt, mean, z_at[0], z_at[1]


def core_points(
    mask: np.ndarray, spacing: np.ndarray, lps_T_ijk: np.ndarray, depth: np.ndarray | None = None
) -> np.ndarray:
    """LPS mm of the thickest part of a mask: voxels deeper than 80 % of its maximum depth. depth: their depths, mm, where known already."""
    if depth is None:
        depth = ndimage.distance_transform_edt(mask, sampling=spacing)
    ijk = np.argwhere(depth > 0.8 * depth.max())
    return ijk @ lps_T_ijk[:3, :3].T + lps_T_ijk[:3, 3]
