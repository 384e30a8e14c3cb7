"""Scripted and recorded hands: deterministic by time, at their recorded times, and honest about the end."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.master.recorded import RecordedDevice, Row, read_recording, write_recording
from teleop.master.sample import sample_from_wire
from teleop.master.scripted import Reach, ScriptedDevice, Tremor, minimum_jerk

UVA = Path(__file__).parents[3] / "shared/data/motion/uva_dvtrainer_itp_session7.csv.gz"
HOME = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
THERE = (0.02, 0.01, 0.0, 0.0, 0.0, 0.3826834323650898, 0.9238795325112867)
MS = 1_000_000


def test_minimum_jerk_starts_and_ends_at_rest():
    assert minimum_jerk(0) == 0 and minimum_jerk(1) == 1
    assert (minimum_jerk(1e-3) - 0) / 1e-3 < 1e-4 and (1 - minimum_jerk(1 - 1e-3)) / 1e-3 < 1e-4


def test_a_scripted_hand_is_a_function_of_time_alone():
    def device(rate):
        return ScriptedDevice([Reach(0.1, 0.9, THERE)], HOME, Tremor(seed=3), rate_hz=rate, t_zero_ns=0)

    fast, slow = device(1000), device(100)
    by_time = {t: fast.read(t * MS) for t in range(1000)}
    for t in range(0, 1000, 10):
        assert slow.read(t * MS).pose == by_time[t].pose


def test_a_scripted_hand_holds_the_deadman_only_while_it_reaches():
    device = ScriptedDevice([Reach(0.1, 0.9, THERE)], HOME, t_zero_ns=0)
    assert [device.read(t * MS).deadman for t in (50, 100, 500, 890, 950)] == [False, True, True, True, False]


def test_overlapping_reaches_are_refused():
    with pytest.raises(ValueError, match="starts at"):
        ScriptedDevice([Reach(0, 1, THERE), Reach(0.5, 2, HOME)], HOME)


def test_tremor_has_the_power_and_band_it_says():
    import numpy as np

    x = np.array([Tremor(rms=50e-6, seed=1).at(k / 200)[0] for k in range(200 * 60)])
    assert np.sqrt(np.mean(x**2)) == pytest.approx(50e-6, rel=0.05)
    power = np.abs(np.fft.rfft(x)) ** 2
    f = np.fft.rfftfreq(x.size, 1 / 200)
    assert power[(f >= 7.9) & (f <= 12.1)].sum() > 0.99 * power.sum(), "the rest is leakage"


@given(st.lists(st.floats(0.001, 0.1), min_size=1, max_size=30), st.integers(1, 50))
def test_a_recording_is_played_at_its_times_and_then_leaves(gaps, read_every_ms):
    t, rows = 0.0, []
    for i, gap in enumerate(gaps):
        rows.append(Row(t, (i * 1e-3, *HOME[1:]), frozenset({"deadman"})))
        t += gap
    device = RecordedDevice(rows, t_zero_ns=0)
    got = [device.read(k * read_every_ms * MS) for k in range(int(t * 1000 / read_every_ms) + 3)]
    samples = [s for s in got if s is not None]
    assert [s.connected for s in samples] == [True] * (len(samples) - 1) + [False]
    assert not samples[-1].deadman
    for s in samples[:-1]:
        due = [r for r in rows if r.t <= s.t_host * 1e-9 + 1e-9]
        assert s.pose == due[-1].pose


def test_a_recording_survives_writing_and_reading(tmp_path):
    rows = [Row(0.0, HOME, frozenset()), Row(0.1234567, THERE, frozenset({"clutch", "deadman"}), 0.5)]
    for name in ("a.csv", "a.csv.gz"):
        write_recording(tmp_path / name, rows)
        back = read_recording(tmp_path / name)
        assert [(r.t, r.buttons, r.gripper) for r in back] == [(r.t, r.buttons, r.gripper) for r in rows]
        for got, put in zip(back, rows, strict=True):
            assert got.pose == pytest.approx(put.pose, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "header"),
        ("t_s,x,y,z,qx,qy,qz,qw,buttons\n", "no rows"),
        ("t_s,x,y,z,qx,qy,qz,qw,buttons\n0,0,0,nan,0,0,0,1,\n", "line 2.*non-finite"),
        ("t_s,x,y,z,qx,qy,qz,qw,buttons\n0,0,0,0,0,0,0,2,\n", "line 2.*length"),
        ("t_s,x,y,z,qx,qy,qz,qw,buttons\n1,0,0,0,0,0,0,1,\n0,0,0,0,0,0,0,1,\n", "goes back"),
        ("t_s,x,y,z,qx,qy,qz,qw,buttons\n0,0,0\n", "line 2"),
    ],
)
def test_a_bad_recording_is_refused_with_its_line(tmp_path, text, says):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_recording(path)


@pytest.mark.skipif(not UVA.exists(), reason="the surgeon recording is not at ../shared/data")
def test_the_surgeon_recording_becomes_absolute_poses_with_its_pedal():
    rows = read_recording(UVA)
    assert len(rows) == 41508
    assert rows[-1].t == pytest.approx(80.31, abs=0.01)
    assert 0.9 < sum("deadman" in r.buttons for r in rows) / len(rows) < 1.0
    span = max(r.pose[1] for r in rows) - min(r.pose[1] for r in rows)
    assert span == pytest.approx(9971e-6)


WIRE = {"device": "pad", "seq": 1, "t_device": 5, "twist": [0, 0.5, 0, 0, 0, -2.0], "buttons": ["deadman"]}


def test_a_sample_from_a_page_is_stamped_by_the_receiver_and_clamped_visibly():
    s = sample_from_wire(WIRE, 77)
    assert (s.t_host, s.t_device, s.deadman) == (77, 5, True)
    assert s.twist[5] == -1.0 and s.saturated == ("rz",)
    assert sample_from_wire(s.to_wire(), 77) == sample_from_wire({**WIRE, "twist": list(s.twist)}, 77)


@pytest.mark.parametrize(
    "change",
    [
        {"twist": [0, 0, 0, 0, 0, float("nan")]},
        {"twist": [0, 0, 0]},
        {"twist": [True] * 6},
        {"pose": [0] * 7},
        {"pose": "0000000"},
        {"seq": -1},
        {"seq": True},
        {"t_device": float("inf")},
        {"buttons": "deadman"},
        {"buttons": ["x" * 99]},
        {"device": ""},
        {"connected": 1},
        {"gripper": float("nan")},
        {"what": 1},
    ],
)
def test_a_wrong_field_of_a_sample_is_refused_by_name(change):
    with pytest.raises(ValueError, match="master sample"):
        sample_from_wire({**WIRE, **change}, 0)


def test_something_that_is_no_map_is_refused():
    with pytest.raises(ValueError, match="map"):
        sample_from_wire([1, 2], 0)
