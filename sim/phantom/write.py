"""Write a phantom to a folder: CT (NIfTI, DICOM), labels, meshes, landmarks and the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sim.phantom.phantom import Phantom
from sim.phantom.surface import landmarks, vertebra_mesh
from sim.phantom.vertebra import SIDES
from sim.phantom.volume import Rendered, render
from teleop.planning.dicom import write_series
from teleop.planning.images import write_nifti

TRUTH_SCHEMA = "longhand-phantom-truth/1"


def truth(phantom: Phantom) -> dict:
    """The phantom's geometry as JSON-ready numbers: pose, pedicles (LPS mm), landmarks. For judges and tests only; the planner never reads it."""
    levels = {}
    for v in phantom.vertebrae:
        pedicles = {}
        for side in SIDES:
            p = v.pedicles[side]
            pedicles[side] = {
                "centre_lps_mm": v.to_lps(p.centre)[0].round(4).tolist(),
                "axis_lps": v.direction_to_lps(p.axis)[0].round(6).tolist(),
                "entry_lps_mm": v.to_lps(p.entry)[0].round(4).tolist(),
                "width_mm": round(p.width, 3),
                "height_mm": round(p.height, 3),
                "depth_mm": round(p.depth, 3),
                "transverse_deg": round(p.transverse_deg, 3),
            }
        marks = [
            {"name": m.name, "lps_mm": m.lps_mm.round(4).tolist(), "normal_lps": m.normal.round(5).tolist()}
            for m in landmarks(phantom, v.level)
        ]
        levels[v.level] = {"lps_T_local": v.lps_T_local.round(6).tolist(), "pedicles": pedicles, "landmarks": marks}
    return {
        "schema": TRUTH_SCHEMA,
        "seed": phantom.seed,
        "options": phantom.options,
        "frame": "LPS, millimetres",
        "levels": levels,
    }


def write(
    phantom: Phantom,
    folder: str | Path,
    rendered: Rendered | None = None,
    *,
    dicom: bool = True,
    meshes: bool = True,
    **render_options: object,
) -> dict[str, Path]:
    """Write everything. -> {name: path}: ct, labels, structures, dicom (folder), mesh_mm / mesh_m (folders of STL), truth, landmarks.

    mesh_mm is LPS millimetres for eyes and printers, mesh_m the same LPS axes in metres for the physics.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image = rendered if rendered is not None else render(phantom, **render_options)  # type: ignore[arg-type]
    paths = {
        "ct": folder / "ct.nii.gz",
        "labels": folder / "labels.nii.gz",
        "structures": folder / "structures.nii.gz",
        "truth": folder / "truth.json",
    }
    write_nifti(image.ct, paths["ct"], compresslevel=1)
    write_nifti(image.labels, paths["labels"])
    if image.structures.data.shape == image.ct.data.shape:
        write_nifti(image.structures, paths["structures"])
    if dicom:
        paths["dicom"] = folder / "dicom"
        write_series(image.ct, paths["dicom"], seed=f"longhand-phantom-{phantom.seed}")
    data = truth(phantom)
    if meshes:
        for name, _scale in (("mesh_mm", 1.0), ("mesh_m", 1e-3)):
            paths[name] = folder / name
            paths[name].mkdir(exist_ok=True)
        for level in phantom.levels:
            mesh = vertebra_mesh(phantom, level)
            mesh.export(paths["mesh_mm"] / f"{level}.stl")
            metres = mesh.copy()
            metres.apply_scale(1e-3)
            metres.export(paths["mesh_m"] / f"{level}.stl")
    paths["truth"].write_text(json.dumps(data, indent=1))
    paths["landmarks"] = folder / "landmarks.json"
    marks = [m for level in data["levels"].values() for m in level["landmarks"]]
    paths["landmarks"].write_text(json.dumps({"frame": "LPS, millimetres", "landmarks": marks}, indent=1))
    return paths


def load_landmarks(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Names and (N, 3) LPS mm of a landmarks file."""
    raw = json.loads(Path(path).read_text())["landmarks"]
    return [m["name"] for m in raw], np.array([m["lps_mm"] for m in raw], dtype=float).reshape(-1, 3)
