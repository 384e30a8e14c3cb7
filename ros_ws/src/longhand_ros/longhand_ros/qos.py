"""Quality of service of every topic, in one place.

The CRTK face is chosen so that a client with ROS's default profile (reliable, volatile, depth 10) always matches, and
nothing old is replayed at it or by it: no deadline and no liveliness is asked for there. Our own topics ask for both,
where a loss must be seen.
"""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, *, reliable: bool, latched: bool = False, deadline_s: float | None = None,
             lease_s: float | None = None) -> QoSProfile:
    profile = QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
    if deadline_s is not None:
        profile.deadline = Duration(nanoseconds=int(deadline_s * 1e9))
    if lease_s is not None:
        profile.liveliness = LivelinessPolicy.AUTOMATIC
        profile.liveliness_lease_duration = Duration(nanoseconds=int(lease_s * 1e9))
    return profile


#: measured_*, setpoint_*, goal_*: offered reliable so that reliable subscribers match, one deep so that none is old.
STATE = _profile(1, reliable=True)
#: servo_*, interpolate_*: newest only; best effort matches reliable and best-effort publishers alike.
SERVO = _profile(1, reliable=False)
#: hold, state_command, move_*: none may be lost, and none from before we listened may act.
ORDER = _profile(10, reliable=True)
#: operating_state, robot_description, /tf_static: a late joiner gets the last one.
LATCHED = _profile(1, reliable=True, latched=True)
#: /tf, diagnostics: as the tools subscribe.
STREAM = _profile(100, reliable=True)

#: arm_state at 100 Hz (10 Hz while parked): silence of 0.5 s, or a dead arm process, is reported.
ARM_STATE_OFFERED = _profile(1, reliable=False, deadline_s=0.5, lease_s=1.0)
ARM_STATE_WANTED = _profile(1, reliable=False, deadline_s=0.5, lease_s=1.0)
#: governor/status, at least 10 Hz.
STATUS_OFFERED = _profile(1, reliable=True, deadline_s=0.5, lease_s=1.0)
#: governor/alarms, governor events, case events: every one, and the last ones for who comes late.
EVENTS = _profile(200, reliable=True, latched=True)
#: lease mirror and tracker samples.
SAMPLES = _profile(10, reliable=False)
