"""Replay is exact, and notices; what-if pulls the right way; questions have the answers the session had."""

import json
import subprocess
import sys

import pytest

from safety import admission, governor
from safety.log import questions
from safety.log.reader import LogReader
from safety.log.replay import ReplayError, replay
from safety.log.steps import steps
from safety.log.whatif import parse_changes, what_if
from safety.params import ParamError
from safety.snapshot import SnapshotError, decode_situation, encode_situation
from sim.campaign.rig import SURGEON
from tests.log.logs import START, open_log, short_log
from tests.log.sessions import MS, Recorded, drive_and_cut


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return drive_and_cut(tmp_path_factory.mktemp("session") / "a.mcap")


def read(path):
    with LogReader(path) as log:
        return list(steps(log))


def test_every_recorded_decision_comes_out_the_same(session):
    report = replay(read(session))
    assert report.ok and report.decisions == report.equal > 500 and report.skipped == 0


def test_one_constant_changed_in_the_governor_is_named_at_the_first_decision_it_changes(session, monkeypatch):
    """The cap under a rehearsed law a hair lower: the first lease differs, and nothing before it."""
    true_limit = admission.speed_limit
    monkeypatch.setattr(admission, "speed_limit", lambda age, margin, p: true_limit(age, margin, p) * (1 - 1e-12))
    recorded = read(session)
    report = replay(recorded)
    first_lease = next(s for s in recorded if b"lease" in s.outputs)
    assert not report.ok and report.first_difference is not None
    assert report.first_difference.n == first_lease.n
    assert any("LeaseOut" in o for o in report.first_difference.recorded)
    assert "CommandIn" in report.first_difference.input


def test_a_changed_recorded_output_is_named(session):
    recorded = read(session)
    k = next(k for k, s in enumerate(recorded) if b"change" in s.outputs)
    from dataclasses import replace as with_

    recorded[k] = with_(recorded[k], outputs=b"\x90")
    report = replay(recorded)
    assert report.first_difference.n == recorded[k].n and report.equal == report.decisions - 1


def test_a_recorder_that_came_late_begins_at_the_snapshot(tmp_path):
    r = Recorded(tmp_path / "a.mcap", boot=False)
    r.log, real = _Deaf(), r.log
    r.rig.active()
    r.log = real
    from safety.inputs import encode_input

    r.write(0, "boot", encode_input(r.rig.boot_input), b"\x90")
    r.snapshot()
    r.move(0.5)
    report = replay(read(r.close()))
    assert report.ok and report.decisions > 100 and report.skipped == 0


class _Deaf:
    def write(self, *words, **more):
        pass

    def tick(self, now):
        pass


def test_steps_behind_a_hole_are_skipped_until_the_next_snapshot(session):
    recorded = read(session)
    del recorded[300:310]
    report = replay(recorded)
    assert report.decisions == 299 and report.skipped == len(recorded) - 300 and "hole" in report.notes[0]


def test_a_log_without_steps_is_an_error(tmp_path):
    with pytest.raises(ReplayError, match="no governor step"):
        replay(read(short_log(tmp_path / "x.mcap", count=0)))


def test_a_snapshot_is_exact_and_one_of_another_kernel_is_refused(tmp_path):
    r = Recorded(tmp_path / "a.mcap")
    r.rig.active()
    data = encode_situation(r.rig.s)
    assert encode_situation(decode_situation(data)) == data
    with pytest.raises(SnapshotError):
        decode_situation(data.replace(b"Authority", b"Authoritz"))
    with pytest.raises(SnapshotError):
        decode_situation(b"\x01")


# What if


def test_a_shorter_silence_limit_makes_the_hold_come_and_a_longer_one_does_not(tmp_path):
    r = Recorded(tmp_path / "a.mcap")
    r.rig.active()
    r.move(0.5)
    r.rig.pass_time(350 * MS)  # PAUSE, not yet HOLD
    r.move(0.3, press=2)
    recorded = read(r.close())
    shorter = what_if(recorded, parse_changes(["silence_hold_ms=300"]))
    assert [e[1] for e in shorter.extra] == ["HOLD"] and not shorter.missing
    assert shorter.first is not None
    same = what_if(recorded, {})
    assert same.first is None and not same.extra and same.recorded.entered == same.changed.entered


def test_a_shorter_lease_lowers_the_travel_bound(session):
    result = what_if(read(session), parse_changes(["lease_ms=50"])).to_json()
    assert result["bound_mm_mean"][1] < result["bound_mm_mean"][0]
    assert "open loop" in result["caveat"]


def test_words_of_a_what_if_are_checked():
    assert parse_changes(["lease_ms=100", "margin_mm=1", "v_near=0.01"]) == {
        "lease_ns": 100 * MS, "m_near": 0.001, "v_near": 0.01,
    }  # fmt: skip
    with pytest.raises(ParamError, match="unknown parameter"):
        parse_changes(["nonsense=1"])
    with pytest.raises(ParamError, match="envelope"):
        parse_changes(["lease_ms=1"])
    with pytest.raises(ValueError, match="name=value"):
        parse_changes(["lease"])
    with pytest.raises(ValueError, match="is no number"):
        parse_changes(["margin_mm=wide"])


# Questions


def test_who_held_the_arm_when(session):
    with LogReader(session) as log:
        known = questions.holders(log)
        assert [h.name for h in known] == ["Sam" if h.holder else "" for h in known]
        granted = next(h for h in known if h.holder == SURGEON)
        assert questions.holder_at(log, granted.since - 1)["holder"] in ("", None)
        at_end = questions.holder_at(log, log.end)
        assert at_end["holder"] == SURGEON and at_end["state_then"] == "HOLD"


def test_states_have_reasons_and_times_add_up(session):
    with LogReader(session) as log:
        assert [c.new for c in questions.changes(log)][-3:] == ["ACTIVE", "PAUSE", "HOLD"]
        assert all(c.reason for c in questions.changes(log))
        total = sum(questions.time_in_states(log).values())
        assert total == pytest.approx((log.end - log.start) / 1e9)


def test_each_change_of_state_has_the_inputs_it_was_decided_on(session):
    with LogReader(session) as log:
        last = questions.changes(log)[-1]
        assert last.new == "HOLD" and last.step["kind"] == "tick" and last.step["input"]["now"] == last.stamp
        granted = next(c for c in questions.changes(log) if "granted" in c.reason)
        assert granted.step["input"]["order"]["op"] == "grant" and granted.step["input"]["order"]["holder"] == SURGEON
    shown = run("log", session, "holds").stdout
    assert "input tick:" in shown and "'op': 'grant'" in shown


def test_what_became_known_in_the_course_of_a_session_stands_beside_its_header(tmp_path):
    log = open_log(tmp_path / "a.mcap", details={"inviting_institution": "General", "operators": ["s-1", "s-2"]})
    for step, detail in (("case.plan", {"ok": True, "plan_hash": "aa"}), ("case.plan", {"ok": False, "plan_hash": "bb"}),
                         ("case.register", {"ok": True, "registration_epoch": 1, "fre_mm": 0.3, "tre95_mm": 0.5, "ref_T_ct_sha256": "cc"})):  # fmt: skip
        log.write("case/events", "longhand_msgs/msg/CaseEvent",
                  {"schema_version": 1, "stamp_mono": START, "who": "K", "step": step, "detail": json.dumps(detail)}, START)  # fmt: skip
    log.close(START, "x")
    with LogReader(log.path) as reader:
        known = questions.facts(reader)
    assert [p["sha256"] for p in known["plans"]] == ["aa"] and known["registrations"][0]["ref_T_ct_sha256"] == "cc"
    shown = run("log", log.path, "info").stdout
    assert "inviting institution: General" in shown and "operators: s-1, s-2" in shown and "plan aa" in shown and "registration 1, cc" in shown


def test_alarms_and_latency(session):
    with LogReader(session) as log:
        assert "link_down" in {a.id for a in questions.alarm_lines(log)}
        age = questions.latency(log)
        assert age["loop_age_ms"]["p50"] == pytest.approx(40.0) and age["commands_accepted"] > 100


def test_times_are_understood_or_refused(session):
    with LogReader(session) as log:
        assert questions.parse_time("1.5", log) == log.start + 1_500_000_000
        assert questions.parse_time("mono:77", log) == 77
        assert questions.parse_time("2026-09-21T14:13:20Z", log) == log.start
        with pytest.raises(ValueError, match="is no time"):
            questions.parse_time("noon", log)


def run(*words):
    return subprocess.run([sys.executable, "-m", "teleop.cli._main", *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
def test_the_commands_answer_in_json_and_by_exit_code(session, tmp_path):
    done = run("replay", session, "--json")
    out = json.loads(done.stdout)
    assert done.returncode == 0 and out["equal"] == out["decisions"] and out["first_difference"] is None
    for question, key in (("holds", "changes"), ("alarms", "alarms"), ("travel", "stops"), ("latency", "loop_age_ms"),
                          ("timeline", "timeline"), ("info", "messages")):  # fmt: skip
        assert key in json.loads(run("log", session, question, "--json").stdout), question
    assert json.loads(run("log", session, "holder", "--at", "0", "--json").stdout)["holder"] in ("", None)
    assert run("log", session, "why").returncode == 2
    assert run("replay", tmp_path / "none.mcap").returncode == 1
    sweep = run("whatif", session, "--sweep", "lease_ms=50:150:50", "-o", tmp_path / "s.svg", "--json")
    assert [r["value"] for r in json.loads(sweep.stdout)["sweep"]] == [50, 100, 150]
    assert (tmp_path / "s.svg").read_text().startswith("<svg")
    assert run("whatif", session).returncode == 2


def test_the_governor_that_replays_is_the_one_that_runs():
    assert governor.step.__module__ == "safety.governor"
