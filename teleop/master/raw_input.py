"""Reading a Linux input file (hidraw, evdev) without ever waiting, and finding the right one. No library, no root
beyond the file's own rights.

`PacketFile` stands for any descriptor that gives whole packets: /dev/hidraw*, /dev/input/event*, or in tests one end
of a socket pair.
"""

import os
import select
from pathlib import Path


class Gone(OSError):
    """The device was unplugged, or its other end closed."""


class PacketFile:
    """A descriptor of packets of at most `size` bytes."""

    def __init__(self, fd: int, size: int) -> None:
        os.set_blocking(fd, False)
        self._fd, self._size = fd, size

    @classmethod
    def open(cls, path: str | Path, size: int, write: bool = False) -> "PacketFile":
        """Open a device file. Raises OSError with a sentence that says what to do."""
        try:
            return cls(os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC), size)
        except PermissionError as e:
            raise PermissionError(
                e.errno,
                f"{path}: no permission; add a udev rule for it or join the group that owns it ('ls -l {path}')",
            ) from e
        except FileNotFoundError as e:
            raise FileNotFoundError(
                e.errno, f"{path}: no such device; plug it in and look at 'ls {Path(path).parent}'"
            ) from e

    def fileno(self) -> int:
        return self._fd

    def packets(self) -> list[bytes]:
        """All packets that wait, oldest first. Raises Gone when the device has left."""
        got: list[bytes] = []
        while self._fd >= 0 and select.select([self._fd], [], [], 0.0)[0]:
            try:
                packet = os.read(self._fd, self._size)
            except BlockingIOError:
                break
            except OSError as e:
                if got:
                    return got  # what came before counts first; the next call says that it is gone
                raise Gone(e.errno, "the device has left") from e
            if not packet:
                if got:
                    return got
                raise Gone(0, "the device has left")
            got.append(packet)
        return got

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def find_hidraw(vendors: dict[int, str], sysfs: Path = Path("/sys/class/hidraw")) -> list[tuple[Path, int, int, str]]:
    """(device file, vendor, product, name) of the raw HID devices of these vendors."""
    found = []
    for entry in sorted(sysfs.glob("hidraw*")) if sysfs.is_dir() else []:
        try:
            lines = (entry / "device/uevent").read_text().splitlines()
        except OSError:
            continue
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        _, _, rest = fields.get("HID_ID", "").partition(":")
        vendor_text, _, product_text = rest.partition(":")
        try:
            vendor, product = int(vendor_text, 16), int(product_text, 16)
        except ValueError:
            continue
        if vendor in vendors:
            found.append((Path("/dev") / entry.name, vendor, product, fields.get("HID_NAME", vendors[vendor])))
    return found
