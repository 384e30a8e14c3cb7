"""How far the tool was from the nearest forbidden place, by the scene the governor was told and the governor's own geometry.

The status' `margin` is what the speed law used, bounded by the zone; this is the distance itself. Overview only: made from
what is recorded in full. Pure.
"""

from collections.abc import Mapping
from typing import Any

from safety.decode import Refusal
from safety.fixtures import Scene, clearance, scene_from
from safety.inputs import BootIn, OrderIn, ReplyOut, decode_input, decode_outputs
from safety.log.steps import BOOT, SNAPSHOT
from safety.params import ParamError, Params
from safety.snapshot import SnapshotError, decode_situation

SIGNAL = "clearance"


class Keepout:
    """Feed it the governor's rare steps in order; ask for the distance at a pose (base frame, m)."""

    def __init__(self) -> None:
        self._scene: Scene | None = None
        p = Params()
        self._tool = (p.tool_length, p.tool_radius)

    def step(self, kind: str, data: bytes, outputs: bytes) -> bool:
        """One step of the governor: canonical input and outputs. True when the scene may be another now. Never raises: a
        step that cannot be read leaves the scene as it was."""
        try:
            if kind == BOOT:
                boot = decode_input(data)
                if isinstance(boot, BootIn):
                    p = Params.from_dict(boot.params)
                    self._scene, self._tool = None, (p.tool_length, p.tool_radius)
                return True
            if kind == SNAPSHOT:
                self._scene = decode_situation(data).scene
                return True
            if kind != "order" or b"scene" not in data:
                return False
            order = decode_input(data)
            if not isinstance(order, OrderIn) or not _accepted(outputs):
                return False
            if order.order.get("op") == "scene":
                self._scene = scene_from(order.order)
            elif order.order.get("op") == "clear_scene":
                self._scene = None
            return True
        except (Refusal, ParamError, SnapshotError, ValueError, KeyError, TypeError):
            return False

    def of(self, pose: tuple[float, ...]) -> float | None:
        """Distance (m) of the tool at this pose of its tip; None while there is nothing to keep out of."""
        distance, name = clearance(self._scene, pose, *self._tool)
        return distance if name else None

    def of_state(self, state: Mapping[str, Any]) -> float | None:
        """The same for the fields of an ArmState."""
        if self._scene is None:
            return None
        p, o = state["base_t_tip"]["position"], state["base_t_tip"]["orientation"]
        return self.of((p["x"], p["y"], p["z"], o["x"], o["y"], o["z"], o["w"]))


def _accepted(outputs: bytes) -> bool:
    return any(isinstance(o, ReplyOut) and o.ok for o in decode_outputs(outputs))
