"""`BrowserDevice`: what a page reads (gamepad, keyboard, pointer on a field, SpaceMouse over WebHID, a phone or headset
over WebXR), as a master device.

The page sends, over the console's websocket, 30 to 125 times a second while the device is in use:

    {"kind": "gamepad", "seq": 17, "t_device": 123456789,
     "twist": [x, y, z, rx, ry, rz] or null, "pose": [x, y, z, qx, qy, qz, qw] or null,
     "gripper": rad or null, "buttons": ["deadman"], "connected": true}

(some of these in one `master` message: docs/console.md).
`kind` is one of `KINDS`; twist is -1..1 in the axes of `teleop.master.gamepad` (x right, y away, z up); pose is
WebXR's own (metres, y up,
-z away) and is turned into ours here. The page sends `connected: false` when the device is unplugged, the page is
hidden or loses
the focus; the server calls `page_gone` when the websocket ends. A page can stall, so the guard's silence applies (100
ms), and the
speeds of `hand_loop.BROWSER_SPEED`.
"""

from math import sqrt
from typing import Any, Literal

from teleop.geometry import compose
from teleop.master.device import Capabilities
from teleop.master.sample import MasterSample, sample_from_wire

Kind = Literal["gamepad", "keyboard", "pointer", "spacemouse", "xr"]
KINDS: tuple[str, ...] = ("gamepad", "keyboard", "pointer", "spacemouse", "xr")
#: ours_T_webxr: a quarter turn about x takes y up, -z away to z up, y away.
OURS_T_WEBXR = (0.0, 0.0, 0.0, sqrt(0.5), 0.0, 0.0, sqrt(0.5))


def browser_capabilities(kind: str, name: str | None = None) -> Capabilities:
    """Capabilities of a page's device. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"a page's device is one of {', '.join(KINDS)}, not {kind!r}")
    xr = kind == "xr"
    return Capabilities(name or kind, "pose" if xr else "rate", (True,) * 6, 60.0, orientation=xr, grade="browser")


class BrowserDevice:
    """Fed by the websocket handler (`push`), read by the hand's loop. Newest wins: what was not read in time is
    forgotten."""

    def __init__(self, kind: str, name: str | None = None) -> None:
        self.capabilities = browser_capabilities(kind, name)
        self._waiting: MasterSample | None = None
        self._seq = 0

    def connect(self) -> None:
        """The page connects; nothing to open."""

    def push(self, message: dict[str, Any], now_ns: int) -> MasterSample:
        """Take a message of the page. Raises ValueError naming the wrong field; nothing of such a message is used."""
        body = {k: v for k, v in message.items() if k not in ("t", "kind")}
        s = sample_from_wire({**body, "device": self.capabilities.name}, now_ns)
        if s.pose is not None:
            turned = compose(OURS_T_WEBXR, s.pose)
            s = MasterSample(
                s.device,
                s.seq,
                s.t_device,
                s.t_host,
                pose=turned,
                gripper=s.gripper,
                buttons=s.buttons,
                connected=s.connected,
            )
        if self._waiting is not None and self._waiting.connected is False:
            return s  # a goodbye is not overtaken before it was read
        self._waiting, self._seq = s, s.seq
        return s

    def page_gone(self, now_ns: int, why: str = "the page closed") -> None:
        """The websocket ended, or the page gave the device up: a release."""
        self._waiting = MasterSample(self.capabilities.name, self._seq + 1, None, now_ns, connected=False, note=why)

    def read(self, now_ns: int) -> MasterSample | None:
        s, self._waiting = self._waiting, None
        return s

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return False

    def disconnect(self) -> None:
        """The page stays; its samples are no longer read."""
        self._waiting = None
