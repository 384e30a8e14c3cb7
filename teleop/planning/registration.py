"""From touched points to ``ref_T_ct``, and whether one may move on it.

Units at this door: CT points are LPS **millimetres**, touched points **metres** in the reference frame ("ref", the tracked frame on the patient).
``ref_T_ct`` is rigid and works in metres: p_ref = ref_T_ct @ (p_lps_mm / 1000).

Fit: Arun/Umeyama (centroids, SVD, determinant fixed). Expected fiducial error: <FRE^2> = (1 - 2/N) <FLE^2>. Expected target error (Fitzpatrick, West,
Maurer 1998): <TRE^2(p)> = <FLE^2>/N (1 + 1/3 sum_k d_k^2/f_k^2), d_k the target's distance from principal axis k of the fiducials, f_k
their RMS distance from it.
FRE says nothing about TRE (their correlation is zero): it gates outliers only. What counts is the predicted TRE95 at entry and tip and an
independent check point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

TRE95_FACTOR = 1.75
"""TRE95 / RMS TRE; 1.7 to 1.8 in Monte-Carlo, depending on how elongated the error is."""


class RegistrationError(ValueError):
    """The points cannot give a registration; the message says which gate refused and with what number."""


@dataclass(frozen=True)
class Gate:
    """One check: its measured value, its limit, and whether it passed."""

    name: str
    ok: bool
    value: float
    limit: float
    text: str


@dataclass(frozen=True)
class Registration:
    """ref_T_ct: 4 x 4, metres. fre_mm: RMS residual. gates: every check made. ok: all passed. fle_mm: assumed RMS localisation error per point (3-D)."""

    ref_T_ct: np.ndarray
    fre_mm: float
    residuals_mm: np.ndarray
    fle_mm: float
    ct_lps_mm: np.ndarray
    gates: tuple[Gate, ...] = ()
    level: str = ""
    ct_sha256: str = ""
    stamp_ns: int = 0
    method: str = "points"
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return all(g.ok for g in self.gates)

    @property
    def refusals(self) -> tuple[str, ...]:
        return tuple(g.text for g in self.gates if not g.ok)

    def require(self) -> Registration:
        """self, or RegistrationError with every refused gate."""
        if not self.ok:
            raise RegistrationError("registration refused: " + "; ".join(self.refusals))
        return self

    def to_ref_m(self, lps_mm: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm -> (N, 3) metres in ref."""
        return np.atleast_2d(lps_mm) / 1000.0 @ self.ref_T_ct[:3, :3].T + self.ref_T_ct[:3, 3]

    def to_ct_mm(self, ref_m: np.ndarray) -> np.ndarray:
        """(N, 3) metres in ref -> (N, 3) LPS mm."""
        return (np.atleast_2d(ref_m) - self.ref_T_ct[:3, 3]) @ self.ref_T_ct[:3, :3] * 1000.0

    def direction_to_ref(self, lps: np.ndarray) -> np.ndarray:
        return np.atleast_2d(lps) @ self.ref_T_ct[:3, :3].T

    def predicted_tre_mm(self, lps_mm: np.ndarray) -> np.ndarray:
        """(N,) RMS target error at CT points, for the stated FLE."""
        return predicted_tre(self.ct_lps_mm, lps_mm, self.fle_mm)

    def predicted_tre95_mm(self, lps_mm: np.ndarray) -> np.ndarray:
        """(N,) the error not exceeded in 95 % of registrations."""
        return TRE95_FACTOR * self.predicted_tre_mm(lps_mm)


def rigid_fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rigid 4 x 4 with target ~ R source + t (Arun 1987, Umeyama 1991); same unit in and out. source, target: (N, 3)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b)
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    rotation = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = target.mean(axis=0) - rotation @ source.mean(axis=0)
    return result


def predicted_tre(fiducials: np.ndarray, targets: np.ndarray, fle: float) -> np.ndarray:
    """RMS target registration error at each target (Fitzpatrick 1998, eq. 46), in the unit of `fle`. fiducials (N, 3), targets (M, 3) -> (M,)."""
    centred = fiducials - fiducials.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    f = np.array(
        [
            math.sqrt(float((np.linalg.norm(centred - np.outer(centred @ axis, axis), axis=1) ** 2).mean()))
            for axis in axes
        ]
    )
    off = np.atleast_2d(targets) - fiducials.mean(axis=0)
    d2 = np.stack([(np.linalg.norm(off - np.outer(off @ axis, axis), axis=1)) ** 2 for axis in axes], axis=1)
    return fle / math.sqrt(len(fiducials)) * np.sqrt(1.0 + (d2 / np.maximum(f, 1e-9) ** 2).sum(axis=1) / 3.0)


def register_points(
    ct_lps_mm: np.ndarray,
    touched_m: np.ndarray,
    fle_mm: float = 0.5,
    *,
    targets_lps_mm: np.ndarray | None = None,
    tre95_cap_mm: float = 1.5,
    check_ct_lps_mm: np.ndarray | None = None,
    check_touched_m: np.ndarray | None = None,
    level: str = "",
    planned_level: str = "",
    ct_sha256: str = "",
    plan_ct_sha256: str = "",
    stamp_ns: int = 0,
) -> Registration:
    """Paired-point registration with its gates.

    ct_lps_mm: (N, 3) planned points; touched_m: (N, 3) the same points as touched, metres. fle_mm: RMS 3-D localisation error of one touch.
    targets: points (entry, tip) whose predicted TRE95 must stay under `tre95_cap_mm`. check_*: held-out touches, not used in the fit.
    level / planned_level, ct_sha256 / plan_ct_sha256: wrong-vertebra and wrong-image guards, tested when both are given.
    Never raises for a bad registration: look at `.ok`, `.refusals`, or call `.require()`. Raises RegistrationError for input that has no fit at all.
    """
    ct, touched = np.atleast_2d(np.asarray(ct_lps_mm, dtype=float)), np.atleast_2d(np.asarray(touched_m, dtype=float))
    if ct.shape != touched.shape or ct.ndim != 2 or ct.shape[1] != 3:
        raise RegistrationError(f"need the same number of CT and touched points, got {ct.shape} and {touched.shape}")
    if len(ct) < 3:
        raise RegistrationError(
            f"{len(ct)} point pairs; at least 4 are needed (3 fix a rigid motion, the fourth can contradict it)"
        )
    if not np.isfinite(ct).all() or not np.isfinite(touched).all():
        raise RegistrationError("a point is NaN or infinite")
    if not (math.isfinite(fle_mm) and fle_mm > 0.0):
        raise RegistrationError(f"fle_mm must be > 0, got {fle_mm}")
    fit = rigid_fit(ct / 1000.0, touched)
    residuals = np.linalg.norm(ct / 1000.0 @ fit[:3, :3].T + fit[:3, 3] - touched, axis=1) * 1000.0
    fre = float(np.sqrt((residuals**2).mean()))
    from teleop.planning.registration_gates import point_gates

    draft = Registration(fit, fre, residuals, fle_mm, ct, (), level, ct_sha256, stamp_ns)
    gates = point_gates(
        draft, touched, targets_lps_mm, tre95_cap_mm, check_ct_lps_mm, check_touched_m, planned_level, plan_ct_sha256
    )
    return Registration(fit, fre, residuals, fle_mm, ct, gates, level, ct_sha256, stamp_ns)


def expected_fre_limit_mm(count: int, fle_mm: float, probability: float = 0.99) -> float:
    """The FRE (RMS, mm) that pure localisation noise exceeds with probability 1 - p: N FRE^2 / (FLE^2/3) ~ chi2 with 3N - 6 degrees of freedom."""
    return float(fle_mm * math.sqrt(stats.chi2.ppf(probability, 3 * count - 6) / (3.0 * count)))
