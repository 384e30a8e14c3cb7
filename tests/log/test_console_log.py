"""The surgeon's side: its own log, what it tells the hospitals, and the checkpoints it carries between all of them."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from safety.log import SessionInfo, SessionLog, verify
from safety.log.reader import LogReader
from safety.log.utc import UtcWatch, utc_error
from teleop.case.checkpoints import AGAIN_NS, PER_TARGET_NS, Carrier, short_digest
from teleop.case.console_log import Actions, log_of_list, open_console_log
from teleop.case.console_session import ConsoleSession
from teleop.link import events
from teleop.link.estimators import ClockEstimate
from teleop.link.keys import make_directory
from teleop.review.alignment import align
from tests.log.logs import OTHER_KEY, SITE_KEY, START

SESSION = b"s" * 16
S = 1_000_000_000


@dataclass
class Sent:
    reply: dict[str, Any] | None = None


@dataclass
class Hospital:
    """A hospital as the carrier sees it."""

    name: str
    up: bool = True
    checkpoint: str = ""
    peer_checkpoint: bytes = b""
    orders: list[dict[str, Any]] = field(default_factory=list)
    answers: bool = True

    def send(self, op, timeout_s=10.0, **fields):
        self.orders.append({"op": op, **fields})
        return Sent({"ok": True} if self.answers else None)


@dataclass
class Link:
    events: list = field(default_factory=list)
    commands: list = field(default_factory=list)

    def poll(self, now):
        out, self.events = self.events, []
        return out

    def clock(self):
        return ClockEstimate(7 * S, 20_000_000)

    def stats(self):
        path = {"path": 0, "alive": True, "rtt_ms_p50": 40.0, "rtt_ms_p99": None, "loss": 0.01, "jitter_ms": 1.0,
                "received": 9, "lost": 1, "duplicates": 0, "bad": 0}  # fmt: skip
        return {"paths": [path]}


def log_of(path, site, key, ahead=0):
    return SessionLog(path, key, SessionInfo(SESSION, site), mono=START + ahead, utc=10**18)


# Carrying


def test_every_site_gets_every_other_sites_newest_checkpoint_and_never_its_own():
    sites = [Hospital("a", checkpoint="na"), Hospital("b", checkpoint="nb"), Hospital("c", checkpoint="nc")]
    carrier = Carrier(sites)
    for k in range(8):
        carrier.step(k * PER_TARGET_NS)
    for site in sites:
        assert sorted(o["site"] for o in site.orders) == sorted({"a", "b", "c"} - {site.name})
        assert all(o["op"] == "site.checkpoint" and o["note"] == f"n{o['site']}" for o in site.orders)


def test_an_old_note_is_not_sent_again_and_a_new_one_waits_its_second():
    a, b = Hospital("a", checkpoint="1"), Hospital("b")
    carrier = Carrier([a, b])
    assert carrier.step(0) == 1 and carrier.step(2 * AGAIN_NS) == 0
    a.checkpoint = "2"
    assert carrier.step(2 * AGAIN_NS) == 1
    a.checkpoint = "3"
    assert carrier.step(3 * AGAIN_NS - 1) == 0 and carrier.step(3 * AGAIN_NS) == 1
    assert [o["note"] for o in b.orders] == ["1", "2", "3"] and a.orders == []


def test_thirty_hospitals_do_not_flood_a_line():
    sites = [Hospital(f"h{k}", checkpoint="x") for k in range(30)]
    carrier = Carrier(sites)
    for ms in range(0, 10_000, 10):
        for site in sites:
            site.checkpoint = f"{site.name} {ms // 500}"
        carrier.step(ms * 1_000_000)
    for site in sites:
        assert len(site.orders) <= 10_000 / (PER_TARGET_NS / 1e6) + 1
        assert {o["site"] for o in site.orders} == {s.name for s in sites} - {site.name}, "all in turn, nobody starves"


def test_a_site_that_does_not_answer_or_is_down_gets_nothing_more():
    a, b, c = Hospital("a", checkpoint="1"), Hospital("b", answers=False), Hospital("c", up=False)
    carrier = Carrier([a, b, c])
    for k in range(10):
        a.checkpoint = str(k)
        carrier.step(k * S)
    assert len(b.orders) == 1 and c.orders == []


def test_a_session_keeps_the_newest_checkpoint_of_its_own_site_only():
    link = Link()
    session = ConsoleSession("a", link, "K" * 40)
    for note in ({"t": "checkpoint", "site": "a", "note": "good"}, {"t": "checkpoint", "site": "b", "note": "foreign"},
                 {"t": "checkpoint", "site": "a", "note": "x" * 5000}, {"t": "checkpoint", "site": "a", "note": 7}):  # fmt: skip
        link.events = [events.Note(note, 0)]
        session.pump(0)
    assert session.checkpoint == "good" and not session.notes


# The log


@pytest.fixture
def keys(tmp_path):
    make_directory(tmp_path / "keys", ["a", "b"], [("beijing", "surgeon")])
    return tmp_path / "keys"


def test_the_logs_of_console_and_hospitals_witness_each_other_and_a_cut_one_is_found_out(tmp_path, keys):
    own = open_console_log(tmp_path, keys, "beijing", SESSION, {})
    a, b = log_of(tmp_path / "a.mcap", "a", SITE_KEY), log_of(tmp_path / "b.mcap", "b", OTHER_KEY)
    sites = [Hospital("a"), Hospital("b")]
    carrier = Carrier(sites, own)
    whole = b""
    for k in range(1, 6):
        a.checkpoint(START + k * S)
        b.checkpoint(START + k * S)
        sites[0].checkpoint, sites[1].checkpoint = a.newest_note, b.newest_note
        for turn in range(4):
            carrier.step(k * S + turn * PER_TARGET_NS)
            for site, log in zip(sites, (a, b), strict=True):
                for order in site.orders:
                    log.peer_checkpoint(order["site"], START + k * S, note=order["note"])
                site.orders.clear()
        if k == 2:
            whole = a.path.read_bytes()
    assert sites[0].peer_checkpoint == sites[1].peer_checkpoint == short_digest(own.checkpoint)
    assert own.close("test over")
    a.close(START + 9 * S, "x")
    b.close(START + 9 * S, "x")
    report = verify([own.path, a.path, b.path])
    assert report.ok and report.cross == []
    seen = {(f.site, p.site) for f in report.files for p in f.peers}
    assert seen == {(x, y) for x in ("beijing", "a", "b") for y in ("beijing", "a", "b")} - {(x, x) for x in ("beijing", "a", "b")}
    a.path.write_bytes(whole)
    alone, together = verify([a.path]), verify([own.path, a.path, b.path])
    assert alone.end == "unclean" and together.end == "tampered" and together.exit_code == 3


def test_an_action_stands_in_the_consoles_log_by_name_and_is_told_to_the_hospital_it_concerns(tmp_path, keys):
    plan = {"log_dir": str(tmp_path / "logs"), "keys_dir": str(keys), "console": "beijing", "session": SESSION.hex(),
            "sites": [{"name": "a"}], "institution": "General Hospital", "operators": ["s-17"]}  # fmt: skip
    log = log_of_list(plan, simulated=True)
    a = Hospital("a")
    actions = Actions(log, {"a": a})
    actions.took("Dr. Sun", "console", "site.order", {"site": "a", "op": "case.rearm", "params": {"why": "a private word"}})
    actions.took("Dr. Sun", "console", "room.chat", {"text": "another private word"})
    actions.took("Dr. Sun", "console", "plan.approve", {"site": "a", "blob": b"x" * 10_000, "many": ["y" * 20] * 400})
    log.step(S, {"a": Link()})
    assert log.close("test over")
    assert [o["action"] for o in a.orders] == ["site.order", "plan.approve"] and a.orders[0]["by"] == "Dr. Sun"
    assert all(len(o["detail"]) <= 2000 and json.loads(o["detail"]) for o in a.orders)
    data = log.path.read_bytes()
    assert b"private word" not in data and verify([log.path]).ok
    with LogReader(log.path) as reader:
        rows = [reader.decode(m) for m in reader.messages(("ui/actions",))]
        assert [(r["who"], r["action"]) for r in rows] == [("Dr. Sun", w) for w in ("site.order", "room.chat", "plan.approve")]
        assert json.loads(rows[0]["detail"])["op"] == "case.rearm"
        details = json.loads(reader.header["details"])
        assert details["invited_institution"] == "General Hospital" and details["operators"] == ["s-17"]
        clocks = {f["clock"]: f for f in (reader.decode(m) for m in reader.messages(("clock",)))}
        assert clocks["site:a"]["offset"] == 7 * S and clocks["site:a"]["error"] == 20_000_000 and "utc" in clocks
        assert next(reader.decode(m) for m in reader.messages(("link/stats",)))["peer"] == "a"


def test_a_list_without_a_log_folder_gives_no_log(keys):
    assert log_of_list({"keys_dir": str(keys), "console": "beijing", "sites": []}, simulated=True) is None


def test_the_consoles_clock_estimates_put_the_logs_on_one_line_of_time(tmp_path, keys):
    ahead = 7 * S
    own = open_console_log(tmp_path, keys, "beijing", SESSION, {})
    own.step(S, {"a": Link()})
    own.close("x")
    with LogReader(own.path) as console:
        begin = console.start
        site = SessionLog(tmp_path / "a", SITE_KEY, SessionInfo(SESSION, "a"), mono=begin + ahead, utc=10**18 + 90 * S)
        site.close(begin + ahead + S, "x")
        with LogReader(tmp_path / "a") as a:
            there, back = align(console, a), align(a, console)
            assert there.offset == ahead and there.error == 20_000_000 and "clock" in there.how
            assert back.offset == -ahead and back.error == 20_000_000


# UTC


def test_a_clock_that_somebody_set_is_marked_as_a_step_and_slewing_is_not():
    watch = UtcWatch()
    assert watch.look(0, 1000 * S, 5)["step"] is False and watch.look(S // 2, 1000 * S, 5) is None
    assert watch.look(S, 1001 * S + 400_000, 5)["step"] is False
    found = watch.look(2 * S, 1005 * S, 5)
    assert found["step"] is True and found["offset"] == 1003 * S and found["clock"] == "utc" and found["error"] == 5


def test_the_kernels_word_on_the_error_of_utc_is_a_bound_or_unknown():
    assert utc_error() >= -1
