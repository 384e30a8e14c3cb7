"""The screws there are to choose from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from teleop.planning.plan import PlanError


@dataclass(frozen=True)
class Catalogue:
    """Diameters and lengths in mm, ascending. tulip_mm: outer diameter of the head, for head-to-head clearance."""

    diameters_mm: tuple[float, ...] = (4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.5)
    lengths_mm: tuple[float, ...] = (25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0)
    tulip_mm: float = 13.0
    name: str = "common polyaxial"

    def __post_init__(self) -> None:
        for name, values, low, high in (
            ("diameters_mm", self.diameters_mm, 1.0, 12.0),
            ("lengths_mm", self.lengths_mm, 10.0, 120.0),
        ):
            if not values or list(values) != sorted(set(values)) or values[0] < low or values[-1] > high:
                raise PlanError(
                    f"catalogue: {name} must be ascending numbers between {low} and {high} mm, got {values}"
                )


def load_catalogue(path: str | Path) -> Catalogue:
    """Read {"diameters_mm": [...], "lengths_mm": [...], "tulip_mm":, "name":}. Raises PlanError."""
    try:
        raw = json.loads(Path(path).read_text())
        return Catalogue(
            tuple(float(d) for d in raw["diameters_mm"]),
            tuple(float(d) for d in raw["lengths_mm"]),
            float(raw.get("tulip_mm", 13.0)),
            str(raw.get("name", Path(path).stem)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{path}: not a screw catalogue ({error})") from error
