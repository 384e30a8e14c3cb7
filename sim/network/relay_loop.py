"""The loop under one or several emulated lines: wakes for bytes and for what is due, and touches only the lines concerned.

A line's descriptors change only by its own doing, or when an outage begins or ends; so they are registered once with the
kernel and looked at again after the line was touched, and all of them every 50 ms. (Building the lists of ten lines at every
wake-up cost 42 % of a core for ten hospitals that wait.)
"""

import contextlib
import select
import time
from collections.abc import Callable, Sequence
from typing import Protocol

LOOK_AGAIN_NS = 50_000_000


class Line(Protocol):
    """What the loop needs of a relay."""

    def readers(self) -> dict[int, Callable[[], None]]: ...
    def writers(self) -> dict[int, Callable[[], None]]: ...
    def next_due(self) -> int | None: ...
    def move(self, now: int) -> None: ...


class RelayLoop:
    """See the module. `beat_s` > 0: what comes within so long is handled together, which spares wake-ups where many lines
    share a process and makes each delay longer by up to that."""

    def __init__(self, lines: Sequence[Line], beat_s: float = 0.0) -> None:
        self._lines = list(lines)
        self._beat_s = beat_s
        self._epoll = select.epoll()
        self._watched: list[dict[int, tuple[int, list[Callable[[], None]]]]] = [{} for _ in self._lines]
        self._of: dict[int, int] = {}
        self._due: list[int | None] = [None] * len(self._lines)
        self._look_again = 0

    def turn(self, max_wait_s: float = 0.1) -> None:
        """Wait for bytes or for the next arrival, then move what is due."""
        now = time.monotonic_ns()
        if now >= self._look_again:
            self._look_again = now + LOOK_AGAIN_NS
            for i in range(len(self._lines)):
                self._watch(i)
        due = min((d for d in self._due if d is not None), default=None)
        wait = min(max_wait_s, LOOK_AGAIN_NS * 1e-9)
        if due is not None:
            wait = min(wait, max(0.0, (due - now) / 1e9))
        if self._beat_s:
            time.sleep(self._beat_s)
            wait = max(0.0, wait - self._beat_s)
        # epoll's own time-out has whole milliseconds; select on it has microseconds
        select.select([self._epoll.fileno()], [], [], wait)
        touched = set()
        for fd, events in self._epoll.poll(0):
            line = self._of.get(fd)
            if line is None:
                continue  # closed by a call of this very round
            touched.add(line)
            mask, calls = self._watched[line][fd]
            for flag, call in zip((select.EPOLLIN, select.EPOLLOUT), calls, strict=True):
                if mask & flag and events & (flag | select.EPOLLERR | select.EPOLLHUP):
                    call()
        now = time.monotonic_ns()
        for i, line_ in enumerate(self._lines):
            at = self._due[i]
            if i in touched or (at is not None and at <= now):
                line_.move(now)
                self._watch(i)

    def _watch(self, index: int) -> None:
        """Register what the line wants to hear of now."""
        line, watched = self._lines[index], self._watched[index]
        readers, writers = line.readers(), line.writers()
        for fd in [fd for fd in watched if fd not in readers and fd not in writers]:
            del watched[fd], self._of[fd]
            with contextlib.suppress(OSError):  # a closed descriptor has left the kernel's list by itself
                self._epoll.unregister(fd)
        for fd in {**readers, **writers}:
            mask = (select.EPOLLIN if fd in readers else 0) | (select.EPOLLOUT if fd in writers else 0)
            watched[fd] = (mask, [readers.get(fd, _nothing), writers.get(fd, _nothing)])
            self._of[fd] = index
            self._register(fd, mask)  # also when it looks known: a number may have been closed and given out again
        self._due[index] = line.next_due()

    def _register(self, fd: int, mask: int) -> None:
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def close(self) -> None:
        """The lines stay open; they are their owners'."""
        self._epoll.close()


def _nothing() -> None:
    """For a descriptor that is only read or only written."""
