"""The persisted epoch counter: one file per arm, holding the last epoch that may ever have been issued.

A boot takes a block of epochs and writes the block's end with fsync (file and directory) before the first is used, so
neither kill -9 nor power loss can bring an old token back, and no grant has to wait for a disk. The file also remembers
a fault that somebody on site has to acknowledge after the restart.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096


class EpochFileError(RuntimeError):
    """The state file is unreadable, or the disk refuses to keep it."""


@dataclass(frozen=True, slots=True)
class EpochBlock:
    """Epochs first .. last are this boot's. fault: what a former run left to be acknowledged, or ""."""

    first: int
    last: int
    fault: str


def _write(path: Path, last: int, fault: str) -> None:
    temporary = path.with_suffix(".new")
    try:
        with open(temporary, "w", encoding="utf-8") as f:
            json.dump({"version": 1, "last": last, "fault": fault}, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise EpochFileError(
            f"cannot keep the epoch in {path}: {error}; free space or mend the state directory"
        ) from error


def take_block(path: Path) -> EpochBlock:
    """Reserve the next block. Raises `EpochFileError`: a broken file is never guessed at, since a guess could repeat an
    epoch.
    """
    last, fault = 0, ""
    if path.exists():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            last, fault = held["last"], held["fault"]
            if type(last) is not int or type(fault) is not str or last < 0 or held["version"] != 1:
                raise ValueError("wrong types")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EpochFileError(
                f"{path} is damaged ({error}): restore it or write a `last` above every epoch in the logs"
            ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, last + BLOCK, fault)
    return EpochBlock(last + 1, last + BLOCK, fault)


def keep_fault(path: Path, last: int, fault: str) -> None:
    """Remember (or with "" forget) a fault across the restart. Raises `EpochFileError`."""
    _write(path, last, fault)
