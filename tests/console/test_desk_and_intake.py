"""Plan documents and uploads."""

import asyncio
import io
import zipfile

import numpy as np
import pytest

from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.desk import Desk, load_desks
from teleop.console.intake import Intake, TooLarge
from teleop.console.signin import Tokens
from teleop.console.volume import crop_box, pack


def screw(name: str, x: float = 0.0, status: str = "OK") -> dict:
    return {
        "id": name,
        "entry_lps_mm": [x, 0, 0],
        "tip_lps_mm": [x, -45, 0],
        "diameter_mm": 6,
        "length_mm": 45,
        "status": status,
    }


@pytest.fixture
def desk(tmp_path) -> Desk:
    d = Desk("case", "Case", {"id": "i"}, folder=tmp_path)
    d.change([screw("L3-R"), screw("L3-L", 20)], "dr.li")
    return d


def test_one_drag_is_one_step_of_undo(desk):
    for x in (1, 2, 3):
        desk.replace_one(screw("L3-R", x), "dr.li", "drag-1")
    desk.undo("dr.li")
    assert desk.screw("L3-R")["entry_lps_mm"][0] == 0
    desk.redo("dr.li")
    assert desk.screw("L3-R")["entry_lps_mm"][0] == 3
    desk.replace_one(screw("L3-R", 9), "dr.li", "drag-2")
    with pytest.raises(ConsoleError, match="nothing to undo"):
        for _ in range(9):
            desk.undo("dr.li")


def test_any_change_voids_the_approval_and_says_who(desk):
    desk.approve("dr.li", "ab" * 32, {"key": "k", "signature": "s"})
    desk.replace_one(screw("L3-R", 1), "dr.wu")
    assert desk.approval is None and desk.voided["who"] == "dr.wu" and desk.voided["was"]["who"] == "dr.li"


def test_undo_after_an_approval_voids_it_too(desk):
    desk.approve("dr.li", "ab" * 32, {})
    desk.undo("dr.li")
    assert desk.approval is None


def test_a_line_that_is_not_verified_blocks_the_approval_and_a_refusal_without_line_does_not(desk):
    refused = {**screw("L1-R", status="NO_SAFE_SCREW"), "entry_lps_mm": None, "tip_lps_mm": None}
    desk.change([*desk.screws, refused], "dr.li")
    desk.approve("dr.li", "ab" * 32, {})
    desk.change([*desk.screws, screw("L2-R", status="LOW_CONFIDENCE")], "dr.li")
    with pytest.raises(ConsoleError, match="L2-R"):
        desk.approve("dr.li", "ab" * 32, {})


def test_documents_survive_a_restart_and_a_damaged_one_is_named(desk, tmp_path):
    (tmp_path / "broken.json").write_text('{"id": "x"')
    desks, complaints = load_desks(tmp_path)
    assert [d.id for d in desks] == ["case"] and desks[0].screws == desk.screws
    assert "broken.json" in complaints[0]
    assert (tmp_path / "case.json").stat().st_mode & 0o077 == 0


async def chunks(data: bytes, size: int = 1000):
    for i in range(0, len(data), size):
        yield data[i : i + size]


def add(intake: Intake, name: str, data: bytes, declared: int | None = None) -> str:
    upload = intake.begin()
    asyncio.run(intake.add(upload.id, name, declared, chunks(data)))
    return upload.id


def test_four_declared_gigabytes_are_refused_before_a_byte_is_read(tmp_path):
    intake = Intake(tmp_path)
    upload = intake.begin()
    with pytest.raises(TooLarge, match="1024 MiB"):
        asyncio.run(intake.add(upload.id, "x.nii", 4 << 30, chunks(b"x")))
    assert not upload.folder.exists()


def test_an_upload_that_grows_beyond_the_limit_leaves_nothing(tmp_path):
    intake = Intake(tmp_path, max_bytes=5000)
    upload = intake.begin()
    with pytest.raises(TooLarge):
        asyncio.run(intake.add(upload.id, "x.nii", None, chunks(b"x" * 9000)))
    assert not upload.folder.exists()


def test_a_truncated_zip_and_a_bomb_are_refused_with_words(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.dcm", np.random.default_rng(1).bytes(4000))
    with pytest.raises(ConsoleError, match="damaged or incomplete"):
        add(Intake(tmp_path), "a.zip", packed.getvalue()[:-40])
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.dcm", bytes(80_000_000))
    with pytest.raises(TooLarge, match="unpacks to"):
        add(Intake(tmp_path), "b.zip", bomb.getvalue())


def test_file_names_never_reach_the_disk(tmp_path):
    intake = Intake(tmp_path)
    folder = intake.finish(add(intake, "ZHANG SAN 1961/../../evil.nii.gz", b"x")).folder
    assert [p.name for p in folder.iterdir()] == ["image-00000.nii.gz"]


def test_tokens_name_a_person_are_stored_as_digests_and_a_readable_file_is_refused(tmp_path):
    tokens = Tokens()
    token = tokens.issue(Principal("dr.li", Role.SURGEON, "beijing"))
    tokens.save(tmp_path / "t.json")
    assert token not in (tmp_path / "t.json").read_text()
    again = Tokens()
    again.load(tmp_path / "t.json")
    assert again.who(token).name == "dr.li" and again.who(token + "x") is None and again.who(None) is None
    (tmp_path / "t.json").chmod(0o644)
    with pytest.raises(ConsoleError, match="chmod 600"):
        Tokens().load(tmp_path / "t.json")


def test_an_image_that_is_no_volume_or_has_no_place_is_refused():
    with pytest.raises(ConsoleError, match="not a volume"):
        pack(np.zeros((4, 4), dtype=np.int16), np.eye(4))
    with pytest.raises(ConsoleError, match="affine"):
        pack(np.zeros((4, 4, 4), dtype=np.int16), np.zeros((4, 4)))


def test_the_crop_keeps_all_labels_and_a_margin():
    labels = np.zeros((100, 100, 100), dtype=np.uint8)
    labels[40:50, 60:70, 20:30] = 1
    box = crop_box(labels, (1.0, 1.0, 2.0), 10.0)
    assert box == (slice(30, 60), slice(50, 80), slice(15, 35))
