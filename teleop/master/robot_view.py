"""`RobotView`: what the hand needs of a robot state frame (`teleop.wire` state: `{"t", "arm", "gov", ...}`), checked
once."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from safety.states import State
from teleop.geometry import Pose, check_pose

#: States in which the governor lets the arm move on a holder's command.
MOTION_STATES = frozenset({State.ACTIVE, State.DEGRADED})
#: States in which a new press may be asked for; the governor decides whether it leads to motion.
ASKING_STATES = frozenset({State.READY, State.PAUSE, State.HOLD}) | MOTION_STATES
#: Below this speed of the worst tool point an arm counts as standing, m/s (encoder noise of the demo arm: 0.05 mm/s).
STANDSTILL_SPEED = 5e-4


@dataclass(frozen=True, slots=True)
class RobotView:
    """One state frame. `t`: robot monotonic stamp, ns; `setpoint`, `measured`: base_T_tip; speeds m/s, `s` m,
    `loop_age` s as the governor last measured it; `contact`: force N along the guide against its direction, work given and
    returned J as cumulative sums (`teleop.site.contact`; zeros from a site that does not say)."""

    t: int
    session: bytes
    site: str
    arm: str
    state: State
    reason: str
    holder: str
    epoch: int
    rebase: int
    last_seq: int
    press_floor: int
    pause_kind: str
    v_cap: float
    w_cap: float
    loop_age: float
    measured: Pose
    setpoint: Pose
    speed: float
    s: float
    path_hash: bytes
    drive: str
    contact: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def standing(self) -> bool:
        """The arm is at rest as far as this frame knows."""
        return self.drive in ("standstill", "parked") or (self.drive == "" and self.speed < STANDSTILL_SPEED)


def robot_view(frame: Mapping[str, Any]) -> RobotView:
    """Raises ValueError naming the missing or wrong field: a frame that cannot be understood steers nothing."""
    try:
        gov, arm = frame["gov"], frame["arm"]
        measured = check_pose(arm["pose"])
        setpoint = arm.get("setpoint")
        return RobotView(
            t=int(frame["t"]),
            session=bytes(gov["session"] or b""),
            site=str(gov["site"]),
            arm=str(gov["arm"]),
            state=State(gov["state"]),
            reason=str(gov.get("reason") or ""),
            holder=str(gov.get("holder") or ""),
            epoch=int(gov["epoch"]),
            rebase=int(gov["rebase"]),
            last_seq=int(gov.get("last_seq") or 0),
            press_floor=int(gov.get("press_floor") or 0),
            pause_kind=str(gov.get("pause_kind") or ""),
            v_cap=float(gov.get("v_cap") or 0.0),
            w_cap=float(gov.get("w_cap") or 0.0),
            loop_age=float(gov.get("loop_age_ns") or 0) * 1e-9,
            measured=measured,
            setpoint=measured if setpoint is None else check_pose(setpoint),
            speed=float(arm.get("speed") or 0.0),
            s=float(arm.get("s") or 0.0),
            path_hash=bytes(arm.get("path_hash") or b""),
            drive=str(arm.get("drive") or ""),
            contact=_contact(arm.get("contact")),
        )
    except KeyError as e:
        raise ValueError(f"robot state frame: field {e} is missing") from e
    except (TypeError, ValueError) as e:
        raise ValueError(f"robot state frame: {e}") from e


def _contact(raw: Any) -> tuple[float, float, float]:
    if raw is None:
        return 0.0, 0.0, 0.0
    force, given, returned = raw
    if not (isfinite(force) and force >= 0.0 and type(given) is int and type(returned) is int):
        raise ValueError(f"contact {raw!r}: a force not below 0 N and two energies in whole microjoules")
    return float(force), 1e-6 * given, 1e-6 * returned
