"""Images on the planner's desk: known sources only, read once, written as pages fetch them, without a name of a person's file."""

import gzip
import json
import struct

import nibabel
import numpy as np
import pytest

from teleop.console.contracts import ConsoleError
from teleop.console.opened_images import OpenedImages, find_image, find_labels


@pytest.fixture
def folder(tmp_path):
    """A CT with one labelled vertebra in its middle, RAS as NIfTI has it."""
    made = tmp_path / "mine"
    made.mkdir()
    voxels = np.random.default_rng(1).normal(40.0, 100.0, (60, 50, 40)).astype(np.int16)
    mask = np.zeros(voxels.shape, dtype=np.uint8)
    mask[20:40, 20:30, 10:30] = 22  # L3 in the scheme of VerSe
    for name, data in (("ct", voxels), ("labels", mask)):
        nibabel.save(nibabel.Nifti1Image(data, np.diag([1.0, 1.0, 1.5, 1.0])), made / f"{name}.nii.gz")
    return made


@pytest.mark.parametrize(
    "source",
    [{"kind": "folder", "id": "x"}, {"kind": "upload", "id": "../secrets"}, {"kind": "series", "id": ".."}, {}],
)
def test_only_known_sources_are_opened(tmp_path, source):
    with pytest.raises(ConsoleError, match="not here any more"):
        OpenedImages(tmp_path, {}).open(source)


def test_a_file_that_is_no_image_is_named_as_such(tmp_path):
    folder = tmp_path / "uploads" / "abc"
    folder.mkdir(parents=True)
    (folder / "image-00000.nii").write_bytes(b"not an image at all")
    with pytest.raises(ConsoleError, match="not a CT"):
        OpenedImages(tmp_path, {}).open({"kind": "upload", "id": "abc"})


def test_an_image_is_read_once_and_what_pages_fetch_is_written(tmp_path, folder):
    desk = OpenedImages(tmp_path / "cache", {"mine": folder})
    info = desk.open({"kind": "folder", "id": "mine"})
    (folder / "ct.nii.gz").unlink()
    assert desk.open({"kind": "folder", "id": "mine"}) is info
    for name in (info["volume"], info["labels"]):
        data = gzip.decompress((tmp_path / "cache" / "images" / f"{name}.lhv.gz").read_bytes())
        (size,) = struct.unpack("<I", data[4:8])
        assert json.loads(data[8 : 8 + size])
    assert info["shape"] == [60, 50, 40] and info["spacing_mm"] == pytest.approx([1.0, 1.0, 1.5])
    # the middle of the label, in patient millimetres (LPS: x and y of NIfTI's RAS turned round)
    assert np.allclose(info["centre_lps_mm"], [-29.5, -24.5, 29.25], atol=1.6)


def test_an_upload_keeps_nothing_of_its_files_name(tmp_path, folder):
    desk = OpenedImages(tmp_path, {})
    (tmp_path / "uploads").mkdir()
    folder.rename(tmp_path / "uploads" / "muller_hans")
    info = desk.open({"kind": "upload", "id": "muller_hans"})
    assert "muller" not in info["title"] and info["site"] == ""


def test_a_ct_without_labels_opens_and_says_what_planning_needs(tmp_path, folder):
    (folder / "labels.nii.gz").unlink()
    desk = OpenedImages(tmp_path / "cache", {"mine": folder})
    info = desk.open({"kind": "folder", "id": "mine"})
    assert info["labels"] == "" and info["levels"] == []
    with pytest.raises(ConsoleError, match="upload the label map"):
        desk._labels(info["id"])
    with pytest.raises(ConsoleError, match="not open any more"):
        desk._image("another")


def test_series_are_offered_once_they_are_complete(tmp_path):
    for name in ("whole", "half"):
        (tmp_path / "series" / name).mkdir(parents=True)
    (tmp_path / "series" / "whole" / "complete").touch()
    assert [s["id"] for s in OpenedImages(tmp_path, {}).sources()] == ["whole"]


@pytest.mark.parametrize("names, image, labels", [
    (["ct.nii.gz", "labels.nii.gz"], "ct.nii.gz", "labels.nii.gz"),
    (["image-00000.nii", "seg.nii.gz"], "image-00000.nii", "seg.nii.gz"),
    (["sub_ct.nii.gz", "sub_vert.nii.gz"], "sub_ct.nii.gz", "sub_vert.nii.gz"),
    (["scan.zip"], "scan.zip", None),
    (["IM0001"], "", None),
])  # fmt: skip
def test_the_ct_and_the_labels_of_a_folder_are_found_by_name(tmp_path, names, image, labels):
    for name in names:
        (tmp_path / name).touch()
    assert find_image(tmp_path) == (tmp_path / image if image else tmp_path)
    assert find_labels(tmp_path) == (tmp_path / labels if labels else None)
