"""What the governor watches without being asked: the arm's reports, its partners, time. Escalates; never starts
anything but READY.
"""

from safety import alarms, authority
from safety.alarms import Alarms
from safety.conditions import read_link, update_health
from safety.inputs import ArmIn, BeatIn, LinkIn, Output, PathOkIn, PeerIn, ReportIn, TickIn
from safety.params import Params
from safety.situation import DrillResult, Peer, Situation
from safety.speed_law import travel_bound
from safety.states import Mode, State
from safety.stopping import steady_stop, worst_stop_time
from safety.transitions import MOVING, end_motion, fault, hold, move_to, pause, stop

#: Peers without which a remote surgeon's motion ends.
REQUIRED = ("gateway", "recorder", "case")
_LATE_MEMORY_NS = 1_000_000_000
#: Share of its cap from which an arm counts as moving steadily (the drive uses 94 % of a cap).
_STEADY = 0.9


def _set(a: Alarms, on: bool, id_: str, text: str, now: int) -> Alarms:
    return alarms.raised(a, id_, text, now) if on else alarms.cleared(a, id_)


# --- the arm --------------------------------------------------------------------------------------------------------


def on_arm(s: Situation, out: list[Output], i: ArmIn, p: Params) -> None:
    """The arm's socket came or went. Its going is a fault: it stands for the robot's own controller."""
    s.arm_up = i.up
    if i.up:
        s.paths = {}
        s.report, s.report_at = None, 0
        return
    if s.state is not State.INIT:
        s.alarms = alarms.raised(s.alarms, "arm_lost", "the arm process disconnected", s.now)
        fault(s, out, "the arm process is gone", "arm")
    s.report = None


def on_report(s: Situation, out: list[Output], i: ReportIn, p: Params) -> None:
    """Supervise what the arm says of itself; a report with an old stamp is no report."""
    r, before = i.report, s.report
    if before is not None and r.stamp <= before.stamp:
        return
    if r.stamp > s.now:
        fault(s, out, "the arm reports from the future: not the same clock", "arm")
        return
    s.report, s.report_at = r, s.now
    s.alarms = alarms.cleared(s.alarms, "arm_lost")
    if r.drive == "fault" and s.state is not State.INIT and s.now >= s.clear_until:
        _drive_fault(s, out, r.fault, p)
    if r.tracking_error > p.tracking_stop:
        s.alarms = alarms.raised(s.alarms, "tracking", f"{r.tracking_error * 1e3:.1f} mm off its reference", s.now)
        stop(s, out, f"tracking error {r.tracking_error * 1e3:.1f} mm", "arm")
    if r.force > p.force_hold and (s.lease is not None or s.state in MOVING):
        s.alarms = alarms.raised(s.alarms, "force", f"{r.force:.0f} N at the tip", s.now)
        hold(s, out, p, f"force {r.force:.0f} N, allowed {p.force_hold:.0f} N", "arm")
    elif r.force <= p.force_hold:
        s.alarms = alarms.cleared(s.alarms, "force")
    if before is not None:
        _plausible(s, out, p, (r.stamp - before.stamp) * 1e-9, before.pose, r.pose)
    _frozen(s, out, p)
    if s.lease is not None and s.lease.mode == Mode.REHEARSAL and r.tracking_error > p.e_track + s.extra_track:
        s.extra_track = r.tracking_error - p.e_track
    if s.drill is not None:
        _measure(s, p)


def _drive_fault(s: Situation, out: list[Output], why: str, p: Params) -> None:
    low = why.lower()
    if "force" in low:
        s.alarms = alarms.raised(s.alarms, "force", why, s.now)
        hold(s, out, p, f"drive: {why}", "arm")
    elif "track" in low:
        s.alarms = alarms.raised(s.alarms, "tracking", why, s.now)
        stop(s, out, f"drive: {why}", "arm")
    else:
        fault(s, out, f"drive: {why or 'unnamed fault'}", "arm")


def _plausible(
    s: Situation, out: list[Output], p: Params, dt: float, a: tuple[float, ...], b: tuple[float, ...]
) -> None:
    """A pose that moved further than the arm can is an encoder's or kinematics' fault."""
    reach = p.pose_jump + 2.0 * p.v_max * dt
    d2 = (b[0] - a[0]) * (b[0] - a[0]) + (b[1] - a[1]) * (b[1] - a[1]) + (b[2] - a[2]) * (b[2] - a[2])
    if not d2 <= reach * reach and s.state is not State.INIT:
        fault(s, out, "the measured pose jumped", "arm")


def _frozen(s: Situation, out: list[Output], p: Params) -> None:
    """Encoders that repeat the very same bits while the set-point travels are dead."""
    r = s.report
    assert r is not None
    if s.lease is None or r.q != s.frozen_q or not s.frozen_setpoint:
        s.frozen_q, s.frozen_setpoint = r.q, r.setpoint
        return
    a, b = s.frozen_setpoint, r.setpoint
    d2 = (b[0] - a[0]) * (b[0] - a[0]) + (b[1] - a[1]) * (b[1] - a[1]) + (b[2] - a[2]) * (b[2] - a[2])
    if d2 > p.freeze_setpoint * p.freeze_setpoint:
        fault(s, out, "the encoders stand still while the reference moves", "arm")


def _measure(s: Situation, p: Params) -> None:
    """A rehearsed stop is over at standstill: was it within the bound, and how late did the braking begin?

    From its steady speed v0 an arm that brakes as assumed needs `steady_stop(v0)`; what it travelled beyond that, over v0, is
    its measured Td + Ta (a softer braking shows there too). What exceeds the assumed is added to every bound and to the age in
    the speed law. An arm that was still speeding up tells nothing about it: its drill only passes or not.
    """
    d, r = s.drill, s.report
    assert d is not None and r is not None
    if r.stamp <= d.t0 or not (r.drive in ("standstill", "parked", "fault") or r.speed < 0.0002):
        return
    took, travel = r.stamp - d.t0, r.travel - d.travel0
    bound = travel_bound(d.v, p) - d.v * p.lease_ns * 1e-9  # told at once: the lease does not enter
    limit = p.t_d_ns + p.t_a_ns + int(worst_stop_time(d.v, p.a_max, p.j_max) * 1e9) + 50_000_000  # + two reports
    passed = 0.0 <= travel <= bound and took <= limit and r.drive != "fault"
    react = 0
    if d.speed0 >= _STEADY * d.v:
        react = int((travel - steady_stop(d.speed0, p.a_max, p.j_max)) / d.speed0 * 1e9)
    drills = dict(s.drills)
    drills[d.kind] = DrillResult(
        d.kind, took, travel, bound, passed, s.now + p.qualification_ns, react if react > 0 else 0
    )
    s.drills, s.drill = drills, None
    worst = max(r.react for r in drills.values()) - p.t_d_ns - p.t_a_ns
    s.extra_react = worst if worst > 0 else 0


def on_path_ok(s: Situation, out: list[Output], i: PathOkIn, p: Params) -> None:
    """The arm took or refused a path."""
    held = s.paths.get(i.path_hash)
    if held is None:
        return
    paths = dict(s.paths)
    if i.ok:
        paths[i.path_hash] = (held[0], True)
    else:
        paths.pop(i.path_hash)
        if s.lease is not None and s.lease.path_hash == i.path_hash:
            pause(s, out, p, "scene", f"the arm dropped the path: {i.reason}", "arm")
    s.paths = paths


# --- partners -------------------------------------------------------------------------------------------------------


def on_peer(s: Situation, out: list[Output], i: PeerIn, p: Params) -> None:
    """A peer came or went."""
    peers = dict(s.peers)
    peers[i.role] = Peer(i.up, s.now)
    s.peers = peers
    if i.role in REQUIRED:
        s.alarms = _set(s.alarms, not i.up, f"{i.role}_lost", f"the {i.role} process disconnected", s.now)
        if i.up:
            s.alarms = alarms.cleared(s.alarms, f"{i.role}_silent")
        else:
            _partner_lost(s, out, i.role, "is gone", p)
    if i.role == "recorder" and i.up:  # its own word on its disk follows with the first heartbeat
        s.log_deadline = 0
        s.alarms = alarms.cleared(s.alarms, "log_disk")
    if i.role == "gateway" and not i.up:
        s.link_at, s.link_alive, s.link_ok = 0, (), False
        update_health(s, p)
    if i.role == "adapter" and not i.up and s.auth.holder == authority.LOCAL:
        end_motion(s, out, "the local client's adapter is gone")
        s.auth = authority.fence(s.auth)
        if s.state in (*MOVING, State.PAUSE):
            move_to(s, out, State.READY, "the local client's adapter is gone", "adapter")


def _partner_lost(s: Situation, out: list[Output], role: str, how: str, p: Params) -> None:
    if s.lease is None and s.state not in (*MOVING, State.PAUSE):
        return
    if s.remote or (role == "recorder" and p.require_recorder) or (role == "case" and s.auth.bedside_has_it):
        hold(s, out, p, f"the {role} {how}", role)


def on_beat(s: Situation, out: list[Output], i: BeatIn, p: Params) -> None:
    """A heartbeat; the recorder's carries its word on the disk."""
    known = s.peers.get(i.role)
    if known is None or not known.up:
        return
    peers = dict(s.peers)
    peers[i.role] = Peer(True, s.now, i.note)
    s.peers = peers
    s.alarms = alarms.cleared(s.alarms, f"{i.role}_silent")
    if i.role != "recorder" or i.note == known.note:
        return
    if i.note == "gap":
        s.alarms = alarms.raised(s.alarms, "log_gap", "the recorder dropped records", s.now)
    s.alarms = _set(s.alarms, i.note in ("disk_low", "disk_full"), "log_disk", f"recorder: {i.note}", s.now)
    s.log_deadline = s.now + p.log_grace_ns if i.note == "disk_full" else 0


def on_link(s: Situation, out: list[Output], i: LinkIn, p: Params) -> None:
    """The gateway's view of its paths."""
    alive, good = read_link(i.paths, p)
    s.link_at, s.link_alive, s.link_ok = s.now, alive, good
    s.path_lost = len(alive) > 1 and any(alive) and not all(alive)
    s.alarms = _set(s.alarms, s.path_lost, "path_lost", "one of the two lines is down", s.now)
    update_health(s, p)


# --- time -----------------------------------------------------------------------------------------------------------


def on_tick(s: Situation, out: list[Output], i: TickIn, p: Params) -> None:
    """Everything that time alone decides. Escalations first."""
    s.est = s.est.pruned(s.now)
    s.auth = authority.expire(s.auth, s.now)
    _own_lateness(s, out, i, p)
    if i.wall_step_ns:
        s.alarms = alarms.raised(s.alarms, "clock", f"the wall clock stepped by {i.wall_step_ns / 1e9:+.1f} s", s.now)
    _silent_arm(s, out, p)
    _silent_peers(s, out, p)
    _silent_line(s, out, p)
    if s.lease is not None and s.now >= s.lease.expiry:
        pause(s, out, p, "lease", "no valid command in time", "line")
    _floods(s, p)
    _log_policy(s, out, p)
    _stuck(s, out, p)
    update_health(s, p)
    quality(s, out, p)
    if s.state is State.INIT:
        self_test(s, out, p)
    if s.drill is not None and s.now - s.drill.t0 > 5_000_000_000:
        s.drill = None  # never came to rest: not passed


def self_test(s: Situation, out: list[Output], p: Params) -> None:
    """INIT -> READY when everything that motion needs is there."""
    recorder = s.peers.get("recorder")
    if s.fault_to_ack:
        s.reason = f"the last run ended in a fault ({s.fault_to_ack}): acknowledge it on site"
    elif s.report is None or not s.arm_up:
        s.reason = "waiting for the arm to report"
    elif s.report.drive == "fault":
        s.reason = f"the drive is at fault: {s.report.fault}"
    elif p.require_recorder and (recorder is None or not recorder.up):
        s.reason = "waiting for the recorder"
    else:
        move_to(s, out, State.READY, "self-test passed", "boot")


def _floods(s: Situation, p: Params) -> None:
    """A flood is over when every key's bucket has half filled again."""
    half = 0.5 * p.bucket_burst
    if all(tokens + (s.now - at) * 1e-9 * p.bucket_rate_hz > half for tokens, at in s.buckets.values()):
        s.alarms = alarms.cleared(s.alarms, "flood")


def _own_lateness(s: Situation, out: list[Output], i: TickIn, p: Params) -> None:
    s.late_ns = i.late_ns
    if i.late_ns > p.late_degraded_ns:
        s.late_until = s.now + _LATE_MEMORY_NS
        s.alarms = alarms.raised(s.alarms, "late", f"woke {i.late_ns // 1_000_000} ms late", s.now)
    elif s.now >= s.late_until:
        s.alarms = alarms.cleared(s.alarms, "late")
    if i.late_ns > p.lease_ns and (s.state in MOVING or s.lease is not None):
        hold(s, out, p, f"the governor woke {i.late_ns // 1_000_000} ms late", "governor")


def _silent_arm(s: Situation, out: list[Output], p: Params) -> None:
    if s.state in (State.INIT, State.FAULT) or not s.arm_up:
        return
    resting = s.report is not None and s.report.drive in ("parked", "standstill") and s.lease is None
    limit = p.arm_silent_parked_ns if resting else p.arm_silent_ns
    if s.now - s.report_at > limit:
        s.alarms = alarms.raised(s.alarms, "arm_lost", f"no report for {limit // 1_000_000} ms", s.now)
        fault(s, out, "the arm is silent", "arm")


def _silent_peers(s: Situation, out: list[Output], p: Params) -> None:
    for role in REQUIRED:
        peer = s.peers.get(role)
        if peer is None or not peer.up:
            continue
        silence = s.now - peer.beat
        if silence > p.peer_alarm_ns:
            s.alarms = alarms.raised(s.alarms, f"{role}_silent", f"the {role} is silent", s.now)
            if silence > p.peer_hold_ns:
                _partner_lost(s, out, role, "is silent", p)


def _silent_line(s: Situation, out: list[Output], p: Params) -> None:
    if not s.remote:
        return
    silence = s.now - s.last_valid
    if s.state in (*MOVING, State.PAUSE) and silence > p.silence_hold_ns:
        s.alarms = alarms.raised(s.alarms, "link_down", "no valid command", s.now)
        hold(s, out, p, f"no valid command for {p.silence_hold_ns // 1_000_000} ms", "line")
    if (
        s.state is State.HOLD
        and s.now - max(s.last_heard, s.since) > p.hold_stop_ns
        and s.now - s.last_heard > p.silence_hold_ns
    ):
        stop(s, out, f"the line has been down for {p.hold_stop_ns // 1_000_000_000} s in HOLD", "line")


def _log_policy(s: Situation, out: list[Output], p: Params) -> None:
    """A full disk ends motion within a minute, but never in the middle of a feed if the minute allows it."""
    if s.log_deadline and (s.state in MOVING or (s.auth.bedside_has_it and s.lease is not None)):
        feeding = s.lease is not None and s.mode == Mode.ADVANCE
        if not feeding or s.now >= s.log_deadline:
            hold(s, out, p, "the log's disk is full", "recorder")


def _stuck(s: Situation, out: list[Output], p: Params) -> None:
    """A hand that never changes is no hand. Servo and jog: the target; hold-to-run: the press."""
    table = s.auth.bedside_has_it
    if s.lease is None or not (table or (s.state in MOVING and s.remote)):
        s.alarms = alarms.cleared(s.alarms, "stuck")
        return
    by_eye = s.mode in (Mode.SERVO, Mode.JOG)
    since, limit = (s.changed_at, p.stuck_prompt_ns) if by_eye else (s.press_since, p.press_prompt_ns)
    if table:
        since = s.press_since  # its target moves with the arm: what must change is the press
    if s.now - since <= limit:
        s.alarms = alarms.cleared(s.alarms, "stuck")
        return
    s.alarms = alarms.raised(s.alarms, "stuck", f"the hand has not changed for {limit // 1_000_000_000} s", s.now)
    if s.now - since > limit + p.stuck_hold_ns:
        hold(s, out, p, "stuck hand: nothing changed after the prompt", "line")


def quality(s: Situation, out: list[Output], p: Params) -> None:
    """ACTIVE <-> DEGRADED, and HOLD by age. Worse at once, better after 2 s below 80 % of every threshold."""
    if s.state not in MOVING:
        return
    p95 = s.est.age_p95() or 0
    loss = s.est.loss()
    if s.remote and p95 > p.a_hold_ns:
        hold(s, out, p, f"loop age p95 {p95 // 1_000_000} ms", "line")
        return
    late = s.now < s.late_until
    why = ""
    if p95 > p.a_degraded_ns:
        why = f"loop age p95 {p95 // 1_000_000} ms"
    elif loss > p.loss_degraded:
        why = f"loss {loss * 100:.0f} %"
    elif s.path_lost:
        why = "one line is down"
    elif late:
        why = "the governor runs late"
    if why:
        s.calm_since = 0
        if s.state is State.ACTIVE:
            move_to(s, out, State.DEGRADED, why, "line")
        else:
            s.reason = why
        if s.now - s.since > 5_000_000_000:
            s.alarms = alarms.raised(s.alarms, "degraded", why, s.now)
        return
    if s.state is State.DEGRADED:
        calm = p95 <= int(p.a_degraded_ns * p.hysteresis) and loss <= p.loss_degraded * p.hysteresis
        if not calm:
            s.calm_since = 0
        elif not s.calm_since:
            s.calm_since = s.now
        elif s.now - s.calm_since >= p.dwell_ns:
            s.alarms = alarms.cleared(s.alarms, "degraded")
            move_to(s, out, State.ACTIVE, "the line is good again", "line")
