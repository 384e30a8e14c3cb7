"""Registering the patient: which landmarks to touch, the fit, its gates, and the planned line in the tracker's `ref`."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teleop.case.case_file import CaseFile
from teleop.case.workflow import GateClosed
from teleop.planning.registration import Registration, RegistrationError, register_points

#: Every n-th touch is held out of the fit and used as a check point.
CHECK_EVERY = 5


@dataclass(frozen=True)
class Registered:
    """A registration that passed its gates. ref_T_ct: (4,4), metres. epoch: counts registrations of this case."""

    epoch: int
    registration: Registration
    tre95_mm: float

    @property
    def ref_T_ct(self) -> NDArray[np.float64]:
        return self.registration.ref_T_ct

    def line(
        self, entry_lps_mm: NDArray[np.float64], tip_lps_mm: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(entry (3,), unit axis (3,)) in `ref`, metres, of a line given in CT LPS millimetres."""
        entry, tip = self.registration.to_ref_m(np.stack([entry_lps_mm, tip_lps_mm]))
        axis = tip - entry
        return entry, axis / np.linalg.norm(axis)

    def summary(self) -> dict[str, Any]:
        """For the remote side, the log and the judge: numbers and gates, and the fit itself."""
        return {
            "registration_epoch": self.epoch,
            "fre_mm": self.registration.fre_mm,
            "tre95_mm": self.tre95_mm,
            "points": len(self.registration.residuals_mm),
            "gates": [{"name": g.name, "ok": bool(g.ok), "value": float(g.value), "limit": float(g.limit)} for g in self.registration.gates],
            "per_fiducial": [float(r) for r in self.registration.residuals_mm],
            "ref_T_ct": [float(x) for x in self.registration.ref_T_ct.ravel()],
            "ref_T_ct_sha256": sha256(np.ascontiguousarray(self.registration.ref_T_ct, dtype=">f8").tobytes()).hexdigest(),
        }


def landmarks_for(case: CaseFile, levels: set[str]) -> list[tuple[str, NDArray[np.float64]]]:
    """The landmarks to touch: those of the planned levels (names begin with the level); all when none is named so."""
    chosen = [(name, p) for name, p in case.landmarks if name.split("_")[0] in levels]
    return chosen if len(chosen) >= 4 else list(case.landmarks)


def register_patient(
    case: CaseFile,
    landmarks: list[tuple[str, NDArray[np.float64]]],
    touched_m: NDArray[np.float64],
    targets_lps_mm: NDArray[np.float64],
    epoch: int,
) -> Registered:
    """Fit and check. touched_m: (N,3) in `ref`, metres, in the order of `landmarks`; targets: (M,3) planned entries and tips.

    Raises GateClosed with the number of every gate that refuses.
    """
    points = np.stack([p for _, p in landmarks])
    held = np.zeros(len(points), dtype=bool)
    if len(points) >= 2 * CHECK_EVERY:
        held[CHECK_EVERY - 1 :: CHECK_EVERY] = True
    targets = targets_lps_mm if len(targets_lps_mm) else points.mean(axis=0, keepdims=True)
    try:
        registration = register_points(
            points[~held], touched_m[~held], case.fle_mm, targets_lps_mm=targets,
            check_ct_lps_mm=points[held] if held.any() else None,
            check_touched_m=touched_m[held] if held.any() else None,
        )
    except RegistrationError as error:
        raise GateClosed("registration", (str(error),)) from None
    if not registration.ok:
        raise GateClosed("registration", registration.refusals)
    return Registered(epoch, registration, float(np.max(registration.predicted_tre95_mm(targets))))
