"""The consultation's edge over real websockets: invitations at the door and at open pages, floods, private words, the record."""

import contextlib
import json
import time
from dataclasses import replace

import msgpack
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from teleop.console import consultation as c
from teleop.console import together
from teleop.console.app import make_app
from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.hub import Hub
from teleop.console.signin import Tokens
from tests.console.fake_sites import FakeSite


class NoPlanner:
    async def call(self, *args, **kwargs):
        raise ConsoleError("no planner in this test")

    def close(self):
        pass


@pytest.fixture
def server(tmp_path):
    hub = Hub([FakeSite("tianjin", "Hospital A")], NoPlanner(), tmp_path)
    tokens = Tokens()
    issued = {n: tokens.issue(Principal(n, r)) for n, r in (("li", Role.SURGEON), ("chen", Role.MENTOR), ("student", Role.OBSERVER))}
    with TestClient(make_app(hub, tokens, tmp_path)) as client:
        yield hub, issued, client, tmp_path
        for page in Page.all:
            page.close()
        Page.all.clear()


class Page:
    """One page over a websocket."""

    all: list = []  # noqa: RUF012  (open pages, closed by the fixture: the test client waits for them)

    def __init__(self, client, token, name):
        self.context = client.websocket_connect("/ws")
        self.ws = self.context.__enter__()
        self.ws.send_bytes(msgpack.packb({"t": "hello", "token": token, "page": name}))
        self.n = 0
        Page.all.append(self)

    def next(self, kind, where=lambda m: True):
        for _ in range(400):
            m = msgpack.unpackb(self.ws.receive_bytes(), raw=False)
            if m["t"] == "frame":
                self.ws.send_bytes(msgpack.packb({"t": "ack", "n": m["n"], "drawn": {}}))
            if m["t"] == kind and where(m):
                return m
        raise AssertionError(f"no {kind}")

    def call(self, call_, **args):
        self.n += 1
        self.ws.send_bytes(msgpack.packb({"t": "call", "id": self.n, "call": call_, "args": args}))
        return self.next("reply", lambda m: m["id"] == self.n)

    def ended(self):
        with pytest.raises(WebSocketDisconnect) as found:
            for _ in range(400):
                self.ws.receive_bytes()
        return found.value.code, found.value.reason

    def close(self):
        with contextlib.suppress(Exception):
            self.context.__exit__(None, None, None)


def test_an_invitation_ends_at_open_pages_and_at_the_door_when_it_is_taken_back(server):
    _, issued, client, folder = server
    li = Page(client, issued["li"], "p1")
    token = li.call("consult.invite", name="guest", role="expert", seconds=600)["value"]
    guest = Page(client, token, "g1")
    assert guest.next("welcome")["role"] == "expert"
    (invitation,) = li.next("consult", lambda m: m["invitations"])["invitations"]
    assert token not in json.dumps(invitation) and token not in (folder / "invitations.json").read_text()
    assert li.call("consult.revoke", id=invitation["id"])["ok"]
    assert guest.ended() == (4403, "li took this invitation back")
    code, words = Page(client, token, "g2").ended()
    assert code == 4403 and "taken back: ask li" in words
    assert client.get("/images/x", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_an_expired_invitation_is_refused_with_whom_to_ask_and_a_strange_token_with_nothing(server):
    hub, issued, client, _ = server
    li = Page(client, issued["li"], "p1")
    token = li.call("consult.invite", name="late", role="observer", seconds=60)["value"]
    hub.together.state = replace(hub.together.state, invitations={k: replace(i, expires=time.time() - 1) for k, i in hub.together.state.invitations.items()})
    assert Page(client, token, "x").ended() == (4403, "this invitation has expired: ask li for a new one")
    assert Page(client, "A" * 32, "y").ended()[0] == 4401


def test_invitations_survive_a_restart_and_a_damaged_register_lets_nobody_in(server):
    _, issued, client, folder = server
    li = Page(client, issued["li"], "p1")
    token = li.call("consult.invite", name="guest", role="expert", seconds=600)["value"]
    assert (folder / "invitations.json").stat().st_mode & 0o077 == 0
    again = Hub([], NoPlanner(), folder)
    assert again.together.guest(token) == Principal("guest", Role.EXPERT, f"inv:{next(iter(again.together.state.invitations))}")
    again.journal.close()
    (folder / "invitations.json").write_text("{")
    broken = Hub([], NoPlanner(), folder)
    assert broken.together.guest(token) is None and "invitations made before are void" in " ".join(broken.complaints)
    broken.journal.close()


def test_a_flood_of_pages_is_turned_away_with_words_and_the_surgeon_still_comes_in(server, monkeypatch):
    _, issued, client, folder = server
    monkeypatch.setattr(together, "MAX_PAGES", 5)
    pages = [Page(client, issued["student"], f"s{n}") for n in range(5)]
    for p in pages:
        p.next("welcome")
    code, words = Page(client, issued["chen"], "c").ended()
    assert code == 4429 and "5 pages are open here" in words
    assert Page(client, issued["li"], "p").next("welcome")["name"] == "li"
    monkeypatch.setattr(together, "MAX_PAGES", 64)
    Page(client, issued["student"], "s5").next("welcome")
    code, words = Page(client, issued["student"], "s6").ended()
    assert code == 4429 and "student has 6 pages open" in words
    assert any(json.loads(line)["what"] == "page.refused" for line in (folder / "journal.jsonl").read_text().splitlines())


def test_a_private_word_is_not_sent_to_anybody_else(server):
    _, issued, client, folder = server
    li, chen, student = (Page(client, issued[n], n) for n in ("li", "chen", "student"))
    for p in (li, chen, student):
        p.next("consult")
    assert chen.call("consult.say", text="between us", to=["li"])["ok"]
    assert li.next("consult", lambda m: m["words"])["words"][0]["text"] == "between us"
    li.call("consult.say", text="for all", to=[])
    got = student.next("consult", lambda m: m["words"])["words"]
    assert [w["text"] for w in got] == ["for all"]
    rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [r["to"] for r in rows if r["what"] == "consult.say"] == [["li"], []] and all("t_ns" in r for r in rows)


@pytest.mark.parametrize(
    ("who", "call", "args"),
    [
        ("student", "consult.mark", {"points": [[0.5, 0.5]]}), ("student", "room.propose", {}),
        ("chen", "room.decide", {"id": 1, "accept": True}), ("student", "consult.invite", {}),
    ],
)
def test_what_a_role_may_not_do_is_refused_before_anything_happens(server, who, call, args):
    _, issued, client, _ = server
    page = Page(client, issued[who], who)
    reply = page.call(call, **args)
    assert not reply["ok"] and "your role" in reply["error"]


def test_who_is_on_call_is_paged_also_when_no_page_of_theirs_is_open(server):
    hub, issued, client, _ = server
    paged = []
    hub.together.notify = lambda name, text: paged.append((name, text))
    li = Page(client, issued["li"], "p")
    li.call("consult.duty", names=["chen", "sato"])
    li.call("consult.request", question="Look at L4 with me?")
    assert [n for n, _ in paged] == ["chen", "sato"] and "Look at L4" in paged[0][1]
    chen = Page(client, issued["chen"], "c")
    assert chen.next("wanted")["request"] == hub.together.state.requests[0].id
    assert chen.call("consult.look", id=hub.together.state.requests[0].id, what="opened")["ok"]
    assert hub.together.state.requests[0].opened["chen"] > 0


def test_what_a_page_says_it_displays_is_not_believed_when_it_was_never_sent():
    from teleop.console.media import MediaDesk, Viewer
    from teleop.media.frames import FrameInfo

    class Switch:
        def __init__(self):
            self.last = {"guide": FrameInfo("guide", 9, 1000)}

    class Trunk:
        switch = Switch()

    desk = MediaDesk(lambda *a: None, lambda *a, **k: None)
    desk.trunks["a"] = Trunk()
    desk.viewers["p"] = Viewer("p", "li", 3, 1, None, site="a", streams=frozenset({"guide"}))
    for claimed, stands in ((900, 900), (1001, 900), (800, 900), ("x", 900), (1000, 1000)):
        desk.show("p", {"a": claimed})
        assert desk.echo("p", "a") == stands
    desk.show("q", {"a": 950})
    assert desk.echo("q", "a") is None
    assert c.State() is not None
