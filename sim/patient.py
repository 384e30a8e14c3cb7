"""The simulated patient: where the CT frame really is, breathing, the reference frame on the spine, landmarks to touch.

Breathing lifts the back by about 2 mm, sin^4-shaped with a quiet end of expiration (Lujan et al. 1999, Med. Phys.
26:715),
and shifts it a little along the body; patient and reference frame move together, which is why a reference frame is
worn.
A breath-hold settles at end of expiration within a second. A bump shifts the reference frame against the patient, or
the
table against the arm's base. Everything is a function of the seed, of time and of what was asked; no clock in here.
World = arm base frame. SI, time in ns.
"""

import json
from dataclasses import dataclass, field
from math import pi, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.layout import nominal_ct
from teleop.geometry import IDENTITY, Pose, compose, invert, pose_from, quat_rotate, rotvec_to_quat, transform_point

Array = NDArray[np.float64]

BREATH_LIFT = 0.002
BREATH_ALONG = 0.0006
BREATH_PERIOD = 4.0
SETTLE = 1.0
#: How exactly the bedside places a patient: 1 sigma, m and rad.
PLACING_P, PLACING_R = 0.008, 0.03
#: One touch of the probe: RMS of the whole vector, m.
TOUCH_RMS = 0.0003


@dataclass(slots=True)
class Breath:
    """lift: fraction 0..1 of the full excursion now. The hold's start and end are kept as times."""

    since: int
    held_from: int | None = None
    held_lift: float = 0.0

    def lift(self, now: int) -> float:
        if self.held_from is not None:
            t = (now - self.held_from) * 1e-9 / SETTLE
            share = 1.0 if t <= 0.0 else 0.0 if t >= 1.0 else 1.0 - t * t * (3.0 - 2.0 * t)
            return self.held_lift * share
        return sin(pi * ((now - self.since) * 1e-9) / BREATH_PERIOD) ** 4

    def hold(self, on: bool, now: int) -> None:
        if on and self.held_from is None:
            self.held_lift, self.held_from = self.lift(now), now
        elif not on and self.held_from is not None:
            # begin again at end of expiration: no jump if the hold has settled
            self.since, self.held_from = now, None


class UnknownLandmark(KeyError):
    """A touch was asked of a landmark this patient does not have."""


@dataclass(slots=True)
class Patient:
    """world_T_ct at end of expiration, ct_T_ref, landmarks in CT coordinates (m)."""

    seed: int
    world_T_ct: Pose
    ct_T_ref: Pose
    breath: Breath
    landmarks: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    bumps: int = 0
    touches: int = 0

    def ct(self, now: int) -> Pose:
        """True world_T_ct."""
        f = self.breath.lift(now)
        lift = compose((0.0, 0.0, BREATH_LIFT * f, 0.0, 0.0, 0.0, 1.0), self.world_T_ct)
        along = quat_rotate(self.world_T_ct[3:], (0.0, 0.0, -BREATH_ALONG * f))
        return (lift[0] + along[0], lift[1] + along[1], lift[2] + along[2], *lift[3:])

    def reference(self, now: int) -> Pose:
        """True world_T_ref."""
        return compose(self.ct(now), self.ct_T_ref)

    def touch(self, name: str) -> tuple[float, float, float]:
        """The probe's tip on a landmark, in the reference frame, with the noise of a hand and of the tracker. Each
        touch
        draws anew. Patient and reference frame move together, so breathing does not matter."""
        if name not in self.landmarks:
            known = ", ".join(sorted(self.landmarks)) or "none"
            raise UnknownLandmark(f"no landmark {name!r} on this patient; there are: {known}")
        self.touches += 1
        rng = np.random.default_rng([self.seed, 21, self.touches])
        noise = rng.normal(0.0, TOUCH_RMS / 3**0.5, 3)
        p = transform_point(invert(self.ct_T_ref), self.landmarks[name])
        return (p[0] + float(noise[0]), p[1] + float(noise[1]), p[2] + float(noise[2]))

    def bump(self, what: str, size: float) -> None:
        """Something is knocked by `size` m (and size/50 mm rad): "reference" against the patient, or "table" against
        the base.
        """
        self.bumps += 1
        rng = np.random.default_rng([self.seed, 22, self.bumps])
        d, r = rng.normal(size=3), rng.normal(size=3)
        d, r = d / np.linalg.norm(d) * size, r / np.linalg.norm(r) * size / 0.05
        if what == "reference":
            self.ct_T_ref = compose(self.ct_T_ref, pose_from(d, rotvec_to_quat(r)))
        elif what == "table":
            d[2] = 0.0
            turn = pose_from((0.0, 0.0, 0.0), rotvec_to_quat((0.0, 0.0, float(r[2]))))
            moved = compose(self.world_T_ct, turn)
            self.world_T_ct = (moved[0] + float(d[0]), moved[1] + float(d[1]), moved[2], *moved[3:])
        else:
            raise ValueError(f"bump {what!r}: give 'reference' or 'table'")


def lay_patient(seed: int, landmarks_file: Path | None = None, now: int = 0) -> Patient:
    """A patient on the table, placed as exactly as people place patients; landmarks from the phantom's file, if given
    (JSON: {"landmarks": [{"name", "lps_mm"}]}). The reference frame is clamped to a spinous process beside the
    field."""
    rng = np.random.default_rng([seed, 20])
    slip = pose_from(rng.normal(0.0, PLACING_P, 3), rotvec_to_quat(rng.normal(0.0, PLACING_R, 3)))
    clamp = pose_from(np.array([0.0, 0.11, -0.13]) + rng.normal(0.0, 0.005, 3), rotvec_to_quat(rng.normal(0.0, 0.3, 3)))
    landmarks: dict[str, tuple[float, float, float]] = {}
    if landmarks_file is not None:
        for mark in json.loads(landmarks_file.read_text())["landmarks"]:
            x, y, z = mark["lps_mm"]
            landmarks[str(mark["name"])] = (x * 1e-3, y * 1e-3, z * 1e-3)
    return Patient(
        seed=seed,
        world_T_ct=compose(nominal_ct(), slip),
        ct_T_ref=compose(IDENTITY, clamp),
        breath=Breath(since=now),
        landmarks=landmarks,
    )
