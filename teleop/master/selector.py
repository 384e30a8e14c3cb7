"""Two devices at once: one of them holds, the other waits.

The first device whose deadman goes down becomes the active one and stays so while its deadman is held. A press on
another device meanwhile does nothing, is said, and goes on doing nothing until that device was released: nobody takes
the arm out of a colleague's hand by leaning on a second controller, and letting go of the first never starts motion
by the second.
"""

from collections.abc import Mapping

from teleop.master.guard import Reading


class DeviceSelector:
    """Pure: readings by device name in, the active device's name out."""

    def __init__(self) -> None:
        self.active: str | None = None
        self._must_release: set[str] = set()

    def step(self, readings: Mapping[str, Reading]) -> tuple[str | None, tuple[str, ...]]:
        """The active device (None: nobody holds a deadman; the last one stays shown as such) and what was noticed."""
        held = {name for name, r in readings.items() if r.deadman}
        self._must_release &= held
        events = []
        if self.active not in held:
            fresh = sorted(held - self._must_release)
            self.active = fresh[0] if fresh else None
        for name in sorted(held - {self.active} - self._must_release):
            events.append(f"two devices at once: {name} is ignored until it is released, {self.active} is in use")
            self._must_release.add(name)
        return self.active, tuple(events)
