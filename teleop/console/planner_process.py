"""Planning in a child process: arithmetic of a second must not delay a deadman by a millisecond.

The child is made from a dotted factory ("package.module:function") and keeps opened images in memory. Calls are
made one after the other; `call_newest` drops a waiting call of the same slot when a newer one comes (dragging).
"""

import asyncio
import importlib
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from teleop.console.contracts import ConsoleError

_worker: Any = None


def _start(factory: str, arguments: tuple[Any, ...]) -> None:
    global _worker
    os.nice(5)  # the command stream goes first
    module, name = factory.split(":")
    _worker = getattr(importlib.import_module(module), name)(*arguments)


def _call(method: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, getattr(_worker, method)(*arguments)
    except ConsoleError as error:
        return False, str(error)


class Superseded(Exception):
    """A newer call of the same slot took this one's place."""


class PlannerProcess:
    """Calls into planning. Raises ConsoleError with planning's own words; restarts the child when it died."""

    def __init__(self, factory: str, *arguments: Any) -> None:
        self._factory, self._arguments = factory, arguments
        self._pool: ProcessPoolExecutor | None = None
        self._lock = asyncio.Lock()
        self._newest: dict[str, int] = {}

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), initializer=_start, initargs=(self._factory, self._arguments)
            )
        return self._pool

    async def call(self, method: str, *arguments: Any) -> Any:
        async with self._lock:
            loop = asyncio.get_running_loop()
            try:
                ok, value = await loop.run_in_executor(self._executor(), _call, method, arguments)
            except BrokenProcessPool:
                self._pool = None
                raise ConsoleError(
                    "the planning process died (out of memory?): it is started again, open the images once more"
                ) from None
        if not ok:
            raise ConsoleError(value)
        return value

    async def call_newest(self, slot: str, method: str, *arguments: Any) -> Any:
        """Like `call`, but only the newest waiting call of a slot is made. Raises Superseded for the others."""
        ticket = self._newest.get(slot, 0) + 1
        self._newest[slot] = ticket
        while self._lock.locked():
            async with self._lock:
                pass
            if self._newest[slot] != ticket:
                raise Superseded
        return await self.call(method, *arguments)

    def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            # A plan in the making is not waited for: it is not kept anyway.
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
