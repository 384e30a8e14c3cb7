"""A session log gives the surgeon's hand back, at the times of his console."""

import pytest

from teleop.master.recorded import RecordedDevice, read_recording
from tests.log.sessions import MS, Recorded

OTHER = "o" * 40


def recorded(path, *, servo=True):
    """A second of motion along x: every frame comes twice, one is overtaken, another key talks in between."""
    r = Recorded(path)
    r.rig.active()
    sent, late = [], None
    x, *rest = r.rig.make(press=1).target
    for k in range(100):
        r.rig.pass_time(10 * MS)
        c = r.rig.make(press=1, target=(x + 1e-5 * k, *rest), t_console=5 * 10**9 + k * 10 * MS)
        if k == 50:
            late = c
            continue
        r.rig.send(c)
        r.rig.send(c, path=1)
        if k == 51:
            r.rig.send(late)
        sent.append(c)
    r.rig.pass_time(10 * MS)
    r.rig.send(press=0, t_console=5 * 10**9 + 1000 * MS)
    r.rig.send(b"no command at all")
    return r.close(), sent


def test_the_targets_come_back_once_in_order_and_at_the_console_s_times(tmp_path):
    path, sent = recorded(tmp_path / "a.mcap")
    rows = read_recording(path)
    held = [r for r in rows if r.buttons]
    assert not rows[0].buttons and rows[0].t == 0.0, "it begins released, so that the press is seen"
    assert not rows[-1].buttons
    assert [r.pose[0] for r in held[-99:]] == [c.target[0] for c in sent]
    gaps = [b.t - a.t for a, b in zip(held[-99:], held[-98:], strict=False)]
    assert max(gaps) == pytest.approx(0.02) and sorted(gaps)[-2] == pytest.approx(0.01), "one frame was overtaken: it is not there"


def test_it_plays_as_a_device_that_holds_its_deadman_while_the_hand_steered(tmp_path):
    path, _ = recorded(tmp_path / "a.mcap")
    device, held, now = RecordedDevice(read_recording(path)), 0, 0
    while (sample := device.read(now)) is None or sample.connected:
        held += sample is not None and sample.deadman
        now += 5 * MS
    assert held >= 99 and now < 10**10


def test_a_session_without_a_hand_and_a_file_that_is_no_log_are_refused(tmp_path):
    r = Recorded(tmp_path / "goal.mcap")
    r.rig.ready()
    with pytest.raises(ValueError, match="nobody steered by hand"):
        read_recording(r.close())
    (tmp_path / "x.mcap").write_bytes(b"not a log")
    with pytest.raises(ValueError, match="x.mcap"):
        read_recording(tmp_path / "x.mcap")
