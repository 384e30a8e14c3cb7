"""Alarms with priority, latching and words. Priorities by harm and onset as in IEC 60601-1-8.

HIGH: somebody must act at once. MEDIUM: soon. LOW: be aware. A latched alarm stays until its cause is gone *and* a
person
acknowledged it; an unlatched one goes with its cause. The text says why, `what_to_do` says what to do.
"""

from dataclasses import dataclass, replace

HIGH, MEDIUM, LOW = "HIGH", "MEDIUM", "LOW"

#: id -> (priority, latched, what to do)
TABLE: dict[str, tuple[str, bool, str]] = {
    "hold": (HIGH, True, "Read the reason, acknowledge it, release the deadman and press it again."),
    "stop": (HIGH, True, "Check the patient. The bedside re-arms; then a new grant is needed."),
    "fault": (HIGH, True, "Secure the patient. Restart the site's arm and governor, then acknowledge on site."),
    "take_over": (HIGH, True, "The bedside has the arm. The remote surgeon waits until it is returned."),
    "link_down": (HIGH, True, "No valid command arrives: check the line; the bedside may take over."),
    "gateway_lost": (HIGH, True, "The gateway process is gone: restart the site's gateway."),
    "recorder_lost": (HIGH, True, "The recorder process is gone: no motion without a log; restart the recorder."),
    "case_lost": (HIGH, True, "The bedside desk is gone: use the robot's own stop; restart the case node."),
    "arm_lost": (HIGH, True, "The arm process is silent or gone: treat the arm as uncontrolled until it reports."),
    "tracking": (HIGH, True, "The arm does not follow its reference: check for an obstacle."),
    "force": (HIGH, True, "Contact force over its limit: look at the tool before going on."),
    "foreign": (HIGH, True, "A key that does not hold this arm sent commands: none was executed; find out who."),
    "masquerade": (HIGH, True, "A peer used a name that is not its own: inspect the site's processes."),
    "other_session": (HIGH, True, "Commands of another session arrived (a replay?): none was executed; find out who."),
    "malformed": (MEDIUM, True, "The holder's console sends frames that cannot be read: check its version."),
    "flood": (MEDIUM, False, "More frames than a console sends: the surplus is shed; find out who."),
    "revoked": (HIGH, True, "The holder's key was revoked or has expired: grant somebody else."),
    "degraded": (MEDIUM, False, "The line or the machine is slow: speed is reduced. Prefer goal motions."),
    "path_lost": (MEDIUM, False, "One of the two lines is down: call the network's people; control goes on."),
    "gateway_silent": (MEDIUM, False, "The gateway is late with its heartbeat."),
    "recorder_silent": (MEDIUM, False, "The recorder is late with its heartbeat."),
    "case_silent": (MEDIUM, False, "The bedside desk is late with its heartbeat."),
    "log_gap": (MEDIUM, True, "The log has a gap: the disk was too slow."),
    "log_disk": (MEDIUM, True, "The log's disk is nearly full: no new grant; finish and free space."),
    "late": (MEDIUM, False, "The governor runs late: the machine is overloaded."),
    "pauses": (MEDIUM, True, "Third pause in a minute: the next one becomes a HOLD."),
    "stuck": (MEDIUM, False, "The hand has not changed for long: release the deadman or move."),
    "clock": (MEDIUM, True, "The wall clock stepped. Control does not use it; times in reports may be off."),
    "no_realtime": (LOW, False, "No real-time priority on this machine: expect more pauses."),
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """active: the cause is still there. since: robot monotonic ns of the (latest) raising."""

    id: str
    priority: str
    text: str
    what_to_do: str
    since: int
    latched: bool
    active: bool
    acked: bool


Alarms = tuple[Alarm, ...]


def raised(alarms: Alarms, id_: str, text: str, now: int) -> Alarms:
    """The same alarm again only refreshes its text while it is active; after its end it is a new one."""
    priority, latched, what = TABLE[id_]
    for i, a in enumerate(alarms):
        if a.id == id_:
            if a.active and a.text == text and not a.acked:
                return alarms
            fresh = a.active
            new = replace(a, text=text, active=True, since=a.since if fresh else now, acked=a.acked and fresh)
            return (*alarms[:i], new, *alarms[i + 1 :])
    return (*alarms, Alarm(id_, priority, text, what, now, latched, True, False))


def cleared(alarms: Alarms, id_: str) -> Alarms:
    """The cause is gone. A latched alarm that nobody acknowledged stays, inactive."""
    for i, a in enumerate(alarms):
        if a.id == id_ and a.active:
            if not a.latched or a.acked:
                return (*alarms[:i], *alarms[i + 1 :])
            return (*alarms[:i], replace(a, active=False), *alarms[i + 1 :])
    return alarms


def acknowledged(alarms: Alarms, id_: str = "") -> Alarms:
    """A person saw it (all of them with ""). What is no longer active goes."""
    out = []
    for a in alarms:
        if id_ in ("", a.id):
            if not a.active:
                continue
            a = replace(a, acked=True)
        out.append(a)
    return tuple(out)
