"""Master devices that misbehave on purpose: a good device behind a fault that begins at a time.

Used by `bench/hand.py` and the tests to see, through the real governor and drive, what each misbehaviour does to the arm.
"""

from dataclasses import dataclass, replace
from math import nan

from teleop.master.device import MasterDevice
from teleop.master.sample import MasterSample

#: name: what the device does from then on.
FAULTS = {
    "nan": "sends poses that are not numbers",
    "frozen": "repeats its last reading under new numbers",
    "silent": "delivers nothing, without a word",
    "unplugged": "says that it is gone",
    "jump": "its pose jumps by 30 mm (a tracker that found another target)",
    "double rate": "delivers twice as many readings a second, under the same motion",
    "clock step": "its own clock goes back by 10 s",
    "saturated": "reports an axis at its end",
    "second device": "a second device's deadman is pressed and moves",
}
#: Faults after which the hand must have let go; in the others it works on.
ENDS_MOTION = frozenset({"nan", "frozen", "silent", "unplugged", "jump"})


@dataclass
class FaultyDevice:
    """`inner` until `at_ns` (console clock), then with the fault for `lasts_ns`."""

    inner: MasterDevice
    fault: str
    at_ns: int
    lasts_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"fault {self.fault!r} is not one of {', '.join(FAULTS)}")
        self.capabilities = self.inner.capabilities
        self._frozen: MasterSample | None = None
        self._extra = 0

    def connect(self) -> None:
        self.inner.connect()

    def read(self, now_ns: int) -> MasterSample | None:
        sample = self.inner.read(now_ns)
        if self.at_ns > now_ns or now_ns >= self.at_ns + self.lasts_ns:
            if sample is not None and self.at_ns > now_ns:
                self._frozen = sample
            return None if sample is None else replace(sample, seq=sample.seq + self._extra)
        match self.fault:
            case "silent":
                return None
            case "unplugged":
                if sample is None:
                    return None
                return replace(sample, seq=sample.seq + self._extra, connected=False, buttons=frozenset())
            case "double rate":
                return self._once_more(sample, now_ns)
        if sample is None or sample.pose is None:
            return sample
        x, y, z, *q = sample.pose
        match self.fault:
            case "nan":
                return replace(sample, pose=(nan, y, z, *q))
            case "frozen" if self._frozen is not None:
                return replace(self._frozen, seq=sample.seq, t_host=sample.t_host)
            case "jump":
                return replace(sample, pose=(x + 0.03, y, z, *q))
            case "clock step":
                return replace(sample, t_device=(sample.t_device or 0) - 10_000_000_000)
            case "saturated":
                return replace(sample, saturated=("x",))
        return sample

    def _once_more(self, sample: MasterSample | None, now_ns: int) -> MasterSample | None:
        """The last reading again half a period later, under a number of its own: as many readings again."""
        if sample is not None:
            self._frozen = replace(sample, seq=sample.seq + self._extra)
            return self._frozen
        last, half = self._frozen, round(5e8 / self.capabilities.rate_hz)
        if last is None or now_ns - last.t_host < half:
            return None
        self._extra += 1
        self._frozen = None
        return replace(last, seq=last.seq + 1, t_device=(last.t_device or 0) + half, t_host=now_ns)

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return self.inner.send_force(wrench)

    def disconnect(self) -> None:
        self.inner.disconnect()
