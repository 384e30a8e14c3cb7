"""The simulated room's cameras as a `Source` for `teleop.media.studio`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sim.pictures.acoustics import AcousticMap, acoustic_map
from sim.pictures.cameras import RoomCameras, View
from sim.pictures.probe import probe_pose, skin_below
from sim.pictures.ultrasound import Probe, bmode
from teleop.arm.model import ArmModel
from teleop.media.stamp import STRIP
from teleop.media.studio import Picture

#: The probe sweeps this far up and down from the middle of the labelled spine, mm.
SWEEP_MM = 30.0
#: Ultrasound needs the back only: this much around the spine (mm) is turned into tissue maps.
ACROSS_MM, VENTRAL_MM = 75.0, 30.0


class RoomSource:
    """view: asks where everything is (poses and joints, robot stamp). case_dir: CT and labels for the ultrasound; None: none.

    freeze: for tests and drills: a stream named here repeats its last picture ("hung") or stops ("silent").
    """

    def __init__(self, model: ArmModel, view: Callable[[], tuple[View, int]], bones: Path | None, case_dir: Path | None) -> None:
        self._cameras = RoomCameras(model, bones)
        self._view = view
        self._case_dir = case_dir
        self._maps: AcousticMap | None = None
        self._middle = np.zeros(3)
        self._skin = 0.0
        self.freeze: dict[str, str] = {}
        self._last: dict[str, Picture] = {}

    def picture(self, stream: str, width: int, height: int, number: int) -> Picture:
        how = self.freeze.get(stream)
        if how == "silent":
            raise RuntimeError("the camera's cable is out (simulated)")
        last = self._last.get(stream)
        if how == "hung" and last is not None and last.pixels.shape[:2] == (height, width):
            return Picture(last.pixels.copy(), time.monotonic_ns(), last.pose)
        made = self._make(stream, width, height, number)
        if how == "hung":
            self._last[stream] = Picture(made.pixels.copy(), made.captured, made.pose)
        return made

    def _make(self, stream: str, width: int, height: int, number: int) -> Picture:
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        if stream == "ultrasound":
            return self._ultrasound(pixels, number)
        view, stamp = self._view()
        pixels[:-STRIP] = (self._cameras.room if stream == "room" else self._cameras.guide)(view, width, height - STRIP, number)
        return Picture(pixels, stamp)

    def _ultrasound(self, pixels: Any, number: int) -> Picture:
        if self._maps is None:
            self._prepare()
        assert self._maps is not None
        now = time.monotonic_ns()
        pose = probe_pose(now * 1e-9, self._middle, SWEEP_MM, self._skin)
        h, w = pixels.shape[0] - STRIP, pixels.shape[1]
        pixels[:-STRIP] = bmode(self._maps, pose, Probe(width=w, height=h), number)[..., None]
        return Picture(pixels, now, tuple(float(v) for v in pose.ravel()))

    def _prepare(self) -> None:
        from teleop.planning.images import load_ct
        from teleop.planning.levels import load_labels

        if self._case_dir is None or not (self._case_dir / "ct.nii.gz").exists():
            raise RuntimeError("no CT here to make an ultrasound of")
        ct, labels = load_ct(self._case_dir / "ct.nii.gz"), load_labels(self._case_dir / "labels.nii.gz")
        bone = np.argwhere(labels.volume.data > 0)
        low, high = bone.min(axis=0), bone.max(axis=0)
        middle = ct.to_lps(((low + high) / 2)[None])[0]
        spacing = ct.spacing_mm
        low[0] -= ACROSS_MM / spacing[0] / 2
        high[0] += ACROSS_MM / spacing[0] / 2
        high[1] = ct.data.shape[1]
        reach = (SWEEP_MM + 12.0) / spacing[2]
        k = ct.to_ijk(middle[None])[0, 2]
        low[2], high[2] = max(0, int(k - reach)), min(ct.data.shape[2], int(k + reach))
        low = np.maximum(low, 0)
        c, small = ct.crop(low, high), labels.volume.crop(low, high)
        self._middle = np.array([middle[0], 0.0, middle[2]])
        self._skin = skin_below(np.asarray(c.data, dtype=np.int16), c.lps_T_ijk, middle[0], middle[2])
        self._maps = acoustic_map(np.asarray(c.data, dtype=np.int16), np.asarray(small.data, dtype=np.uint8), c.lps_T_ijk)
