"""An unmodified third-party CRTK client with default QoS, after nothing but `longhand up launch/hospital.launch.yaml`."""

import importlib.util
import math
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).resolve().parent
UpSite = load(HERE / "real_site.py").UpSite
CrtkClient = load(HERE.parent / "crtk" / "crtk_client.py").CrtkClient
pytestmark = [pytest.mark.slow, pytest.mark.ros, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with UpSite(tmp_path_factory.mktemp("site"), offset=1, local_control="true") as up:
        up.wait_ready()
        yield up
        assert up.stop() == 130, [e["why"] for e in up.deaths()]
        assert up.deaths() == []


@pytest.fixture
def client(site):
    with CrtkClient(site.namespace, site.domain) as c:
        c.check_connections(30.0)
        assert c.wait_for(lambda: c.state.state in ("DISABLED", "ENABLED"))
        assert c.enable(), c.warnings
        yield c
        c.state_command("disable")
        assert c.wait_for_state("DISABLED")


def distance(a, b):
    return math.dist(a[:3], b[:3])


def stream(client, send, reached, rate=100.0, timeout=60.0):
    """Send `send(seconds since the start)` periodically until `reached()`."""
    start = time.monotonic()
    while not reached():
        t = time.monotonic() - start
        assert t < timeout, client.warnings
        send(t)
        time.sleep(1.0 / rate)


def test_reads_the_arm(client):
    q, pose = client.measured_jp(), client.measured_cp()
    assert len(q) == 7 and math.isclose(sum(x * x for x in pose[3:]), 1.0, abs_tol=1e-6)
    js = client.data["measured_js"][0]
    assert len(js.name) == 7 and js.header.frame_id and js.header.stamp.sec > 0
    assert client.state.is_homed and not client.state.is_busy


def test_move_cp_arrives_and_says_when(client):
    goal = client.setpoint_cp()
    goal[0] += 0.02
    goal[2] += 0.03
    assert client.move_cp(goal).wait(), client.warnings
    assert client.wait_for(lambda: distance(client.setpoint_cp(), goal) < 5e-4)
    assert distance(client.measured_cp(), goal) < 2e-3


def test_move_jp_arrives_and_says_when(client):
    goal = client.setpoint_jp()
    goal[0] += 0.1
    goal[6] -= 0.2
    assert client.move_jp(goal).wait(), client.warnings
    assert client.wait_for(lambda: max(abs(a - b) for a, b in zip(client.setpoint_jp(), goal, strict=True)) < 1e-3)


def test_servo_cp_follows_and_stays_enabled_in_silence(client):
    start = client.setpoint_cp()

    def send(t):
        client.servo_cp([start[0], start[1], start[2] + 0.02 * min(t, 1.0), *start[3:]])

    stream(client, send, lambda: abs(client.setpoint_cp()[2] - start[2] - 0.02) < 5e-4)
    time.sleep(1.0)  # silence
    assert client.state.state == "ENABLED" and abs(client.setpoint_cp()[2] - start[2] - 0.02) < 5e-4


def test_servo_jp_follows(client):
    start = client.setpoint_jp()
    stream(client, lambda t: client.servo_jp([start[0] - 0.1 * min(t, 1.0), *start[1:]]),
           lambda: abs(client.setpoint_jp()[0] - start[0] + 0.1) < 2e-3)


def test_hold_ends_a_move_and_keeps_the_arm_enabled(client):
    start = client.setpoint_cp()
    handle = client.move_cp([start[0], start[1], start[2] + 0.10, *start[3:]])
    assert client.wait_for(lambda: client.setpoint_cp()[2] > start[2] + 0.005)
    client.hold()
    assert handle.wait()
    assert client.setpoint_cp()[2] < start[2] + 0.095 and client.state.state == "ENABLED"


def test_kinematics_services_agree_with_the_arm(client):
    from crtk_msgs.srv import QueryForwardKinematics, QueryInverseKinematics

    assert client.fk.wait_for_service(10.0) and client.ik.wait_for_service(10.0)
    q = client.setpoint_jp()
    forward = client.fk.call(QueryForwardKinematics.Request(jp=q))
    assert forward.result and abs(forward.cp.position.z - client.setpoint_cp()[2]) < 1e-3
    inverse = client.ik.call(QueryInverseKinematics.Request(cp=forward.cp, jp=q))
    assert inverse.result and max(abs(a - b) for a, b in zip(inverse.jp, q, strict=True)) < 1e-3
    forward.cp.position.x += 5.0
    refused = client.ik.call(QueryInverseKinematics.Request(cp=forward.cp, jp=q))
    assert not refused.result and "cannot reach" in refused.message


def test_a_move_ends_when_the_client_that_asked_for_it_is_gone(site):
    with CrtkClient(site.namespace, site.domain, publish=()) as watcher:
        watcher.check_connections(30.0)
        start = watcher.setpoint_cp()
        with CrtkClient(site.namespace, site.domain) as mover:
            mover.check_connections(30.0)
            assert mover.enable(), mover.warnings
            mover.move_cp([start[0], start[1], start[2] + 0.10, *start[3:]])
            assert mover.wait_for(lambda: mover.setpoint_cp()[2] > start[2] + 0.005)
        assert watcher.wait_for(lambda: any("is gone" in w for w in watcher.warnings)), watcher.warnings
        assert watcher.wait_for(lambda: not watcher.state.is_busy)
        assert watcher.setpoint_cp()[2] < start[2] + 0.099
        watcher.state_command("disable")
