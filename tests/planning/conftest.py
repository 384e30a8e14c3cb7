"""Small simulated patients shared by the planning tests; each is made once per run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim.phantom import Phantom, Rendered, generate, render
from teleop.planning.levels import Labels, interpret
from teleop.planning.plan import Plan
from teleop.planning.screws import plan_screws

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@dataclass(frozen=True)
class Patient:
    phantom: Phantom
    image: Rendered
    labels: Labels
    plan: Plan


def make_patient(
    seed: int,
    levels: tuple[str, ...],
    spacing: float | tuple[float, float, float] = 0.9,
    render_options: dict | None = None,
    **options: object,
) -> Patient:
    phantom = generate(seed, levels=levels, **options)  # type: ignore[arg-type]
    image = render(phantom, spacing, skin=False, with_structures=False, **(render_options or {}))
    labels = interpret(image.labels)
    return Patient(phantom, image, labels, plan_screws(image.ct, labels))


@pytest.fixture(scope="session")
def make() -> Callable[..., Patient]:
    """`make_patient`, for tests."""
    return make_patient


@pytest.fixture(scope="session")
def patient() -> Patient:
    """L3 and L4, population anatomy, 0.9 mm."""
    return make_patient(1, ("L3", "L4"))


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the shared real data are not on this machine")
    return DATA.resolve()
