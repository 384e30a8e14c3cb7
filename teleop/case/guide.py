"""Where the drill guide is against the planned line, from what a tracker sees.

Frames: `tracker` (the camera), `ref` (reference frame on the patient), `tip` (distal opening of the guide, +z along
the direction of drilling). All poses are 4x4 homogeneous matrices in metres. The line of a screw is (entry, axis) in
`ref`: entry point (3,) and unit vector (3,) from entry to tip of the screw.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GuideError:
    """Deviation of the guide from its line. lateral_m is taken in the plane through the entry, across the axis;
    stand_off_m is the signed distance from the guide's opening to that plane along the axis (positive: not there yet)."""

    lateral_m: float
    angle_rad: float
    stand_off_m: float


def guide_error(ref_T_tip: Matrix, entry: Vector, axis: Vector) -> GuideError:
    """Compare a guide pose (4,4) with a line, both in `ref`."""
    guide_axis = ref_T_tip[:3, 2]
    origin = ref_T_tip[:3, 3]
    cosine = float(np.clip(guide_axis @ axis, -1.0, 1.0))
    angle = float(np.arctan2(np.linalg.norm(np.cross(guide_axis, axis)), cosine))
    to_entry = entry - origin
    stand_off = float(to_entry @ axis)
    if abs(cosine) < 1e-3:  # guide lies across the line: it never meets the entry plane in a useful place
        lateral = float(np.linalg.norm(to_entry - stand_off * axis))
    else:
        hit = origin + guide_axis * (stand_off / cosine)
        lateral = float(np.linalg.norm(hit - entry))
    return GuideError(lateral, angle, stand_off)


def guide_pose_on_line(entry: Vector, axis: Vector, stand_off_m: float, like: Matrix) -> Matrix:
    """Pose (4,4) of the guide on the line, `stand_off_m` before the entry, rolled as near as possible to `like` (4,4).

    The roll about the axis is free; keeping it near the present one keeps a correction small.
    """
    z = axis / np.linalg.norm(axis)
    x = like[:3, 0] - (like[:3, 0] @ z) * z
    if np.linalg.norm(x) < 1e-6:
        x = like[:3, 1] - (like[:3, 1] @ z) * z
    x = x / np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([x, np.cross(z, x), z])
    pose[:3, 3] = entry - stand_off_m * z
    return pose


def mean_pose(poses: NDArray[np.float64]) -> tuple[Matrix, float]:
    """Robust mean of (N,4,4) poses and the RMS scatter of their positions (m).

    Positions: component-wise median, then the mean of those within 3 median absolute deviations of it (floor 0.05 mm),
    so that a single wild frame does not move the result. Rotations: chordal mean of the same frames.
    Raises ValueError on an empty input.
    """
    poses = np.asarray(poses, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[0] == 0 or poses.shape[1:] != (4, 4):
        raise ValueError(f"expected (N,4,4) poses with N >= 1, got shape {poses.shape}")
    centre = np.median(poses[:, :3, 3], axis=0)
    distance = np.linalg.norm(poses[:, :3, 3] - centre, axis=1)
    keep = distance <= 3.0 * max(float(np.median(distance)), 0.05e-3)
    kept = poses[keep]
    out = np.eye(4)
    out[:3, 3] = kept[:, :3, 3].mean(axis=0)
    out[:3, :3] = Rotation.from_matrix(kept[:, :3, :3]).mean().as_matrix()
    scatter = float(np.sqrt(np.mean(np.sum((kept[:, :3, 3] - out[:3, 3]) ** 2, axis=1))))
    return out, scatter


def base_T_ref_from_view(base_T_tip: Matrix, ref_T_tip: Matrix) -> Matrix:
    """Where the patient's reference frame is in the arm's own (nominal) frame, at this pose of the arm.

    The arm's kinematics lie by a millimetre or two and the lie changes slowly over the workspace; taken afresh at each
    stop, this map carries the lie with it, so that a target computed through it converges on what the tracker sees.
    """
    return base_T_tip @ np.linalg.inv(ref_T_tip)
