"""Least privilege as one table: which role may call what. A call that is not listed is refused for everybody."""

from teleop.console.contracts import Principal, Role

S, E, M, B = Role.SURGEON, Role.EXPERT, Role.MENTOR, Role.BEDSIDE
EVERYBODY = frozenset(Role)
#: Those who take part; observers, reviewers and viewers look.
CONSULT = frozenset({S, E, M, B})
ADVISE = frozenset({S, E, M})
SPEAK = EVERYBODY - {Role.VIEWER}
SURGEON = frozenset({S})

ALLOWED: dict[str, frozenset[Role]] = {
    # looking
    "cases.list": EVERYBODY,
    "cases.open": CONSULT,
    "cases.sources": CONSULT,
    "cases.show": EVERYBODY,
    # planning
    "plan.auto": SURGEON,
    "plan.edit": SURGEON,
    "plan.preview": CONSULT,
    "plan.undo": SURGEON,
    "plan.redo": SURGEON,
    "plan.add": SURGEON,
    "plan.remove": SURGEON,
    "plan.choose": SURGEON,
    "plan.approve": SURGEON,
    "plan.void": SURGEON,
    "plan.import": SURGEON,
    "plan.export": EVERYBODY,
    "plan.transfer": SURGEON,
    # sites and motion
    "site.order": SURGEON,
    "site.stop": EVERYBODY,
    "hand": SURGEON,
    "hand.mode": SURGEON,
    "hand.settings": SURGEON,
    "site.robot": EVERYBODY,
    "site.path": EVERYBODY,
    # consult
    "room.chat": CONSULT,
    "room.pointer": CONSULT,
    "room.draw": CONSULT,
    "room.erase": CONSULT,
    "room.hand": CONSULT,
    "room.propose": ADVISE,
    "room.decide": SURGEON,
    "room.present": SURGEON,
    "room.look": CONSULT,
    "consult.request": CONSULT,
    "consult.look": EVERYBODY,
    "consult.close": CONSULT,
    "consult.duty": frozenset({S, M}),
    "consult.invite": frozenset({S, M, B}),
    "consult.revoke": frozenset({S, M, B}),
    "consult.say": SPEAK,
    "consult.ack": EVERYBODY,
    "consult.voice": SPEAK,
    "consult.mark": CONSULT,
    "consult.point": CONSULT,
    # live pictures
    "media.open": EVERYBODY,
    "media.watch": EVERYBODY,
    "media.room": EVERYBODY,
    "media.leave": EVERYBODY,
    "media.thumbnail": EVERYBODY,
    # alarms
    "alarm.silence": EVERYBODY,
}


def may(principal: Principal, call: str) -> bool:
    """Whether this person may make this call."""
    return principal.role in ALLOWED.get(call, frozenset())
