"""The case desk of one hospital: receives the plan, registers the patient, plans paths, corrects by the tracker, verifies.

The desk is not real-time and moves nothing: it stores checked paths with the governor, and the remote surgeon (or the
bedside doctor) permits motion along them. Each order is one method; `handle` finds it by name, checks the workflow's
gate first, logs who asked and what came of it, and answers `{"ok": bool, "reason": str, ...}`; an error never passes in
silence and never takes the desk down.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.lease import StoredPath
from teleop.arm.clearance import Scene
from teleop.case.case_file import CaseFile
from teleop.case.guide import GuideError, base_T_ref_from_view, guide_error, guide_pose_on_line, mean_pose
from teleop.case.paths import PathRefused, SitePaths
from teleop.case.planning_door import CaseImages
from teleop.case.qualifying import judge_line
from teleop.case.registering import Registered, landmarks_for, register_patient
from teleop.case.room import Room, RoomError
from teleop.case.scene_order import scene_order
from teleop.case.stored_plan import PlanRefused, StoredPlan, open_signed_plan
from teleop.case.verifying import Tolerances, regrade
from teleop.case.workflow import CaseState, GateClosed, ScrewStep, Step, complete, retreat, screw_step

#: Points of a path that people see before it moves.
WAY_SAMPLES = 40
#: The guide's opening waits this far before the entry, in free air, for the first tracker correction (m): the first of
#: these that is clear of the patient. The skin lies 50 to 80 mm over a lumbar entry; the field's robots wait 20-30 mm off it.
STAND_OFFS_M = (0.085, 0.100, 0.120)
#: The guide's opening stops this far before the entry point (m): a sleeve of 18 mm that came within 5 mm of it leaned on
#: the facet beside (31 N in the simulator, phantom 3); 0.1 deg over 20 mm costs 0.03 mm at the entry.
GUIDE_STOP_M = 0.020
#: Tracker frames of a measurement and of a verification. 25 frames at 0.1 mm give 0.02 mm; the verification's 50 over
#: at least a second is the rule of the field's robots.
MEASURE_FRAMES = 25
VERIFY_FRAMES = 55


class Desk:
    """One case at one site. `room` is everything the desk can see and ask for; `case` the folder with images."""

    def __init__(
        self, room: Room, case: CaseFile, paths: SitePaths, may_approve: Callable[[str], str | None], *,
        correction: bool = True, demo_qualification: bool = False,
    ) -> None:
        """may_approve: Ed25519 key (hex) -> its owner's name when that key may approve plans here, else None."""
        self.room = room
        self.case = case
        self.images = CaseImages(case)
        self.paths = paths
        self.may_approve = may_approve
        self.correction = correction
        self.demo_qualification = demo_qualification
        self.tolerances = Tolerances()
        self.state = complete(CaseState(case.case_id), Step.IMAGES)
        self.plan: StoredPlan | None = None
        self.registered: Registered | None = None
        self.base_T_ref: NDArray[np.float64] | None = None
        self.stand_off_m = STAND_OFFS_M[0]
        self._orders: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "case.describe": self._describe,
            "case.series": self._series,
            "case.plan": self._plan,
            "case.register": self._register,
            "case.read_back": self._read_back,
            "case.qualify": self._qualify,
            "case.request_control": self._request_control,
            "case.rehearse": self._rehearse,
            "case.rehearse_take_over": self._rehearse_take_over,
            "case.select": self._select,
            "case.path": self._path,
            "case.measure": self._measure,
            "case.correct": self._correct,
            "case.breath_hold": self._breath_hold,
            "case.verify": self._verify,
            "case.confirm": self._confirm,
            "case.place": self._place,
            "case.retreat": self._retreat,
            "case.rearm": self._rearm,
        }

    def handle(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order for `who` (a key or "bedside"); never raises."""
        op = str(order.get("op", ""))
        method = self._orders.get(op)
        if method is None:
            return {"ok": False, "reason": f"unknown order {op!r}; this desk knows {', '.join(self._orders)}"}
        try:
            reply = method(who, order)
        except (GateClosed, RoomError, PathRefused, PlanRefused) as refusal:
            reply = {"ok": False, "reason": str(refusal)}
        except (KeyError, TypeError, ValueError) as error:
            reply = {"ok": False, "reason": f"{op}: bad order: {type(error).__name__}: {error}"}
            traceback.print_exc()
        except Exception as error:  # a fault of ours must not take the desk, and with it the case, down
            reply = {"ok": False, "reason": f"{op}: internal error at the site: {type(error).__name__}: {error}"}
            traceback.print_exc()
        reply.setdefault("ok", True)
        reply.setdefault("reason", "")
        if op not in ("case.describe", "case.series", "case.measure"):
            quiet = {k: v for k, v in reply.items() if not isinstance(v, bytes | list)}
            if op in ("case.register", "case.correct") and reply["ok"]:
                quiet["base_T_ct"] = self._base_T_ct_for_display()  # where a reviewer's page puts the vertebrae
            self.room.log(who, op, quiet)
        return reply

    # --- images and plan -------------------------------------------------------------------------------------------

    def _describe(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        return {
            "case_id": self.case.case_id,
            "series": self.case.series(),
            "done": sorted(self.state.done),
            "plan_hash": self.state.plan_hash,
            "ct_sha256": self.images.ct_sha256,
            "registration_epoch": self.state.registration_epoch,
            "screw": self.state.screw,
            "screw_step": str(self.state.screw_step),
            "placed": list(self.state.placed),
            "landmarks": [name for name, _ in self.case.landmarks],
            "correction": self.correction,
            "lines": self._lines(),
            "registration": self.registered.summary() if self.registered is not None else None,
            "base_T_ct": self._base_T_ct_for_display(),
        }

    def _lines(self) -> dict[str, Any]:
        """The planned screws as a page draws them: id -> entry and tip (CT LPS mm), diameter, length."""
        screws = self.plan.screws if self.plan is not None else {}
        return {
            s.id: {
                "entry_lps_mm": [float(x) for x in s.entry_lps_mm], "tip_lps_mm": [float(x) for x in s.tip_lps_mm],
                "diameter_mm": s.diameter_mm, "length_mm": s.length_mm,
            }
            for s in screws.values()
        }

    def _base_T_ct_for_display(self) -> list[float] | None:
        """base_T_ct (4,4) row by row, metres, as of the newest view of the tracker; None before a registration."""
        if self.base_T_ref is None or self.registered is None:
            return None
        return [float(x) for x in self._patient(self.base_T_ref).ravel()]

    def _series(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        return self.case.chunk(str(order["name"]), int(order["offset"]), int(order["length"]))

    def _plan(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        plan = open_signed_plan(
            bytes(order["plan"]), bytes(order["signature"]), str(order["public_key"]), may_approve=self.may_approve,
            ct_sha256=self.images.ct_sha256, case_id=self.case.case_id,
        )
        state = complete(self.state, Step.APPROVED, plan_hash=plan.digest)
        self.state = complete(state, Step.TRANSFERRED, plan_hash=plan.digest)
        self.plan = plan
        return {"plan_hash": plan.digest, "screws": sorted(plan.screws)}

    # --- registration and time-out ---------------------------------------------------------------------------------

    def _register(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        plan = self._need_plan()
        landmarks = landmarks_for(self.case, plan.levels())
        touched = np.stack([self.room.touch(name) for name, _ in landmarks])
        registered = register_patient(
            self.case, landmarks, touched, plan.targets_lps_mm(), self.state.registration_epoch + 1
        )
        self.state = complete(self.state, Step.REGISTERED, registration_epoch=registered.epoch)
        self.registered = registered
        self.base_T_ref = self._look(MEASURE_FRAMES)[0]
        return registered.summary()

    def _read_back(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        plan = self._need_plan()
        said = {k: order.get(k) for k in ("case_id", "plan_hash", "ct_sha256", "screws")}
        true = {
            "case_id": self.case.case_id,
            "plan_hash": plan.digest,
            "ct_sha256": self.images.ct_sha256,
            "screws": sorted(plan.screws),
        }
        wrong = [f"{k}: remote says {said[k]!r}, site has {true[k]!r}" for k in true if said[k] != true[k]]
        if wrong:
            return {"ok": False, "reason": "time-out: the two sides do not read the same: " + "; ".join(wrong)}
        answer = self.room.ask_bedside(
            "read_back",
            f"Time-out. Case {true['case_id']}; screws {', '.join(plan.screws)}. Do patient, side and level agree?",
            true, 60.0,
        )
        if not answer.get("ok"):
            return {"ok": False, "reason": f"time-out: the bedside says no: {answer.get('why', 'no reason given')}"}
        self.state = complete(self.state, Step.TIME_OUT)
        told = self._tell_scene(next(iter(plan.screws)))
        return told | {"who": answer.get("who", "bedside")}

    def _qualify(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        """Judge the line by the site's own measurements of the last seconds; a DEMO one is no certificate."""
        result = judge_line(self.room.line(float(order.get("seconds", 5.0))), demo=self.demo_qualification)
        reply = self.room.governor({"op": "qualify", "result": result})
        return result | {"ok": bool(reply["ok"] and result["passed"]), "reason": reply["reason"] or result["why"]}

    def _rehearse(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        """Open (with the bedside's consent) or close the rehearsal; opening stores a short path in free air."""
        if not bool(order["on"]):
            return self.room.governor({"op": "rehearse", "on": False})
        answer = self.room.ask_bedside(
            "rehearse", "Rehearsal of stop and take-over: the arm will move slowly in free air.", {}, 60.0
        )
        if not answer.get("ok"):
            return {"ok": False, "reason": f"the bedside does not allow a rehearsal: {answer.get('why', '')}"}
        opened = self.room.governor({"op": "rehearse", "on": True})
        if not opened["ok"]:
            return {"ok": False, "reason": opened["reason"]}
        still = self.room.wait_standstill(5.0)
        return self._store(self.paths.rehearsal(still.q, self._around(self._need_registered())))

    def _rehearse_take_over(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        """The bedside takes the moving arm and gives it back: the second drill."""
        taken = self.room.governor({"op": "take_over"})
        if not taken["ok"]:
            return {"ok": False, "reason": taken["reason"]}
        self.room.wait_standstill(5.0)
        return self.room.governor({"op": "return_local"})

    def _request_control(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        answer = self.room.ask_bedside(
            "grant", f"The remote surgeon asks for control of {self.case.case_id}.", {"key": who}, 60.0
        )
        if not answer.get("ok"):
            return {"ok": False, "reason": f"the bedside does not grant control: {answer.get('why', '')}"}
        return self.room.governor({"op": "grant", "holder": who})

    # --- screws, paths, tracker ------------------------------------------------------------------------------------

    def _select(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        screw = str(order["screw"])
        if screw not in self._need_plan().screws:
            return {"ok": False, "reason": f"no screw {screw!r} in the plan; it has {', '.join(self._need_plan().screws)}"}
        self.state = screw_step(self.state, screw, ScrewStep.SELECTED)
        return self._tell_scene(screw)

    def _path(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        kind = str(order["kind"])
        entry, axis = self._line()
        arm = self.room.wait_standstill(3.0)
        base_T_ref = self._need_registered()
        here = np.linalg.inv(base_T_ref) @ arm.base_T_tip
        if kind == "approach":
            state = screw_step(self.state, self.state.screw, ScrewStep.APPROACH)
            stored = self._approach(arm.q, base_T_ref, entry, axis)
        elif kind == "advance":
            here_at = self.state
            if not self.correction and here_at.screw_step is ScrewStep.APPROACH:
                here_at = screw_step(here_at, here_at.screw, ScrewStep.STAND_OFF)  # nobody measures at this site
            state = screw_step(here_at, here_at.screw, ScrewStep.ADVANCE)
            goal = base_T_ref @ guide_pose_on_line(entry, axis, GUIDE_STOP_M, here)
            stored = self.paths.line(arm.q, goal, self._around(base_T_ref))
        elif kind == "retreat":
            state = self.state
            goal = base_T_ref @ guide_pose_on_line(entry, axis, self.stand_off_m, here)
            stored = self.paths.line(arm.q, goal, self._around(base_T_ref))
        else:
            return {"ok": False, "reason": f"unknown path kind {kind!r}: approach, advance or retreat"}
        reply = self._store(stored)
        if reply["ok"]:
            self.state = state
        return reply

    def _approach(
        self, q: tuple[float, ...], base_T_ref: NDArray[np.float64], entry: NDArray[np.float64], axis: NDArray[np.float64]
    ) -> StoredPath:
        """To the nearest stand-off that is clear of the patient, which is remembered. Raises PathRefused with the last no."""
        where = base_T_ref[:3, :3] @ entry + base_T_ref[:3, 3], base_T_ref[:3, :3] @ axis
        around = self._around(base_T_ref)
        for stand_off_m in STAND_OFFS_M:
            try:
                stored = self.paths.approach(q, *where, stand_off_m, GUIDE_STOP_M, around)
            except PathRefused:
                if stand_off_m == STAND_OFFS_M[-1]:
                    raise
            else:
                self.stand_off_m = stand_off_m
                break
        return stored

    def _measure(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        self.room.wait_standstill(3.0)
        _, error, scatter = self._look(int(order.get("frames", MEASURE_FRAMES)))
        return self._error_fields(error, scatter)

    def _correct(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        """Measure; when the guide is off its line, take this view's map and store a small path onto the line."""
        if not self.correction:
            return {"ok": False, "reason": "tracker corrections are switched off at this site"}
        if self.state.screw_step is ScrewStep.APPROACH:
            self.state = screw_step(self.state, self.state.screw, ScrewStep.STAND_OFF)
        arm = self.room.wait_standstill(3.0)
        base_T_ref, error, scatter = self._look(MEASURE_FRAMES)
        reply = self._error_fields(error, scatter)
        at_stand_off = self.state.screw_step is ScrewStep.STAND_OFF
        keep = self.stand_off_m if at_stand_off else GUIDE_STOP_M
        if self.tolerances.on_line(error, keep, final=not at_stand_off):
            return reply | {"on_line": True}
        self.base_T_ref = base_T_ref
        scene = self._tell_scene(self.state.screw)
        if not scene["ok"]:
            return scene
        entry, axis = self._line()
        here = np.linalg.inv(base_T_ref) @ arm.base_T_tip
        goal = base_T_ref @ guide_pose_on_line(entry, axis, keep, here)
        kind = "goal" if at_stand_off else "advance"
        stored = self.paths.correction(kind, arm.q, goal, self._around(base_T_ref))
        return reply | {"on_line": False} | self._store(stored)

    def _breath_hold(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        self.room.breath_hold(bool(order["on"]))
        return {"on": bool(order["on"])}

    def _verify(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        self.room.wait_standstill(3.0)
        state = screw_step(self.state, self.state.screw, ScrewStep.VERIFIED)
        frames = self.room.tracker_frames(VERIFY_FRAMES, 10.0)
        if len(frames) < 50 or frames[-1].stamp - frames[0].stamp < 1_000_000_000:
            raise RoomError(f"{len(frames)} tracker frames are not the 50 over one second that a verification needs")
        ref_T_tip, scatter = self._guide_in_ref(frames)
        entry, axis = self._line()
        error = guide_error(ref_T_tip, entry, axis)
        screw = self._need_plan().screws[self.state.screw]
        positioned = regrade(self.images, screw, ref_T_tip, self._registration())
        failed = self.tolerances.refusals(error, scatter, screw.length_mm * 1e-3, GUIDE_STOP_M)
        if positioned["grade"] != "A":
            failed.append(f"as positioned the screw would be grade {positioned['grade']}")
        reply = self._error_fields(error, scatter) | positioned | {"frames": len(frames)}
        if failed:
            return reply | {"ok": False, "reason": "verification: " + "; ".join(failed)}
        self.state = state
        return reply

    def _confirm(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        state = screw_step(self.state, self.state.screw, ScrewStep.CONFIRMED)
        answer = self.room.ask_bedside(
            "confirm", f"The guide is verified on {self.state.screw}. Confirm and place the screw?",
            {"screw": self.state.screw}, 120.0,
        )
        if not answer.get("ok"):
            return {"ok": False, "reason": f"the bedside does not confirm: {answer.get('why', '')}"}
        self.state = state
        return {"who": answer.get("who", "bedside")}

    def _place(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        state = screw_step(self.state, self.state.screw, ScrewStep.PLACED)
        answer = self.room.ask_bedside(
            "placed", f"Say when {self.state.screw} is in.", {"screw": self.state.screw}, 600.0
        )
        if not answer.get("ok"):
            return {"ok": False, "reason": f"the screw was not placed: {answer.get('why', '')}"}
        self.state = state
        return {"screw": self.state.screw}

    def _retreat(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        self.state = retreat(self.state)
        return {"screw": self.state.screw, "screw_step": str(self.state.screw_step)}

    def _rearm(self, who: str, order: dict[str, Any]) -> dict[str, Any]:
        answer = self.room.ask_bedside("rearm", str(order.get("why", "The remote surgeon asks to go on.")), {}, 60.0)
        if not answer.get("ok"):
            return {"ok": False, "reason": f"the bedside does not re-arm: {answer.get('why', '')}"}
        return self.room.governor({"op": "rearm"})

    # --- shared parts ----------------------------------------------------------------------------------------------

    def _need_plan(self) -> StoredPlan:
        if self.plan is None:
            raise GateClosed("this order", ("the plan is not at the patient's site",))
        return self.plan

    def _registration(self) -> Registered:
        if self.registered is None:
            raise GateClosed("this order", ("the patient is not registered",))
        return self.registered

    def _need_registered(self) -> NDArray[np.float64]:
        if self.base_T_ref is None:
            raise GateClosed("this order", ("the patient is not registered",))
        return self.base_T_ref

    def _line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(entry, axis) of the selected screw in `ref`, metres."""
        if not self.state.screw:
            raise GateClosed("this order", ("no screw is selected",))
        screw = self._need_plan().screws[self.state.screw]
        return self._registration().line(screw.entry_lps_mm, screw.tip_lps_mm)

    def _guide_in_ref(self, frames: list[Any]) -> tuple[NDArray[np.float64], float]:
        views = [
            np.linalg.inv(f.tracker_T_reference) @ f.tracker_T_guide
            for f in frames
            if f.tracker_T_reference is not None and f.tracker_T_guide is not None
        ]
        return mean_pose(np.stack(views))

    def _look(self, frames: int) -> tuple[NDArray[np.float64], GuideError, float]:
        """This view's base_T_ref, the guide's error against the selected line (zeros without one), scatter (m)."""
        ref_T_tip, scatter = self._guide_in_ref(self.room.tracker_frames(frames, 5.0))
        base_T_ref = base_T_ref_from_view(self.room.arm().base_T_tip, ref_T_tip)
        if not self.state.screw:
            return base_T_ref, GuideError(0.0, 0.0, 0.0), scatter
        entry, axis = self._line()
        return base_T_ref, guide_error(ref_T_tip, entry, axis), scatter

    def _error_fields(self, error: GuideError, scatter: float) -> dict[str, Any]:
        return {
            "lateral_mm": error.lateral_m * 1e3,
            "angle_deg": float(np.degrees(error.angle_rad)),
            "stand_off_mm": error.stand_off_m * 1e3,
            "scatter_mm": scatter * 1e3,
        }

    def _around(self, base_T_ref: NDArray[np.float64]) -> Scene:
        """What the arm must keep clear of, where this map puts it."""
        return self.case.room.scene(self._patient(base_T_ref))

    def _patient(self, base_T_ref: NDArray[np.float64]) -> NDArray[np.float64]:
        """base_T_ct (4,4), metres: where the registered images lie in the arm's frame."""
        return base_T_ref @ self._registration().ref_T_ct

    def _tell_scene(self, screw_id: str) -> dict[str, Any]:
        """Tell the governor the corridor of one screw, where this moment's map puts it in the arm's frame."""
        screw = self._need_plan().screws[screw_id]
        registered = self._registration()
        entry, axis = registered.line(screw.entry_lps_mm, screw.tip_lps_mm)
        base_T_ref = self._need_registered()
        return self.room.governor(scene_order(
            plan_hash=bytes.fromhex(self._need_plan().digest)[:8],
            registration_epoch=self.state.registration_epoch,
            confirmed=Step.TIME_OUT in self.state.done,
            sigma_reg_m=registered.tre95_mm / 1.96e3,
            entry=base_T_ref[:3, :3] @ entry + base_T_ref[:3, 3],
            axis=base_T_ref[:3, :3] @ axis,
            keepouts=self.case.room.keepouts(self._patient(base_T_ref)),
        ))

    def _store(self, stored: Any) -> dict[str, Any]:
        reply = self.room.governor({
            "op": "path", "path_hash": stored.path_hash, "kind": stored.kind,
            "q": [list(row) for row in stored.q], "s": list(stored.s), "margin": list(stored.margin),
        })
        if not reply.get("ok"):
            return {"ok": False, "reason": f"the governor refuses the path: {reply.get('reason', '')}"}
        return {
            "ok": True, "path_hash": stored.path_hash, "kind": stored.kind,
            "length_m": stored.s[-1], "min_margin_m": min(stored.margin), "way": self._way(stored),
            "start": list(stored.q[0]),
        }

    def _way(self, stored: Any) -> list[list[float]]:
        """The guide along the path, for people to see before it moves: [s (m), x, y, z, qx, qy, qz, qw] in the base frame."""
        kin = getattr(self.paths, "kin", None)
        if kin is None:
            return []
        count = min(WAY_SAMPLES, len(stored.s))
        picked = [round(k * (len(stored.s) - 1) / (count - 1)) for k in range(count)] if count > 1 else [0]
        return [[float(stored.s[k]), *map(float, kin.fk(stored.q[k]))] for k in picked]
