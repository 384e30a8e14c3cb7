"""A gamepad on Linux evdev (/dev/input/event*), no library. The page's gamepad uses the same mapping.

Left stick: x right, y away. Right stick: up is z up, sideways turns about z. Cross: turns about x and y. Right
shoulder: deadman. Left
shoulder: clutch. B (east): stop. Kernel interface: linux/input.h, input-event-codes.h; the controller layout is the
kernel's
documentation "Linux Gamepad Specification".

Over Bluetooth a lost pad is noticed only after seconds, so it has no deadman here.
"""

import array
import fcntl
import struct
from dataclasses import replace
from pathlib import Path

from teleop.master.device import Capabilities
from teleop.master.event_driven import EventDevice, InputState
from teleop.master.raw_input import PacketFile
from teleop.master.sample import AXES, CLUTCH, DEADMAN, STOP

EVENT = struct.Struct("llHHi")
EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
SYN_DROPPED = 3
#: ABS code -> (axis of the twist, sign)
STICKS = {0x00: (0, 1.0), 0x01: (1, -1.0), 0x04: (2, -1.0), 0x03: (5, -1.0), 0x10: (4, 1.0), 0x11: (3, 1.0)}
KEYS = {0x137: DEADMAN, 0x136: CLUTCH, 0x131: STOP, 0x130: "select", 0x133: "north", 0x134: "west", 0x13B: "start"}
BUS_BLUETOOTH = 0x05
CAPABILITIES = Capabilities("gamepad", "rate", (True,) * 6, 100.0)

Ranges = dict[int, tuple[int, int]]
#: What most pads report; the true ranges are asked from the kernel where there is one.
USUAL_RANGES: Ranges = dict.fromkeys((0, 1, 3, 4), (-32768, 32767)) | {0x10: (-1, 1), 0x11: (-1, 1)}


class GamepadDecoder:
    """Applies evdev events to a state; one packet may hold several events."""

    def __init__(self, ranges: Ranges | None = None) -> None:
        self.ranges = dict(USUAL_RANGES if ranges is None else ranges)
        for code, (low, high) in self.ranges.items():
            if high <= low:
                raise ValueError(f"gamepad axis {code:#x}: range {low} .. {high} is empty")

    def __call__(self, packet: bytes, state: InputState) -> None:
        if len(packet) % EVENT.size:
            raise ValueError(f"{len(packet)} bytes are no whole number of events of {EVENT.size}")
        for _, _, kind, code, value in EVENT.iter_unpack(packet):
            if kind == EV_ABS and code in STICKS:
                axis, sign = STICKS[code]
                low, high = self.ranges.get(code, (-32768, 32767))
                d = 2.0 * (value - low) / (high - low) - 1.0
                state.twist[axis] = sign * max(-1.0, min(1.0, d))
                (state.saturated.add if abs(d) >= 0.9999 else state.saturated.discard)(AXES[axis])
            elif kind == EV_KEY and code in KEYS:
                (state.buttons.add if value else state.buttons.discard)(KEYS[code])
            elif kind == EV_SYN and code == SYN_DROPPED:
                # the kernel lost events: a release may have been among them
                state.twist[:] = [0.0] * 6
                state.buttons.clear()
                state.wrong = "the kernel dropped events: everything is taken as let go"


def kernel_ranges(fd: int) -> Ranges:
    """Ranges of the sticks as the kernel knows them (EVIOCGABS)."""
    ranges: Ranges = {}
    for code in STICKS:
        info = array.array("i", [0] * 6)
        try:
            fcntl.ioctl(fd, 0x80184540 + code, info)
        except OSError:
            continue
        if info[2] > info[1]:
            ranges[code] = (info[1], info[2])
    return ranges


def find(proc: Path = Path("/proc/bus/input/devices")) -> list[tuple[Path, int, str]]:
    """(event file, bus, name) of the joysticks that the kernel knows."""
    found = []
    try:
        blocks = proc.read_text().split("\n\n")
    except OSError:
        return []
    for block in blocks:
        handlers = next((line for line in block.splitlines() if line.startswith("H: Handlers=")), "")
        words = handlers.partition("=")[2].split()
        event = next((w for w in words if w.startswith("event")), None)
        if event is None or not any(w.startswith("js") for w in words):
            continue
        name = next((line[9:].strip('"') for line in block.splitlines() if line.startswith("N: Name=")), event)
        bus_text = block.partition("Bus=")[2][:4]
        found.append((Path("/dev/input") / event, int(bus_text or "0", 16), name))
    return found


def gamepad(
    path: Path | str | None = None, bus: int = 0, file: PacketFile | None = None, ranges: Ranges | None = None
) -> EventDevice:
    """The pad at `path` (default: the first one found at `connect`), or one that reads an open `file`."""
    decoder = GamepadDecoder(ranges)

    def open_file() -> PacketFile:
        if file is not None:
            return file
        where = path
        if where is None:
            found = find()
            if not found:
                raise FileNotFoundError(
                    "no gamepad found: plug it in; /proc/bus/input/devices should list a 'js' handler"
                )
            where = found[0][0]
        opened = PacketFile.open(where, EVENT.size * 64)
        decoder.ranges |= kernel_ranges(opened.fileno())
        return opened

    return EventDevice(replace(CAPABILITIES, deadman=bus != BUS_BLUETOOTH), open_file, decoder)
