"""Master devices at the console's own machine: a SpaceMouse on hidraw, a gamepad on evdev, a CRTK arm, any plugin.

    longhand console --device spacemouse --device longhand_ros.crtk_master:console_device:/MTMR

Their readings go straight into the hand of the hospital whose servo a page shows now; the page's press follows the
device's deadman as it follows a SpaceMouse in the page. So a native device is faster and less capped than a page, and no
less watched: without a page that shows the hospital and has the focus nothing moves. Forces are rendered here, at the rate
at which the device is read: from the local model, and where the surgeon chose it of what the guide meets.
"""

import asyncio
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from teleop.console.contracts import ConsoleError
from teleop.master.device import MasterDevice
from teleop.master.gamepad import gamepad
from teleop.master.sample import DEADMAN, MasterSample
from teleop.master.spacemouse import space_mouse

#: How often devices are read, s. A gap of the loop is a gap of readings: the guard knows what to do with those.
PERIOD_S = 0.004
#: A device that is not there is looked for again after so long, s.
RETRY_S = 2.0

BUILT_IN: dict[str, Callable[[], MasterDevice]] = {"spacemouse": space_mouse, "gamepad": gamepad}


def open_device(words: str) -> MasterDevice:
    """The device of a `--device` option: a built-in name or MODULE:FUNCTION[:ARGUMENT] (a plugin).

    Raises ConsoleError saying what is wrong with the words; the device itself is opened later."""
    if words in BUILT_IN:
        return BUILT_IN[words]()
    module, _, rest = words.partition(":")
    function, colon, argument = rest.partition(":")
    if not function:
        known = ", ".join(BUILT_IN)
        raise ConsoleError(f"--device {words}: give one of {known}, or MODULE:FUNCTION[:ARGUMENT] of a plugin")
    try:
        make = getattr(importlib.import_module(module), function)
        device: MasterDevice = make(argument) if colon else make()
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as error:
        raise ConsoleError(f"--device {words}: the plugin does not give a device: {error}") from None
    return device


class NativeHands:
    """Reads the devices and gives what they say to the hand in use."""

    def __init__(self, devices: Sequence[MasterDevice]) -> None:
        self._devices = {f"native {d.capabilities.name}": d for d in devices}
        self._there: dict[str, bool] = dict.fromkeys(self._devices, False)
        self._retry: dict[str, int] = dict.fromkeys(self._devices, 0)
        self._last: dict[str, MasterSample | None] = dict.fromkeys(self._devices, None)
        self._pushed: dict[str, bool] = dict.fromkeys(self._devices, False)
        self._why: dict[str, str] = {}
        self._hands: list[Any] = []

    def attach(self, hands: Sequence[Any]) -> None:
        """The hands (`SiteHand`) of all hospitals; each learns what these devices can do."""
        self._hands = list(hands)
        for hand in self._hands:
            for name, device in self._devices.items():
                hand.announce(name, device.capabilities)

    def step(self, now_ns: int) -> None:
        """One look at every device."""
        hand = next((h for h in self._hands if h.in_use(now_ns)), None)
        for name, device in self._devices.items():
            if not self._there[name]:
                self._connect(name, device, now_ns)
                continue
            sample = device.read(now_ns)
            if sample is not None:
                self._last[name] = sample
                if not sample.connected:
                    self._there[name], self._retry[name] = False, now_ns + int(RETRY_S * 1e9)
                    device.disconnect()
            if hand is not None:
                hand.feed({name: sample}, now_ns)
            if device.capabilities.force:
                self._render(name, device, hand is not None, now_ns)

    def _render(self, name: str, device: MasterDevice, in_use: bool, now_ns: int) -> None:
        """Forces of all hospitals: of the one in use, and of one just left while it is let down. Out of use the last is zero
        and no more is sent: a force, even none, tells some masters to let others push them."""
        each = [hand.force(name, now_ns, self._last[name]) for hand in self._hands]
        wrench = tuple(sum(f) for f in zip(*each, strict=True))
        if self._there[name] and (in_use or any(wrench) or self._pushed[name]):
            device.send_force(wrench)
        self._pushed[name] = any(wrench)

    def show(self) -> list[dict[str, Any]]:
        """For the page: which are there, and whose deadman is down."""
        rows = []
        for name in self._devices:
            last = self._last[name]
            down = self._there[name] and last is not None and last.connected and DEADMAN in last.buttons
            rows.append({"name": name, "there": self._there[name], "deadman": down, "why": self._why.get(name, "")})
        return rows

    async def run(self) -> None:
        """Read until cancelled; then let every device go."""
        try:
            while True:
                self.step(time.monotonic_ns())
                await asyncio.sleep(PERIOD_S)
        finally:
            for device in self._devices.values():
                device.disconnect()

    def _connect(self, name: str, device: MasterDevice, now_ns: int) -> None:
        if now_ns < self._retry[name]:
            return
        self._retry[name] = now_ns + int(RETRY_S * 1e9)
        try:
            device.connect()
        except OSError as error:
            self._why[name] = str(error)
            return
        self._there[name], self._why[name], self._last[name] = True, "", None
