"""The proof behind a no: its ceiling is never under the field, and no pose that anybody finds beats its bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.phantom import generate, render
from teleop.planning import search
from teleop.planning.field import Margins
from teleop.planning.infeasible import ceiling, prove
from teleop.planning.levels import interpret
from teleop.planning.pedicle import best_clearance, problem
from teleop.planning.screws import bounding_boxes, build_anatomy, plan_screws


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), step=st.floats(0.3, 0.8))
def test_the_ceiling_from_eight_nodes_is_never_under_a_field_of_slope_one(seed, step):
    rng = np.random.default_rng(seed)
    walls = rng.uniform(0.0, 6.0 * step, (7, 3))
    nodes = np.stack(np.meshgrid(*[np.arange(7) * step] * 3, indexing="ij"), axis=-1)

    def field(p):
        return np.linalg.norm(p[..., None, :] - walls, axis=-1).min(axis=-1)

    grid = field(nodes).astype(np.float32)
    low = np.zeros(3)
    for p in rng.uniform(0.0, 6.0 * step, (200, 3)):
        top = ceiling(grid, low, step, p[0], p[1], p[2])
        assert field(p) - 1e-4 <= top <= field(p) + step * np.sqrt(3.0) + 1e-4


@pytest.fixture(scope="module")
def narrow():
    phantom = generate(11, levels=("L2",), spread=0.0, pedicle_width_mm=5.6)
    image = render(phantom, 0.8, skin=False, with_structures=False)
    labels = interpret(image.labels)
    return problem(build_anatomy(None, labels, "L2", bounding_boxes(labels), Margins(), None, 0.4), "left")


def test_no_random_pose_beats_the_bound_and_the_search_comes_near_it(narrow):
    found, _, _ = best_clearance(narrow, "L2")
    proof = prove(narrow, 2.0, found)
    assert proof["certified"] and found <= proof["upper_bound_mm"] < 2.0
    rng = np.random.default_rng(0)
    best = max(
        float(narrow.score(np.array([u, w, a, b]), narrow.y_at(0.6))[0])
        for u, w, a, b in rng.uniform([-3, -5, -0.2, -0.3], [3, 5, 0.6, 0.3], (4000, 4))
    )
    assert best <= proof["upper_bound_mm"]
    assert best <= found + 0.1


def test_what_is_wide_enough_is_not_proved_impossible(narrow):
    found, pose, _ = best_clearance(narrow, "L2")
    proof = prove(narrow, found - 0.05, found)
    assert not proof["certified"] and proof["upper_bound_mm"] >= found - 0.05
    assert search.ENTRY_EXCLUDED_MM == 4.0 and len(pose) == 4


def test_branch_and_bound_agrees_with_the_sections_where_both_can_tell(narrow):
    found, _, _ = best_clearance(narrow, "L2")
    for need in (found + 0.35, found + 0.5):
        assert prove(narrow, need, found)["certified"]


def test_a_label_of_a_few_voxels_proves_no_screw_impossible_that_a_finer_one_shows():
    phantom = generate(3, levels=("L2",))
    plans = {}
    for spacing in (0.8, 3.0):
        image = render(phantom, (spacing,) * 3, skin=False, with_structures=False, fine_mm=1.6)
        plans[spacing] = plan_screws(image.ct, interpret(image.labels))
    for side in ("left", "right"):
        assert plans[0.8][f"L2_{side}"].status == "OK"
        coarse = plans[3.0][f"L2_{side}"]
        assert coarse.status == "LOW_CONFIDENCE" and any("a finer CT" in r for r in coarse.reasons), coarse.reasons
