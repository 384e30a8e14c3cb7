"""The reviewer's pictures: the folder that belongs to a log is found by hash, and the cursor gets the newest picture then."""

import base64
import io

import numpy as np
from PIL import Image

from teleop.media.adapt import LADDER
from teleop.media.encode import Encoder
from teleop.media.frames import FrameInfo
from teleop.media.store import Writer
from teleop.review.pictures import GAP_NS, Pictures, folder_of

T0, PERIOD = 7_000_000_000, 66_666_667


def record(folder, shade):
    writer, encoder, rows = Writer(folder, free_min=0), Encoder("guide"), []
    for n in range(20):
        picture = np.full((256, 320, 3), shade + n * 4, dtype=np.uint8)
        coded = encoder.encode(picture, FrameInfo("guide", n + 1, T0 + n * PERIOD), LADDER[4])
        writer.put(coded)
        rows.append(("guide", n + 1, coded.sha256, coded.info.captured))
    writer.close()
    return rows


def test_the_folder_that_belongs_to_a_log_is_told_by_its_hashes_not_by_its_name(tmp_path):
    mine, other = record(tmp_path / "video-a-1", 20), record(tmp_path / "video-a-2", 90)
    log = tmp_path / "session-a.mcap"
    assert folder_of(log, mine) == tmp_path / "video-a-1"
    assert folder_of(log, other) == tmp_path / "video-a-2"
    assert folder_of(log, [("guide", 1, b"x" * 32, T0)]) is None


def test_the_cursor_gets_the_newest_picture_of_its_moment_and_none_where_none_was_recorded(tmp_path):
    rows = record(tmp_path / "video-a-1", 20)
    pictures = Pictures(tmp_path / "log.mcap", rows)
    for n in (0, 7, 19, 3):
        found = pictures.at(T0 + n * PERIOD + 20_000_000, lambda t: t / 1e9)["streams"]["guide"]
        assert found["id"] == n + 1 and found["logged"] and 0 <= found["age_ms"] <= 67
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["jpeg"]))))
        assert abs(int(shown[100, 100, 0]) - (20 + n * 4)) < 8 and shown.shape == (240, 320, 3)
    assert pictures.at(T0 - 1, float)["streams"] == {}
    assert pictures.at(T0 + 19 * PERIOD + GAP_NS + 1, float)["streams"] == {}


def test_a_log_without_pictures_says_so(tmp_path):
    assert Pictures(tmp_path / "l", []).at(0, float)["note"] == "the log names no pictures"
    assert "not beside it" in Pictures(tmp_path / "l", [("guide", 1, b"x", 1)]).at(0, float)["note"]
