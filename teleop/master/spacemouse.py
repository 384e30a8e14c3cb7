"""3Dconnexion SpaceMouse by its raw HID reports (Linux hidraw), no driver and no library.

Reports, little endian, as the open drivers (spacenavd, pyspacemouse) describe them; decoded here and tested against
them, not yet against
every model:
  id 1: three int16, the translation; models since 2015 send 12 bytes, translation and rotation
  id 2: three int16, the rotation about the same axes
  id 3: a bit mask of buttons (1 to 6 bytes)
Full deflection is about 350 counts. The cap's axes are x right, y toward the operator, z down; ours are x right, y
away, z up: a half
turn about x, so y and z change sign, of translations and of rotations alike. Left button: deadman. Right button:
clutch.

Receivers of wireless models keep silent when the mouse is out of reach, so a held button could never be told from a
lost one: such
a device has no deadman here (`capabilities.deadman` False) and can only be used together with another deadman.
"""

import struct
from dataclasses import replace
from pathlib import Path

from teleop.master.device import Capabilities
from teleop.master.event_driven import EventDevice, InputState
from teleop.master.raw_input import PacketFile, find_hidraw
from teleop.master.sample import AXES, CLUTCH, DEADMAN

VENDORS = {0x256F: "3Dconnexion", 0x046D: "Logitech/3Dconnexion"}
#: Products of vendor 0x046d that are SpaceMice (the vendor makes keyboards too).
OLD_PRODUCTS = frozenset({0xC603, 0xC605, 0xC606, 0xC621, 0xC623, 0xC625, 0xC626, 0xC627, 0xC628, 0xC629, 0xC62B})
RECEIVERS = frozenset({0xC62F, 0xC652})
FULL_SCALE = 350.0
SIGNS = (1.0, -1.0, -1.0, 1.0, -1.0, -1.0)
BUTTONS = {0: DEADMAN, 1: CLUTCH}
CAPABILITIES = Capabilities("spacemouse", "rate", (True,) * 6, 100.0)


def decode(report: bytes, state: InputState) -> None:
    """Apply one report. Raises ValueError for one that is not a SpaceMouse's."""
    if not report:
        raise ValueError("an empty report")
    kind, body = report[0], report[1:]
    if kind == 1 and len(body) >= 12:
        _axes(struct.unpack_from("<6h", body), 0, state)
    elif kind in (1, 2) and len(body) >= 6:
        _axes(struct.unpack_from("<3h", body), 0 if kind == 1 else 3, state)
    elif kind == 3 and body:
        mask = int.from_bytes(body[:6], "little")
        state.buttons = {BUTTONS.get(k, f"button{k}") for k in range(48) if mask >> k & 1}
    elif kind in (1, 2, 3):
        raise ValueError(f"a report {kind} of {len(report)} bytes is too short")
    # other ids carry battery and LED states


def _axes(counts: tuple[int, ...], first: int, state: InputState) -> None:
    for k, c in enumerate(counts, start=first):
        state.twist[k] = SIGNS[k] * max(-1.0, min(1.0, c / FULL_SCALE))
        (state.saturated.add if abs(c) >= FULL_SCALE else state.saturated.discard)(AXES[k])


def find(sysfs: Path = Path("/sys/class/hidraw")) -> list[tuple[Path, int]]:
    """(device file, product) of the SpaceMice that are plugged in."""
    return [
        (path, product)
        for path, vendor, product, _ in find_hidraw(VENDORS, sysfs)
        if vendor == 0x256F or product in OLD_PRODUCTS
    ]


def space_mouse(path: Path | str | None = None, product: int = 0, file: PacketFile | None = None) -> EventDevice:
    """The device at `path` (default: the first one found at `connect`), or one that reads an open `file`."""

    def open_file() -> PacketFile:
        if file is not None:
            return file
        if path is not None:
            return PacketFile.open(path, 64)
        found = find()
        if not found:
            raise FileNotFoundError("no SpaceMouse found: plug it in by cable; 'ls /sys/class/hidraw' should list it")
        return PacketFile.open(found[0][0], 64)

    capabilities = replace(CAPABILITIES, deadman=product not in RECEIVERS)
    # deflected, a SpaceMouse reports 60 to 125 times a second by itself
    return EventDevice(capabilities, open_file, decode, repeats_within_ns=100_000_000)
