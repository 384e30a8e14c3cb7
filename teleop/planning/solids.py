"""Solids for eyes and printers: vertebrae, screws, and a patient-specific drill guide, as STL in LPS millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from scipy import ndimage
from skimage.measure import marching_cubes

from teleop.planning.formats import guide_orientation
from teleop.planning.levels import Labels
from teleop.planning.plan import LinearTrajectory


def vertebra_surface(labels: Labels, level: str, smooth_voxels: float = 0.8) -> trimesh.Trimesh:
    """Surface of one labelled vertebra, LPS mm, outward normals."""
    from teleop.planning.field import crop_label
    from teleop.planning.screws import bounding_boxes

    mask, crop = crop_label(labels, level, bounding_boxes(labels)[level], 4.0)
    field = ndimage.gaussian_filter(np.pad(mask, 2).astype(np.float32), smooth_voxels)
    vertices, faces, _, _ = marching_cubes(field, 0.5)
    mesh = trimesh.Trimesh(crop.to_lps(vertices - 2.0), faces, process=True)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def _pose(item: LinearTrajectory, from_mm: float, to_mm: float) -> np.ndarray:
    """4 x 4 placing a cylinder (along z, centred) between two distances from the entry along the axis."""
    entry, _ = item.line()
    pose = np.eye(4)
    pose[:3, :3] = guide_orientation(item.axis)
    pose[:3, 3] = entry + item.axis * (from_mm + to_mm) / 2.0
    return pose


def screw_solid(item: LinearTrajectory, tulip_mm: float = 13.0) -> trimesh.Trimesh:
    """A shank with a conical tip and a cylinder for the head (5 to 15 mm behind the entry is drawn as the tulip). LPS mm."""
    shank = trimesh.creation.cylinder(
        item.diameter_mm / 2.0, item.length_mm - 4.0, sections=32, transform=_pose(item, 0.0, item.length_mm - 4.0)
    )
    cone = trimesh.creation.cone(
        item.diameter_mm / 2.0, 4.0, sections=32, transform=_pose(item, item.length_mm - 4.0, item.length_mm - 4.0)
    )
    head = trimesh.creation.cylinder(tulip_mm / 2.0, 12.0, sections=32, transform=_pose(item, -13.0, -1.0))
    whole = trimesh.util.concatenate([shank, cone, head])
    assert isinstance(whole, trimesh.Trimesh)
    return whole


def drill_guide(
    labels: Labels,
    items: list[LinearTrajectory],
    bore_mm: float = 2.8,
    wall_mm: float = 2.5,
    foot_mm: float = 9.0,
    height_mm: float = 22.0,
    gap_mm: float = 0.25,
    step_mm: float = 0.5,
) -> trimesh.Trimesh:
    """A patient-specific guide for one level: a sleeve along each screw axis on a foot that is the negative of the bone, joined by a
    bridge. LPS mm, one watertight solid.

    Built as a level set on a grid: (sleeves + feet + bridge) minus bone grown by `gap_mm` minus bores. bore: drill diameter. height:
    sleeve length above the entry.
    A printed guide is a draft for a person to check, never verified here. Raises ValueError without a line.
    """
    lines = [i for i in items if i.has_line]
    if not lines:
        raise ValueError("no planned line to make a guide for")
    level = lines[0].level
    from teleop.planning.field import crop_label
    from teleop.planning.screws import bounding_boxes

    mask, crop = crop_label(labels, level, bounding_boxes(labels)[level], 4.0)
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), 0.8)
    outside = ndimage.distance_transform_edt(smooth < 0.5, sampling=crop.spacing_mm)
    ends = np.concatenate([[i.line()[0] - i.axis * (height_mm + 2.0), i.line()[0] + i.axis * 3.0] for i in lines])
    low, high = ends.min(axis=0) - foot_mm - 4.0, ends.max(axis=0) + foot_mm + 4.0
    shape = np.ceil((high - low) / step_mm).astype(int) + 1
    axes = [low[a] + step_mm * np.arange(shape[a]) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    bone = ndimage.map_coordinates(outside, crop.to_ijk(points).T, order=1, mode="nearest")
    body = np.full(len(points), 1e3)
    bores = np.full(len(points), 1e3)
    for item in lines:
        entry, _ = item.line()
        r = points - entry
        s = r @ item.axis
        radial = np.linalg.norm(r - s[:, None] * item.axis, axis=1)
        sleeve = np.maximum(radial - bore_mm / 2.0 - wall_mm, np.maximum(-height_mm - s, s - 1.0))
        foot = np.maximum(radial - foot_mm, np.maximum(bone - 4.0, np.maximum(-9.0 - s, s - 6.0)))
        body = np.minimum(body, np.minimum(sleeve, foot))
        bores = np.minimum(bores, radial - bore_mm / 2.0)
    if len(lines) > 1:
        a, b = (i.line()[0] - i.axis * (height_mm - 4.0) for i in lines[:2])
        d = b - a
        t = np.clip((points - a) @ d / float(d @ d), 0.0, 1.0)
        body = np.minimum(body, np.linalg.norm(points - a - t[:, None] * d, axis=1) - 4.0)
    solid = np.maximum(np.maximum(body, gap_mm - bone), -bores).reshape(shape)
    vertices, faces, _, _ = marching_cubes(np.pad(solid.astype(np.float32), 1, constant_values=10.0), 0.0)
    mesh = trimesh.Trimesh((vertices - 1.0) * step_mm + low, faces, process=True)
    parts = mesh.split(only_watertight=True)
    if len(parts) > 1:
        mesh = max(parts, key=lambda p: abs(p.volume))
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def export(folder: str | Path, labels: Labels, items: list[LinearTrajectory], guides: bool = True) -> list[Path]:
    """Write <level>.stl, <screw id>.stl and <level>_guide.stl for every planned level. Returns the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    lines = [i for i in items if i.has_line and i.level in labels.levels]
    for level in dict.fromkeys(i.level for i in lines):
        path = folder / f"{level}.stl"
        vertebra_surface(labels, level).export(path)
        written.append(path)
        own = [i for i in lines if i.level == level]
        if guides:
            path = folder / f"{level}_guide.stl"
            drill_guide(labels, own).export(path)
            written.append(path)
    for item in lines:
        path = folder / f"{item.id}.stl"
        screw_solid(item).export(path)
        written.append(path)
    return written
