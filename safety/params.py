"""`Params`: every number the kernel decides with, its validated envelope and where it comes from.

Frozen, set once at the start of the governor from its command line, recorded in the log's boot event. Nothing received
over the WAN can change one. A value outside its envelope raises `ParamError` and the governor refuses to start.
Lengths m, speeds m/s, times integer ns, angles rad.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

MS = 1_000_000
S = 1_000_000_000


class ParamError(ValueError):
    """A parameter is unknown, of the wrong type, or outside its validated envelope."""


@dataclass(frozen=True, slots=True)
class Params:
    """Defaults are the ones the campaign was run with (docs/results/safety.md)."""

    # The bound. L: nuisance pauses against travel, chosen on the measured traces; Td: drive tick; Ta: actuator onset.
    lease_ns: int = 150 * MS
    t_d_ns: int = 4 * MS
    t_a_ns: int = 10 * MS
    a_max: float = 0.2
    j_max: float = 2.0
    e_track: float = 0.0002
    # Speeds and zones. m_zone: the largest margin the speed law may use in a zone.
    v_max: float = 0.1
    v_free: float = 0.05
    v_near: float = 0.02
    v_bone: float = 0.005
    v_rehearsal: float = 0.01
    v_table: float = 0.01
    w_max: float = 0.5
    m_free: float = 0.010
    m_near: float = 0.002
    m_bone: float = 0.0005
    m_retreat: float = 0.0005
    reserve: float = 0.0002
    near_keepout: float = 0.010
    tool_length: float = 0.10
    tool_radius: float = 0.006
    # Loop age: green below Nankaku's 100 ms; amber 200 (Xu 2014 "ideal"); servo 300 (Xu "safe", Lindbergh 330);
    # hold 500 (Anvari 2005, Xu's upper end); 700 immediate (Xu: 600-700 only low-risk simple tasks).
    a_degraded_ns: int = 200 * MS
    a_advance_ns: int = 200 * MS
    a_servo_ns: int = 300 * MS
    a_hold_ns: int = 500 * MS
    a_any_ns: int = 700 * MS
    require_view: bool = False
    # Link and liveness.
    silence_hold_ns: int = 500 * MS
    hold_stop_ns: int = 3 * S
    loss_degraded: float = 0.02
    late_degraded_ns: int = 20 * MS
    hysteresis: float = 0.8
    dwell_ns: int = 2 * S
    healthy_hold_ns: int = 1 * S
    healthy_ready_ns: int = 2 * S
    link_report_ns: int = 1 * S
    authority_ttl_ns: int = 1 * S
    peer_alarm_ns: int = 200 * MS
    peer_hold_ns: int = 1 * S
    arm_silent_ns: int = 500 * MS
    arm_silent_parked_ns: int = 2 * S
    # Counting.
    rejects_hold: int = 10
    stale_hold: int = 5
    resumes_max: int = 3
    resumes_window_ns: int = 60 * S
    holds_max: int = 3
    holds_window_ns: int = 600 * S
    seq_jump: int = 1000
    seq_rate_hz: int = 200
    bucket_rate_hz: int = 400
    bucket_burst: int = 400
    # Geometry of one command.
    jump: float = 0.010
    jump_rad: float = 0.10
    lead: float = 0.020
    lead_rad: float = 0.20
    lead_max: float = 0.050
    lead_max_rad: float = 0.50
    resume: float = 0.002
    resume_rad: float = 0.02
    lead_joint: float = 0.15
    path_start_rad: float = 0.02
    reach: float = 1.2
    z_min: float = -0.3
    # Supervision of the arm as it reports itself.
    tracking_stop: float = 0.005
    force_hold: float = 30.0
    pose_jump: float = 0.020
    freeze_setpoint: float = 0.003
    # Conditions.
    qualification_ns: int = 1800 * S
    require_qualification: bool = True
    require_rehearsal: bool = True
    require_recorder: bool = True
    stuck_prompt_ns: int = 30 * S
    stuck_hold_ns: int = 5 * S
    stuck_move: float = 5e-7
    stuck_turn: float = 5e-6
    press_prompt_ns: int = 120 * S
    log_grace_ns: int = 60 * S
    # Only a campaign switches this off, to show that the campaign would notice. The process refuses it.
    lease_enabled: bool = True

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if type(value) is not f.type:
                raise ParamError(f"{f.name}: {value!r} is a {type(value).__name__}, needs {f.type}")
            limits = ENVELOPE.get(f.name)
            if limits is not None and not limits[0] <= value <= limits[1]:
                raise ParamError(f"{f.name} = {value} is outside its envelope {limits[0]} .. {limits[1]} ({limits[2]})")
        if not self.m_bone <= self.m_near <= self.m_free:
            raise ParamError("zones out of order: needs m_bone <= m_near <= m_free")
        if not self.a_degraded_ns <= self.a_servo_ns <= self.a_hold_ns <= self.a_any_ns:
            raise ParamError("loop age thresholds out of order: needs degraded <= servo <= hold <= any")

    @property
    def t_react(self) -> float:
        """L + Td + Ta in seconds: from t_k to the begin of the deceleration, at the latest."""
        return (self.lease_ns + self.t_d_ns + self.t_a_ns) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Plain map for the boot event of the log."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Params":
        """Raises `ParamError` on an unknown name."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ParamError(f"unknown parameters {sorted(unknown)}; known: {', '.join(f.name for f in fields(cls))}")
        return cls(**values)

    @classmethod
    def from_words(cls, words: list[str]) -> "Params":
        """From `name=value` words of a command line; `*_ns` also as `lease_ms=120`. Raises `ParamError`."""
        types = {f.name: f.type for f in fields(cls)}
        values: dict[str, Any] = {}
        for word in words:
            name, sep, text = word.partition("=")
            if not sep:
                raise ParamError(f"{word!r}: write name=value")
            scale = 1
            if name not in types and name.endswith("_ms") and name[:-3] + "_ns" in types:
                name, scale = name[:-3] + "_ns", MS
            if name not in types:
                raise ParamError(f"unknown parameter {name!r}; known: {', '.join(types)}")
            try:
                kind = types[name]
                if kind is bool:
                    values[name] = {"1": True, "true": True, "0": False, "false": False}[text.lower()]
                elif kind is int:
                    values[name] = round(float(text) * scale) if scale != 1 else int(text)
                else:
                    values[name] = float(text)
            except (ValueError, KeyError):
                raise ParamError(f"{name}: {text!r} is not a {types[name]}") from None
        return cls(**values)


#: name -> (lowest, highest, why these limits). Booleans have none.
ENVELOPE: dict[str, tuple[float, float, str]] = {
    "lease_ns": (
        20 * MS,
        200 * MS,
        "below 20 ms a 100 Hz stream pauses on each lost frame; above 200 ms X exceeds 2 mm at 8 mm/s",
    ),
    "t_d_ns": (1 * MS, 20 * MS, "drive loop 50 Hz .. 1 kHz"),
    "t_a_ns": (0, 50 * MS, "actuator onset, measured in the rehearsal"),
    "a_max": (0.02, 2.0, "gentle .. hard braking of a collaborative arm"),
    "j_max": (0.2, 50.0, "gentle .. typical controller jerk limit"),
    "e_track": (0.0, 0.003, "position error of the drive; above 3 mm no bone work makes sense"),
    "v_max": (0.001, 0.25, "250 mm/s is the reduced speed of ISO 10218"),
    "v_free": (0.001, 0.25, "as v_max"),
    "v_near": (0.0005, 0.05, "near anatomy"),
    "v_bone": (0.0002, 0.01, "in contact with bone"),
    "v_rehearsal": (0.001, 0.01, "rehearsals never above 10 mm/s"),
    "v_table": (0.001, 0.02, "the jog of the doctor at the table: slow, by eye"),
    "w_max": (0.01, 1.0, "rad/s"),
    "m_free": (0.001, 0.05, "free air"),
    "m_near": (0.0002, 0.01, "near anatomy"),
    "m_bone": (0.0001, 0.002, "in contact with bone"),
    "m_retreat": (0.0001, 0.002, "moving away from a wall"),
    "reserve": (0.0, 0.005, "kept clear on top of 2 sigma of the registration"),
    "near_keepout": (0.001, 0.1, "distance at which a keep-out makes a place 'near'"),
    "tool_length": (0.0, 0.5, "tool points behind the tip"),
    "tool_radius": (0.0, 0.05, "tool as a capsule"),
    "a_degraded_ns": (50 * MS, 200 * MS, "Xu 2014, 200 ms ideal"),
    "a_advance_ns": (50 * MS, 200 * MS, "no feed above 200 ms"),
    "a_servo_ns": (100 * MS, 300 * MS, "Xu 2014 'safe' for all subjects"),
    "a_hold_ns": (200 * MS, 500 * MS, "Anvari 2005, Xu 2014 upper end"),
    "a_any_ns": (300 * MS, 700 * MS, "Xu 2014: above, only low-risk simple tasks"),
    "silence_hold_ns": (200 * MS, 500 * MS, "as a_hold"),
    "hold_stop_ns": (1 * S, 10 * S, "link down in HOLD"),
    "loss_degraded": (0.001, 0.1, "share of frames"),
    "late_degraded_ns": (5 * MS, 100 * MS, "own lateness"),
    "hysteresis": (0.5, 0.95, "share of the enter threshold"),
    "dwell_ns": (1 * S, 10 * S, "de-escalation"),
    "healthy_hold_ns": (500 * MS, 10 * S, "leaving HOLD"),
    "healthy_ready_ns": (500 * MS, 10 * S, "READY to ACTIVE"),
    "link_report_ns": (200 * MS, 2 * S, "age of the gateway's link report"),
    "authority_ttl_ns": (500 * MS, 2 * S, "authority lease"),
    "peer_alarm_ns": (200 * MS, 1 * S, "four heartbeats of 50 ms; tighter is nuisance for Python"),
    "peer_hold_ns": (200 * MS, 5 * S, "a silent but connected peer"),
    "arm_silent_ns": (50 * MS, 1 * S, "report silence while moving"),
    "arm_silent_parked_ns": (500 * MS, 5 * S, "report silence while parked (10 Hz)"),
    "rejects_hold": (2, 50, "holder's own rejects in 1 s"),
    "stale_hold": (1, 20, "stale frames in 1 s: 5 is 5 % of 100 Hz"),
    "resumes_max": (0, 10, "soft resumes per window"),
    "resumes_window_ns": (10 * S, 600 * S, "window of the soft resumes"),
    "holds_max": (1, 10, "HOLDs per window before STOP"),
    "holds_window_ns": (60 * S, 3600 * S, "window of the HOLDs"),
    "seq_jump": (10, 10_000, "sequence-leading attack (Bonaci 2015)"),
    "seq_rate_hz": (50, 2000, "largest honest frame rate"),
    "bucket_rate_hz": (100, 4000, "two copies of 100 Hz, twice over"),
    "bucket_burst": (50, 4000, "a healed TCP stall of 2 s on one path"),
    "jump": (0.0005, 0.02, "between two accepted targets"),
    "jump_rad": (0.01, 0.3, "as jump"),
    "lead": (0.001, 0.05, "target ahead of the set-point"),
    "lead_rad": (0.01, 0.5, "as lead"),
    "lead_max": (0.005, 0.1, "beyond: refused as a jump"),
    "lead_max_rad": (0.05, 1.0, "as lead_max"),
    "resume": (0.0005, 0.005, "first target after a rebase"),
    "resume_rad": (0.005, 0.1, "as resume"),
    "lead_joint": (0.01, 0.3, "rad, local joint servo"),
    "path_start_rad": (0.001, 0.05, "joints at the begin of a stored path"),
    "reach": (0.3, 3.0, "tip from base"),
    "z_min": (-2.0, 1.0, "tip height in the base frame"),
    "tracking_stop": (0.0005, 0.02, "measured against reference"),
    "force_hold": (1.0, 100.0, "N at the tip"),
    "pose_jump": (0.002, 0.1, "between two reports, beyond what speed explains"),
    "freeze_setpoint": (0.001, 0.02, "set-point travel while encoders stand still"),
    "qualification_ns": (60 * S, 1800 * S, "30 min at most"),
    "stuck_prompt_ns": (5 * S, 60 * S, "unchanging hand"),
    "stuck_hold_ns": (1 * S, 10 * S, "after the prompt"),
    "stuck_move": (0.0, 1e-4, "well below a hand's tremor (tenths of a mm) after scaling"),
    "stuck_turn": (0.0, 1e-3, "rad, as stuck_move"),
    "press_prompt_ns": (30 * S, 300 * S, "hold-to-run without a release"),
    "log_grace_ns": (1 * S, 60 * S, "disk full: HOLD within"),
}
