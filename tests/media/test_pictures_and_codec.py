"""Stamps, H.264 with identity, adaptation and freezing: the pure and the nearly pure parts of live pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teleop.media import adapt, freeze, stamp
from teleop.media.adapt import LADDER, Limits, Measured
from teleop.media.encode import Decoder, Encoder, info_of, is_key
from teleop.media.frames import FrameInfo

S = 1_000_000_000


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**40), st.integers(0, 2**62), st.sampled_from([(160, 136), (320, 256), (640, 480)]))
def test_a_stamp_is_read_back_from_the_picture_at_any_size(frame, captured, size):
    w, h = size
    picture = np.full((h, w, 3), 127, dtype=np.uint8)
    stamp.write(picture, frame, captured)
    found = stamp.read(picture)
    assert found is not None and found.id == frame % 2**24
    assert stamp.unwrap_ms(found.ms, captured + 3 * S) == captured // 1_000_000 * 1_000_000


def test_a_damaged_stamp_is_not_read_as_another():
    picture = np.full((136, 320, 3), 127, dtype=np.uint8)
    stamp.write(picture, 77, 5 * S)
    wrong = 0
    for column in range(32):
        hurt = picture.copy()
        hurt[-16:-8, column * 10 : column * 10 + 10] = 255 - hurt[-16:-8, column * 10 : column * 10 + 10]
        wrong += stamp.read(hurt) is not None
    assert wrong == 0


def scene(n: int, w: int = 320, h: int = 256) -> np.ndarray:
    rng = np.random.default_rng(n)
    y, x = np.mgrid[:h, :w]
    grey = 120 + 60 * np.sin((x + 3 * n) / 23.0) + 30 * np.cos(y / 17.0) + rng.normal(0, 6, (h, w))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("rung", LADDER[1:], ids=[r.name for r in LADDER[1:]])
def test_a_coded_picture_says_who_it_is_in_the_stream_and_in_the_picture(rung):
    w, h = int(640 * rung.scale) // 2 * 2, int(464 * rung.scale) // 2 * 2 + stamp.STRIP
    encoder, decoder = Encoder("guide"), Decoder()
    for n in range(12):
        info = FrameInfo("guide", 1000 + n, 7 * S + n * 66_666_667, (1.0, 0.5, -3.25) if n % 2 else ())
        coded = encoder.encode(scene(n, w, h), info, rung)
        assert info_of(coded.data) == info
        assert coded.key == is_key(coded.data) == (n == 0)
        shown = decoder.decode(coded.data)
        assert shown is not None, "the decoder keeps a picture back"
        read = stamp.read(shown)
        assert read is not None and read.id == 1000 + n and stamp.unwrap_ms(read.ms, 9 * S) // 10**6 == info.captured // 10**6


def test_a_key_frame_comes_when_somebody_joins_and_when_the_size_changes():
    encoder = Encoder("room")
    kinds = []
    for n in range(6):
        if n == 2:
            encoder.want_key()
        rung, w = (LADDER[3], 240) if n >= 4 else (LADDER[4], 320)
        kinds.append(encoder.encode(scene(n, w, 256), FrameInfo("room", n, (n + 1) * S // 5), rung).key)
    assert kinds == [True, False, True, False, True, False]


def test_a_viewer_that_asks_for_key_frames_without_end_does_not_make_every_picture_one():
    encoder, keys = Encoder("room"), 0
    for n in range(45):
        encoder.want_key()
        keys += encoder.encode(scene(n), FrameInfo("room", n, (n + 1) * S // 15), LADDER[4]).key
    assert 8 <= keys <= 11, f"{keys} key frames in three seconds"


def test_an_odd_size_is_refused_with_words():
    with pytest.raises(ValueError, match="even sides"):
        Encoder("room").encode(np.zeros((257, 320, 3), dtype=np.uint8), FrameInfo("room", 1, 1), LADDER[4])


# -- adaptation -------------------------------------------------------------------------------------------------------
def drive(state, seconds, measured, start=0, **more):
    for k in range(int(seconds * 5)):
        state = adapt.step(state, measured, start + k * S // 5, **more)
    return state


def test_a_calm_line_climbs_to_full_and_stays():
    end = drive(adapt.State(), 60, Measured(loss=0.0, queue_ms=5.0, control_loss=0.0, control_queue_ms=1.0))
    assert LADDER[end.rung].name == "full"


def test_video_loss_leaves_a_thumbnail_and_control_trouble_puts_the_picture_out():
    full = adapt.State(rung=4, why="calm")
    assert LADDER[drive(full, 20, Measured(loss=0.2)).rung].name == "thumbnail"
    assert LADDER[drive(full, 20, Measured(control_queue_ms=80.0)).rung].name == "off"


def test_video_goes_down_before_control_would_be_slowed():
    """The loop age at which video gives way lies below the age from which the speed law slows the arm."""
    from safety.params import Params

    assert Limits().loop_age_ms * 1e6 < Params().a_degraded_ns and Limits().control_loss <= Params().loss_degraded
    first = adapt.step(adapt.State(rung=4, why="calm"), Measured(loop_age_ms=Limits().loop_age_ms + 1), S)
    assert first.rung == 2 and first.why == "control comes first"


def test_a_rung_that_proved_too_much_is_tried_again_later_and_later():
    state, tries, now = adapt.State(), [], 0
    for _ in range(3000):
        now += S // 5
        before = state.rung
        state = adapt.step(state, Measured(loss=0.1 if state.rung >= 3 else 0.0), now)
        if state.rung > before:
            tries.append(now)
    gaps = np.diff(tries) / S
    assert len(gaps) >= 4 and gaps[-1] > 4 * gaps[0]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 500), st.floats(0, 1), st.floats(0, 400)), max_size=80), st.integers(0, 4))
def test_the_rung_never_leaves_the_ladder_nor_the_budget(rows, ceiling):
    state, now = adapt.State(), 0
    for loss, queue, control, age in rows:
        now += S // 5
        before = state
        state = adapt.step(state, Measured(loss, queue, control, None, age), now, ceiling=ceiling)
        assert 0 <= state.rung <= max(ceiling, 0)
        assert state.rung <= before.rung + 1
        if control > Limits().control_loss and before.rung <= ceiling:
            assert state.rung <= before.rung, "control suffers and video grows"


# -- freezing ---------------------------------------------------------------------------------------------------------
def test_a_silent_camera_and_a_hung_one_are_told_apart():
    w = freeze.Watch()
    assert freeze.verdict(w, S) == "waiting"
    for n in range(1, 5):
        w = freeze.seen(w, n * S // 10, n * S // 10, bytes([n]))
    assert freeze.verdict(w, 5 * S // 10) == ""
    assert freeze.verdict(w, 5 * S // 10 + freeze.SILENT_NS) == "silent"
    for n in range(5, 5 + freeze.EQUAL_FRAMES + 1):
        w = freeze.seen(w, n * S // 10, n * S // 10, b"same")
    assert freeze.verdict(w, n * S // 10) == "hung"
    assert freeze.verdict(freeze.seen(w, 2 * S, 2 * S, b"other"), 2 * S) == ""


def test_the_same_picture_sent_again_with_its_old_time_is_no_sign_of_life():
    w = freeze.seen(freeze.Watch(), S, S, b"a")
    for k in range(20):
        w = freeze.seen(w, S + k * S // 10, S, b"a")
    assert freeze.verdict(w, S + 2 * S) == "silent"
