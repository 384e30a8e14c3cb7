"""Volumes with a place in the patient: reading CT and label maps without guessing.

Inside the planner every coordinate is **LPS millimetres** (x to the patient's Left, y Posterior, z Superior), the DICOM convention. NIfTI files are RAS and are
converted at this door. A `Volume` is kept in its file's voxels (never resampled here), only permuted and flipped so that i, j, k run closest to L, P, S.

Whatever is wrong with a file is said by name in an `ImageError`; nothing is repaired silently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING_LIMITS_MM = (0.15, 6.0)


class ImageError(ValueError):
    """The image cannot be planned on; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Volume:
    """A 3-D image. data: (ni, nj, nk). lps_T_ijk: 4 x 4, voxel index -> LPS mm, columns orthogonal, right-handed."""

    data: np.ndarray
    lps_T_ijk: np.ndarray
    frame_of_reference_uid: str = ""
    source: str = ""
    meta: dict = field(default_factory=dict)

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) voxel size along i, j, k."""
        return np.linalg.norm(self.lps_T_ijk[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """(3, 3) unit columns: the LPS direction of i, j, k."""
        return self.lps_T_ijk[:3, :3] / self.spacing_mm

    @property
    def origin_mm(self) -> np.ndarray:
        return self.lps_T_ijk[:3, 3]

    def to_ijk(self, lps_mm: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm -> (N, 3) continuous voxel index."""
        return (np.atleast_2d(lps_mm) - self.origin_mm) @ np.linalg.inv(self.lps_T_ijk[:3, :3]).T

    def to_lps(self, ijk: np.ndarray) -> np.ndarray:
        return np.atleast_2d(ijk) @ self.lps_T_ijk[:3, :3].T + self.origin_mm

    def hash(self) -> str:
        """SHA-256 over shape, affine (1e-3 mm) and voxels as int16 in canonical order: the same scan hashes the same as NIfTI or DICOM."""
        cached = self.meta.get("_sha256")
        if cached is None:
            digest = hashlib.sha256(b"longhand-volume/1")
            digest.update(np.asarray(self.data.shape, dtype="<i4").tobytes())
            digest.update(np.round(self.lps_T_ijk * 1e3).astype("<i8").tobytes())
            for k in range(0, self.data.shape[2], 8):  # slab by slab: a 512 x 512 x 300 image is not copied whole
                slab = self.data[:, :, k : k + 8]
                if slab.dtype != np.dtype("<i2"):
                    slab = (np.rint(slab) if slab.dtype.kind == "f" else slab).clip(-32768, 32767).astype("<i2")
                digest.update(slab.tobytes(order="F"))
            cached = self.meta["_sha256"] = digest.hexdigest()
        return str(cached)

    def crop(self, low: np.ndarray, high: np.ndarray) -> Volume:
        """Sub-volume [low, high) in voxel indices, clipped to the image."""
        low = np.maximum(np.asarray(low, dtype=int), 0)
        high = np.minimum(np.asarray(high, dtype=int), self.data.shape)
        matrix = self.lps_T_ijk.copy()
        matrix[:3, 3] = self.to_lps(low[None].astype(float))[0]
        return Volume(
            self.data[low[0] : high[0], low[1] : high[1], low[2] : high[2]],
            matrix,
            self.frame_of_reference_uid,
            self.source,
        )


def canonical(data: np.ndarray, lps_T_ijk: np.ndarray, **kept: object) -> Volume:
    """Check an affine and permute/flip the axes so that i, j, k run closest to L, P, S. Voxels stay where they are in the patient.

    Raises ImageError for a singular, sheared (gantry-tilted), absurdly spaced or non-finite affine and for data that are not 3-D.
    """
    if data.ndim != 3:
        raise ImageError(f"expected a 3-D image, got shape {data.shape}; choose one channel or time point first")
    if min(data.shape) < 2:
        raise ImageError(f"the image has shape {data.shape}: a single slice cannot be planned on")
    matrix = np.asarray(lps_T_ijk, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ImageError("the affine is not a finite 4 x 4 matrix")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if (spacing < SPACING_LIMITS_MM[0]).any() or (spacing > SPACING_LIMITS_MM[1]).any():
        text = " x ".join(f"{s:.4g}" for s in spacing)
        raise ImageError(
            f"voxel size {text} mm is outside {SPACING_LIMITS_MM[0]}..{SPACING_LIMITS_MM[1]} mm: wrong unit (m, cm, um) or a broken header"
        )
    unit = matrix[:3, :3] / spacing
    shear = np.abs(unit.T @ unit - np.eye(3)).max()
    if shear > 1e-3:
        angle = np.degrees(np.arcsin(min(1.0, shear)))
        raise ImageError(
            f"the voxel axes are not orthogonal ({angle:.2f} deg of shear, gantry tilt?): resample to an orthogonal grid before planning"
        )
    best = max(permutations(range(3)), key=lambda order: sum(abs(unit[axis, order[axis]]) for axis in range(3)))
    data = data.transpose(best)
    matrix = matrix[:, [*best, 3]]
    for axis in range(3):
        if matrix[axis, axis] < 0.0:
            data = np.flip(data, axis)
            matrix = matrix.copy()
            matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
            matrix[:3, axis] *= -1.0
    return Volume(data, matrix, **kept)  # type: ignore[arg-type]


def _read_nifti(path: Path) -> Volume:
    try:
        image: Any = nib.load(path)
    except Exception as error:
        raise ImageError(f"{path}: not readable as NIfTI ({error})") from error
    header = image.header
    if int(header.get("sform_code", 1)) == 0 and int(header.get("qform_code", 1)) == 0:
        raise ImageError(
            f"{path}: the header has neither sform nor qform, so left and right are unknown; convert again from DICOM with orientation"
        )
    shape = tuple(n for n in image.shape if n != 1) if len(image.shape) > 3 else image.shape
    if len(shape) != 3:
        raise ImageError(f"{path}: shape {image.shape} is not a 3-D image")
    unscaled = (
        image.dataobj.slope in (1, None) and image.dataobj.inter in (0, None)
        if hasattr(image.dataobj, "slope")
        else False
    )
    raw = np.asanyarray(
        image.dataobj.get_unscaled() if unscaled and hasattr(image.dataobj, "get_unscaled") else image.dataobj
    ).reshape(shape)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise ImageError(
            f"{path}: {int((~np.isfinite(raw)).sum())} voxels are NaN or infinite; fill them before planning"
        )
    return canonical(raw, RAS_TO_LPS @ np.asarray(image.affine, dtype=float), source=str(path))


def _is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def load_ct(path: str | Path, series: str | None = None) -> Volume:
    """Read a CT: NIfTI file, DICOM folder, DICOM file's folder, or a zip of a series. -> int16 HU Volume in LPS.

    series: SeriesInstanceUID, needed when a folder holds several (the error lists them). Raises ImageError, FileNotFoundError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if _is_nifti(path):
        volume = _read_nifti(path)
    else:
        from teleop.planning.dicom import read_series

        volume = read_series(path, series)
    data = volume.data
    if data.dtype != np.int16:
        if data.min() < -32768 or data.max() > 32767:
            raise ImageError(
                f"{path}: values {data.min()}..{data.max()} do not fit HU; unsigned wrap-around or a missing rescale?"
            )
        data = np.rint(data).astype(np.int16) if data.dtype.kind == "f" else data.astype(np.int16)
    check_hounsfield(data, str(path))
    return Volume(data, volume.lps_T_ijk, volume.frame_of_reference_uid, volume.source, volume.meta)


def check_hounsfield(data: np.ndarray, name: str) -> None:
    """Refuse images whose numbers cannot be Hounsfield units (a missing -1024 offset, a label map, a normalised image)."""
    sample = data[:: max(1, data.shape[0] // 64), :: max(1, data.shape[1] // 64), :: max(1, data.shape[2] // 64)]
    low, high = int(sample.min()), int(sample.max())
    if high - low < 300:
        raise ImageError(
            f"{name}: values span only {low}..{high}; this is not a CT in Hounsfield units (a label map, or a normalised image?)"
        )
    if low >= 0 and float(np.median(sample)) > 500.0:
        raise ImageError(
            f"{name}: no negative value and median {float(np.median(sample)):.0f}: the rescale intercept (-1024) seems not to have been applied"
        )


def same_grid(a: Volume, b: Volume, tolerance_mm: float = 0.1) -> None:
    """Raise ImageError unless both volumes have the same shape and the corners of their grids agree within tolerance."""
    if a.data.shape != b.data.shape:
        raise ImageError(
            f"image {a.data.shape} and labels {b.data.shape} have different shapes; resample the labels onto the image"
        )
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(a.data.shape) - 1)
    gap = float(np.linalg.norm(a.to_lps(corners) - b.to_lps(corners), axis=1).max())
    if gap > tolerance_mm:
        raise ImageError(
            f"image and labels lie up to {gap:.2f} mm apart although their shapes agree; their affines differ (flip? wrong file?)"
        )


def write_nifti(volume: Volume, path: str | Path, compresslevel: int = 3) -> None:
    """Write as NIfTI (RAS affine, sform and qform set)."""
    image = nib.Nifti1Image(np.ascontiguousarray(volume.data), RAS_TO_LPS @ volume.lps_T_ijk)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    before = nib.openers.Opener.default_compresslevel
    nib.openers.Opener.default_compresslevel = compresslevel
    try:
        nib.save(image, str(path))
    finally:
        nib.openers.Opener.default_compresslevel = before
