"""The recorder as a process: with a governor that talks, topics that flow, and ends of every kind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import pytest

from safety.log import verify
from safety.log.reader import LogReader
from safety.log.steps import steps
from safety.params import Params

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytestmark = [pytest.mark.ros, pytest.mark.slow]
REPO = Path(__file__).parents[2]
STUB = Path(__file__).with_name("governor_stub.py")

SESSION = "5e" * 16
PUBLISHER = """
import sys, time, rclpy
from longhand_msgs.msg import ArmState, CaseEvent, UiAction, VideoFrame
from longhand_ros import qos
rclpy.init()
node = rclpy.create_node("arm", namespace="/a/arm1")
arm = node.create_publisher(ArmState, "arm_state", qos.ARM_STATE_OFFERED)
case = node.create_publisher(CaseEvent, "case/events", qos.EVENTS)
case.publish(CaseEvent(schema_version=1, stamp_mono=1, who="bedside", step="note", detail='{"note": "a private word"}'))
ui = node.create_publisher(UiAction, "ui/actions", qos.EVENTS)
ui.publish(UiAction(schema_version=1, who="Dr. Sun (beijing)", action="room.chat", detail='{"text": "another private word"}'))
video = node.create_publisher(VideoFrame, "video/frames", qos.EVENTS)
video.publish(VideoFrame(schema_version=1, stamp_mono=5, stream="room", frame_id=17, sha256=list(range(32))))
print("publishing", flush=True)
while True:
    arm.publish(ArmState(schema_version=1, stamp_mono=time.monotonic_ns(), q=[0.1] * 7, speed=0.004))
    time.sleep(0.01)
"""


class Site:
    """A site's folder, the stub and the publisher; start and end recorders in it."""

    def __init__(self, folder: Path, rate: int = 200) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen] = []
        self.env = {**os.environ, "ROS_DOMAIN_ID": str(150 + os.getpid() % 60), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        subprocess.run(
            [sys.executable, "-m", "teleop.cli._main", "keys", "make", folder / "keys", "--site", "a"], check=True,
            capture_output=True,
        )  # fmt: skip
        self.config = folder / "site.toml"
        (folder / "form.txt").write_text("I consent")
        self.config.write_text(
            f'site = "a"\nrun_dir = "{folder}"\nlog_dir = "{folder}/logs"\nkeys_dir = "{folder}/keys"\n'
            f'session = "{SESSION}"\ninviting_institution = "County"\ninvited_institution = "General"\n'
            f'service = "guidance"\noperators = ["s-1", "b-2"]\nconsent_form = "{folder}/form.txt"\n'
        )
        self.stub = self.spawn(sys.executable, STUB, folder / "governor.sock", rate, 200)
        assert self.stub.stdout.readline().startswith("listening")

    def spawn(self, *words) -> subprocess.Popen:
        child = subprocess.Popen(
            [str(w) for w in words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.children.append(child)
        return child

    def recorder(self) -> tuple[subprocess.Popen, Path]:
        child = self.spawn(sys.executable, "-m", "longhand_ros.recorder", "--config", self.config)
        line = child.stdout.readline()
        assert line.startswith("recording to "), line + child.stdout.read()
        return child, Path(line.removeprefix("recording to ").strip())

    def until(self, what, seconds: float = 60.0):
        """Poll for a condition; fails the test when it never comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            time.sleep(0.05)
        pytest.fail("the condition never came")

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


def recorded(path: Path, topic: str) -> int:
    try:
        with LogReader(path) as log:
            return sum(1 for _ in log.messages((topic,)))
    except ValueError:
        return 0


def test_sigterm_ends_the_log_cleanly_with_governor_and_topics_in_it(site):
    site.spawn(sys.executable, "-c", PUBLISHER).stdout.readline()
    child, path = site.recorder()
    site.until(lambda: recorded(path, "arm_state") > 100 and recorded(path, "case/events") == 1
               and recorded(path, "ui/actions") == 1 and recorded(path, "video/frames") == 1)  # fmt: skip
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0 and "closed" in child.stdout.read()
    report = verify([path]).files[0]
    assert report.ok and report.close_reason == "ended by SIGTERM" and report.gaps == 0
    with LogReader(path) as log:
        numbers = [s.n for s in steps(log)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 100
        details = json.loads(log.header["details"])
        assert details["versions"]["rclpy"] and details["case_key_id"]
        assert sum(1 for _ in log.messages(("log/second",))) >= 1
        assert log.header["session"] == SESSION and details["operators"] == ["s-1", "b-2"]
        assert (details["inviting_institution"], details["invited_institution"]) == ("County", "General")
        assert details["consent_form_sha256"] == hashlib.sha256(b"I consent").hexdigest()
        assert details["thresholds"]["lease_ns"] == Params().lease_ns
        assert Params.from_dict(msgpack.unpackb(log.header["params"])) == Params()
        action = log.decode(next(log.messages(("ui/actions",))))
        assert (action["who"], action["action"]) == ("Dr. Sun (beijing)", "room.chat")
        frame = log.decode(next(log.messages(("video/frames",))))
        assert (frame["frame_id"], bytes(frame["sha256"])) == (17, bytes(range(32)))
        clock = log.decode(next(log.messages(("clock",))))
        assert clock["clock"] == "utc" and abs(clock["offset"] + clock["stamp_mono"] - time.time_ns()) < 600e9
        assert any(log.decode(m)["process"] == "recorder" for m in log.messages(("heartbeat",)))
    assert b"private word" not in path.read_bytes()
    read_by_others(path)


def read_by_others(path: Path) -> None:
    """The mcap package (what Foxglove uses) and rosbags read every message."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory
    from rosbags.highlevel import AnyReader

    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = list(reader.iter_decoded_messages())
        assert len(decoded) == reader.get_summary().statistics.message_count > 100
        assert next(m.decoded_message for m in decoded if m.channel.topic == "arm_state").speed == 0.004
    with AnyReader([path]) as bag:
        assert bag.message_count == len(decoded)
        for connection, _, raw in bag.messages():
            bag.deserialize(raw, connection.msgtype)


def test_kill_9_leaves_a_readable_log_and_a_new_recorder_a_new_file(site):
    child, path = site.recorder()
    site.until(lambda: recorded(path, "governor/event") > 300)
    killed = time.monotonic_ns()
    child.kill()
    child.wait()
    report = verify([path]).files[0]
    assert report.end == "unclean"
    assert killed - report.signed_until_mono < 1_000_000_000
    second, other = site.recorder()
    assert other != path
    site.until(lambda: recorded(other, "governor/event") > 20)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0 and verify([other]).ok


def test_a_governor_that_dies_is_an_alarm_in_the_log(site):
    child, path = site.recorder()
    site.until(lambda: recorded(path, "governor/event") > 20)
    site.stub.kill()
    site.until(lambda: recorded(path, "log/alarms") >= 1)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    with LogReader(path) as log:
        alarm = log.decode(next(log.messages(("log/alarms",))))
        assert (alarm["id"], alarm["priority"]) == ("recorder.governor", "HIGH") and "gone" in alarm["text"]


def test_a_site_without_keys_gets_no_recorder_and_a_plain_word(tmp_path):
    config = tmp_path / "site.toml"
    config.write_text(f'site = "a"\nrun_dir = "{tmp_path}"\nlog_dir = "{tmp_path}/logs"\nkeys_dir = "{tmp_path}/none"\n')
    done = subprocess.run(
        [sys.executable, "-m", "longhand_ros.recorder", "--config", str(config)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "error:" in done.stderr and "none" in done.stderr
