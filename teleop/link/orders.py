"""What a console still waits for: orders without an answer, and a stop without an echo. Pure."""

from dataclasses import dataclass, field
from typing import Any

ORDER_REPEAT_NS = 500_000_000
ORDER_TIMEOUT_NS = 10_000_000_000
STOP_UDP_PERIOD_NS = 20_000_000
STOP_TCP_PERIOD_NS = 100_000_000
ORDERS_OPEN_MAX = 256


@dataclass
class _Open:
    order: dict[str, Any]
    asked: int
    deadline: int
    next_try: int


@dataclass
class OrderBook:
    """Orders asked and not yet answered. An order is repeated under the same id, which the site carries out once."""

    newest: int = 0
    _open: dict[int, _Open] = field(default_factory=dict)

    def ask(self, order: dict[str, Any], now_ns: int, timeout_ns: int = ORDER_TIMEOUT_NS) -> int:
        """A new order; returns its id. Raises ValueError when 256 are waiting already."""
        if len(self._open) >= ORDERS_OPEN_MAX:
            raise ValueError(f"{ORDERS_OPEN_MAX} orders are waiting for their answers: the site does not answer")
        self.newest += 1
        self._open[self.newest] = _Open(order, now_ns, now_ns + timeout_ns, now_ns)
        return self.newest

    def answered(self, order: int) -> bool:
        """True if this order was waiting; it waits no longer."""
        return self._open.pop(order, None) is not None

    def due(self, now_ns: int) -> list[tuple[int, dict[str, Any]]]:
        """Orders to send now, oldest first."""
        out = []
        for number, o in self._open.items():
            if now_ns >= o.next_try:
                o.next_try = now_ns + ORDER_REPEAT_NS
                out.append((number, o.order))
        return out

    def resend_all(self, now_ns: int) -> None:
        """A connection has come back: do not wait for the next repetition."""
        for o in self._open.values():
            o.next_try = min(o.next_try, now_ns)

    def lost(self, now_ns: int) -> list[int]:
        """Orders whose time is over; they are forgotten."""
        late = [n for n, o in self._open.items() if now_ns >= o.deadline]
        for n in late:
            del self._open[n]
        return late

    def drop_all(self) -> list[int]:
        """The session is gone, and with it the site's memory of ids: forget all, return them."""
        gone = list(self._open)
        self._open.clear()
        return gone


@dataclass
class StopRepeater:
    """A stop is said on everything, again and again, until the echo of the governor comes back."""

    ordinal: int = 0
    echoed: int = 0
    _asked: int = 0
    _next_udp: int = 0
    _next_tcp: int = 0

    def ask(self, now_ns: int) -> int:
        """A new stop; returns its ordinal."""
        self.ordinal += 1
        self._asked = self._next_udp = self._next_tcp = now_ns
        return self.ordinal

    @property
    def pending(self) -> bool:
        """Is a stop still without echo?"""
        return self.ordinal > self.echoed

    def due(self, now_ns: int) -> tuple[bool, bool]:
        """(say it by datagram now, say it by TCP now)."""
        if not self.pending:
            return False, False
        udp, tcp = now_ns >= self._next_udp, now_ns >= self._next_tcp
        if udp:
            self._next_udp = now_ns + STOP_UDP_PERIOD_NS
        if tcp:
            self._next_tcp = now_ns + STOP_TCP_PERIOD_NS
        return udp, tcp

    def echo(self, ordinal: int, now_ns: int) -> int | None:
        """An echo came: ns since the stop was asked for if it settles it, None if it is old or from nowhere."""
        if not self.echoed < ordinal <= self.ordinal:
            return None
        self.echoed = ordinal
        return now_ns - self._asked if not self.pending else None
