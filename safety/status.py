"""`status_of`: what everybody may know of the governor, as the wire map of docs/orders.md. Derived, decides nothing."""

from typing import Any

from safety import table_jog
from safety.conditions import blockers
from safety.params import Params
from safety.situation import Situation
from safety.states import State
from safety.transitions import MOVING

_WHAT_TO_DO: dict[State, str] = {
    State.INIT: "Start what is missing.",
    State.READY: "See what blocks; then press the deadman.",
    State.ACTIVE: "",
    State.DEGRADED: "Prefer goal motions; speed is reduced.",
    State.PAUSE: "Release the deadman and press it again.",
    State.HOLD: "Acknowledge the reason, release the deadman, press it again.",
    State.STOP: "Check the patient; the bedside re-arms; then a new grant.",
    State.FAULT: "Secure the patient; restart the site's arm and governor; acknowledge on site.",
    State.LOCAL: "The bedside has the arm and returns it.",
}


def status_of(s: Situation, p: Params) -> dict[str, Any]:
    """Plain types only. Speeds m/s, lengths m, times ns on the robot's monotonic clock."""
    moving = s.state in MOVING
    report = s.report
    return {
        "t": "status",
        "v": 1,
        "stamp": s.now,
        "n": s.n,
        "site": s.site,
        "arm": s.arm,
        "state": str(s.state),
        "since": s.since,
        "pause_kind": s.pause_kind if s.state is State.PAUSE else "",
        "reason": s.reason,
        "what_to_do": _WHAT_TO_DO[s.state],
        "holder": s.auth.holder,
        "holder_name": s.roles.name(s.auth.holder) if s.auth.holder else "",
        "holder_role": "local" if s.auth.holder == "local" else "surgeon" if s.auth.holder else "",
        "suspended": s.auth.suspended,
        "requests": list(s.auth.requests),
        "epoch": s.auth.epoch,
        "rebase": s.rebase,
        "session": s.session,
        "mode": s.mode if s.lease is not None else "",
        "last_seq": s.last_seq,
        "last_reject": s.last_reject,
        "press_floor": max(s.press_floor, 0),
        "v_cap": s.v_cap,
        "w_cap": s.w_cap,
        "v_cap_why": s.v_why,
        "loop_age_ns": s.age,
        "loop_age_p95_ns": s.est.age_p95() or 0,
        "loss": s.est.loss(),
        "margin": s.margin,
        "travel_bound": s.bound,
        "lease_id": s.lease.lease_id if s.lease is not None else 0,
        "s": report.s if report is not None else 0.0,
        "path_hash": report.path_hash if report is not None else b"",
        "paths": [h for h, (_, ok) in s.paths.items() if ok],
        "blockers": [] if moving else blockers(s, p),
        "alarms": [
            {
                "id": a.id, "priority": a.priority, "text": a.text, "what_to_do": a.what_to_do, "since": a.since,
                "latched": a.latched, "active": a.active, "acked": a.acked,
            }
            for a in s.alarms
        ],
        "plan_hash": s.scene.plan_hash if s.scene is not None else b"",
        "registration_epoch": s.scene.registration_epoch if s.scene is not None else 0,
        "confirmed": s.scene is not None and s.scene.confirmed,
        "counts": {"accepted": s.accepted, "rejected": s.rejected, "pauses": s.pauses, "holds": s.holds},
        "qualified_until": s.line_until,
        "qualified_demo": s.line_demo,
        "rehearsal_on": s.rehearsal_on,
        "rehearsals": {
            k: {"passed": d.passed, "took_ns": d.took, "travel": d.travel, "bound": d.bound, "until": d.until,
                "react_ns": d.react}
            for k, d in s.drills.items()
        },
        "stop_echo": s.stop_ordinal,
        "stop_by": s.stop_by,
        "table_blocked": table_jog.blocked(s, p) if s.state is State.LOCAL else "",
        "headless": not p.require_view,
        "lease_ns": p.lease_ns,
        "acked": s.acked,
    }  # fmt: skip


def change_key(s: Situation) -> tuple[object, ...]:
    """When this changes, the status is sent at once."""
    return (
        s.state, s.reason, s.auth.holder, s.auth.epoch, s.auth.suspended, s.auth.requests, s.rebase,
        s.stop_ordinal, s.alarms,
        s.local_stop, s.line_until, s.acked, s.rehearsal_on, len(s.paths), tuple(ok for _, ok in s.paths.values()), s.scene is None,
    )  # fmt: skip
