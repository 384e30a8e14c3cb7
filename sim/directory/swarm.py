"""Simulated sites and watchers of the directory, each with a connection of its own, in one asyncio loop."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nats.errors
import nats.js.errors
from nats.js.api import KeyValueConfig, StorageType

from sim.directory.server import BUCKET, STREAM, SUBJECT, KeyedClient
from teleop.directory.record import Presence, RecordError, seal, unseal
from teleop.directory.view import Change, View
from teleop.link.keys import Roles, SecretKeys

CONNECT = {"allow_reconnect": True, "max_reconnect_attempts": -1, "reconnect_time_wait": 0.5, "connect_timeout": 20, "ping_interval": 10}


async def quiet(_: Exception) -> None:
    """Lost connections are what is tested; the client reconnects by itself."""


async def make_bucket(url: str, keeper: SecretKeys, ttl_s: float) -> None:
    """The presence bucket: one newest record per site, gone when its time is over."""
    client = await KeyedClient(keeper).open(url, error_cb=quiet, **CONNECT)
    try:
        js = client.jetstream(timeout=20)
        await js.create_key_value(KeyValueConfig(bucket=BUCKET, history=1, ttl=ttl_s, storage=StorageType.FILE))
    finally:
        await client.close()


@dataclass
class SimSite:
    """Says its presence every `period_s`; `put_ms` keeps how long the server took to store it."""

    keys: SecretKeys
    url: str
    period_s: float
    ttl_s: float
    put_ms: list[float] = field(default_factory=list)
    failed: int = 0
    seq: int = 0
    since: int = 0
    client: KeyedClient | None = None
    task: asyncio.Task[None] | None = None

    async def start(self, wait_s: float = 0.0) -> None:
        await asyncio.sleep(wait_s)
        self.since, self.seq = time.time_ns(), 0
        self.client = await KeyedClient(self.keys).open(self.url, error_cb=quiet, **CONNECT)
        self.task = asyncio.create_task(self._run())

    async def say(self) -> None:
        """One record, acknowledged by the server."""
        assert self.client is not None
        self.seq += 1
        paths = (("192.0.2.1", 7400, 7401, 7402), ("198.51.100.1", 7400, 7401, 7403))
        record = Presence(self.keys.name, self.since, self.seq, self.ttl_s, paths, "free", "0.1.0")
        began = time.perf_counter()
        try:
            await self.client.request(f"{SUBJECT}.{self.keys.name}", seal(record, self.keys), timeout=5)
            self.put_ms.append((time.perf_counter() - began) * 1e3)
        except (nats.errors.Error, OSError):
            self.failed += 1

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            await self.say()
            due = max(due + self.period_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def vanish(self) -> None:
        """Without a goodbye."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await close(self.client)


async def close(client: KeyedClient | None) -> None:
    """Let go of a connection that may be gone already."""
    if client is not None:
        with contextlib.suppress(nats.errors.Error, OSError):
            await client.close()


@dataclass
class Watcher:
    """A console's eyes: verifies every record, keeps a `View`. `log`: (monotonic s, change)."""

    keys: SecretKeys
    url: str
    roles: Roles
    view: View = field(default_factory=View)
    log: list[tuple[float, Change]] = field(default_factory=list)
    refused: int = 0
    records: int = 0
    client: KeyedClient | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        self.client = await KeyedClient(self.keys).open(self.url, error_cb=quiet, **CONNECT)
        self.tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._expire())]

    async def _watch(self) -> None:
        assert self.client is not None
        while True:
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, OSError):
                subscription = await self.client.jetstream(timeout=20).subscribe(f"{SUBJECT}.>", stream=STREAM, ordered_consumer=True)
                reconnects = self.client.stats["reconnects"]
                # The consumer lives in the server's memory: after a restart it is asked for again, and all records come anew.
                while self.client.stats["reconnects"] == reconnects:
                    with contextlib.suppress(nats.errors.TimeoutError):
                        self._take((await subscription.next_msg(timeout=1)).data)
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()
                continue
            await asyncio.sleep(1.0)

    def _take(self, raw: bytes) -> None:
        self.records += 1
        try:
            changes = self.view.take(time.monotonic_ns(), unseal(raw, self.roles))
        except RecordError:
            self.refused += 1
            return
        self.log += [(time.monotonic(), c) for c in changes]

    async def _expire(self) -> None:
        while True:
            self.log += [(time.monotonic(), c) for c in self.view.expire(time.monotonic_ns())]
            await asyncio.sleep(0.5)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await close(self.client)


async def until(what: Callable[[], Any], seconds: float) -> float:
    """Wait for `what`; the seconds it took. Raises TimeoutError."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            raise TimeoutError("it did not happen in time")
        await asyncio.sleep(0.02)
    return time.monotonic() - began
