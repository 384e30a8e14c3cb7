"""Real kernel TCP and UDP over an emulated line: two network namespaces joined by TUN devices through a pair of `Channel`s.

Every IP packet of both namespaces passes the model, so TCP loses, retransmits and backs off as it would. netem is not
needed (it is often absent); CAP_SYS_ADMIN, CAP_NET_ADMIN and /dev/net/tun are. `why_not()` says what is missing.

    with TunLine(profile("5g").paths[0], seed=1) as line:
        server = line.popen("site", [sys.executable, "server.py"])       # there the address is SITE
        client = line.popen("console", [sys.executable, "client.py"])    # and here CONSOLE
        while client.poll() is None:
            line.turn(0.01)

The addresses are of the block for documentation (RFC 5737) and exist in the two namespaces only.
"""

import array
import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from sim.network.channel import Channel
from sim.network.profiles import PathProfile

CONSOLE, SITE = "192.0.2.1", "192.0.2.2"
MTU = 1400
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8916, 0x891C, 0x8922
_IFF_UP, _IFF_RUNNING = 0x1, 0x40

#: Runs in the new namespace: makes the device, hands its descriptor over, keeps the namespace alive until stdin ends.
_HOLDER = "import sys; from sim.network.tun import _hold; _hold(int(sys.argv[1]), sys.argv[2])"


def why_not() -> str | None:
    """Why namespaces with TUN devices cannot be had here, or None if they can (tried, not guessed)."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are a Linux thing"
    if not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun is not there (module tun not loaded, or not passed into this container)"
    code = "import sys; from sim.network.tun import _unshare, _open_tun; _unshare(); _open_tun('lhtry')"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        return "not permitted here: " + (tried.stderr.strip().splitlines() or ["unknown reason"])[-1]
    return None


class TunLine:
    """One path, both ways. Raises OSError where `why_not()` has a reason."""

    def __init__(self, line: PathProfile, seed: int) -> None:
        start = time.monotonic_ns()
        self.up, self.down = Channel(line.up, 2 * seed, start), Channel(line.down, 2 * seed + 1, start)
        self._holders: list[subprocess.Popen[bytes]] = []
        self._tuns: list[int] = []
        try:
            for address in (CONSOLE, SITE):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                with ours, theirs:
                    holder = subprocess.Popen(
                        [sys.executable, "-c", _HOLDER, str(theirs.fileno()), address],
                        stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()],
                    )  # fmt: skip
                    self._holders.append(holder)
                    theirs.close()
                    ours.settimeout(20)
                    self._tuns.append(_receive_fd(ours, holder))
            for fd in self._tuns:
                os.set_blocking(fd, False)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TunLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def popen(self, end: str, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process in the namespace of "console" or "site"."""
        holder = self._holders[("console", "site").index(end)]
        namespace = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY)
        try:
            code = "import os, sys; from sim.network.tun import _enter; _enter(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
            return subprocess.Popen([sys.executable, "-c", code, str(namespace), *command], pass_fds=[namespace], **options)
        finally:
            os.close(namespace)

    def turn(self, max_wait_s: float = 0.01) -> None:
        """Wait for packets or for the next arrival, then move what is due."""
        due = [d for d in (self.up.next_due(), self.down.next_due()) if d is not None]
        wait = max_wait_s
        if due:
            wait = min(wait, max(0.0, (min(due) - time.monotonic_ns()) / 1e9))
        ready, _, _ = select.select(self._tuns, [], [], wait)
        for fd in ready:
            channel = self.up if fd == self._tuns[0] else self.down
            for _ in range(64):
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                channel.push(time.monotonic_ns(), packet)
        now = time.monotonic_ns()
        for channel, fd in ((self.up, self._tuns[1]), (self.down, self._tuns[0])):
            for packet in channel.due(now):
                with contextlib.suppress(OSError):  # a packet the kernel will not have (a flipped bit in its header)
                    os.write(fd, packet)

    def close(self) -> None:
        """The namespaces and their devices go with their last process."""
        for fd in self._tuns:
            os.close(fd)
        self._tuns = []
        for holder in self._holders:
            for stream in (holder.stdin, holder.stderr):
                if stream is not None:
                    stream.close()
            holder.wait(20)
        self._holders = []


def _libc_call(name: str, *args: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _unshare() -> None:
    _libc_call("unshare", _CLONE_NEWNET)


def _enter(namespace: int) -> None:
    _libc_call("setns", namespace, _CLONE_NEWNET)
    os.close(namespace)


def _open_tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


def _hold(channel: int, address: str) -> None:
    """The holder's main: make and configure the device, send its descriptor, wait for the end of stdin."""
    _unshare()
    tun = _open_tun("lh0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for name, ip in (("lo", "127.0.0.1"), ("lh0", address)):
            padded = name.encode().ljust(16, b"\0")
            if name == "lh0":
                for request, value in ((_SIOCSIFADDR, ip), (_SIOCSIFNETMASK, "255.255.255.252")):
                    body = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                    fcntl.ioctl(s, request, padded + body)
                fcntl.ioctl(s, _SIOCSIFMTU, padded + struct.pack("i12x", MTU))
            flags = struct.unpack_from("H", fcntl.ioctl(s, _SIOCGIFFLAGS, padded + bytes(16)), 16)[0]
            fcntl.ioctl(s, _SIOCSIFFLAGS, padded + struct.pack("H14x", flags | _IFF_UP | _IFF_RUNNING))
    with socket.socket(fileno=channel) as out:
        out.sendmsg([b"tun"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [tun]))])
    os.close(tun)
    sys.stdin.read()


def _receive_fd(sock: socket.socket, holder: "subprocess.Popen[bytes]") -> int:
    data, fds, _, _ = socket.recv_fds(sock, 16, 1)
    if data != b"tun" or not fds:
        holder.wait(20)
        text = holder.stderr.read().decode(errors="replace").strip().splitlines() if holder.stderr else []
        raise OSError("no network namespace with a TUN device here: " + (text[-1] if text else "unknown reason"))
    return fds[0]
