"""How far an executed screw lies from the planned one, as the planner assumes it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats

from teleop.planning.plan import PlanError


@dataclass(frozen=True)
class ErrorModel:
    """Normal errors: `lateral_mm` SD per axis of the entry point across the screw, `angle_deg` SD per axis of its direction, `depth_mm` SD along it.

    The default is 0.44 mm per axis (0.76 mm was the published mean deviation of 5G telerobotic screws; a 2-D error of that mean has about 0.6 mm per axis
    including registration; 0.44 mm / 0.5 deg is this stack's own simulated guide with tracker corrections) and is a statement to be
    replaced by the site's numbers.
    """

    lateral_mm: float = 0.44
    angle_deg: float = 0.5
    depth_mm: float = 0.5
    source: str = "default: simulated guide with tracker corrections"

    def __post_init__(self) -> None:
        for name in ("lateral_mm", "angle_deg", "depth_mm"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and 0.0 <= value <= 10.0):
                raise PlanError(f"error model: {name} = {value!r} must be between 0 and 10")

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def samples(self, count: int = 1024) -> np.ndarray:
        """(count, 4) quasi-random errors (Sobol, fixed): lateral 1, lateral 2 (mm), angle 1, angle 2 (rad). The same for everybody, so plans reproduce."""
        unit = _normal_sobol(count)
        return unit * np.array(
            [self.lateral_mm, self.lateral_mm, math.radians(self.angle_deg), math.radians(self.angle_deg)]
        )


@lru_cache(maxsize=4)
def _normal_sobol(count: int) -> np.ndarray:
    points = stats.qmc.Sobol(4, scramble=True, rng=np.random.default_rng(1)).random(count)
    return np.ascontiguousarray(stats.norm.ppf(np.clip(points, 1e-6, 1 - 1e-6)))


def load_error_model(path: str | Path) -> ErrorModel:
    """Read {"lateral_mm":, "angle_deg":, "depth_mm":, "source":} (any subset). Raises PlanError for unknown keys or absurd values."""
    try:
        raw = json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise PlanError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict) or set(raw) - set(ErrorModel.__dataclass_fields__):
        raise PlanError(f"{path}: an error model has the keys {', '.join(ErrorModel.__dataclass_fields__)}")
    return ErrorModel(**raw)
