"""Registration: right transforms, predicted errors that Monte-Carlo confirms, and gates that refuse with their number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sim.phantom import generate, landmarks, surface_points, vertebra_mesh
from teleop.planning.registration import (
    TRE95_FACTOR,
    RegistrationError,
    expected_fre_limit_mm,
    predicted_tre,
    register_points,
    rigid_fit,
)
from teleop.planning.registration_gates import validity_gates
from teleop.planning.surface_registration import refine_on_surface

TARGET = np.array([[5.0, -30.0, 0.0]])


def points(seed=0, n=8):
    return np.random.default_rng(seed).uniform([-40, -10, -25], [40, 20, 25], (n, 3))


def pose(seed=0):
    rng = np.random.default_rng(seed + 100)
    return Rotation.random(rng=rng).as_matrix(), rng.uniform(-1.0, 1.0, 3)


def touch(ct, seed=0, noise_mm=0.0):
    rotation, shift = pose(seed)
    noise = np.random.default_rng(seed + 7).normal(0.0, noise_mm / np.sqrt(3.0), ct.shape) if noise_mm else 0.0
    return (ct + noise) @ rotation.T / 1000.0 + shift


def gates(r):
    return {g.name: g.ok for g in r.gates}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(4, 12))
def test_noiseless_touches_give_back_the_exact_pose(seed, n):
    ct = points(seed, n)
    r = register_points(ct, touch(ct, seed))
    rotation, shift = pose(seed)
    assert np.allclose(r.ref_T_ct[:3, :3], rotation, atol=1e-9) and np.allclose(r.ref_T_ct[:3, 3], shift, atol=1e-9)
    assert np.allclose(r.to_ct_mm(r.to_ref_m(TARGET)), TARGET, atol=1e-9)


def test_predicted_errors_agree_with_monte_carlo():
    ct = points(3, 6)
    errors, fres = [], []
    for k in range(1500):
        noise = np.random.default_rng(k).normal(0.0, 0.5 / np.sqrt(3.0), ct.shape)
        fit = rigid_fit(ct, ct + noise)
        errors.append(np.linalg.norm(TARGET @ fit[:3, :3].T + fit[:3, 3] - TARGET))
        fres.append(np.sqrt((np.linalg.norm(ct @ fit[:3, :3].T + fit[:3, 3] - ct - noise, axis=1) ** 2).mean()))
    errors, fres = np.array(errors), np.array(fres)
    rms = float(np.sqrt((errors**2).mean()))
    assert rms == pytest.approx(float(predicted_tre(ct, TARGET, 0.5)[0]), rel=0.06)
    assert np.percentile(errors, 95) == pytest.approx(TRE95_FACTOR * rms, rel=0.08)
    assert np.sqrt((fres**2).mean()) == pytest.approx(0.5 * np.sqrt(1 - 2 / 6), rel=0.05)
    assert (fres > expected_fre_limit_mm(6, 0.5)).mean() < 0.03
    assert abs(np.corrcoef(fres, errors)[0, 1]) < 0.15  # why FRE is never shown as accuracy


def test_good_noisy_touches_are_rarely_refused():
    refused = sum(
        not register_points(points(k), touch(points(k), k, 0.5), targets_lps_mm=TARGET).ok for k in range(150)
    )
    assert refused <= 6


def test_an_outlier_of_five_millimetres_is_refused_and_named():
    ct = points()
    touched = touch(ct, 0, 0.3)
    touched[3] += [0.005, 0.0, 0.0]
    r = register_points(ct, touched)
    assert not r.ok and not gates(r)["fre"] and not gates(r)["leave_one_out"]
    assert any("point 4 is" in text for text in r.refusals)
    with pytest.raises(RegistrationError, match="point 4"):
        r.require()


def test_a_swapped_pair_is_named():
    ct = points()
    touched = touch(ct, 0, 0.3)
    touched[[1, 5]] = touched[[5, 1]]
    assert any("touches 2 and 6 look exchanged" in text for text in register_points(ct, touched).refusals)


def test_too_few_collinear_and_mirrored_points_are_refused():
    ct = points()
    assert not gates(register_points(ct[:3], touch(ct[:3])))["count"]
    line = np.outer(np.linspace(-40, 40, 6), [1.0, 0.2, 0.1]) + np.random.default_rng(0).normal(0, 0.5, (6, 3))
    assert not gates(register_points(line, touch(line)))["collinear"]
    assert not gates(register_points(ct, touch(ct * [-1, 1, 1])))["reflection"]
    with pytest.raises(RegistrationError, match="at least 4"):
        register_points(ct[:2], touch(ct[:2]))


def test_a_wrong_unit_and_unusable_numbers_are_refused():
    ct = points()
    r = register_points(ct, touch(ct) * 1000.0)
    assert not gates(r)["scale"] and any("millimetres given as metres" in text for text in r.refusals)
    with pytest.raises(RegistrationError, match="NaN"):
        register_points(ct, touch(ct) * np.nan)
    with pytest.raises(RegistrationError, match="same number"):
        register_points(ct, touch(ct)[:-1])


def test_touches_close_together_are_refused_by_their_predicted_error_although_fre_is_small():
    ct = points() * 0.25
    r = register_points(ct, touch(ct, 0, 0.5), 0.5, targets_lps_mm=np.array([[0.0, -70.0, 0.0]]), tre95_cap_mm=1.0)
    assert gates(r)["fre"] and not gates(r)["tre95"]


def test_check_point_level_and_image_guards():
    ct = points()
    touched = touch(ct)
    off = touch(TARGET) + np.array([0.0, 0.0016, 0.0])
    assert not gates(register_points(ct, touched, check_ct_lps_mm=TARGET, check_touched_m=off))["check_point"]
    assert gates(register_points(ct, touched, check_ct_lps_mm=TARGET, check_touched_m=touch(TARGET)))["check_point"]
    assert not gates(register_points(ct, touched, level="L4", planned_level="L3"))["level"]
    assert not gates(register_points(ct, touched, ct_sha256="aa", plan_ct_sha256="bb"))["ct"]


def test_age_and_reference_motion_invalidate():
    r = register_points(points(), touch(points()), stamp_ns=10**9)
    assert all(g.ok for g in validity_gates(r, 2 * 10**9, 0.1, 0.1))
    assert [g.ok for g in validity_gates(r, 10**9 + 3 * 3600 * 10**9, 0.31, 0.4)] == [False, False, False]
    assert not validity_gates(r, 0)[0].ok  # a registration from the future


def test_the_real_bad_registration_is_refused_by_scale_and_fre(data):
    def read(name):
        text = (data / "mesh" / "ismr24_registration" / name).read_text(errors="replace").split("DATA ascii")[1]
        return np.array([[float(x) for x in line.split()[:3]] for line in text.splitlines() if line.strip()])

    r = register_points(read("ct_fiducials.pcd"), read("us_fiducials.pcd") / 1000.0)
    assert r.fre_mm == pytest.approx(10.4, abs=0.1)
    assert not r.ok and not gates(r)["fre"] and not gates(r)["scale"]


@pytest.mark.slow
def test_surface_refinement_improves_a_poor_start_and_refuses_touches_that_can_slide():
    phantom = generate(2, levels=("L3",))
    mesh = vertebra_mesh(phantom, "L3", 1.0, 60_000)
    surface, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    marks = np.array([m.lps_mm for m in landmarks(phantom, "L3")])
    rotation, shift = pose(5)

    def to_ref(p):
        return p @ rotation.T / 1000.0 + shift

    rng = np.random.default_rng(1)
    rough = register_points(marks, to_ref(marks + rng.normal(0, 1.5, marks.shape)), 2.6)
    touched = surface_points(phantom, "L3", 60, rng) + rng.normal(0, 0.2, (60, 3))
    target = phantom["L3"].to_lps(phantom["L3"].pedicles["left"].centre)
    fit = refine_on_surface(rough, to_ref(touched), surface, normals)

    def error(r):
        return float(np.linalg.norm(r.to_ref_m(target) - to_ref(target)) * 1000.0)

    assert fit.rms_mm < 0.5 and error(fit.registration) < 0.6 < error(rough) + 0.3
    flat = touched[(np.abs(touched - touched[0]) < 6.0).all(axis=1)]
    if len(flat) < 6:
        flat = touched[0] + rng.normal(0, 1.0, (10, 3)) * [1.0, 0.02, 1.0]
    assert not refine_on_surface(rough, to_ref(flat), surface, normals).registration.ok
