"""Starts the processes of a plan, passes on what they print, says which died and why, and ends them cleanly.

Nothing is restarted. Each process leads its own session, so that a signal reaches everything it started; each gets
SIGTERM from the kernel when the runner itself is killed. One thread, no polling: pipes and pidfds in one selector.
Call `start` in a thread that lives as long as the children: the kernel's signal goes by thread.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from teleop.launch.environment import child_environ
from teleop.launch.plan import Process

INT_GRACE_S = 6.0
TERM_GRACE_S = 3.0
MAX_LINE_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Started:
    name: str
    pid: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line a process printed, without its newline. stream: "stdout" or "stderr"."""

    name: str
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A process is gone. `code`: exit code, or None when a signal killed it, then `signal` is its name.
    `expected`: we had asked it to end."""

    name: str
    pid: int
    code: int | None
    signal: str | None
    expected: bool

    @property
    def why(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal}"
        return "ended by itself (exit code 0)" if self.code == 0 else f"failed with exit code {self.code}"

    @property
    def clean(self) -> bool:
        """Ended as it should: with 0, or by the very interrupt we sent."""
        return self.code in (0, 130) or (self.expected and self.signal in ("SIGINT", "SIGTERM"))


@dataclass(frozen=True, slots=True)
class Escalated:
    """A process did not end when asked; the next harder signal went out."""

    name: str
    signal: str


Event = Started | Line | Ended | Escalated


@dataclass(slots=True)
class _Child:
    process: Process
    popen: subprocess.Popen[bytes]
    pidfd: int
    partial: dict[str, bytes] = field(default_factory=lambda: {"stdout": b"", "stderr": b""})
    open_streams: int = 2
    ended: Ended | None = None


class Runner:
    """The processes of one plan. `start`, then `poll` until `finished`; `stop` asks everybody to end."""

    def __init__(self, processes: Sequence[Process], environ: Mapping[str, str] | None = None) -> None:
        self._processes = tuple(processes)
        self._environ = dict(os.environ if environ is None else environ)
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()
        self._stage = 0
        self._next_stage_at = 0.0
        self.ended: list[Ended] = []

    def start(self) -> list[Event]:
        """Start everything, in order. On a program that cannot be started: ends the others and raises OSError."""
        events: list[Event] = []
        for process in self._processes:
            try:
                popen = subprocess.Popen(
                    process.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    cwd=process.cwd, env=child_environ(self._environ, process.env),
                    start_new_session=True, preexec_fn=_die_with_parent)
            except OSError as error:
                self.kill()
                raise OSError(f"{process.at}: cannot start {process.name} ({process.argv[0]}): "
                              f"{error.strerror or error}") from None
            child = _Child(process, popen, os.pidfd_open(popen.pid))
            self._children.append(child)
            self._selector.register(child.pidfd, selectors.EVENT_READ, (child, "exit"))
            for stream, pipe in (("stdout", popen.stdout), ("stderr", popen.stderr)):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, (child, stream))
            events.append(Started(process.name, popen.pid, process.argv))
        return events

    def watch(self, fd: int) -> None:
        """Let `poll` also wake when `fd` is readable (a signal's wake-up pipe); reading it is the caller's."""
        self._selector.register(fd, selectors.EVENT_READ, None)

    @property
    def finished(self) -> bool:
        return all(c.ended is not None and c.open_streams == 0 for c in self._children)

    @property
    def stopping(self) -> bool:
        return self._stage > 0

    def alive(self) -> list[str]:
        return [c.process.name for c in self._children if c.ended is None]

    def pid(self, name: str) -> int:
        """Process id of `name`. Raises KeyError."""
        for c in self._children:
            if c.process.name == name:
                return c.popen.pid
        raise KeyError(f"no process {name!r}; there are {', '.join(c.process.name for c in self._children)}")

    def poll(self, timeout_s: float) -> list[Event]:
        """What happened, waiting at most `timeout_s` for the first thing."""
        events: list[Event] = []
        if self.stopping:
            timeout_s = max(0.0, min(timeout_s, self._next_stage_at - time.monotonic()))
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                continue
            child, what = key.data
            events.extend(self._reap(child) if what == "exit" else self._read(child, what))
        if self.stopping and time.monotonic() >= self._next_stage_at and self.alive():
            events.extend(self._escalate())
        return events

    def stop(self) -> None:
        """Ask everybody to end (SIGINT); `poll` goes on to SIGTERM and SIGKILL when that does not help. Idempotent."""
        if not self.stopping:
            self._stage = 1
            self._next_stage_at = time.monotonic() + INT_GRACE_S
            for child in self._children:
                self._signal(child, signal.SIGINT)

    def kill(self) -> None:
        """Kill everything at once and wait for it (start-up failure, second Ctrl-C)."""
        self._stage = 3
        for child in self._children:
            self._signal(child, signal.SIGKILL)
        for child in self._children:
            child.popen.wait()

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send one process (not what it started) a signal. Raises KeyError."""
        os.kill(self.pid(name), number)

    def _escalate(self) -> list[Event]:
        self._stage += 1
        number = signal.SIGTERM if self._stage == 2 else signal.SIGKILL
        self._next_stage_at = time.monotonic() + TERM_GRACE_S
        for child in self._children:
            self._signal(child, number)
        return [Escalated(c.process.name, number.name) for c in self._children if c.ended is None]

    def _signal(self, child: _Child, number: signal.Signals) -> None:
        """To the whole session of the child, also when its leader is gone but something it started is not."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.popen.pid, number)

    def _reap(self, child: _Child) -> list[Event]:
        code = child.popen.wait()
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        name = None if code >= 0 else _signal_name(-code)
        child.ended = Ended(child.process.name, child.popen.pid, code if code >= 0 else None, name, self.stopping)
        self.ended.append(child.ended)
        # What it had started must not outlive it, and would hold the pipes open.
        self._signal(child, signal.SIGKILL if self._stage >= 3 else signal.SIGTERM)
        # Everything it wrote before its end comes first.
        return [*self._read(child, "stdout"), *self._read(child, "stderr"), child.ended]

    def _read(self, child: _Child, stream: str) -> list[Event]:
        """Whole lines that are there now."""
        pipe: IO[bytes] | None = child.popen.stdout if stream == "stdout" else child.popen.stderr
        events: list[Event] = []
        while pipe is not None and not pipe.closed:
            try:
                data = os.read(pipe.fileno(), MAX_LINE_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._selector.unregister(pipe)
                pipe.close()
                child.open_streams -= 1
                if child.partial[stream]:
                    events.append(self._line(child, stream, child.partial[stream]))
                    child.partial[stream] = b""
                break
            *whole, rest = (child.partial[stream] + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                whole, rest = [*whole, rest], b""
            child.partial[stream] = rest
            events.extend(self._line(child, stream, text) for text in whole)
        return events

    @staticmethod
    def _line(child: _Child, stream: str, raw: bytes) -> Line:
        return Line(child.process.name, stream, raw.decode("utf-8", "replace").rstrip("\r"))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _die_with_parent() -> None:
    """In the child, before exec: ask the kernel for SIGTERM when the runner's thread ends (Linux prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
