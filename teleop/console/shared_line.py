"""The console's line shared by its sites: the edge of `teleop.link.budget` for what can wait. Control is charged and never waits."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from teleop.link.budget import IN_HAND, WATCHED, Budget, ask, step, with_site
from teleop.link.planes import Plane

#: How often a waiting transfer asks again (s); a chunk of 128 KiB at 8 Mbit/s takes ten of these.
AGAIN_S = 0.01
#: A command and the state frame that answers it, sealed, on two paths (bytes).
CONTROL_BYTES = 2 * (512 + 1232)


class SharedLine:
    """`mbps`: what the line test measured, for all sites together."""

    def __init__(self, mbps: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        if not mbps > 0.0:
            raise ValueError(f"a line of {mbps} Mbit/s carries nothing: give what check-network measured")
        self.rate = mbps * 125_000.0  # bytes a second
        self._budget = Budget(self.rate)
        self._clock = clock
        self._waiting: Counter[str] = Counter()

    def control(self, site: str) -> None:
        """A command goes (and its answer comes): charged, never refused."""
        self._turn(site, True)
        self._budget, _ = ask(self._budget, site, Plane.STREAM, CONTROL_BYTES)

    def used(self, site: str, size: int, in_hand: bool) -> None:
        """Live pictures came: their ladder has asked already (`teleop.media.allowance`), here they are charged, so that images of
        a case wait for them."""
        self._turn(site, in_hand)
        self._budget, _ = ask(self._budget, site, Plane.STREAM, size)

    def may(self, site: str, plane: Plane, size: int, in_hand: bool) -> bool:
        """May so many bytes go now? Charged if so."""
        self._turn(site, in_hand)
        self._budget, yes = ask(self._budget, site, plane, size)
        return yes

    async def allow(self, site: str, plane: Plane, size: int, in_hand: bool = False) -> None:
        """Return when so many bytes may go."""
        self._waiting[site] += 1
        try:
            while not self.may(site, plane, size, in_hand):
                await asyncio.sleep(AGAIN_S)
        finally:
            self._waiting[site] -= 1

    def _turn(self, site: str, in_hand: bool) -> None:
        self._budget = with_site(self._budget, site, IN_HAND if in_hand else WATCHED)
        self._budget = step(self._budget, self._clock(), frozenset(n for n, k in self._waiting.items() if k))
