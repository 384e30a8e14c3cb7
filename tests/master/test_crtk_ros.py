"""CRTK over real ROS: a fake arm process behind our driver, a fake master behind our device. Virtual nothing: two
processes, real topics."""

import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
pytest.importorskip("crtk_msgs", reason="the interfaces were not built (make)")

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.ros, pytest.mark.slow]

SCRIPT = """
import sys, time
import rclpy
from rclpy.node import Node
sys.path.insert(0, "ros_ws/src/longhand_ros")
rclpy.init()
node = Node("tester")
end = time.monotonic() + 60.0

def until(what, words):
    while not what():
        assert time.monotonic() < end, words
        time.sleep(0.005)
"""

ARM = (
    SCRIPT
    + """
import numpy as np
from std_msgs.msg import String
from longhand_ros.crtk_arm_driver import CrtkArm
from teleop.arm.driver import DriverError
from teleop.arm.model import load_model
model = load_model()
arm = CrtkArm(node, "/fake", model, silence_ns=500_000_000)
trouble = node.create_publisher(String, "/fake/trouble", 10)
arm.wait_ready(40.0)
print("ready")
arm.brakes(False)
q, next_tick = arm.read(time.monotonic_ns()).q, time.monotonic()
goal = q.copy()
for k in range(250):
    next_tick += 0.004
    time.sleep(max(0.0, next_tick - time.monotonic()))
    arm.read(time.monotonic_ns())
    goal[3] -= 0.0002
    arm.write(goal, np.zeros(7))
until(lambda: abs(arm.read(time.monotonic_ns()).q[3] - goal[3]) < 1e-6, "the fake did not follow")
print("followed")
trouble.publish(String(data="fault"))
try:
    while time.monotonic() < end:
        arm.read(time.monotonic_ns())
        arm.write(goal, np.zeros(7))
        time.sleep(0.004)
except DriverError as error:
    print(error)
arm.close()
rclpy.shutdown()
"""
)

MASTER = (
    SCRIPT
    + """
from teleop.console.native import open_device
from teleop.master.guard import SampleGuard
device = open_device("longhand_ros.crtk_master:console_device:/MTMR,gripper,damping=2.0")
guard, last = SampleGuard(device.capabilities), None

def look():
    global last
    now = time.monotonic_ns()
    last = guard.step(now, device.read(now))
    return last

device.connect()
until(lambda: look().deadman, "no press arrived")
print("pressed", round(last.sample.gripper, 2), len(last.sample.pose))
device.send_force((1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
until(lambda: not look().alive, "the loss was not noticed")
print("gone")
rclpy.shutdown()
"""
)

#: A console that shows servo of an arm in contact (6 N), with the fake as its only device, and reflection chosen.
REFLECTING = (
    SCRIPT
    + """
from dataclasses import replace
from safety.states import Mode, State
from teleop.console.native import NativeHands, open_device
from teleop.console.site_hand import Choices
from teleop.master.command_maker import Intention
from tests.console.test_site_hand import Rig
rig = Rig()
rig.hand.choose(replace(Choices(), reflect=True, alignment="guide", scale=0.5))
device = open_device("longhand_ros.crtk_master:console_device:/MTMR,gripper,damping=2.0")
native = NativeHands([device])
native.attach([rig.hand])
name, n = "native " + device.capabilities.name, 0
while time.monotonic() < end:
    rig.now, n = time.monotonic_ns(), n + 1
    native.step(rig.now)
    if n % 4 == 0:
        rig.hand.push("p1", rig.samples(keyboard=((0.0,) * 6, ())), 0, rig.now)
    pressed = any(row["deadman"] for row in native.show())
    rig.hand.source = name if pressed else ""
    view = replace(rig.view(), contact=(6.0, 0.0, 0.0))
    c = rig.hand.step(rig.now, view, Intention(mode=Mode.SERVO, pressed=pressed))
    if c is not None:
        rig.last_seq = c.seq
        rig.state = State.ACTIVE if c.press else rig.state
        rig.arm, rig.drive = (c.target, "moving") if c.press and c.target else (rig.arm, rig.drive)
    if rig.hand.energies()[name]["engagements"] and not native.show()[0]["there"]:
        break
    time.sleep(0.004)
print("engaged", rig.hand.energies()[name]["engagements"], native.show()[0]["why"] or "gone")
rclpy.shutdown()
"""
)

FAKE_MASTER = (
    SCRIPT
    + """
from crtk_msgs.msg import OperatingState
from geometry_msgs.msg import PoseStamped, WrenchStamped
from sensor_msgs.msg import JointState, Joy
felt = []
cp = node.create_publisher(PoseStamped, "/MTMR/measured_cp", 10)
state = node.create_publisher(OperatingState, "/MTMR/operating_state", 10)
gripper = node.create_publisher(JointState, "/MTMR/gripper/measured_js", 10)
joy = node.create_publisher(Joy, "/MTMR/operator_present", 10)
node.create_subscription(WrenchStamped, "/MTMR/body/servo_cf", lambda m: any((m.wrench.force.x, m.wrench.force.z)) and felt.append(m), 10)
n = 0
while not felt and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.005)
    n += 1
    m = PoseStamped()
    m.pose.orientation.w = 1.0
    m.pose.position.x = 1e-5 * n
    m.header.stamp = node.get_clock().now().to_msg()
    cp.publish(m)
    state.publish(OperatingState(state="ENABLED", is_homed=True))
    gripper.publish(JointState(position=[0.5]))
    if n % 20 == 0:
        joy.publish(Joy(buttons=[int(n > HOLDS_AFTER)]))
print("felt", felt[0].wrench.force.x, 0.0 < felt[0].wrench.force.z < 4.0)
"""
)


def environment(domain):
    env = {k: v for k, v in os.environ.items() if k != "ROS_LOCALHOST_ONLY"}
    env |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "AMENT_PREFIX_PATH": sys.prefix}
    return env | {"PYTHONPATH": str(ROOT)}


def start(domain, *arguments):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(domain),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.timeout(150)
def test_a_fake_arm_process_is_woken_driven_and_its_fault_ends_the_motion():
    fake = start(94, "-m", "longhand_ros.fake_crtk_arm", "--namespace", "/fake")
    try:
        ours = start(94, "-c", ARM)
        out, err = ours.communicate(timeout=120)
        assert out.splitlines() == ["ready", "followed", "CRTK arm: it is FAULT"], err[-2000:]
    finally:
        fake.terminate()
        fake.wait(timeout=20)


@pytest.mark.timeout(150)
def test_a_fake_master_process_presses_feels_a_force_and_its_end_is_a_release():
    ours = start(95, "-c", MASTER)
    fake = start(95, "-c", FAKE_MASTER.replace("HOLDS_AFTER", "0"))
    try:
        felt, err = fake.communicate(timeout=120)
        assert felt.split() == ["felt", "1.0", "False"], err[-2000:]
        out, err = ours.communicate(timeout=60)
        assert out.splitlines() == ["pressed 0.5 7", "gone"], err[-2000:]
    finally:
        for p in (ours, fake):
            if p.poll() is None:
                p.kill()
                p.wait()


@pytest.mark.timeout(150)
def test_a_fake_master_process_feels_the_contact_of_the_guide_by_servo_cf():
    ours = start(97, "-c", REFLECTING)
    fake = start(97, "-c", FAKE_MASTER.replace("HOLDS_AFTER", "400"))
    try:
        felt, err = fake.communicate(timeout=120)
        assert felt.split()[2:] == ["True"], err[-2000:]
        out, err = ours.communicate(timeout=60)
        assert out.splitlines() == ["engaged 1 gone"], err[-2000:]
    finally:
        for p in (ours, fake):
            if p.poll() is None:
                p.kill()
                p.wait()


@pytest.mark.timeout(200)
def test_the_arm_process_drives_an_external_arm_by_leases_and_stops_when_they_end(tmp_path):
    """longhand_arm with driver crtk, in front of the fake arm; the test stands for the governor."""
    run_dir = tmp_path / "run"
    fake = start(96, "-m", "longhand_ros.fake_crtk_arm", "--namespace", "/fake")
    arm = start(96, "-m", "longhand_ros.arm", "--run-dir", str(run_dir), "--driver", "crtk", "--crtk", "/fake")
    try:
        end = time.monotonic() + 120.0
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        while True:
            try:
                door.connect(str(run_dir / "arm.sock"))
                break
            except OSError:
                assert time.monotonic() < end and arm.poll() is None, (
                    arm.stderr.read() if arm.poll() is not None else "no socket"
                )
                select.select([], [], [], 0.1)
        door.settimeout(20.0)
        door.send(msgpack.packb({"t": "hello", "role": "governor", "v": 1}))

        def report():
            while (m := msgpack.unpackb(door.recv(65536)))["t"] != "report":
                pass
            return m

        first = report()
        assert first["fault"] == ""
        target = [first["setpoint"][0] + 0.001, *first["setpoint"][1:]]
        lease_id, now = 0, first
        while abs(now["pose"][0] - target[0]) > 1e-4:
            assert time.monotonic() < end, now
            if now["fault"]:  # on a busy machine the fake is late or silent now and then: that is what faults are for
                assert "tracking error" in now["fault"] or "CRTK arm: silent" in now["fault"], now["fault"]
                door.send(msgpack.packb({"t": "clear"}))
            lease_id += 1
            lease = {"t": "lease", "lease_id": lease_id, "epoch": 1, "seq": lease_id, "t_k": now["stamp"]}
            lease |= {"expiry": time.monotonic_ns() + 150_000_000, "mode": "servo", "kind": "pose", "target": target}
            lease |= {"q_target": None, "path_hash": b"", "s_limit": None, "v_cap": 0.002, "w_cap": 0.02}
            door.send(msgpack.packb(lease))
            now = report()
        while now["drive"] not in ("standstill", "parked"):
            assert time.monotonic() < end, now
            if now["drive"] == "fault":
                door.send(msgpack.packb({"t": "clear"}))
            now = report()
        assert abs(now["pose"][0] - target[0]) < 4e-4
    finally:
        for p in (arm, fake):
            p.terminate()
            p.wait(timeout=30)
