# mypy: disable-error-code="no-untyped-def"
"""How far the arm is from the patient, the table, the floor and itself: links and guide as spheres, obstacles analytic.

A `Scene` is a list of obstacles in the arm's base frame with exact signed distances (Quilez, "distance functions",
iquilezles.org: box and capsule), so there is nothing to tesselate and nothing to go wrong: never a mesh query. The
arm's
spheres cover its collision meshes, so a clearance found here is a lower bound. Metres, base frame.

Obstacle "patient" is special: the distal part of the guide (within the tool radius of the tip) is *meant* to enter
it, and
`enter=True` leaves those spheres out of that one obstacle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from teleop.arm.kinematics import Kinematics
from teleop.geometry import Pose, Vec3, invert, pose_to_matrix

Array = NDArray[np.float64]

PLANE, BOX, CAPSULE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Obstacle:
    """name; kind PLANE, BOX or CAPSULE; numbers (16,): plane: unit normal, offset (n.x - offset is the distance);
    box: rows of box_T_base (3x4 = 12), half extents (3), rounding radius; capsule: ends a, b (6), radius."""

    name: str
    kind: int
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """Obstacles in the base frame."""

    obstacles: tuple[Obstacle, ...] = field(default=())

    def packed(self) -> tuple[NDArray[np.int64], Array]:
        """(M,) kinds and (M,16) numbers, as the kernel wants them."""
        kinds = np.array([o.kind for o in self.obstacles], dtype=np.int64)
        numbers = np.zeros((len(self.obstacles), 16))
        for i, o in enumerate(self.obstacles):
            numbers[i, : len(o.numbers)] = o.numbers
        return kinds, numbers


def plane(name: str, normal: Vec3, offset: float) -> Obstacle:
    """The half-space behind a plane: forbidden is normal . x < offset."""
    return Obstacle(name, PLANE, (*normal, offset))


def box(name: str, base_T_box: Sequence[float], half: Vec3, rounding: float = 0.0) -> Obstacle:
    """A box of half extents `half`, its edges and corners rounded outwards by `rounding`."""
    m = pose_to_matrix(invert(base_T_box))
    return Obstacle(name, BOX, (*m[:3].ravel().tolist(), *half, rounding))


def capsule(name: str, a: Vec3, b: Vec3, radius: float) -> Obstacle:
    """All points within `radius` of the segment from a to b."""
    return Obstacle(name, CAPSULE, (*a, *b, radius))


@dataclass(frozen=True, slots=True)
class ArmSpheres:
    """frame (K,) index of the link frame (0 base, i behind joint i, n+1 the tip), centre (K,3) in it, radius (K,),
    distal (K,) whether the sphere belongs to the part of the guide that may enter the patient."""

    frame: NDArray[np.int64]
    centre: Array
    radius: Array
    distal: NDArray[np.bool_]


@njit(cache=True)
def _distances(frames, frame, centre, radius, kinds, numbers, out):
    """out (K,M): distance of every sphere's surface to every obstacle."""
    for k in range(frame.shape[0]):
        f = frame[k]
        if f == 0:
            x, y, z = centre[k, 0], centre[k, 1], centre[k, 2]
        else:
            t = frames[f - 1]
            x = t[0, 0] * centre[k, 0] + t[0, 1] * centre[k, 1] + t[0, 2] * centre[k, 2] + t[0, 3]
            y = t[1, 0] * centre[k, 0] + t[1, 1] * centre[k, 1] + t[1, 2] * centre[k, 2] + t[1, 3]
            z = t[2, 0] * centre[k, 0] + t[2, 1] * centre[k, 1] + t[2, 2] * centre[k, 2] + t[2, 3]
        for m in range(kinds.shape[0]):
            p = numbers[m]
            if kinds[m] == 0:
                d = p[0] * x + p[1] * y + p[2] * z - p[3]
            elif kinds[m] == 1:
                bx = abs(p[0] * x + p[1] * y + p[2] * z + p[3]) - p[12]
                by = abs(p[4] * x + p[5] * y + p[6] * z + p[7]) - p[13]
                bz = abs(p[8] * x + p[9] * y + p[10] * z + p[11]) - p[14]
                ox, oy, oz = max(bx, 0.0), max(by, 0.0), max(bz, 0.0)
                d = np.sqrt(ox * ox + oy * oy + oz * oz) + min(max(bx, max(by, bz)), 0.0) - p[15]
            else:
                ax, ay, az = x - p[0], y - p[1], z - p[2]
                ux, uy, uz = p[3] - p[0], p[4] - p[1], p[5] - p[2]
                uu = ux * ux + uy * uy + uz * uz
                h = 0.0 if uu == 0.0 else min(max((ax * ux + ay * uy + az * uz) / uu, 0.0), 1.0)
                ex, ey, ez = ax - ux * h, ay - uy * h, az - uz * h
                d = np.sqrt(ex * ex + ey * ey + ez * ez) - p[6]
            out[k, m] = d - radius[k]


@njit(cache=True)
def _self_distance(frames, frame, centre, radius, apart):
    """Smallest distance between spheres whose frames are at least `apart` joints apart, and the pair."""
    count = frame.shape[0]
    pos = np.empty((count, 3))
    for k in range(count):
        f = frame[k]
        for i in range(3):
            if f == 0:
                pos[k, i] = centre[k, i]
            else:
                t = frames[f - 1]
                pos[k, i] = t[i, 0] * centre[k, 0] + t[i, 1] * centre[k, 1] + t[i, 2] * centre[k, 2] + t[i, 3]
    best, bi, bj = 1e9, -1, -1
    for i in range(count):
        for j in range(i + 1, count):
            if frame[j] - frame[i] >= apart:
                d = np.sqrt((pos[i, 0] - pos[j, 0]) ** 2 + (pos[i, 1] - pos[j, 1]) ** 2 + (pos[i, 2] - pos[j, 2]) ** 2)
                d -= radius[i] + radius[j]
                if d < best:
                    best, bi, bj = d, i, j
    return best, bi, bj


@dataclass(frozen=True, slots=True)
class Clearance:
    """distance (m, negative inside), what part of the arm, of which obstacle."""

    distance: float
    part: str
    obstacle: str

    def __str__(self) -> str:
        return f"{self.part} {self.distance * 1000:.0f} mm from {self.obstacle}"


class ClearanceChecker:
    """Distances of one arm in one scene. Not thread-safe (work arrays)."""

    def __init__(self, kin: Kinematics, scene: Scene, *, check_self: bool = True) -> None:
        self.kin = kin
        self.scene = scene
        self.spheres = spheres_of(kin)
        self._kinds, self._numbers = scene.packed()
        self._out = np.empty((len(self.spheres.frame), len(scene.obstacles)))
        self._self = check_self
        patient = np.array([o.name == "patient" for o in scene.obstacles], dtype=bool)
        self._entering = self.spheres.distal[:, None] & patient[None, :]

    def at(self, q: Array, *, enter: bool = False) -> Clearance:
        """Smallest clearance of posture q (n,); with `enter` the distal guide may be inside the patient."""
        frames = self.kin.link_frames(q)
        s = self.spheres
        best = Clearance(float("inf"), "arm", "nothing")
        if len(self.scene.obstacles):
            _distances(frames, s.frame, s.centre, s.radius, self._kinds, self._numbers, self._out)
            d = np.where(self._entering, np.inf, self._out) if enter else self._out
            # the base stands on the floor and beside the table by construction
            d = np.where((s.frame <= 1)[:, None], np.inf, d)
            k, m = np.unravel_index(int(np.argmin(d)), d.shape)
            best = Clearance(float(d[k, m]), self._part(int(k)), self.scene.obstacles[int(m)].name)
        if self._self:
            own, i, j = _self_distance(frames, s.frame, s.centre, s.radius, 4)
            if own < best.distance:
                best = Clearance(float(own), self._part(int(j)), self._part(int(i)))
        return best

    def tool_margin(self, q: Array) -> float:
        """Smallest clearance (m) of the guide alone: what the speed law needs as margin in free air."""
        frames = self.kin.link_frames(q)
        s = self.spheres
        _distances(frames, s.frame, s.centre, s.radius, self._kinds, self._numbers, self._out)
        return float(self._out[s.frame == self.kin.n + 1].min()) if self._out.size else 1.0

    def _part(self, k: int) -> str:
        f = int(self.spheres.frame[k])
        if f == self.kin.n + 1:
            return "the guide"
        return "the base" if f == 0 else f"link {f}"


def spheres_of(kin: Kinematics) -> ArmSpheres:
    """The spheres of the arm's model (its YAML file)."""
    frame, rows = [], []
    model = kin.model
    for x in model.base_spheres:
        frame.append(0)
        rows.append(x)
    for i, link in enumerate(model.link_spheres):
        for x in link:
            frame.append(i + 1)
            rows.append(x)
    for x in model.tool_spheres:
        frame.append(model.n + 1)
        rows.append(x)
    data = np.array(rows, dtype=np.float64).reshape(-1, 4)
    frames = np.array(frame, dtype=np.int64)
    distal = (frames == model.n + 1) & (np.linalg.norm(data[:, :3], axis=1) <= kin.radius)
    return ArmSpheres(frames, np.ascontiguousarray(data[:, :3]), np.ascontiguousarray(data[:, 3]), distal)


def warm_clearance(kin: Kinematics, pose: Pose) -> None:
    """Compile the kernels of this module."""
    ClearanceChecker(kin, Scene((box("table", pose, (0.1, 0.1, 0.1)),))).at(kin.model.home)
