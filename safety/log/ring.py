"""A bounded queue between whoever must not wait (sockets, topics) and the writer, who may (disk).

`put` never blocks: when the ring is full the message is dropped and counted, and the next `take` reports the loss, so that
the writer can record it as a GAP. Bounded in messages and in bytes; the default holds more than 5 s at full rate.
"""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_ITEMS = 20_000
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One message on its way to the log: as SessionLog.write takes it."""

    topic: str
    msg_type: str
    message: Mapping[str, Any] | bytes
    mono: int
    publish_mono: int | None
    cost: int


@dataclass(slots=True)
class Loss:
    """What was dropped since the last take: count and the stamps (ns) of the first and last."""

    count: int
    from_mono: int
    until_mono: int


class Ring:
    """Any number of threads put, one takes."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._max = (max_items, max_bytes)
        self._losses: dict[str, Loss] = {}
        self._ready = threading.Condition()
        self.dropped = 0

    def put(
        self, topic: str, msg_type: str, message: Mapping[str, Any] | bytes, mono: int, *,
        publish_mono: int | None = None, cost: int = 0,
    ) -> bool:  # fmt: skip
        """Queue one message. cost: bytes it holds (of a dict: its byte fields). False when it was dropped."""
        cost += 256 + (len(message) if isinstance(message, bytes) else 0)
        with self._ready:
            if len(self._items) >= self._max[0] or self._bytes + cost > self._max[1]:
                self.dropped += 1
                loss = self._losses.get(topic)
                if loss is None:
                    self._losses[topic] = Loss(1, mono, mono)
                else:
                    loss.count += 1
                    loss.until_mono = mono
                return False
            self._items.append(Item(topic, msg_type, message, mono, publish_mono, cost))
            self._bytes += cost
            self._ready.notify()
            return True

    def take(self, timeout_s: float, limit: int = 1000) -> tuple[list[Item], dict[str, Loss]]:
        """Up to `limit` messages, oldest first, after waiting at most `timeout_s` for the first; and what was lost."""
        with self._ready:
            if timeout_s > 0 and not self._items and not self._losses:
                self._ready.wait(timeout_s)
            items = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._bytes -= sum(item.cost for item in items)
            losses: dict[str, Loss] = {}
            if len(items) < limit:  # everything older than the losses is out
                losses, self._losses = self._losses, {}
            return items, losses

    @property
    def level(self) -> float:
        """How full, 0..1, by the tighter of the two bounds."""
        return max(len(self._items) / self._max[0], self._bytes / self._max[1])

    @property
    def empty(self) -> bool:
        with self._ready:
            return not self._items and not self._losses
