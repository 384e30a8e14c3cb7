"""Shared-memory files that killed DDS participants left in /dev/shm: found, and removed only when nobody uses them.

Fast DDS names them fastdds_* (segments, ports, and their lock files ending in _el or _sl) and sem.fastdds_*. A file is
a leftover when it is ours, older than a few seconds, no process maps it, and nobody holds a lock on it or its partner.
"""

import fcntl
import os
import re
import time
from pathlib import Path

SHM = Path("/dev/shm")
#: A participant that is just starting creates its files one after the other; younger ones are left alone.
MIN_AGE_S = 5.0
_NAME = re.compile(r"^(sem\.)?(fastdds_[0-9A-Za-z]+)(_el|_sl|_mutex)?$")


def leftovers(directory: Path = SHM, *, min_age_s: float = MIN_AGE_S, proc: Path = Path("/proc")) -> list[Path]:
    """Files of dead participants. [] where that cannot be known (another user's processes are never ours to judge)."""
    now, uid = time.time(), os.getuid()
    candidates: dict[str, list[Path]] = {}
    busy: set[str] = set()
    for path in sorted(directory.glob("*fastdds_*")):
        match = _NAME.match(path.name)
        if match is None:
            continue
        base = match.group(2)
        try:
            info = path.stat()
        except FileNotFoundError:
            continue
        if info.st_uid != uid or now - info.st_mtime < min_age_s or _locked(path):
            busy.add(base)
        candidates.setdefault(base, []).append(path)
    mapped = _mapped_names(proc)
    return [p for base, paths in candidates.items() if base not in busy
            and not any(p.name in mapped for p in paths) for p in paths]


def clean(directory: Path = SHM, *, min_age_s: float = MIN_AGE_S) -> int:
    """Remove the leftovers; gives how many files went."""
    removed = 0
    for path in leftovers(directory, min_age_s=min_age_s):
        try:
            path.unlink()
            removed += 1
        except OSError:
            pass  # gone already, or another user's: not our matter
    return removed


def _locked(path: Path) -> bool:
    """Does a living process hold a lock on this file? (The kernel drops the locks of dead ones.)"""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def _mapped_names(proc: Path) -> set[str]:
    """Names under /dev/shm that some process of ours maps or holds open."""
    names: set[str] = set()
    for pid in proc.iterdir():
        if not pid.name.isdigit():
            continue
        try:
            for line in (pid / "maps").read_text(errors="replace").splitlines():
                at = line.find("/dev/shm/")
                if at >= 0:
                    names.add(line[at + len("/dev/shm/"):])
        except OSError:
            continue  # ended meanwhile, or not ours: its files are not ours either
    return names
