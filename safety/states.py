"""The words of the kernel: states of an arm, modes of motion, reasons of a refusal.

Sources: the state table follows PX4's explicit failsafe machine and IEC 60204-1 stop categories
(PAUSE and HOLD are category 2: controlled stop, power kept, standstill monitored; STOP is category 1).
"""

from enum import StrEnum


class State(StrEnum):
    """State of one arm as its governor decides it. Only ACTIVE and DEGRADED (and READY in rehearsal) permit motion."""

    INIT = "INIT"
    READY = "READY"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    PAUSE = "PAUSE"
    HOLD = "HOLD"
    STOP = "STOP"
    FAULT = "FAULT"
    LOCAL = "LOCAL"


class Mode(StrEnum):
    """What a command asks for."""

    SERVO = "servo"
    JOG = "jog"
    GOAL = "goal"
    ADVANCE = "advance"
    REHEARSAL = "rehearsal"


class Reason(StrEnum):
    """Why the gate refused a command, in the order in which the gate asks (cheap questions first)."""

    OK = "ok"
    FLOOD = "flood"
    SIZE = "size"
    DECODE = "decode"
    FIELDS = "fields"
    NOT_FINITE = "not_finite"
    VERSION = "version"
    ADDRESS = "address"
    SESSION = "session"
    ROLE = "role"
    EPOCH = "epoch"
    NOT_HOLDER = "not_holder"
    DUPLICATE = "duplicate"  # second copy of a frame: dropped in silence, not a refusal
    SEQUENCE = "sequence"
    SEQUENCE_JUMP = "sequence_jump"
    REBASE = "rebase"
    ECHO_FUTURE = "echo_future"
    ECHO_BACKWARD = "echo_backward"
    STALE = "stale"
    STATE = "state"
    MODE = "mode"
    PLAN_HASH = "plan_hash"
    PATH_HASH = "path_hash"
    REGISTRATION = "registration"
    JUMP = "jump"
    WORKSPACE = "workspace"
    CORRIDOR = "corridor"
    DEADMAN = "deadman"
