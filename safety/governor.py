"""The governor: `step(situation, input, params) -> (situation', outputs)`, pure. Time is part of the input.

It admits or refuses commands, holds the authority, runs the states, applies the speed law, gives leases. It may reduce,
refuse, hold, stop. It never creates motion, and nothing that came over the WAN can raise a limit or lengthen a lease.
Decisions use Python ints and floats, + - * / sqrt and comparisons only, so that a replay on any machine is bit-exact.

An exception inside a step is itself a decision: FAULT, with the motion ended. `step_unguarded` shows it, for tests.
"""

from safety.admission import on_command, on_stop
from safety.authority import Authority
from safety.inputs import (
    ArmIn,
    BeatIn,
    BootIn,
    CommandIn,
    Input,
    LinkIn,
    OrderIn,
    Output,
    PathOkIn,
    PeerIn,
    ReportIn,
    RolesIn,
    StopIn,
    TickIn,
)  # fmt: skip
from safety.orders import on_order, set_roles
from safety.params import Params
from safety.roles import Roles
from safety.situation import Situation
from safety.supervision import (
    on_arm,
    on_beat,
    on_link,
    on_path_ok,
    on_peer,
    on_report,
    on_tick,
    quality,
)  # fmt: skip
from safety.transitions import fault


def boot(i: BootIn) -> tuple[Situation, Params]:
    """The first situation and the parameters, from the boot input alone. Raises `ParamError`."""
    params = Params.from_dict(i.params)
    auth = Authority(i.epoch_first - 1, i.epoch_last)
    s = Situation(i.site, i.arm, i.session, i.local_control, i.demo_qualification, Roles(i.roles), auth)
    s.now = s.since = i.now
    s.fault_to_ack = i.fault
    return s, params


def step(s: Situation, i: Input, p: Params) -> tuple[Situation, list[Output]]:
    """One decision. Never raises: what goes wrong inside ends the motion and latches FAULT."""
    try:
        return step_unguarded(s, i, p)
    except Exception as error:
        new = s.clone()
        new.now, new.n = max(s.now, i.now), s.n + 1
        out: list[Output] = []
        fault(new, out, f"internal: {type(error).__name__}: {error}", "governor")
        return new, out


def step_unguarded(s: Situation, i: Input, p: Params) -> tuple[Situation, list[Output]]:
    """As `step`, but an error inside is raised."""
    s = s.clone()
    s.now = max(s.now, i.now)  # monotonic, whatever the edge does
    s.n += 1
    out: list[Output] = []
    if isinstance(i, CommandIn):
        on_command(s, out, i, p)
        if i.key == s.auth.holder:
            quality(s, out, p)
    elif isinstance(i, ReportIn):
        on_report(s, out, i, p)
    elif isinstance(i, TickIn):
        on_tick(s, out, i, p)
    elif isinstance(i, OrderIn):
        on_order(s, out, i, p)
    elif isinstance(i, StopIn):
        on_stop(s, out, i.key, p)
    elif isinstance(i, LinkIn):
        on_link(s, out, i, p)
    elif isinstance(i, BeatIn):
        on_beat(s, out, i, p)
    elif isinstance(i, PeerIn):
        on_peer(s, out, i, p)
    elif isinstance(i, PathOkIn):
        on_path_ok(s, out, i, p)
    elif isinstance(i, ArmIn):
        on_arm(s, out, i, p)
    elif isinstance(i, RolesIn):
        set_roles(s, out, Roles(i.entries), p)
    else:
        raise TypeError(f"unknown input {type(i).__name__}")
    return s, out
