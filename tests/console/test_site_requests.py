"""A county hospital asks at its bedside: the request crosses the line, the experts on call are told, and the table sees what became of it."""

import asyncio
from types import SimpleNamespace

from teleop.case.expert_requests import ExpertRequests
from teleop.console import consultation as c
from teleop.console.contracts import Role
from teleop.console.site_requests import SiteRequests, facts, take

S = 1_000_000_000


class Site:
    """The shipped machine of the hospital's end, and a line that can be down."""

    def __init__(self, clock):
        self.clock, self.experts, self.line_up, self.requests = clock, ExpertRequests(), True, []

    def order(self, op, who="bedside", **fields):
        return self.experts.handle(who, {"op": op, **fields}, self.clock.robot, 1.0, line_up=self.line_up, images={"case_id": "X"})

    def poll(self):
        if self.line_up:
            self.requests = self.order("case.requests", "console")["requests"]

    async def tell_request(self, number, facts):
        return self.order("case.consult", "console", id=number, **facts) if self.line_up else {"ok": False, "reason": "no line"}


class World:
    """One console and one hospital whose clocks have nothing to do with each other."""

    def __init__(self, on_call=(), people=()):
        self.mono, self.robot = 100 * S, 7_777 * S
        self.state = c.State(on_call=tuple(on_call), people={f"p{n}": c.Person(*who) for n, who in enumerate(people)})
        self.effects = []
        self.site = Site(self)
        self.bridge = SiteRequests("lin")

    def now(self):
        return c.Now(self.mono, self.mono / 1e9)

    def wait(self, ns):
        self.mono += ns
        self.robot += ns

    def do(self, result):
        self.state, effects = result
        self.effects += effects

    def turn(self, ns=S):
        self.wait(ns)
        self.site.poll()
        self.do(c.tick(self.state, self.now()))
        self.bridge.hear({"karamay": self.site}, lambda: self.state, self.do, self.now)
        asyncio.run(self.bridge.tell({"karamay": self.site}, self.state))

    def alerts(self):
        return [e.name for e in self.effects if isinstance(e, c.Alert)]

    def at_the_table(self):
        return self.site.order("case.requests")["requests"][-1]


CHEN, SATO = ("dr.chen", Role.MENTOR), ("dr.sato", Role.EXPERT)


def test_from_the_table_to_the_expert_and_back_with_the_time_until_the_images_were_open():
    w = World(["dr.chen"], [CHEN, SATO])
    w.site.order("case.ask_expert", question="Is L4 wide enough?", by="Dr. Wu")
    w.turn()
    assert w.alerts() == ["dr.chen"], "told once, and nobody else"
    w.turn()
    assert w.alerts() == ["dr.chen"]
    r = w.state.requests[0]
    assert (r.by, r.site, r.question, r.bedside) == ("Dr. Wu", "karamay", "Is L4 wide enough?", True)
    assert r.told == {"dr.chen": 1000.0}, "from the asking at the table, not from the arrival"
    w.wait(8 * S)
    w.do(c.look_at(w.state, c.Person(*CHEN), r.id, "opened", w.now()))
    w.turn()
    seen = w.at_the_table()
    assert seen["taken"] == "lin" and seen["opened"] == {"dr.chen": 10_000.0}
    rows = [(e.what, e.details.get("after_ms")) for e in w.effects if isinstance(e, c.Log)]
    assert rows == [("consult.request", 1000.0), ("consult.opened", 10_000.0)]
    w.do(c.close_request(w.state, c.Person(*CHEN), r.id, "6.0 fits", w.now()))
    w.turn()
    assert (w.at_the_table()["state"], w.at_the_table()["answer"]) == ("closed", "6.0 fits")


def test_with_nobody_of_those_on_call_here_everybody_who_may_advise_is_told_at_once():
    w = World(["dr.away"], [CHEN, SATO, ("student", Role.OBSERVER)])
    w.site.order("case.ask_expert", question="?")
    w.turn()
    assert w.alerts() == ["dr.away", "dr.chen", "dr.sato"], "the pager of who is away too"
    assert w.state.requests[0].escalated


def test_with_nobody_here_at_all_whoever_comes_is_told_and_the_table_sees_that_a_console_has_it():
    w = World()
    w.site.order("case.ask_expert", question="?")
    w.turn()
    assert w.at_the_table()["taken"] == "lin" and w.at_the_table()["told"] == {}
    for _ in range(61):
        w.turn()  # nobody looked for a minute: escalated
    w.do(c.joined(w.state, "late", c.Person(*SATO), w.now()))
    assert w.alerts() == ["dr.sato"]


def test_a_line_that_breaks_after_the_asking_delivers_when_it_is_back_and_what_was_missed_is_told_then():
    w = World(["dr.chen"], [CHEN])
    w.site.order("case.ask_expert", question="?")
    w.turn()
    w.site.line_up = False
    w.do(c.look_at(w.state, c.Person(*CHEN), 1, "opened", w.now()))
    w.turn()
    w.turn()
    w.site.line_up = True
    assert w.at_the_table()["opened"] == {}
    w.turn()
    assert w.at_the_table()["opened"] == {"dr.chen": 1000.0}


def test_a_withdrawn_request_is_closed_here_once():
    w = World(["dr.chen"], [CHEN])
    number = w.site.order("case.ask_expert", question="?")["request"]
    w.turn()
    w.site.order("case.withdraw_request", id=number)
    w.turn()
    w.turn()
    assert w.state.requests[0].state == "withdrawn"
    assert [e.what for e in w.effects if isinstance(e, c.Log)].count("consult.withdrawn") == 1


def test_a_console_that_starts_again_rings_for_a_young_request_and_not_for_old_news():
    w = World(["dr.chen"], [CHEN])
    w.site.order("case.ask_expert", question="young")
    w.wait(60 * S)
    w.turn()
    assert w.alerts() == ["dr.chen"]
    again = World(["dr.chen"], [CHEN])
    again.site.order("case.ask_expert", question="yesterday's")
    again.wait(3600 * S)
    again.turn()
    assert again.alerts() == []


def test_rows_of_another_shape_are_left_out():
    now = c.Now(0, 0.0)
    rows = [{}, {"id": "x"}, {"id": 1, "state": "open"}, {"id": 2, "state": "open", "age_ms": "?", "by": "", "question": ""},
            {"id": 3, "state": "open", "age_ms": float("nan"), "by": "b", "question": "q"}]  # fmt: skip
    s, effects, known = take(c.State(), "a", rows, {}, now)
    assert not effects and not known and not s.requests


def test_facts_of_a_forgotten_request_are_none():
    assert facts(c.State(), 7) == {}
    hub = SimpleNamespace(requests=[])
    SiteRequests("x").hear({"a": hub}, c.State, lambda r: None, lambda: c.Now(0, 0.0))
