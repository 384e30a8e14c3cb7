"""`longhand replay LOG --ros`: what ROS tools see of a recorded session."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.log.logs import MS, START
from tests.log.sessions import Recorded

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytestmark = [pytest.mark.ros, pytest.mark.slow]

#: Hears everything under /replay and the transforms; prints what came, in order of arrival, when told to end.
EAR = """
import json, signal, sys, time, rclpy
from rclpy.qos import QoSProfile, DurabilityPolicy, ReliabilityPolicy
from geometry_msgs.msg import PoseStamped
from longhand_msgs.msg import ArmState, GovernorChange, GovernorEvent
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
rclpy.init()
node = rclpy.create_node("ear")
heard, stop = [], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
def stamp(h): return h.stamp.sec * 1_000_000_000 + h.stamp.nanosec
B = "/replay/a/arm1/"
many = QoSProfile(depth=1000)
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
node.create_subscription(ArmState, B + "arm_state", lambda m: heard.append(["arm_state", m.stamp_mono, list(m.q)]), many)
node.create_subscription(GovernorEvent, B + "governor/event", lambda m: heard.append(["event", m.stamp_mono, m.n]), many)
node.create_subscription(GovernorEvent, B + "governor/order", lambda m: heard.append(["order", m.stamp_mono, m.kind]), many)
node.create_subscription(GovernorChange, B + "governor/change", lambda m: heard.append(["change", m.stamp_mono, m.state]), many)
node.create_subscription(JointState, B + "measured_js", lambda m: heard.append(["js", stamp(m.header), list(m.position)]), many)
node.create_subscription(PoseStamped, B + "measured_cp", lambda m: heard.append(["cp", stamp(m.header), m.pose.position.z]), many)
node.create_subscription(String, B + "robot_description", lambda m: heard.append(["urdf", 0, "<robot" in m.data]), latched)
node.create_subscription(TFMessage, "/tf", lambda m: heard.append(["tf", stamp(m.transforms[0].header), len(m.transforms)]), many)
node.create_subscription(TFMessage, "/tf_static", lambda m: heard.append(["tf_static", 0, len(m.transforms)]), latched)
print("listening", flush=True)
while not stop:
    rclpy.spin_once(node, timeout_sec=0.05)
print(json.dumps(heard), flush=True)
"""
Q = [0.1, 0.4, -0.2, -1.2, 0.3, 0.8, 0.1]


def session(path):
    """Half a second of motion with the arm's states and the changes of the governor in it."""
    r = Recorded(path)
    pose = {"position": {"x": 0.4, "y": 0.0, "z": 0.3}, "orientation": {"x": 1.0, "y": 0.0, "z": 0.0, "w": 0.0}}
    r.rig.active()
    change = {"schema_version": 1, "stamp_mono": r.rig.now, "state": "ACTIVE", "reason": "pressed"}
    r.log.write("governor/change", "longhand_msgs/msg/GovernorChange", change, r.rig.now)
    for k in range(50):
        r.move(0.01)
        state = {"schema_version": 1, "stamp_mono": r.rig.now, "q": [*Q[:6], k * 0.01], "dq": [0.0] * 7, "tau": [0.0] * 7,
                 "base_t_tip": pose, "setpoint": pose, "q_ref": Q, "speed": 0.001}  # fmt: skip
        r.log.write("arm_state", "longhand_msgs/msg/ArmState", state, r.rig.now)
    return r.close()


def test_a_replay_shows_states_events_joints_and_transforms_in_the_order_of_the_file(tmp_path):
    path = session(tmp_path / "a.mcap")
    env = {**os.environ, "ROS_DOMAIN_ID": str(120 + os.getpid() % 25), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    ear = subprocess.Popen([sys.executable, "-c", EAR], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert ear.stdout.readline().strip() == "listening"
        done = subprocess.run(
            [sys.executable, "-m", "teleop.cli._main", "replay", str(path), "--rviz", "--speed", "0.5"], env=env,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0 and "messages" in done.stdout, done.stdout + done.stderr
        time.sleep(0.5)
        ear.terminate()
        heard = json.loads(ear.stdout.readline())
    finally:
        ear.kill()
        ear.wait()
    by = {}
    for kind, stamp, value in heard:
        by.setdefault(kind, []).append((stamp, value))
    assert len(by["arm_state"]) == 50 and [v for _, v in by["change"]] == ["ACTIVE"]
    assert {"boot", "order"} <= {v for _, v in by["order"]}
    numbers = [v for _, v in by["event"]]
    assert numbers == sorted(numbers) and len(numbers) > 50
    # Aligned: each state's joints and transforms bear its own time, whatever the speed of the replay.
    assert len(by["js"]) == len(by["cp"]) == len(by["tf"]) == 50
    assert [q for _, q in by["js"]] == [q for _, q in by["arm_state"]]
    assert [t for t, _ in by["js"]] == [t for t, _ in by["cp"]] == [t for t, _ in by["tf"]]
    steps = {b[0] - a[0] for a, b in zip(by["js"], by["js"][1:], strict=False)}
    assert steps == {10 * MS} and by["arm_state"][0][0] > START - 10**12
    assert by["urdf"][0][1] is True and by["tf_static"] and by["tf"][0][1] == 7
