"""Rigid geometry for everybody: poses as 7-tuples, quaternions (x, y, z, w), rotation vectors, 4x4 matrices.

Names spell frames: `base_T_tip` maps coordinates in the tip frame to coordinates in the base frame,
`a_T_c = compose(a_T_b, b_T_c)`. Lengths in metres, angles in radians. A pose is `(x, y, z, qx, qy, qz, qw)` with a unit
quaternion. The tuple functions are plain Python floats (no numpy), so they cost a microsecond in a servo loop.

Rotation vectors are axis times angle, angle in [0, pi]; near 0 and near pi the formulas switch to series / the largest
diagonal element, after Shepperd (1978), J. Guidance and Control 1(3):223 for the matrix to quaternion step.
"""

from collections.abc import Sequence
from math import atan2, cos, isfinite, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Pose = tuple[float, ...]
#: Any row of numbers: a tuple, a list, a numpy vector.
Row = Sequence[float] | NDArray[np.float64]
Quat = tuple[float, float, float, float]
Vec3 = tuple[float, float, float]
Matrix = NDArray[np.float64]

IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
#: A quaternion whose norm is further than this from 1 is refused as input (a float32 rounding is 1e-7).
UNIT_TOLERANCE = 1e-3


# --- vectors ---------------------------------------------------------------------------------------------------------


def norm(v: Row) -> float:
    """Euclidean length of a vector of any size."""
    if len(v) == 3:  # spelled out, the same sum to the last bit: this is called a hundred times per tick of a hand
        return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    if len(v) == 4:
        return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + v[3] * v[3])
    return sqrt(sum(x * x for x in v))


def unit(v: Row) -> Vec3:
    """v / |v|. Raises ValueError for a vector too short to have a direction."""
    n = norm(v)
    if not n > 1e-12:
        raise ValueError(f"a direction of length {n:g} has no direction: give a non-zero vector")
    return (v[0] / n, v[1] / n, v[2] / n)


def dot(a: Row, b: Row) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Row, b: Row) -> Vec3:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def angle_between(a: Row, b: Row) -> float:
    """Angle between two directions, rad in [0, pi]; exact near 0 and pi, unlike acos of the dot product."""
    return atan2(norm(cross(a, b)), dot(a, b))


# --- quaternions -----------------------------------------------------------------------------------------------------


def quat_normalize(q: Row) -> Quat:
    """Unit quaternion with w >= 0 (of the two that mean the same rotation). Raises ValueError for length 0 or
    non-finite."""
    n = norm(q)
    if not (isfinite(n) and n > 1e-9):
        raise ValueError(f"quaternion {tuple(q)} has no direction")
    if q[3] < 0.0:
        n = -n
    return (q[0] / n, q[1] / n, q[2] / n, q[3] / n)


def quat_multiply(a: Row, b: Row) -> Quat:
    """Rotation b first, then a (Hamilton product a*b)."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def quat_conjugate(q: Row) -> Quat:
    """Inverse rotation of a unit quaternion."""
    return (-q[0], -q[1], -q[2], q[3])


def quat_rotate(q: Row, v: Row) -> Vec3:
    """v rotated by unit quaternion q."""
    x, y, z, w = q
    tx = 2.0 * (y * v[2] - z * v[1])
    ty = 2.0 * (z * v[0] - x * v[2])
    tz = 2.0 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


def rotvec_to_quat(rotvec: Row) -> Quat:
    """Unit quaternion of a rotation vector (axis times angle, rad)."""
    angle = norm(rotvec)
    half = 0.5 * angle
    # sin(half)/angle; the series keeps full precision below 1e-4 rad, where the next term is 1e-18
    k = 0.5 - angle * angle / 48.0 if angle < 1e-4 else sin(half) / angle
    return quat_normalize((rotvec[0] * k, rotvec[1] * k, rotvec[2] * k, cos(half)))


def quat_to_rotvec(q: Row) -> Vec3:
    """Rotation vector of a unit quaternion, angle in [0, pi]."""
    x, y, z, w = quat_normalize(q)
    s = sqrt(x * x + y * y + z * z)
    k = 2.0 if s < 1e-9 else 2.0 * atan2(s, w) / s
    return (x * k, y * k, z * k)


def quat_angle(a: Row, b: Row) -> float:
    """Angle of the rotation between two orientations, rad in [0, pi]."""
    return norm(quat_to_rotvec(quat_multiply(b, quat_conjugate(a))))


def quat_to_matrix(q: Row) -> Matrix:
    """3x3 rotation matrix of a unit quaternion."""
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quat(m: Matrix) -> Quat:
    """Unit quaternion of a 3x3 rotation matrix (or the upper left of a 4x4)."""
    r = [[float(m[i, j]) for j in range(3)] for i in range(3)]
    trace = r[0][0] + r[1][1] + r[2][2]
    if trace >= max(r[0][0], r[1][1], r[2][2]):
        return quat_normalize((r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1], 1.0 + trace))
    i = max(range(3), key=lambda n: r[n][n])
    j, k = (i + 1) % 3, (i + 2) % 3
    q = [0.0, 0.0, 0.0, 0.0]
    q[i] = 1.0 + r[i][i] - r[j][j] - r[k][k]
    q[j] = r[j][i] + r[i][j]
    q[k] = r[k][i] + r[i][k]
    q[3] = r[k][j] - r[j][k]
    return quat_normalize(q)


def quat_slerp(a: Row, b: Row, t: float) -> Quat:
    """Constant-rate rotation from a (t = 0) to b (t = 1), the short way."""
    rv = quat_to_rotvec(quat_multiply(b, quat_conjugate(a)))
    return quat_normalize(quat_multiply(rotvec_to_quat((rv[0] * t, rv[1] * t, rv[2] * t)), a))


# --- poses -----------------------------------------------------------------------------------------------------------


def check_pose(pose: Row, name: str = "pose") -> Pose:
    """The pose with its quaternion normalised. Raises ValueError naming what is wrong: length, a non-finite number, a
    quaternion off unit length by more than `UNIT_TOLERANCE`."""
    values = tuple(float(v) for v in pose)
    if len(values) != 7:
        raise ValueError(f"{name}: need 7 numbers (x, y, z, qx, qy, qz, qw), got {len(values)}")
    if not all(isfinite(v) for v in values):
        raise ValueError(f"{name}: non-finite number in {values}")
    if abs(norm(values[3:]) - 1.0) > UNIT_TOLERANCE:
        raise ValueError(f"{name}: quaternion {values[3:]} has length {norm(values[3:]):.6f}, not 1: normalise it")
    return values[:3] + quat_normalize(values[3:])


def pose_from(position: Row, quat: Row) -> Pose:
    """Pose of a position (m) and a quaternion."""
    return (float(position[0]), float(position[1]), float(position[2]), *quat_normalize(quat))


def compose(a_T_b: Row, b_T_c: Row) -> Pose:
    """a_T_c."""
    p = quat_rotate(a_T_b[3:], b_T_c[:3])
    q = quat_normalize(quat_multiply(a_T_b[3:], b_T_c[3:]))
    return (a_T_b[0] + p[0], a_T_b[1] + p[1], a_T_b[2] + p[2], *q)


def invert(a_T_b: Row) -> Pose:
    """b_T_a."""
    q = quat_conjugate(a_T_b[3:])
    p = quat_rotate(q, a_T_b[:3])
    return (-p[0], -p[1], -p[2], *quat_normalize(q))


def transform_point(a_T_b: Row, point_b: Row) -> Vec3:
    """Coordinates in a of a point given in b."""
    p = quat_rotate(a_T_b[3:], point_b)
    return (a_T_b[0] + p[0], a_T_b[1] + p[1], a_T_b[2] + p[2])


def pose_to_matrix(pose: Row) -> Matrix:
    """4x4 homogeneous matrix of a pose."""
    m = np.eye(4)
    m[:3, :3] = quat_to_matrix(pose[3:])
    m[:3, 3] = pose[:3]
    return m


def matrix_to_pose(m: Matrix) -> Pose:
    """Pose of a 4x4 homogeneous matrix."""
    return (float(m[0, 3]), float(m[1, 3]), float(m[2, 3]), *matrix_to_quat(m))


def pose_error(a: Row, b: Row) -> tuple[Vec3, Vec3]:
    """What takes pose a to pose b, both in the frame the poses are given in: translation (m), rotation vector (rad)."""
    d = (b[0] - a[0], b[1] - a[1], b[2] - a[2])
    return d, quat_to_rotvec(quat_multiply(b[3:], quat_conjugate(a[3:])))


def worst_point_distance(a: Row, b: Row, radius: float) -> float:
    """Upper bound (m) on how far any tool point within `radius` (m) of the tip lies apart between two poses: |dp| +
    r|dphi|."""
    d, rv = pose_error(a, b)
    return norm(d) + radius * norm(rv)


def interpolate(a: Row, b: Row, t: float) -> Pose:
    """Straight line and constant-rate rotation from a (t = 0) to b (t = 1)."""
    p = tuple(a[i] + (b[i] - a[i]) * t for i in range(3))
    return p + quat_slerp(a[3:], b[3:], t)


# --- axes ------------------------------------------------------------------------------------------------------------


def pose_of_axis(point: Row, direction: Row, roll: float = 0.0) -> Pose:
    """A pose at `point` whose +z is `direction`; `roll` (rad) turns it about that axis. At roll 0 the x axis is the
    base's x axis made perpendicular to the direction (its y axis where the direction is within about 8 deg of x)."""
    z = unit(direction)
    ref = (1.0, 0.0, 0.0) if abs(z[0]) < 0.99 else (0.0, 1.0, 0.0)
    k = dot(ref, z)
    x0 = unit((ref[0] - k * z[0], ref[1] - k * z[1], ref[2] - k * z[2]))
    y0 = cross(z, x0)
    c, s = cos(roll), sin(roll)
    x = tuple(c * x0[i] + s * y0[i] for i in range(3))
    y = cross(z, x)
    m = np.array([[x[0], y[0], z[0]], [x[1], y[1], z[1]], [x[2], y[2], z[2]]])
    return pose_from(point, matrix_to_quat(m))


def axis_of(pose: Row) -> Vec3:
    """Direction of the pose's +z axis: for a tip pose, the direction of drilling."""
    return quat_rotate(pose[3:], (0.0, 0.0, 1.0))


def along_axis(pose: Row, distance: float) -> Pose:
    """The pose moved by `distance` (m) along its own +z."""
    z = axis_of(pose)
    return (pose[0] + z[0] * distance, pose[1] + z[1] * distance, pose[2] + z[2] * distance, *pose[3:])


def axis_errors(pose: Row, point: Row, direction: Row) -> tuple[float, float, float]:
    """How far a guide is off a planned line (point, direction): lateral distance of the guide's axis from the planned
    point (m), angle between the axes (rad), and depth of the tip along the planned direction past the point (m)."""
    z = axis_of(pose)
    d = unit(direction)
    rel = (point[0] - pose[0], point[1] - pose[1], point[2] - pose[2])
    k = dot(rel, z)
    lateral = norm((rel[0] - k * z[0], rel[1] - k * z[1], rel[2] - k * z[2]))
    return lateral, angle_between(z, d), -dot(rel, d)
