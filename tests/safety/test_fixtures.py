"""Corridor and keep-outs: distances, Lipschitz property, clamping that only ever shortens."""

from math import cos, sin, sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safety.decode import Refusal
from safety.fixtures import (
    Corridor,
    KeepOut,
    Scene,
    axis_of,
    clamp_target,
    clearance,
    corridor_distance,
    depth_lateral,
    in_corridor_region,
    keepout_distance,
    scene_from,
    segment_distance,
    tilt_ok,
    tip_of,
    turn,
    zone_of,
)  # fmt: skip

CORRIDOR = Corridor((0.5, 0.0, 0.1), (0.0, 0.0, -1.0), 0.002, 0.2, 0.03, 0.01, 0.05, 0.001)
TABLE = KeepOut("table", "halfspace", (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.0, False)
CANAL = KeepOut("canal", "capsule", (0.48, -0.05, 0.08), (0.48, 0.05, 0.08), 0.008, True)
SCENE = Scene(b"12345678", 1, True, 0.0003, CORRIDOR, (TABLE, CANAL))
DOWN = (1.0, 0.0, 0.0, 0.0)
L, R = 0.1, 0.003

coordinate = st.floats(-0.05, 0.05)
near_entry = st.tuples(coordinate, coordinate, coordinate).map(lambda d: (0.5 + d[0], d[1], 0.1 + d[2]))


def pose(p: tuple[float, float, float], q: tuple[float, ...] = DOWN) -> tuple[float, ...]:
    return (*p, *q)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12))
def test_segment_distance_against_dense_sampling(v: list[float]) -> None:
    p0, p1, q0, q1 = (tuple(v[3 * i : 3 * i + 3]) for i in range(4))
    t = np.linspace(0, 1, 201)
    a = np.array(p0) + t[:, None] * (np.array(p1) - np.array(p0))
    b = np.array(q0) + t[:, None] * (np.array(q1) - np.array(q0))
    sampled = np.min(np.linalg.norm(a[:, None] - b[None], axis=-1))
    exact = segment_distance(p0, p1, q0, q1)  # type: ignore[arg-type]
    assert exact <= sampled + 1e-9
    assert exact >= sampled - 0.02


def test_degenerate_segments_are_points() -> None:
    z, x = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)
    assert segment_distance(z, z, x, x) == 1.0
    assert segment_distance(z, z, x, (1.0, 5.0, 0.0)) == 1.0
    assert segment_distance(x, (1.0, 5.0, 0.0), z, z) == 1.0
    assert segment_distance(z, x, (0.0, 1.0, 0.0), (1.0, 1.0, 0.0)) == 1.0  # parallel


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(a=near_entry, b=near_entry)
def test_every_distance_is_lipschitz_in_the_tip(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    step = sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
    da, db = corridor_distance(CORRIDOR, a), corridor_distance(CORRIDOR, b)  # type: ignore[arg-type]
    assert abs(da - db) <= step + 1e-12
    ca, cb = clearance(SCENE, pose(a), L, R)[0], clearance(SCENE, pose(b), L, R)[0]  # type: ignore[arg-type]
    assert abs(ca - cb) <= step + 1e-12


def test_the_corridor_is_open_along_its_axis_and_closed_beside_it() -> None:
    assert corridor_distance(CORRIDOR, (0.5, 0.0, 0.1)) == pytest.approx(0.002 / sqrt(1.04))
    assert corridor_distance(CORRIDOR, (0.505, 0.0, 0.1)) < 0.0
    assert corridor_distance(CORRIDOR, (0.5, 0.0, 0.088)) < 0.0  # deeper than allowed
    assert corridor_distance(CORRIDOR, (0.6, 0.0, 0.1)) > 0.0  # far off the rule does not apply
    assert corridor_distance(CORRIDOR, (0.504, 0.0, 0.12)) > 0.0  # the cone is wider outside
    assert in_corridor_region(CORRIDOR, (0.52, 0.0, 0.1)) and not in_corridor_region(CORRIDOR, (0.54, 0.0, 0.1))
    assert depth_lateral(CORRIDOR, (0.503, 0.0, 0.09)) == (pytest.approx(0.01), pytest.approx(0.003))


def test_zones() -> None:
    assert zone_of(None, pose((0.5, 0, 0.1)), 1.0, 0.01) == "free"
    assert zone_of(SCENE, pose((0.5, 0.0, 0.0999)), 1.0, 0.01) == "bone"
    assert zone_of(SCENE, pose((0.5, 0.0, 0.12)), 1.0, 0.01) == "near"
    assert zone_of(SCENE, pose((0.5, 0.0, 0.3)), 1.0, 0.01) == "free"
    assert zone_of(SCENE, pose((0.5, 0.0, 0.3)), 0.005, 0.01) == "near"


def test_keepouts_and_two_sigma_where_anatomical() -> None:
    sphere = KeepOut("s", "sphere", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.1, False)
    assert keepout_distance(sphere, (0.3, 0.0, 0.0), (0.3, 0.0, 0.1)) == pytest.approx(0.2)
    assert keepout_distance(TABLE, (0.0, 0.0, 0.4), (0.0, 0.0, 0.2)) == pytest.approx(0.2)
    plain = Scene(b"12345678", 1, True, 0.001, None, (sphere,))
    there = pose((0.3, 0.0, 0.0), (0.0, sin(0.7853981633974483), 0.0, cos(0.7853981633974483)))  # axis +x: back towards
    back = clearance(plain, there, 0.05, 0.003)
    assert back == (pytest.approx(0.25 - 0.1 - 0.003), "s")
    bony = Scene(b"12345678", 1, True, 0.001, None, (KeepOut("s", "sphere", *((0.0, 0.0, 0.0),) * 2, 0.1, True),))
    assert clearance(bony, there, 0.05, 0.003)[0] == pytest.approx(back[0] - 0.002)
    assert clearance(None, there, 0.05, 0.003) == (float("inf"), "")


def test_axis_turn_and_tilt() -> None:
    assert axis_of(pose((0, 0, 0))) == (0.0, 0.0, -1.0)
    assert turn(pose((0, 0, 0)), pose((0, 0, 0))) == 0.0
    small = (cos(0.02), sin(0.02), 0.0, 0.0)  # turned by 0.04 rad about z of the flipped frame
    assert turn(pose((0, 0, 0)), pose((0, 0, 0), small)) == pytest.approx(0.04, rel=1e-3)
    tilted = (cos(0.02), 0.0, 0.0, -sin(0.02))
    assert tilt_ok(CORRIDOR, pose((0, 0, 0)))
    assert tilt_ok(CORRIDOR, pose((0, 0, 0), tilted))
    assert not tilt_ok(CORRIDOR, pose((0, 0, 0), (cos(0.03), 0.0, 0.0, -sin(0.03))))
    assert not tilt_ok(CORRIDOR, pose((0, 0, 0), (0.0, 0.0, 0.0, 1.0)))  # the wrong way round


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(a=near_entry, b=near_entry)
def test_a_clamped_target_is_never_worse_than_the_asked_nor_inside(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    here, asked = pose(a), pose(b)  # type: ignore[arg-type]
    before = clearance(SCENE, here, L, R)[0]
    target, why = clamp_target(SCENE, here, asked, L, R, 0.0002)
    after = clearance(SCENE, target, L, R)[0]
    if target == asked:
        assert after >= 0.0 or after > before or target == here
    else:
        assert why
        assert after >= -1e-9 or target == here or after > before


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(t=st.floats(-0.029, 0.009), r=st.floats(0.0, 0.98), angle=st.floats(0.0, 6.28), b=near_entry)
def test_from_inside_the_corridor_a_target_slides_along_its_wall(
    t: float, r: float, angle: float, b: tuple[float, ...]
) -> None:
    radius = r * (0.002 + 0.2 * max(0.0, -t))
    tip = (0.5 + radius * cos(angle), radius * sin(angle), 0.1 - t)
    assert corridor_distance(CORRIDOR, tip) >= 0.0
    only = Scene(b"12345678", 1, True, 0.0, CORRIDOR, ())
    target, _ = clamp_target(only, pose(tip), pose(b), L, R, 0.0002)  # type: ignore[arg-type]
    assert corridor_distance(CORRIDOR, tip_of(target)) >= -1e-9


def test_inside_the_corridor_a_tilted_target_keeps_the_orientation() -> None:
    here = pose((0.5, 0.0, 0.11))
    target, why = clamp_target(SCENE, here, pose((0.5, 0.0, 0.109), (0.9, 0.0, 0.0, sqrt(1 - 0.81))), L, R, 0.0002)
    assert why == "corridor tilt" and target[3:] == here[3:]


def test_who_stands_too_close_may_go_away_and_nowhere_else() -> None:
    only = Scene(b"12345678", 1, True, 0.0, None, (TABLE,))
    here = pose((0.3, 0.0, 0.001), (0.0, 0.0, 0.0, 1.0))
    closer, away = pose((0.3, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)), pose((0.3, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0))
    assert clamp_target(only, here, closer, 0.0, 0.003, 0.0002) == (here, "table")
    assert clamp_target(only, here, away, 0.0, 0.003, 0.0002) == (away, "")


GOOD = {
    "plan_hash": b"12345678", "registration_epoch": 1, "confirmed": True,
    "corridor": {"entry": [0.5, 0.0, 0.1], "axis": [0.0, 0.0, -1.0], "radius": 0.002},
    "keepouts": [
        {"kind": "sphere", "c": [0, 0, 0], "r": 0.1, "name": "s"},
        {"kind": "capsule", "a": [0, 0, 0], "b": [0, 0, 1], "r": 0.1},
        {"kind": "halfspace", "n": [0, 0, 1], "d": 0.0, "anatomical": False},
    ],
}  # fmt: skip


def test_a_scene_order_is_read_with_defaults() -> None:
    scene = scene_from(GOOD)
    assert scene.corridor == Corridor((0.5, 0.0, 0.1), (0.0, 0.0, -1.0), 0.002, 0.2, 0.03, 0.0, 0.05, 0.001)
    assert [k.kind for k in scene.keepouts] == ["sphere", "capsule", "halfspace"]
    assert scene.sigma_reg == 0.0005


@pytest.mark.parametrize(
    "spoil",
    [
        {"plan_hash": b"short"}, {"registration_epoch": -1}, {"registration_epoch": True}, {"confirmed": 1},
        {"sigma_reg": float("nan")}, {"sigma_reg": 1.0}, {"corridor": 5}, {"corridor": {}},
        {"corridor": {"entry": [0, 0, 0], "axis": [0, 0, 2], "radius": 0.002}},
        {"corridor": {"entry": [0, 0], "axis": [0, 0, 1], "radius": 0.002}},
        {"corridor": {"entry": [0, 0, 0], "axis": [0, 0, 1], "radius": True}}, {"keepouts": 5}, {"keepouts": [5]},
        {"keepouts": [{"kind": "torus"}]}, {"keepouts": [{"kind": "sphere", "c": [0, 0, float("inf")], "r": 1}]},
        {"keepouts": [{"kind": "sphere", "c": [0, 0, 0], "r": -1}]}, {"keepouts": [{"kind": "sphere", "name": 5}]},
        {"keepouts": [GOOD["keepouts"][0]] * 65},
    ],
)  # fmt: skip
def test_a_bad_scene_is_refused_with_its_field(spoil: dict[str, object]) -> None:
    with pytest.raises(Refusal, match="scene"):
        scene_from(GOOD | spoil)


# --- the patient's envelope, opened by the corridor -------------------------------------------------------------------

SKIN = KeepOut("patient", "halfspace", (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.15, True, opened=True)
COVERED = Scene(b"12345678", 1, True, 0.0003, CORRIDOR, (TABLE, SKIN))


def test_under_the_skin_only_the_corridors_cone_is_open() -> None:
    above, in_cone, aside = (0.7, 0.0, 0.2), (0.5, 0.004, 0.12), (0.55, 0.0, 0.14)
    assert clearance(COVERED, pose(above), L, R)[0] == pytest.approx(0.05 - R - 0.0006)
    assert clearance(COVERED, pose(in_cone), L, R)[0] > 0.0
    clear, name = clearance(COVERED, pose(aside), L, R)
    assert clear < 0.0 and name == "patient"
    closed = Scene(b"12345678", 1, True, 0.0003, None, (SKIN,))
    assert clearance(closed, pose(in_cone), L, R)[0] < 0.0  # without a corridor there is no way in


@settings(max_examples=300, deadline=None)
@given(near_entry, st.floats(0.0, 0.01), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_an_opened_envelope_keeps_distances_lipschitz(p: tuple[float, float, float], far: float, way: list[float]) -> None:
    length = sqrt(sum(x * x for x in way)) or 1.0
    q = tuple(a + far * b / length for a, b in zip(p, way, strict=True))
    one, two = (clearance(COVERED, pose(x), L, R)[0] for x in (p, q))  # type: ignore[arg-type]
    assert abs(one - two) <= far + 1e-9


@settings(max_examples=200, deadline=None)
@given(near_entry)
def test_a_hand_above_the_patient_never_gets_a_target_under_the_skin_beside_the_corridor(p: tuple[float, float, float]) -> None:
    target, _ = clamp_target(COVERED, pose((0.5, 0.0, 0.18)), pose(p), L, R, 0.0002)
    assert clearance(COVERED, target, L, R)[0] >= -1e-6


def test_an_opened_keepout_on_the_wire_is_a_boolean() -> None:
    base = {"kind": "halfspace", "n": [0.0, 0.0, 1.0], "d": 0.1, "name": "patient"}
    order = {"plan_hash": b"12345678", "registration_epoch": 1, "confirmed": True}
    assert scene_from(order | {"keepouts": [base | {"opened": True}]}).keepouts[0].opened
    assert not scene_from(order | {"keepouts": [base]}).keepouts[0].opened
    with pytest.raises(Refusal, match="opened"):
        scene_from(order | {"keepouts": [base | {"opened": 1}]})


# --- borders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [("radius", 1e-4, 0.05), ("slope", 0.0, 2.0), ("near", 0.001, 0.2), ("depth", 0.0, 0.2), ("sin_tilt", 0.001, 0.5),
     ("bone_from", 0.0, 0.05)],
)  # fmt: skip
def test_each_number_of_the_corridor_is_taken_up_to_its_borders_and_no_further(field: str, low: float, high: float) -> None:
    base = {"entry": [0.5, 0.0, 0.1], "axis": [0.0, 0.0, -1.0], "radius": 0.002}
    order = {"plan_hash": b"12345678", "registration_epoch": 1, "confirmed": True}
    for value in (low, high):
        corridor = scene_from(order | {"corridor": base | {field: value}}).corridor
        assert getattr(corridor, field) == value
    for value in (low - 0.0005 * high, high * 1.001):
        with pytest.raises(Refusal, match=field):
            scene_from(order | {"corridor": base | {field: value}})


def test_sigma_of_the_registration_has_a_border_too() -> None:
    order = {"plan_hash": b"12345678", "registration_epoch": 1, "confirmed": True}
    assert scene_from(order | {"sigma_reg": 0.01}).sigma_reg == 0.01
    with pytest.raises(Refusal, match="sigma_reg"):
        scene_from(order | {"sigma_reg": 0.011})


def test_a_target_that_is_cut_short_while_turning_keeps_a_unit_quaternion() -> None:
    n = sqrt(0.2 * 0.2 + 0.3 * 0.3 + 0.4 * 0.4 + 0.5 * 0.5)
    turned = tuple(x / n for x in (0.5, 0.4, 0.3, 0.2))
    here = (0.7, 0.0, 0.2, *turned)
    table = Scene(b"12345678", 1, True, 0.0003, None, (KeepOut("table", "halfspace", (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.05, False),))
    target, name = clamp_target(table, here, (0.7, 0.0, -0.3, *DOWN), L, R, 0.0002)
    assert name == "table"
    assert sum(x * x for x in target[3:]) == pytest.approx(1.0, abs=1e-12)
