"""What must be true before anything moves, each in words with who can clear it, and what the line's quality permits."""

from safety import authority
from safety.params import Params
from safety.situation import Situation
from safety.states import Mode, State


def blockers(s: Situation, p: Params) -> list[str]:
    """What stands between READY (or HOLD) and motion; [] when only the press is missing. Most basic first."""
    local = s.auth.holder == authority.LOCAL
    out: list[str] = []
    if s.fault_to_ack:
        out.append(f"the last run ended in a fault ({s.fault_to_ack}): the bedside must acknowledge it")
    if s.report is None or not s.arm_up:
        out.append("the arm does not report: start the arm process")
    elif s.report.drive == "fault":
        out.append(f"the drive is at fault ({s.report.fault}): see the arm")
    if p.require_recorder and not _up(s, "recorder"):
        out.append("no recorder: start it, nothing moves without a log")
    elif _up(s, "recorder") and s.peers["recorder"].note in ("disk_low", "disk_full"):
        out.append("the log's disk is full: free space")
    if not s.auth.holder:
        out.append("nobody holds the arm: the surgeon asks, the bedside grants")
    if local:
        return out
    if not _up(s, "case"):
        out.append("no bedside desk: start the case node")
    if not _up(s, "gateway"):
        out.append("no gateway: start it")
    if p.require_qualification:
        if s.now >= s.line_until:
            out.append("the line is not qualified (or that is older than allowed): run the network test")
        if p.require_rehearsal:
            for kind, words in (("stop", "stop"), ("take_over", "take-over")):
                done = s.drills.get(kind)
                if done is None or not done.passed or s.now >= done.until:
                    out.append(
                        f"the {words} rehearsal has not been passed (or is too old): rehearse it with the bedside"
                    )
    if s.scene is None or not s.scene.confirmed:
        out.append("the case is not confirmed: plan, registration and time-out come first")
    need = p.healthy_hold_ns if s.state is State.HOLD else p.healthy_ready_ns
    if not s.healthy_since or s.now - s.healthy_since < need:
        have = (s.now - s.healthy_since) / 1e9 if s.healthy_since else 0.0
        why = "" if s.link_at else ": no link report from the gateway yet"
        out.append(f"the line has been healthy for {have:.1f} s of {need / 1e9:g} s{why}")
    return out


def _up(s: Situation, role: str) -> bool:
    peer = s.peers.get(role)
    return peer is not None and peer.up


def mode_blocked(s: Situation, mode: str, p: Params) -> str:
    """Why this mode is not allowed over the line as it is, or "". Comes back below `hysteresis` of the threshold."""
    p95 = s.est.age_p95()
    if p95 is None or s.auth.holder == authority.LOCAL:
        return ""
    if mode in (Mode.SERVO, Mode.JOG):
        limit, words = p.a_servo_ns, "the hand is blocked above {} ms loop age: use goal motions"
    elif mode == Mode.ADVANCE:
        limit, words = p.a_advance_ns, "no feed above {} ms loop age: wait for a better line"
    else:
        return ""
    running = s.lease is not None and s.mode == mode
    if p95 > (limit if running else int(limit * p.hysteresis)):
        return words.format(limit // 1_000_000)
    return ""


def update_health(s: Situation, p: Params) -> None:
    """`healthy_since`: since when the line could carry a session: a fresh report of the gateway with a good path, own
    loop age within bounds.
    """
    p95 = s.est.age_p95()
    good = (
        s.link_at > 0
        and s.now - s.link_at <= p.link_report_ns
        and s.link_ok
        and s.now >= s.late_until
        and (p95 is None or p95 <= int(p.a_hold_ns * p.hysteresis))
    )
    if not good:
        s.healthy_since = 0
    elif not s.healthy_since:
        s.healthy_since = s.now


def read_link(paths: list[dict[str, object]], p: Params) -> tuple[tuple[bool, ...], bool]:
    """(alive per path, is any path good enough). A missing figure counts as the worst."""
    alive, good = [], False
    for path in paths[:4]:
        up = path.get("alive") is True
        alive.append(up)
        rtt, loss = path.get("rtt_ms"), path.get("loss", 0.0)
        if up and isinstance(rtt, int | float) and isinstance(loss, int | float):
            good = good or (0.0 <= rtt * 1e6 <= p.a_hold_ns * p.hysteresis and loss <= 0.2)
    return tuple(alive), good
