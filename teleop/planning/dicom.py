"""DICOM CT series: read one as a volume, name what is wrong with it, write one."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from teleop.planning.images import ImageError, Volume, canonical

_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def _datasets(folder: Path) -> dict[str, list[tuple[Path, pydicom.Dataset]]]:
    series: dict[str, list[tuple[Path, pydicom.Dataset]]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError):
            continue
        if "SeriesInstanceUID" in dataset and "Rows" in dataset:
            series.setdefault(str(dataset.SeriesInstanceUID), []).append((path, dataset))
    return series


def list_series(folder: str | Path) -> list[dict[str, object]]:
    """One row per series in a folder: uid, modality, description, slices."""
    rows = []
    for uid, items in _datasets(Path(folder)).items():
        first = items[0][1]
        rows.append(
            {
                "uid": uid,
                "modality": str(first.get("Modality", "?")),
                "description": str(first.get("SeriesDescription", "")),
                "slices": len(items),
            }
        )
    return rows


def read_series(path: str | Path, series: str | None = None) -> Volume:
    """Read a DICOM CT series from a folder, from the folder of one file, or from a zip. -> HU volume (LPS).

    Raises ImageError: several series (listed), wrong modality, missing tags, gantry tilt, uneven or missing slices, duplicates, mixed orientation.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory(prefix="longhand-dicom-") as scratch:
            try:
                with zipfile.ZipFile(path) as archive:
                    for number, member in enumerate(m for m in archive.infolist() if not m.is_dir()):
                        # numbered names: what the archive calls its members must not decide where they are written
                        (Path(scratch) / f"{number:06d}.dcm").write_bytes(archive.read(member))
            except zipfile.BadZipFile as error:
                raise ImageError(f"{path}: not a readable zip archive ({error})") from error
            return _read_folder(Path(scratch), series, str(path))
    return _read_folder(path if path.is_dir() else path.parent, series, str(path))


def _read_folder(folder: Path, series: str | None, name: str) -> Volume:
    found = _datasets(folder)
    if not found:
        raise ImageError(f"{name}: no DICOM image found (NIfTI files must end in .nii or .nii.gz)")
    if series is not None:
        if series not in found:
            raise ImageError(f"{name}: no series {series}; present: {_listing(found)}")
        items = found[series]
    elif len(found) > 1:
        raise ImageError(f"{name}: {len(found)} series, choose one by its UID: {_listing(found)}")
    else:
        items = next(iter(found.values()))
    first = items[0][1]
    modality = str(first.get("Modality", "?"))
    if modality != "CT":
        raise ImageError(f"{name}: modality is {modality}, planning needs CT (Hounsfield units)")
    for file, dataset in items:
        missing = [tag for tag in _NEEDED if tag not in dataset]
        if missing:
            raise ImageError(
                f"{name}: {file.name} lacks {', '.join(missing)}: without position and orientation it cannot be planned on"
            )
    row = np.array(first.ImageOrientationPatient[:3], dtype=float)
    column = np.array(first.ImageOrientationPatient[3:], dtype=float)
    normal = np.cross(row, column)
    for _file, dataset in items:
        if not np.allclose(
            dataset.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3
        ) or not np.allclose(dataset.PixelSpacing, first.PixelSpacing, atol=1e-4):
            raise ImageError(
                f"{name}: slices differ in orientation or pixel spacing; a localiser inside the series? Export the axial series alone"
            )
    items = sorted(items, key=lambda item: float(np.dot(normal, np.array(item[1].ImagePositionPatient, dtype=float))))
    positions = np.array([item[1].ImagePositionPatient for item in items], dtype=float)
    if len(items) < 2:
        raise ImageError(f"{name}: one slice only; a volume needs at least two")
    along = positions @ normal
    gaps = np.diff(along)
    if (gaps < 1e-3).any():
        at = int(np.argmin(gaps))
        raise ImageError(
            f"{name}: two slices share the position {along[at]:.2f} mm ({items[at][0].name}, {items[at + 1][0].name}); "
            f"duplicates or two reconstructions in one series"
        )
    step = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - step) > max(0.01 * step, 0.02))
    if len(odd):
        at = int(odd[0])
        missing = gaps[at] / step
        what = (
            f"{round(missing) - 1} slice(s) missing"
            if missing > 1.5 and abs(missing - round(missing)) < 0.05
            else "uneven spacing"
        )
        raise ImageError(
            f"{name}: {what} between {along[at]:.2f} and {along[at + 1]:.2f} mm (gap {gaps[at]:.3f} mm, median {step:.3f} mm, {len(odd)} such gap(s))"
        )
    travel = positions[-1] - positions[0]
    sideways = float(np.linalg.norm(travel - normal * (travel @ normal)))
    if sideways > 0.002 * float(np.linalg.norm(travel)) + 0.01:
        angle = np.degrees(np.arctan2(sideways, float(travel @ normal)))
        raise ImageError(
            f"{name}: gantry tilt of {angle:.1f} deg (the slices are stacked obliquely); resample to an orthogonal grid before planning"
        )
    slices = []
    for file, _ in items:
        dataset = pydicom.dcmread(file)
        try:
            raw = dataset.pixel_array
        except Exception as error:
            raise ImageError(f"{name}: {file.name}: pixels cannot be decoded ({error})") from error
        slope, intercept = float(dataset.get("RescaleSlope", 1.0)), dataset.get("RescaleIntercept")
        if intercept is None:
            raise ImageError(f"{name}: {file.name} has no RescaleIntercept, so its values are not Hounsfield units")
        if slope == 1.0 and float(intercept).is_integer():
            slices.append(raw.astype(np.int16) + np.int16(int(intercept)))
        else:
            slices.append(np.rint(raw * slope + float(intercept)).astype(np.int16))
    data = np.stack([s.T for s in slices], axis=2)
    matrix = np.eye(4)
    matrix[:3, 0] = row * float(first.PixelSpacing[1])
    matrix[:3, 1] = column * float(first.PixelSpacing[0])
    matrix[:3, 2] = travel / (len(items) - 1)
    matrix[:3, 3] = positions[0]
    return canonical(data, matrix, frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "")), source=name)


def _listing(found: dict[str, list[tuple[Path, pydicom.Dataset]]]) -> str:
    return "; ".join(
        f"{uid} ({items[0][1].get('Modality', '?')}, {items[0][1].get('SeriesDescription', '')!s}, {len(items)} slices)"
        for uid, items in found.items()
    )


def write_series(
    volume: Volume,
    folder: str | Path,
    patient: str = "PHANTOM",
    description: str = "Longhand phantom",
    seed: str = "longhand",
) -> None:
    """Write an axial-ish CT series, one file a slice along k. UIDs follow from `seed`, so that the same phantom writes the same series."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = (generate_uid(entropy_srcs=[seed, part]) for part in ("study", "series", "frame"))
    spacing, direction = volume.spacing_mm, volume.direction
    for k in range(volume.data.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[seed, "slice", str(k)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", patient, patient
        dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyDate, dataset.StudyTime = (
            "",
            "",
            "20260101",
            "000000",
        )
        dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName, dataset.Manufacturer = (
            "",
            "1",
            "",
            "Longhand",
        )
        dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = description, 1, k + 1
        dataset.ImagePositionPatient = [f"{x:.6f}"[:16] for x in volume.to_lps(np.array([[0.0, 0.0, k]]))[0]]
        dataset.ImageOrientationPatient = [f"{x:.8f}"[:16] for x in (*direction[:, 0], *direction[:, 1])]
        dataset.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        dataset.SliceThickness = f"{spacing[2]:.6f}"
        dataset.Rows, dataset.Columns = volume.data.shape[1], volume.data.shape[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
        dataset.PixelData = np.ascontiguousarray(volume.data[:, :, k].T).astype("<i2").tobytes()
        dataset.save_as(folder / f"slice_{k:04d}.dcm", enforce_file_format=True)
