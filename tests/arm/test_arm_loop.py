"""The arm process without a clock, and its door: one governor, own user, and nothing that arrives can hurt the loop."""

import os
import socket

import msgpack
import numpy as np
import pytest

from sim.kinematic_arm import KinematicArm
from teleop.arm.arm_loop import PARKED_PERIOD_NS, ArmLoop
from teleop.arm.drive import drive_params
from teleop.arm.governor_door import DoorInUse, GovernorDoor
from teleop.arm.messages import MessageError, lease_from, path_from, unpack
from tests.arm.drive_bench import HOME, MS, PERIOD, joint_path, kinematics


class Letters:
    """A door made of lists."""

    def __init__(self):
        self.waiting, self.sent = [], []

    def poll(self, *, accept=True):
        out, self.waiting = self.waiting, []
        return out

    def send(self, packet):
        self.sent.append(msgpack.unpackb(packet))
        return True


@pytest.fixture
def arm():
    door = Letters()
    loop = ArmLoop(KinematicArm(kinematics().model, 2), drive_params(kinematics()), door, 0)
    return loop, door


def lease(now, n, target, **more):
    return {
        "t": "lease", "lease_id": n, "epoch": 1, "seq": n, "t_k": now, "expiry": now + 150 * MS, "mode": "servo",
        "kind": "pose", "target": list(target), "q_target": None, "path_hash": b"", "s_limit": None, "v_cap": 0.03,
        "w_cap": 0.3,
    } | more  # fmt: skip


def run(loop, door, ms, start=0, target=None):
    now = start
    for k in range(int(ms / 2)):
        now = start + (k + 1) * PERIOD
        if target is not None and k % 5 == 0:
            door.waiting.append(lease(now, start + k + 1, target))
        loop.tick(now)
    return now


def test_leases_move_the_arm_and_silence_parks_it(arm):
    loop, door = arm
    assert loop.parked and loop.period_ns == PARKED_PERIOD_NS
    home = loop.tick(0).pose
    target = (home[0] + 0.01, *home[1:])
    now = run(loop, door, 1500, target=target)
    assert not loop.parked and loop.period_ns == PERIOD
    assert loop.report.pose[0] == pytest.approx(target[0], abs=1e-4)
    now = run(loop, door, 2500, start=now)
    assert loop.parked and loop.report.drive == "parked"
    reports = [m for m in door.sent if m["t"] == "report"]
    assert 350 < len(reports) < 430, "100 Hz while awake"
    assert len(reports[0]["q"]) == 7 and len(reports[0]["q_ref"]) == 7
    assert [m["drive"] for m in reports if m["drive"] == "moving"]


def test_travel_counts_the_way_and_not_the_noise(arm):
    loop, door = arm
    home = loop.tick(0).pose
    now = run(loop, door, 2000, target=(home[0] + 0.01, *home[1:]))
    assert loop.report.travel == pytest.approx(0.010, rel=0.02)
    before = loop.report.travel
    run(loop, door, 1500, start=now)
    assert loop.report.travel - before < 1e-4


def test_a_path_is_answered_and_followed(arm):
    loop, door = arm
    start = np.array(loop.tick(0).q)
    path = joint_path(kinematics(), start, start + 0.03)
    door.waiting.append(
        {"t": "path", "path_hash": path.path_hash, "kind": path.kind, "q": path.q, "s": path.s, "margin": path.margin}
    )
    loop.tick(PERIOD)
    answer = [m for m in door.sent if m["t"] == "path_ok"][-1]
    assert answer["ok"] is True and answer["path_hash"] == path.path_hash
    door.waiting.append(
        {"t": "path", "path_hash": b"forged!!", "kind": "goal", "q": path.q, "s": path.s, "margin": path.margin}
    )
    loop.tick(2 * PERIOD)
    answer = [m for m in door.sent if m["t"] == "path_ok"][-1]
    assert answer["ok"] is False and "hash" in answer["reason"]


def test_a_halt_voids_the_leases_that_came_before_it(arm):
    loop, door = arm
    home = loop.tick(0).pose
    door.waiting += [lease(PERIOD, 1, (home[0] + 0.01, *home[1:])), {"t": "halt", "why": "test"}]
    loop.tick(PERIOD)
    assert loop.state.lease is None and not loop.state.moving


def test_a_fault_of_the_governor_is_latched_until_cleared(arm):
    loop, door = arm
    home = loop.tick(0).pose
    now = run(loop, door, 400, target=(home[0] + 0.05, *home[1:]))
    door.waiting.append({"t": "fault", "why": "because"})
    now = run(loop, door, 1000, start=now)
    assert loop.report.drive == "fault" and "because" in loop.report.fault and loop.parked
    door.waiting.append({"t": "clear"})
    run(loop, door, 10, start=now)
    assert loop.report.fault == ""


GOOD = lease(0, 1, (0.0,) * 7)


@pytest.mark.parametrize(
    "change",
    [
        {"lease_id": "1"}, {"lease_id": True}, {"target": [None] * 7}, {"v_cap": "fast"}, {"path_hash": "text"},
        {"target": 5}, {"mode": 3}, {"expiry": 1.5},
    ],
)  # fmt: skip
def test_a_lease_of_wrong_types_never_reaches_the_drive(arm, change):
    loop, door = arm
    with pytest.raises(MessageError):
        lease_from(GOOD | change)
    door.waiting.append(GOOD | change)
    loop.tick(PERIOD)
    assert loop.malformed == 1 and loop.state.lease is None


@pytest.mark.parametrize("missing", sorted(set(GOOD) - {"t"}))
def test_a_lease_without_a_field_is_refused_by_name(missing):
    with pytest.raises(MessageError, match=missing):
        lease_from({k: v for k, v in GOOD.items() if k != missing})


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgpack.packb([1]), msgpack.packb({"t": 1}), b"\xdf\xff\xff\xff\xff", os.urandom(64)]
)
def test_garbage_is_not_a_message(data):
    with pytest.raises(MessageError):
        unpack(data)
    with pytest.raises(MessageError):
        path_from({"path_hash": b"x", "kind": "goal", "q": [[1, 2], "no"], "s": [], "margin": []})


# --- the door --------------------------------------------------------------------------------------------------------


def knock(path):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(2.0)
    peer.connect(str(path))
    return peer


def test_one_governor_at_a_time_and_the_next_when_it_is_gone(tmp_path):
    door = GovernorDoor(tmp_path / "arm.sock")
    assert oct((tmp_path / "arm.sock").stat().st_mode & 0o777) == "0o600"
    first, second = knock(door.path), knock(door.path)
    first.send(msgpack.packb({"t": "hello"}))
    assert door.poll() == [{"t": "hello"}]
    door.poll()
    assert msgpack.unpackb(second.recv(1000))["t"] == "refused"
    assert second.recv(1000) == b"" and door.refused == 1
    first.close()
    door.poll()
    third = knock(door.path)
    third.send(msgpack.packb({"t": "hello"}))
    assert door.poll() == [{"t": "hello"}] and door.connected
    door.close()
    assert not door.path.exists()


def test_garbage_on_the_door_is_counted_and_the_peer_stays(tmp_path):
    door = GovernorDoor(tmp_path / "arm.sock")
    peer = knock(door.path)
    peer.send(b"\xc1\xc1")
    peer.send(msgpack.packb({"t": "halt"}))
    assert door.poll() == [{"t": "halt"}] and door.malformed == 1
    door.close()


def test_a_flood_leaves_the_loop_its_tick(tmp_path):
    door = GovernorDoor(tmp_path / "arm.sock")
    peer = knock(door.path)
    peer.setblocking(False)
    sent = 0
    try:
        for _ in range(5000):
            peer.send(msgpack.packb({"t": "hello"}))
            sent += 1
    except BlockingIOError:
        pass
    assert sent > 16 and len(door.poll()) == 16
    door.close()


def test_a_second_arm_process_is_told_that_the_first_lives(tmp_path):
    door = GovernorDoor(tmp_path / "arm.sock")
    with pytest.raises(DoorInUse, match="stop that one first"):
        GovernorDoor(door.path)
    door.close()


def test_a_dead_process_s_socket_file_is_replaced(tmp_path):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.bind(str(tmp_path / "arm.sock"))
    left.close()
    door = GovernorDoor(tmp_path / "arm.sock")
    assert knock(door.path)
    door.close()
    assert HOME.shape == (7,)
