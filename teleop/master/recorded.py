"""Recorded hands: a CSV, or a session log, is played back at its recorded times.

A session log (.mcap) is read by `recorded_session`. Of CSV two formats are understood by their header:
- ours: `t_s,x,y,z,qx,qy,qz,qw,buttons[,gripper]` (seconds, metres, master frame; buttons joined by '+');
- the UVA telesurgery console (dV-Trainer to ITP, the packet of RAVEN II): `t_rx_s,seq,...,delx1,...,grasp1,pedal`.
  Its increments are device counts; they are *summed once here* into absolute poses, because a stream of increments
  loses ground with every packet that is lost. The orientation fields of that recording hold counts of -2..2 with qw =
  1, of unstated unit, and are not used: the recorded orientation is constant, and this is said in
  `orientation=False`.
"""

import csv
import gzip
import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import IO

from teleop.geometry import Pose, check_pose
from teleop.master.device import Capabilities
from teleop.master.sample import MasterSample

#: Metres per device count. The recording does not state its unit; ITP increments are micrometres by RAVEN II's
#: convention, which gives hand speeds of p90 3.1, p99 7.1 mm/s: plausible for a peg transfer. Upstream's own plots
#: use 2/2458 of an unstated unit.
UVA_METRES_PER_COUNT = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded reading; t in seconds since the start of the recording."""

    t: float
    pose: Pose
    buttons: frozenset[str]
    gripper: float | None = None


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")


def read_recording(path: str | Path, hand: int = 1, metres_per_count: float = UVA_METRES_PER_COUNT) -> list[Row]:
    """All rows of a recording or a session log, time ascending. `hand` 0 or 1 chooses the hand of a UVA recording.

    Raises FileNotFoundError, or ValueError naming file and line for a header, number or time that cannot be used.
    """
    path = Path(path)
    if path.suffix == ".mcap":
        from teleop.master.recorded_session import read_session

        return read_session(path)
    with _open(path) as f:
        reader = csv.DictReader(f)
        names = set(reader.fieldnames or ())
        if {"t_rx_s", f"delx{hand}", "pedal"} <= names:
            rows = _uva_rows(reader, path, hand, metres_per_count)
        elif {"t_s", "x", "y", "z", "qx", "qy", "qz", "qw", "buttons"} <= names:
            rows = _own_rows(reader, path)
        else:
            raise ValueError(
                f"{path}: the header has neither t_s,x,y,z,qx,qy,qz,qw,buttons nor the UVA columns; found "
                f"{sorted(names)[:12]}"
            )
    if not rows:
        raise ValueError(f"{path}: no rows")
    for i, (a, b) in enumerate(itertools.pairwise(rows)):
        if b.t < a.t:
            raise ValueError(f"{path}, row {i + 2}: time goes back from {a.t} s to {b.t} s")
    return rows


def _own_rows(reader: "csv.DictReader[str]", path: Path) -> list[Row]:
    rows: list[Row] = []
    for r in reader:
        try:
            at = check_pose([float(r[k]) for k in ("x", "y", "z", "qx", "qy", "qz", "qw")])
            gripper = float(r["gripper"]) if r.get("gripper") else None
            rows.append(Row(_time(r["t_s"]), at, frozenset(filter(None, r["buttons"].split("+"))), gripper))
        except (TypeError, ValueError, AttributeError) as e:
            raise ValueError(f"{path}, line {reader.line_num}: {e}") from e
    return rows


def _uva_rows(reader: "csv.DictReader[str]", path: Path, hand: int, metres_per_count: float) -> list[Row]:
    rows: list[Row] = []
    x = y = z = 0
    for r in reader:
        try:
            x, y, z = x + int(r[f"delx{hand}"]), y + int(r[f"dely{hand}"]), z + int(r[f"delz{hand}"])
            at = (x * metres_per_count, y * metres_per_count, z * metres_per_count, 0.0, 0.0, 0.0, 1.0)
            buttons = frozenset({"deadman"}) if r["pedal"] == "1" else frozenset[str]()
            rows.append(Row(_time(r["t_rx_s"]), at, buttons))
        except (TypeError, ValueError, KeyError) as e:
            raise ValueError(f"{path}, line {reader.line_num}: {e}") from e
    return rows


def _time(text: str) -> float:
    t = float(text)
    if not isfinite(t):
        raise ValueError(f"time {text!r} is not finite")
    return t


def write_recording(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows in our own format (gzip when the name ends in .gz); `read_recording` returns the same numbers."""
    path = Path(path)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["t_s", "x", "y", "z", "qx", "qy", "qz", "qw", "buttons", "gripper"])
        for r in rows:
            w.writerow(
                [
                    repr(r.t),
                    *map(repr, r.pose),
                    "+".join(sorted(r.buttons)),
                    "" if r.gripper is None else repr(r.gripper),
                ]
            )


class RecordedDevice:
    """Plays rows at their recorded times: each `read(now)` gives the newest row that is due, or None when nothing new
    is.

    After the last row the device is gone (`connected=False`), which releases the deadman.
    """

    def __init__(
        self, rows: Sequence[Row], orientation: bool = True, t_zero_ns: int | None = None, name: str = "recorded"
    ) -> None:
        if not rows:
            raise ValueError("a recording needs at least one row")
        span = rows[-1].t - rows[0].t
        rate = (len(rows) - 1) / span if span > 0 else 100.0
        self.capabilities = Capabilities(
            name,
            "pose",
            (True, True, True, orientation, orientation, orientation),
            rate,
            orientation=orientation,
            grade="recorded",
        )
        self._rows, self._times = list(rows), [r.t - rows[0].t for r in rows]
        self._zero, self._seq = t_zero_ns, -1

    def connect(self) -> None:
        """Nothing to open: the rows are in memory."""

    def read(self, now_ns: int) -> MasterSample | None:
        if self._zero is None:
            self._zero = now_ns
        t = (now_ns - self._zero) * 1e-9
        i = bisect_right(self._times, t + 1e-12) - 1
        if (i <= self._seq and i < len(self._rows) - 1) or i < 0 or self._seq == len(self._rows):
            return None
        if i == self._seq:  # the last row has been given: the hand leaves
            self._seq = len(self._rows)
            return MasterSample(
                self.capabilities.name, self._seq, None, now_ns, connected=False, note="end of the recording"
            )
        self._seq = i
        r = self._rows[i]
        return MasterSample(
            self.capabilities.name, i, int(r.t * 1e9), now_ns, pose=r.pose, gripper=r.gripper, buttons=r.buttons
        )

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        return False

    def disconnect(self) -> None:
        """Nothing to close."""
