"""One vertebra as an implicit function, calibrated so that what was asked for is what a calliper would measure.

Frame names: `lps` is patient LPS millimetres of the CT, `local` the vertebra's frame (see `implicit`). ``lps_T_local`` is a 4 x 4 rigid transform.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim.phantom import implicit
from sim.phantom.dimensions import VertebraSize

_Y = np.array([0.0, 1.0, 0.0])
_Z = np.array([0.0, 0.0, 1.0])
SIDES = ("left", "right")


@dataclass(frozen=True)
class Pedicle:
    """A pedicle's true measures, local frame, mm. axis points forwards into the body. entry: where the axis meets the dorsal cortex."""

    side: str
    centre: np.ndarray
    axis: np.ndarray
    entry: np.ndarray
    width: float
    height: float
    depth: float
    transverse_deg: float
    present: bool = True


@dataclass(frozen=True)
class Vertebra:
    """Shape, pose and truth of one vertebra."""

    level: str
    size: VertebraSize
    rows: np.ndarray
    pedicles: dict[str, Pedicle]
    facet_rows: dict[str, int]
    canal_front: float
    canal_back: float
    lps_T_local: np.ndarray
    removed: tuple[np.ndarray, ...] = field(default=())

    def to_local(self, lps: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm -> (N, 3) local mm."""
        return (np.atleast_2d(lps) - self.lps_T_local[:3, 3]) @ self.lps_T_local[:3, :3]

    def to_lps(self, local: np.ndarray) -> np.ndarray:
        return np.atleast_2d(local) @ self.lps_T_local[:3, :3].T + self.lps_T_local[:3, 3]

    def direction_to_lps(self, local: np.ndarray) -> np.ndarray:
        return np.atleast_2d(local) @ self.lps_T_local[:3, :3].T

    def f(self, lps: np.ndarray) -> np.ndarray:
        """The implicit function at (N, 3) LPS mm points, negative in bone. Neighbours are not looked at (see `Phantom.bone`)."""
        return implicit.shape_points_posed(
            self.rows, self.lps_T_local, np.ascontiguousarray(np.atleast_2d(lps), dtype=np.float64)
        )


def exit_distance(
    rows: np.ndarray, start: np.ndarray, direction: np.ndarray, reach: float, step: float = 0.25
) -> np.ndarray:
    """How far from each start one can go along each direction before leaving bone. start, direction: (N, 3) local mm; -> (N,) mm.

    March at `step`, then bisect on the sign of f to 1e-3 mm; `reach` where bone never ends, 0 where the start is outside.
    """
    start, direction = np.atleast_2d(start), np.atleast_2d(direction)
    count = len(start)
    s = np.arange(0.0, reach + step, step)
    points = start[:, None, :] + s[None, :, None] * direction[:, None, :]
    f = implicit.shape_points(rows, np.ascontiguousarray(points.reshape(-1, 3))).reshape(count, -1)
    outside = f > 0.0
    first = np.where(outside.any(axis=1), outside.argmax(axis=1), len(s) - 1)
    low, high = s[np.maximum(first - 1, 0)], s[first]
    for _ in range(9):
        middle = (low + high) / 2.0
        inside = implicit.shape_points(rows, np.ascontiguousarray(start + middle[:, None] * direction)) <= 0.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    result = (low + high) / 2.0
    result[~outside.any(axis=1)] = reach
    result[outside[:, 0]] = 0.0
    return result


def _canal_half_width(size: VertebraSize, y_from_centre: float) -> float:
    u = min(0.999, abs(y_from_centre) / (size.canal_depth / 2.0))
    return size.canal_width / 2.0 * float((1.0 - u**2.3) ** (1.0 / 2.3))


def _axis(size: VertebraSize, index: int) -> np.ndarray:
    sign = 1.0 if index == 0 else -1.0
    a, b = np.deg2rad(size.transverse_deg[index]), np.deg2rad(size.sagittal_deg[index])
    return np.array([-sign * np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])


def _build(
    size: VertebraSize, width: list[float], height: list[float], setback: list[float]
) -> tuple[np.ndarray, list[np.ndarray], dict[str, int], float]:
    """Rows for given tube widths, heights and setback of the dorsal pillar (distance isthmus -> pillar centre along the axis), left then right.

    Returns rows, isthmus centres, {side: row of the superior articular process}, y of the canal's front.
    """
    body_back = (size.depth_upper + size.depth_lower) / 4.0
    canal_y = body_back + size.canal_depth / 2.0
    body_height = size.height * size.collapse
    thoracic = size.level.startswith("T")
    rows = [
        implicit.body(
            (size.width_lower, size.width_upper),
            (size.depth_lower, size.depth_upper),
            body_height,
            (2.2, 1.6),
            1.2,
            np.deg2rad(size.wedge_deg),
        )
    ]
    centres, facets = [], {}
    root = np.array([0.0, canal_y + size.canal_depth / 2.0 + 4.0, 0.0])
    for index, sign in enumerate((1.0, -1.0)):
        axis = _axis(size, index)
        half_w, half_h = width[index] / 2.0, height[index] / 2.0
        isthmus_y = body_back + (2.0 if size.level in ("L5", "S1") else 3.5)
        tail = min(
            9.0, setback[index] + 1.0
        )  # the tube must not stick out of the pillar behind, or it would decide the depth
        # The medial wall must clear the canal everywhere along the tube, else the canal would cut the pedicle and its width would mean nothing.
        lateral = 0.0
        for dy in np.linspace(-3.0, 7.0, 11):
            shift = sign * axis[0] / axis[1] * dy  # how far lateral the axis moves when y grows by dy
            lateral = max(
                lateral, _canal_half_width(size, isthmus_y + dy - canal_y) + half_w / abs(axis[1]) - shift + 0.2
            )
        z = body_height / 2.0 - 2.0 - half_h if size.collapse > 0.9 else body_height / 2.0 - half_h + 2.0
        centre = np.array([sign * lateral, isthmus_y, z])
        centres.append(centre)
        flare = (0.16 * width[index] + 0.8, 0.10 * height[index] + 0.8)
        rows.append(
            implicit.limb(
                centre - tail * axis,
                centre + 10.0 * axis,
                _Z,
                (half_w, half_w),
                (half_h, half_h),
                (2.0, 4.0),
                flare,
                smooth=2.0,
            )
        )  # pedicle: its waist lies near `centre`; the measured isthmus is the true one
        pillar = centre - setback[index] * axis
        sap_top = pillar + np.array([sign * 2.0, 4.5, half_h + (7.0 if not thoracic else 4.0)])
        facets[SIDES[index]] = len(rows)
        rows.append(implicit.limb(pillar, sap_top, _Y, (6.0, 4.0), (4.0, 3.4), (4.5, 3.5)))
        span = sign * size.transverse_span / 2.0
        reach_y = 5.0 if not thoracic else 14.0
        tip = np.array([span, pillar[1] + reach_y, pillar[2] + 1.0])
        rows.append(implicit.limb(pillar, tip, _Z, (4.5, 2.8), (6.0, 4.2), (4.0, 3.0)))
        lamina_from = pillar + np.array([-sign * 1.0, 2.0, -4.0])
        lamina_to = root + np.array([0.0, 0.0, z - 9.0])
        rows.append(implicit.limb(lamina_from, lamina_to, _Z, (3.2, 3.2), (9.5, 9.0), (3.0, 3.0)))
        iap_tip = np.array(
            [sign * (abs(pillar[0]) * 0.82), pillar[1] + 11.0, -body_height / 2.0 - size.disc_below * 0.6 - 2.0]
        )
        rows.append(
            implicit.limb(pillar + np.array([-sign * 2.0, 3.0, -6.0]), iap_tip, _Y, (5.5, 4.8), (4.5, 3.6), (4.0, 4.0))
        )
    top = root + np.array([0.0, 0.0, float(np.mean([c[2] for c in centres])) - 10.0])
    length, fall = (30.0, -7.0) if not thoracic else (34.0, -22.0)
    rows.append(implicit.limb(top, top + np.array([0.0, length, fall]), _Z, (3.2, 3.6), (8.5, 10.0), (3.0, 4.0)))
    rows.append(implicit.canal(canal_y, size.canal_width / 2.0, size.canal_depth / 2.0, 0.0))
    return np.array(rows), centres, facets, body_back


def _measure(rows: np.ndarray, centre: np.ndarray, axis: np.ndarray) -> tuple[float, float, np.ndarray, float]:
    """True isthmus near `centre`: (width, height, centre, s along the axis), from ray-cast sections perpendicular to the axis."""
    side = np.cross(_Z, axis)
    side /= np.linalg.norm(side)
    up = np.cross(axis, side)
    best: tuple[float, float, np.ndarray, float] | None = None
    offsets = np.arange(-3.0, 4.01, 0.5)
    starts = centre + offsets[:, None] * axis
    one = np.ones((len(starts), 1))
    left = exit_distance(rows, starts, one * side, 25.0)
    right = exit_distance(rows, starts, -one * side, 25.0)
    for s, a, b in zip(offsets, left, right, strict=True):
        if a > 0.0 and b > 0.0 and (best is None or a + b < best[0]):
            best = (float(a + b), 0.0, centre + s * axis + (a - b) / 2.0 * side, float(s))
    if best is None:
        return 0.0, 0.0, centre, 0.0
    high = exit_distance(rows, best[2][None], up[None], 30.0)[0]
    low = exit_distance(rows, best[2][None], -up[None], 30.0)[0]
    return best[0], float(high + low), best[2] + (high - low) / 2.0 * up, best[3]


def build_vertebra(size: VertebraSize, lps_T_local: np.ndarray | None = None) -> Vertebra:
    """Build and calibrate: pedicle width, height and depth along the axis come out as `size` says (to about 0.05 mm; the rest is stored as measured).

    The tubes' own widths are not the answer because the smooth joints with body and pillar thicken them, and the dorsal pillar decides how long a
    screw may be; so each is solved for by a few fixed-point steps on ray-cast measurements.
    """
    width, height = list(size.pedicle_width), list(size.pedicle_height)
    setback = [9.0, 9.0]
    measured: list[tuple[float, float, np.ndarray, float]] = []
    for _ in range(7):
        rows, centres, facets, front = _build(size, width, height, setback)
        measured = []
        for i in range(2):
            axis = _axis(size, i)
            w, h, centre, s = _measure(rows, centres[i], axis)
            measured.append((w, h, centre, s))
            if w == 0.0:
                continue
            depth_front = exit_distance(rows, centre[None], axis[None], 80.0)[0]
            depth_back = exit_distance(rows, centre[None], -axis[None], 60.0)[0]
            width[i] = max(1.5, width[i] + 0.9 * (size.pedicle_width[i] - w))
            height[i] = max(3.0, height[i] + 0.8 * (size.pedicle_height[i] - h))
            setback[i] = float(np.clip(setback[i] + 0.9 * (size.depth_mm[i] - depth_front - depth_back), 1.0, 30.0))
    pedicles = {}
    for i, side in enumerate(SIDES):
        axis = _axis(size, i)
        w, h, centre, _ = measured[i]
        front_mm = float(exit_distance(rows, centre[None], axis[None], 80.0)[0])
        back_mm = float(exit_distance(rows, centre[None], -axis[None], 60.0)[0])
        pedicles[side] = Pedicle(
            side,
            centre,
            axis,
            centre - back_mm * axis,
            w,
            h,
            front_mm + back_mm,
            size.transverse_deg[i],
            present=w > 0.0,
        )
    pose = np.eye(4) if lps_T_local is None else lps_T_local
    return Vertebra(size.level, size, rows, pedicles, facets, front, front + size.canal_depth, pose)
