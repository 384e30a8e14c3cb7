"""The server without a browser: sign-in, roles, headers, calls, stop, frames."""

import json

import msgpack
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from teleop.console.app import make_app
from teleop.console.calls import CALLS, SITE_ORDERS
from teleop.console.contracts import ConsoleError, Principal, Role
from teleop.console.hub import Hub, read_ask
from teleop.console.permissions import ALLOWED
from teleop.console.planner_process import PlannerProcess
from teleop.console.serve import bind, check_tls
from teleop.console.signin import Tokens
from tests.console.fake_sites import FakeSite


class Server:
    """A console server under the test client."""

    def __init__(self, folder) -> None:
        self.sites = [FakeSite("tianjin", "Hospital A"), FakeSite("karamay", "Hospital B")]
        self.hub = Hub(list(self.sites), PlannerProcess("tests.console.fake_planning:make", str(folder)), folder)
        tokens = Tokens()
        self.token = {r.value: tokens.issue(Principal(r.value, r, "k")) for r in Role}
        self.app = make_app(self.hub, tokens, folder, frozenset({"testserver"}), max_upload=10_000)
        self.folder = folder
        self.open: list = []

    def close(self) -> None:
        for context in self.open:
            context.__exit__(None, None, None)


class Page:
    """A page's websocket."""

    def __init__(self, ws) -> None:
        self.ws, self.serial = ws, 0

    def send(self, message) -> None:
        self.ws.send_bytes(msgpack.packb(message))

    def until(self, kind, match=lambda m: True):
        for _ in range(500):
            m = msgpack.unpackb(self.ws.receive_bytes())
            if m["t"] == "frame":
                self.send({"t": "ack", "n": m["n"], "drawn": {k: s["stamp"] for k, s in m["sites"].items()}})
            if m["t"] == kind and match(m):
                return m
        raise AssertionError(f"no {kind}")

    def call(self, name, **args):
        self.serial += 1
        self.send({"t": "call", "id": self.serial, "call": name, "args": args})
        return self.until("reply", lambda m: m["id"] == self.serial)


@pytest.fixture
def server(tmp_path):
    s = Server(tmp_path)
    with TestClient(s.app) as client:
        s.client = client
        yield s
        s.close()


def page(server, role="surgeon", page_id="p1"):
    context = server.client.websocket_connect("/ws")
    ws = context.__enter__()
    server.open.append(context)
    p = Page(ws)
    p.send({"t": "hello", "token": server.token[role], "page": page_id})
    p.until("welcome")
    return p


def test_every_call_has_its_roles_and_every_role_entry_a_call():
    known = set(CALLS) | {"hand", "hand.seat", "alarm.silence"}
    assert set(CALLS) <= set(ALLOWED) <= known


def test_a_wrong_token_gets_no_seat_and_no_images(server):
    with server.client.websocket_connect("/ws") as ws:
        ws.send_bytes(msgpack.packb({"t": "hello", "token": "x" * 32, "page": "p"}))
        with pytest.raises(WebSocketDisconnect) as closed:
            ws.receive_bytes()
        assert closed.value.code == 4401
    assert server.client.get("/images/abc").status_code == 401


def test_a_foreign_origin_and_a_foreign_host_are_refused(server):
    with (
        server.client.websocket_connect("/ws", headers={"origin": "http://evil.example"}) as ws,
        pytest.raises(WebSocketDisconnect),
    ):
        ws.receive_bytes()
    assert server.client.get("/console", headers={"host": "evil.example"}).status_code == 421


def test_pages_carry_the_headers_and_are_the_same_for_console_and_consult(server):
    for path in ("/console", "/consult"):
        answer = server.client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "console.js" in answer.text


def test_least_privilege_by_role(server):
    expert, viewer = page(server, "expert", "e"), page(server, "viewer", "v")
    for p in (expert, viewer):
        for name in ("plan.auto", "plan.approve", "site.order", "room.decide"):
            answer = p.call(name, case="x", site="tianjin", op="hold")
            assert not answer["ok"] and "role" in answer["error"]
    assert not viewer.call("room.chat", text="hi")["ok"]
    assert expert.call("room.chat", text="hi")["ok"]


def test_a_stop_through_both_doors_counts_once_and_the_second_door_wants_a_token(server):
    viewer = page(server, "viewer")
    headers = {"authorization": f"Bearer {server.token['viewer']}"}
    assert server.client.post("/stop", json={"site": "tianjin", "once": "a"}).status_code == 401
    assert not server.sites[0].stops
    viewer.send({"t": "stop", "site": "tianjin", "id": 1, "once": "a"})
    viewer.until("stopped")
    reply = server.client.post("/stop", json={"site": "tianjin", "once": "a"}, headers=headers)
    assert reply.json()["sites"] == ["tianjin"] and len(server.sites[0].stops) == 1
    server.client.post("/stop", json={"site": "tianjin", "once": "b"}, headers=headers)
    assert len(server.sites[0].stops) == 2
    server.client.post("/stop", content=b"not json at all", headers=headers)
    assert len(server.sites[0].stops) == 3 and len(server.sites[1].stops) == 1, "unreadable: everything stops"


def test_a_stop_needs_no_rights_and_reaches_every_moving_arm_and_the_one_shown(server):
    viewer = page(server, "viewer", "v")
    viewer.until("frame")
    server.sites[1].state = "ACTIVE"
    server.sites[1]._tell()
    viewer.send({"t": "stop", "site": "tianjin", "id": 1})
    assert sorted(viewer.until("stopped")["sites"]) == ["karamay", "tianjin"]
    assert server.sites[0].stops[0][1] == "viewer"


def test_orders_of_the_bedside_are_not_for_the_console(server):
    surgeon = page(server)
    for op in ("grant", "take_over", "rearm", "qualify", "scene", "path"):
        assert op not in SITE_ORDERS
        assert not surgeon.call("site.order", site="tianjin", op=op)["ok"]


def test_an_experts_deadman_is_not_even_looked_at(server):
    expert = page(server, "expert", "e")
    expert.until("frame")
    expert.send({"t": "hand", "site": "tianjin", "mode": "jog", "press": 1, "age_ms": 0})
    expert.call("room.chat", text="x")
    assert server.hub.hand.press == 0 and server.hub.hand.seat == ""


@pytest.mark.parametrize(
    "bad",
    [
        {"site": "nowhere"},
        {"mode": "drill"},
        {"press": -1},
        {"press": "1"},
        {"press": 2**40},
        {"age_ms": -1},
        {"age_ms": None},
        {"age_ms": 1e9},
    ],
)
def test_a_malformed_sample_is_a_release(server, bad):
    surgeon = page(server)
    surgeon.until("frame")
    good = {
        "t": "hand",
        "site": "tianjin",
        "mode": "jog",
        "press": 1,
        "age_ms": 0,
        "jog": {"linear": [0, 0, 0.01], "angular": [0, 0, 0]},
    }
    surgeon.send(good)
    surgeon.until("frame", lambda m: m["hand"]["pressed"])
    surgeon.send(good | bad)
    surgeon.call("cases.list")
    assert server.hub.hand.press == 0


def test_what_a_page_asks_for_is_bounded():
    ask = read_ask({"jog": {"linear": [9.0, 0, 0], "angular": [0, 0, 9.0]}, "path": b"12345678", "s_limit": 0.2})
    assert ask.jog == (0.02, 0, 0, 0, 0, 0.2) and ask.s_limit == 0.2
    assert read_ask({"jog": {"linear": [float("nan"), 0, 0], "angular": [0, 0, 0]}}).jog is None
    assert read_ask({"path": b"123", "s_limit": 0.2}).s_limit is None
    assert read_ask({"path": b"12345678", "s_limit": 99}).s_limit is None


def test_a_plan_is_made_edited_approved_and_every_step_names_its_author(server):
    surgeon = page(server)
    case = surgeon.call("cases.open", source={"kind": "fake", "id": "LPS"})["value"]
    assert surgeon.call("plan.auto", case=case)["value"] == 10
    rev = surgeon.call(
        "plan.edit", case=case, screw="L3-R", change={"do": "size", "diameter_mm": 5.0, "length_mm": 40.0}
    )["value"]
    assert not surgeon.call("plan.approve", case=case, rev=rev - 1)["ok"], "a revision that was not drawn was approved"
    server.hub.signer = type("S", (), {"sign": staticmethod(lambda who, h: {"key": "k", "signature": "00"})})()
    assert surgeon.call("plan.approve", case=case, rev=rev)["ok"]
    assert surgeon.call("plan.transfer", case=case, site="tianjin")["ok"]
    steps = [json.loads(line) for line in (server.folder / "journal.jsonl").read_text().splitlines()]
    assert {s["what"] for s in steps} >= {"case.open", "plan.auto", "plan.edit", "plan.approve", "plan.transfer"}
    assert all(s["who"] for s in steps)


def test_not_a_ct_says_so(server):
    answer = page(server).call("cases.open", source={"kind": "fake", "id": "holiday"})
    assert not answer["ok"] and "not a CT" in answer["error"]


def test_uploads_are_bounded_over_http_too(server):
    headers = {"authorization": f"Bearer {server.token['surgeon']}"}
    number = server.client.post("/uploads", headers=headers).json()["id"]
    answer = server.client.put(f"/uploads/{number}", headers=headers, content=b"x" * 20_000)
    assert answer.status_code == 413 and "at most" in answer.json()["error"]
    assert (
        server.client.post("/uploads", headers={"authorization": f"Bearer {server.token['viewer']}"}).status_code == 403
    )


def test_a_port_in_use_and_an_open_address_without_tls_are_errors_that_say_what_to_do():
    taken = bind("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(ConsoleError, match="--port"):
        bind("127.0.0.1", taken.getsockname()[1])
    taken.close()
    with pytest.raises(ConsoleError, match="--tls-cert"):
        check_tls(None, None, "0.0.0.0")
