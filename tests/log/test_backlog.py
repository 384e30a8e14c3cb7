"""The governor keeps what a stalled recorder could not take yet, in order, and tells what even that could not hold."""

from collections import deque

import msgpack

from safety import process
from safety.process import GovernorProcess
from sim.campaign.rig import Rig


class Stalled:
    """A recorder's connection that takes `room` packets, then none until more room is given."""

    def __init__(self, room: int) -> None:
        self.room, self.got = room, []

    def send(self, data: bytes) -> bool:
        if self.room <= 0:
            return False
        self.room -= 1
        self.got.append(msgpack.unpackb(data))
        return True


def governor(recorder: Stalled) -> GovernorProcess:
    made = GovernorProcess.__new__(GovernorProcess)
    made.by_role, made.backlog, made.recorder_gap = {"recorder": recorder}, deque(), 0
    made.pack = msgpack.Packer(use_bin_type=True).pack
    made.s = Rig().s
    made.s.n = 7
    return made


def steps(g: GovernorProcess, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        g._record(n, n, "tick", b"", b"\x90", "", None)


def test_a_stall_loses_nothing_and_keeps_the_order():
    recorder = Stalled(5)
    g = governor(recorder)
    steps(g, 100)
    assert [m["n"] for m in recorder.got] == list(range(5))
    recorder.room = 10_000
    steps(g, 10, 100)
    assert [m["n"] for m in recorder.got] == list(range(110)) and not g.backlog and g.recorder_gap == 0


def test_what_the_backlog_could_not_hold_is_told_and_a_snapshot_follows(monkeypatch):
    monkeypatch.setattr(process, "BACKLOG", 20)
    recorder = Stalled(5)
    g = governor(recorder)
    steps(g, 40)
    assert g.recorder_gap == 15
    recorder.room = 10_000
    steps(g, 3, 40)
    kinds = [m["kind"] for m in recorder.got]
    assert kinds.count("snapshot") == 1 and any(m.get("gap") == 15 for m in recorder.got)
    assert kinds.index("snapshot") > next(k for k, m in enumerate(recorder.got) if m.get("gap"))
