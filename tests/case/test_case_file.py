import numpy as np
import pytest

from teleop.case.case_file import MAX_CHUNK, CaseFileError, load_case, write_case
from teleop.case.surroundings import Surroundings

ROOM = Surroundings((0.17, 0.125, 0.4), -0.03, 0.1, (0.26, 0.04, 1.0), -0.75)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(bytes(range(256)) * 2000)
    (tmp_path / "labels.nii.gz").write_bytes(b"labels")
    files = {"ct": tmp_path / "ct.nii.gz", "labels": tmp_path / "labels.nii.gz"}
    write_case(tmp_path, "SIM-1", files, {"L3_a": np.array([1.0, 2.0, 3.0])}, 0.3, ROOM)
    return tmp_path


def test_a_case_is_read_back_as_it_was_written(folder):
    case = load_case(folder)
    assert case.case_id == "SIM-1"
    assert np.allclose(case.landmarks_lps_mm(), [[1, 2, 3]])
    assert case.room == ROOM


def test_a_series_arrives_whole_when_fetched_in_chunks(folder):
    case = load_case(folder)
    size, data = case.series()["ct"]["bytes"], b""
    while len(data) < size:
        data += case.chunk("ct", len(data), MAX_CHUNK)["data"]
    assert data == (folder / "ct.nii.gz").read_bytes()


@pytest.mark.parametrize(("name", "offset", "length"), [("mri", 0, 10), ("ct", -1, 10), ("ct", 10**9, 10), ("ct", 0, 10**9), ("ct", 0, 0)])
def test_a_chunk_outside_the_series_is_refused_with_the_reason(folder, name, offset, length):
    reply = load_case(folder).chunk(name, offset, length)
    assert not reply["ok"]
    assert name in reply["reason"]


def test_an_image_that_was_changed_is_refused_by_name(folder):
    (folder / "ct.nii.gz").write_bytes(b"another patient")
    with pytest.raises(CaseFileError, match=r"ct\.nii\.gz.*SHA-256"):
        load_case(folder)


@pytest.mark.parametrize("text", ["", "{}", '{"case_id": 1}', "[1]"])
def test_a_file_that_is_no_case_is_refused_and_named(folder, text):
    (folder / "case.json").write_text(text)
    with pytest.raises(CaseFileError, match=r"case\.json"):
        load_case(folder)


def test_a_folder_without_a_case_is_refused_and_named(tmp_path):
    with pytest.raises(CaseFileError, match="no such file"):
        load_case(tmp_path)
