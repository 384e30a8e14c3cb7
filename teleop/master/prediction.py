"""Seeing ahead: where the guide will be, drawn at once; where it was measured, drawn solid; how far off the picture
can be.

The console knows which of its commands the arm has not yet answered (`seq` greater than the `last_seq` of the newest
state frame). The
prediction plays those on top of the newest known set-point: one command period each, at most at the speed cap. When
the answer
comes, the set-point it brings is compared with what was predicted for that very command: that difference is the
prediction error,
and it is logged. Display only: nothing that is predicted is ever commanded.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from teleop.geometry import Pose, interpolate, norm, pose_error
from teleop.master.robot_view import MOTION_STATES, RobotView


@dataclass(frozen=True, slots=True)
class PredictionError:
    """stamp: robot ns of the answer; seq it answered; distance m, turn rad between the predicted and the reported
    set-point."""

    stamp: int
    seq: int
    distance: float
    turn: float


@dataclass(slots=True)
class _Sent:
    seq: int
    target: Pose | None
    predicted: Pose


class Predictor:
    """`sent` for each command, `answered` for each new state frame, `display` for the page."""

    def __init__(self, period: float = 0.01, remember: int = 500) -> None:
        """period s of the commands; remember: commands kept unanswered (5 s), older ones are forgotten."""
        self._period, self._waiting = period, deque[_Sent](maxlen=remember)
        self._view: RobotView | None = None
        self._tip: Pose | None = None
        self._target: Pose | None = None
        self._errors: list[PredictionError] = []
        self._worst = self._sum2 = 0.0
        self._n = 0

    def sent(self, seq: int, press: int, target: Pose | None) -> None:
        """A command went out."""
        if self._view is None:
            return
        self._target = target if press else None
        self._tip = self._advance(self._tip or self._view.setpoint, self._target)
        self._waiting.append(_Sent(seq, self._target, self._tip))

    def answered(self, view: RobotView) -> PredictionError | None:
        """A newer state frame came. Returns the error of the prediction it answers, where it answers one of this
        press."""
        old, self._view = self._view, view
        if old is not None and (view.epoch, view.rebase) != (old.epoch, old.rebase):
            self._waiting.clear()  # made against a pose that no longer holds
        error = None
        while self._waiting and self._waiting[0].seq <= view.last_seq:
            s = self._waiting.popleft()
            if s.seq == view.last_seq and s.target is not None and view.state in MOTION_STATES:
                d, turn = pose_error(s.predicted, view.setpoint)
                error = PredictionError(view.t, s.seq, norm(d), norm(turn))
        if error is not None:
            self._errors.append(error)
            self._n, self._sum2 = self._n + 1, self._sum2 + error.distance**2
            self._worst = max(self._worst, error.distance)
        tip = view.setpoint
        for s in self._waiting:
            tip = s.predicted = self._advance(tip, s.target)
        self._tip = tip
        return error

    def take_errors(self) -> list[PredictionError]:
        """The errors since the last call, for the log."""
        taken, self._errors = self._errors, []
        return taken

    def display(self, loop_age: float | None = None) -> dict[str, Any]:
        """What the page draws: ghost (the commanded guide, dashed), predicted, measured (solid) as 7 numbers each or
        None; halo_m: how far
        the arm may be from where it is shown, speed cap times loop age; and the error so far, in mm."""
        v = self._view
        if v is None:
            return {"ghost": None, "predicted": None, "measured": None, "halo_m": 0.0, "v_cap": 0.0, "loop_age_s": None}
        age = v.loop_age if loop_age is None else loop_age
        return {
            "ghost": None if self._target is None else list(self._target),
            "predicted": None if self._tip is None else list(self._tip),
            "measured": list(v.measured),
            "halo_m": v.v_cap * age if v.state in MOTION_STATES else 0.0,
            "v_cap": v.v_cap,
            "loop_age_s": age,
            "in_flight": len(self._waiting),
            "error_rms_mm": 1e3 * (self._sum2 / self._n) ** 0.5 if self._n else None,
            "error_worst_mm": 1e3 * self._worst if self._n else None,
        }

    def _advance(self, tip: Pose, target: Pose | None) -> Pose:
        if target is None or self._view is None or self._view.state not in MOTION_STATES:
            return tip
        d, turn = pose_error(tip, target)
        reach, swing = self._view.v_cap * self._period, self._view.w_cap * self._period
        u = min(1.0, reach / norm(d) if norm(d) > 0.0 else 1.0, swing / norm(turn) if norm(turn) > 0.0 else 1.0)
        return target if u >= 1.0 else interpolate(tip, target, u)
