"""What SpaceMouse and gamepad have in common: they speak only when something changes.

Between changes the state they last reported still holds, and the operating system says at once when the cable is
pulled. So each
`read` at the device's rate gives the known state again (`note` "unchanged"). Two things end that trust: the
descriptor says that the
device has gone, or a deflection that the device repeats many times a second by itself is not repeated
(`repeats_within`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from teleop.master.device import Capabilities
from teleop.master.raw_input import Gone, PacketFile
from teleop.master.sample import MasterSample


@dataclass(slots=True)
class InputState:
    """Deflections -1..1, held buttons, saturated axes, and the first thing that was wrong since the last reading."""

    twist: list[float] = field(default_factory=lambda: [0.0] * 6)
    buttons: set[str] = field(default_factory=set)
    saturated: set[str] = field(default_factory=set)
    wrong: str = ""


class EventDevice:
    """A `MasterDevice` over a PacketFile and a decoder: `decode(packet, state)` changes the state or raises
    ValueError."""

    def __init__(
        self,
        capabilities: Capabilities,
        open_file: Callable[[], PacketFile],
        decode: Callable[[bytes, InputState], None],
        repeats_within_ns: int | None = None,
    ) -> None:
        self.capabilities = capabilities
        self._open, self._decode, self._repeats = open_file, decode, repeats_within_ns
        self._file: PacketFile | None = None
        self._state = InputState()
        self._seq, self._next, self._heard = -1, 0, 0
        self._gone = False
        self.refused = 0  # packets that could not be decoded

    def connect(self) -> None:
        """Raises OSError when it cannot be opened. Whatever is held at this moment counts only after its release."""
        self._file, self._state, self._gone = self._open(), InputState(), False

    def read(self, now_ns: int) -> MasterSample | None:
        if self._file is None:
            return None
        s, changed = self._state, False
        try:
            for packet in self._file.packets():
                changed, self._heard = True, now_ns
                try:
                    self._decode(packet, s)
                except (ValueError, IndexError) as e:
                    # a wrong report is no reason to keep a button pressed
                    self.refused += 1
                    s.buttons.clear()
                    s.twist[:] = [0.0] * 6
                    s.wrong = str(e)
        except Gone as e:
            self.disconnect()
            self._gone = True
            self._seq += 1
            return MasterSample(self.capabilities.name, self._seq, None, now_ns, connected=False, note=str(e))
        if not changed and now_ns < self._next:
            return None
        note = s.wrong or ("" if changed else "unchanged")
        if self._repeats is not None and any(s.twist) and now_ns - self._heard > self._repeats:
            s.twist[:] = [0.0] * 6
            s.buttons.clear()
            note = "it stopped repeating its deflection: taken as let go"
        self._next = now_ns + int(1e9 / self.capabilities.rate_hz)
        self._seq += 1
        s.wrong = ""
        return MasterSample(
            self.capabilities.name,
            self._seq,
            None,
            now_ns,
            twist=tuple(s.twist),
            buttons=frozenset(s.buttons),
            saturated=tuple(sorted(s.saturated)),
            note=note,
        )

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return False

    def disconnect(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
