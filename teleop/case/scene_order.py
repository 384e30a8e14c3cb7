"""The `scene` order: what the governor must know of the plan in the arm's frame, so that it can bound motion near bone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Half width of the corridor at the entry (m): a guide within 0.5 mm of its line never meets it, one that is lost does.
CORRIDOR_RADIUS_M = 0.002
#: The corridor rules within this distance of the axis before the entry (m); tracker corrections happen outside it or in it.
CORRIDOR_NEAR_M = 0.030


def _tuple(v: NDArray[np.float64]) -> list[float]:
    return [float(x) for x in v]


def scene_order(
    *,
    plan_hash: bytes,
    registration_epoch: int,
    confirmed: bool,
    sigma_reg_m: float,
    entry: NDArray[np.float64],
    axis: NDArray[np.float64],
    keepouts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The order for `safety` (docs/orders.md). entry (3,), unit axis (3,): base frame, metres. The guide's opening may
    not pass the entry (depth 0): it guides a screw, it does not enter bone."""
    return {
        "op": "scene",
        "plan_hash": plan_hash,
        "registration_epoch": registration_epoch,
        "confirmed": confirmed,
        "sigma_reg": float(sigma_reg_m),
        "corridor": {
            "entry": _tuple(entry), "axis": _tuple(axis / np.linalg.norm(axis)), "radius": CORRIDOR_RADIUS_M,
            "near": CORRIDOR_NEAR_M, "depth": 0.0,
        },
        "keepouts": keepouts,
    }
