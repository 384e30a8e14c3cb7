"""The checks a registration has to pass before anything may move on it. Each gives its number; all are reported, not only the first."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from teleop.planning.registration import Gate, Registration, expected_fre_limit_mm, rigid_fit

MIN_POINTS = 4
MIN_SPREAD_MM = 8.0
"""RMS distance of the touches from their best line: below it the rotation about that line is unknown."""
SCALE_TOLERANCE = 0.03
CHECK_POINT_MM = 1.5
REFERENCE_SHIFT_MM, REFERENCE_TURN_DEG = 0.3, 0.3
MAX_AGE_S = 2 * 3600.0


def point_gates(
    r: Registration,
    touched_m: np.ndarray,
    targets_lps_mm: np.ndarray | None,
    tre95_cap_mm: float,
    check_ct_lps_mm: np.ndarray | None,
    check_touched_m: np.ndarray | None,
    planned_level: str,
    plan_ct_sha256: str,
) -> tuple[Gate, ...]:
    """All gates of a paired-point registration that can be decided from its points."""
    ct, touched = r.ct_lps_mm, touched_m * 1000.0
    n = len(ct)
    gates = [_gate("count", n >= MIN_POINTS, n, MIN_POINTS, f"{n} point pairs, need at least {MIN_POINTS}")]
    centred = ct - ct.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    spread = float(np.sqrt((singular[1] ** 2 + singular[2] ** 2) / n))
    gates.append(
        _gate(
            "collinear",
            spread >= MIN_SPREAD_MM,
            spread,
            MIN_SPREAD_MM,
            f"the touches lie on a line (RMS distance from it {spread:.1f} mm, need {MIN_SPREAD_MM:.0f})",
        )
    )
    other = touched - touched.mean(axis=0)
    size_ct, size_touched = (
        float(np.sqrt((centred**2).sum(axis=1).mean())),
        float(np.sqrt((other**2).sum(axis=1).mean())),
    )
    scale = size_touched / max(size_ct, 1e-9)
    allowed = max(SCALE_TOLERANCE, 3.0 * r.fle_mm / max(size_ct * math.sqrt(n), 1e-9))
    hint = " (millimetres given as metres?)" if scale > 100 or scale < 0.01 else ""
    gates.append(
        _gate(
            "scale",
            abs(scale - 1.0) <= allowed,
            scale,
            1.0 + allowed,
            f"the touched points are {scale:.3g} times as far apart as in the CT{hint}: wrong unit, wrong points or a moved patient",
        )
    )
    det = float(np.linalg.det(r.ref_T_ct[:3, :3]))
    orthogonal = float(np.abs(r.ref_T_ct[:3, :3].T @ r.ref_T_ct[:3, :3] - np.eye(3)).max())
    gates.append(
        _gate("rigid", det > 0.0 and orthogonal < 1e-6, orthogonal, 1e-6, "the transform is not a proper rotation")
    )
    limit = expected_fre_limit_mm(n, r.fle_mm) if n > 2 else 0.0
    gates.append(
        _gate(
            "fre",
            r.fre_mm <= limit,
            r.fre_mm,
            limit,
            f"FRE {r.fre_mm:.2f} mm, noise of {r.fle_mm:.2f} mm explains at most {limit:.2f} (99 %)",
        )
    )
    mirrored = rigid_fit(ct * np.array([-1.0, 1.0, 1.0]), touched)
    mirror_fre = float(
        np.sqrt(
            (
                np.linalg.norm(
                    (ct * np.array([-1.0, 1.0, 1.0])) @ mirrored[:3, :3].T + mirrored[:3, 3] - touched, axis=1
                )
                ** 2
            ).mean()
        )
    )
    flatness = float(singular[2] / math.sqrt(n))
    decided = flatness > 1.5 * r.fle_mm
    gates.append(
        _gate(
            "reflection",
            not (mirror_fre < 0.5 * r.fre_mm and decided),
            mirror_fre,
            0.5 * r.fre_mm,
            f"the mirror image fits better (FRE {mirror_fre:.2f} against {r.fre_mm:.2f} mm): left and right or LPS and RAS are mixed up",
        )
    )
    if n >= 4:
        gates.append(_leave_one_out(ct, touched, r.fle_mm))
        gates.append(_swapped_pair(ct, touched, r.fre_mm, limit))
    if targets_lps_mm is not None and len(np.atleast_2d(targets_lps_mm)):
        worst = float(r.predicted_tre95_mm(targets_lps_mm).max())
        gates.append(
            _gate(
                "tre95",
                worst <= tre95_cap_mm,
                worst,
                tre95_cap_mm,
                f"predicted TRE95 {worst:.2f} mm at the planned line, allowed {tre95_cap_mm:.2f}: touch more points, further apart",
            )
        )
    if check_ct_lps_mm is not None and check_touched_m is not None and len(np.atleast_2d(check_ct_lps_mm)):
        miss = float(
            np.linalg.norm(r.to_ref_m(check_ct_lps_mm) - np.atleast_2d(check_touched_m), axis=1).max() * 1000.0
        )
        gates.append(
            _gate(
                "check_point",
                miss <= CHECK_POINT_MM,
                miss,
                CHECK_POINT_MM,
                f"the held-out check point is {miss:.2f} mm off, allowed {CHECK_POINT_MM}",
            )
        )
    if planned_level and r.level:
        gates.append(
            _gate(
                "level",
                planned_level == r.level,
                0.0,
                0.0,
                f"registered vertebra is {r.level}, the plan is for {planned_level}",
            )
        )
    if plan_ct_sha256 and r.ct_sha256:
        gates.append(
            _gate(
                "ct",
                plan_ct_sha256 == r.ct_sha256,
                0.0,
                0.0,
                f"registered on CT {r.ct_sha256[:12]}, the plan was made on {plan_ct_sha256[:12]}",
            )
        )
    return tuple(gates)


def validity_gates(
    r: Registration, now_ns: int, shift_mm: float = 0.0, turn_deg: float = 0.0, max_age_s: float = MAX_AGE_S
) -> tuple[Gate, ...]:
    """Gates to ask again before each motion: age, and how far the reference frame moved relative to the bone or the table since registration."""
    age = (now_ns - r.stamp_ns) * 1e-9
    return (
        _gate(
            "age",
            0.0 <= age <= max_age_s,
            age,
            max_age_s,
            f"the registration is {age:.0f} s old, allowed {max_age_s:.0f}",
        ),
        _gate(
            "reference_shift",
            shift_mm <= REFERENCE_SHIFT_MM,
            shift_mm,
            REFERENCE_SHIFT_MM,
            f"the reference frame moved {shift_mm:.2f} mm since registration, allowed {REFERENCE_SHIFT_MM}",
        ),
        _gate(
            "reference_turn",
            turn_deg <= REFERENCE_TURN_DEG,
            turn_deg,
            REFERENCE_TURN_DEG,
            f"the reference frame turned {turn_deg:.2f} deg since registration, allowed {REFERENCE_TURN_DEG}",
        ),
    )


def _gate(name: str, ok: bool, value: float, limit: float, text: str) -> Gate:
    return Gate(name, bool(ok), float(value), float(limit), text)


def _leave_one_out(ct: np.ndarray, touched: np.ndarray, fle_mm: float) -> Gate:
    """Fit without each point in turn and predict it: an outlier stands out here long before it does in FRE."""
    from teleop.planning.registration import predicted_tre

    worst, which, limit = 0.0, 0, 1.0
    for i in range(len(ct)):
        keep = np.arange(len(ct)) != i
        fit = rigid_fit(ct[keep], touched[keep])
        miss = float(np.linalg.norm(fit[:3, :3] @ ct[i] + fit[:3, 3] - touched[i]))
        expected = math.sqrt(fle_mm**2 + float(predicted_tre(ct[keep], ct[i][None], fle_mm)[0]) ** 2)
        allowed = (
            2.6 * expected
        )  # 99.5 % of an isotropic 3-D error lies within about 2.1 RMS; anisotropy of the TRE takes the rest
        if miss / allowed > worst / limit:
            worst, which, limit = miss, i, allowed
    return _gate(
        "leave_one_out",
        worst <= limit,
        worst,
        limit,
        f"point {which + 1} is {worst:.2f} mm from where the others put it, allowed {limit:.2f}: touch it again",
    )


def _swapped_pair(ct: np.ndarray, touched: np.ndarray, fre_mm: float, limit_mm: float) -> Gate:
    """If FRE is bad, would exchanging two points make it good? Then two touches were taken in the wrong order."""
    if fre_mm <= limit_mm:
        return _gate("swapped", True, fre_mm, limit_mm, "")
    best, pair = fre_mm, (0, 0)
    for i, j in combinations(range(len(ct)), 2):
        order = np.arange(len(ct))
        order[[i, j]] = order[[j, i]]
        fit = rigid_fit(ct, touched[order])
        fre = float(np.sqrt((np.linalg.norm(ct @ fit[:3, :3].T + fit[:3, 3] - touched[order], axis=1) ** 2).mean()))
        if fre < best:
            best, pair = fre, (i, j)
    swapped = best <= limit_mm
    return _gate(
        "swapped",
        not swapped,
        best,
        limit_mm,
        f"touches {pair[0] + 1} and {pair[1] + 1} look exchanged (FRE falls from {fre_mm:.2f} to {best:.2f} mm)",
    )
