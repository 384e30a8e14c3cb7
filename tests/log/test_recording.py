"""The ring never blocks and says what it lost; the disk policy; a full disk loses nothing it had taken."""

import pytest

from safety.log import verify
from safety.log.disk import FULL, LOW, NO_GRANT, OK, RESERVE, DiskError, assess, require_space
from safety.log.reader import LogReader
from safety.log.recording import Recording
from safety.log.ring import Ring
from safety.log.seconds import Overview
from tests.log.logs import MS, START, open_log

BEAT = "longhand_msgs/msg/Heartbeat"


def beat(k):
    return {"schema_version": 1, "stamp_mono": START + k, "process": "p", "pid": k, "note": ""}


def test_a_full_ring_drops_counts_and_tells_once_the_older_ones_are_out():
    ring = Ring(max_items=3)
    assert [ring.put("t", BEAT, beat(k), 100 + k) for k in range(6)] == [True] * 3 + [False] * 3
    assert ring.level == 1.0 and ring.dropped == 3
    items, losses = ring.take(0, limit=2)
    assert len(items) == 2 and not losses
    items, losses = ring.take(0)
    assert len(items) == 1 and (losses["t"].count, losses["t"].from_mono, losses["t"].until_mono) == (3, 103, 105)
    assert ring.take(0) == ([], {}) and ring.empty


def test_the_ring_is_bounded_in_bytes_too():
    ring = Ring(max_bytes=1000)
    assert ring.put("t", BEAT, b"x" * 500, 1) and not ring.put("t", BEAT, b"x" * 500, 2)


def test_the_disk_policy_is_the_documented_one():
    rate = 100_000.0
    cases = [(601, OK), (599, LOW), (121, LOW), (119, NO_GRANT), (0, NO_GRANT)]
    for seconds, policy in cases:
        assert assess(RESERVE + int(seconds * rate), rate, False).policy == policy, seconds
    assert assess(10**12, rate, True).policy == FULL
    assert assess(10**9, 0.0, False).rate > 0  # before anything was measured


def test_a_session_needs_twice_its_space_before_it_begins():
    with pytest.raises(DiskError, match="twice its length"):
        require_space(10**8, 3600, "/logs")
    require_space(10**10, 3600, "/logs")


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        self.now += MS // 4
        return self.now


def test_what_the_ring_lost_stands_in_the_log_as_a_gap(tmp_path):
    log = open_log(tmp_path / "a.mcap")
    clock = Clock()
    ring = Ring(max_items=50)
    recording = Recording(log, clock, ring=ring, free_space=lambda: 10**12)
    for k in range(80):  # the writer has not started: nobody empties the ring
        recording.put("heartbeat", BEAT, beat(k))
    assert recording.start().close("done")
    report = verify([log.path]).files[0]
    assert report.ok and (report.gaps, report.dropped) == (1, 30)
    with LogReader(log.path) as reader:
        gap = reader.decode(next(reader.messages(("log/gap",))))
        assert (gap["stream"], gap["dropped"], gap["cause"]) == ("heartbeat", 30, "ring_full")
        assert sum(1 for _ in reader.messages(("heartbeat",))) == 50


def test_a_message_that_cannot_be_stored_shows_as_a_gap_and_stops_nothing(tmp_path):
    log = open_log(tmp_path / "a.mcap")
    recording = Recording(log, Clock(), free_space=lambda: 10**12).start()
    recording.put("heartbeat", BEAT, {"no_such_field": 1})
    recording.put("heartbeat", BEAT, beat(1))
    assert recording.close("done")
    report = verify([log.path]).files[0]
    assert report.ok and report.gaps == 1 and "no_such_field" in recording.state.error


def test_a_full_disk_keeps_what_it_took_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    import errno
    import os

    log = open_log(tmp_path / "a.mcap")
    full = [True]
    real_write = os.write

    def write(fd, data):
        if full[0] and fd == log.fileno():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, data)

    monkeypatch.setattr(os, "write", write)
    recording = Recording(log, Clock(), free_space=lambda: 0)
    for k in range(10):
        recording.put("heartbeat", BEAT, beat(k))
    recording._drain()
    recording._tick(START + 10**9)
    recording._look_at_disk(START + 2 * 10**9)
    assert recording.state.disk.policy == FULL and "No space" in recording.state.error
    full[0] = False
    recording._tick(START + 3 * 10**9)
    recording._look_at_disk(START + 4 * 10**9)
    assert recording.state.disk.policy != FULL
    assert recording.start().close("done") and verify([log.path]).ok
    with LogReader(log.path) as reader:
        assert sum(1 for _ in reader.messages(("heartbeat",))) == 10


def test_peer_checkpoints_are_taken_in_by_the_writer(tmp_path):
    other = open_log(tmp_path / "b.mcap", site="b")
    log = open_log(tmp_path / "a.mcap")
    recording = Recording(log, Clock(), free_space=lambda: 10**12).start()
    recording.peer_checkpoint("b", note=other.newest_note)
    recording.peer_checkpoint("b", note="nonsense")
    assert recording.close("done") and "checkpoint of b" in recording.state.error
    other.close(START, "x")
    assert verify([log.path, other.path]).witnessed == 1


# The overview


def status(state="READY", holder="", alarms=(), **more):
    return {"state": state, "holder": holder, "epoch": 1, "reason": "r", "stamp": 5, "alarms": list(alarms), **more}


def test_a_change_is_told_once():
    overview = Overview(0)
    assert overview.status(status(), 1, 10)["state"] == "READY"
    assert overview.status(status(), 2, 20) is None
    change = overview.status(status("ACTIVE", "k"), 3, 30)
    assert (change["old_state"], change["state"], change["holder"], change["n"]) == ("READY", "ACTIVE", "k", 3)


def test_alarms_enter_are_acknowledged_and_leave():
    overview = Overview(0)
    a = {"id": "x", "priority": "HIGH", "latched": True, "text": "t", "what_to_do": "w", "since": 1, "acked": False}
    phases = [[e["phase"] for e in overview.alarms(status(alarms=rows), 0)]
              for rows in ([a], [a], [{**a, "acked": True}], [], [{**a, "since": 9}])]  # fmt: skip
    assert phases == [["enter"], [], ["ack"], ["exit"], ["enter"]]


def test_a_second_holds_low_high_and_mean_and_leaves_out_what_is_no_number():
    overview = Overview(0)
    for value in (1.0, 3.0, float("nan"), None, True):
        overview.add("speed", value)
    assert overview.second(999_999_999) is None
    second = overview.second(1_000_000_000)
    assert (second["names"], second["low"], second["high"], second["mean"], second["count"]) == (
        ["speed"], [1.0], [3.0], [2.0], [2],
    )  # fmt: skip
    assert overview.second(2_000_000_000)["names"] == []
