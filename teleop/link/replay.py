"""Which datagrams count: never one twice (replay window, per path), never an older one after a newer (sieve, per session)."""

from enum import Enum

WINDOW = 1024


class ReplayWindow:
    """Sliding window over the counters of one path (as RFC 6479 / IPsec): every counter is admitted at most once;
    counters more than `size` behind the highest are refused. Call `admit` only after the tag was verified."""

    def __init__(self, size: int = WINDOW) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._bits = 0  # bit i: counter highest - i was seen
        self.highest = 0

    def admit(self, counter: int) -> bool:
        """True the first time a counter inside the window is seen."""
        if counter > self.highest:
            shift = counter - self.highest
            self._bits = ((self._bits << shift) & self._mask if shift < self._size else 0) | 1
            self.highest = counter
            return True
        behind = self.highest - counter
        if counter < 1 or behind >= self._size or self._bits >> behind & 1:
            return False
        self._bits |= 1 << behind
        return True


class Arrival(Enum):
    """What a frame is, once all paths are taken together."""

    NEW = "new"
    COPY = "copy"  # the other path was faster
    LATE = "late"  # a newer frame has been delivered already


class Sieve:
    """First arrival wins, newest wins: over all paths of a session, each frame passes once and only if nothing newer has.

    One sieve per kind of frame. A copy is a counter that passed before; anything else behind the newest is late.
    """

    def __init__(self, size: int = WINDOW) -> None:
        self._passed = ReplayWindow(size)
        self.newest = 0

    def sort(self, counter: int) -> Arrival:
        """Sort one authenticated frame."""
        if counter > self.newest:
            self._passed.admit(counter)
            self.newest = counter
            return Arrival.NEW
        # A late counter is admitted to the window too, so that its second copy is called a copy.
        return Arrival.LATE if self._passed.admit(counter) else Arrival.COPY
