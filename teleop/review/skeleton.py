"""The arm as a chain of points for a joint position, and vertebrae as surfaces, for the page's 3-D view."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Largest number of triangles of one vertebra that is sent to the page.
MAX_FACES = 6000


class Skeleton:
    """Joint origins of the arm, base frame, m."""

    def __init__(self, model: str = "iiwa7") -> None:
        from teleop.arm.kinematics import Kinematics
        from teleop.arm.model import load_model

        self._kin = Kinematics(load_model(model))

    def points(self, q: list[float]) -> list[list[float]]:
        """[base, joint 1 ... joint n, tip] for the joint positions q (rad); [] when q is of another arm."""
        if len(q) != self._kin.n:
            return []
        frames = self._kin.link_frames(np.asarray(q))
        return [[0.0, 0.0, 0.0], *frames[:, :3, 3].tolist()]


def base_T_ct_of(events: list[dict[str, Any]]) -> NDArray[np.float64] | None:
    """Where the last registration that says so put the images in the arm's frame (m)."""
    for event in reversed(events):
        detail = event.get("detail")
        if event["what"] == "case" and isinstance(detail, dict) and len(detail.get("base_T_ct") or ()) == 16:
            return np.array(detail["base_T_ct"], dtype=np.float64).reshape(4, 4)
    return None


def vertebrae(case_dir: Path, base_T_ct: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Surfaces of the labels of a case folder, in the arm's base frame: {name, vertices (m, flat), faces (flat)}.

    Raises OSError, ValueError when the case cannot be read."""
    import nibabel

    from teleop.case.case_file import load_case

    case = load_case(case_dir)
    if "labels" not in case.files:
        return []
    image: Any = nibabel.load(case.files["labels"])
    data = np.asarray(image.dataobj)
    lps_T_ijk = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine  # NIfTI is RAS
    base_T_ijk = base_T_ct @ np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ lps_T_ijk
    names: dict[str, str] = {}
    names_file = case_dir / "labels.json"
    if names_file.is_file():
        names = {str(v): str(k) for k, v in json.loads(names_file.read_text()).items()}
    out = []
    for value in sorted(set(np.unique(data).tolist()) - {0}):
        vertices, faces = boundary(data == value, MAX_FACES)
        placed = vertices @ base_T_ijk[:3, :3].T + base_T_ijk[:3, 3]
        out.append({
            "name": names.get(str(int(value)), f"label {int(value)}"),
            "vertices": np.round(placed, 5).ravel().tolist(), "faces": faces.ravel().tolist(),
        })  # fmt: skip
    return out


def boundary(mask: NDArray[np.bool_], max_faces: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Surface of a voxel mask: vertices (N,3) in voxel coordinates, triangles (M,3); coarsened until at most `max_faces`."""
    from skimage.measure import marching_cubes

    step = 1
    while True:
        vertices, faces, _, _ = marching_cubes(np.pad(mask[::step, ::step, ::step], 1).astype(np.float32), 0.5)
        if len(faces) <= max_faces or step >= 8:
            return (vertices - 1.0) * step, faces.astype(np.int64)
        step += 1
