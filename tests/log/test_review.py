"""The reviewer's server, notes, alignment, report, export and erasure."""

import json
import subprocess
import sys

import numpy as np
import pytest
from starlette.testclient import TestClient

from safety.log import SessionInfo, SessionLog, privacy, verify
from safety.log.reader import LogReader
from teleop.review.alignment import align
from teleop.review.data import ReviewLog, _bucket, _held, _merge
from teleop.review.export import export
from teleop.review.notes import NoteError, Notes, reviewer_key
from teleop.review.report import find_chromium, html_report, network_events, write_pdf
from teleop.review.server import Review, make_app
from teleop.review.skeleton import Skeleton, boundary
from teleop.review.svg import line_plot, ticks
from tests.log.logs import OTHER_KEY, SITE_KEY, START, open_log, short_log
from tests.log.sessions import MS, Recorded, drive_and_cut


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return drive_and_cut(tmp_path_factory.mktemp("session") / "a.mcap")


@pytest.fixture
def client(session, tmp_path):
    review = Review([session], [], None, "Rita", tmp_path / "key")
    with TestClient(make_app(review)) as made:
        made.headers["authorization"] = f"Bearer {review.token}"
        made.review = review
        yield made


# Server


def test_nothing_is_answered_without_the_token_or_under_a_foreign_name(client):
    assert client.get("/api/session", headers={"authorization": "Bearer nope"}).status_code == 401
    assert client.get("/api/log/0/report").status_code == 401
    assert client.get("/api/session", headers={"host": "evil.example"}).status_code == 421
    assert client.post("/api/notes", headers={"authorization": ""}, json={}).status_code == 401


def test_the_page_may_load_from_here_only(client):
    answer = client.get("/replay")
    assert answer.status_code == 200 and "default-src 'self'" in answer.headers["content-security-policy"]
    assert "http" not in answer.text.replace("http-equiv", "")


def test_the_session_says_what_happened(client):
    log = client.get("/api/session").json()["logs"][0]
    assert [c["state"] for c in log["changes"]][-1] == "HOLD"
    assert any(e["what"] == "alarm" and e["id"] == "link_down" for e in log["events"])
    assert log["begin"] == 0.0 and log["alignment"]["error"] == 0


def test_a_decision_is_shown_with_its_inputs_and_stepping_visits_each_once(client):
    log = client.get("/api/session").json()["logs"][0]
    d = client.get(f"/api/log/0/decision?t={log['end'] - 0.2}").json()
    first = d["n"]
    for move, expected in ((1, first + 1), (1, first + 2), (1, first + 3), (-1, first + 2), (-1, first + 1)):
        d = client.get(f"/api/log/0/decision?t={d['t']}&move={move}&record={d['record']}").json()
        assert d["n"] == expected
    last = client.get(f"/api/log/0/decision?t={log['end']}").json()
    assert last["kind"] == "tick" and "late_ns" in last["input"]
    assert client.get(f"/api/log/0/decision?n={last['n']}").json() == last
    t = log["end"] - 0.75
    for _ in range(12):
        command = client.get(f"/api/log/0/decision?t={t}&move=-1").json()
        t = command["t"]
        if command["kind"] == "command":
            break
    assert command["input"]["data"]["mode"] == "servo" and command["input"]["loop_age_ms"] == pytest.approx(40.0)


@pytest.mark.parametrize("path", ["/api/log/7/series?names=x&from=0&to=1&width=9", "/api/log/0/series?from=0&to=1",
                                  "/api/log/0/moment?t=nan", "/api/log/0/moment?t=then", "/api/log/0/decision?t="])  # fmt: skip
def test_bad_questions_get_a_plain_refusal(client, path):
    answer = client.get(path)
    assert answer.status_code == 400 and answer.json()["error"]


def test_notes_are_kept_beside_the_log_signed_and_the_log_is_untouched(client, session):
    before = session.read_bytes()
    rows = client.post("/api/notes", json={"log": 0, "t": 0.5, "text": "look here", "author": "Rita"}).json()
    assert rows[0]["good"] and rows[0]["text"] == "look here" and rows[0]["t"] == pytest.approx(0.5)
    assert client.post("/api/notes", json={"log": 0, "t": 0.5, "text": "", "author": "Rita"}).status_code == 400
    assert client.post("/api/notes", json={"log": 9, "t": 0.5, "text": "x", "author": "Rita"}).status_code == 400
    assert session.read_bytes() == before
    client.review.notes_of(0).path.unlink()


def test_the_background_verdict_and_replay_arrive(client):
    client.review.start_verifying()
    client.post("/api/log/0/replay")
    for thread in __import__("threading").enumerate():
        if thread.name in ("verify", "replay 0"):
            thread.join(60)
    status = client.get("/api/status").json()
    assert status["verdict"]["end"] == "clean" and status["replays"][0]["ok"]


# Notes


def test_a_changed_moved_or_foreign_note_is_shown_as_not_good(tmp_path):
    log = tmp_path / "a.mcap"
    key = reviewer_key(tmp_path / "k")
    notes = Notes(log, "s" * 32, "a", b"c" * 32)
    for text in ("one", "two", "three"):
        notes.add(5, text, "Rita", key)
    lines = notes.path.read_text().splitlines()
    assert [n.good for n in notes.read()] == [True] * 3
    notes.path.write_text("\n".join([lines[0].replace("one", "eno"), *lines[1:]]) + "\n")
    assert [n.good for n in notes.read()] == [False, False, True]
    notes.path.write_text("\n".join([lines[1], lines[2]]) + "\n")
    assert [n.good for n in notes.read()] == [False, True]
    notes.path.write_text("\n".join(lines) + "\nnonsense\n")
    assert [n.good for n in notes.read()] == [True, True, True, False]
    assert not any(n.good for n in Notes(log, "t" * 32, "a", b"").read())


def test_a_reviewer_key_that_others_can_read_is_refused(tmp_path):
    reviewer_key(tmp_path / "k")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(NoteError, match="chmod 600"):
        reviewer_key(tmp_path / "k")


# Time


def test_two_robot_clocks_are_put_together_by_the_checkpoints_that_crossed(tmp_path):
    """b's clock is ahead by 7 s (and its UTC wrong by a minute); messages take 20 ms."""
    ahead = 7_000_000_000
    a = SessionLog(tmp_path / "a", SITE_KEY, SessionInfo(b"s" * 16, "a"), mono=START, utc=10**18)
    b = SessionLog(tmp_path / "b", OTHER_KEY, SessionInfo(b"s" * 16, "b"), mono=START + ahead, utc=10**18 + 60 * 10**9)
    for second in range(1, 5):
        now = START + second * 10**9
        a.checkpoint(now)
        b.checkpoint(now + ahead)
        a.peer_checkpoint("b", now + 20 * MS, note=b.newest_note)
        b.peer_checkpoint("a", now + 20 * MS + ahead, note=a.newest_note)
    for log, at in ((a, START), (b, START + ahead)):
        log.close(at + 6 * 10**9, "x")
    with LogReader(a.path) as ra, LogReader(b.path) as rb:
        found = align(ra, rb)
        assert abs(found.offset - ahead) <= 20 * MS and found.error == 20 * MS
        assert "crossed" in found.how


def test_without_crossings_the_error_is_not_invented(tmp_path):
    short_log(tmp_path / "a.mcap")
    short_log(tmp_path / "b.mcap", site="b", key=OTHER_KEY)
    with LogReader(tmp_path / "a.mcap") as a, LogReader(tmp_path / "b.mcap") as b:
        assert align(a, b).error is None


# Plots


def test_no_peak_is_lost_by_reducing(tmp_path):
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0, 100, 5000))
    v = rng.normal(size=5000)
    rows = _bucket(t, v, np.linspace(0, 100, 51))
    assert np.nanmin(rows[:, 0]) == v.min() and np.nanmax(rows[:, 1]) == v.max()
    _, merged = _merge(np.arange(50.0), rows, 7)
    assert len(merged) == 7 and merged[:, 0].min() == v.min() and merged[:, 1].max() == v.max()


def test_a_slow_signal_is_a_line_and_a_hole_is_not():
    rows = np.full((40, 3), np.nan)
    rows[[0, 5, 30]] = 1.0
    held = _held(rows, bucket_s=0.1)
    assert not np.isnan(held[:17, 2]).any() and np.isnan(held[18:30, 2]).all() and not np.isnan(held[30:, 2]).any()


def test_plot_ticks_are_round_and_inside():
    for low, high in ((0, 1), (0.013, 0.0171), (-5, 12345), (3, 3)):
        found = ticks(low, high)
        assert found and all(low - 1e-9 <= x <= high + 1e-9 for x in found)
    assert line_plot("t", "x", {"a": ([0, 1, 2], [1, None, 3])}).count("<polyline") == 2


# Space


def test_the_skeleton_ends_at_the_tip_of_the_kinematics():
    from teleop.arm.kinematics import Kinematics
    from teleop.arm.model import load_model

    q = [0.1, 0.4, -0.2, -1.2, 0.3, 0.8, 0.1]
    points = Skeleton().points(q)
    tip = Kinematics(load_model("iiwa7")).link_frames(np.array(q))[-1][:3, 3]
    assert points[0] == [0, 0, 0] and np.allclose(points[-1], tip) and Skeleton().points([0.0]) == []


def test_a_surface_encloses_the_volume_of_its_mask():
    g = np.indices((30, 30, 30)).T - 15.0
    vertices, faces = boundary((g**2).sum(-1) < 10**2, 50_000)
    triangles = vertices[faces]
    volume = abs(np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6)
    assert volume == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.03)
    assert len(boundary((g**2).sum(-1) < 10**2, 800)[1]) <= 800


# Report


def test_the_report_is_one_file_the_same_each_time_and_names_the_network_events(session):
    log = ReviewLog(session)
    verdict = verify([session]).to_json()
    one, two = html_report(log, verdict), html_report(ReviewLog(session), verdict)
    assert one == two and "<script" not in one and "src=" not in one and "Network-related events" in one
    assert "no valid command" in one and "CLEAN" in one and "every one the same bit for bit" in one
    events = network_events(log)
    assert len(events) == 1 and any("no valid command" in text for text in events[0]["what"])


def test_a_released_deadman_is_no_network_event(tmp_path):
    r = Recorded(tmp_path / "a.mcap")
    r.rig.active()
    r.move(0.3)
    r.move(0.2, press=0)
    assert network_events(ReviewLog(r.close())) == []


def test_a_name_in_a_log_cannot_become_markup_in_the_report(tmp_path):
    log = open_log(tmp_path / "a.mcap", case_id="<script>alert(1)</script>")
    log.close(START, "<b>x</b>")
    text = html_report(ReviewLog(log.path), None, with_replay=False)
    assert "<script" not in text and "&lt;script" in text


@pytest.mark.slow
@pytest.mark.browser
def test_the_report_prints_to_pdf(session, tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine")
    write_pdf(html_report(ReviewLog(session), None, with_replay=False), tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")


# Privacy


def test_texts_are_sealed_and_open_only_with_their_key():
    key, other = privacy.CaseKey(b"k" * 32), privacy.CaseKey(b"o" * 32)
    detail = {"note": "patient moved", "ok": True, "list": [{"why": "pain"}], "frames": 3}
    sealed = privacy.seal_fields(detail, key)
    assert "patient" not in json.dumps(sealed) and sealed["frames"] == 3 and sealed["ok"] is True
    assert privacy.open_fields(sealed, key) == detail
    assert privacy.open_fields(sealed, other)["note"] == "[sealed]" == privacy.open_fields(sealed, None)["note"]
    assert privacy.seal_fields(sealed, key) == sealed
    with pytest.raises(privacy.PrivacyError, match="damaged"):
        key.open(sealed["note"][:-6] + "AAAA==")


def test_erasing_a_case_makes_its_texts_unreadable_and_leaves_the_chain_whole(tmp_path):
    path = privacy.key_file(tmp_path / "keys", "CASE-1")
    key = privacy.load_or_make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    log = open_log(tmp_path / "a.mcap")
    detail = json.dumps(privacy.seal_fields({"note": "very private"}, key))
    log.write("case/events", "longhand_msgs/msg/CaseEvent",
              {"schema_version": 1, "stamp_mono": START, "who": "bedside", "step": "note", "detail": detail}, START)  # fmt: skip
    log.close(START, "x")
    assert b"very private" not in log.path.read_bytes()

    def run(*words):
        return subprocess.run([sys.executable, "-m", "teleop.cli._main", *map(str, words)], capture_output=True, text=True)

    assert "very private" in run("log", log.path, "timeline", "--json", "--case-key", path).stdout
    erased = run("erase", "CASE-1", "--keys", tmp_path / "keys", "--yes", "--json")
    assert erased.returncode == 0 and json.loads(erased.stdout)["key_id"] == key.key_id
    assert not path.exists() and (path.parent / "erased.jsonl").exists()
    assert "[sealed]" in run("log", log.path, "timeline", "--json").stdout
    assert run("verify", log.path).returncode == 0
    assert run("erase", "CASE-1", "--keys", tmp_path / "keys", "--yes").returncode == 1


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_case_id_cannot_lead_out_of_the_key_folder(tmp_path, name):
    with pytest.raises(privacy.PrivacyError):
        privacy.key_file(tmp_path, name)


def test_an_export_does_not_say_when_it_was(tmp_path):
    """ROS headers bear the wall clock, and the clock estimates tie it to the robot's."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    log = open_log(tmp_path / "a.mcap")
    stamp = {"stamp": {"sec": 1_700_000_777, "nanosec": 5}, "frame_id": "arm1_base"}
    log.write("arm_state", "longhand_msgs/msg/ArmState",
              {"schema_version": 1, "stamp_mono": START + 3 * MS, "header": stamp, "speed": 0.25}, START + 3 * MS)  # fmt: skip
    log.write("clock", "longhand_msgs/msg/ClockEstimate",
              {"schema_version": 1, "stamp_mono": START, "clock": "utc", "offset": 1_700_000_000_000_000_000}, START + 3 * MS)  # fmt: skip
    log.close(START + 4 * MS, "x")
    with LogReader(log.path) as reader:
        assert export(reader, tmp_path / "out.mcap") == 1
    with open(tmp_path / "out.mcap", "rb") as file:
        (row,) = [m.decoded_message for m in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()]
    assert (row.header.stamp.sec, row.header.stamp.nanosec, row.speed) == (0, 3 * MS, 0.25)


def test_an_export_has_no_people_in_it_and_opens_as_mcap(tmp_path, session):
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    log = open_log(tmp_path / "a.mcap")
    log.write("governor/change", "longhand_msgs/msg/GovernorChange",
              {"schema_version": 1, "stamp_mono": START, "state": "ACTIVE", "holder": "KEY", "holder_name": "Dr Sam"}, START)  # fmt: skip
    log.write("case/events", "longhand_msgs/msg/CaseEvent",
              {"schema_version": 1, "stamp_mono": START, "who": "Dr Sam", "step": "case.plan", "detail": "secret"}, START)  # fmt: skip
    log.close(START, "x")
    with LogReader(log.path) as reader:
        assert export(reader, tmp_path / "out.mcap") == 2
    with open(tmp_path / "out.mcap", "rb") as file:
        rows = [m.decoded_message for m in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()]
    assert rows[0].state == "ACTIVE" and rows[0].holder_name == rows[1].who and rows[0].holder_name.startswith("person ")
    assert rows[1].detail == "" and rows[1].step == "case.plan"


# Keep-outs


def test_the_distance_to_the_nearest_keep_out_is_the_governors_own(tmp_path):
    from safety.log.keepout import Keepout

    r = Recorded(tmp_path / "a.mcap")
    r.rig.ready()
    r.rig.qualified()
    r.rig.scene(corridor=None, keepouts=[{"name": "dura", "kind": "sphere", "c": [0.4, 0.0, 0.0], "r": 0.05}])
    path = r.close()
    keepout = Keepout()
    assert keepout.of((0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)) is None
    with LogReader(path) as log:
        from safety.log.steps import steps

        assert sum(keepout.step(s.kind, s.input, s.outputs) for s in steps(log)) == 2, "the boot and the scene"
    p = r.rig.params
    # The tip frame looks down (x turned by 180 degrees): the tool stands above its tip.
    assert keepout.of((0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)) == pytest.approx(0.3 - 0.05 - p.tool_radius - 2 * r.rig.s.scene.sigma_reg)
    before = keepout.of((0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0))
    assert not keepout.step("order", b"scene but no order", b"") and keepout.of((0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0)) == before


@pytest.mark.slow
def test_the_page_has_the_distance_to_the_keep_out_in_overview_and_detail(tmp_path):
    words = [sys.executable, "bench/synthetic_session.py", str(tmp_path / "s.mcap"), "--seconds", "50"]
    subprocess.run(words, check=True, capture_output=True, env={**__import__("os").environ, "PYTHONPATH": "."})
    log = ReviewLog(tmp_path / "s.mcap")
    wide = log.series(["clearance", "margin"], log.start, log.end, 100)["clearance"]
    narrow = log.series(["clearance"], log.end - 5_000_000_000, log.end, 100)["clearance"]
    seen = [v for v in wide["low"] if v is not None]
    assert min(seen) > 0 and max(v for v in wide["high"] if v is not None) < 0.2
    assert min(seen) - 1e-3 <= min(v for v in narrow["low"] if v is not None)
