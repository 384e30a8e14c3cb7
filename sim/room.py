"""One simulated operating room: arm, patient, tracker, and the requests of `world.sock`.

`SimRoom` is driven by its owner (the arm process's loop, or a campaign): `driver` behind `ArmDriver`, `tick(now)`
once per
servo period, `tracker_frame(now)` when one is due. `handle(request, now)` answers the bedside's and the judge's
requests:

    {"t": "touch", "name": landmark}              -> {"ok", "ref_p": (x, y, z) m in the reference frame, "stamp"}
    {"t": "breath_hold", "on": bool}              -> {"ok", "settled_ns": robot time from which the breath is still}
    {"t": "bump", "what": "reference"|"table", "mm": 2.0}
    {"t": "dropout", "seconds": 1.0}              the tracker sees nothing for so long
    {"t": "landmarks"}                            -> {"ok", "names": [...]}
    {"t": "look"}                                 -> {"ok", "stamp", "q", "world_T_tip", "world_T_ct"}: what falls into the
    room's cameras (`sim.cameras`)
    {"t": "truth"}                                -> {"ok", "stamp", "world_T_tip", "world_T_ct", "world_T_ref"}:
    judge only
    {"t": "arm_fault", "stuck"|"freeze": bool, "force": N}   kinematic arm only: injected faults

Poses are (x, y, z, qx, qy, qz, qw) in metres; the world frame is the arm's base frame. An unknown or malformed
request is
answered {"ok": false, "reason"}; it never raises into the servo loop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.kinematic_arm import KinematicArm
from sim.patient import Patient, UnknownLandmark, lay_patient
from sim.tracker import PERIOD_NS, Tracker, TrackerFrame
from teleop.arm.model import ArmModel

#: The patient's bodies follow the breath this often (ns): 2 mm in 4 s is 0.03 mm in 20 ms.
BREATH_STEP_NS = 20_000_000
DRIVERS = ("pybullet", "kinematic")


class SimRoom:
    """See the module."""

    def __init__(
        self,
        model: ArmModel,
        *,
        driver: str = "pybullet",
        seed: int = 1,
        phantom: Path | None = None,
        period_ns: int = 2_000_000,
        now: int = 0,
    ) -> None:
        """`phantom`: the folder `sim.phantom.write` wrote (mesh_m/, landmarks.json), None for simple shapes."""
        if driver not in DRIVERS:
            raise ValueError(f"driver {driver!r} is not simulated here; choose {' or '.join(DRIVERS)}")
        marks = phantom / "landmarks.json" if phantom is not None else None
        if marks is not None and not marks.is_file():
            raise ValueError(f"{marks}: no such file; make the phantom first (longhand phantom --out {phantom})")
        self.patient: Patient = lay_patient(seed, marks, now)
        self.tracker = Tracker(seed)
        self._spine = None
        if driver == "pybullet":
            # PyBullet is 130 MB of library: only who simulates physics pays for it
            from sim.arm import PyBulletArm
            from sim.spine_body import SpineBody

            self.driver: Any = PyBulletArm(model, seed, period_ns=period_ns)
            meshes = phantom / "mesh_m" if phantom is not None else None
            self._spine = SpineBody(self.driver.client, self.patient.ct(now), meshes)
        else:
            self.driver = KinematicArm(model, seed, period_ns=period_ns)
        self._next_breath = now

    def tick(self, now: int, *, moving: bool = True) -> None:
        """Let the patient breathe; with `moving` False (brakes on) the physics need not know."""
        if self._spine is not None and moving and now >= self._next_breath:
            self._next_breath = now + BREATH_STEP_NS
            self._spine.move(self.patient.ct(now))

    def tracker_frame(self, now: int, period_ns: int = PERIOD_NS) -> TrackerFrame | None:
        """The tracker's frame if one is due, at its own rate or a slower one."""
        if not self.tracker.due(now, period_ns):
            return None
        return self.tracker.frame(now, self.driver.tip(), self.patient.reference(now))

    def truth(self, now: int) -> dict[str, Any]:
        """For the final judge of a test or a demo, nobody else."""
        return {
            "ok": True,
            "stamp": now,
            "world_T_tip": list(self.driver.tip()),
            "world_T_ct": list(self.patient.ct(now)),
            "world_T_ref": list(self.patient.reference(now)),
        }

    def handle(self, request: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Answer one request of world.sock."""
        try:
            return self._answer(request, now)
        except UnknownLandmark as unknown:
            return {"ok": False, "reason": str(unknown.args[0])}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "reason": f"malformed {request.get('t')!r}: {error!r}"}

    def _answer(self, request: Mapping[str, Any], now: int) -> dict[str, Any]:
        kind = request["t"]
        if kind == "touch":
            return {"ok": True, "ref_p": list(self.patient.touch(str(request["name"]))), "stamp": now}
        if kind == "breath_hold":
            self.patient.breath.hold(bool(request["on"]), now)
            return {"ok": True, "settled_ns": now + 1_000_000_000}
        if kind == "bump":
            self.patient.bump(str(request["what"]), float(request.get("mm", 2.0)) * 1e-3)
            return {"ok": True}
        if kind == "dropout":
            self.tracker.dropout(now + int(float(request["seconds"]) * 1e9))
            return {"ok": True}
        if kind == "look":
            return {
                "ok": True,
                "stamp": now,
                "q": self.driver._q.tolist(),
                "world_T_tip": list(self.driver.tip()),
                "world_T_ct": list(self.patient.ct(now)),
            }
        if kind == "landmarks":
            return {"ok": True, "names": sorted(self.patient.landmarks)}
        if kind == "truth":
            return self.truth(now)
        if kind == "arm_fault":
            if not isinstance(self.driver, KinematicArm):
                return {"ok": False, "reason": "faults of the arm are injected into the kinematic driver only"}
            self.driver.stuck = bool(request.get("stuck", self.driver.stuck))
            self.driver.freeze = bool(request.get("freeze", self.driver.freeze))
            self.driver.force = float(request.get("force", self.driver.force))
            return {"ok": True}
        return {"ok": False, "reason": f"unknown request {kind!r}"}

    def close(self) -> None:
        self.driver.close()
