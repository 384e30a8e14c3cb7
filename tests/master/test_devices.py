"""Real devices by their own bytes: SpaceMouse reports and evdev events through a fake HID process, pages, CRTK
masters."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.geometry import rotvec_to_quat
from teleop.master import gamepad as pads
from teleop.master import spacemouse as mice
from teleop.master.browser import BrowserDevice, browser_capabilities
from teleop.master.crtk_master import CrtkMasterDevice
from teleop.master.event_driven import InputState
from teleop.master.guard import SampleGuard
from teleop.master.raw_input import PacketFile, find_hidraw

MS = 1_000_000


def pair():
    """(our end as a PacketFile, the device's end as a socket)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return PacketFile(ours.detach(), 64 * 24), theirs


def mouse_report(x=0, y=0, z=0, rx=0, ry=0, rz=0):
    return b"\x01" + struct.pack("<6h", x, y, z, rx, ry, rz)


def event(kind, code, value):
    return pads.EVENT.pack(0, 0, kind, code, value)


# --- SpaceMouse


def test_old_and_new_reports_mean_the_same():
    new, old = InputState(), InputState()
    mice.decode(mouse_report(175, -350, 35, 70, 0, -35), new)
    mice.decode(b"\x01" + struct.pack("<3h", 175, -350, 35), old)
    mice.decode(b"\x02" + struct.pack("<3h", 70, 0, -35), old)
    assert new.twist == old.twist == pytest.approx([0.5, 1.0, -0.1, 0.2, 0.0, 0.1])
    assert new.saturated == {"y"}


def test_buttons_are_a_mask_and_the_first_two_have_a_meaning():
    s = InputState()
    mice.decode(b"\x03\x07\x00", s)
    assert s.buttons == {"deadman", "clutch", "button2"}
    mice.decode(b"\x03\x00\x00", s)
    assert s.buttons == set()


@given(st.binary(max_size=20))
def test_any_bytes_are_decoded_or_refused(report):
    s = InputState()
    try:
        mice.decode(report, s)
    except ValueError:
        return
    assert all(-1.0 <= v <= 1.0 for v in s.twist)


def test_a_broken_report_lets_go_of_everything():
    ours, theirs = pair()
    mouse = mice.space_mouse(file=ours)
    mouse.connect()
    theirs.send(b"\x03\x01")
    theirs.send(mouse_report(350))
    assert mouse.read(0).deadman
    theirs.send(b"\x01\x00")
    s = mouse.read(10 * MS)
    assert not s.deadman and s.twist == (0.0,) * 6 and "too short" in s.note and mouse.refused == 1


def test_a_resting_mouse_with_its_button_held_stays_held_and_a_deflection_that_stops_repeating_does_not():
    ours, theirs = pair()
    mouse, guard = mice.space_mouse(file=ours), None
    mouse.connect()
    guard = SampleGuard(mouse.capabilities)
    theirs.send(b"\x03\x01")
    for k in range(100):
        r = guard.step(k * 10 * MS, mouse.read(k * 10 * MS))
        assert r.deadman or k == 0
    theirs.send(mouse_report(100))
    held = [guard.step(k * 10 * MS, mouse.read(k * 10 * MS)).deadman for k in range(100, 120)]
    assert held[0] and not held[-1]


def test_a_receiver_has_no_deadman():
    ours, theirs = pair()
    mouse = mice.space_mouse(file=ours, product=0xC652)
    mouse.connect()
    theirs.send(b"\x03\x01")
    assert not SampleGuard(mouse.capabilities).step(0, mouse.read(0)).deadman


def test_the_mouse_is_found_by_its_vendor_and_not_the_vendors_keyboard(tmp_path):
    for n, (vendor, product) in enumerate([(0x256F, 0xC635), (0x046D, 0xC31C), (0x046D, 0xC626), (0x1234, 1)]):
        d = tmp_path / f"hidraw{n}/device"
        d.mkdir(parents=True)
        (d / "uevent").write_text(f"DRIVER=x\nHID_ID=0003:{vendor:08X}:{product:08X}\nHID_NAME=thing {n}\n")
    assert [str(p) for p, _ in mice.find(tmp_path)] == ["/dev/hidraw0", "/dev/hidraw2"]
    assert find_hidraw({0x1234: "x"}, tmp_path)[0][3] == "thing 3"
    assert find_hidraw({1: "x"}, tmp_path / "nowhere") == []


def test_a_missing_mouse_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(OSError, match="plug it in"):
        mice.space_mouse(tmp_path / "hidraw9").connect()


FAKE_HID = """
import socket, struct, sys, time
s = socket.socket(fileno=int(sys.argv[1]))
s.send(b"\\x03\\x01")
for k in range(100000):
    s.send(b"\\x01" + struct.pack("<6h", 0, -(k % 300), 0, 0, 0, 0))
    if s.recv(1) == b"q":
        break
"""


def test_a_fake_hid_process_that_is_killed_in_mid_motion_is_a_release():
    ours, theirs = pair()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FAKE_HID), str(theirs.fileno())], pass_fds=[theirs.fileno()]
    ) as p:
        theirs.close()
        mouse = mice.space_mouse(file=ours)
        mouse.connect()
        guard, seen, now, reading = SampleGuard(mouse.capabilities), 0, 0, None
        while seen < 50:  # the process sends one report for each byte that it gets; time passes with the reports
            assert select.select([ours.fileno()], [], [], 20.0)[0], "the fake does not speak"
            now += 8 * MS
            reading = guard.step(now, mouse.read(now))
            seen += 1
            os.write(ours.fileno(), b".")
        assert reading.deadman and reading.sample.twist[1] > 0.0
        p.send_signal(signal.SIGKILL)
        p.wait()
        while reading.alive:
            now += MS
            reading = guard.step(now, mouse.read(now))
        assert not reading.deadman and "left" in reading.events[0]
        assert mouse.read(now + MS) is None


# --- gamepad


def test_sticks_and_buttons_of_a_pad():
    s, decode = InputState(), pads.GamepadDecoder()
    decode(event(3, 0, 32767) + event(3, 1, -32768) + event(1, 0x137, 1) + event(0, 0, 0), s)
    assert s.twist[:2] == pytest.approx([1.0, 1.0]) and s.buttons == {"deadman"} and s.saturated == {"x", "y"}
    decode(event(3, 0, 0) + event(1, 0x137, 0), s)
    assert abs(s.twist[0]) < 1e-4 and not s.buttons


def test_events_that_the_kernel_dropped_let_go_of_everything():
    s, decode = InputState(), pads.GamepadDecoder()
    decode(event(3, 0, 32767) + event(1, 0x137, 1), s)
    decode(event(0, 3, 0), s)
    assert s.twist == [0.0] * 6 and not s.buttons and "dropped" in s.wrong


@given(st.binary(max_size=96))
def test_any_events_are_decoded_or_refused(packet):
    s = InputState()
    try:
        pads.GamepadDecoder()(packet, s)
    except ValueError:
        return
    assert all(-1.0 <= v <= 1.0 for v in s.twist)


def test_a_pad_that_rests_with_its_shoulder_held_stays_held_until_it_is_unplugged():
    ours, theirs = pair()
    pad = pads.gamepad(file=ours)
    pad.connect()
    guard = SampleGuard(pad.capabilities)
    theirs.send(event(1, 0x137, 1))
    readings = [guard.step(k * 10 * MS, pad.read(k * 10 * MS)) for k in range(100)]
    assert all(r.deadman for r in readings)
    theirs.close()
    assert not guard.step(1001 * MS, pad.read(1001 * MS)).alive


def test_a_bluetooth_pad_has_no_deadman():
    assert not pads.gamepad(bus=pads.BUS_BLUETOOTH).capabilities.deadman


def test_an_empty_axis_range_is_refused():
    with pytest.raises(ValueError, match="empty"):
        pads.GamepadDecoder({0: (5, 5)})


def test_pads_are_found_among_the_kernels_devices(tmp_path):
    listing = tmp_path / "devices"
    listing.write_text(
        'I: Bus=0003 Vendor=045e Product=028e Version=0110\nN: Name="Pad"\nH: Handlers=event5 js0 \n\n'
        'I: Bus=0011 Vendor=0001 Product=0001 Version=ab41\nN: Name="Keyboard"\nH: Handlers=sysrq kbd event0 \n\n'
    )
    assert [(str(p), bus, name) for p, bus, name in pads.find(listing)] == [("/dev/input/event5", 3, "Pad")]
    assert pads.find(tmp_path / "none") == []


# --- pages


PAGE = {
    "t": "master",
    "device": "x",
    "kind": "gamepad",
    "seq": 1,
    "t_device": 5,
    "twist": [0, 0.5, 0, 0, 0, 0],
    "buttons": ["deadman"],
}


def test_the_newest_message_of_a_page_wins_and_is_read_once():
    d = BrowserDevice("gamepad", "pad")
    d.push(PAGE, 10)
    d.push({**PAGE, "seq": 2}, 20)
    s = d.read(25)
    assert (s.device, s.seq, s.t_host) == ("pad", 2, 20) and d.read(26) is None


def test_a_page_that_goes_is_a_release_that_nothing_overtakes():
    d = BrowserDevice("gamepad")
    d.push(PAGE, 10)
    d.push({**PAGE, "seq": 2, "connected": False}, 20)
    d.push({**PAGE, "seq": 3}, 30)
    assert not d.read(31).connected
    d.page_gone(40)
    assert not d.read(41).deadman


def test_a_wrong_message_of_a_page_is_refused_and_not_used():
    d = BrowserDevice("gamepad")
    with pytest.raises(ValueError, match="twist"):
        d.push({**PAGE, "twist": [0, 0, None, 0, 0, 0]}, 10)
    assert d.read(11) is None
    with pytest.raises(ValueError, match="one of"):
        browser_capabilities("mouse")


def test_a_headsets_up_is_our_up():
    d = BrowserDevice("xr")
    s = d.push({**PAGE, "kind": "xr", "twist": None, "pose": [0.1, 0.2, -0.3, 0, 0, 0, 1]}, 10)
    assert s.pose[:3] == pytest.approx((0.1, 0.3, 0.2))
    assert d.capabilities.kind == "pose" and d.capabilities.grade == "browser"


# --- CRTK masters


class Link:
    def __init__(self):
        self.sent = []

    def __getattr__(self, name):
        return lambda *args: self.sent.append((name, *args))


HOME = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture
def mtm():
    d = CrtkMasterDevice(Link(), "mtm", gripper=True, force=True, damping=2.0)
    d.connect()
    d.on_operating_state("ENABLED", True)
    return d


def test_a_crtk_master_is_asked_to_enable_and_home_and_then_read(mtm):
    assert mtm._link.sent == [("state_command", "enable"), ("state_command", "home")]
    mtm.on_measured_cp(HOME, 5)
    mtm.on_gripper(0.7)
    mtm.on_button("operator_present", True)
    s = mtm.read(10)
    assert (s.pose, s.gripper, s.deadman, s.t_device) == (HOME, 0.7, True, 5)
    assert mtm.read(11) is None


def test_a_pose_with_stamp_zero_or_without_a_direction_is_no_reading(mtm):
    mtm.on_measured_cp(HOME, 0)
    assert mtm.read(1) is None
    mtm.on_measured_cp((0, 0, 0, 0, 0, 0, 0), 5)
    assert mtm.read(2) is None


@pytest.mark.parametrize(
    "event",
    [
        lambda d: d.on_operating_state("FAULT", True),
        lambda d: d.on_operating_state("ENABLED", False),
        lambda d: d.on_lost(),
    ],
)
def test_a_master_that_faults_or_goes_is_a_release(mtm, event):
    mtm.on_button("button1", True)
    mtm.on_measured_cp(HOME, 5)
    assert mtm.read(1).deadman
    event(mtm)
    s = mtm.read(2)
    assert not s.connected and s.note
    assert mtm.read(3) is None, "said once"


def test_a_master_that_returns_must_be_pressed_anew(mtm):
    mtm.on_button("button1", True)
    mtm.on_lost()
    mtm.read(1)
    mtm.on_measured_cp(HOME, 6)
    s = mtm.read(2)
    assert s.connected and not s.deadman


def test_forces_go_to_an_enabled_arm_only_and_end_with_the_connection(mtm):
    mtm._link.sent.clear()
    assert mtm.send_force((1, 0, 0, 0, 0, 0))
    mtm.disconnect()
    assert mtm._link.sent == [("servo_cf", (1, 0, 0, 0, 0, 0)), ("servo_cf", (0.0,) * 6)]
    mtm.on_operating_state("DISABLED", True)
    assert not mtm.send_force((1, 0, 0, 0, 0, 0))


def test_aligning_turns_the_grip_where_it_is(mtm):
    assert not mtm.align((0, 0, 0, 1)), "not before its pose is known"
    mtm.on_measured_cp((0.1, 0, 0, 0, 0, 0, 1), 5)
    q = rotvec_to_quat((0, 0, 1))
    assert mtm.align(q) and mtm._link.sent[-1] == ("move_cp", (0.1, 0, 0, *q))


def test_every_device_tells_its_capabilities_before_it_is_opened():
    for d in (mice.space_mouse(), pads.gamepad(), BrowserDevice("keyboard"), CrtkMasterDevice(Link())):
        assert d.capabilities.name and d.capabilities.rate_hz > 0
        assert d.read(0) is None
        assert replace(d.capabilities, name="x").name == "x"
