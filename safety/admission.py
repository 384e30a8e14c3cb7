"""A command on its way in: bucket, decoder, gate, press logic, speed law, lease. Leases are made here only."""

from bisect import bisect_left, bisect_right
from math import sqrt

from safety import alarms, authority, gate
from safety.command import Command
from safety.conditions import update_health
from safety.decode import Refusal, decode_command
from safety.fixtures import along, clamp_target, clearance, tip_of, turn, zone_of
from safety.inputs import CommandIn, HaltOut, LeaseOut, Output, VerdictOut
from safety.lease import MotionLease, StoredPath
from safety.params import Params
from safety.situation import Situation
from safety.speed_law import rest_bound_ns, speed_limit, travel_bound
from safety.states import Mode, Reason, State
from safety.transitions import begin_drill, end_motion, hold, move_to, pause, stop


def on_command(s: Situation, out: list[Output], i: CommandIn, p: Params) -> None:
    """One frame, as bytes. Refused: nothing moves, no timer is refreshed."""
    if not _take_token(s, i.key, p):
        _count(s, Reason.FLOOD)
        s.alarms = alarms.raised(
            s.alarms, "flood", f"{s.roles.name(i.key)} sends more than {p.bucket_rate_hz} frames/s", s.now
        )
        return
    if (i.key == authority.LOCAL) != (i.peer == "adapter") or (i.key == authority.BEDSIDE) != (i.peer == "case"):
        s.alarms = alarms.raised(s.alarms, "masquerade", f"peer {i.peer} sent a command as {i.key!r}", s.now)
        _count(s, Reason.ROLE)
        return
    if s.lease is not None and s.now >= s.lease.expiry:  # nobody ticked in time: it ended all the same
        pause(s, out, p, "lease", "no valid command in time", "line")
    try:
        c = decode_command(i.data)
    except Refusal as refusal:
        _refuse(s, out, i, 0, refusal.reason, str(refusal), p)
        return
    if c.stop and c.site == s.site and c.arm == s.arm:
        on_stop(s, out, i.key, p)
        return
    reason, text = gate.identity(s, c, i.key, p)
    if reason is Reason.DUPLICATE:
        return
    if reason is Reason.SEQUENCE:
        _overtaken(s, c)
    if reason is Reason.OK or reason is Reason.REBASE:
        _mark_seen(s, c)
        reason, text = (reason, text) if reason is not Reason.OK else gate.freshness(s, c, p)
    if reason is Reason.STALE:
        _stale(s, out, c, p)
    if reason is Reason.OK:
        _believe(s, c, p)
        if c.press > 0:
            reason, text = _press(s, out, c, p)
    if reason is not Reason.OK:
        _refuse(s, out, i, c.seq, reason, text, p)
        return
    s.last_valid = s.now
    s.accepted += 1
    s.auth = authority.renew(s.auth, s.now, p.authority_ttl_ns)
    s.alarms = alarms.cleared(s.alarms, "link_down")
    if c.press == 0:
        _released(s, out, p)
        s.press = 0 if s.press_floor < 0 else s.press
        if s.press_floor < 0:
            s.press_floor = 0
        return
    _permit(s, out, c, p)


def on_stop(s: Situation, out: list[Output], key: str, p: Params) -> None:
    """A stop is honoured from anybody, attributed, and never limited."""
    s.stop_ordinal += 1
    s.stop_by = key
    begin_drill(s, "stop", p)
    stop(s, out, f"stop by {s.roles.name(key)}", key)


def _take_token(s: Situation, key: str, p: Params) -> bool:
    tokens, at = s.buckets.get(key, (float(p.bucket_burst), s.now))
    tokens = min(float(p.bucket_burst), tokens + (s.now - at) * 1e-9 * p.bucket_rate_hz)
    buckets = dict(s.buckets)
    if key not in buckets and len(buckets) >= 32:
        buckets.pop(next(iter(buckets)))
    passed = tokens >= 1.0
    buckets[key] = (tokens - 1.0 if passed else tokens, s.now)
    s.buckets = buckets
    return passed


def _mark_seen(s: Situation, c: Command) -> None:
    ahead = c.seq - s.last_seq
    s.seq_seen = (s.seq_seen << ahead | 1) & ((1 << gate.WINDOW) - 1) if ahead < gate.WINDOW else 1
    s.last_seq = c.seq
    s.last_heard = s.now


def _overtaken(s: Situation, c: Command) -> None:
    """An older frame of the holder: refused, but remembered, so that it is not taken for lost nor counted twice."""
    back = s.last_seq - c.seq
    if back < gate.WINDOW:
        s.seq_seen |= 1 << back
        s.est = s.est.with_late(s.now)


def _count(s: Situation, reason: Reason) -> None:
    rejected = dict(s.rejected)
    rejected[str(reason)] = rejected.get(str(reason), 0) + 1
    s.rejected = rejected


def _refuse(s: Situation, out: list[Output], i: CommandIn, seq: int, reason: Reason, text: str, p: Params) -> None:
    _count(s, reason)
    out.append(VerdictOut(i.peer, i.key, seq, str(reason), text))
    if i.key != authority.mover(s.auth):
        if not (i.key == s.former_holder and s.now < s.former_until):
            id_ = "other_session" if reason is Reason.SESSION else "foreign"
            s.alarms = alarms.raised(s.alarms, id_, f"{s.roles.name(i.key)}: {reason}", s.now)
        return
    s.last_reject = f"{reason}: {text}" if text else str(reason)
    if reason in (Reason.DECODE, Reason.FIELDS, Reason.SIZE, Reason.NOT_FINITE):
        s.alarms = alarms.raised(s.alarms, "malformed", text, s.now)
    elif reason is Reason.SESSION:
        s.alarms = alarms.raised(s.alarms, "other_session", f"{s.roles.name(i.key)}: {reason}", s.now)
    if reason in gate.COUNTED and s.state in (State.ACTIVE, State.DEGRADED, State.PAUSE):
        start = s.now - 1_000_000_000
        s.reject_times = (*(t for t in s.reject_times if t > start), s.now)[-64:]
        if len(s.reject_times) >= p.rejects_hold:
            hold(s, out, p, f"{len(s.reject_times)} commands refused within 1 s, the last: {reason}", i.key)


def _stale(s: Situation, out: list[Output], c: Command, p: Params) -> None:
    """A stale frame is refused, but it is news about the line, and may only make things stricter."""
    age = gate.loop_age(s, c, p)
    s.est = s.est.with_frame(s.now, age, -1)
    s.age = age
    if s.state in (State.ACTIVE, State.DEGRADED, State.PAUSE) and s.auth.holder != authority.LOCAL:
        stale = sum(1 for f in s.est.frames if f[2] < 0)
        if age > p.a_any_ns or stale >= p.stale_hold:
            hold(s, out, p, f"loop age {age // 1_000_000} ms: the surgeon would act on an old picture", "line")


def _believe(s: Situation, c: Command, p: Params) -> None:
    """An authentic, fresh frame: its stamps and its age count."""
    s.last_echo = c.echo_state
    if c.echo_view is not None:
        s.last_view = c.echo_view
    s.age = gate.loop_age(s, c, p)
    s.est = s.est.with_frame(s.now, s.age, c.seq)
    update_health(s, p)


def _press(s: Situation, out: list[Output], c: Command, p: Params) -> gate.Refused:
    """Press logic around the motion checks."""
    if s.press_floor < 0:  # the first frame of this epoch: a deadman that is already down moves nothing
        s.press = s.press_floor = c.press
    running = s.state in (State.ACTIVE, State.DEGRADED) or (s.state is State.LOCAL and s.lease is not None)
    if c.press > s.press and running and s.auth.holder != authority.LOCAL:
        s.press = c.press - 1  # a release that we did not see
        pause(s, out, p, "operator", "deadman released (a new press arrived first)", authority.mover(s.auth))
        s.press_floor = max(s.press_floor, s.press)
        return Reason.REBASE, "a new press: made before the robot re-based"
    reason, text = gate.motion(s, c, p)
    if reason is Reason.MODE and s.state in (State.ACTIVE, State.DEGRADED) and "loop age" in text:
        pause(s, out, p, "age", text, "line")
    return reason, text


def _released(s: Situation, out: list[Output], p: Params) -> None:
    """press 0: no fault. Decelerate, PAUSE(operator), uncounted, left by a new press."""
    if s.press > 0 and s.press > s.press_floor:
        s.press_floor = s.press
    if s.state in (State.ACTIVE, State.DEGRADED):
        pause(s, out, p, "operator", "deadman released", s.auth.holder)
    elif s.lease is not None:
        end_motion(s, out, "deadman released")
    elif s.state is State.PAUSE and s.pause_kind == "lease":
        s.pause_kind = "operator"
    s.press_mode = ""


def _permit(s: Situation, out: list[Output], c: Command, p: Params) -> None:
    """The command passed every check: choose the cap, write the lease."""
    if c.press != s.press or not s.press_mode:
        s.press, s.press_mode, s.press_path, s.press_since = c.press, c.mode, c.path_hash, s.now
        s.changed_at = s.now
    target = c.target
    kind = "joints" if c.q_target is not None else "pose" if target is not None else "path"
    s_limit = c.s_limit
    if target is not None:
        _notice_hand(s, target, p)
        s.last_target = target
        v, why, margin, target = _pose_speed(s, target, c.mode, p)
    elif s_limit is not None:
        v, why, margin, s_limit = _path_speed(s, s.paths[c.path_hash][0], s_limit, c.mode, p)
    else:
        s.changed_at = s.now
        v, why, margin = _law(s, p.m_free, "free", p)
    s.fresh = False
    if s.auth.bedside_has_it and v > p.v_table:
        v, why = p.v_table, "the table's own speed"
    if s.user_cap > 0.0 and v > s.user_cap:
        v, why = s.user_cap, "the surgeon's own limit"
    w = min(p.w_max, v / p.tool_length if p.tool_length > 0.02 else p.w_max)
    expiry = s.now + p.lease_ns if p.lease_enabled else s.now + 3_600_000_000_000
    before = s.lease
    s.lease = MotionLease(
        s.next_lease, s.auth.epoch, c.seq, s.now, expiry, c.mode, kind, target, c.q_target,
        c.path_hash if kind == "path" else b"", s_limit, v, w,
    )  # fmt: skip
    s.next_lease += 1
    s.v_cap, s.w_cap, s.v_why, s.margin, s.mode = v, w, why, margin, c.mode
    # A cap that was lowered may still be in the arm's motion until its own lease would have ended at rest.
    until = s.now + rest_bound_ns(v, p) + s.extra_react
    s.caps = (*((t, cap) for t, cap in s.caps if t > s.now and cap > v), (until, v))
    s.bound = travel_bound(s.peak_v, p, s.extra_react * 1e-9) + s.extra_track
    if s.state in (State.READY, State.PAUSE, State.HOLD) and c.mode != Mode.REHEARSAL:
        move_to(s, out, State.ACTIVE, "motion permitted", s.auth.holder)
        s.alarms = alarms.cleared(s.alarms, "hold")
        s.pause_kind = ""
        s.calm_since = 0
    if v > 0.0:
        out.append(LeaseOut(s.lease, why))
    elif before is not None and before.v_cap > 0.0:
        out.append(HaltOut(why))  # a permission to move at no speed is none


def _notice_hand(s: Situation, target: tuple[float, ...], p: Params) -> None:
    """`changed_at`: when the hand last moved. Less than `stuck_move` is no hand: a console's own rounding, or an arm that
    still follows an old target, gives other bits without anybody moving. A re-base shifts targets without a hand, too.
    """
    before = s.still_target
    if before and not s.fresh:
        a, b = tip_of(before), tip_of(target)
        d = (b[0] - a[0], b[1] - a[1], b[2] - a[2])
        moved = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] > p.stuck_move * p.stuck_move
        if not moved and turn(before, target) <= p.stuck_turn:
            return
        s.changed_at = s.now
    s.still_target = target


def _law(s: Situation, m_zone: float, zone: str, p: Params) -> tuple[float, str, float]:
    """(cap, what limits it, margin used) for a margin and the zone's own cap."""
    p95 = s.est.age_p95() or 0
    age = s.age if s.age > p95 else p95
    v = speed_limit((age + s.extra_react) * 1e-9, m_zone - s.extra_track, p)
    why = f"loop age {age // 1_000_000} ms against {m_zone * 1e3:.2f} mm"
    cap = p.v_bone if zone == "bone" else p.v_near if zone == "near" else p.v_free
    if cap < v:
        v, why = cap, f"zone {zone}"
    return v, why, m_zone


def _pose_speed(
    s: Situation, target: tuple[float, ...], mode: str, p: Params
) -> tuple[float, str, float, tuple[float, ...]]:
    """Cap, reason, margin and the target after the virtual fixtures."""
    assert s.report is not None  # the gate asked
    here = s.report.setpoint
    target, led = _lead(here, target, p)
    fixture = ""
    if s.scene is not None:
        target, fixture = clamp_target(s.scene, here, target, p.tool_length, p.tool_radius, p.reserve)
    clear, name = clearance(s.scene, here, p.tool_length, p.tool_radius)
    clear -= p.reserve if name != "corridor" else 0.0
    zone = zone_of(s.scene, here, clear, p.near_keepout)
    m_zone = p.m_bone if zone == "bone" else p.m_near if zone == "near" else p.m_free
    margin = clear if clear < m_zone else m_zone
    if margin < p.m_retreat:
        there, _ = clearance(s.scene, target, p.tool_length, p.tool_radius)
        if there > clear + p.reserve:
            margin = p.m_retreat
    v, why, margin = _law(s, margin, zone, p)
    if mode == Mode.REHEARSAL and v > p.v_rehearsal:
        v, why = p.v_rehearsal, "rehearsal"
    if fixture:
        why = f"fixture: {fixture}"
    elif name and margin < m_zone:
        why = f"{clear * 1e3:.1f} mm to {name}"
    elif led:
        why = "target far ahead"
    return v, why, margin, target


def _lead(here: tuple[float, ...], target: tuple[float, ...], p: Params) -> tuple[tuple[float, ...], bool]:
    """Keep the target within `lead` of the set-point, so that a hand that outran the arm is not chased for long."""
    a, b = tip_of(here), tip_of(target)
    d = ((b[0] - a[0]), (b[1] - a[1]), (b[2] - a[2]))
    far2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    led = False
    if far2 > p.lead * p.lead:
        b, led = along(a, p.lead / sqrt(far2), d), True
    rotation = target[3:]
    if turn(here, target) > p.lead_rad:
        rotation, led = here[3:], True
    return (*b, *rotation), led


def _path_speed(s: Situation, path: StoredPath, asked: float, mode: str, p: Params) -> tuple[float, str, float, float]:
    """Cap, reason, margin, permitted arc length: the least margin of the stretch that a stop could reach counts."""
    assert s.report is not None
    at = s.report.s if s.report.path_hash == path.path_hash else 0.0
    end = path.s[-1]
    limit = asked if asked < end else end
    if limit < at:
        limit = at  # never back along the path: a lease does not retreat
    zone = "free"
    if mode == Mode.ADVANCE:
        clear, _ = clearance(s.scene, s.report.pose, p.tool_length, p.tool_radius)
        zone = zone_of(s.scene, s.report.pose, clear, p.near_keepout)
        zone = "near" if zone == "free" else zone
    m_zone = p.m_bone if zone == "bone" else p.m_near if zone == "near" else p.m_free
    v_zone = p.v_bone if zone == "bone" else p.v_near if zone == "near" else p.v_free
    reach = at + travel_bound(v_zone, p)
    if reach > limit:
        reach = limit
    first = max(0, bisect_right(path.s, at) - 1)
    last = min(len(path.s) - 1, bisect_left(path.s, reach))
    margin = min(path.margin[first : last + 1])
    if mode == Mode.GOAL and margin < p.near_keepout:
        zone = "near"
    if margin > m_zone:
        margin = m_zone
    v, why, margin = _law(s, margin, zone, p)
    if mode == Mode.REHEARSAL and v > p.v_rehearsal:
        v, why = p.v_rehearsal, "rehearsal"
    if v <= 0.0:
        why = f"no margin on the path at {at * 1e3:.1f} mm"
    return v, why, margin, limit
