"""How states change. Escalation at once and to the most severe; nothing here ever starts a motion.

Each function edits the working copy `s` and appends to `out`. Ranks: a state is only left for one of higher rank,
except
through the few doors of `leave_*`, each of which needs a person (or, for PAUSE, a fresh command of a held deadman).
"""

from safety import alarms, authority
from safety.inputs import ChangeOut, FaultOut, HaltOut, Output, PersistOut
from safety.params import Params
from safety.situation import Drill, Situation
from safety.states import State

RANK = {
    State.INIT: 0, State.READY: 0, State.ACTIVE: 1, State.DEGRADED: 2, State.PAUSE: 3, State.HOLD: 4, State.STOP: 5,
    State.LOCAL: 6, State.FAULT: 7,
}  # fmt: skip
MOVING = (State.ACTIVE, State.DEGRADED)
#: Moving slower than this a rehearsal measures nothing (m/s).
DRILL_SPEED = 0.001


def move_to(s: Situation, out: list[Output], state: State, reason: str, by: str) -> None:
    """Change the state, with its reason, for the log."""
    out.append(ChangeOut(str(s.state), str(state), reason, by))
    s.state, s.reason, s.since = state, reason, s.now


def end_motion(s: Situation, out: list[Output], why: str) -> None:
    """No lease any more, decelerate now, and every command made before this moment is void."""
    if s.lease is not None:
        out.append(HaltOut(why))
        s.lease = None
        s.halted_at = s.now
    s.v_cap = s.w_cap = 0.0
    s.v_why = why
    s.rebase += 1
    s.fresh = True
    s.last_target = ()


def need_new_press(s: Situation) -> None:
    """Only a press that begins after this moment moves anything."""
    if s.press_floor >= 0 and s.press > s.press_floor:
        s.press_floor = s.press


def pause(s: Situation, out: list[Output], p: Params, kind: str, reason: str, by: str) -> None:
    """Category 2, unlatched. kinds: operator, lease (resumes softly); age, scene (need a new press)."""
    if s.auth.holder == authority.LOCAL:
        end_motion(s, out, reason)
        if s.state in MOVING:
            move_to(s, out, State.READY, reason, by)
        return
    if s.state not in MOVING:
        if s.lease is not None:
            end_motion(s, out, reason)
            need_new_press(s)
        return
    end_motion(s, out, reason)
    if kind != "lease":
        need_new_press(s)
    if kind != "operator":
        s.pauses += 1
    if kind == "lease":
        start = s.now - p.resumes_window_ns
        s.resume_times = tuple(t for t in s.resume_times if t >= start)
        if len(s.resume_times) >= p.resumes_max:
            hold(s, out, p, f"more than {p.resumes_max} pauses of the line in {p.resumes_window_ns // 10**9} s", by)
            return
        s.resume_times = (*s.resume_times, s.now)
        if len(s.resume_times) >= p.resumes_max:
            s.alarms = alarms.raised(s.alarms, "pauses", f"{p.resumes_max} pauses in a minute", s.now)
    s.pause_kind = kind
    move_to(s, out, State.PAUSE, reason, by)


def hold(s: Situation, out: list[Output], p: Params, reason: str, by: str, *, counted: bool = True) -> None:
    """Category 2, latched: needs the holder's acknowledgement, a released deadman, a new press. In LOCAL it ends the table's
    jog: the bedside needs nobody's acknowledgement, but a new press.
    """
    if s.state is State.LOCAL:
        end_table_jog(s, out, reason)
        return
    if RANK[s.state] >= RANK[State.HOLD] or s.state is State.INIT:
        return
    if s.state is State.READY and s.auth.holder == "":
        return
    end_motion(s, out, reason)
    need_new_press(s)
    s.acked = False
    s.holds += 1
    if counted:
        start = s.now - p.holds_window_ns
        s.hold_times = (*(t for t in s.hold_times if t >= start), s.now)
        if len(s.hold_times) >= p.holds_max:
            stop(s, out, f"{p.holds_max} holds in {p.holds_window_ns // 60_000_000_000} min; the last: {reason}", by)
            return
    s.alarms = alarms.raised(s.alarms, "hold", reason, s.now)
    move_to(s, out, State.HOLD, reason, by)


def stop(s: Situation, out: list[Output], reason: str, by: str) -> None:
    """Category 1, latched: nobody holds the arm any more; the bedside re-arms, then a new grant with a new epoch. In LOCAL the
    bedside keeps the arm, and its jog waits for the re-arming, too.
    """
    if s.state is State.LOCAL:
        end_table_jog(s, out, reason)
        s.local_stop = reason
        s.alarms = alarms.raised(s.alarms, "stop", reason, s.now)
        return
    if RANK[s.state] >= RANK[State.STOP] or s.state is State.INIT:
        return
    end_motion(s, out, reason)
    remember_former(s)
    s.auth = authority.fence(s.auth)
    s.hold_times = ()
    s.alarms = alarms.raised(alarms.cleared(s.alarms, "hold"), "stop", reason, s.now)
    move_to(s, out, State.STOP, reason, by)


def end_table_jog(s: Situation, out: list[Output], reason: str) -> None:
    """What the doctor at the table moves decelerates now; only a new press goes on."""
    if s.lease is not None:
        end_motion(s, out, reason)
    need_new_press(s)


def fault(s: Situation, out: list[Output], reason: str, by: str) -> None:
    """Latched until the restart of the service and an acknowledgement on site."""
    if s.state is State.FAULT:
        return
    end_motion(s, out, reason)
    remember_former(s)
    s.auth = authority.fence(s.auth)
    out.append(FaultOut(reason))
    out.append(PersistOut(reason))
    s.alarms = alarms.raised(s.alarms, "fault", reason, s.now)
    move_to(s, out, State.FAULT, reason, by)


def take_over(s: Situation, out: list[Output]) -> None:
    """The bedside takes the arm: from every state but FAULT; the remote is fenced in the same step."""
    end_motion(s, out, "the bedside took over")
    remember_former(s)
    s.auth = authority.take_over(s.auth)
    fresh_stream(s)
    if s.state is State.STOP:
        s.local_stop = s.reason  # the table has the arm, and re-arms it before it moves it
    elif s.state is not State.LOCAL:
        s.local_stop = ""
    s.alarms = alarms.raised(s.alarms, "take_over", "the bedside took over", s.now)
    if s.state is not State.LOCAL:
        move_to(s, out, State.LOCAL, "the bedside took over", "bedside")


def remember_former(s: Situation) -> None:
    """Frames of the former holder that are still under way are no attack."""
    if s.auth.holder:
        s.former_holder, s.former_until = s.auth.holder, s.now + 2_000_000_000


def begin_epoch(s: Situation) -> None:
    """A grant: the command stream starts anew, and what was made before it is void."""
    fresh_stream(s)
    s.rebase += 1
    s.fresh, s.last_target = True, ()


def fresh_stream(s: Situation) -> None:
    """Sequence, echo and press of a new epoch."""
    s.last_seq = s.seq_seen = 0
    s.last_echo = s.last_view = 0
    s.press, s.press_floor = 0, -1
    s.press_mode, s.press_path = "", b""
    s.acked = False
    s.last_valid = s.last_heard = s.now
    s.reject_times = s.resume_times = ()
    s.user_cap = 0.0


def begin_drill(s: Situation, kind: str, p: Params) -> None:
    """A stop or take-over during a rehearsal's motion starts the measurement."""
    r = s.report
    if s.lease is not None and s.lease.mode == "rehearsal" and r is not None and r.speed > DRILL_SPEED:
        # the way since that report was before the decision
        travel0 = r.travel + r.speed * (s.now - r.stamp) * 1e-9
        s.drill = Drill(kind, s.now, travel0, s.lease.v_cap, r.speed)
