"""`generate(seed, ...) -> Phantom`: a spine made of implicit vertebrae in LPS millimetres, drawn from published dimensions.

Same seed and options, same phantom, on any machine. Nothing here knows voxels; `volume` renders, `judge` measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sim.phantom import implicit
from sim.phantom.dimensions import LEVELS, LUMBAR, VertebraSize, draw_patient
from sim.phantom.vertebra import SIDES, Vertebra, build_vertebra

PATHOLOGIES = (
    "narrow",
    "scoliosis",
    "wedge",
    "listhesis",
    "osteoporotic",
    "metal",
    "cement",
    "laminectomy",
    "lysis",
    "fracture",
    "fused-facet",
)


@dataclass(frozen=True)
class Metal:
    """A screw left by an earlier operation: a steel cylinder. LPS mm."""

    start_lps_mm: np.ndarray
    end_lps_mm: np.ndarray
    radius_mm: float
    hu: float = 3000.0


@dataclass(frozen=True)
class Tissue:
    """Hounsfield units. Cancellous: Pickhardt-like adult values; cortical low because thin shells never reach their material value."""

    cancellous: float = 180.0
    cortical: float = 1050.0
    disc: float = 80.0
    muscle: float = 55.0
    fat: float = -95.0
    canal: float = 25.0
    air: float = -1000.0


@dataclass(frozen=True)
class Phantom:
    """Everything true about one simulated patient. Vertebrae cranial to caudal."""

    seed: int
    vertebrae: tuple[Vertebra, ...]
    tissue: Tissue
    joint_gap_mm: float = 1.6
    cuts: tuple[tuple[str, np.ndarray, np.ndarray], ...] = ()
    metal: tuple[Metal, ...] = ()
    cement: tuple[tuple[np.ndarray, float], ...] = ()
    skin_lps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    options: dict = field(default_factory=dict)

    def __getitem__(self, level: str) -> Vertebra:
        for vertebra in self.vertebrae:
            if vertebra.level == level:
                return vertebra
        raise KeyError(f"this phantom has no {level}; it has {', '.join(v.level for v in self.vertebrae)}")

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(v.level for v in self.vertebrae)

    def bone(self, level: str, lps_mm: np.ndarray) -> np.ndarray:
        """The implicit bone of one level at (N, 3) LPS mm, negative inside; facet joints keep `joint_gap_mm` from the neighbours, defects are cut out."""
        index = self.levels.index(level)
        f = self.vertebrae[index].f(lps_mm)
        return self._carve(index, lps_mm, f)

    def _carve(self, index: int, lps_mm: np.ndarray, f: np.ndarray) -> np.ndarray:
        """Cut joints and defects out of precomputed f of vertebra `index`; only points near its bone are touched."""
        result = f.copy()
        near = np.flatnonzero(f < 4.0)
        if len(near):
            points = lps_mm[near]
            own = f[near]
            for other in (index - 1, index + 1):
                if 0 <= other < len(self.vertebrae):
                    theirs = self.vertebrae[other].f(points)
                    result[near] = np.maximum(result[near], (own - theirs) / 2.0 + self.joint_gap_mm / 2.0)
            for cut_level, low, high in self.cuts:
                if cut_level == self.vertebrae[index].level:
                    local = self.vertebrae[index].to_local(points)
                    inside = np.max(np.maximum(low - local, local - high), axis=1)
                    result[near] = np.maximum(result[near], -inside)
        return result

    def canal(self, lps_mm: np.ndarray, level: str) -> np.ndarray:
        """Signed distance (first order) to the spinal canal's tube at that level, negative inside, mm."""
        v = self[level]
        return implicit.canal_points(v.rows, np.ascontiguousarray(v.to_local(lps_mm)))

    def facet(self, lps_mm: np.ndarray, level: str, side: str) -> np.ndarray:
        """First-order distance to the level's own superior articular process above its pedicle (the cranial facet), mm."""
        v = self[level]
        local = np.ascontiguousarray(v.to_local(lps_mm))
        d = implicit.limb_points(v.rows, v.facet_rows[side], local)
        top = v.pedicles[side].centre[2] + v.pedicles[side].height / 2.0 + 2.0
        return np.maximum(d, top - local[:, 2])


def _rotation(rx: float, ry: float, rz: float) -> np.ndarray:
    """Rotation by Rz Ry Rx, angles in degrees about LPS x, y, z."""
    a, b, c = np.deg2rad([rx, ry, rz])
    cx, sx, cy, sy, cz, sz = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    r_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    r_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    r_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return r_z @ r_y @ r_x


# Sagittal tilt of each vertebra's frame in degrees about x, level by level (a lying adult: lordosis about 40 deg from L1 to S1, kyphosis about 35 deg).
_TILT = dict(zip(LEVELS, [14, 12, 9, 6, 3, 0, -3, -6, -8, -10, -11, -12, -11, -8, -3, 4, 14, 30], strict=True))


def _poses(
    sizes: list[VertebraSize],
    scoliosis_deg: float,
    listhesis_mm: dict[str, float],
    rng: np.random.Generator,
    spread: float,
) -> list[np.ndarray]:
    """Stack the vertebrae: half a body, a disc, half a body, each in the mean direction of its two neighbours. The middle of the stack is the origin."""
    tilt = [(_TILT[s.level] - 3.0) * (1.0 + 0.1 * spread * float(np.clip(rng.normal(), -2, 2))) for s in sizes]
    count = len(sizes)
    poses, position = [], np.zeros(3)
    previous: tuple[np.ndarray, VertebraSize] | None = None
    for i, size in enumerate(sizes):
        phase = np.pi * (i + 0.5) / count
        lateral = scoliosis_deg / 2.0 * np.cos(phase)
        axial = 0.6 * scoliosis_deg * np.sin(phase)
        jitter = spread * np.clip(rng.normal(size=3), -2, 2) * np.array([1.0, 1.0, 1.0])
        rotation = _rotation(tilt[i] + jitter[0], lateral + jitter[1], axial + jitter[2])
        if previous is not None:
            up = previous[0][:, 2] + rotation[:, 2]
            up = up / np.linalg.norm(up)
            gap = (previous[1].height * previous[1].collapse + size.height * size.collapse) / 2.0 + previous[
                1
            ].disc_below
            position = position - gap * up
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, position + listhesis_mm.get(size.level, 0.0) * -rotation[:, 1]
        poses.append(pose)
        previous = (rotation, size)
    middle = np.mean([p[:3, 3] for p in poses], axis=0)
    for pose in poses:
        pose[:3, 3] -= middle
    return poses


def generate(
    seed: int = 0,
    *,
    levels: tuple[str, ...] = LUMBAR,
    spread: float = 1.0,
    pedicle_width_mm: dict[str, float | tuple[float, float]] | float | None = None,
    scoliosis_deg: float = 0.0,
    wedge_deg: dict[str, float] | None = None,
    collapse: dict[str, float] | None = None,
    listhesis_mm: dict[str, float] | None = None,
    osteoporotic: bool = False,
    metal: tuple[str, ...] = (),
    cement: tuple[str, ...] = (),
    laminectomy: tuple[str, ...] = (),
    lysis: tuple[str, ...] = (),
    fused_facet: bool = False,
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    mirror: bool = False,
) -> Phantom:
    """Make a phantom.

    seed: draws the anatomy. levels: contiguous, cranial to caudal. spread: 0 = published means, 1 = population.
    pedicle_width_mm: force the pedicle width, of all or of named levels (the narrow series), there also as (left, right).
    scoliosis_deg: Cobb-like angle with axial rotation.
    wedge_deg / collapse / listhesis_mm: per level: extra wedge (anterior lower), remaining body height (0..1), forward slip.
    metal / cement: levels that carry an old screw (left side) or cement. laminectomy / lysis: levels without dorsal arch / with a pars defect on the left.
    rotation_deg, offset_mm: pose of the patient in the scanner. mirror: reflect left and right (a test of symmetry, not a patient).
    Raises ValueError for unknown or non-contiguous levels.
    """
    unknown = [level for level in levels if level not in LEVELS]
    if unknown or not levels:
        raise ValueError(f"unknown levels {unknown}; choose contiguous ones out of {', '.join(LEVELS)}")
    start = LEVELS.index(levels[0])
    if LEVELS[start : start + len(levels)] != tuple(levels):
        raise ValueError(f"levels must be contiguous from cranial to caudal, got {', '.join(levels)}")
    rng = np.random.default_rng(seed)
    sizes = draw_patient(tuple(levels), rng, spread)
    for i, size in enumerate(sizes):
        changes: dict[str, object] = {}
        forced = pedicle_width_mm.get(size.level) if isinstance(pedicle_width_mm, dict) else pedicle_width_mm
        if forced is not None:
            both = forced if isinstance(forced, tuple) else (forced, forced)
            changes["pedicle_width"] = (float(both[0]), float(both[1]))
        if wedge_deg and size.level in wedge_deg:
            changes["wedge_deg"] = size.wedge_deg - wedge_deg[size.level]
        if collapse and size.level in collapse:
            changes["collapse"] = collapse[size.level]
        if mirror:
            for name in ("pedicle_height", "pedicle_width", "transverse_deg", "sagittal_deg", "depth_mm"):
                changes[name] = tuple(reversed(changes.get(name, getattr(size, name))))  # type: ignore[arg-type, call-overload]
        sizes[i] = replace(size, **changes)  # type: ignore[arg-type]
    poses = _poses(sizes, scoliosis_deg, listhesis_mm or {}, rng, spread)
    if mirror:
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        poses = [flip @ p @ flip for p in poses]
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = _rotation(*rotation_deg), offset_mm
    vertebrae = tuple(build_vertebra(size, world @ pose) for size, pose in zip(sizes, poses, strict=True))
    cuts: list[tuple[str, np.ndarray, np.ndarray]] = []
    metals: list[Metal] = []
    cements: list[tuple[np.ndarray, float]] = []
    for v in vertebrae:
        if v.level in laminectomy:
            edge = min(abs(v.pedicles[s].centre[0]) for s in SIDES) - 1.0
            cuts.append((v.level, np.array([-edge, v.canal_front + 4.0, -60.0]), np.array([edge, 120.0, 60.0])))
        if v.level in lysis:
            c = v.pedicles["left"].centre
            cuts.append((v.level, np.array([2.0, c[1] + 8.0, c[2] - 15.0]), np.array([40.0, 60.0, c[2] - 11.0])))
        if v.level in metal:
            p = v.pedicles["left"]
            ends = v.to_lps(np.array([p.entry - 12.0 * p.axis, p.entry + 0.8 * p.depth * p.axis]))
            metals.append(Metal(ends[0], ends[1], 2.75))
        if v.level in cement:
            cements.append((v.to_lps(np.array([[4.0, -4.0, 0.0]]))[0], 9.0))
    tissue = (
        Tissue(cancellous=70.0, cortical=800.0)
        if osteoporotic
        else Tissue(cancellous=float(160.0 + 30.0 * np.clip(rng.normal(), -2, 2)))
    )
    options = {
        "levels": list(levels),
        "spread": spread,
        "rotation_deg": list(rotation_deg),
        "mirror": mirror,
        "scoliosis_deg": scoliosis_deg,
    }
    return Phantom(
        seed,
        vertebrae,
        tissue,
        0.05 if fused_facet else 1.6,
        tuple(cuts),
        tuple(metals),
        tuple(cements),
        (float(world[0, 3]), float(world[1, 3]), float(world[2, 3])),
        options,
    )  # type: ignore[arg-type]
