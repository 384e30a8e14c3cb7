"""Images are placed in the patient correctly, or refused by name."""

from __future__ import annotations

import json
import zipfile
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from teleop.planning.dicom import list_series, read_series, write_series
from teleop.planning.images import RAS_TO_LPS, ImageError, Volume, canonical, load_ct, same_grid, write_nifti
from teleop.planning.levels import detect_scheme, interpret, load_labels, parse_mapping


def scan(shape=(12, 14, 10), spacing=(0.7, 0.8, 1.1), rotation=None) -> Volume:
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.array(spacing)
    matrix[:3, 3] = (-20.0, 33.0, 104.0)
    data = np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)
    return Volume(data, matrix)


@pytest.mark.parametrize(
    ("order", "signs"), [(o, s) for o in permutations(range(3)) for s in product((1, -1), repeat=3)][::5]
)
def test_every_axis_order_and_flip_reads_as_the_same_volume_with_the_same_hash(tmp_path, order, signs):
    original = scan()
    data, matrix = original.data.transpose(order), original.lps_T_ijk[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            data = np.flip(data, axis)
            matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
            matrix[:3, axis] *= -1
    nib.save(nib.Nifti1Image(np.ascontiguousarray(data), RAS_TO_LPS @ matrix), tmp_path / "a.nii.gz")
    read = load_ct(tmp_path / "a.nii.gz")
    assert np.array_equal(read.data, original.data)
    assert np.allclose(read.lps_T_ijk, original.lps_T_ijk, atol=1e-4)
    assert read.hash() == original.hash()


def test_an_oblique_image_keeps_every_voxel_in_its_place(tmp_path):
    volume = scan(rotation=Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix())
    write_nifti(volume, tmp_path / "a.nii.gz")
    read = load_ct(tmp_path / "a.nii.gz")
    ijk = np.array([[0, 0, 0], [3, 5, 7], [11, 13, 9]])
    values = {tuple(np.round(p, 2)): int(volume.data[tuple(i)]) for p, i in zip(volume.to_lps(ijk), ijk, strict=True)}
    for place, value in values.items():
        index = tuple(np.rint(read.to_ijk(np.array(place))[0]).astype(int))
        assert int(read.data[index]) == value


def test_a_nifti_without_orientation_is_refused(tmp_path):
    image = nib.Nifti1Image(scan().data, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="left and right are unknown"):
        load_ct(tmp_path / "a.nii.gz")


def test_shear_is_refused_with_its_angle():
    matrix = np.eye(4)
    matrix[0, 2] = np.tan(np.deg2rad(15))
    with pytest.raises(ImageError, match=r"gantry tilt"):
        canonical(np.zeros((4, 4, 4)), matrix)


@pytest.mark.parametrize("factor", [0.001, 0.1, 10.0, 1000.0])
def test_spacing_in_another_unit_is_refused(factor):
    with pytest.raises(ImageError, match="voxel size"):
        canonical(np.zeros((4, 4, 4)), np.diag([0.8 * factor, 0.8 * factor, 0.8 * factor, 1.0]))


def test_nan_and_four_dimensional_data_are_refused(tmp_path):
    data = scan().data.astype(np.float32)
    data[3, 3, 3] = np.nan
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="1 voxels are NaN"):
        load_ct(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(ImageError, match="not a 3-D image"):
        load_ct(tmp_path / "b.nii.gz")


def test_a_missing_rescale_intercept_an_unsigned_wrap_and_a_label_map_are_not_taken_for_hounsfield(tmp_path):
    hu = scan().data
    cases = (
        ((hu + 1024).clip(0).astype(np.uint16), "rescale intercept"),
        (hu.astype(np.uint16), "do not fit HU"),
        ((hu > 500).astype(np.uint8), "not a CT"),
    )
    for data, message in cases:
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
        with pytest.raises(ImageError, match=message):
            load_ct(tmp_path / "a.nii.gz")


def test_image_and_labels_on_different_grids_are_refused():
    a = scan()
    with pytest.raises(ImageError, match="different shapes"):
        same_grid(a, Volume(a.data[1:], a.lps_T_ijk))
    shifted = a.lps_T_ijk.copy()
    shifted[0, 3] += 5.0
    with pytest.raises(ImageError, match=r"5\.00 mm apart"):
        same_grid(a, Volume(a.data, shifted))


def series(tmp_path, **changes):
    volume = scan(rotation=Rotation.from_euler("z", 10, degrees=True).as_matrix())
    write_series(volume, tmp_path / "s", **changes)
    return volume, sorted((tmp_path / "s").iterdir())


def edit(path, **tags):
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_a_dicom_folder_and_its_zip_read_as_the_volume_that_was_written(tmp_path):
    volume, files = series(tmp_path)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for number, file in enumerate(reversed(files)):
            archive.write(file, f"../../evil/{number}")
    assert read_series(tmp_path / "s").hash() == load_ct(tmp_path / "s.zip").hash() == volume.hash()
    assert not (tmp_path.parent.parent / "evil").exists()


def test_a_missing_slice_is_named_with_its_place(tmp_path):
    _, files = series(tmp_path)
    files[4].unlink()
    with pytest.raises(ImageError, match=r"1 slice\(s\) missing between"):
        read_series(tmp_path / "s")


def test_uneven_spacing_duplicates_tilt_modality_and_missing_tags_are_named(tmp_path):
    for number, (tags, message) in enumerate(
        (
            ({"ImagePositionPatient": [-20.0, 33.0, 104.0 + 4.3 * 1.1]}, "uneven spacing"),
            ({"ImagePositionPatient": [-20.0, 33.0, 104.0 + 5 * 1.1]}, "share the position"),
            ({"Modality": "MR"}, "modality is MR|differ"),
            ({"PixelSpacing": [1.0, 1.0]}, "differ in orientation or pixel spacing"),
        )
    ):
        folder = tmp_path / str(number)
        _, files = series(folder)
        edit(files[0 if "Modality" in tags else 4], **tags)
        with pytest.raises(ImageError, match=message):
            read_series(folder / "s")
    folder = tmp_path / "tilt"
    _, files = series(folder)
    for k, file in enumerate(files):
        edit(file, ImagePositionPatient=[-20.0, 33.0 + 0.2 * k, 104.0 + 1.1 * k])
    with pytest.raises(ImageError, match=r"gantry tilt of 10\.\d deg"):
        read_series(folder / "s")
    folder = tmp_path / "bare"
    _, files = series(folder)
    dataset = pydicom.dcmread(files[2])
    del dataset.ImagePositionPatient
    dataset.save_as(files[2])
    with pytest.raises(ImageError, match="lacks ImagePositionPatient"):
        read_series(folder / "s")


def test_a_folder_with_two_series_lists_them_and_reads_the_chosen_one(tmp_path):
    volume, _ = series(tmp_path)
    write_series(scan(), tmp_path / "s" / "more", seed="other")
    with pytest.raises(ImageError, match="2 series, choose one"):
        read_series(tmp_path / "s")
    rows = list_series(tmp_path / "s")
    assert len(rows) == 2 and all(r["slices"] == 10 and r["modality"] == "CT" for r in rows)
    assert any(read_series(tmp_path / "s", str(r["uid"])).hash() == volume.hash() for r in rows)


def test_a_folder_without_images_and_a_broken_zip_are_refused(tmp_path):
    with pytest.raises(ImageError, match="no DICOM image"):
        load_ct(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    with pytest.raises(ImageError, match="zip"):
        load_ct(tmp_path / "a.zip")


def test_schemes_are_told_apart_by_their_values_and_unknown_ones_need_a_mapping(tmp_path):
    assert detect_scheme([27, 28, 29, 31]) == "totalsegmentator"
    assert detect_scheme([20, 21, 22]) == "verse"
    with pytest.raises(ImageError, match="mapping file"):
        detect_scheme([])
    labels = scan().data
    data = np.zeros(labels.shape, dtype=np.uint8)
    with pytest.raises(ImageError, match="empty"):
        interpret(Volume(data, np.eye(4)))
    data[2:5] = 4
    (tmp_path / "m.json").write_text(json.dumps({"L4": 4}))
    assert interpret(Volume(data, np.eye(4)), mapping=parse_mapping(tmp_path / "m.json")).levels == ("L4",)
    (tmp_path / "m.json").write_text(json.dumps({"L7": 4}))
    with pytest.raises(ImageError, match="L7"):
        parse_mapping(tmp_path / "m.json")


def test_an_interpolated_label_map_is_refused(tmp_path):
    data = np.zeros((6, 6, 6), dtype=np.float32)
    data[2] = 28.5
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "l.nii.gz")
    with pytest.raises(ImageError, match="interpolated"):
        load_labels(tmp_path / "l.nii.gz")
