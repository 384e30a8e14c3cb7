"""Scripts that wait without blocking: a generator yields until the thing it waits for has come true.

    def treat(site):
        reply = yield from order(site, {"op": "case.describe"})
        yield from until(lambda: site.state == "ACTIVE", 10.0, "the arm is active")

`Script.resume(now_ns)` runs it on to its next wait; the caller's loop goes on pumping links meanwhile. One thread, no
sleeps, and a wait that takes too long names what it waited for.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Waiting = Generator[None, int, T]


class ScriptTimeout(TimeoutError):
    """A script waited too long; the text says for what."""


class OrderRefused(RuntimeError):
    """An order was refused; `reply` is the site's whole answer."""

    def __init__(self, op: str, reply: dict[str, Any]) -> None:
        super().__init__(f"{op}: {reply.get('reason') or 'refused'}")
        self.op = op
        self.reply = reply


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Waiting[Any]:
    """Wait until `condition()` is true and return its value; raises ScriptTimeout after `timeout_s`."""
    value = condition()
    if value:
        return value
    start = yield
    now = start
    while not (value := condition()):
        if now - start > timeout_s * 1e9:
            raise ScriptTimeout(f"waited {timeout_s:g} s until {what}")
        now = yield
    return value


def pause(seconds: float) -> Waiting[None]:
    """Let `seconds` of the caller's clock go by."""
    start = yield
    now = start
    while now - start < seconds * 1e9:
        now = yield


class Script:
    """Runs one generator; `done` and `error` tell how it ended."""

    def __init__(self, generator: Waiting[Any]) -> None:
        self._generator = generator
        self._started = False
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def resume(self, now_ns: int) -> None:
        """Run on to the next wait."""
        if self.done:
            return
        try:
            if self._started:
                self._generator.send(now_ns)
            else:
                self._started = True
                next(self._generator)
        except StopIteration as end:
            self.done, self.result = True, end.value
        except Exception as error:
            self.done, self.error = True, error

    def abort(self, error: BaseException) -> None:
        """End the script with `error` (its cleanup runs)."""
        self._generator.close()
        self.done, self.error = True, error


class Turnstile:
    """Lets at most `places` scripts at once through the same stretch, in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: list[object] = []

    def enter(self) -> Waiting[None]:
        """Wait for a place; `leave` gives it back."""
        ticket = object()
        self._queue.append(ticket)
        while not (self._free and self._queue[0] is ticket):
            yield
        self._queue.pop(0)
        self._free -= 1

    def leave(self) -> None:
        """Give the place to the next."""
        self._free += 1


def together(*generators: Waiting[Any]) -> Waiting[list[Any]]:
    """Run several scripts side by side; returns their results in order. The first error ends all and is raised."""
    scripts = [Script(g) for g in generators]
    now = yield
    while True:
        for script in scripts:
            script.resume(now)
            if script.error is not None:
                for other in scripts:
                    other.abort(script.error)
                raise script.error
        if all(script.done for script in scripts):
            return [script.result for script in scripts]
        now = yield
