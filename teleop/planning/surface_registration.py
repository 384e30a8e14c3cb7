"""Refining a point registration on the bone surface: many sliding touches against the CT's vertebra.

Point-to-plane ICP from several starts. A vertebra is nearly symmetric, so the answer is believed only when the second-best minimum is
clearly worse and no direction is free
(smallest eigenvalue of the information matrix). Include the spinous process base among the touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from teleop.planning.registration import Gate, Registration


@dataclass(frozen=True)
class SurfaceFit:
    """ct_T_touch correction result. rms_mm: point-to-plane residual. second_rms_mm: best residual of a *different* minimum. weakest_mm: SD
    of the least determined direction for 1 mm noise."""

    registration: Registration
    rms_mm: float
    second_rms_mm: float
    weakest_mm: float
    moved_mm: float
    moved_deg: float


def _icp(
    points: np.ndarray, tree: cKDTree, surface: np.ndarray, normals: np.ndarray, start: np.ndarray, rounds: int = 40
) -> tuple[np.ndarray, float, np.ndarray]:
    """Point-to-plane ICP with a 80 % trim. points (N, 3) mm; start 4 x 4 (surface_T_points). -> pose, RMS mm, 6 x 6 information."""
    pose = start.copy()
    rms, information = np.inf, np.eye(6)
    for _ in range(rounds):
        q = points @ pose[:3, :3].T + pose[:3, 3]
        distance, index = tree.query(q)
        keep = distance <= np.quantile(distance, 0.85)
        n, s = normals[index], surface[index]
        error = ((q - s) * n).sum(axis=1)
        centre = q.mean(axis=0)
        jacobian = np.column_stack([np.cross(q - centre, n), n])[keep]
        information = jacobian.T @ jacobian
        step = -np.linalg.solve(information + 1e-6 * np.eye(6), jacobian.T @ error[keep])
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
        turn[:3, 3] = centre - turn[:3, :3] @ centre + step[3:]
        pose = turn @ pose
        rms = float(np.sqrt((error[keep] ** 2).mean()))
        if np.linalg.norm(step[:3]) < 1e-6 and np.linalg.norm(step[3:]) < 1e-5:
            break
    return pose, rms, information


def refine_on_surface(
    initial: Registration,
    touched_m: np.ndarray,
    surface_lps_mm: np.ndarray,
    normals: np.ndarray,
    *,
    starts: int = 12,
    seed: int = 0,
    rms_limit_mm: float = 0.8,
    separation: float = 1.25,
) -> SurfaceFit:
    """Refine `initial` with touches anywhere on the bone.

    touched_m: (N, 3) metres in ref. surface, normals: (M, 3) LPS mm and outward normals of the registered vertebra's surface, dense (about 1 mm).
    Adds the gates surface_rms, surface_unique (second-best minimum), surface_observable (no sliding direction) and surface_moved (it is a
    refinement: < 8 mm, 8 deg).
    """
    tree = cKDTree(surface_lps_mm)
    points = initial.to_ct_mm(touched_m)
    rng = np.random.default_rng(seed)
    centre = points.mean(axis=0)
    results = []
    for n in range(starts):
        start = np.eye(4)
        if n:
            rotation = Rotation.from_rotvec(np.deg2rad(rng.normal(0.0, 5.0, 3))).as_matrix()
            start[:3, :3], start[:3, 3] = rotation, centre - rotation @ centre + rng.normal(0.0, 3.0, 3)
        pose, rms, information = _icp(points, tree, surface_lps_mm, normals, start)
        results.append((rms, n, pose, information))
    results.sort(key=lambda r: (r[0], r[1]))
    rms, _, pose, information = results[0]
    moved = pose @ np.append(centre, 1.0)

    def differs(other: np.ndarray) -> bool:
        return bool(
            np.linalg.norm((other @ np.append(centre, 1.0) - moved)[:3]) > 1.0
            or np.degrees(Rotation.from_matrix(other[:3, :3].T @ pose[:3, :3]).magnitude()) > 2.0
        )

    second = min((r[0] for r in results[1:] if differs(r[2])), default=np.inf)
    scaled = np.diag([1 / 30.0] * 3 + [1.0] * 3)  # a radian counts at 30 mm
    weakest = float(1.0 / np.sqrt(max(np.linalg.eigvalsh(scaled @ information @ scaled)[0], 1e-12)))
    fit = np.linalg.inv(pose)
    correction = np.eye(4)
    correction[:3, :3], correction[:3, 3] = fit[:3, :3], fit[:3, 3] / 1000.0
    matrix = initial.ref_T_ct @ correction
    shift = float(np.linalg.norm(moved[:3] - centre))
    turn = float(np.degrees(Rotation.from_matrix(pose[:3, :3]).magnitude()))
    gates = (
        *initial.gates,
        Gate(
            "surface_rms",
            rms <= rms_limit_mm,
            rms,
            rms_limit_mm,
            f"surface residual {rms:.2f} mm, allowed {rms_limit_mm:.2f}",
        ),
        Gate(
            "surface_unique",
            second >= separation * rms or second > rms + 0.3,
            float(min(second, 99.0)),
            separation * rms,
            f"another position fits almost as well ({second:.2f} against {rms:.2f} mm): touch the spinous process base too",
        ),
        Gate(
            "surface_observable",
            weakest <= 1.0,
            weakest,
            1.0,
            f"the touches leave a direction free (SD {weakest:.2f} mm per mm of noise): touch surfaces that face other ways",
        ),
        Gate(
            "surface_moved",
            shift <= 8.0 and turn <= 8.0,
            shift,
            8.0,
            f"the refinement moved {shift:.1f} mm and {turn:.1f} deg: the first registration was wrong, start again",
        ),
    )
    refined = Registration(
        matrix,
        initial.fre_mm,
        initial.residuals_mm,
        initial.fle_mm,
        initial.ct_lps_mm,
        gates,
        initial.level,
        initial.ct_sha256,
        initial.stamp_ns,
        "surface",
        dict(initial.meta),
    )
    return SurfaceFit(refined, rms, float(second), weakest, shift, turn)
