"""The gate: may this command pass? Pure checks of a decoded command against the situation, in the documented order.

    FLOOD, SIZE, DECODE, FIELDS, NOT_FINITE     before, in `safety.admission` and `safety.decode`
    VERSION ADDRESS SESSION ROLE                is it for us, from somebody who may ask at all
    EPOCH NOT_HOLDER                            fencing: is it from the holder, under the holder's grant
    DUPLICATE SEQUENCE SEQUENCE_JUMP            second copy (dropped in silence), older, too far ahead
    REBASE                                      made against a pose that no longer holds (frames with a press only)
    ECHO_FUTURE ECHO_BACKWARD STALE             freshness on the robot's own clock
    -- a frame with press 0 is valid here: it renews authority and feeds the estimators, and asks for nothing --
    STATE MODE PLAN_HASH PATH_HASH REGISTRATION JUMP WORKSPACE CORRIDOR DEADMAN

A refusal is (Reason, text). Nothing here changes anything.
"""

from math import sqrt

from safety import authority, table_jog
from safety.command import COMMAND_VERSION, Command
from safety.conditions import blockers, mode_blocked
from safety.fixtures import corridor_distance, tilt_ok, tip_of, turn
from safety.params import Params
from safety.situation import Situation
from safety.states import Mode, Reason, State

Refused = tuple[Reason, str]
PASS: Refused = (Reason.OK, "")
#: Sequence numbers of the last frames, as bits, to tell a second copy from an old frame: ten seconds at 100 Hz.
WINDOW = 1024

#: Refusals of the holder that count towards HOLD. The others happen in honest operation (second copies, reordering,
#: frames under way while the robot re-based or changed its state).
COUNTED = frozenset({
    Reason.SIZE, Reason.DECODE, Reason.FIELDS, Reason.NOT_FINITE, Reason.VERSION, Reason.ADDRESS, Reason.SESSION,
    Reason.SEQUENCE_JUMP, Reason.ECHO_FUTURE, Reason.ECHO_BACKWARD, Reason.STALE, Reason.PLAN_HASH, Reason.PATH_HASH,
    Reason.REGISTRATION, Reason.JUMP, Reason.WORKSPACE, Reason.CORRIDOR,
})  # fmt: skip


def needs_view(mode: str, p: Params) -> bool:
    """servo and jog are steered by eye: they need the displayed video's stamp where the site says so."""
    return p.require_view and mode in (Mode.SERVO, Mode.JOG)


def loop_age(s: Situation, c: Command, p: Params) -> int:
    """A = t_k - min(echo_state, echo_view where the mode needs video), ns. A missing view is infinitely old. The doctor at the
    table sees the arm itself.
    """
    echo = c.echo_state
    if needs_view(c.mode, p) and not s.auth.bedside_has_it:
        echo = min(echo, c.echo_view or 0)
    return s.now - echo


def identity(s: Situation, c: Command, key: str, p: Params) -> Refused:
    """VERSION .. REBASE."""
    if c.v != COMMAND_VERSION:
        return Reason.VERSION, f"version {c.v}, this governor speaks {COMMAND_VERSION}"
    if c.site != s.site or c.arm != s.arm:
        return Reason.ADDRESS, f"for {c.site}/{c.arm}, this is {s.site}/{s.arm}"
    if c.session != s.session:
        return Reason.SESSION, "of another session"
    if key not in (authority.LOCAL, authority.BEDSIDE) and not s.roles.has(key, "surgeon"):
        return Reason.ROLE, "this key may not command this arm"
    admitted = authority.admits(s.auth, key, c.epoch)
    if admitted is not Reason.OK:
        return (
            admitted,
            f"epoch {c.epoch}, in force {s.auth.epoch}" if admitted is Reason.EPOCH else "another key holds the arm",
        )
    if c.seq <= s.last_seq:
        back = s.last_seq - c.seq
        if back < WINDOW and s.seq_seen >> back & 1:
            return Reason.DUPLICATE, ""
        return Reason.SEQUENCE, f"older than {s.last_seq}"
    elapsed = s.now - s.last_heard if s.last_heard else 0
    if c.seq > s.last_seq + p.seq_jump + elapsed * p.seq_rate_hz // 1_000_000_000:
        return Reason.SEQUENCE_JUMP, f"{c.seq - s.last_seq} ahead"
    if c.press > 0 and c.rebase != s.rebase:
        return Reason.REBASE, f"made against rebase {c.rebase}, now {s.rebase}"
    return PASS


def freshness(s: Situation, c: Command, p: Params) -> Refused:
    """ECHO_FUTURE, ECHO_BACKWARD, STALE."""
    view = c.echo_view or 0
    if c.echo_state > s.now or view > s.now:
        return Reason.ECHO_FUTURE, "echoes a stamp that the robot has not given yet"
    if c.echo_state < s.last_echo or (c.echo_view is not None and view < s.last_view):
        return Reason.ECHO_BACKWARD, "echoes an older frame than before"
    age = loop_age(s, c, p)
    if age > p.a_hold_ns:
        if needs_view(c.mode, p) and c.echo_view is None:
            return Reason.STALE, "no displayed video frame, which this mode needs"
        return Reason.STALE, f"loop age {age // 1_000_000} ms, allowed {p.a_hold_ns // 1_000_000}"
    return PASS


def motion(s: Situation, c: Command, p: Params) -> Refused:
    """STATE .. DEADMAN, for a frame with a press."""
    for check in (_state, _mode, _case, _jump, _place):
        refused = check(s, c, p)
        if refused[0] is not Reason.OK:
            return refused
    if s.press_floor < 0 or c.press <= s.press_floor or c.press < s.press:
        return Reason.DEADMAN, "release the deadman and press it again"
    return PASS


def _state(s: Situation, c: Command, p: Params) -> Refused:
    state = s.state
    if s.auth.bedside_has_it:
        why = table_jog.blocked(s, p)
        return (Reason.STATE, why) if why else PASS
    rehearsing = c.mode == Mode.REHEARSAL
    if rehearsing:
        if state is State.READY and s.rehearsal_on:
            return PASS
        return Reason.STATE, "rehearsal needs READY and the bedside's word"
    if state in (State.ACTIVE, State.DEGRADED):
        return PASS
    if state is State.PAUSE:
        if s.pause_kind == "lease" or c.press > s.press_floor:
            return PASS
        return Reason.DEADMAN, "release the deadman and press it again"
    if state is State.HOLD:
        if not s.acked:
            return Reason.STATE, "HOLD: acknowledge the reason first"
    elif state is not State.READY:
        return Reason.STATE, f"no motion in {state}"
    missing = blockers(s, p)
    if missing:
        return Reason.STATE, missing[0]
    return PASS


def _mode(s: Situation, c: Command, p: Params) -> Refused:
    held = s.press_mode and c.press == s.press and s.press > s.press_floor
    if held and (c.mode != s.press_mode or c.path_hash != s.press_path):
        return Reason.MODE, "mode or path changed without a new press"
    if c.q_target is not None and s.auth.holder != authority.LOCAL:
        return Reason.MODE, "joint targets are for local clients only"
    if c.mode == Mode.ADVANCE and (s.scene is None or s.scene.corridor is None):
        return Reason.MODE, "advance needs a corridor round an approved axis"
    why = "" if s.auth.bedside_has_it else mode_blocked(s, c.mode, p)
    if why:
        return Reason.MODE, why
    return PASS


def _case(s: Situation, c: Command, p: Params) -> Refused:
    scene = s.scene if s.auth.holder != authority.LOCAL and c.mode != Mode.REHEARSAL else None
    if scene is not None and c.plan_hash != scene.plan_hash:
        return Reason.PLAN_HASH, "another plan than the one confirmed here"
    if c.s_limit is not None:
        held = s.paths.get(c.path_hash)
        if held is None:
            return Reason.PATH_HASH, "no such stored path"
        if not held[1]:
            return Reason.PATH_HASH, "the arm has not accepted this path"
        if held[0].kind != c.mode:
            return Reason.PATH_HASH, f"a path for {held[0].kind}, asked for {c.mode}"
    if scene is not None and c.registration_epoch != scene.registration_epoch:
        return Reason.REGISTRATION, f"registration {c.registration_epoch}, in force {scene.registration_epoch}"
    return PASS


def _distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    d = 0.0
    for i in range(3):
        e = a[i] - b[i]
        d += e * e
    return sqrt(d)


def _jump(s: Situation, c: Command, p: Params) -> Refused:
    report = s.report
    if report is None:
        return Reason.STATE, "the arm does not report"
    if c.target is not None:
        if s.fresh:
            local = s.auth.holder == authority.LOCAL
            reach, angle = (p.jump, p.jump_rad) if local else (p.resume, p.resume_rad)
            if _distance(c.target, report.setpoint) > reach or turn(c.target, report.setpoint) > angle:
                return Reason.JUMP, f"first target more than {reach * 1e3:g} mm from the standing tool"
        else:
            before = s.last_target
            if before and (_distance(c.target, before) > p.jump or turn(c.target, before) > p.jump_rad):
                return Reason.JUMP, f"more than {p.jump * 1e3:g} mm from the target before"
            if _distance(c.target, report.setpoint) > p.lead_max or turn(c.target, report.setpoint) > p.lead_max_rad:
                return Reason.JUMP, f"more than {p.lead_max * 1e3:g} mm ahead of the tool"
    elif c.q_target is not None:
        if len(c.q_target) != len(report.q):
            return Reason.JUMP, f"{len(c.q_target)} joints, the arm has {len(report.q)}"
        at = report.q_ref or report.q
        for want, has in zip(c.q_target, at, strict=True):
            if not -p.lead_joint <= want - has <= p.lead_joint:
                return Reason.JUMP, f"a joint more than {p.lead_joint:g} rad ahead"
    else:
        path = s.paths[c.path_hash][0]
        if len(path.q[0]) != len(report.q):
            return Reason.JUMP, "path and arm have different numbers of joints"
        if report.path_hash != c.path_hash:
            for want, has in zip(path.q[0], report.q, strict=True):
                if not -p.path_start_rad <= want - has <= p.path_start_rad:
                    return Reason.JUMP, "the arm does not stand at the begin of this path"
    return PASS


def _place(s: Situation, c: Command, p: Params) -> Refused:
    if c.target is not None:
        x, y, z = c.target[0], c.target[1], c.target[2]
        if x * x + y * y + z * z > p.reach * p.reach or z < p.z_min:
            return Reason.WORKSPACE, "outside the workspace"
    if s.auth.bedside_has_it:
        return table_jog.leads_away(s, c, p)
    if c.mode == Mode.ADVANCE and s.scene is not None and s.scene.corridor is not None and s.report is not None:
        corridor = s.scene.corridor
        if corridor_distance(corridor, tip_of(s.report.pose)) < -p.e_track:
            return Reason.CORRIDOR, "the tip is outside the corridor"
        if not tilt_ok(corridor, s.report.pose):
            return Reason.CORRIDOR, "the tool is tilted against the corridor"
    return PASS
