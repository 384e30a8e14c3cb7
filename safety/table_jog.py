"""What the doctor at the table may move after a take-over: the guide, slowly, away from the patient. Pure checks of the gate.

The bedside is a principal like any other: its command frames carry the epoch of the take-over, a press, an echo, and get
leases that end by themselves. It steers by looking at the arm, so no video is asked for; the echo (the status that its tablet
drew) bounds the age of the press. It may move in `jog` only and never turns the guide. The target may not be nearer to what
is forbidden than `near_keepout`, and where the guide is nearer already, not nearer than it stands, nor may the way there be: every
permitted motion leads away. Without a scene nobody knows where the patient is: then only back along the guide's own axis.

The WAN, the gateway, the line's qualification and the remote surgeon's plan are not asked; the arm, the recorder and the desk are.
"""

from safety.command import Command
from safety.fixtures import along, axis_of, clearance, dot, norm, sub, tip_of, turn
from safety.params import Params
from safety.situation import Situation
from safety.states import Mode, Reason, State

Refused = tuple[Reason, str]
_PASS: Refused = (Reason.OK, "")
#: A target that turns the guide by more than this is no jog of the table (rad); the drive's own following error is below.
_NO_TURN = 0.005
#: Sideways share, and sideways slack (m: the set-point moved since the frame was made), of a motion back along the axis.
_SIDEWAYS, _SLACK = 0.05, 0.0002
#: Where the way to a target is looked at, as shares of it: densely at its begin, which is what a lease will really go.
_ALONG = (1 / 64, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)


def blocked(s: Situation, p: Params) -> str:
    """Why the table may not move the arm just now, with what to do; "" when only the press is missing."""
    recorder = s.peers.get("recorder")
    if s.state is not State.LOCAL:
        return f"the table moves the arm in LOCAL only, not in {s.state}: take over first"
    if s.local_stop:
        return f"{s.local_stop}: re-arm at the table first"
    if s.report is None or not s.arm_up:
        return "the arm does not report: use the robot's own pendant"
    if s.report.drive == "fault":
        return f"the drive is at fault ({s.report.fault}): re-arm at the table"
    if p.require_recorder and (recorder is None or not recorder.up):
        return "no recorder, and nothing moves without a log: use the robot's own pendant"
    if recorder is not None and recorder.up and recorder.note in ("disk_low", "disk_full"):
        return "the log's disk is full: free space, or use the robot's own pendant"
    return ""


def leads_away(s: Situation, c: Command, p: Params) -> Refused:
    """MODE, CORRIDOR: is this target one that the table may ask for, from where the set-point stands?"""
    if c.mode != Mode.JOG or c.target is None:
        return Reason.MODE, "the table jogs only"
    assert s.report is not None  # the gate asked
    here = s.report.setpoint
    if turn(here, c.target) > _NO_TURN:
        return Reason.MODE, "the table's jog does not turn the guide"
    if s.scene is None:
        way, axis = sub(tip_of(c.target), tip_of(here)), axis_of(here)
        back = -dot(way, axis)
        if back < -_SLACK or norm(along(way, back, axis)) > _SIDEWAYS * norm(way) + _SLACK:
            return Reason.CORRIDOR, "no plan yet, so nobody knows where the patient is: only back along the guide"
        return _PASS
    now, _ = clearance(s.scene, here, p.tool_length, p.tool_radius)
    way = sub(tip_of(c.target), tip_of(here))
    for share in _ALONG:  # a target that is farther may lie behind something: the way there counts as well
        at = (*along(tip_of(here), share, way), *c.target[3:])
        then, name = clearance(s.scene, at, p.tool_length, p.tool_radius)
        if then < p.near_keepout and then < now - 1e-9:
            return Reason.CORRIDOR, f"nearer to {name} ({then * 1e3:.1f} mm): the table only moves the guide away"
    return _PASS
